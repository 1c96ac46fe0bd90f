package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ledgerline/ledgerline/internal/event"
)

// Open takes the folder for this process and goes on where the last opening
// ended: a torn tail is cut, dead writers are closed, intents without outcome
// become recovered events. When it returns, all of that is synced.
//
// It fails with ErrLocked when another process has the folder, and with
// ErrDamaged, changing nothing, when something that had been synced cannot be
// read.
func Open(o Options) (*Spool, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	lock, err := o.FS.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{
		o: o, lock: lock, meters: newMeters(), writer: fmt.Sprintf("%s.%016x", o.Instance, random()),
		buf:     make([]byte, 0, maxBuffer+maxRecord+maxBegin),
		intents: make(map[event.ID]uint64),
		urgent:  make(chan struct{}, 1), lazy: make(chan struct{}, 1), work: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		quit: make(chan struct{}),
	}
	s.changed.L = &s.mu
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", o.Dir, err), s.release())
	}
	if err := s.meters.register(o.Metrics, s); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.release())
	}
	var ctx context.Context
	ctx, s.stopBeat = context.WithCancel(context.Background())
	loops := []func(){s.syncer, s.keeper}
	if o.Heartbeat > 0 {
		loops = append(loops, func() { s.beat(ctx) })
	}
	for _, loop := range loops {
		s.running.Go(loop)
	}
	signal(s.work)
	return s, nil
}

// past is what the folder says about former openings.
type past struct {
	segments []*segment          // readable, in order; the end of each is known
	events   []int               // of each segment
	later    []*segment          // behind the cut
	writers  []*writer           // in order of appearance
	intents  map[event.ID]uint64 // without outcome, by position
	cut      uint64              // all before it is valid
	synced   uint64              // all before it is known to have been synced
	acked    uint64
}

type writer struct {
	name, kind string
	last       uint64 // seq
	closed     bool
}

func (p *past) writer(name string) *writer {
	for _, w := range p.writers {
		if w.name == name {
			return w
		}
	}
	w := &writer{name: name}
	p.writers = append(p.writers, w)
	return w
}

func (s *Spool) recover() error {
	buf := make([]byte, min(batchBytes, s.o.SegmentBytes))
	p, err := s.readPast(buf)
	if err != nil {
		return err
	}
	if err := s.repair(p, buf); err != nil {
		return err
	}
	// From here on the past is durable up to the cut, and nothing else of it
	// exists. What follows may be interrupted anywhere: whatever part of it
	// survives is the past of the next opening, and none of it was published.
	s.end, s.written, s.synced = p.cut, p.cut, p.cut
	s.acked = p.acked
	for i, seg := range p.segments {
		if n := p.events[i]; n > 0 && seg.end > p.acked {
			if seg.base < p.acked {
				if n, err = countEvents(seg, p.acked, buf); err != nil {
					return err
				}
			}
			s.events += uint64(n)
			s.lastEvent = seg.end
		}
	}
	if err := s.createSome(); err != nil {
		return err
	}
	s.mu.Lock()
	err = s.roll()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.settlePast(p); err != nil {
		return err
	}
	return s.commit()
}

// createSome makes room for what an opening has to record, also beyond
// MaxBytes: at most one segment, and the last one was cut to its content. When
// the disk is that full it makes a smaller one.
func (s *Spool) createSome() error {
	for size := s.o.SegmentBytes; ; size /= 2 {
		err := s.create(size)
		if err == nil || s.failed != nil || size/2 < minSegment {
			return err
		}
	}
}

// settlePast opens this writer, closes the dead ones and gives every intent
// its outcome.
func (s *Spool) settlePast(p *past) error {
	add := func(ev *event.Event, closes bool) error {
		for s.free() < recordRoom {
			if err := s.createSome(); err != nil {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		var err error
		if closes {
			_, err = s.recordClose(ev)
		} else {
			_, err = s.record(ev)
		}
		return err
	}
	if err := add(s.lifecycle(event.WriterOpened, "", 0, event.Lifecycle{Instance: s.o.Instance}), false); err != nil {
		return err
	}
	for _, w := range p.writers {
		if w.closed || w.last == 0 {
			continue
		}
		l := event.Lifecycle{Instance: w.name[:max(0, len(w.name)-17)], Reason: "recovered", By: s.writer, Kind: w.kind}
		if err := add(s.lifecycle(event.WriterClosed, w.name, w.last+1, l), true); err != nil {
			return err
		}
		s.o.Logger.Warn("spool closed a writer that had died", "writer", w.name, "seq", w.last+1)
	}
	type lost struct {
		id event.ID
		at uint64
	}
	var open []lost
	for id, at := range p.intents {
		open = append(open, lost{id, at})
	}
	slices.SortFunc(open, func(a, b lost) int { return cmp.Compare(a.at, b.at) })
	buf := make([]byte, maxIntent)
	for _, l := range open {
		r, err := readRecord(s.segmentOf(l.at), l.at, buf)
		if err != nil {
			return err
		}
		in, err := event.DecodeIntent(r.payload[16:])
		if err != nil {
			return fmt.Errorf("intent %s: %w", l.id, err)
		}
		if err := add(in.Recovered(s.o.Source), false); err != nil {
			return err
		}
	}
	if len(open) > 0 {
		s.o.Logger.Warn("spool recovered calls whose outcome was lost", "calls", len(open))
	}
	return nil
}

// readPast reads all segments. It changes nothing.
func (s *Spool) readPast(buf []byte) (*past, error) {
	files, err := s.openSegments(buf)
	s.segments = files // for release
	if err != nil {
		return nil, err
	}
	p := &past{intents: make(map[event.ID]uint64)}
	for i, seg := range files {
		end, err := p.readSegment(seg, buf)
		if err != nil {
			return nil, err
		}
		if end == 0 { // never begun, or not where the one before ends
			p.later = files[i:]
			break
		}
		seg.end, p.cut = end, end
		p.segments = append(p.segments, seg)
	}
	if err := p.checkCut(buf); err != nil {
		return nil, err
	}
	if len(p.segments) > 0 && p.acked < p.segments[0].base {
		return nil, damaged(p.segments[0], 0, "the segment before is missing, and not all of it had left")
	}
	return p, nil
}

// openSegments opens the segments in order.
func (s *Spool) openSegments(buf []byte) ([]*segment, error) {
	names, err := s.o.FS.List(s.o.Dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if number, ok := parseSegmentName(name); ok {
			numbers = append(numbers, number)
		}
		if _, ok := parseSegmentName(strings.TrimSuffix(name, unready)); ok && strings.HasSuffix(name, unready) {
			if err := s.o.FS.Remove(filepath.Join(s.o.Dir, name)); err != nil {
				return nil, err
			}
		}
	}
	// What the opening before this one made or removed may not be durable yet.
	if err := s.o.FS.SyncDir(s.o.Dir); err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	var segments []*segment
	for _, number := range numbers {
		name := s.path(number)
		file, err := s.o.FS.Open(name)
		if err != nil {
			return segments, err
		}
		seg := &segment{number: number, name: name, file: file}
		segments = append(segments, seg)
		if seg.size, err = file.Size(); err != nil {
			return segments, err
		}
		n := min(seg.size, headerBytes)
		if _, err := file.ReadAt(buf[:n], 0); err != nil {
			return segments, fmt.Errorf("read %s: %w", name, err)
		}
		is, epoch, ok := parseHeader(buf[:n])
		if !ok || is != number {
			return segments, damaged(seg, 0, "its header is not valid")
		}
		seg.seed = seedOf(epoch)
		s.next = number + 1
	}
	s.next = max(s.next, 1)
	return segments, nil
}

// discard removes a segment that holds nothing.
func (s *Spool) discard(seg *segment) error {
	err := errors.Join(seg.file.Close(), s.o.FS.Remove(seg.name))
	if err == nil {
		err = s.o.FS.SyncDir(s.o.Dir)
	}
	return err
}

// readSegment reads the records of a segment up to the first that is not
// valid. It returns the position there, or 0 when the segment does not begin
// where the last one ended.
func (p *past) readSegment(seg *segment, buf []byte) (uint64, error) {
	first, events := true, 0
	var w *writer
	off, err := walk(seg, headerBytes, buf, func(off int64, r record) error {
		if first {
			first = false
			if r.kind != kindBegin {
				return errStop
			}
			x := r.begin()
			if len(p.segments) > 0 && x.base != p.cut {
				return errStop
			}
			seg.base = x.base
			w = p.writer(x.writer)
			w.kind = x.kind
			if w.last == 0 {
				w.last = x.seq
			}
			p.acked = max(p.acked, x.acked)
		}
		p.synced = max(p.synced, r.synced)
		switch r.kind {
		case kindIntent:
			p.intents[r.id()] = seg.base + uint64(off)
		case kindEvent:
			if r.seq() != w.last+1 {
				return damaged(seg, off, fmt.Sprintf("seq %d of writer %s follows %d", r.seq(), w.name, w.last))
			}
			w.last = r.seq()
			delete(p.intents, r.id())
			events++
		case kindClose:
			dead := p.writer(r.closes())
			dead.last, dead.closed = r.seq(), true
			events++
		case kindAck:
			p.acked = max(p.acked, position(r.payload))
		}
		return nil
	})
	if err != nil || off == headerBytes {
		return 0, err
	}
	p.events = append(p.events, events)
	return seg.base + uint64(off), nil
}

// checkCut looks behind the cut for a record that says that more than what is
// before the cut had been synced. If there is one, that was lost by damage.
func (p *past) checkCut(buf []byte) error {
	from := int64(headerBytes)
	files := p.later
	if n := len(p.segments); n > 0 {
		files = append(p.segments[n-1:n:n], files...)
		from = int64(p.cut - files[0].base)
	}
	hole := from
	for _, seg := range files {
		claim, err := highestSynced(seg, from, buf)
		if err != nil {
			return err
		}
		if claim > p.cut {
			return damaged(files[0], hole, fmt.Sprintf("%d bytes from there on had been synced", claim-p.cut))
		}
		from = headerBytes
	}
	return nil
}

func damaged(seg *segment, off int64, what string) error {
	return fmt.Errorf("%w: %s at byte %d: %s. Nothing was changed. Check the disk, then restore the file from a copy; or move the whole folder away and start with an empty one: "+
		"its events that were not published are then lost, and its writers stay open in the books until that is explained", ErrDamaged, seg.name, off, what)
}

// repair makes the past durable up to the cut and removes what is behind it.
// What is not known to have been synced is written again: after a sync that
// failed, the page cache shows bytes that the disk does not have, and another
// sync would not write them.
func (s *Spool) repair(p *past, buf []byte) error {
	for i, seg := range p.segments {
		last := i == len(p.segments)-1
		if seg.end <= p.synced && !last {
			continue
		}
		end := int64(seg.end - seg.base)
		for off := max(headerBytes, int64(p.synced)-int64(seg.base)); off < end; off += int64(len(buf)) {
			b := buf[:min(int64(len(buf)), end-off)]
			if _, err := seg.file.ReadAt(b, off); err != nil {
				return fmt.Errorf("read %s: %w", seg.name, err)
			}
			if _, err := seg.file.WriteAt(b, off); err != nil {
				return fmt.Errorf("write %s: %w", seg.name, err)
			}
		}
		if last {
			if err := seg.file.Truncate(end); err != nil {
				return fmt.Errorf("cut %s: %w", seg.name, err)
			}
			seg.size = end
		}
		if err := seg.file.Sync(); err != nil {
			return err
		}
	}
	for _, seg := range slices.Backward(p.later) {
		s.segments = s.segments[:len(s.segments)-1]
		if err := s.discard(seg); err != nil {
			return err
		}
		s.next = seg.number
	}
	for _, seg := range p.segments {
		s.total += seg.size
	}
	return nil
}

var errStop = errors.New("stop")

// walk calls f for each record from off on, until one is not valid or f
// returns an error; errStop is not one for the caller. It returns the offset
// behind the last record that f took.
func walk(seg *segment, off int64, buf []byte, f func(off int64, r record) error) (int64, error) {
	for off < seg.size {
		b := buf[:min(int64(len(buf)), seg.size-off)]
		if _, err := seg.file.ReadAt(b, off); err != nil {
			return off, fmt.Errorf("read %s: %w", seg.name, err)
		}
		for start := len(b); ; {
			r, need, ok := parseRecord(b, seg.seed)
			if !ok {
				if need > len(b) && len(b) < start && off+int64(need) <= seg.size {
					break // it is not wholly in the buffer
				}
				return off, nil
			}
			switch err := f(off, r); {
			case errors.Is(err, errStop):
				return off, nil
			case err != nil:
				return off, err
			}
			off += int64(r.size)
			b = b[r.size:]
		}
	}
	return off, nil
}

// highestSynced searches a segment from off on for valid records, wherever
// they are, and returns the highest position that one of them calls synced.
func highestSynced(seg *segment, off int64, buf []byte) (uint64, error) {
	var highest uint64
	for off < seg.size {
		b := buf[:min(int64(len(buf)), seg.size-off)]
		if _, err := seg.file.ReadAt(b, off); err != nil {
			return 0, fmt.Errorf("read %s: %w", seg.name, err)
		}
		last := off+int64(len(b)) >= seg.size
		i := 0
		for ; i < len(b) && (last || i+maxRecord <= len(b)); i += align {
			if r, _, ok := parseRecord(b[i:], seg.seed); ok {
				highest = max(highest, r.synced)
			}
		}
		off += int64(i)
	}
	return highest, nil
}

// countEvents counts those from a position on.
func countEvents(seg *segment, from uint64, buf []byte) (n int, err error) {
	_, err = walk(seg, int64(max(from-seg.base, headerBytes)), buf, func(_ int64, r record) error {
		if r.kind == kindEvent || r.kind == kindClose {
			n++
		}
		return nil
	})
	return n, err
}
