package proxy

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// largeBed is a proxy under the governance files of a large company: 1,000 use
// cases, 10,000 keys, 50 endpoints, 500 hard budgets and limits for each of them.
func largeBed(t testing.TB) (b *bed, key func(i int) string) {
	texts := make([]string, 10_000)
	b = newBedWith(t, nil, func(file, text string) string {
		var s strings.Builder
		switch file {
		case "keys.yaml":
			s.WriteString("keys:\n")
			for i := range texts {
				id := fmt.Sprintf("key%05d", i)
				secret, hash := governance.GenerateKey(id)
				texts[i] = secret
				fmt.Fprintf(&s, "  - {id: %s, sha256: %s, team: risk, use_cases: [case-%d, case-%d]}\n", id, hash, i%1000, (i+1)%1000)
			}
		case "estate.yaml":
			s.WriteString("use_cases:\n")
			for i := range 1000 {
				fmt.Fprintf(&s, "  - {id: case-%d, name: Case %d, owner: head of risk, team: risk, project: scoring, classification: internal, regulations: [], estimate_monthly_usd: \"1\", lineage: none, retention_class: standard}\n", i, i)
			}
		case "registry.yaml":
			s.WriteString(text[:strings.Index(text, "      - {id: primary")])
			for i := range 50 {
				fmt.Fprintf(&s, "      - {id: end-%d, region: eu, base_url: \"http://localhost:9/%d\", formats: [openai.chat], models: [model-%d, gpt-5-mini]}\n", i, i, i)
			}
		case "routing.yaml":
			s.WriteString("rules:\n")
			for i := range 100 {
				s.WriteString("  - {id: rule-" + fmt.Sprint(i) + ", use_cases: [")
				for n := range 10 {
					fmt.Fprintf(&s, "case-%d, ", 10*i+n)
				}
				fmt.Fprintf(&s, "], endpoints: [end-%d, end-%d, end-%d, end-%d]}\n", i%50, (i+7)%50, (i+14)%50, (i+21)%50)
			}
		case "prices.yaml":
			return "groups:\n  - {source: list, date: 2026-11, from: 2026-01-01, provider: openai, models: [{model: gpt-5-mini, prices: [{tier: standard, usd: {input: \"1\", output: \"1\"}}]}]}\n"
		case "budgets.yaml":
			s.WriteString("budgets:\n  - {id: all, name: All, owner: o, for: {}, period: month, time_zone: Europe/Zurich, amount_usd: \"1000000\", channel: log, hard: {action: block}}\n")
			for i := range 499 {
				fmt.Fprintf(&s, "  - {id: budget-%d, name: B, owner: o, for: {team: [risk], use_case: [case-%d, case-%d]}, period: month, time_zone: Europe/Zurich, amount_usd: \"1000000\", channel: log, hard: {action: block}}\n", i, 2*i, 2*i+1)
			}
		case "limits.yaml":
			s.WriteString("limits:\n  - {id: key, for: {}, each: [key], requests_per_minute: 1000000000, concurrent: 100000}\n" +
				"  - {id: team, for: {workload: [interactive]}, each: [team, use_case], requests_per_minute: 1000000000}\n" +
				"  - {id: batch, for: {workload: [batch]}, concurrent: 100}\n")
		default:
			return text
		}
		return s.String()
	})
	return b, func(i int) string { return texts[i] }
}

// decide takes a call from its header to its route, and gives back what it took.
func decide(c *call, ctx *fasthttp.RequestCtx, at time.Time) (code string) {
	s := c.s
	c.ctx, c.plan, c.format = ctx, s.plan.Load(), wire.Passthrough
	header := &ctx.Request.Header
	if !c.target(header.RequestURI()) || !c.where(true) || c.head.read(header.RawHeaders()) != nil {
		return "malformed"
	}
	c.started, c.at = at, event.At(at)
	var err error
	if c.key, err = c.plan.snapshot.Key(wire.String(c.head.key()), at); err != nil {
		return err.Error()
	}
	c.body = ctx.Request.Body()
	c.describe(header.Method())
	if code, _, _ = c.admit(); code == "" {
		c.steer()
	}
	c.settleLimits()
	return code
}

// BenchmarkDecision is attribution, limits, budgets and routing of a call, of any of
// the keys, with the digest of its body of 1.6 KB.
func BenchmarkDecision(b *testing.B) {
	bed, key := largeBed(b)
	at := time.Now()
	body := strings.Replace(chatBody, "hello", strings.Repeat("hello ", 256), 1)
	r := rand.New(rand.NewPCG(1, 2))
	calls := make([]*fasthttp.RequestCtx, 1000)
	for i := range calls {
		n := r.IntN(10_000)
		calls[i] = new(fasthttp.RequestCtx)
		text := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
			"Ledger-Use-Case: case-%d\r\nLedger-User: person-%d\r\nContent-Length: %d\r\n\r\n%s", key(n), (n+1)%1000, n, len(body), body)
		if err := calls[i].Request.Read(bufio.NewReader(strings.NewReader(text))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := bed.server.calls.Get().(*call)
		if code := decide(c, calls[i%len(calls)], at); code != "" {
			b.Fatal(code)
		}
		c.free()
	}
}
