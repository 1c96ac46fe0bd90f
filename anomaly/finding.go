// Package anomaly finds what is unusual in the rollups, and says why: days on
// which a value of a dimension cost much more or less than it usually does, and
// use cases that cost more or less than their estimate.
//
// A finding is a fact like an entry of the ledger: it has an id that follows
// from what it is about, and numbered revisions. Detection is a function of the
// rollups as of one recorded_seq and of the governance snapshots that the calls
// named, so a run that is made again writes nothing, and late entries or a
// restatement bring a further revision of the same finding, or withdraw it.
package anomaly

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// Kinds of findings.
const (
	Anomaly = "anomaly" // a day's cost is not what it usually is
	Drift   = "drift"   // a month's cost of a use case is not what was estimated
)

// States of findings.
const (
	Open      = "open"
	Withdrawn = "withdrawn" // what the ledger says now is no finding any more
)

// Finding is one revision of a finding.
type Finding struct {
	ID        string `json:"id"`       // 32 hex digits, of Kind, Dimension, Value and Day
	Revision  uint32 `json:"revision"` // from 1
	State     string `json:"state"`
	Kind      string `json:"kind"`
	Dimension string `json:"dimension"`
	Value     string `json:"value"` // empty: of the calls that have none
	Day       Day    `json:"day"`   // of a drift the first day of the month
	Through   Day    `json:"through"`
	Began     Day    `json:"began"` // first day of the unbroken run of days found, at most four weeks back; Day: this is the first

	// PartOf is the id of another anomaly of the day: one use case makes at least half of both, and that one tells more. Empty: it
	// stands for itself. It follows from what stands at the time of reading, and is no part of a revision.
	PartOf string `json:"part_of"`

	Cost      money.Sum `json:"cost"`      // dollars, from Day through Through
	Baseline  money.Sum `json:"baseline"`  // dollars that it is compared with
	Change    money.Sum `json:"change"`    // Cost - Baseline
	Basis     string    `json:"basis"`     // what Baseline is: weekday | recent | estimate
	Reference Day       `json:"reference"` // the day that cost Baseline; of a drift the first day of the month that Reason compares with; none: zero
	Score     float64   `json:"score"`     // of an anomaly: Change in units of the usual deviation

	Reason     []Part    `json:"reason"` // sums to Change exactly
	Owner      string    `json:"owner"`  // of the use case, or of the one that changed most; empty: not known
	Movers     []Mover   `json:"movers"` // use cases that changed most, in the direction of Change first
	Top        []Request `json:"top_requests"`
	Sentence   string    `json:"sentence"`   // all of it for people
	Governance string    `json:"governance"` // digest of the snapshot whose rules found it; zeros: none, the defaults

	RecordedSeq uint64 `json:"recorded_seq,string"` // of the rollups that it was found in
}

// Part is one term of the reason of a finding: the cost now less the cost then,
// in parts that sum to it to the last digit. Then is the reference day of an
// anomaly and the same days of the month before of a drift.
//
// A request belongs to a path: direct, or fallback when it took more than one
// attempt; within the path it belongs to the provider and model of its last
// attempt, with all that its attempts cost. Let R be requests, K cost and q
// tokens, of all, of a path p, of a model m of a path, of a class c of tokens
// of a model. Five costs lead from then to now; in each one thing more is as
// it is now, and the rest as it was then:
//
//	then      K
//	volume    R' · K/R                       requests as now
//	fallback  Σp   R'p · Kp/Rp               and their paths
//	mix       Σpm  R'pm · Kpm/Rpm            and their models
//	tokens    Σpmc q'pmc · Kpmc/qpmc         and their tokens
//	price     K' (now)                       and what a token costs
//
// Each part is the difference to the cost before it. What did not exist then
// (the divisor is zero) costs in each line what it costs in the next one, down
// to what it costs now: a model that is new is all mix. Each summand is
// rounded down to a whole pico-dollar; what a line loses by that the next part
// has, in the end price, since the last cost is the ledger's own.
//
// Tokens without a price or without a count are in no cost, so a price that
// becomes known shows as price. A drift has a part more, estimate: what the
// month before was off the estimate already, or all of the change when there
// is no month before.
type Part struct {
	Name   string    `json:"name"`
	Amount money.Sum `json:"amount"` // dollars
}

// Mover is how much more a use case cost than in the reference; less is negative.
type Mover struct {
	UseCase string    `json:"use_case"`
	Amount  money.Sum `json:"amount"` // dollars
}

// Request is a call and what it cost.
type Request struct {
	ID   string    `json:"id"`
	Cost money.Sum `json:"cost"` // dollars
}

// IsFirst reports whether this is where something begins, rather than one more day of it or another side of it: what an alert is
// made of.
func (f *Finding) IsFirst() bool { return f.Began == f.Day && f.PartOf == "" }

// Day is a day in UTC, days since 1970; 0 is none. Its text is 2006-01-02, of none empty.
type Day uint16

// DayOf is the day of an instant.
func DayOf(t time.Time) Day { return Day(t.Unix() / 86400) }

// Time is when the day begins.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

func (d Day) String() string {
	if d == 0 {
		return ""
	}
	return d.Time().Format(time.DateOnly)
}

// MarshalText makes a Day a date in JSON.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Day) UnmarshalText(text []byte) error {
	if *d = 0; len(text) == 0 {
		return nil
	}
	t, err := time.Parse(time.DateOnly, string(text))
	*d = DayOf(t)
	return err
}

// month is the first day of a day's month.
func (d Day) month() Day {
	t := d.Time()
	return DayOf(time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC))
}

// next is the first day of the following month.
func (d Day) next() Day {
	t := d.Time()
	return DayOf(time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC))
}

// identity is what a finding is about; its id follows from it.
type identity struct {
	kind, dimension, value string
	day                    Day
}

func (f *Finding) identity() identity { return identity{f.Kind, f.Dimension, f.Value, f.Day} }

func (i identity) digest() [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", i.kind, i.dimension, i.value, i.day))
	return [16]byte(sum[:16])
}

func (i identity) id() string {
	digest := i.digest()
	return hex.EncodeToString(digest[:])
}

// says is all that a revision states: two that say the same are one.
func (f *Finding) says() string {
	g := *f
	g.Revision, g.RecordedSeq, g.PartOf = 0, 0, ""
	text, err := json.Marshal(&g)
	if err != nil {
		panic(err) // of these types nothing fails
	}
	return string(text)
}

// Store is what runs the statements of this package: a *clickhouse.DB.
type Store interface {
	Exec(ctx context.Context, query string, args ...clickhouse.Arg) error
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
}

// Query asks for findings of days in [From, To). An empty filter lets all through.
type Query struct {
	From, To                              Day
	AsOf                                  uint64 // recorded_seq; see [Latest]
	Kind, Dimension, Value, State, Owners []string
	First                                 bool // only those that are the first, see [Finding.IsFirst]
	Limit, Offset                         uint64
}

// Latest is the recorded_seq through which findings are complete; 0 before the first run.
func Latest(ctx context.Context, store Store) (uint64, error) {
	var rows []struct {
		Through uint64 `ch:"through"`
	}
	if err := store.Select(ctx, &rows, sql.Query("finding_latest")); err != nil {
		return 0, fmt.Errorf("read the last detection: %w", err)
	}
	return rows[0].Through, nil
}

// List is the findings that a query asks for as they were at AsOf: each in its
// last revision, the newest day first, then by the money that they are about.
// What is recorded after AsOf changes nothing, if that is at most [Latest].
func List(ctx context.Context, store Store, q Query) ([]Finding, error) {
	var rows []findingRow
	err := store.Select(ctx, &rows, sql.Query("finding_list"), clickhouse.Param("as_of", q.AsOf),
		clickhouse.Param("from", q.From.Time().Format(time.DateOnly)), clickhouse.Param("to", q.To.Time().Format(time.DateOnly)),
		clickhouse.Param("kind", list(q.Kind)), clickhouse.Param("dimension", list(q.Dimension)), clickhouse.Param("value", list(q.Value)),
		clickhouse.Param("state", list(q.State)), clickhouse.Param("owner", list(q.Owners)), clickhouse.Param("first", q.First),
		clickhouse.Param("limit", q.Limit), clickhouse.Param("offset", q.Offset))
	if err != nil {
		return nil, fmt.Errorf("list findings: %w", err)
	}
	findings := make([]Finding, len(rows))
	for i := range rows {
		if findings[i], err = rows[i].finding(); err != nil {
			return nil, fmt.Errorf("read finding %s: %w", rows[i].ID, err)
		}
	}
	return findings, nil
}

// list is a parameter of text values; nil would be no parameter at all.
func list(values []string) []string { return append([]string{}, values...) }

type findingRow struct {
	ID          string    `ch:"id"`
	Revision    uint32    `ch:"revision"`
	State       string    `ch:"state"`
	Kind        string    `ch:"kind"`
	Dimension   string    `ch:"dimension"`
	Value       string    `ch:"value"`
	Day         time.Time `ch:"day"`
	Through     time.Time `ch:"through"`
	Began       time.Time `ch:"began"`
	PartOf      string    `ch:"part_of"`
	Cost        string    `ch:"cost"`
	Baseline    string    `ch:"baseline"`
	Basis       string    `ch:"basis"`
	Reference   time.Time `ch:"reference"`
	Score       float64   `ch:"score"`
	PartName    []string  `ch:"part_name"`
	PartAmount  []string  `ch:"part_amount"`
	Owner       string    `ch:"owner"`
	MoverName   []string  `ch:"mover_name"`
	MoverAmount []string  `ch:"mover_amount"`
	TopID       []string  `ch:"top_id"`
	TopCost     []string  `ch:"top_cost"`
	Sentence    string    `ch:"sentence"`
	Governance  string    `ch:"governance"`
	RecordedSeq uint64    `ch:"recorded_seq"`
}

func (r *findingRow) finding() (f Finding, err error) {
	sum := func(text string) money.Sum {
		s, e := money.ParseSum(text)
		if err == nil {
			err = e
		}
		return s
	}
	f = Finding{
		ID: r.ID, Revision: r.Revision, State: r.State, Kind: r.Kind, Dimension: r.Dimension, Value: r.Value,
		Day: DayOf(r.Day), Through: DayOf(r.Through), Began: DayOf(r.Began), PartOf: r.PartOf, Cost: sum(r.Cost), Baseline: sum(r.Baseline), Basis: r.Basis,
		Reference: DayOf(r.Reference), Score: r.Score, Reason: []Part{}, Owner: r.Owner, Movers: []Mover{}, Top: []Request{},
		Sentence: r.Sentence, Governance: r.Governance, RecordedSeq: r.RecordedSeq,
	}
	f.Change = f.Cost.Minus(f.Baseline)
	for i, name := range r.PartName {
		f.Reason = append(f.Reason, Part{name, sum(r.PartAmount[i])})
	}
	for i, name := range r.MoverName {
		f.Movers = append(f.Movers, Mover{name, sum(r.MoverAmount[i])})
	}
	for i, id := range r.TopID {
		f.Top = append(f.Top, Request{id, sum(r.TopCost[i])})
	}
	return f, err
}

// record writes revisions in one insert.
func record(ctx context.Context, store Store, revisions []Finding) error {
	if len(revisions) == 0 {
		return nil
	}
	var (
		kind, dimension, value, state, cost, baseline, basis, score, owner, sentence []string
		day, through, began, reference                                               []uint16
		revision                                                                     []uint32
		id                                                                           [][16]byte
		partName, partAmount, moverName, moverAmount, topID, topCost                 [][]string
		governance                                                                   [][32]byte
		seq                                                                          []uint64
	)
	for i := range revisions {
		f := &revisions[i]
		kind, dimension, value, state = append(kind, f.Kind), append(dimension, f.Dimension), append(value, f.Value), append(state, f.State)
		cost, baseline, basis = append(cost, f.Cost.String()), append(baseline, f.Baseline.String()), append(basis, f.Basis)
		score, owner, sentence = append(score, fmt.Sprint(f.Score)), append(owner, f.Owner), append(sentence, f.Sentence)
		day, through, began, reference = append(day, uint16(f.Day)), append(through, uint16(f.Through)), append(began, uint16(f.Began)), append(reference, uint16(f.Reference))
		revision, id, seq = append(revision, f.Revision), append(id, f.identity().digest()), append(seq, f.RecordedSeq)
		var digest [32]byte
		if _, err := hex.Decode(digest[:], []byte(f.Governance)); err != nil {
			return fmt.Errorf("finding %s: governance digest: %w", f.ID, err)
		}
		governance = append(governance, digest)
		var names, amounts, movers, moved, ids, costs []string
		for _, p := range f.Reason {
			names, amounts = append(names, p.Name), append(amounts, p.Amount.String())
		}
		for _, m := range f.Movers {
			movers, moved = append(movers, m.UseCase), append(moved, m.Amount.String())
		}
		for _, r := range f.Top {
			ids, costs = append(ids, r.ID), append(costs, r.Cost.String())
		}
		partName, partAmount, moverName, moverAmount = append(partName, names), append(partAmount, amounts), append(moverName, movers), append(moverAmount, moved)
		topID, topCost = append(topID, ids), append(topCost, costs)
	}
	err := store.Exec(ctx, sql.Query("finding_record"), clickhouse.Table("revisions", []clickhouse.Column{
		{Name: "kind", Type: "String", Data: kind}, {Name: "dimension", Type: "String", Data: dimension}, {Name: "value", Type: "String", Data: value},
		{Name: "day", Type: "Date", Data: day}, {Name: "revision", Type: "UInt32", Data: revision}, {Name: "finding_id", Type: "FixedString(16)", Data: id},
		{Name: "state", Type: "String", Data: state}, {Name: "through", Type: "Date", Data: through}, {Name: "began", Type: "Date", Data: began},
		{Name: "cost", Type: "String", Data: cost}, {Name: "baseline", Type: "String", Data: baseline}, {Name: "basis", Type: "String", Data: basis},
		{Name: "reference", Type: "Date", Data: reference}, {Name: "score", Type: "String", Data: score},
		{Name: "part_name", Type: "Array(String)", Data: partName}, {Name: "part_amount", Type: "Array(String)", Data: partAmount},
		{Name: "owner", Type: "String", Data: owner}, {Name: "mover_name", Type: "Array(String)", Data: moverName},
		{Name: "mover_amount", Type: "Array(String)", Data: moverAmount}, {Name: "top_id", Type: "Array(String)", Data: topID},
		{Name: "top_cost", Type: "Array(String)", Data: topCost}, {Name: "sentence", Type: "String", Data: sentence},
		{Name: "governance", Type: "FixedString(32)", Data: governance}, {Name: "recorded_seq", Type: "UInt64", Data: seq},
	}))
	if err != nil {
		return fmt.Errorf("record %d revisions of findings: %w", len(revisions), err)
	}
	return nil
}
