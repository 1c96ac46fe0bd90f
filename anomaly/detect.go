package anomaly

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// version of the detectors. A change of what they find or say raises it; then all days are looked at again.
const version = 1

// Dimensions that findings are about.
var Dimensions = []string{"business_unit", "team", "project", "user", "application", "use_case", "provider", "model"}

// Options of a detection.
type Options struct {
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics // nil: none
}

// Run is what a detection did.
type Run struct {
	Through                     uint64 // recorded_seq through which the findings are now complete
	Days                        int    // looked at
	Found, Corrected, Withdrawn int    // findings: new ones, further revisions, revisions that withdraw
}

var (
	// ErrMoved says that the rollups of days that were being looked at changed meanwhile. The caller tries again at its next tick.
	ErrMoved = errors.New("the rollups moved while the detectors read them")
	// ErrOvertaken says that a detection that saw more of the ledger has been at work. There is nothing left to do.
	ErrOvertaken = errors.New("another detection has seen more of the ledger")
)

// Detect brings the findings to what the rollups hold. It looks at complete
// days only (everything recorded until the day's end is in), and only at those
// whose findings can be others than before: what it costs depends on what
// changed. Days are done a month at a time.
//
// What a crash leaves: revisions of months that were done, which no reader
// sees before the row of the run is written, last. The next run finds them as
// they should be and goes on.
func Detect(ctx context.Context, store Store, o Options) (Run, error) {
	began := o.Now()
	d := detector{store: store, snapshots: map[string]*governance.Snapshot{}}
	err := d.run(ctx, o)
	o.Metrics.ended(d.did, err, began, o.Now())
	if err != nil {
		return d.did, fmt.Errorf("detect as of %d: %w", d.asOf, err)
	}
	return d.did, nil
}

type detector struct {
	store     Store
	asOf      uint64 // recorded_seq that the rollups hold
	first     Day    // with cells
	end       Day    // the first that is not complete
	did       Run
	snapshots map[string]*governance.Snapshot
}

func (d *detector) run(ctx context.Context, o Options) error {
	var state []struct {
		Rollups  uint64    `ch:"rollups"`
		Detected uint64    `ch:"detected"`
		Newest   uint64    `ch:"newest"`
		First    time.Time `ch:"first"`
		Last     time.Time `ch:"last"`
	}
	if err := d.store.Select(ctx, &state, sql.Query("anomaly_state"), clickhouse.Param("detection", uint16(version))); err != nil {
		return err
	}
	s := state[0]
	d.asOf, d.did.Through = s.Rollups, s.Newest
	if s.Rollups <= s.Newest { // nothing new, so that what was said as of it stays
		return nil
	}
	d.first, d.end = DayOf(s.First), completeDays(s.Rollups)
	days, err := d.days(ctx, s.Detected, DayOf(s.Last))
	if err != nil {
		return err
	}
	for len(days) > 0 {
		n := 0
		for n < len(days) && days[n].month() == days[0].month() {
			n++
		}
		if err := d.month(ctx, days[:n]); err != nil {
			return fmt.Errorf("%s: %w", days[0].Time().Format("2006-01"), err)
		}
		d.did.Days += n
		days = days[n:]
	}
	err = d.store.Exec(ctx, sql.Query("finding_detected"), clickhouse.Param("through", s.Rollups),
		clickhouse.Param("detection", uint16(version)), clickhouse.Param("finished_at", o.Now().UnixMicro()))
	if err != nil {
		return err
	}
	d.did.Through = s.Rollups
	o.Logger.Debug("detection finished", "through", s.Rollups, "days", d.did.Days)
	return nil
}

// completeDays is the first day that is not complete as of a recorded_seq, which is a time in microseconds.
func completeDays(seq uint64) Day { return Day(min(seq/1e6/86400, 1<<16-1)) }

// days is the complete days to look at: those that have become complete, and those whose findings can follow from a day that changed.
func (d *detector) days(ctx context.Context, detected uint64, last Day) ([]Day, error) {
	var rows []struct {
		Day time.Time `ch:"day"`
	}
	err := d.store.Select(ctx, &rows, sql.Query("anomaly_changed"), clickhouse.Param("after", detected), clickhouse.Param("through", d.asOf))
	if err != nil {
		return nil, err
	}
	var days []Day
	add := func(from, to Day) {
		for day := from; day < to; day++ {
			days = append(days, day)
		}
	}
	for _, r := range rows {
		day := DayOf(r.Day)
		add(day, min(d.end, day+reach+1))
	}
	if d.first > 0 { // a day without any history has no findings
		add(max(completeDays(detected), d.first), min(d.end, last+history+1))
	}
	slices.Sort(days)
	return slices.Compact(days), nil
}

// month looks at days of one month.
func (d *detector) month(ctx context.Context, days []Day) error {
	month := days[0].month()
	from, to := days[0]-min(days[0], reach), min(d.end, month.next())
	rules, err := d.rules(ctx, month, to)
	if err != nil {
		return err
	}
	all, err := d.series(ctx, rules, from, to)
	if err != nil {
		return err
	}
	drafts := d.anomalies(all, days, month, from, rules)
	drafts = append(drafts, d.drifts(all, month, from, to, rules[len(rules)-1])...)
	if err := d.explain(ctx, drafts); err != nil {
		return err
	}
	var moved []struct {
		Touched bool `ch:"touched"`
	}
	err = d.store.Select(ctx, &moved, sql.Query("rollup_touched"), clickhouse.Param("as_of", d.asOf),
		clickhouse.Param("from", from.String()), clickhouse.Param("to", to.String()))
	if err != nil {
		return err
	}
	if moved[0].Touched {
		return ErrMoved
	}
	return d.revise(ctx, drafts, days, month, to)
}

// draft is a finding in the making.
type draft struct {
	Finding
	rules    *rules
	compared int       // days that the usual was taken from
	expected money.Sum // of a day: as the series says
	estimate money.Sum // of a drift: of the whole month
	span     span      // of days that cost Cost
	before   span      // that it is compared with; without days: nothing
}

// span is days [from, to) of a value.
type span struct {
	value    string
	from, to Day
}

// series reads what every value cost on each of the days.
func (d *detector) series(ctx context.Context, rules []*rules, from, to Day) ([]*series, error) {
	dimensions := []string{"use_case"} // of which drifts are
	for _, r := range rules {
		dimensions = append(dimensions, r.Dimensions...)
	}
	slices.Sort(dimensions)
	dimensions = slices.Compact(dimensions)
	var all []*series
	for _, statement := range []string{"anomaly_series_cells", "anomaly_series_users"} {
		if statement == "anomaly_series_users" && !slices.Contains(dimensions, "user") {
			continue
		}
		var rows []struct {
			Dimension string   `ch:"dimension"`
			Value     string   `ch:"value"`
			Days      []uint16 `ch:"days"`
			Costs     []int64  `ch:"costs"`
		}
		err := d.store.Select(ctx, &rows, sql.Query(statement), clickhouse.Param("from", from.Time().Format(time.DateOnly)),
			clickhouse.Param("to", to.Time().Format(time.DateOnly)), clickhouse.Param("dimensions", dimensions))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			s := &series{dimension: r.Dimension, value: r.Value, costs: make([]int64, to-from), verdicts: make([]verdict, to-from)}
			for i, day := range r.Days {
				s.costs[Day(day)-from] = r.Costs[i]
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// anomalies are what the daily detector finds on the days. Index 0 of a series is the day from, of rules the first of the month.
func (d *detector) anomalies(all []*series, days []Day, month, from Day, rules []*rules) []*draft {
	var drafts []*draft
	for _, s := range all {
		floor := int64(-1)
		for _, day := range days {
			r := rules[day-month]
			if !slices.Contains(r.Dimensions, s.dimension) {
				continue
			}
			if int64(r.Floor) != floor { // the verdicts are of another floor
				floor = int64(r.Floor)
				clear(s.verdicts)
			}
			i := int(day - from)
			if s.found(i, floor) == 0 {
				continue
			}
			v := s.judge(i, floor)
			reference := from + Day(v.reference)
			drafts = append(drafts, &draft{
				Finding: Finding{
					State: Open, Kind: Anomaly, Dimension: s.dimension, Value: s.value, Day: day, Through: day, Began: from + Day(s.began(i, floor)),
					Baseline: money.Sum{}.Add(money.Pico(s.costs[v.reference])), Basis: v.basis, Reference: reference, Score: v.score,
				},
				rules: r, compared: v.days, expected: money.Sum{}.Add(money.Pico(s.costs[i])),
				span: span{s.value, day, day + 1}, before: span{s.value, reference, reference + 1},
			})
		}
	}
	return drafts
}

// minDriftDays of a month must be complete before its cost so far is held against the estimate.
const minDriftDays = 7

// drifts are the use cases that cost more this month than was estimated for as
// many days of it, from the first week on, and of a month that is complete and
// of which the ledger has all days also those that cost less.
func (d *detector) drifts(all []*series, month, from, to Day, r *rules) []*draft {
	days, length := int64(to-month), int64(month.next()-month)
	if r.snapshot == nil || days < minDriftDays {
		return nil
	}
	spent := map[string]money.Sum{}
	for _, s := range all {
		if s.dimension == "use_case" {
			sum := money.Sum{}
			for _, cost := range s.costs[month-from:] {
				sum = sum.Add(money.Pico(cost))
			}
			spent[s.value] = sum
		}
	}
	before := (month - 1).month()
	compared := span{from: before, to: min(before+Day(days), month)}
	if days == length {
		compared.to = month
	}
	if d.first > before { // the ledger does not have all of it
		compared.to = compared.from
	}
	var drafts []*draft
	for _, u := range r.snapshot.UseCases() {
		cost := spent[u.ID]
		estimate := money.Sum{}.Add(u.EstimateMonthlyUSD)
		expected := sumOf(scaled(picoOf(estimate), days, length, nil)) // pro rata of days, rounded down
		change := cost.Minus(expected)
		if change.Sign() < 0 && (days < length || d.first > month) {
			continue
		}
		if over := new(big.Int).Abs(picoOf(change)); over.Cmp(big.NewInt(int64(r.Floor))) < 0 || !exceeds(over, picoOf(expected), r.DriftPercent) {
			continue
		}
		compared.value = u.ID
		drafts = append(drafts, &draft{
			Finding: Finding{
				State: Open, Kind: Drift, Dimension: "use_case", Value: u.ID, Day: month, Through: to - 1, Began: month, Baseline: expected, Basis: Estimate,
			},
			rules: r, expected: cost, estimate: estimate, span: span{u.ID, month, to}, before: compared,
		})
	}
	return drafts
}

// exceeds reports whether change is more than a percentage of base.
func exceeds(change, base *big.Int, percent int64) bool {
	left, right := new(big.Int).Mul(change, big.NewInt(100)), new(big.Int).Mul(base, big.NewInt(percent))
	return left.Cmp(right) > 0
}

// revise writes what is not said yet of the days looked at, and withdraws what is said and is not so.
func (d *detector) revise(ctx context.Context, drafts []*draft, days []Day, month, to Day) error {
	said, err := List(ctx, d.store, Query{From: month, To: to, AsOf: 1<<64 - 1, Limit: 1 << 40})
	if err != nil {
		return err
	}
	stands := map[identity]*Finding{}
	for i := range said {
		f := &said[i]
		if f.Kind == Drift || slices.Contains(days, f.Day) {
			stands[f.identity()] = f
		}
		if f.RecordedSeq > d.asOf {
			return ErrOvertaken
		}
	}
	var revisions []Finding
	did := d.did
	for _, draft := range drafts {
		f := draft.Finding
		f.ID, f.RecordedSeq, f.Revision = f.identity().id(), d.asOf, 1
		old := stands[f.identity()]
		delete(stands, f.identity())
		if old == nil {
			did.Found++
		} else {
			if old.says() == f.says() {
				continue
			}
			f.Revision = old.Revision + 1
			did.Corrected++
		}
		revisions = append(revisions, f)
	}
	for i := range said { // in their order
		f := said[i]
		if stands[f.identity()] == nil || f.State == Withdrawn {
			continue
		}
		f.State, f.Revision, f.RecordedSeq = Withdrawn, f.Revision+1, d.asOf
		f.Sentence = "Withdrawn: as the ledger stands now this is not so. It said: " + f.Sentence
		did.Withdrawn++
		revisions = append(revisions, f)
	}
	if err := record(ctx, d.store, revisions); err != nil {
		return err
	}
	d.did = did
	return nil
}

// rules are what a day is judged by.
type rules struct {
	governance.Detection
	digest   string
	snapshot *governance.Snapshot // nil: no call has named one yet
}

// rules of the days in [from, to): those of the snapshot that was named last by the end of each day, so that a day is judged by the
// same rules whenever that is.
func (d *detector) rules(ctx context.Context, from, to Day) ([]*rules, error) {
	var rows []struct {
		Day    time.Time `ch:"day"`
		Digest string    `ch:"digest"`
	}
	err := d.store.Select(ctx, &rows, sql.Query("anomaly_rules"), clickhouse.Param("from", from.Time().Format(time.DateOnly)),
		clickhouse.Param("to", to.Time().Format(time.DateOnly)), clickhouse.Param("as_of", d.asOf))
	if err != nil {
		return nil, err
	}
	all := make([]*rules, 0, to-from)
	now := &rules{Detection: governance.DefaultDetection(), digest: hex.EncodeToString(make([]byte, 32))}
	for day := from; day < to; day++ {
		for len(rows) > 0 && DayOf(rows[0].Day) <= day {
			if now, err = d.rulesOf(ctx, [32]byte([]byte(rows[0].Digest))); err != nil {
				return nil, err
			}
			rows = rows[1:]
		}
		all = append(all, now)
	}
	return all, nil
}

func (d *detector) rulesOf(ctx context.Context, digest [32]byte) (*rules, error) {
	name := hex.EncodeToString(digest[:])
	if d.snapshots[name] == nil {
		var rows []struct {
			Archive string `ch:"archive"`
		}
		if err := d.store.Select(ctx, &rows, sql.Query("ingest_snapshot"), clickhouse.Param("digest", digest)); err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return nil, fmt.Errorf("governance snapshot %s is not in the store", name)
		}
		snapshot, err := governance.Parse([]byte(rows[0].Archive))
		if err != nil {
			return nil, fmt.Errorf("governance snapshot %s: %w", name, err)
		}
		d.snapshots[name] = snapshot
	}
	return &rules{d.snapshots[name].Detection(), name, d.snapshots[name]}, nil
}
