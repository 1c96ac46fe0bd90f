package aggregate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// seqAt is a recorded_seq of a time: what is complete through it.
func seqAt(at time.Time) uint64 { return uint64(at.UnixMicro()) }

func budgets(t *testing.T, db *clickhouse.DB, at time.Time, list ...*governance.Budget) aggregate.BudgetReport {
	t.Helper()
	r, err := aggregate.Budgets(t.Context(), db, list, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.States) != len(list) {
		t.Fatalf("%d states of %d budgets", len(r.States), len(list))
	}
	return r
}

// A budget's spend, the spend before and every movement are what one gets by adding up the entries by hand, in periods of any zone.
func TestBudgetsAreSumsOfTheEntries(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	from, now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 10, 9, 20, 0, 0, time.UTC)
	entries := ledgertest.Make(rand.New(rand.NewPCG(7, 7)), 600, from, now)
	ledgertest.Post(t, db, seqAt(now.Add(time.Minute)), entries...)
	rollup(t, db)
	var list []*governance.Budget
	for _, zone := range []string{"UTC", "Europe/Zurich", "Asia/Kathmandu"} {
		tz, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, period := range []string{"day", "week", "month", "quarter"} {
			for i, f := range []map[string][]string{
				{}, {"team": {"risk"}}, {"team": {"risk", "search"}, "use_case": {"kyc"}}, {"business_unit": {"retail"}, "application": {"web"}}, {"project": {"alpha"}}, {"user": {"u_0000000000000003"}},
			} {
				list = append(list, &governance.Budget{ID: fmt.Sprint(zone, period, i), For: f, Period: period, TimeZone: tz, Amount: 1e12})
			}
		}
	}
	r := budgets(t, db, now, list...)
	if !r.CompleteThrough.Equal(now.Add(time.Minute)) {
		t.Errorf("complete through %s", r.CompleteThrough)
	}
	spent := 0
	for i := range r.States {
		s := &r.States[i]
		if s.Budget != list[i] {
			t.Fatalf("budget %s in the place of %s", s.Budget.ID, list[i].ID)
		}
		in := func(e ledgertest.Entry, from, to time.Time) bool {
			for d, values := range s.Budget.For {
				if !slices.Contains(values, value(e, d)) {
					return false
				}
			}
			return !e.Time.Before(from) && e.Time.Before(to)
		}
		sums := sum(entries, func(e ledgertest.Entry) string {
			switch {
			case in(e, s.From, s.To):
				return "now"
			case in(e, s.BeforeFrom, s.BeforeTo):
				return "before"
			}
			return ""
		})
		if s.Spent != sums["now"] || s.Before != sums["before"] {
			t.Errorf("%s: spent %+v and before %+v, want %+v and %+v", s.Budget.ID, s.Spent, s.Before, sums["now"], sums["before"])
		}
		if s.Spent.Requests > 0 && s.Before.Requests > 0 {
			spent++
		}
		elapsed := now.Sub(s.From)
		if late := s.BeforeTo.Sub(s.BeforeFrom) - elapsed; s.BeforeTo.Before(s.From) && (late < 0 || late >= 15*time.Minute) || s.BeforeTo.After(s.From) {
			t.Errorf("%s: %s into the period, compared with %s of the one before", s.Budget.ID, elapsed, s.BeforeTo.Sub(s.BeforeFrom))
		}
		if calls, each := s.Causes(); calls.Plus(each) != s.Change() {
			t.Errorf("%s: causes %s and %s are not the change %s", s.Budget.ID, calls, each, s.Change())
		}
		if want := 3; len(s.Movements) != want && len(s.Budget.For["team"]) != 1 && len(s.Budget.For["use_case"]) != 1 {
			t.Errorf("%s: %d movements, want %d", s.Budget.ID, len(s.Movements), want)
		}
		for _, m := range s.Movements {
			if len(s.Budget.For[m.Dimension]) == 1 {
				t.Errorf("%s: a movement by %s, which the budget fixes", s.Budget.ID, m.Dimension)
			}
			for n := range 5 {
				var now, before aggregate.Figures
				var change money.Sum
				top := m.Top(n)
				for i := range top {
					now, before = total([]aggregate.Row{{Figures: now}, {Figures: top[i].Now}}), total([]aggregate.Row{{Figures: before}, {Figures: top[i].Before}})
					change = change.Plus(top[i].Change())
				}
				if now != s.Spent || before != s.Before || change != s.Change() || len(top) > n+1 {
					t.Errorf("%s by %s, top %d: %+v", s.Budget.ID, m.Dimension, n, top)
				}
			}
			byHand := sum(entries, func(e ledgertest.Entry) string {
				if !in(e, s.From, s.To) {
					return "-"
				}
				return "+" + value(e, m.Dimension)
			})
			for _, mover := range m.Movers {
				if mover.Now != byHand["+"+mover.Value] {
					t.Errorf("%s, %s %s: %+v, want %+v", s.Budget.ID, m.Dimension, mover.Value, mover.Now, byHand["+"+mover.Value])
				}
			}
		}
	}
	if spent < len(list)/2 {
		t.Fatalf("only %d of %d budgets have anything to compare", spent, len(list))
	}
}

// entry is one call of team risk that costs an amount of pico-dollars.
func entry(at time.Time, cost int64) ledgertest.Entry {
	return ledgertest.Entry{Event: event.NewID(event.At(at)), Class: "input", Sign: 1, Time: at, Team: "risk", UseCase: "kyc", Model: "gpt-5", Provider: "openai",
		Calls: 1, Quantity: 1, Rate: money.Rate(cost)}
}

// A percentage is crossed when exactly that is spent, not a pico-dollar before, and no longer when a correction takes it back.
func TestBudgetCrossesExactly(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	at := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	b := &governance.Budget{ID: "risk", For: map[string][]string{"team": {"risk"}}, Period: "month", TimeZone: time.UTC, Amount: 1_000_000_000_007} // a third of it is no whole number
	state := func(seq time.Time, entries ...ledgertest.Entry) aggregate.BudgetState {
		t.Helper()
		ledgertest.Post(t, db, seqAt(seq), entries...)
		rollup(t, db)
		return budgets(t, db, at, b).States[0]
	}
	check := func(s aggregate.BudgetState, percent string, crossed ...int) {
		t.Helper()
		var got []int
		for _, p := range []int{33, 50, 80, 100, 120} {
			if s.Crossed(p) {
				got = append(got, p)
			}
		}
		if s.Percent() != percent || !slices.Equal(got, crossed) {
			t.Errorf("spent %s of %s: %s %%, crossed %v; want %s %%, %v", s.Spent.Cost, s.Amount(), s.Percent(), got, percent, crossed)
		}
	}
	if r := budgets(t, db, at, b); r.AsOf != 0 || !r.CompleteThrough.IsZero() || !r.States[0].Spent.Cost.IsZero() {
		t.Errorf("of empty books: %+v", r)
	}
	// 80 % of the amount is 800000000005.6 pico-dollars.
	below := entry(at, 800_000_000_005)
	check(state(at, below), "79.9", 33, 50)
	pico := entry(at.Add(time.Second), 1)
	check(state(at.Add(time.Second), pico), "80.0", 33, 50, 80)
	check(state(at.Add(2*time.Second), pico.Reverse(1)), "79.9", 33, 50)
	s := state(at.Add(3*time.Second), entry(at, 200_000_000_002))
	check(s, "100.0", 33, 50, 80, 100)
	if !s.Remaining().IsZero() {
		t.Errorf("remaining %s", s.Remaining())
	}
	s = state(at.Add(4*time.Second), below.Reverse(1), entry(at, 200_000_000_002).Reverse(1), entry(at, 1).Reverse(2))
	check(s, "-0.1")
	unpriced := entry(at, 0)
	unpriced.Unpriced = true
	if s = state(at.Add(5*time.Second), unpriced); s.Spent.Unpriced != 1 {
		t.Errorf("unpriced: %+v", s.Spent)
	}
	// The month after is another period, with the whole of this one before it once it is over.
	after := budgets(t, db, time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC), b).States[0]
	if after.From.Month() != time.December || after.Spent.Requests != 0 {
		t.Errorf("December: %+v", after)
	}
}

// A forecast goes on with the mean of each weekday of the last four weeks; with less than a week of history there is none.
func TestBudgetForecast(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	zone, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 18, 0, 0, 0, zone) // a Tuesday, three quarters over
	const dollar = 1_000_000_000_000
	perDay := map[time.Weekday]int64{time.Monday: 8, time.Tuesday: 4, time.Wednesday: 12, time.Thursday: 2, time.Friday: 6, time.Saturday: 1, time.Sunday: 1}
	var entries []ledgertest.Entry
	for n := -28; n < 0; n++ {
		at := time.Date(2026, 11, 24+n, 23, 30, 0, 0, zone)
		entries = append(entries, entry(at, perDay[at.Weekday()]*dollar))
	}
	entries[0].Rate *= 5 // Tuesday the 27th of October: the mean of four Tuesdays is 8
	entries = append(entries, entry(now.Add(-time.Hour), 3*dollar))
	ledgertest.Post(t, db, seqAt(now), entries...)
	rollup(t, db)
	b := func(amount int64, team string) *governance.Budget {
		return &governance.Budget{ID: team, For: map[string][]string{"team": {team}}, Period: "month", TimeZone: zone, Amount: money.Pico(amount * dollar)}
	}
	// November to the 23rd: three Mondays to Saturdays and four Sundays (3 × 33 + 1) and the Monday; then today's 3.
	// What is left: a quarter of a Tuesday (2), and Wednesday to Monday (12+2+6+1+1+8).
	r := budgets(t, db, now, b(1000, "risk"), b(120, "risk"), b(100, "risk"), b(1000, "nobody"))
	if got := r.States[0].Spent.Cost.String(); got != "114.000000000000" {
		t.Fatalf("spent %s", got)
	}
	f := r.States[0].Forecast
	if f == nil || f.Amount.String() != "146.000000000000" || f.Days != 28 || !f.UsedUp.IsZero() {
		t.Errorf("forecast %+v, want 146", f)
	}
	if f = r.States[1].Forecast; f == nil || f.UsedUp.Format(time.DateOnly) != "2026-11-25" {
		t.Errorf("120 dollars are used up %+v, want on the 25th", f)
	}
	if f = r.States[2].Forecast; f == nil || !f.UsedUp.IsZero() {
		t.Errorf("100 dollars, which are used up already: %+v", f)
	}
	if r.States[3].Forecast != nil {
		t.Error("a forecast of nothing")
	}
	if closed := budgets(t, db, time.Date(2026, 10, 31, 12, 0, 0, 0, zone), b(1000, "risk")).States[0]; !closed.Point.Equal(time.Date(2026, 10, 31, 12, 0, 0, 0, zone)) || closed.Forecast != nil {
		t.Errorf("four days of history make a forecast: %+v", closed.Forecast)
	}
}
