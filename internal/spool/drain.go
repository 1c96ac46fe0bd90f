package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// Entry is one event on its way to the log.
type Entry struct {
	ID    event.ID
	Bytes []byte // exactly as event.Append made them; valid until publish returns
}

const (
	batchBytes   = 1 << 20
	batchEntries = 1024

	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// Drain hands the synced events to publish in order, until ctx ends or the
// spool is closed, and then returns nil. A batch is all that is there, up to
// 1 MiB or 1024 entries, without waiting for more. A batch that publish
// returned nil for is done with; after an error the same batch is tried again,
// after 100 ms first and up to 5 s later, however long it takes. A crash can
// hand out again what was already published, with the same bytes.
func (s *Spool) Drain(ctx context.Context, publish func(ctx context.Context, batch []Entry) error) error {
	s.mu.Lock()
	if err := s.refused(); s.draining || errors.Is(err, ErrClosed) {
		s.mu.Unlock()
		if err == nil {
			err = errors.New("already draining")
		}
		return fmt.Errorf("drain spool: %w", err)
	}
	s.draining, s.drained = true, make(chan struct{})
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel()
		<-stopped
		s.mu.Lock()
		s.draining, s.head = false, 0
		close(s.drained)
		s.mu.Unlock()
	}()

	buf := make([]byte, min(batchBytes, s.o.SegmentBytes))
	var batch []Entry
	for ctx.Err() == nil {
		next, found, err := s.read(buf, batch[:0])
		if err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.fail(err)
		}
		batch = found
		if next == 0 {
			select {
			case <-s.ready:
			case <-ctx.Done():
			}
			continue
		}
		if len(batch) > 0 && !s.publish(ctx, batch, publish) {
			return nil
		}
		s.ack(next, len(batch))
	}
	return nil
}

// publish tries until it succeeds or ctx ends.
func (s *Spool) publish(ctx context.Context, batch []Entry, publish func(context.Context, []Entry) error) bool {
	for wait := firstBackoff; ; wait = min(2*wait, lastBackoff) {
		err := publish(ctx, batch)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.meters.publishErrors.Inc()
		s.o.Logger.Warn("spool could not publish, will try again", "dir", s.o.Dir, "events", len(batch), "err", err)
		t := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
}

// read fills batch with the events from acked on. next is the position behind
// what was read, 0 when there was nothing.
func (s *Spool) read(buf []byte, batch []Entry) (next uint64, _ []Entry, err error) {
	s.mu.Lock()
	from, to := s.acked, s.synced
	seg := s.segmentOf(from)
	if seg != s.segments[len(s.segments)-1] {
		to = min(to, seg.end)
	}
	from = max(from, seg.base+headerBytes)
	s.mu.Unlock()
	if to <= from {
		return 0, batch, nil
	}
	b := buf[:min(uint64(len(buf)), to-from)]
	if _, err := seg.file.ReadAt(b, int64(from-seg.base)); err != nil {
		return 0, batch, fmt.Errorf("read %s: %w", seg.name, err)
	}
	for next = from; next < to && len(batch) < batchEntries; {
		r, need, ok := parseRecord(b, seg.seed)
		if !ok && next > from && need > len(b) && next+uint64(need) <= to {
			break // the rest of the buffer is not a whole record
		}
		if !ok {
			return 0, batch, fmt.Errorf("%w: %s has no valid record at byte %d any more", ErrDamaged, seg.name, next-seg.base)
		}
		if r.kind == kindEvent || r.kind == kindClose {
			batch = append(batch, Entry{ID: r.id(), Bytes: r.event()})
		}
		next += uint64(r.size)
		b = b[r.size:]
	}
	if len(batch) > 0 {
		s.mu.Lock()
		s.head = event.Micros(batch[0].ID.Milli() * 1000)
		s.mu.Unlock()
	}
	return next, batch, nil
}

// ack takes note that all before a position, n events more, have left.
func (s *Spool) ack(to uint64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked, s.head = to, 0
	s.left += uint64(n)
	s.wake(&s.ackNews)
	passed := len(s.segments) > 1 && s.segments[0].end <= to
	if now := time.Now(); passed || n > 0 && now.Sub(s.ackedWhen) >= ackEvery {
		s.ackedWhen = now
		s.appendAck()
	}
	if passed {
		signal(s.work)
	}
}

// appendAck notes the acked position. Caller holds mu.
func (s *Spool) appendAck() {
	if s.failed != nil || s.acked == s.ackedTo || s.free() < ackRoom || s.roll() != nil {
		return
	}
	start := len(s.buf)
	b := append(s.buf, make([]byte, recordHeader)...)
	s.append(appendPosition(b, s.acked), start, kindAck)
	s.ackedTo, s.ackedEnd = s.acked, s.end
}

const ackRoom = recordHeader + 8

// Flush waits until everything recorded so far has been published. Somebody
// must be draining.
func (s *Spool) Flush(ctx context.Context) error {
	if err := s.flushed(ctx); err != nil {
		return fmt.Errorf("flush spool: %w", err)
	}
	return nil
}

func (s *Spool) flushed(ctx context.Context) error {
	s.mu.Lock()
	end := s.lastEvent
	s.mu.Unlock()
	if err := s.waitSynced(ctx, end, nil); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		if s.acked >= end {
			s.mu.Unlock()
			return nil
		}
		if s.ackNews == nil {
			s.ackNews = make(chan struct{})
		}
		news := s.ackNews
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
