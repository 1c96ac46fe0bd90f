package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/prometheus/client_golang/prometheus"
)

// opened is a spool on a simulated disk, in a bubble whose time is made up. It
// is closed when the test's function returns.
func opened(t *testing.T, d *simDisk, o Options, f func(t *testing.T, s *Spool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(t.Context())
		f(t, s)
	})
}

func started(t *testing.T, s *Spool) *event.Event {
	t.Helper()
	in := sampleIntent()
	if err := s.Begin(in); err != nil {
		t.Fatal(err)
	}
	ev := sampleEvent()
	ev.ID = in.ID
	return ev
}

func finish(t *testing.T, s *Spool, ev *event.Event) Receipt {
	t.Helper()
	r, err := s.Finish(ev)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A full spool refuses what is new, with ErrFull, and still takes the outcome
// of everything begun, however large. It never takes more of the disk than it
// may, and heals when events leave.
func TestFullSpoolKeepsItsPromisesAndHeals(t *testing.T) {
	for _, limit := range []string{"bound", "disk"} {
		t.Run(limit, func(t *testing.T) {
			d, h := newSimDisk(1), newHistory()
			o := simOptions(d, Fsync)
			o.Heartbeat = -1
			bound := o.MaxBytes
			if limit == "disk" {
				bound = 5 * minSegment / 2
				d.room, o.MaxBytes = bound, 1<<30
			}
			opened(t, d, o, func(t *testing.T, s *Spool) {
				var begun []event.ID
				for {
					id, ok := h.begin(s)
					if !ok {
						break
					}
					begun = append(begun, id)
					if len(begun)%4 == 0 {
						h.record(s, 20<<10)
					}
				}
				if err := s.Err(); !errors.Is(err, ErrFull) {
					t.Fatalf("Err of a full spool: %v", err)
				}
				if err := s.Begin(sampleIntent()); !errors.Is(err, ErrFull) {
					t.Fatalf("Begin in a full spool: %v", err)
				}
				if _, err := s.Record(bigEvent(0)); !errors.Is(err, ErrFull) {
					t.Fatalf("Record in a full spool: %v", err)
				}
				if len(begun) < 5 {
					t.Fatalf("full after %d intents", len(begun))
				}
				for _, id := range begun {
					ev := bigEvent(7 * event.MaxUsageRaw)
					ev.ID = id
					r, err := s.Finish(ev)
					if err != nil {
						t.Fatalf("finish in a full spool: %v", err)
					}
					h.outcome(s, ev, r, nil)
				}
				if size := d.size(); size > bound {
					t.Fatalf("%d bytes on disk, the bound is %d", size, bound)
				}
				go s.Drain(t.Context(), h.publish)
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if err := s.Err(); err != nil {
					t.Fatalf("after everything left: %v", err)
				}
				acked := len(h.acked)
				for range 60 { // more than one fill
					h.request(s, 20<<10, func() {})
					time.Sleep(100 * time.Millisecond) // the log keeps up
				}
				if n := len(h.acked) - acked; n != 60 {
					t.Fatalf("only %d of 60 requests after it healed", n)
				}
			})
			drainAll(t, d, h)
			if broken := h.check(loss{}); broken != nil {
				t.Fatalf("%q", broken)
			}
		})
	}
}

// A call that runs on holds no segment, and has its one outcome after a crash.
func TestLongCallHoldsNoSegment(t *testing.T) {
	d, h := newSimDisk(1), newHistory()
	opened(t, d, simOptions(d, Fsync), func(t *testing.T, s *Spool) {
		go s.Drain(t.Context(), h.publish)
		h.begin(s)
		for range 100 {
			h.request(s, 30<<10, func() {})
			time.Sleep(100 * time.Millisecond)
			if size := d.size(); size > 3*minSegment {
				t.Fatalf("%d bytes on disk for one open call", size)
			}
		}
	})
	d = d.restart(&crashes[0])
	drainAll(t, d, h)
	if broken := h.check(loss{}); broken != nil || h.types[event.RequestRecovered] != 1 {
		t.Fatalf("%s: %q", h, broken)
	}
}

// A file is used again for the next segment. Records of its first use that
// happen to start where those of the second end do not count.
func TestWhatAnEarlierUseLeftNeverCounts(t *testing.T) {
	d, h := newSimDisk(1), newHistory()
	o := simOptions(d, Write)
	o.Heartbeat = -1
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Drain(t.Context(), h.publish)
		for n := 0; len(d.image()["spool/"+segmentName(7)]) == 0 || n%79 != 40; n++ {
			h.record(s, 0)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.mu.Lock()
		s.fail(errors.New("stop here, without a word to the disk"))
		s.mu.Unlock()
		s.Close(t.Context())
	})
	d = d.restart(nil)
	drainAll(t, d, h)
	if broken := h.check(loss{}); broken != nil {
		t.Fatalf("%s: %q", h, broken)
	}
}

// One sync serves all who wait.
func TestGroupCommit(t *testing.T) {
	d := newSimDisk(1)
	o := simOptions(d, Fsync)
	o.SegmentBytes, o.MaxBytes = 16<<20, 64<<20 // room for all, so that no file is made meanwhile
	opened(t, d, o, func(t *testing.T, s *Spool) {
		d.syncTime = time.Millisecond
		before := d.syncs
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if err := s.Wait(finish(t, s, started(t, s)), 5*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := d.syncs - before; n > 3 {
			t.Errorf("%d syncs for 64 who wait at once", n)
		}
	})
}

// Who waits gets an answer: in time, or when the disk fails.
func TestWaitEnds(t *testing.T) {
	d := newSimDisk(1)
	opened(t, d, simOptions(d, Fsync), func(t *testing.T, s *Spool) {
		d.syncTime = 7 * time.Second
		start := time.Now()
		if err := s.Wait(finish(t, s, started(t, s)), 5*time.Second); !errors.Is(err, ErrTimeout) || time.Since(start) != 5*time.Second {
			t.Errorf("a sync of 7 s: %v after %v", err, time.Since(start))
		}
		time.Sleep(3 * time.Second)
		r := finish(t, s, started(t, s))
		d.mu.Lock()
		d.at, d.what = d.calls+2, errors.New("bad sector") // a write, then the sync
		d.mu.Unlock()
		if err := s.Wait(r, time.Minute); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "bad sector") {
			t.Errorf("a sync that fails: %v", err)
		}
		if err := s.Begin(sampleIntent()); !errors.Is(err, ErrFailed) || !errors.Is(s.Err(), ErrFailed) {
			t.Errorf("Begin after a failed sync: %v", err)
		}
	})
}

// Events leave in order and once; a batch that failed is tried again as it
// was, later and later.
func TestDrainTriesTheSameBatchAgain(t *testing.T) {
	d := newSimDisk(1)
	o := simOptions(d, Fsync)
	o.Heartbeat = -1
	opened(t, d, o, func(t *testing.T, s *Spool) {
		var recorded, published []event.ID
		for range 5 {
			ev := started(t, s)
			finish(t, s, ev)
			recorded = append(recorded, ev.ID)
		}
		var tries []string
		var at []time.Time
		go s.Drain(t.Context(), func(_ context.Context, batch []Entry) error {
			var ids []event.ID
			for _, e := range batch {
				ids = append(ids, e.ID)
			}
			if len(tries) < 9 {
				tries, at = append(tries, fmt.Sprint(ids)), append(at, time.Now())
				return errors.New("the log is away")
			}
			published = append(published, ids...)
			return nil
		})
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(slices.Compact(tries)); n != 1 || !slices.Equal(published[len(published)-5:], recorded) {
			t.Errorf("%d different batches; published %v of %v", n, published, recorded)
		}
		for i := 1; i < len(at); i++ {
			want := min(firstBackoff<<(i-1), lastBackoff)
			if got := at[i].Sub(at[i-1]); got < want/2 || got > want {
				t.Errorf("try %d after %v, want up to %v", i, got, want)
			}
		}
	})
}

// What Finish refuses leaves the intent open and uses up no seq.
func TestFinishRefuses(t *testing.T) {
	d := newSimDisk(1)
	opened(t, d, simOptions(d, Fsync), func(t *testing.T, s *Spool) {
		ev := started(t, s)
		good := ev.Request.Attempts
		ev.Request.Attempts = bigEvent(9 * event.MaxUsageRaw).Request.Attempts
		if _, err := s.Finish(ev); err == nil {
			t.Error("an event over the limit was taken")
		}
		ev.Request.Attempts = good
		finish(t, s, ev)
		if ev.Writer != s.Writer() || ev.Seq != 2 {
			t.Errorf("recorded as %s seq %d", ev.Writer, ev.Seq)
		}
		if _, err := s.Finish(ev); !errors.Is(err, ErrUnknown) {
			t.Errorf("a second outcome: %v", err)
		}
		if err := s.Begin(&event.Intent{Time: 1}); err == nil {
			t.Error("an intent without id was taken")
		}
	})
}

// The life of a writer shows: opened, beating, closed.
func TestLifecycle(t *testing.T) {
	d := newSimDisk(1)
	o := simOptions(d, Fsync)
	o.Kind, o.Heartbeat = "synthetic", 10*time.Second
	var got []string
	opened(t, d, o, func(t *testing.T, s *Spool) {
		go s.Drain(t.Context(), func(_ context.Context, batch []Entry) error {
			for _, e := range batch {
				ev, err := event.Decode(e.Bytes)
				if err != nil {
					return err
				}
				l := ev.Lifecycle
				got = append(got, fmt.Sprintln(ev.Type, ev.Source, ev.Seq, l.Instance, l.Reason, l.By, l.Version, l.Kind))
			}
			return nil
		})
		time.Sleep(25 * time.Second)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(sampleIntent()); !errors.Is(err, ErrClosed) {
			t.Errorf("Begin after Close: %v", err)
		}
	})
	want := []string{
		"writer.opened ledgerline/proxy-1 1 proxy-1   test synthetic\n",
		"writer.heartbeat ledgerline/proxy-1 2 proxy-1   test synthetic\n",
		"writer.heartbeat ledgerline/proxy-1 3 proxy-1   test synthetic\n",
		"writer.closed ledgerline/proxy-1 4 proxy-1 stopped  test synthetic\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Close does not wait for a log that is away longer than it may, and what is
// left is there at the next opening.
func TestCloseLeavesTheRest(t *testing.T) {
	d, h := newSimDisk(1), newHistory()
	h.refuse = away
	opened(t, d, simOptions(d, Fsync), func(t *testing.T, s *Spool) {
		drained := make(chan error)
		go func() { drained <- s.Drain(t.Context(), h.publish) }()
		synctest.Wait() // Drain is at work
		h.request(s, 0, func() {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := s.Close(ctx); err != nil || time.Since(start) != time.Minute {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
	drainAll(t, d, h)
	if broken := h.check(loss{}); broken != nil || len(h.acked) != 1 {
		t.Fatalf("%s: %q", h, broken)
	}
}

// On the real disk: one process per folder, and the metrics.
func TestRealFolder(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := Options{Dir: t.TempDir() + "/a/spool", Instance: "api-1", SegmentBytes: 4 * minSegment, Metrics: registry}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Errorf("a second opening: %v", err)
	}
	finish(t, s, started(t, s))
	started(t, s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	for name, want := range map[string]float64{
		"ledgerline_spool_intents_total": 2, "ledgerline_spool_open_intents": 1, "ledgerline_spool_events_total": 2, "ledgerline_spool_pending_events": 2,
		"ledgerline_spool_failed": 0, "ledgerline_spool_full": 0, "ledgerline_spool_bytes": 4 * minSegment,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v (%v), want %v", name, value, ok, want)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(o); err != nil { // the lock and the metrics are given back
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
