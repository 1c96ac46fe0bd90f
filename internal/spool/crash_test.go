package spool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var crashSeed = flag.Uint64("crash-seed", 1, "start of the random choices of the crash tests")

func simOptions(d *simDisk, durability Durability) Options {
	return Options{Dir: "spool", FS: d, Instance: "proxy-1", Version: "test", Durability: durability,
		SegmentBytes: minSegment, MaxBytes: 4 * minSegment, Heartbeat: 200 * time.Millisecond}
}

// onAndOff is a log that is away now and then; away one that stays away.
func onAndOff(batch int) bool { return batch%5 == 2 }
func away(int) bool           { return true }

// live is one opening with everything the spool is for: requests side by side,
// one that runs on while segments come and go, one that never ends, events
// without intent, idle time, and the close. It ends early when the disk fails
// or the process dies; the error is Open's.
func live(t *testing.T, d *simDisk, h *history, durability Durability, refuse func(batch int) bool) (err error) {
	synctest.Test(t, func(t *testing.T) {
		h.dead, h.refuse = d.dead, refuse
		var s *Spool
		if s, err = Open(simOptions(d, durability)); err != nil {
			return
		}
		drained := make(chan error)
		go func() { drained <- s.Drain(t.Context(), h.publish) }()
		var all sync.WaitGroup
		long := make(chan struct{})
		all.Go(func() { h.request(s, 0, func() { <-long }) })
		h.begin(s)
		for range 3 {
			var calls sync.WaitGroup
			for range 3 {
				calls.Go(func() { h.request(s, 30<<10, func() {}) })
			}
			calls.Go(func() { h.record(s, 30<<10) })
			calls.Wait()
			time.Sleep(300 * time.Millisecond)
		}
		close(long)
		all.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
		<-drained
	})
	return err
}

// drainAll is the last opening: nothing fails, everything left is published.
func drainAll(t *testing.T, d *simDisk, h *history) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h.dead = func() bool { return false }
		h.refuse = func(int) bool { return false }
		s, err := Open(simOptions(d, Fsync))
		if err != nil {
			h.breach("the last opening: %v", err)
			return
		}
		go s.Drain(t.Context(), h.publish)
		if err := s.Flush(t.Context()); err != nil {
			h.breach("the last flush: %v", err)
		}
		if err := s.Close(t.Context()); err != nil {
			h.breach("the last close: %v", err)
		}
	})
}

// mayLose is what a death of this kind may take.
func mayLose(c *crash, durability Durability) loss {
	switch {
	case c == nil:
		return loss{outcomes: true} // they become recovered events
	case durability == Fsync:
		return loss{intents: true, outcomes: true}
	default:
		return loss{true, true, true}
	}
}

// deaths are the ways to die: the process alone (nil), or the machine.
func deaths() (all []*crash) {
	all = []*crash{nil}
	for i := range crashes {
		all = append(all, &crashes[i])
	}
	return all
}

func (c *crash) String() string {
	if c == nil {
		return "kill"
	}
	return c.name
}

// calls says how many calls a life makes when nothing happens, which also has
// to be in order.
func calls(t *testing.T, durability Durability) int {
	d, h := newSimDisk(*crashSeed), newHistory()
	if err := live(t, d, h, durability, onAndOff); err != nil {
		t.Fatal(err)
	}
	n := d.calls
	drainAll(t, d, h)
	if broken := h.check(loss{}); broken != nil {
		t.Fatalf("undisturbed: %q", broken)
	}
	if len(h.acked) != len(h.begun)-1+3 || h.types["llm.request.recovered"] != 1 || len(h.seqs) != 2 {
		t.Fatalf("undisturbed: %s", h)
	}
	t.Logf("undisturbed: %d calls, %s", n, h)
	return n
}

// After a death at any call nothing acknowledged is missing, nothing is
// invented, and no sequence has a gap or two contents.
func TestDeathAtEveryCall(t *testing.T) {
	for _, durability := range []Durability{Fsync, Write} {
		t.Run([]string{"fsync", "write"}[durability], func(t *testing.T) {
			n := calls(t, durability)
			for at := 1; at <= n+5; at++ {
				for i := range 4 {
					d, h := newSimDisk(*crashSeed+uint64(100*at+i)), newHistory()
					c := deaths()[i]
					if i > 1 {
						c = deaths()[i+d.rng.IntN(len(deaths())-i)]
					}
					d.at, d.what = at, errDead
					live(t, d, h, durability, onAndOff)
					died := d.failed
					d = d.restart(c)
					drainAll(t, d, h)
					if broken := h.check(mayLose(c, durability)); broken != nil {
						t.Fatalf("dead at call %d (%s), %s: %s\n%q", at, died, c, h, broken)
					}
				}
			}
		})
	}
}

// The same when the opening after a death dies too, at any of its calls, and
// the one after that, and the one after that.
func TestDeathInRecovery(t *testing.T) {
	rng := rand.New(rand.NewPCG(*crashSeed, 2))
	n := calls(t, Fsync)
	for at := 3; at <= n; at += 1 + rng.IntN(12) {
		for again := 1; again <= 25; again++ {
			durability := Durability(rng.IntN(2))
			d, h := newSimDisk(rng.Uint64()), newHistory()
			d.at, d.what = at, errDead
			live(t, d, h, durability, onAndOff)
			story := fmt.Sprintf("dead at call %d (%s)", at, d.failed)
			worst := loss{}
			for range 3 {
				c := deaths()[rng.IntN(len(deaths()))]
				m := mayLose(c, durability)
				worst = loss{worst.intents || m.intents, worst.outcomes || m.outcomes, worst.acks || m.acks}
				story += fmt.Sprintf(", %s", c)
				d = d.restart(c)
				d.at, d.what = again, errDead
				live(t, d, h, durability, onAndOff)
				story += fmt.Sprintf(", again at %d (%s)", again, d.failed)
			}
			d = d.restart(nil)
			drainAll(t, d, h)
			if broken := h.check(worst); broken != nil {
				t.Fatalf("%s: %s\n%q", story, h, broken)
			}
		}
	}
}

// A call of the disk that fails is no death: the spool stops or goes on, and
// what it acknowledged holds, also when the machine crashes afterwards, at
// once or after the next process worked on with the page cache as it was.
func TestFailureOfEveryCall(t *testing.T) {
	for _, durability := range []Durability{Fsync, Write} {
		n := calls(t, durability)
		for at := 1; at <= n; at++ {
			for i := range 3 {
				d, h := newSimDisk(*crashSeed+uint64(100*at+i)), newHistory()
				c := deaths()[d.rng.IntN(len(deaths()))]
				d.at, d.what = at, []error{syscall.EIO, syscall.ENOSPC}[d.rng.IntN(2)]
				what, logs := d.what, []func(int) bool{onAndOff, away}
				err := live(t, d, h, durability, logs[d.rng.IntN(2)])
				failed := d.failed
				if err != nil && !errors.Is(err, what) {
					t.Fatalf("call %d (%s) fails: Open: %v", at, failed, err)
				}
				lives := 1 + d.rng.IntN(2)
				if lives == 2 {
					d = d.restart(nil)
					live(t, d, h, durability, away)
				}
				d = d.restart(c)
				drainAll(t, d, h)
				if broken := h.check(mayLose(c, durability)); broken != nil {
					t.Fatalf("call %d (%s) fails with %v, then after %d lives %s: %s\n%q", at, failed, what, lives, c, h, broken)
				}
			}
		}
	}
}

// Damage to what had been synced is never taken for a torn tail: the opening
// refuses, or nothing is lost. Nor is a file that is gone.
func TestDamageIsRefused(t *testing.T) {
	damaged := 0
	for try := range 60 {
		d, h := newSimDisk(*crashSeed+uint64(try)), newHistory()
		if err := live(t, d, h, Fsync, away); err != nil {
			t.Fatal(err)
		}
		d = d.restart(nil)
		known := knownSynced(t, d)
		files := slices.Sorted(maps.Keys(known))
		name := files[d.rng.IntN(len(files))]
		what := "is gone"
		if try%4 == 0 && name != files[len(files)-1] {
			delete(d.files, name)
		} else {
			n := d.files[name]
			at := d.rng.IntN(known[name]) // behind that it could be a torn tail
			what = fmt.Sprintf("byte %d", at)
			n.seen[at] ^= 0x40
		}
		before := d.image()
		s, err := Open(simOptions(d, Fsync))
		if errors.Is(err, ErrDamaged) {
			damaged++
			if !reflect.DeepEqual(d.image(), before) {
				t.Fatalf("%s %s: refused, but files were changed", name, what)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Close(t.Context())
		drainAll(t, d, h)
		if broken := h.check(loss{}); broken != nil {
			t.Fatalf("%s %s: not refused: %q", name, what, broken)
		}
	}
	if damaged < 40 {
		t.Fatalf("only %d damages of 60 were refused", damaged)
	}
}

// knownSynced says how much of each segment in use is known to have been synced.
func knownSynced(t *testing.T, d *simDisk) map[string]int {
	s := &Spool{o: simOptions(d, Fsync)}
	p, err := s.readPast(make([]byte, batchBytes))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	for _, seg := range p.segments {
		known[seg.name] = int(min(p.synced, seg.end) - seg.base)
	}
	return known
}
