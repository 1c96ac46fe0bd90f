package aggregate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// BudgetState is what has been spent of a budget in one of its periods, and
// why. Cost of Spent and Before is dollars that are known: entries without a
// price are counted in Unpriced and are in no amount.
type BudgetState struct {
	Budget   *governance.Budget
	From, To time.Time // the period
	Point    time.Time // through when it is compared: now, or the end of the period, or what the books are complete through
	Spent    Figures   // of the period

	BeforeFrom, BeforeTo time.Time // the period before, up to the same point in it
	Before               Figures

	Movements []Movement // of the dimensions that the budget does not fix
	Forecast  *Forecast  // nil: the period is over, or there is too little history to say
}

// Movement is how the spend moved, value by value of one dimension. The
// changes of its movers sum to the change of the budget's spend.
type Movement struct {
	Dimension string
	Movers    []Mover // those that moved most first
}

// Mover is one value's part in a movement.
type Mover struct {
	Value       string // empty: the calls that have none
	Others      int    // of how many values it is the sum; 0: of the one in Value
	Now, Before Figures
}

// Change is by how much more is spent than before.
func (m *Mover) Change() money.Sum { return m.Now.Cost.Minus(m.Before.Cost) }

// Forecast is an estimate of what the period will have cost at its end: what
// is spent, and for each day that remains the mean of the same weekday in the
// last four weeks. It is no promise and no entry of the books.
type Forecast struct {
	Amount money.Sum
	Days   int       // of history that it rests on, 7 to 28
	UsedUp time.Time // the day, in the budget's time zone, on which the amount is used up by this estimate; zero: not in this period
}

// BudgetReport is the state of budgets as of one recorded_seq.
type BudgetReport struct {
	States          []BudgetState // in the order of the budgets
	AsOf            uint64
	CompleteThrough time.Time // zero: nothing is complete yet
}

// movedBy are the dimensions whose values explain a change.
var movedBy = []string{"use_case", "model", "team"}

// Budgets is the state of each budget in the period that at is in, all as of
// one recorded_seq, from the rollups where they can tell. Budgets of the same
// period share their reading. A time zone that the store does not know is an
// [ErrQuery].
func Budgets(ctx context.Context, db Store, budgets []*governance.Budget, at time.Time) (BudgetReport, error) {
	for try := 0; ; try++ {
		r, err := budgetsOnce(ctx, db, budgets, at, try == 5)
		if !errors.Is(err, errMoved) {
			return r, err
		}
	}
}

// errMoved says that a rollup ended while budgets were read.
var errMoved = errors.New("the rollups moved on")

// budgetsOnce reads at the newest recorded_seq. When that moves meanwhile it gives up with errMoved, or, pinned, goes on at the same one,
// which may have to be read from the ledger itself.
func budgetsOnce(ctx context.Context, db Store, budgets []*governance.Budget, at time.Time, pinned bool) (BudgetReport, error) {
	asOf, err := finished(ctx, db)
	if err != nil {
		return BudgetReport{}, err
	}
	r := BudgetReport{AsOf: asOf, CompleteThrough: Complete(asOf), States: make([]BudgetState, len(budgets))}
	groups := map[string][]*BudgetState{} // those that are read together
	for i, b := range budgets {
		s := &r.States[i]
		*s = begin(b, at, r.CompleteThrough)
		key := fmt.Sprint(s.From, s.To, s.BeforeTo, b.TimeZone, len(b.For["user"]) > 0)
		groups[key] = append(groups[key], s)
	}
	if asOf == 0 {
		return r, nil
	}
	read := func(q Query) ([]Row, error) {
		if !q.From.Before(q.To) {
			return nil, nil
		}
		if pinned {
			q.AsOf = asOf
		}
		report, err := Showback(ctx, db, q)
		if err == nil && report.AsOf != asOf {
			err = errMoved
		}
		return report.Rows, err
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		if err := readBudgets(read, groups[key]); err != nil {
			return BudgetReport{}, fmt.Errorf("read the spend of %d budgets from %s: %w", len(groups[key]), groups[key][0].From.Format(time.RFC3339), err)
		}
	}
	return r, nil
}

// begin is a budget's period, nothing read yet.
func begin(b *governance.Budget, at, complete time.Time) BudgetState {
	s := BudgetState{Budget: b}
	s.From, s.To = b.Bounds(at)
	s.Point = earliest(earliest(at, s.To), complete)
	if s.Point.Before(s.From) {
		s.Point = s.From
	}
	// Cells are quarters of an hour: the same point is the end of the one that it is in.
	elapsed := s.Point.Sub(s.From)
	if cut := elapsed.Truncate(15 * time.Minute); cut < elapsed {
		elapsed = cut + 15*time.Minute
	}
	s.BeforeFrom, _ = b.Bounds(s.From.Add(-time.Nanosecond))
	s.BeforeTo = earliest(s.BeforeFrom.Add(elapsed), s.From)
	if s.Point.Equal(s.To) { // all of it, however many days it has
		s.BeforeTo = s.From
	}
	return s
}

// readBudgets fills in budgets of one period.
func readBudgets(read func(Query) ([]Row, error), states []*BudgetState) error {
	first := states[0]
	var filters []string // dimensions that any of them filters by
	for _, s := range states {
		for d := range s.Budget.For {
			if !slices.Contains(filters, d) {
				filters = append(filters, d)
			}
		}
	}
	slices.Sort(filters)
	by := slices.Clone(filters)
	for _, d := range movedBy {
		if !slices.Contains(by, d) {
			by = append(by, d)
		}
	}
	now, err := read(Query{From: first.From, To: first.To, GroupBy: by})
	if err != nil {
		return err
	}
	before, err := read(Query{From: first.BeforeFrom, To: first.BeforeTo, GroupBy: by})
	if err != nil {
		return err
	}
	today := midnight(first.Point, first.Budget.TimeZone, 0)
	byDay := append([]string{"day"}, filters...)
	days, err := read(Query{From: midnight(today, first.Budget.TimeZone, -historyDays), To: today, TZ: first.Budget.TimeZone, GroupBy: byDay})
	if err != nil {
		return err
	}
	for _, s := range states {
		s.move(by, now, before)
		s.forecast(byDay, days)
	}
	return nil
}

// counts reports whether a group's spend counts to the budget.
func counts(b *governance.Budget, by, group []string) bool {
	for d, values := range b.For {
		if !slices.Contains(values, group[slices.Index(by, d)]) {
			return false
		}
	}
	return true
}

// move fills in what was spent, and how it moved.
func (s *BudgetState) move(by []string, now, before []Row) {
	movers := map[string]map[string]*Mover{}
	for _, d := range movedBy {
		if len(s.Budget.For[d]) != 1 { // with one value there is nothing to tell
			movers[d] = map[string]*Mover{}
		}
	}
	each := func(rows []Row, total *Figures, part func(*Mover) *Figures) {
		for i := range rows {
			if !counts(s.Budget, by, rows[i].Group) {
				continue
			}
			total.add(&rows[i].Figures)
			for d, values := range movers {
				value := rows[i].Group[slices.Index(by, d)]
				if values[value] == nil {
					values[value] = &Mover{Value: value}
				}
				part(values[value]).add(&rows[i].Figures)
			}
		}
	}
	each(now, &s.Spent, func(m *Mover) *Figures { return &m.Now })
	each(before, &s.Before, func(m *Mover) *Figures { return &m.Before })
	for _, d := range movedBy {
		if movers[d] == nil {
			continue
		}
		m := Movement{Dimension: d}
		for _, mover := range movers[d] {
			m.Movers = append(m.Movers, *mover)
		}
		slices.SortFunc(m.Movers, func(a, b Mover) int {
			return cmp.Or(pico(b.Change()).CmpAbs(pico(a.Change())), strings.Compare(a.Value, b.Value))
		})
		s.Movements = append(s.Movements, m)
	}
}

func (f *Figures) add(g *Figures) {
	f.Requests += g.Requests
	f.Quantity += g.Quantity
	f.Cost = f.Cost.Plus(g.Cost)
	f.Unpriced += g.Unpriced
	f.Unmeasured += g.Unmeasured
}

// Top is the movers that moved most, n at most, and the others as one, so that
// the changes still sum to the whole.
func (m *Movement) Top(n int) []Mover {
	if len(m.Movers) <= n {
		return m.Movers
	}
	top, others := slices.Clone(m.Movers[:n]), Mover{Others: len(m.Movers) - n}
	for i := range m.Movers[n:] {
		others.Now.add(&m.Movers[n+i].Now)
		others.Before.add(&m.Movers[n+i].Before)
	}
	return append(top, others)
}

// Change is by how much more is spent than before.
func (s *BudgetState) Change() money.Sum { return s.Spent.Cost.Minus(s.Before.Cost) }

// Causes splits the change in two that sum to it: what more or fewer calls
// cost at the cost of a call before, cut to a pico-dollar, and what each call
// costs more or less.
func (s *BudgetState) Causes() (calls, each money.Sum) {
	change := s.Change()
	if s.Before.Requests <= 0 { // nothing to compare a call with
		return change, money.Sum{}
	}
	v := new(big.Int).Mul(pico(s.Before.Cost), big.NewInt(s.Spent.Requests-s.Before.Requests))
	calls = sum(v.Quo(v, big.NewInt(s.Before.Requests)))
	return calls, change.Minus(calls)
}

// Amount is what may be spent.
func (s *BudgetState) Amount() money.Sum { return money.Sum{}.Add(s.Budget.Amount) }

// Remaining is what is left of the amount; negative when more is spent.
func (s *BudgetState) Remaining() money.Sum { return s.Amount().Minus(s.Spent.Cost) }

// Crossed reports whether a percentage of the amount is spent: exactly that is.
func (s *BudgetState) Crossed(percent int) bool {
	spent := new(big.Int).Mul(pico(s.Spent.Cost), big.NewInt(100))
	return spent.Cmp(new(big.Int).Mul(pico(s.Amount()), big.NewInt(int64(percent)))) >= 0
}

// Percent is how much of the amount is spent, cut to a tenth of a percent, so
// that it never says more than is.
func (s *BudgetState) Percent() string {
	tenths := new(big.Int).Mul(pico(s.Spent.Cost), big.NewInt(1000))
	tenths.Div(tenths, pico(s.Amount())) // toward minus infinity: the amount is positive
	sign := ""
	if tenths.Sign() < 0 {
		sign = "-"
	}
	whole, tenth := new(big.Int).QuoRem(tenths.Abs(tenths), big.NewInt(10), new(big.Int))
	return fmt.Sprintf("%s%s.%s", sign, whole, tenth)
}

// historyDays is how far back a forecast looks: weekdays alike.
const historyDays = 28

// forecast estimates the period's spend from the daily rows of the weeks before the point.
func (s *BudgetState) forecast(by []string, rows []Row) {
	zone := s.Budget.TimeZone
	if !s.Point.Before(s.To) {
		return
	}
	daily := map[string]money.Sum{}
	firstDay := ""
	for i := range rows {
		if !counts(s.Budget, by, rows[i].Group) {
			continue
		}
		day := rows[i].Group[0]
		daily[day] = daily[day].Plus(rows[i].Cost)
		if firstDay == "" || day < firstDay {
			firstDay = day
		}
	}
	var total [7]money.Sum
	var days [7]int64
	f := Forecast{Amount: s.Spent.Cost}
	for n := -historyDays; n < 0; n++ {
		d := midnight(s.Point, zone, n)
		if text := d.Format(time.DateOnly); firstDay != "" && text >= firstDay {
			total[d.Weekday()] = total[d.Weekday()].Plus(daily[text])
			days[d.Weekday()]++
			f.Days++
		}
	}
	if f.Days < 7 {
		return
	}
	for n := 0; ; n++ {
		from, to := midnight(s.Point, zone, n), midnight(s.Point, zone, n+1)
		if !from.Before(s.To) {
			break
		}
		left := to.Sub(from)
		if n == 0 {
			left = to.Sub(s.Point)
		}
		v := new(big.Int).Mul(pico(total[from.Weekday()]), big.NewInt(int64(left)))
		v.Quo(v, new(big.Int).Mul(big.NewInt(days[from.Weekday()]), big.NewInt(int64(to.Sub(from)))))
		f.Amount = f.Amount.Plus(sum(v))
		if f.UsedUp.IsZero() && f.Amount.Minus(s.Amount()).Sign() >= 0 && s.Remaining().Sign() > 0 {
			f.UsedUp = from
		}
	}
	s.Forecast = &f
}

// midnight is the beginning of the day that a time is in, in a time zone, or of one n days from it.
func midnight(at time.Time, zone *time.Location, n int) time.Time {
	y, m, d := at.In(zone).Date()
	return time.Date(y, m, d+n, 0, 0, 0, 0, zone)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pico is an amount in pico-dollars.
func pico(s money.Sum) *big.Int {
	v, ok := new(big.Int).SetString(strings.Replace(s.String(), ".", "", 1), 10)
	if !ok {
		panic(errors.New("aggregate: an amount that is no number: " + s.String()))
	}
	return v
}

// sum is an amount of pico-dollars; every one here is a part of a sum.
func sum(v *big.Int) money.Sum {
	digits := fmt.Sprintf("%013s", new(big.Int).Abs(v))
	text := digits[:len(digits)-money.Scale] + "." + digits[len(digits)-money.Scale:]
	if v.Sign() < 0 {
		text = "-" + text
	}
	s, err := money.ParseSum(text)
	if err != nil {
		panic(err)
	}
	return s
}
