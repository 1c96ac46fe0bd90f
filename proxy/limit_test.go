package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// clock is a proxy's clock that a test moves.
type clock struct {
	begin time.Time
	moved atomic.Int64 // nanoseconds
}

func (c *clock) now() time.Time { return c.begin.Add(time.Duration(c.moved.Load())) }

func (c *clock) move(d time.Duration) { c.moved.Add(int64(d)) }

// limited is a proxy under limits. Its clock stands still unless it is moved:
// at the time of the test's begin, since deadlines are kept by the machine's.
func limited(t testing.TB, limits string) (*bed, *clock) {
	at := &clock{begin: time.Now()}
	return newBedWith(t, func(o *Options, _ *spool.Options) { o.Now = at.now }, func(file, text string) string {
		if file == "limits.yaml" {
			return "limits:\n" + limits
		}
		return text
	}), at
}

// A bucket of a minute's worth: it never lets more through than a plain model
// of one, whatever the times and sizes.
func TestPaceAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	passed, refused := 0, 0
	for round := range 300 {
		perMinute := 1 + r.Int64N(1_000_000)
		var p pace
		full := float64(perMinute)
		level, last := full, int64(0)
		for now := int64(0); now < 20*minute; {
			now += r.Int64N(minute / 4)
			level, last = min(full, level+float64(now-last)/float64(minute)*full), now
			n := 1 + r.Int64N(perMinute)
			if r.IntN(5) == 0 { // more, or less, was used than was taken
				change := r.Int64N(perMinute) - perMinute/2
				p.correct(now, int64(float64(change)/float64(perMinute)*float64(minute)))
				if change > 0 || level-float64(change) <= full {
					level -= float64(change)
				} else {
					level = full
				}
				continue
			}
			const near = 1e-6
			wait := p.take(now, share(n, perMinute))
			switch spare := (level - float64(n)) / full; {
			case wait == 0 && spare < -near:
				t.Fatalf("round %d: %d of %d passed with %f there", round, n, perMinute, level)
			case wait > 0 && spare > near:
				t.Fatalf("round %d: %d of %d refused with %f there", round, n, perMinute, level)
			case wait > 0:
				// What it says to wait is what it takes.
				if missing := (float64(n) - level) / full * float64(minute); missing > 0 && (float64(wait) < 0.999*missing-1000 || float64(wait) > 1.001*missing+1000) {
					t.Fatalf("round %d: told to wait %d ns, %f are missing", round, wait, missing)
				}
				refused++
			default:
				level -= float64(n)
				passed++
			}
		}
	}
	if passed < 1000 || refused < 1000 {
		t.Errorf("%d passed and %d were refused: the test tries too little", passed, refused)
	}
}

func TestPaceConcurrent(t *testing.T) {
	var p pace
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 100 {
				if p.take(minute, share(1, 500)) == 0 {
					passed.Add(1)
				}
			}
		})
	}
	if all.Wait(); passed.Load() != 500 {
		t.Errorf("%d passed at one moment, want 500", passed.Load())
	}
}

// Each team has the requests for itself. One too many is refused as the
// provider would, recorded, and told when to come again; then it passes.
func TestRequestLimit(t *testing.T) {
	b, at := limited(t, "  - {id: teams, for: {}, each: [team], requests_per_minute: 3}\n")
	for left := 2; left >= 0; left-- {
		a := b.call("/v1/chat/completions", chatBody)
		b.want(a, 200)
		if got, want := a.header.Get("RateLimit"), fmt.Sprintf(`"teams";r=%d;t=%d`, left, 60-20*left); got != want || a.header.Get("RateLimit-Policy") != `"teams";q=3;w=60` {
			t.Errorf("RateLimit %s, policy %s, want %s", got, a.header.Get("RateLimit-Policy"), want)
		}
	}
	a := b.call("/v1/chat/completions", chatBody)
	b.want(a, 429)
	if !strings.Contains(a.body, `"code":"ledgerline_rate_limited"`) || a.header.Get("Retry-After") != "20" || a.header.Get("RateLimit") != `"teams";r=0;t=20` {
		t.Errorf("answer %v %s", a.header, a.body)
	}
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01", "Ledger-Team: desk"), 200)
	at.move(20 * time.Second)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	b.want(b.call("/v1/chat/completions", chatBody), 429)

	list := b.recorded()
	if served := b.provider.Stats().Requests; served != 5 || len(list) != 7 {
		t.Fatalf("%d calls at the provider, %d events, want 5 and 7", served, len(list))
	}
	denied := list[3]
	if denied.Type != event.RequestDenied || denied.Request.Outcome.Code != "ledgerline_rate_limited" || denied.Request.Outcome.Status != 429 ||
		!strings.Contains(denied.Request.Decision.Why, "Limit teams was reached: 3 requests a minute") || denied.Request.Attribution.Team.Value != "risk" {
		t.Errorf("recorded %s %+v %+v", denied.Type, denied.Request.Outcome, denied.Request.Decision)
	}
}

// What a call really used counts once it has ended, also beyond the limit.
func TestTokenLimit(t *testing.T) {
	b, at := limited(t, "  - {id: tokens, for: {key: [riskdesk1]}, tokens_per_minute: 1500}\n")
	use := "Simulate-Usage: in=900,out=100"
	a := b.call("/v1/chat/completions", chatBody, use)
	b.want(a, 200)
	if got := a.header.Get("RateLimit"); got != `"tokens";r=500;t=40` || a.header.Get("RateLimit-Policy") != `"tokens";q=1500;w=60;qu="tokens"` {
		t.Errorf("RateLimit %s, policy %s", got, a.header.Get("RateLimit-Policy"))
	}
	b.want(b.call("/v1/chat/completions", chat(true), use), 200) // 2,000 of 1,500 are used
	a = b.call("/v1/chat/completions", chatBody, use)
	b.want(a, 429)
	// 500 too many, and the 18 of the estimate, come back at 25 a second.
	if wait, _ := strconv.Atoi(a.header.Get("Retry-After")); wait != 21 {
		t.Errorf("Retry-After %s", a.header.Get("Retry-After"))
	}
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01", "Ledger-Team: desk", use), 200) // not counted
	at.move(21 * time.Second)
	b.want(b.call("/v1/chat/completions", chatBody, "Simulate-Usage: in=1,out=1"), 200)

	// A call that no attempt answers gives back what it took.
	at.move(time.Hour)
	large := strings.Replace(chatBody, "hello", strings.Repeat("hello ", 700), 1)
	for range 5 {
		b.want(b.call("/v1/chat/completions", large, "Ledger-Use-Case: single", "Simulate-Fault: status=500"), 500)
	}
	b.want(b.call("/v1/chat/completions", large, "Simulate-Usage: in=1,out=1"), 200)
}

// A flood of one workload leaves the others alone: of the calls at a time none
// is over the limit, and what is not counted passes as before.
func TestConcurrentLimit(t *testing.T) {
	b, _ := limited(t, "  - {id: batch, for: {use_case: [cancels]}, concurrent: 2}\n")
	const other = "Ledger-Use-Case: cancels"
	var held []io.Closer
	for range 2 {
		conn := b.dial()
		held = append(held, conn)
		if _, err := io.WriteString(conn, b.post("/v1/chat/completions", chat(true), other, "Simulate-Chunks: 100", "Simulate-Latency: chunk=250ms")); err != nil {
			t.Fatal(err)
		}
	}
	b.until("two calls at the provider", func() bool { return b.provider.Stats().InFlight == 2 })
	var all sync.WaitGroup
	var refused atomic.Int64
	for range 50 {
		all.Go(func() {
			conn := b.dial()
			defer conn.Close()
			io.WriteString(conn, b.post("/v1/chat/completions", chatBody, other))
			if a := readAnswer(bufio.NewReader(conn)); a.status == 429 && strings.Contains(a.body, "2 calls at a time") {
				refused.Add(1)
			}
		})
	}
	for range 10 {
		b.want(b.call("/v1/chat/completions", chatBody), 200)
	}
	if all.Wait(); refused.Load() != 50 || b.provider.Stats().InFlight != 2 {
		t.Errorf("%d of 50 refused, %d calls at the provider", refused.Load(), b.provider.Stats().InFlight)
	}
	for _, conn := range held {
		conn.Close()
	}
	b.until("their places are free again", func() bool { return b.call("/v1/chat/completions", chatBody, other).status == 200 })

	// One client that waits for each answer is never two, streamed or not.
	b, _ = limited(t, "  - {id: one, for: {}, concurrent: 1}\n")
	conn := b.dial()
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for i := range 200 {
		if _, err := io.WriteString(conn, b.post("/v1/chat/completions", chat(i%2 == 0))); err != nil {
			t.Fatal(err)
		}
		b.want(readAnswer(answers), 200)
	}
}

// A limit that refuses takes nothing from the others.
func TestLimitsAllOrNone(t *testing.T) {
	b, at := limited(t, "  - {id: wide, for: {}, requests_per_minute: 2, tokens_per_minute: 100000, concurrent: 5}\n"+
		"  - {id: narrow, for: {team: [risk]}, requests_per_minute: 1}\n")
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	for range 5 {
		b.want(b.call("/v1/chat/completions", chatBody), 429)
	}
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01", "Ledger-Team: desk"), 200)
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01", "Ledger-Team: desk"), 429)
	at.move(time.Minute)
	b.want(b.call("/v1/chat/completions", chatBody), 200)
}

func BenchmarkLimits(b *testing.B) {
	bed, _ := limited(b, "  - {id: a, for: {}, each: [team, use_case], requests_per_minute: 1000000000}\n"+
		"  - {id: b, for: {workload: [interactive]}, each: [key], requests_per_minute: 1000000000, tokens_per_minute: 1000000000, concurrent: 100}\n")
	c := newCall(bed.server)
	c.plan = bed.server.plan.Load()
	c.key = c.plan.snapshot.Keys()[0]
	c.started = bed.server.o.Now()
	c.data.Call.Workload = "interactive"
	c.data.Attribution.Team.Value, c.data.Attribution.UseCase.Value = "risk", "kyc"
	c.body = []byte(chatBody)
	b.ReportAllocs()
	for b.Loop() {
		if code, _, _ := c.takeLimits(); code != "" || len(c.taken) != 2 {
			b.Fatal(code)
		}
		c.settleLimits()
		c.taken, c.settled = c.taken[:0], false
	}
}
