package proxy

import (
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/usage"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// counters are the counts of all limits of this process. They outlive a
// snapshot: one with other numbers goes on with the same counts. A counter is
// never dropped; there are as many as there are keys, use cases and listed
// values of dimensions that called.
type counters struct {
	mu sync.RWMutex
	of map[string]*counter // by the limit's id and the values that it is for each of
}

// counter is what one value has used of a limit.
type counter struct {
	requests, tokens pace
	running          atomic.Int64
}

// pace is when what was used will have come back, in Unix nanoseconds: a
// bucket that fills evenly and holds a minute's worth, kept as one number
// (the generic cell rate algorithm, ITU-T I.371). In the past: it is full.
type pace struct{ until atomic.Int64 }

const minute = int64(time.Minute)

// share is the part of a minute that n of a limit's rate take, in nanoseconds;
// at most a minute, so that a call that is larger than the limit passes when
// nothing else does.
func share(n, perMinute int64) int64 {
	if n >= perMinute {
		return minute
	}
	return int64(float64(n) / float64(perMinute) * float64(minute))
}

// take takes a share, or says how long to wait for it.
func (p *pace) take(now, share int64) (wait int64) {
	for {
		before := p.until.Load()
		until := max(before, now) + share
		if over := until - now - minute; over > 0 {
			return over
		}
		if p.until.CompareAndSwap(before, until) {
			return 0
		}
	}
}

// correct adds what was used beyond what had been taken, or gives back.
func (p *pace) correct(now, share int64) {
	for {
		before := p.until.Load()
		until := before + share
		if share > 0 {
			until = max(before, now) + share
		}
		if p.until.CompareAndSwap(before, until) {
			return
		}
	}
}

// used is how long, in nanoseconds, it takes until all is there again; at most a minute.
func (p *pace) used(now int64) int64 { return min(max(p.until.Load()-now, 0), minute) }

// counter finds the count of a name; only the first call of a name allocates.
func (s *counters) counter(name []byte) *counter {
	s.mu.RLock()
	n := s.of[string(name)]
	s.mu.RUnlock()
	if n != nil {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n = s.of[string(name)]; n == nil {
		if s.of == nil {
			s.of = map[string]*counter{}
		}
		n = new(counter)
		s.of[string(name)] = n
	}
	return n
}

// taken is what a call holds of a limit until it ends.
type taken struct {
	limit     *governance.Limit
	counter   *counter
	estimated int64 // tokens
}

// value is what the call has of one of the names that limits know.
func (c *call) value(name string) string {
	a := &c.data.Attribution
	switch name {
	case "key":
		return c.key.ID
	case "workload":
		return c.data.Call.Workload
	case "business_unit":
		return a.BusinessUnit.Value
	case "team":
		return a.Team.Value
	case "project":
		return a.Project.Value
	case "application":
		return a.Application.Value
	}
	return a.UseCase.Value
}

// counts says whether a limit counts the call.
func (c *call) counts(l *governance.Limit) bool {
	for name, values := range l.For {
		has, listed := c.value(name), false
		for _, v := range values {
			listed = listed || v == has
		}
		if !listed {
			return false
		}
	}
	return true
}

// takeLimits takes the call's part of every limit that counts it, or of none.
// A call without a value, such as of no team, shares a count with the others
// that have none.
func (c *call) takeLimits() (code string, status int, message string) {
	now := c.started.UnixNano()
	for _, l := range c.plan.snapshot.Limits() {
		if !c.counts(l) {
			continue
		}
		n := len(c.arena)
		c.arena = append(c.arena, l.ID...)
		for _, name := range l.Each {
			c.arena = append(append(c.arena, 0), c.value(name)...)
		}
		t := taken{limit: l, counter: c.s.counters.counter(c.arena[n:]), estimated: int64(len(c.body)+3) / 4}
		c.arena = c.arena[:n]
		if what, wait := t.take(now); what != "" {
			c.returnLimits()
			c.limited, c.retryAfter = l, (wait+int64(time.Second)-1)/int64(time.Second)
			c.data.Decision.Why = c.keepText("Limit "+l.ID+" was reached: "+what+".", 512)
			return "ledgerline_rate_limited", 429, "The limit of " + what + " is reached. Retry in " + strconv.FormatInt(c.retryAfter, 10) + " s."
		}
		c.taken = append(c.taken, t)
	}
	return "", 0, ""
}

// take takes from all of a limit's counts or from none; then it says which was
// used up, and the nanoseconds to wait.
func (t *taken) take(now int64) (what string, wait int64) {
	l, n := t.limit, t.counter
	if running := n.running.Add(1); l.Concurrent > 0 && running > l.Concurrent {
		n.running.Add(-1)
		return strconv.FormatInt(l.Concurrent, 10) + " calls at a time", int64(time.Second)
	}
	if l.RequestsPerMinute > 0 {
		if wait = n.requests.take(now, share(1, l.RequestsPerMinute)); wait > 0 {
			n.running.Add(-1)
			return strconv.FormatInt(l.RequestsPerMinute, 10) + " requests a minute", wait
		}
	}
	if l.TokensPerMinute > 0 {
		if wait = n.tokens.take(now, share(t.estimated, l.TokensPerMinute)); wait > 0 {
			n.running.Add(-1)
			if l.RequestsPerMinute > 0 {
				n.requests.correct(now, -share(1, l.RequestsPerMinute))
			}
			return strconv.FormatInt(l.TokensPerMinute, 10) + " tokens a minute", wait
		}
	}
	return "", 0
}

// returnLimits gives back what another limit has refused.
func (c *call) returnLimits() {
	for i := range c.taken {
		t := &c.taken[i]
		t.counter.running.Add(-1)
		if r := t.limit.RequestsPerMinute; r > 0 {
			t.counter.requests.correct(0, -share(1, r))
		}
		if r := t.limit.TokensPerMinute; r > 0 {
			t.counter.tokens.correct(0, -share(t.estimated, r))
		}
	}
	c.taken = c.taken[:0]
}

// settleLimits is the end of the call, before its client can see it: another
// one may run, and the tokens that were really used count.
func (c *call) settleLimits() {
	c.settleBudgets()
	if c.settled || len(c.taken) == 0 {
		return
	}
	c.settled = true
	used := int64(-1)
	for i := range c.taken {
		t := &c.taken[i]
		t.counter.running.Add(-1)
		r := t.limit.TokensPerMinute
		if r == 0 {
			continue
		}
		if used < 0 {
			used = c.tokensUsed(t.estimated)
		}
		now := c.s.o.Now().UnixNano()
		// More than a minute's worth is a debt of that length, up to an hour.
		real := min(float64(used)/float64(r), 60) * float64(minute)
		t.counter.tokens.correct(now, int64(real)-share(t.estimated, r))
	}
}

// tokensUsed is what the attempts used, as far as the provider said. An
// attempt that may have used some and did not say is taken as estimated.
func (c *call) tokensUsed(estimated int64) (sum int64) {
	for i := range c.data.Attempts {
		a := &c.data.Attempts[i]
		told := int64(0)
		if u, err := usage.Parse(c.format.Name, []byte(a.UsageRaw)); a.UsageRaw != "" && err == nil {
			for _, line := range u.Lines {
				told += line.Tokens
			}
		} else if a.Status > 0 && a.Status < 300 {
			told = estimated
		}
		if sum += told; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

const headerRateLimit = "RateLimit"

// markLimits says, of the limit of which least is left, what is left and when
// all of it is back, and its quota and window, as the fields RateLimit and
// RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10). The provider's
// own x-ratelimit headers pass unchanged.
func (c *call) markLimits(h *fasthttp.ResponseHeader) {
	if c.limited != nil {
		h.Set(headerRateLimit, `"`+c.limited.ID+`";r=0;t=`+strconv.FormatInt(c.retryAfter, 10))
		h.Set("Retry-After", strconv.FormatInt(c.retryAfter, 10))
		return
	}
	var of *taken
	tokens, most := false, int64(-1)
	now := c.started.UnixNano()
	for i := range c.taken {
		t := &c.taken[i]
		if used := t.counter.requests.used(now); t.limit.RequestsPerMinute > 0 && used > most {
			of, tokens, most = t, false, used
		}
		if used := t.counter.tokens.used(now); t.limit.TokensPerMinute > 0 && used > most {
			of, tokens, most = t, true, used
		}
	}
	if of == nil {
		return
	}
	quota := of.limit.RequestsPerMinute
	if tokens {
		quota = of.limit.TokensPerMinute
	}
	from := len(c.arena)
	c.arena = append(append(append(c.arena, '"'), of.limit.ID...), '"')
	name := len(c.arena)
	c.arena = strconv.AppendInt(append(c.arena, ";q="...), quota, 10)
	c.arena = append(c.arena, ";w=60"...)
	if tokens {
		c.arena = append(c.arena, `;qu="tokens"`...)
	}
	h.Set("RateLimit-Policy", wire.String(c.arena[from:]))
	c.arena = strconv.AppendInt(append(c.arena[:name], ";r="...), int64(float64(minute-most)/float64(minute)*float64(quota)+1e-6), 10)
	c.arena = strconv.AppendInt(append(c.arena, ";t="...), (most+int64(time.Second)-1)/int64(time.Second), 10)
	h.Set(headerRateLimit, wire.String(c.arena[from:]))
	c.arena = c.arena[:from]
}
