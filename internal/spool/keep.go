package spool

import (
	"fmt"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// keeper makes room ahead of need and gives up segments that are done with.
// It is the only one that makes, moves and removes files, one after the
// other, so that numbers have no gap after any crash.
func (s *Spool) keeper() {
	var again <-chan time.Time // while there is no room, look again: the disk may have some
	for {
		select {
		case <-s.work:
		case <-again:
		case <-s.quit:
			return
		}
		for s.dropOldest() {
		}
		again = nil
		if !s.makeRoom() {
			again = time.After(time.Second)
		}
	}
}

// dropOldest gives up the oldest segment if nothing in it is needed: its
// events are acked, its intents have outcomes, and a note of the one and the
// other themselves are synced. (A segment that is missing without the note is
// damage.) An intent that runs on is carried forward first. It reports whether
// a segment went.
func (s *Spool) dropOldest() bool {
	s.mu.Lock()
	seg := s.segments[0]
	switch {
	case s.failed != nil || len(s.segments) == 1 || s.acked < seg.end:
		s.mu.Unlock()
		return false
	case seg.open > 0:
		s.mu.Unlock()
		s.carry(seg) // once that is synced, the syncer calls for the keeper
		return false
	case seg.settled > s.synced || s.ackedTo < seg.end || s.ackedEnd > s.synced:
		s.appendAck()
		s.mu.Unlock()
		return false
	}
	reuse := len(s.spares) == 0 && seg.size == s.o.SegmentBytes
	number := s.next
	s.mu.Unlock()

	// Nobody looks into the segment any more, so it stays listed until its
	// name is gone for good. The next older one must not go before that.
	name := s.path(number)
	var err error
	if reuse {
		err = s.o.FS.Rename(seg.name, name+unready)
	} else {
		err = s.o.FS.Remove(seg.name)
	}
	if err != nil {
		s.o.Logger.Warn("spool keeps a segment it could not remove", "segment", seg.name, "err", err)
		return false
	}
	err = s.o.FS.SyncDir(s.o.Dir)

	s.mu.Lock()
	if err != nil {
		s.fail(fmt.Errorf("remove segment %s: %w", seg.name, err))
		s.mu.Unlock()
		return false
	}
	s.segments = slices.Delete(s.segments, 0, 1)
	if !reuse {
		s.total -= seg.size
	}
	s.mu.Unlock()
	if !reuse {
		seg.file.Close()
		return true
	}
	// Its pages are still in the page cache and its blocks in place: writing
	// over them costs half of what a new file does.
	seg.number, seg.name = number, name
	return s.prepare(seg) == nil
}

// makeRoom makes spare segments until there is room above the low-water mark.
// It reports whether there is.
func (s *Spool) makeRoom() bool {
	for {
		s.mu.Lock()
		if s.failed != nil || s.free() >= s.lowWater() {
			if s.full != nil && s.failed == nil {
				s.o.Logger.Info("spool has room again", "dir", s.o.Dir)
			}
			s.full = nil
			s.changed.Broadcast()
			s.mu.Unlock()
			return true
		}
		var err error
		if s.total+s.o.SegmentBytes > s.o.MaxBytes {
			err = fmt.Errorf("%d of at most %d bytes are taken", s.total, s.o.MaxBytes)
		}
		s.mu.Unlock()
		if err == nil {
			err = s.create(s.o.SegmentBytes)
		}
		if err != nil {
			s.mu.Lock()
			if s.full == nil && s.failed == nil {
				s.o.Logger.Warn("spool cannot grow", "dir", s.o.Dir, "err", err)
			}
			s.full = fmt.Errorf("%w: %w", ErrFull, err)
			s.changed.Broadcast()
			s.mu.Unlock()
			return false
		}
	}
}

// carry writes the open intents of a segment into the one being written, so
// that a long call does not hold a segment for ever. Those for which there is
// no room stay, until there is.
func (s *Spool) carry(seg *segment) {
	s.mu.Lock()
	open := make(map[event.ID]uint64)
	for id, at := range s.intents {
		if at >= seg.base && at < seg.end {
			open[id] = at
		}
	}
	s.mu.Unlock()

	buf := make([]byte, maxIntent)
	for id, at := range open {
		r, err := readRecord(seg, at, buf)
		if err != nil {
			s.mu.Lock()
			s.fail(err)
			s.mu.Unlock()
			return
		}
		s.mu.Lock()
		if s.intents[id] == at && s.failed == nil && s.free() >= maxIntent && s.roll() == nil {
			s.intents[id] = s.end
			start := len(s.buf)
			s.append(append(append(s.buf, make([]byte, recordHeader)...), r.payload...), start, kindIntent)
			s.segments[len(s.segments)-1].open++
			seg.open--
			seg.settled = s.end
			if len(s.buf) > maxBuffer {
				s.write() // an error has failed the spool
			}
		}
		s.mu.Unlock()
	}
}

// readRecord reads the record at a position of a segment.
func readRecord(seg *segment, at uint64, buf []byte) (record, error) {
	b := buf[:min(uint64(len(buf)), seg.end-at)]
	if _, err := seg.file.ReadAt(b, int64(at-seg.base)); err != nil {
		return record{}, fmt.Errorf("read %s at %d: %w", seg.name, at-seg.base, err)
	}
	r, _, ok := parseRecord(b, seg.seed)
	if !ok {
		return record{}, fmt.Errorf("%w: %s has no valid record at byte %d any more", ErrDamaged, seg.name, at-seg.base)
	}
	return r, nil
}
