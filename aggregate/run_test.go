package aggregate_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

func exec(t *testing.T, db *clickhouse.DB, statement string, values ...any) {
	t.Helper()
	if err := db.Exec(t.Context(), fmt.Sprintf(statement, values...)); err != nil {
		t.Fatal(err)
	}
}

// What any partition may still bring is not in the figures, and N moves on also when nothing is charged.
func TestRollupStaysBelowTheWatermark(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	if run := rollup(t, db); run.Through != 0 {
		t.Fatalf("an empty store: %+v", run)
	}
	ledgertest.Post(t, db, 100, ledgertest.Make(rand.New(rand.NewPCG(2, 1)), 20, start, start.AddDate(0, 0, 1))...)
	exec(t, db, "INSERT INTO batches (topic, partition, recorded_seq) VALUES ('%s', 1, 50)", ledgertest.Topic)
	if run := rollup(t, db); run.Through != 50 || len(run.Days) != 0 {
		t.Fatalf("partition 1 is at 50: %+v", run)
	}
	if r := showback(t, db, aggregate.Query{}); r.AsOf != 50 || r.Total != (aggregate.Figures{}) || !r.CompleteThrough.Equal(time.UnixMicro(50)) {
		t.Fatalf("showback as of 50: %+v", r)
	}
	exec(t, db, "INSERT INTO batches (topic, partition, first_offset, next_offset, recorded_seq) VALUES ('%s', 1, 1, 1, 150)", ledgertest.Topic)
	exec(t, db, "INSERT INTO restatements (restatement, state, recorded_seq, version) VALUES (1, 'open', 81, 1)")
	if run := rollup(t, db); run.Through != 80 || len(run.Days) != 0 {
		t.Fatalf("a restatement is open at 81: %+v", run)
	}
	exec(t, db, "INSERT INTO restatements (restatement, state, recorded_seq, version) VALUES (1, 'done', 81, 2)")
	if run := rollup(t, db); run.Through != 100 || len(run.Days) != 1 {
		t.Fatalf("partition 0 is at 100: %+v", run)
	}
}

// A run that was killed while it swapped days: readers of those days go to the ledger itself and are exact, its lock holds for
// the lease, and the next run finishes what it began.
func TestReadersBesideADeadRun(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	r := rand.New(rand.NewPCG(3, 1))
	q := aggregate.Query{GroupBy: []string{"day", "team", "class"}}
	users := aggregate.Query{GroupBy: []string{"user"}}
	ledgertest.Post(t, db, 100, ledgertest.Make(r, 200, start, end)...)
	rollup(t, db)
	want, wantUsers := showback(t, db, q), showback(t, db, users)
	ledgertest.Post(t, db, 200, ledgertest.Make(r, 60, start, end)...)

	// It had said what it swaps, and swapped the first day of the cells.
	died := time.Date(2100, 1, 2, 12, 0, 0, 0, time.UTC) // after the runs before it, whose clock is the real one
	first := start.Format("20060102")
	exec(t, db, "INSERT INTO rollups (through_seq, state, changed_at) VALUES (0, 'running', '%s')", died.Format(time.DateTime))
	exec(t, db, "INSERT INTO rollups (through_seq, state, days, changed_at) VALUES (200, 'started', ['2026-10-24', '2026-10-25', '2026-10-26'], '%s')", died.Format(time.DateTime))
	exec(t, db, "TRUNCATE TABLE cells_staging")
	exec(t, db, `INSERT INTO cells_staging SELECT cell, business_unit, team, project, application, use_case, provider, model, class, cost_status,
		sum(requests), sum(entries), sum(quantity), sum(unmeasured), sum(cost), sum(unpriced), sum(hash)
		FROM ledger(as_of = 200, from = %d, to = %d) GROUP BY ALL`, start.UnixMicro(), start.AddDate(0, 0, 1).UnixMicro())
	exec(t, db, "ALTER TABLE cells REPLACE PARTITION %s FROM cells_staging", first)

	got, gotUsers := showback(t, db, q), showback(t, db, users)
	if got.Source != "ledger" || gotUsers.Source != "ledger" || got.AsOf != 100 || !reflect.DeepEqual(got.Rows, want.Rows) || !reflect.DeepEqual(gotUsers.Rows, wantUsers.Rows) {
		t.Errorf("with a day half swapped: from %s as of %d, total %+v; want %+v", got.Source, got.AsOf, got.Total, want.Total)
	}
	if elsewhere := showback(t, db, aggregate.Query{From: end, To: end.AddDate(0, 1, 0)}); elsewhere.Source != "hours" {
		t.Errorf("days that nobody swaps are read from %s", elsewhere.Source)
	}

	ledgertest.Post(t, db, 300, ledgertest.Make(r, 10, end, end.AddDate(0, 0, 1))...)
	at := died.Add(29 * time.Second)
	o := aggregate.Options{Topic: ledgertest.Topic, Now: func() time.Time { return at }, Logger: slog.New(slog.DiscardHandler)} // a clock that stands still
	if _, err := aggregate.Rollup(t.Context(), db, o); !errors.Is(err, aggregate.ErrRunning) {
		t.Fatalf("a second run within the lease of the first: %v, want ErrRunning", err)
	}
	at = died.Add(31 * time.Second)
	run, err := aggregate.Rollup(t.Context(), db, o)
	if err != nil || run.Through != 300 || len(run.Days) != 4 {
		t.Fatalf("the next run: %+v, %v; want 4 days through 300", run, err)
	}
	verify(t, db)
	exec(t, db, "OPTIMIZE TABLE rollups FINAL") // of the words of a run the last is the one that stays
	if r := showback(t, db, q); r.Source != "hours" || r.AsOf != 300 {
		t.Errorf("after the next run: from %s as of %d", r.Source, r.AsOf)
	}
}

// The proof compares every figure by itself, a pico-dollar and a row of nothing included, and names the cell. Days that are asked
// for by name are made again, also when the ledger has nothing of them.
func TestVerifyComparesEveryFigure(t *testing.T) {
	t.Parallel()
	db, entries := ledger(t, 1000)
	for _, table := range []string{"cells", "user_days"} {
		var hashes []uint64
		rows, err := db.Query(t.Context(), "SELECT hash FROM "+table+" WHERE class = 'output' ORDER BY hash")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var h uint64
			if err := rows.Scan(&h); err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, h)
		}
		rows.Close()
		damages := []string{
			"requests = requests + 1", "entries = entries + 1", "quantity = quantity + 1", "unmeasured = unmeasured + 1",
			"cost = cost + toDecimal128('0.000000000001', 12)", "unpriced = unpriced + 1", "hash = hash + 1",
		}
		for i, damage := range damages {
			exec(t, db, "ALTER TABLE %s UPDATE %s WHERE hash = %d SETTINGS mutations_sync = 1", table, damage, hashes[i])
		}
		exec(t, db, "INSERT INTO %s (%s, team) VALUES ('2026-10-01', 'ghost')", table, map[string]string{"cells": "cell", "user_days": "day"}[table])
		proofs, err := aggregate.VerifyRollups(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range proofs {
			different := uint64(0)
			if strings.HasSuffix(p.Name, table) {
				different = uint64(len(damages) + 1)
			}
			if p.Different != different || len(p.Problems) < int(min(different, 5)) {
				t.Errorf("%s damaged in %d places: %s has %d different, %q", table, len(damages)+1, p.Name, p.Different, p.Problems)
			}
			if p.Different > 0 && !strings.Contains(p.Problems[0], "team=ghost") {
				t.Errorf("the first problem is %q, want the ghost of the first day", p.Problems[0])
			}
		}
		o := options()
		o.From, o.To = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), end
		if run, err := aggregate.Rollup(t.Context(), db, o); err != nil || run.Through != 1000 || len(run.Days) != 26 {
			t.Fatalf("made again: %+v, %v", run, err)
		}
		verify(t, db)
	}
	// The same entries again, in whatever order, are the same ledger.
	ledgertest.Post(t, db, 2000, entries[100:]...)
	before := showback(t, db, aggregate.Query{})
	if run := rollup(t, db); run.Through != 2000 || len(run.Days) != 3 {
		t.Fatalf("%+v", run)
	}
	if after := showback(t, db, aggregate.Query{}); after.Total != before.Total {
		t.Errorf("duplicates counted: %+v, want %+v", after.Total, before.Total)
	}
	verify(t, db)
}
