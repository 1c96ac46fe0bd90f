package spool

import (
	"context"
	"runtime"
	"time"
)

// Wait returns nil when the event is as durable as the spool is configured
// for. Otherwise it wraps ErrTimeout (the event may still become durable) or
// ErrFailed (it may or may not be; it is not to be relied on).
func (s *Spool) Wait(r Receipt, timeout time.Duration) error {
	if s.o.Durability == Write {
		return s.waitWritten(r.end)
	}
	t, _ := s.timers.Get().(*time.Timer)
	if t == nil {
		t = time.NewTimer(timeout)
	} else {
		t.Reset(timeout)
	}
	err := s.waitSynced(context.Background(), r.end, t.C)
	t.Stop()
	s.timers.Put(t)
	return err
}

// waitWritten has everything before end in the page cache. Whoever is ready to
// run goes first, so that what they append takes no write of its own.
func (s *Spool) waitWritten(end uint64) error {
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.written >= end:
		return nil
	case s.failed != nil:
		return s.failed
	}
	return s.write()
}

// waitSynced has everything before end synced, together with whatever else is
// waited for. timeout may be nil.
func (s *Spool) waitSynced(ctx context.Context, end uint64, timeout <-chan time.Time) error {
	done := ctx.Done()
	for {
		s.mu.Lock()
		if s.synced >= end {
			s.mu.Unlock()
			return nil
		}
		if err := s.failed; err != nil {
			s.mu.Unlock()
			return err
		}
		group, now := &s.following, true
		if s.syncing && end <= s.target {
			group, now = &s.current, false
		}
		if *group == nil {
			*group = make(chan struct{})
		}
		ch := *group
		s.mu.Unlock()
		if now {
			signal(s.urgent)
		}
		select {
		case <-ch:
		case <-timeout:
			return ErrTimeout
		case <-done:
			return ctx.Err()
		}
	}
}

// syncer syncs when somebody waits, and otherwise soon after something was
// appended. Idle it costs nothing. When many events shared a sync, the next one
// begins no earlier than syncPace after it, so that more of them do.
func (s *Spool) syncer() {
	t := time.NewTimer(lazySync)
	defer t.Stop()
	var last time.Time
	var before uint64 // events that the last sync found
	var shared uint64 // events of the last sync
	for {
		select {
		case <-s.urgent:
		case <-s.lazy:
			t.Reset(lazySync)
			select {
			case <-s.urgent:
			case <-t.C:
			case <-s.quit:
				return
			}
		case <-s.quit:
			return
		}
		if early := syncPace - time.Since(last); early > 0 && shared >= manyEvents {
			t.Reset(early)
			select {
			case <-t.C:
			case <-s.quit: // nobody waits any more
				return
			}
		}
		last = time.Now()
		s.mu.Lock()
		before, shared = s.events, s.events-before
		s.mu.Unlock()
		s.commit() // an error has failed the spool
	}
}

// commit makes durable all that was appended. Only the syncer calls it, or
// Open before the syncer runs.
func (s *Spool) commit() error {
	s.mu.Lock()
	if err := s.failed; err != nil {
		s.mu.Unlock()
		return err
	}
	if err := s.write(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.dirty = false
	if s.end == s.synced {
		s.wake(&s.following)
		s.mu.Unlock()
		return nil
	}
	s.target, s.syncing = s.end, true
	s.current, s.following = s.following, nil
	// In order, and at most two but after a burst of a whole segment: the
	// last one holds nothing that counts before those ahead of it do.
	first := len(s.segments) - 1
	for first > 0 && s.segments[first].base > s.synced {
		first--
	}
	unsynced := append([]*segment(nil), s.segments[first:]...)
	s.mu.Unlock()

	var err error
	for _, seg := range unsynced {
		start := time.Now()
		if err = seg.file.Sync(); err != nil {
			break
		}
		s.meters.fsync.Observe(time.Since(start).Seconds())
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncing = false
	if err != nil {
		return s.fail(err)
	}
	s.synced = s.target
	s.wake(&s.current)
	if s.lastEvent > s.acked {
		signal(s.ready)
	}
	if len(s.segments) > 1 && s.segments[0].end <= s.acked {
		signal(s.work)
	}
	return nil
}
