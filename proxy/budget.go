package proxy

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ledgerline/ledgerline/internal/budget"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/usage"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// hardBudgets finds the hard budgets of a call without looking at all of them:
// each is listed under the values of one dimension that it names.
type hardBudgets struct {
	all []*hardBudget // that count all spend
	by  [len(event.DimensionNames)]map[string][]*hardBudget
}

// hardBudget is a budget made ready for calls.
type hardBudget struct {
	*governance.Budget
	values  [len(event.DimensionNames)][]string // one of these; nil: any
	current atomic.Pointer[budgetPeriod]
}

// budgetPeriod is the account of a period.
type budgetPeriod struct {
	from, to time.Time
	account  *budget.Account
}

// narrowest is the dimensions, those of which a value has the fewest budgets first.
var narrowest = [...]int{user, useCase, project, application, team, businessUnit}

func newHardBudgets(s *governance.Snapshot) (h hardBudgets) {
	for _, b := range s.Budgets() {
		if b.Hard == nil {
			continue
		}
		hard := &hardBudget{Budget: b}
		for i, name := range event.DimensionNames {
			hard.values[i] = b.For[name]
		}
		if len(b.For) == 0 {
			h.all = append(h.all, hard)
			continue
		}
		for _, i := range narrowest {
			if hard.values[i] == nil {
				continue
			}
			if h.by[i] == nil {
				h.by[i] = map[string][]*hardBudget{}
			}
			for _, v := range hard.values[i] {
				h.by[i][v] = append(h.by[i][v], hard)
			}
			break
		}
	}
	return h
}

// period is the one that a time is in.
func (b *hardBudget) period(l *budget.Ledger, at time.Time) *budgetPeriod {
	if p := b.current.Load(); p != nil && !at.Before(p.from) && at.Before(p.to) {
		return p
	}
	p := new(budgetPeriod)
	p.from, p.to = b.Bounds(at)
	p.account = l.Account(b.ID, p.from.Unix())
	b.current.Store(p)
	return p
}

// reserved is what a call holds of a budget until it ends.
type reserved struct {
	account *budget.Account
	amount  money.Pico
}

// Tokens of output that are reserved: for a call that does not say how many it
// allows itself, and at most.
const (
	usualOutput = 4096
	mostOutput  = 32768
)

// estimate is what the call may cost at the dearest endpoint that it may
// reach; false when that is not known.
func (c *call) estimate() (most money.Pico, known bool) {
	if c.format == wire.Passthrough {
		return 0, false
	}
	output := min(cmp.Or(c.request.MaxOutput, usualOutput), mostOutput)
	if c.format == wire.Embeddings {
		output = 0
	}
	for _, e := range c.route.Endpoints {
		model, _ := e.Upstream(c.request.Model)
		cost, ok := c.plan.snapshot.Estimate(governance.PriceKey{Provider: e.Provider, Model: model, Region: e.Region,
			ContextTokens: int64(len(c.body)+2) / 3, At: c.started}, output)
		if !ok {
			return 0, false
		}
		most = max(most, cost)
	}
	return most, true
}

// reserveBudgets reserves what the call may cost of every hard budget that
// counts it, or refuses the call.
func (c *call) reserveBudgets() (code string, status int, message string) {
	h := &c.plan.budgets
	amount, known, asked := money.Pico(0), false, false
	of := c.data.Attribution.All()
	one := func(b *hardBudget) bool {
		for i, values := range b.values {
			if values != nil && !slices.Contains(values, of[i].Value) {
				return true
			}
		}
		if !asked {
			amount, known = c.estimate()
			asked = true
		}
		if !known && !b.Hard.AllowUnknown {
			c.data.Decision.Why = c.keepText("Budget "+b.ID+" is hard, and what the call costs is not known.", 512)
			code, status, message = "ledgerline_price_unknown", 403, "Budget "+b.ID+" is hard, and the price of this call is not known."
			return false
		}
		p := b.period(&c.s.budgets, c.started)
		left, ok := p.account.Reserve(amount, b.Hard.LimitAt(c.started)+b.Hard.Grace)
		if !ok && b.Hard.Block {
			until := p.to.In(b.TimeZone).Format(time.RFC3339)
			c.data.Decision.Why = c.keepText("Budget "+b.ID+" is used up: the call may cost "+amount.String()+" USD, and "+left.String()+" USD are left until "+until+".", 512)
			code, status, message = "ledgerline_budget_exhausted", 402, "Budget "+b.ID+" is used up until "+until+". Its owner: "+plainASCII(b.Owner)+"."
			return false
		}
		if !ok {
			p.account.Settle(-amount, 0, 0) // counted all the same
		}
		if left < b.Hard.Grace || !ok {
			c.data.Decision.Why = c.keepText(c.data.Decision.Why+" Budget "+b.ID+" is used up; the call passes all the same.", event.MaxText)
		}
		c.reserved = append(c.reserved, reserved{p.account, amount})
		return true
	}
	for _, b := range h.all {
		if !one(b) {
			return code, status, message
		}
	}
	for i, d := range of {
		for _, b := range h.by[i][d.Value] {
			if !one(b) {
				return code, status, message
			}
		}
	}
	return "", 0, ""
}

// plainASCII is a text without what an error's message must not have.
func plainASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}

// settleBudgets is the end of the call: what it has cost counts instead of what
// was reserved, which stays where nobody told.
func (c *call) settleBudgets() {
	if len(c.reserved) == 0 {
		return
	}
	cost, known := money.Pico(0), true
	for i := range c.data.Attempts {
		part, told := c.cost(&c.data.Attempts[i])
		cost, known = cost+part, known && told
	}
	for _, r := range c.reserved {
		untold := money.Pico(0)
		if !known {
			untold = max(r.amount-cost, 0)
		}
		r.account.Settle(r.amount, cost, untold)
	}
	c.reserved = c.reserved[:0]
}

// cost is what an attempt has cost as far as it is known, by the rules by which
// it will be in the books; told is false when a part of it is not.
func (c *call) cost(a *event.Attempt) (cost money.Pico, told bool) {
	if a.UsageRaw == "" && (a.Status >= 400 || a.Error == "connect") {
		return 0, true
	}
	u, err := usage.Parse(c.format.Name, []byte(a.UsageRaw))
	if a.UsageRaw == "" || err != nil || u.Inconsistent != "" {
		return 0, false
	}
	rates := c.plan.snapshot.Rates(governance.PriceKey{Provider: a.Provider, Model: cmp.Or(a.ModelServed, a.ModelRequested), Region: a.Region,
		Tier: cmp.Or(u.Tier, a.Tier), ContextTokens: max(u.Input, 0), At: cmp.Or(a.Start, c.at).Time()})
	told = true
	add := func(class string, n int64) {
		part, _, known, err := rates.Cost(class, n)
		if !known || err != nil {
			told = false
			return
		}
		cost += part
	}
	for _, line := range u.Lines {
		add(string(line.Class), line.Tokens)
	}
	for _, n := range u.Counters {
		add(n.Name, n.Count)
	}
	return cost, told
}
