package proxy

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// leftOut is why a call did not go to an endpoint that its rule lists, on account of its circuit.
func leftOut(ev *event.Event) string {
	for _, r := range ev.Request.Decision.Rejected {
		if r.Endpoint == "primary" || r.Endpoint == "backup" {
			return r.Endpoint + " " + r.Why
		}
	}
	return ""
}

// The circuit against a plain description of one, over random ends of calls.
func TestCircuitStates(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var c circuit
	now := int64(time.Hour)
	failures, open, opened := 0, false, 0
	var rest, until time.Duration
	for range 200_000 {
		now += r.Int64N(int64(4 * time.Second))
		why := c.resting(now)
		if over := time.Duration(now) >= until; open && (why == "") != over || !open && why != "" {
			t.Fatalf("open %v until %s, at %s: %q", open, until, time.Duration(now), why)
		}
		if why != "" {
			if c.enter(now) {
				t.Fatal("a call enters while the endpoint rests")
			}
			continue
		}
		if !c.enter(now) {
			t.Fatal("no call enters when the rest is over")
		}
		if open && c.enter(now) {
			t.Fatal("there are two probes")
		}
		if r.IntN(3) == 0 {
			c.succeeded()
			failures, open, rest = 0, false, 0
			continue
		}
		c.failed(now)
		if failures++; failures >= 5 {
			open = true
			opened++
			rest = min(max(2*rest, 5*time.Second), time.Minute)
			until = time.Duration(c.until)
			if wait := until - time.Duration(now); wait < rest*9/10 || wait > rest*11/10 {
				t.Fatalf("it rests %s, want %s give or take a tenth", wait, rest)
			}
		}
	}
	if opened < 1000 {
		t.Errorf("opened %d times: the test tries too little", opened)
	}
}

func TestCircuitOneProbe(t *testing.T) {
	var paused circuit // after a pause everybody may go
	paused.pause(0, 7*time.Second)
	if why := paused.resting(int64(6 * time.Second)); why != "asked for a pause, of which 1 s are left" {
		t.Errorf("in a pause: %q", why)
	}
	for range 2 {
		if now := int64(8 * time.Second); !paused.enter(now) || paused.resting(now) != "" {
			t.Error("after a pause a call may not enter")
		}
	}
	var c circuit
	for range failuresToOpen {
		c.failed(0)
	}
	var entered atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if c.enter(int64(time.Minute)) {
				entered.Add(1)
			}
		})
	}
	if all.Wait(); entered.Load() != 1 {
		t.Errorf("%d probes", entered.Load())
	}
	if why := c.resting(int64(time.Minute)); why != "rests while one call finds out whether it is well" {
		t.Errorf("while there is a probe: %q", why)
	}
}

// An endpoint that fails is left alone, and the record says so; one probe
// finds out when it is well again.
func TestCircuitOpens(t *testing.T) {
	at := &clock{begin: time.Now()}
	b := newBed(t, func(o *Options, _ *spool.Options) { o.Now = at.now })
	const down = "Simulate-Fault: status=503,endpoint=primary"
	for range failuresToOpen {
		b.want(b.call("/v1/chat/completions", chatBody, down), 200)
	}
	b.want(b.call("/v1/chat/completions", chatBody, down), 200)
	list := b.recorded()
	last := list[failuresToOpen].Request
	if first := list[0].Request; len(first.Attempts) != 2 || first.Attempts[0].Endpoint != "primary" || leftOut(list[0]) != "" {
		t.Fatalf("the first call was %+v", first)
	}
	if len(last.Attempts) != 1 || last.Attempts[0].Endpoint != "backup" || !strings.HasPrefix(leftOut(list[failuresToOpen]), "primary rests after 5 failures in a row, for ") || !strings.Contains(last.Decision.Why, ", so backup was tried first.") {
		t.Errorf("a call while the circuit is open: %+v, %d attempts", last.Decision, len(last.Attempts))
	}
	if open := b.server.circuits.open(at.now().UnixNano()); open != 1 {
		t.Errorf("%d circuits are open", open)
	}
	// The probe fails: it rests twice as long.
	at.move(6 * time.Second)
	b.want(b.call("/v1/chat/completions", chatBody, down), 200)
	at.move(6 * time.Second)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	list = b.recorded()
	if probe, after := list[6].Request, list[7].Request; len(probe.Attempts) != 2 || len(after.Attempts) != 1 || after.Attempts[0].Endpoint != "backup" {
		t.Errorf("probe %+v, after it %+v", probe.Attempts, after.Attempts)
	}
	// The next one is answered: everything is as before.
	at.move(6 * time.Second)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	for _, ev := range b.recorded()[8:] {
		if a := ev.Request.Attempts; len(a) != 1 || a[0].Endpoint != "primary" || leftOut(ev) != "" {
			t.Errorf("after it is well: %+v %+v", a, ev.Request.Decision)
		}
	}
}

// A provider that asks for a pause gets it; when all endpoints rest, the call
// is tried all the same; a client's mistake is no failure of the provider.
func TestCircuitPause(t *testing.T) {
	at := &clock{begin: time.Now()}
	b := newBed(t, func(o *Options, _ *spool.Options) { o.Now = at.now })
	b.want(b.call("/v1/chat/completions", chatBody, "Simulate-Fault: retry_after=7,endpoint=primary"), 200)
	b.want(b.call("/v1/chat/completions", chatBody, "Simulate-Fault: retry_after=7,endpoint=backup"), 429)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	list := b.recorded()
	if why := leftOut(list[1]); why != "primary asked for a pause, of which 7 s are left" {
		t.Errorf("while primary rests: %s", why)
	}
	if last := list[2].Request; last.Attempts[0].Endpoint != "primary" || !strings.Contains(last.Decision.Why, "All of them rest") {
		t.Errorf("while both rest: %+v %+v", last.Attempts, last.Decision)
	}
	at.move(8 * time.Second)
	for range 2 * failuresToOpen {
		b.want(b.call("/v1/chat/completions", chatBody, "Simulate-Fault: status=400,endpoint=primary"), 400)
	}
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	list = b.recorded()
	if last := list[len(list)-1].Request; last.Attempts[0].Endpoint != "primary" || leftOut(list[len(list)-1]) != "" {
		t.Errorf("after clients' mistakes: %+v %+v", last.Attempts, last.Decision)
	}
}
