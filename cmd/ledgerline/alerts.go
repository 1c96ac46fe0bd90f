package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

func alertsCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var states, revive []string
	var limit int
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "What people were told, what waits, what was given up",
		Example: `  ledgerline alerts --state dead
  ledgerline alerts --revive 5f0c…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range states {
				if known := []string{anomaly.Pending, anomaly.Sending, anomaly.Delivered, anomaly.Dead, anomaly.Covered}; !slices.Contains(known, s) {
					return usageError{fmt.Errorf("--state %s: want one of %v", s, known)}
				}
			}
			log := logs.logger(cmd.ErrOrStderr())
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			for _, id := range revive {
				revived, err := anomaly.NewOutbox(anomaly.OutboxOptions{Store: db, Now: time.Now, Logger: log}).Revive(cmd.Context(), id)
				if err != nil {
					return err
				}
				if !revived {
					return usageError{fmt.Errorf("--revive %s: no dead alert has this id", id)}
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s waits again; the jobs send it\n", id)
			}
			if len(revive) > 0 {
				return nil
			}
			list, err := anomaly.Alerts(cmd.Context(), db, anomaly.AlertQuery{States: states, Limit: limit})
			if err != nil {
				return err
			}
			var rows [][]string
			for _, a := range list {
				rows = append(rows, []string{a.ID, a.RaisedAt.Format(time.RFC3339), a.State, a.Channel, fmt.Sprint(a.Attempts), a.Outcome, a.Title})
			}
			printTable(cmd.OutOrStdout(), []string{"alert", "raised", "state", "channel", "sendings", "last outcome", "title"}, rows, 4)
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringSliceVar(&states, "state", nil, "only these: pending, sending, delivered, dead, covered (default: all)")
	cmd.Flags().StringSliceVar(&revive, "revive", nil, "ids of dead alerts that are to be sent after all")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, the newest first")
	return cmd
}

// alerts tells people what the books say: it looks at budgets and findings when they changed, and empties the outbox.
type alerts struct {
	db      *clickhouse.DB
	folder  *folder
	outbox  *anomaly.Outbox
	budgets string // what the last look at budgets saw: recorded_seq, digest of the rules
	found   string // the same of findings
	log     *slog.Logger
}

// newAlerts is alerts by the rules of a folder; without one there are none, and run only waits.
func newAlerts(db *clickhouse.DB, f *folder, registry prometheus.Registerer, log *slog.Logger) *alerts {
	if f == nil {
		log.Info("no governance folder: nobody is told of budgets and findings")
		return nil
	}
	return &alerts{db: db, folder: f, log: log, outbox: anomaly.NewOutbox(anomaly.OutboxOptions{
		Store: db, Now: time.Now, Logger: log, Metrics: anomaly.NewOutboxMetrics(registry),
		Channel: func(id string) (*governance.Channel, bool) { return f.snapshot().Channel(id) },
	})}
}

const (
	alertsLook = 15 * time.Second // between two looks at the books
	alertsTick = 5 * time.Second  // between two looks at the outbox, when nothing is due before
)

// run looks and sends until ctx ends. A store that is away is waited for.
func (a *alerts) run(ctx context.Context) error {
	if a == nil {
		<-ctx.Done()
		return nil
	}
	for look := (time.Time{}); ; {
		var next time.Time
		var err error
		if time.Since(look) >= alertsLook {
			look = time.Now()
			err = a.raise(ctx, look)
		}
		if err == nil {
			next, err = a.outbox.Deliver(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !clickhouse.Temporary(err):
			return fmt.Errorf("alerts: %w", err)
		case err != nil:
			a.log.Warn("alerts wait for the store", "err", err)
		}
		wait := alertsTick
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), 10*time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// raise puts into the outbox what the books say that people must know.
func (a *alerts) raise(ctx context.Context, now time.Time) error {
	s := a.folder.snapshot()
	if len(s.Budgets()) > 0 {
		if err := a.raiseBudgets(ctx, s, now); err != nil {
			return err
		}
	}
	if s.FindingsChannel() != "" {
		return a.raiseFindings(ctx, s, now)
	}
	return nil
}

// lateDays is for how long after its end a period is still watched: late entries may cross a threshold of it.
const lateDays = 24 * time.Hour

// raiseBudgets raises what budgets crossed, in their periods and, for a day, in those that have just ended.
func (a *alerts) raiseBudgets(ctx context.Context, s *governance.Snapshot, now time.Time) error {
	seq, err := aggregate.Latest(ctx, a.db)
	if err != nil {
		return err
	}
	looked := fmt.Sprint(seq, s.Hex())
	if looked == a.budgets {
		return nil
	}
	periods := map[time.Time][]*governance.Budget{now: s.Budgets()}
	for _, b := range s.Budgets() {
		if from, _ := b.Bounds(now); now.Sub(from) < lateDays {
			periods[from.Add(-time.Microsecond)] = append(periods[from.Add(-time.Microsecond)], b)
		}
	}
	for at, budgets := range periods {
		r, err := aggregate.Budgets(ctx, a.db, budgets, at)
		if errors.Is(err, aggregate.ErrQuery) { // the rules are at fault, not the store
			a.log.Error("budgets cannot be read", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		for i := range r.States {
			if crossed := budgetAlerts(&r.States[i], s.PublicURL(), r.CompleteThrough); len(crossed) > 0 {
				if err := a.outbox.Raise(ctx, crossed...); err != nil {
					return err
				}
			}
		}
	}
	a.budgets = looked
	return nil
}

// budgetAlerts is the alerts of what a budget crossed, the highest percentage first. What they are about is budget, period, percentage
// and amount: a budget that was raised warns again.
func budgetAlerts(s *aggregate.BudgetState, publicURL string, complete time.Time) []anomaly.Alert {
	b := s.Budget
	period := periodName(b, s.From)
	d := decimalsOf(s.Amount())
	text := fmt.Sprintf("%s of %s is spent in %s (%s %%), as far as the books are complete: through %s.", d.text(s.Spent.Cost), d.text(s.Amount()), period, s.Percent(), complete.Format("2 Jan 2006 15:04 UTC"))
	if s.Spent.Unpriced > 0 {
		text += fmt.Sprintf(" It is at least that: %s entries have no price.", thousands(s.Spent.Unpriced))
	}
	facts := []anomaly.Fact{
		{Name: "Budget", Value: b.ID}, {Name: "Owner", Value: b.Owner}, {Name: "Counts", Value: scope(b)},
		{Name: "Left", Value: d.less(s.Amount(), s.Spent.Cost)}, {Name: "Ends", Value: s.To.Add(-time.Second).In(b.TimeZone).Format("2 January 2006 15:04 MST")},
		{Name: "Same point of " + periodName(b, s.BeforeFrom), Value: d.text(s.Before.Cost)},
	}
	estimate := ""
	if f := s.Forecast; f != nil {
		facts = append(facts, anomaly.Fact{Name: "By its end (estimate)", Value: fmt.Sprintf("about %s, from the weekdays of the last %d days", d.text(f.Amount), f.Days)})
		if !f.UsedUp.IsZero() {
			estimate = " By this estimate the amount is used up on " + f.UsedUp.In(b.TimeZone).Format("Monday 2 January") + "."
		}
	}
	link := "ledgerline budgets " + b.ID
	if publicURL != "" {
		link = publicURL + "/showback?" + budgetPage(s).Encode()
	}
	var list []anomaly.Alert
	for i, percent := range slices.Backward(b.Soft) {
		if !s.Crossed(percent) {
			continue
		}
		title := fmt.Sprintf("%s: %d %% of the budget for %s is spent", b.Name, percent, period)
		if percent == 100 {
			title = fmt.Sprintf("%s: the budget for %s is spent", b.Name, period)
		}
		next := "Nothing is blocked: budgets warn."
		if i+1 < len(b.Soft) {
			next += fmt.Sprintf(" The next warning comes at %d %%.", b.Soft[i+1])
		} else {
			next += fmt.Sprintf(" This was the last warning for %s.", period)
		}
		list = append(list, anomaly.Alert{
			Kind: "budget", Subject: fmt.Sprintf("%s, %s from %s, %d %% of %s", b.ID, b.Period, s.From.In(b.TimeZone).Format(time.DateOnly), percent, s.Amount()),
			Channel: b.Channel, Owner: b.Owner, Title: title, Text: text, Facts: facts, Why: budgetWhy(s), Next: next + estimate, Link: link,
		})
	}
	return list
}

// budgetPage is the showback page's parameters for the spend of a budget.
func budgetPage(s *aggregate.BudgetState) url.Values {
	b := s.Budget
	page := url.Values{"from": {s.From.In(b.TimeZone).Format(time.DateOnly)}, "to": {s.To.In(b.TimeZone).Format(time.DateOnly)}, "tz": {b.TimeZone.String()}}
	for d, values := range b.For {
		page[d] = values
	}
	if len(s.Movements) > 0 {
		page.Set("group_by", s.Movements[0].Dimension)
	}
	return page
}

// budgetWhy is why a budget's spend moved: lines whose amounts each sum to the change.
func budgetWhy(s *aggregate.BudgetState) []string {
	calls, each := s.Causes()
	d := decimalsOf(s.Amount())
	parts := d.parts([]money.Sum{calls, each})
	why := []string{fmt.Sprintf("%s against the same point of %s: %s for the number of calls (%s before, %s now), %s for what a call costs",
		plus(d.text(s.Change())), periodName(s.Budget, s.BeforeFrom), plus(parts[0]), thousands(s.Before.Requests), thousands(s.Spent.Requests), plus(parts[1]))}
	for _, m := range s.Movements {
		if len(m.Movers) < 2 { // one value is all of it
			continue
		}
		movers := m.Top(3)
		var changes []money.Sum
		for i := range movers {
			changes = append(changes, movers[i].Change())
		}
		parts := d.parts(changes)
		var texts []string
		for i := range movers {
			texts = append(texts, moverName(&movers[i])+" "+plus(parts[i]))
		}
		why = append(why, "By "+strings.ReplaceAll(m.Dimension, "_", " ")+": "+strings.Join(texts, ", "))
	}
	return why
}

// scope is the spend that counts to a budget, in words.
func scope(b *governance.Budget) string {
	var parts []string
	for _, d := range []string{"business_unit", "team", "project", "user", "application", "use_case"} {
		if values := b.For[d]; len(values) > 0 {
			parts = append(parts, strings.ReplaceAll(d, "_", " ")+" "+strings.Join(values, " or "))
		}
	}
	if len(parts) == 0 {
		return "all spend"
	}
	return strings.Join(parts, ", ")
}

// findingDays is how far back findings are raised that nobody was told of.
const findingDays = 3

// raiseFindings raises anomalies of the last days and drifts of this month and the last one, where they begin.
func (a *alerts) raiseFindings(ctx context.Context, s *governance.Snapshot, now time.Time) error {
	seq, err := anomaly.Latest(ctx, a.db)
	if err != nil {
		return err
	}
	looked := fmt.Sprint(seq, s.Hex())
	if looked == a.found {
		return nil
	}
	y, m, _ := now.UTC().Date()
	for _, q := range []anomaly.Query{
		{Kind: []string{anomaly.Anomaly}, From: anomaly.DayOf(now) - findingDays},
		{Kind: []string{anomaly.Drift}, From: anomaly.DayOf(time.Date(y, m-1, 1, 0, 0, 0, 0, time.UTC))},
	} {
		q.To, q.AsOf, q.State, q.First, q.Limit = anomaly.DayOf(now)+1, seq, []string{anomaly.Open}, true, 1000
		findings, err := anomaly.List(ctx, a.db, q)
		if err != nil {
			return err
		}
		for i := range findings {
			if err := a.outbox.Raise(ctx, findingAlert(&findings[i], s)); err != nil {
				return err
			}
		}
	}
	a.found = looked
	return nil
}

// findingAlert is what people are told of a finding, once: later revisions of it are in the API.
func findingAlert(f *anomaly.Finding, s *governance.Snapshot) anomaly.Alert {
	value := f.Value
	if value == "" {
		value = "(missing)"
	}
	what := strings.ReplaceAll(f.Dimension, "_", " ") + " " + value
	title := fmt.Sprintf("%s cost other than usual on %s", what, f.Day)
	if f.Kind == anomaly.Drift {
		title = fmt.Sprintf("%s is off its estimate in %s", what, f.Day.Time().Format("January 2006"))
	}
	d := decimalsOf(f.Cost)
	a := anomaly.Alert{
		Kind: "finding", Subject: f.ID, Channel: s.FindingsChannel(), Owner: f.Owner, Title: title, Text: f.Sentence,
		Facts: []anomaly.Fact{{Name: "Cost", Value: d.text(f.Cost)}, {Name: "Compared with (" + f.Basis + ")", Value: d.text(f.Baseline)}, {Name: "Change", Value: plus(d.less(f.Cost, f.Baseline))}},
		Next:  "Nothing is blocked. Entries that come late correct the finding or withdraw it.",
	}
	if s.PublicURL() != "" {
		a.Link = s.PublicURL() + "/v1/findings?" + url.Values{"from": {f.Day.String()}, "dimension": {f.Dimension}, "value": {f.Value}}.Encode()
	}
	if f.Owner != "" {
		a.Facts = append(a.Facts, anomaly.Fact{Name: "Owner", Value: f.Owner})
	}
	amounts := make([]money.Sum, len(f.Reason))
	for i, p := range f.Reason {
		amounts[i] = p.Amount
	}
	parts := d.parts(amounts)
	for i, p := range f.Reason {
		a.Why = append(a.Why, strings.ReplaceAll(p.Name, "_", " ")+": "+plus(parts[i]))
	}
	for _, r := range f.Top {
		a.Why = append(a.Why, "request "+r.ID+": "+decimalsOf(r.Cost).text(r.Cost))
	}
	return a
}

// decimals is to how many digits the amounts of a message are cut, always downwards, so that nothing shows as spent that is not. The
// exact amounts are in the API.
type decimals int

// decimalsOf is cents, or millionths where all of it is under ten dollars.
func decimalsOf(amount money.Sum) decimals {
	if ten := (money.Sum{}).Add(10_000_000_000_000); amount.Minus(ten).Sign() < 0 && amount.Plus(ten).Sign() > 0 {
		return 6
	}
	return 2
}

// cut is an amount in units of the last digit, and what the cut took, in pico-dollars.
func (d decimals) cut(s money.Sum) (units, rest *big.Int) {
	v, _ := new(big.Int).SetString(strings.Replace(s.String(), ".", "", 1), 10)
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(money.Scale-d)), nil)
	return new(big.Int).DivMod(v, unit, new(big.Int)) // toward minus infinity
}

// text is an amount as people read it.
func (d decimals) text(s money.Sum) string {
	units, _ := d.cut(s)
	return d.usd(units)
}

// less is what is left of an amount after a part of it, both as they are shown.
func (d decimals) less(amount, part money.Sum) string {
	units, _ := d.cut(amount)
	gone, _ := d.cut(part)
	return d.usd(units.Sub(units, gone))
}

// parts is the parts that sum to an amount, cut so that what is shown of them sums to what is shown of it: what the cuts took goes to
// those that lost most.
func (d decimals) parts(parts []money.Sum) []string {
	var total money.Sum
	units, rests, order := make([]*big.Int, len(parts)), make([]*big.Int, len(parts)), make([]int, len(parts))
	over := new(big.Int)
	for i, p := range parts {
		units[i], rests[i] = d.cut(p)
		total, order[i] = total.Plus(p), i
		over.Sub(over, units[i])
	}
	whole, _ := d.cut(total)
	over.Add(over, whole) // fewer than there are parts
	slices.SortStableFunc(order, func(a, b int) int { return rests[b].Cmp(rests[a]) })
	for _, i := range order[:over.Int64()] {
		units[i].Add(units[i], big.NewInt(1))
	}
	texts := make([]string, len(parts))
	for i := range parts {
		texts[i] = d.usd(units[i])
	}
	return texts
}

// usd writes units of the last digit as dollars.
func (d decimals) usd(units *big.Int) string {
	digits := fmt.Sprintf("%0*s", int(d)+1, new(big.Int).Abs(units))
	whole := digits[:len(digits)-int(d)]
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	sign := ""
	if units.Sign() < 0 {
		sign = "-"
	}
	return sign + "USD " + whole + "." + digits[len(digits)-int(d):]
}

// plus gives an amount that is not negative a sign.
func plus(text string) string {
	if strings.HasPrefix(text, "-") {
		return text
	}
	return "+" + text
}
