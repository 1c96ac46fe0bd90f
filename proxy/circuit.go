package proxy

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// How long an endpoint that fails is left alone.
const (
	failuresToOpen = 5                // in a row: the circuit opens
	shortestRest   = 5 * time.Second  // of the first opening; twice as long with each probe that fails
	longestRest    = time.Minute      // also for a Retry-After
	probeTime      = 30 * time.Second // in which a probe should be answered; then another call may be one
)

// circuit remembers how an endpoint did. It is closed until several calls in a
// row have failed, or the provider has asked for a pause; open, no call goes
// there while another endpoint may take it; when its rest is over, one call is
// the probe that closes it or opens it again. It outlives a snapshot.
type circuit struct {
	trouble atomic.Bool // anything below is not zero

	mu       sync.Mutex
	failures int           // in a row
	until    int64         // Unix nanoseconds: it rests, or a probe is under way; 0: closed
	rest     time.Duration // the last one after failures
	why      waiting       // until then
}

// waiting is why no call goes to an endpoint until a time.
type waiting int

const (
	failing waiting = iota // it failed
	paused                 // the provider asked for it
	probing                // one call finds out
)

// circuits are those of all endpoints that were called, by id.
type circuits struct{ of sync.Map }

func (s *circuits) circuit(endpoint string) *circuit {
	if c, ok := s.of.Load(endpoint); ok {
		return c.(*circuit)
	}
	c, _ := s.of.LoadOrStore(endpoint, new(circuit))
	return c.(*circuit)
}

// open counts those that rest.
func (s *circuits) open(now int64) (n int) {
	s.of.Range(func(_, c any) bool {
		if c.(*circuit).resting(now) != "" {
			n++
		}
		return true
	})
	return n
}

// resting says why no call should go there now; empty when one may.
func (c *circuit) resting(now int64) string {
	if !c.trouble.Load() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now >= c.until {
		return ""
	}
	wait := strconv.FormatInt((c.until-now+int64(time.Second)-1)/int64(time.Second), 10)
	switch c.why {
	case paused:
		return "asked for a pause, of which " + wait + " s are left"
	case probing:
		return "rests while one call finds out whether it is well"
	}
	return "rests after " + strconv.Itoa(c.failures) + " failures in a row, for " + wait + " s"
}

// enter says that a call goes there. Of several when a rest after failures is
// over only the first may: it is the probe. A pause just ends.
func (c *circuit) enter(now int64) bool {
	if !c.trouble.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.until == 0:
		return true
	case now < c.until:
		return false
	case c.why == paused && c.failures < failuresToOpen:
		c.until = 0
		c.trouble.Store(c.failures > 0)
		return true
	}
	c.until, c.why = now+int64(probeTime), probing
	return true
}

// succeeded and failed tell how a call ended there.
func (c *circuit) succeeded() {
	if !c.trouble.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.until, c.rest = 0, 0, 0
	c.trouble.Store(false)
}

func (c *circuit) failed(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble.Store(true)
	if c.failures++; c.failures < failuresToOpen {
		return
	}
	c.rest = min(max(2*c.rest, shortestRest), longestRest)
	// A tenth earlier or later, so that the proxies do not probe together.
	spread := int64(c.rest) / 10
	c.until, c.why = now+int64(c.rest)-spread+rand.Int64N(2*spread), failing
}

// pause is what a provider asks for with Retry-After.
func (c *circuit) pause(now int64, wait time.Duration) {
	if wait == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble.Store(true)
	if until := now + int64(min(wait, longestRest)); until > c.until {
		c.until, c.why = until, paused
	}
}

// judge tells the endpoint's circuit how the attempt has ended. A call that
// the client or the proxy broke off tells nothing about the provider, and what
// the provider refuses as the client's mistake says that it is well.
func (c *call) judge(a *event.Attempt) {
	now := c.s.o.Now().UnixNano()
	switch {
	case a.Error == "cancelled" || a.Error == "too_large":
	case a.Error != "" && a.Error != "http" || a.Status >= 500:
		c.up.circuit.failed(now)
	case a.Status == 429:
		c.up.circuit.pause(now, c.retryAsked())
	default:
		c.up.circuit.succeeded()
	}
}

// retryAsked is the pause that the provider's answer asks for, in whole
// seconds (RFC 9110, 10.2.3; its other form, a date, is not read).
func (c *call) retryAsked() time.Duration {
	if c.ctx == nil {
		return 0
	}
	for name, value := range c.ctx.Response.Header.All() {
		if is(name, "retry-after") {
			if seconds, err := strconv.ParseUint(wire.String(value), 10, 31); err == nil {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	return 0
}

// steer leaves out the endpoints that rest, while one is left that does not;
// when all do, the call is tried with them as if none did.
func (c *call) steer() {
	now := c.started.UnixNano()
	endpoints := c.route.Endpoints
	trouble := false
	for _, e := range endpoints {
		trouble = trouble || c.plan.upstreams[e].circuit.trouble.Load()
	}
	if !trouble || len(endpoints) == 1 {
		return
	}
	var ready []*governance.Endpoint
	var left []event.Rejected
	for _, e := range endpoints {
		circuit := c.plan.upstreams[e].circuit
		why := circuit.resting(now)
		if why == "" && len(ready) == 0 && !circuit.enter(now) {
			why = circuit.resting(now) // another call was the first
		}
		if why == "" {
			ready = append(ready, e)
		} else {
			left = append(left, event.Rejected{Endpoint: e.ID, Why: why})
		}
	}
	d := &c.data.Decision
	switch {
	case len(left) == 0:
		return
	case len(ready) == 0:
		d.Why = event.Clip(c.route.Why+" All of them rest, so they are tried all the same.", event.MaxText)
		return
	}
	if endpoints[0] != ready[0] {
		d.Why = event.Clip(c.route.Why+" "+left[0].Endpoint+" "+left[0].Why+", so "+ready[0].ID+" was tried first.", event.MaxText)
	}
	for _, r := range left {
		if len(d.Rejected) < event.MaxAttempts {
			d.Rejected = append(d.Rejected, r)
		}
	}
	c.route.Endpoints = ready
}
