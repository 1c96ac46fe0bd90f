package proxy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// budgeted is a proxy under budgets, where a token of gpt-5-mini costs a
// micro-dollar in and two out.
func budgeted(t testing.TB, budgets string) (*bed, *clock) {
	at := &clock{begin: time.Now()}
	return newBedWith(t, func(o *Options, _ *spool.Options) { o.Now = at.now }, func(file, text string) string {
		switch file {
		case "budgets.yaml":
			return "budgets:\n" + budgets
		case "prices.yaml":
			return "groups:\n  - {source: list, date: 2026-11, from: 2026-01-01, provider: openai, models: [{model: gpt-5-mini, prices: [{tier: standard, usd: {input: \"1\", output: \"2\"}}]}]}\n"
		}
		return text
	}), at
}

// budgetBody asks for ten tokens of output at most: with what is reserved for
// its input it may cost budgetCost.
var budgetBody = strings.Replace(chatBody, "{", `{"max_tokens":10,`, 1)

var budgetCost = money.Pico((len(budgetBody)+2)/3*1_000_000 + 10*2_000_000)

// used is what is spent and reserved of a budget of a day.
func (b *bed) used(id string, at time.Time) money.Pico {
	left, _ := b.server.budgets.Account(id, at.Truncate(24*time.Hour).Unix()).Reserve(0, 0)
	return -left
}

const someTeam = "name: Risk, owner: head of risk, for: {team: [risk]}, period: day, channel: log"

// Of 100 clients at once exactly as many pass as there is room for.
func TestHardBudgetUnderConcurrency(t *testing.T) {
	b, _ := budgeted(t, fmt.Sprintf("  - {id: risk-day, %s, amount_usd: %q, hard: {action: block}}\n", someTeam, 10*budgetCost))
	usage := fmt.Sprintf("Simulate-Usage: in=%d,out=10", (len(budgetBody)+2)/3)
	var passed, refused atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			switch a := b.call("/v1/chat/completions", budgetBody, usage); a.status {
			case 200:
				passed.Add(1)
			case 402:
				refused.Add(1)
			}
		})
	}
	if all.Wait(); passed.Load() != 10 || refused.Load() != 90 {
		t.Errorf("%d passed and %d were refused, want 10 and 90", passed.Load(), refused.Load())
	}
}

// A call that is refused never goes out, is recorded, and is told which budget
// it was, whose it is and when it renews. Then it passes again.
func TestHardBudgetRefuses(t *testing.T) {
	b, at := budgeted(t, fmt.Sprintf("  - {id: risk-day, %s, amount_usd: %q, hard: {action: block}}\n", someTeam, budgetCost))
	b.want(b.call("/v1/chat/completions", budgetBody, "Simulate-Usage: in=1,out=1"), 200)
	a := b.call("/v1/chat/completions", budgetBody)
	b.want(a, 402)
	renewed := at.now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	if !strings.Contains(a.body, `"type":"insufficient_quota"`) || !strings.Contains(a.body, `"code":"ledgerline_budget_exhausted"`) ||
		!strings.Contains(a.body, "Budget risk-day is used up until "+renewed.Format(time.RFC3339)+". Its owner: head of risk.") {
		t.Errorf("refused with %s", a.body)
	}
	list := b.recorded()
	if served := b.provider.Stats().Requests; served != 1 || len(list) != 2 {
		t.Fatalf("%d calls at the provider, %d events, want 1 and 2", served, len(list))
	}
	if denied := list[1]; denied.Type != event.RequestDenied || denied.Request.Outcome.Code != "ledgerline_budget_exhausted" ||
		!strings.Contains(denied.Request.Decision.Why, "Budget risk-day is used up: the call may cost "+budgetCost.String()+" USD, and") {
		t.Errorf("recorded %s %+v %+v", denied.Type, denied.Request.Outcome, denied.Request.Decision)
	}
	at.move(renewed.Sub(at.now()))
	b.want(b.call("/v1/chat/completions", budgetBody), 200)
}

// What a call has cost counts when it has ended: no reservation is left, also
// of one that failed or was refused. Only where nobody told, it stays.
func TestHardBudgetSettles(t *testing.T) {
	b, at := budgeted(t, fmt.Sprintf("  - {id: risk-day, %s, amount_usd: \"1\", hard: {action: block}}\n", someTeam))
	want := money.Pico(0)
	for _, tt := range []struct {
		what, path, body, dictate string
		status                    int
		cost                      money.Pico
	}{
		{"as told", "/v1/chat/completions", budgetBody, "Simulate-Usage: in=7,out=3", 200, 13_000_000},
		{"more than reserved", "/v1/chat/completions", budgetBody, "Simulate-Usage: in=7000,out=3", 200, 7_006_000_000},
		{"a stream", "/v1/chat/completions", strings.Replace(budgetBody, "{", `{"stream":true,`, 1), "Simulate-Usage: in=7,out=3", 200, 13_000_000},
		{"refused by all providers", "/v1/chat/completions", budgetBody, "Simulate-Fault: status=503", 503, 0},
		{"not told", "/v1/chat/completions", budgetBody, "Simulate-Omit-Usage: 1", 200, budgetCost},
		{"a model without a price", "/v1/chat/completions", strings.Replace(budgetBody, "gpt-5-mini", "gpt-unheard", 1), "Simulate-Usage: in=7,out=3", 403, 0},
	} {
		b.want(b.call(tt.path, tt.body, tt.dictate), tt.status)
		want += tt.cost
		b.until(tt.what, func() bool { return b.server.flight.len() == 0 })
		if got := b.used("risk-day", at.now()); got != want {
			t.Errorf("%s: %s used, want %s", tt.what, got, want)
		}
		want = b.used("risk-day", at.now())
	}
	if list := b.recorded(); list[len(list)-1].Request.Outcome.Code != "ledgerline_price_unknown" {
		t.Errorf("recorded %+v", list[len(list)-1].Request.Outcome)
	}
}

// Grace, an override and the action alert let calls pass; the record says so
// where the limit is passed.
func TestHardBudgetLetsPass(t *testing.T) {
	for hard, passing := range map[string]string{
		"{action: alert}":                   "Budget risk-day is used up; the call passes all the same.",
		"{action: block, grace_usd: \"1\"}": "Budget risk-day is used up; the call passes all the same.",
		"{action: block, override: {extra_usd: \"1\", until: 2100-01-01, by: finance, reason: test}}":             "",
		"{action: block, percent: 1, override: {extra_usd: \"1\", until: 2026-01-01, by: finance, reason: over}}": "refused",
	} {
		b, _ := budgeted(t, fmt.Sprintf("  - {id: risk-day, %s, amount_usd: \"0.000001\", hard: %s}\n", someTeam, hard))
		if passing == "refused" {
			b.want(b.call("/v1/chat/completions", budgetBody), 402)
			continue
		}
		b.want(b.call("/v1/chat/completions", budgetBody), 200)
		if why := b.only().Request.Decision.Why; strings.Contains(why, "used up") != (passing != "") || !strings.HasSuffix(why, passing) {
			t.Errorf("%s: why %q", hard, why)
		}
	}
	// Of another team, nothing is refused.
	b, _ := budgeted(t, fmt.Sprintf("  - {id: risk-day, %s, amount_usd: \"0.000001\", hard: {action: block}}\n", someTeam))
	b.want(b.call("/v1/chat/completions", budgetBody, "key=openkey01", "Ledger-Team: desk"), 200)
}
