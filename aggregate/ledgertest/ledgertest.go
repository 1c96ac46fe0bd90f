// Package ledgertest posts made-up entries to a real ledger, for tests of what
// is derived from it.
package ledgertest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
)

// Topic is whose batches Post writes.
const Topic = "llm.events"

// Open is a migrated, empty database on the embedded store.
func Open(t testing.TB) *clickhouse.DB {
	t.Helper()
	target := embeddedtest.ClickHouse(t)
	db, err := clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// Entry is a row of the ledger.
type Entry struct {
	Event       event.ID
	Attempt     uint8
	Class       string
	Restatement uint32
	Sign        int8
	Time        time.Time

	BusinessUnit, Team, Project, User, Application, UseCase string
	Provider, Model                                         string

	Calls      int8
	Quantity   int64
	Unmeasured bool // Quantity is not known
	Rate       money.Rate
	Unpriced   bool // Rate is not known
}

// Status is the entry's cost_status.
func (e *Entry) Status() string {
	switch {
	case e.Unmeasured:
		return "missing"
	case e.Unpriced:
		return "unpriced"
	case e.Rate == 0:
		return "free"
	}
	return "exact"
}

// Cost is the entry's cost, and whether there is one.
func (e *Entry) Cost() (money.Pico, bool) {
	cost, err := e.Rate.Cost(e.Quantity)
	if err != nil {
		panic(err)
	}
	return cost, !e.Unmeasured && !e.Unpriced
}

// Reverse is the entry that takes e back.
func (e Entry) Reverse(restatement uint32) Entry {
	e.Restatement, e.Sign, e.Calls, e.Quantity = restatement, -e.Sign, -e.Calls, -e.Quantity
	return e
}

// Post writes entries as one batch, its row in batches last.
func Post(t testing.TB, db *clickhouse.DB, seq uint64, entries ...Entry) {
	t.Helper()
	insert(t, db, "charges", columns(seq, entries))
	Batch(t, db, seq)
}

// Rollup brings the rollups up to the watermark, as the jobs do.
func Rollup(t testing.TB, db *clickhouse.DB) {
	t.Helper()
	o := aggregate.Options{Topic: Topic, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	if _, err := aggregate.Rollup(t.Context(), db, o); err != nil {
		t.Fatal(err)
	}
}

// Batch writes an empty range, which moves the watermark to seq.
func Batch(t testing.TB, db *clickhouse.DB, seq uint64) {
	t.Helper()
	insert(t, db, "batches", []clickhouse.Column{
		{Name: "topic", Data: []string{Topic}}, {Name: "first_offset", Data: []uint64{seq}}, {Name: "next_offset", Data: []uint64{seq}},
		{Name: "recorded_seq", Data: []uint64{seq}},
	})
}

func insert(t testing.TB, db *clickhouse.DB, table string, columns []clickhouse.Column) {
	t.Helper()
	if err := db.Insert(context.Background(), table, "", columns); err != nil {
		t.Fatal(err)
	}
}

func columns(seq uint64, entries []Entry) []clickhouse.Column {
	var (
		ids, events                     [][16]byte
		restatement, period             []uint32
		sign, calls                     []int8
		times                           []int64
		quantity, rate                  clickhouse.NullInt64
		cost                            clickhouse.Decimals
		attempt                         []uint8
		derivation                      []uint16
		governance                      [][32]byte
		seqs                            []uint64
		class, bu, team, project, user  []string
		application, useCase, provider  []string
		model, status, retention, empty []string
		priceID                         []string
	)
	for i := range entries {
		e := &entries[i]
		id := sha256.Sum256(fmt.Appendf(nil, "%s|%d|%s|%d|%d", e.Event, e.Attempt, e.Class, e.Restatement, e.Sign))
		ids, events = append(ids, [16]byte(id[:16])), append(events, e.Event)
		attempt, derivation, governance, seqs = append(attempt, e.Attempt), append(derivation, 1), append(governance, [32]byte{}), append(seqs, seq)
		restatement, sign, calls = append(restatement, e.Restatement), append(sign, e.Sign), append(calls, e.Calls)
		times = append(times, e.Time.UnixMicro())
		period = append(period, uint32(e.Time.UTC().Year()*100+int(e.Time.UTC().Month())))
		amount, known := e.Cost()
		if !known {
			amount = 0
		}
		quantity.Values, quantity.Null = append(quantity.Values, e.Quantity), append(quantity.Null, e.Unmeasured)
		rate.Values, rate.Null = append(rate.Values, int64(e.Rate)), append(rate.Null, e.Unpriced || e.Unmeasured)
		cost.Pico, cost.Null = append(cost.Pico, int64(amount)), append(cost.Null, !known)
		class, bu, team, project = append(class, e.Class), append(bu, e.BusinessUnit), append(team, e.Team), append(project, e.Project)
		user, application, useCase = append(user, e.User), append(application, e.Application), append(useCase, e.UseCase)
		provider, model, status = append(provider, e.Provider), append(model, e.Model), append(status, e.Status())
		retention, empty, priceID = append(retention, "standard"), append(empty, ""), append(priceID, "p-"+e.Model)
	}
	return []clickhouse.Column{
		{Name: "entry_id", Data: ids}, {Name: "event_id", Data: events}, {Name: "attempt", Data: attempt}, {Name: "class", Data: class},
		{Name: "restatement", Data: restatement}, {Name: "sign", Data: sign}, {Name: "charge_time", Data: times},
		{Name: "posting_period", Data: period}, {Name: "retention_class", Data: retention}, {Name: "business_unit", Data: bu},
		{Name: "team", Data: team}, {Name: "project", Data: project}, {Name: "user", Data: user}, {Name: "application", Data: application},
		{Name: "use_case", Data: useCase}, {Name: "provider", Data: provider}, {Name: "endpoint", Data: provider}, {Name: "region", Data: empty},
		{Name: "model", Data: model}, {Name: "tier", Data: empty}, {Name: "workload", Data: empty}, {Name: "usage_source", Data: empty},
		{Name: "calls", Data: calls}, {Name: "quantity", Data: quantity}, {Name: "rate", Data: rate}, {Name: "price_id", Data: priceID},
		{Name: "cost", Data: cost}, {Name: "cost_status", Data: status}, {Name: "price_book", Data: empty}, {Name: "governance", Data: governance},
		{Name: "derivation", Data: derivation}, {Name: "recorded_seq", Data: seqs},
	}
}

// Make is entries of n calls at random times in [from, to): most priced, some
// unpriced, free, unmeasured, without a team, with text that needs quoting.
func Make(r *rand.Rand, n int, from, to time.Time) []Entry {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	var out []Entry
	for range n {
		at := time.UnixMicro(from.UnixMicro() + r.Int64N(to.UnixMicro()-from.UnixMicro())).UTC()
		e := Entry{
			Event: event.NewID(event.At(at)), Sign: 1, Time: at,
			BusinessUnit: pick("retail", "markets"), Team: pick("risk", "search", "o'neill \\ \"q\"", ""), Project: pick("alpha", "=1+1", ""),
			User: fmt.Sprintf("u_%016x", r.IntN(7)), Application: pick("web", "batch"), UseCase: pick("kyc", "chat", "code"),
			Provider: pick("openai", "anthropic"), Model: pick("gpt-5", "claude", "local", "new"),
		}
		e.Rate = map[string]money.Rate{"gpt-5": 1_250_000, "claude": 3_000_001, "local": 0, "new": 0}[e.Model]
		e.Unpriced = e.Model == "new"
		classes := []string{"input", "cache_read", "output"}
		if r.IntN(10) == 0 {
			classes, e.Unmeasured, e.Unpriced = []string{"unknown"}, true, false
		}
		for i, class := range classes {
			e.Class, e.Calls, e.Quantity = class, 0, r.Int64N(100_000)
			if i == 0 {
				e.Calls = 1
			}
			if e.Unmeasured {
				e.Quantity = 0
			}
			out = append(out, e)
		}
	}
	return out
}
