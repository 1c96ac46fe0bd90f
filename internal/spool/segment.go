package spool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path/filepath"
)

// segment is one file.
type segment struct {
	number uint64
	name   string
	file   File
	seed   uint32
	size   int64 // of the file

	// Guarded by Spool.mu.
	base    uint64 // position of the first byte
	end     uint64 // position behind the last record; of the last segment: not set
	open    int    // intents here without outcome
	settled uint64 // where the last outcome of an intent here ends
}

// segmentOf is the segment that a position lies in. Caller holds mu.
func (s *Spool) segmentOf(at uint64) *segment {
	for i := len(s.segments) - 1; i > 0; i-- {
		if s.segments[i].base <= at {
			return s.segments[i]
		}
	}
	return s.segments[0]
}

// free is the room in bytes that nothing is reserved for. A segment takes any
// record while maxRecord bytes of it are left, so it surely takes all but that
// many. Caller holds mu.
func (s *Spool) free() int64 {
	active := s.segments[len(s.segments)-1]
	room := max(0, active.size-maxRecord-int64(s.end-active.base))
	for _, spare := range s.spares {
		room += usable(spare.size)
	}
	return room - s.reserved
}

func usable(size int64) int64 { return size - headerBytes - maxBegin - maxRecord }

const maxBegin = recordHeader + 32 + 32 + maxWriter + align

// admit waits until there is room, or says why there is none. Caller holds mu,
// which is given up while waiting.
func (s *Spool) admit(room int64) error {
	for {
		if err := s.refused(); err != nil {
			return err
		}
		if s.free() >= room {
			return nil
		}
		if s.full != nil {
			return s.full
		}
		signal(s.work)
		s.changed.Wait()
	}
}

// lookAhead has the keeper make room before anybody waits for it. Caller holds
// mu.
func (s *Spool) lookAhead() {
	if s.full == nil && s.free() < s.lowWater() {
		signal(s.work)
	}
}

// lowWater is the room below which another segment is made. It is more than
// any single admission asks for.
func (s *Spool) lowWater() int64 { return s.o.SegmentBytes / 2 }

// roll goes on to the next segment unless this one takes any record. Caller
// holds mu.
func (s *Spool) roll() error {
	if n := len(s.segments); n > 0 {
		active := s.segments[n-1]
		if int64(s.end-active.base)+maxRecord <= active.size {
			return nil
		}
		if len(s.spares) == 0 {
			return fmt.Errorf("%w: no segment to go on to", ErrFull)
		}
		if err := s.write(); err != nil {
			return err
		}
		active.end = s.end
	}
	seg := s.spares[0]
	s.spares = s.spares[1:]
	seg.base = s.end
	s.segments = append(s.segments, seg)
	s.end += headerBytes
	s.written = s.end
	start := len(s.buf)
	b := append(s.buf, make([]byte, recordHeader)...)
	b = (&begin{base: seg.base, seq: s.seq, acked: s.acked, kind: s.o.Kind, writer: s.writer}).append(b)
	s.append(b, start, kindBegin)
	s.ackedTo, s.ackedEnd = s.acked, s.end
	return nil
}

// create makes a segment of the given size, durable and empty. An error that
// leaves doubt about what is durable fails the spool. Only the keeper calls
// it, or Open before the keeper runs.
func (s *Spool) create(size int64) error {
	s.mu.Lock()
	number := s.next
	s.mu.Unlock()
	name := s.path(number)
	file, err := s.o.FS.Create(name+unready, size)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	s.mu.Lock()
	s.total += size
	s.mu.Unlock()
	return s.prepare(&segment{number: number, name: name, file: file, size: size})
}

// prepare gives an unready file its header, and makes it a spare.
func (s *Spool) prepare(seg *segment) error {
	epoch := random()
	seg.seed = seedOf(epoch)
	seg.base, seg.end, seg.open, seg.settled = 0, 0, 0, 0
	_, err := seg.file.WriteAt(appendHeader(nil, seg.number, epoch), 0)
	if err == nil {
		err = seg.file.Sync()
	}
	if err == nil {
		err = s.o.FS.Rename(seg.name+unready, seg.name)
	}
	if err == nil {
		err = s.o.FS.SyncDir(s.o.Dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = seg.number + 1
	s.spares = append(s.spares, seg)
	if err != nil {
		return s.fail(fmt.Errorf("prepare segment %s: %w", seg.name, err))
	}
	return nil
}

func (s *Spool) path(number uint64) string { return filepath.Join(s.o.Dir, segmentName(number)) }

func random() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
