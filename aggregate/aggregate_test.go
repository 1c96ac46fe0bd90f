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
	_ "time/tzdata"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

var (
	start = time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC) // Zurich sets its clocks back in the night to the 25th
	end   = start.AddDate(0, 0, 3)
)

// ledger is a ledger of some hundred calls, rolled up through seq.
func ledger(t *testing.T, seq uint64) (*clickhouse.DB, []ledgertest.Entry) {
	t.Helper()
	db := ledgertest.Open(t)
	entries := ledgertest.Make(rand.New(rand.NewPCG(1, 2)), 250, start, end)
	ledgertest.Post(t, db, seq, entries...)
	rollup(t, db)
	return db, entries
}

func options() aggregate.Options {
	return aggregate.Options{Topic: ledgertest.Topic, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func rollup(t *testing.T, db *clickhouse.DB) aggregate.Run {
	t.Helper()
	run, err := aggregate.Rollup(t.Context(), db, options())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func showback(t *testing.T, db *clickhouse.DB, q aggregate.Query) aggregate.Report {
	t.Helper()
	if q.From.IsZero() {
		q.From, q.To = start, end
	}
	r, err := aggregate.Showback(t.Context(), db, q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return r
}

// value is a dimension of an entry.
func value(e ledgertest.Entry, dimension string) string {
	return map[string]string{
		"business_unit": e.BusinessUnit, "team": e.Team, "project": e.Project, "user": e.User, "application": e.Application,
		"use_case": e.UseCase, "provider": e.Provider, "model": e.Model, "class": e.Class, "cost_status": e.Status(),
	}[dimension]
}

// sum adds entries up by hand.
func sum(entries []ledgertest.Entry, key func(ledgertest.Entry) string) map[string]aggregate.Figures {
	sums := map[string]aggregate.Figures{}
	for _, e := range entries {
		k := key(e)
		f := sums[k]
		f.Requests += int64(e.Calls)
		cost, known := e.Cost()
		switch {
		case e.Unmeasured:
			f.Unmeasured += int64(e.Sign)
		case !known:
			f.Unpriced += int64(e.Sign)
			f.Quantity += e.Quantity
		default:
			f.Quantity += e.Quantity
			f.Cost = f.Cost.Add(cost)
		}
		sums[k] = f
	}
	return sums
}

func total(rows []aggregate.Row) (f aggregate.Figures) {
	for _, r := range rows {
		f.Requests += r.Requests
		f.Quantity += r.Quantity
		f.Cost = f.Cost.Plus(r.Cost)
		f.Unpriced += r.Unpriced
		f.Unmeasured += r.Unmeasured
	}
	return f
}

// Showback is what one gets by adding up the entries by hand, whichever table it comes from, by each dimension, by local day,
// hour and month of zones with odd offsets and through a change of the clocks; the rows always sum to the total.
func TestShowbackIsTheSumOfTheEntries(t *testing.T) {
	t.Parallel()
	db, entries := ledger(t, 1000)
	want := sum(entries, func(ledgertest.Entry) string { return "" })[""]
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	type ask struct {
		q      aggregate.Query
		source string
		key    func(ledgertest.Entry) string
	}
	var asks []ask
	for _, d := range aggregate.Dimensions {
		source := "hours"
		if d == "user" {
			source = "user_days"
		}
		asks = append(asks, ask{aggregate.Query{GroupBy: []string{d}}, source, func(e ledgertest.Entry) string { return value(e, d) }})
	}
	asks = append(asks, ask{aggregate.Query{GroupBy: []string{"user", "application"}}, "ledger", func(e ledgertest.Entry) string { return value(e, "user") + "|" + e.Application }})
	asks = append(asks,
		ask{aggregate.Query{GroupBy: []string{"user", "month", "team"}}, "user_days", func(e ledgertest.Entry) string {
			return e.User + "|" + e.Time.Format("2006-01") + "|" + e.Team
		}},
		ask{aggregate.Query{GroupBy: []string{"day", "user"}}, "user_days", func(e ledgertest.Entry) string { return e.Time.Format(time.DateOnly) + "|" + e.User }},
		ask{aggregate.Query{GroupBy: aggregate.Dimensions}, "ledger", func(e ledgertest.Entry) string {
			values := make([]string, len(aggregate.Dimensions))
			for i, d := range aggregate.Dimensions {
				values[i] = value(e, d)
			}
			return strings.Join(values, "|")
		}})
	for _, name := range []string{"UTC", "Europe/Zurich", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"} {
		z, source := zone(name), "hours"
		if strings.HasPrefix(name, "Asia/") { // half and quarter hours from UTC
			source = "cells"
		}
		asks = append(asks,
			ask{aggregate.Query{GroupBy: []string{"day", "team"}, TZ: z}, source, func(e ledgertest.Entry) string { return e.Time.In(z).Format(time.DateOnly) + "|" + e.Team }},
			ask{aggregate.Query{GroupBy: []string{"month"}, TZ: z}, source, func(e ledgertest.Entry) string { return e.Time.In(z).Format("2006-01") }},
			ask{aggregate.Query{GroupBy: []string{"hour"}, TZ: z}, source, func(e ledgertest.Entry) string {
				local := e.Time.In(z)
				return local.Add(-time.Duration(local.Minute())*time.Minute - time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond())).Format(time.RFC3339)
			}},
		)
	}
	for _, a := range asks {
		name := fmt.Sprint(a.q.GroupBy, " ", a.q.TZ)
		r := showback(t, db, a.q)
		if r.Source != a.source {
			t.Errorf("%s: read from %s, want %s", name, r.Source, a.source)
		}
		if r.Total != want || total(r.Rows) != want {
			t.Errorf("%s: total %+v, rows sum to %+v, want %+v", name, r.Total, total(r.Rows), want)
		}
		sums := sum(entries, a.key)
		for _, row := range r.Rows {
			if k := strings.Join(row.Group, "|"); sums[k] != row.Figures {
				t.Errorf("%s: %q is %+v, want %+v", name, k, row.Figures, sums[k])
			}
		}
		// A bound inside a cell is read from the ledger itself, and must agree.
		slow := a.q
		slow.From, slow.To = start, end.Add(time.Microsecond)
		if s := showback(t, db, slow); s.Source != "ledger" || !reflect.DeepEqual(s.Rows, r.Rows) || s.Total != r.Total {
			t.Errorf("%s: the %s says other than %s", name, s.Source, r.Source)
		}
		if a.source == "hours" { // a bound inside an hour is read from the cells
			quarters := a.q
			quarters.From, quarters.To = start.Add(-15*time.Minute), end.Add(45*time.Minute)
			if s := showback(t, db, quarters); s.Source != "cells" || !reflect.DeepEqual(s.Rows, r.Rows) || s.Total != r.Total {
				t.Errorf("%s: the %s says other than %s", name, s.Source, r.Source)
			}
		}
	}
	filtered := showback(t, db, aggregate.Query{GroupBy: []string{"model"}, Filters: map[string][]string{"team": {"risk", ""}, "provider": {"openai"}}})
	sums := sum(entries, func(e ledgertest.Entry) string {
		if (e.Team == "risk" || e.Team == "") && e.Provider == "openai" {
			return "in"
		}
		return "out"
	})
	if filtered.Total != sums["in"] {
		t.Errorf("filtered: %+v, want %+v", filtered.Total, sums["in"])
	}
	second := showback(t, db, aggregate.Query{GroupBy: []string{"user"}, From: start.AddDate(0, 0, 1), To: start.AddDate(0, 0, 2)})
	days := sum(entries, func(e ledgertest.Entry) string { return e.Time.Format(time.DateOnly) })
	if want := days["2026-10-25"]; second.Source != "user_days" || second.Total != want {
		t.Errorf("the second day by user: %+v, want %+v", second.Total, want)
	}
	if past := showback(t, db, aggregate.Query{GroupBy: []string{"team"}, Limit: 7, Offset: 1000}); past.Total != want || len(past.Rows) != 0 || past.More {
		t.Errorf("a page past the last row: %+v, want no rows and the total %+v", past, want)
	}
	var pages []aggregate.Row
	for more := true; more; {
		p := showback(t, db, aggregate.Query{GroupBy: []string{"team", "model", "class"}, Limit: 7, Offset: len(pages)})
		if p.Total != want {
			t.Errorf("the total of a page is %+v, want %+v", p.Total, want)
		}
		pages, more = append(pages, p.Rows...), p.More
	}
	if got := total(pages); got != want {
		t.Errorf("pages sum to %+v, want %+v", got, want)
	}
}

// A month is that of the zone: each entry is in the one month and day that a clock on the wall there shows, also where the clocks
// are set back within it, and the days sum to the month.
func TestLocalMonths(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	border := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) // New York sets its clocks back at 06:00
	entries := ledgertest.Make(rand.New(rand.NewPCG(4, 4)), 150, border.Add(-20*time.Hour), border.Add(20*time.Hour))
	ledgertest.Post(t, db, 1000, entries...)
	rollup(t, db)
	for _, name := range []string{"UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Zurich", "America/New_York", "Pacific/Chatham"} {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		months := sum(entries, func(e ledgertest.Entry) string { return e.Time.In(z).Format("2006-01") })
		days := sum(entries, func(e ledgertest.Entry) string { return e.Time.In(z).Format(time.DateOnly) })
		for _, m := range []time.Month{time.October, time.November} {
			q := aggregate.Query{TZ: z, From: time.Date(2026, m, 1, 0, 0, 0, 0, z), To: time.Date(2026, m+1, 1, 0, 0, 0, 0, z), GroupBy: []string{"day"}}
			r, want, source := showback(t, db, q), months[fmt.Sprintf("2026-%02d", m)], "hours"
			if strings.HasPrefix(name, "Asia/") || name == "Pacific/Chatham" {
				source = "cells"
			}
			if r.Source != source || want.Requests == 0 || r.Total != want || total(r.Rows) != want {
				t.Errorf("%s in %s: from %s %+v, rows sum to %+v, want %+v", m, name, r.Source, r.Total, total(r.Rows), want)
			}
			for _, row := range r.Rows {
				if row.Figures != days[row.Group[0]] {
					t.Errorf("%s in %s: %+v, want %+v", row.Group[0], name, row.Figures, days[row.Group[0]])
				}
			}
		}
		both := showback(t, db, aggregate.Query{TZ: z, From: border.AddDate(0, 0, -1), To: border.AddDate(0, 0, 1), GroupBy: []string{"month"}})
		for _, row := range both.Rows {
			if len(both.Rows) != 2 || row.Figures != months[row.Group[0]] {
				t.Errorf("%s in %s: %+v, want %+v", row.Group[0], name, row.Figures, months[row.Group[0]])
			}
		}
		hours := showback(t, db, aggregate.Query{TZ: z, From: border.AddDate(0, 0, -1), To: border.AddDate(0, 0, 1), GroupBy: []string{"hour"}})
		seen := map[string]bool{}
		for _, row := range hours.Rows {
			if seen[row.Group[0]] {
				t.Errorf("%s has %s twice", name, row.Group[0])
			}
			seen[row.Group[0]] = true
		}
		if name == "America/New_York" && !(seen["2026-11-01T01:00:00-04:00"] && seen["2026-11-01T01:00:00-05:00"]) {
			t.Errorf("the hour that comes twice is not there twice: %v", seen)
		}
	}
}

// What was answered as of a recorded_seq is answered again, after more entries, corrections and rollups.
func TestAsOfIsReproducible(t *testing.T) {
	t.Parallel()
	db, entries := ledger(t, 1000)
	q := aggregate.Query{GroupBy: []string{"day", "team", "model"}}
	before := showback(t, db, q)
	if before.AsOf != 1000 {
		t.Fatalf("as of %d, want 1000", before.AsOf)
	}
	more := ledgertest.Make(rand.New(rand.NewPCG(3, 4)), 50, start, end)
	corrected := entries[0]
	corrected.Restatement, corrected.Rate = 1, corrected.Rate+1
	more = append(more, entries[0].Reverse(1), corrected)
	for _, e := range entries { // what had no price or no quantity is taken out of those counts too
		if e.Unpriced || e.Unmeasured {
			more = append(more, e.Reverse(1))
		}
	}
	ledgertest.Post(t, db, 2000, more...)
	if now := showback(t, db, q); !reflect.DeepEqual(now, before) {
		t.Error("entries that are not rolled up yet changed the answer")
	}
	if run := rollup(t, db); run.Through != 2000 {
		t.Fatalf("rolled up through %d, want 2000", run.Through)
	}
	after := showback(t, db, q)
	if want := sum(append(entries[:len(entries):len(entries)], more...), func(ledgertest.Entry) string { return "" })[""]; after.Total != want {
		t.Errorf("after: %+v, want %+v", after.Total, want)
	}
	q.AsOf = before.AsOf
	again := showback(t, db, q)
	if again.Source != "ledger" {
		t.Errorf("an earlier N was read from %s", again.Source)
	}
	again.Source = before.Source
	if !reflect.DeepEqual(again, before) {
		t.Error("as of 1000 the answer is another one now")
	}
	q.AsOf = 3000
	if _, err := aggregate.Showback(t.Context(), db, withPeriod(q)); !errors.Is(err, aggregate.ErrAsOf) {
		t.Errorf("as of the future: %v", err)
	}
	verify(t, db)
}

func withPeriod(q aggregate.Query) aggregate.Query {
	q.From, q.To = start, end
	return q
}

// verify proves the rollups, which must be green.
func verify(t *testing.T, db *clickhouse.DB) {
	t.Helper()
	proofs, err := aggregate.VerifyRollups(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for i := range proofs {
		if !proofs[i].OK() || proofs[i].Checked == 0 {
			t.Errorf("%+v", proofs[i])
		}
	}
}

// A rollup makes only the days again that changed, and a second one none.
func TestRollupTouchesWhatChanged(t *testing.T) {
	t.Parallel()
	db, _ := ledger(t, 1000)
	if run := rollup(t, db); len(run.Days) != 0 {
		t.Errorf("without news it made %v again", run.Days)
	}
	day := start.AddDate(0, 0, 1)
	late := ledgertest.Make(rand.New(rand.NewPCG(5, 6)), 5, day, day.Add(time.Hour))
	if err := db.Insert(t.Context(), "batches", "", []clickhouse.Column{
		{Name: "topic", Data: []string{ledgertest.Topic}}, {Name: "first_offset", Data: []uint64{2000}}, {Name: "next_offset", Data: []uint64{2000}},
		{Name: "recorded_seq", Data: []uint64{2000}},
	}); err != nil {
		t.Fatal(err)
	}
	ledgertest.Post(t, db, 3000, late...)
	run := rollup(t, db)
	if len(run.Days) != 1 || !run.Days[0].Equal(day) {
		t.Errorf("made %v again, want %v", run.Days, day)
	}
	verify(t, db)
}

// Rows that are missing, too many, or there twice are reported on either side, in the table that has them.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	db, _ := ledger(t, 1000)
	verify(t, db)
	for _, damage := range []struct{ name, table, statement string }{
		{"a cell is gone", "cells", "ALTER TABLE cells DELETE WHERE hash = (SELECT min(hash) FROM cells) SETTINGS mutations_sync = 1"},
		{"a cell is there twice", "cells", "INSERT INTO cells SELECT * FROM cells ORDER BY cell LIMIT 1"},
		{"a day of no entries", "cells", "INSERT INTO cells (cell, team, requests, entries) VALUES ('2026-10-20 00:00:00', 'ghost', 1, 1)"},
		{"a user's day is gone", "user_days", "DELETE FROM user_days WHERE hash = (SELECT min(hash) FROM user_days)"},
		{"a user's day is there twice", "user_days", "INSERT INTO user_days SELECT * FROM user_days ORDER BY day LIMIT 1"},
		{"a user of no entries", "user_days", "INSERT INTO user_days (day, user, requests, entries) VALUES ('2026-10-20', 'ghost', 1, 1)"},
		{"an entry is gone", "", "DELETE FROM charges WHERE event_id = (SELECT min(event_id) FROM charges WHERE quantity > 0) AND class = 'output'"},
	} {
		exec(t, db, "%s", damage.statement)
		proofs, err := aggregate.VerifyRollups(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range proofs {
			red := damage.table == "" && p.Name != "cells = hours" || p.Name == "entries = "+damage.table
			if p.OK() == red || red && (p.Different != 1 || len(p.Problems) != 1) {
				t.Errorf("%s: %s has %d different, %q", damage.name, p.Name, p.Different, p.Problems)
			}
		}
		o := options()
		o.From, o.To = time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC), end
		if _, err := aggregate.Rollup(t.Context(), db, o); err != nil {
			t.Fatal(err)
		}
		verify(t, db)
	}
}

// Showback of hours and its proof read the projection, the other side of the proof the cells: else the first is slow and the second
// compares a thing with itself.
func TestHoursAreRead(t *testing.T) {
	t.Parallel()
	db, _ := ledger(t, 1000)
	plan := func(query string, args ...clickhouse.Arg) string {
		t.Helper()
		var lines []struct {
			Text string `ch:"explain"`
		}
		args = append(args, clickhouse.Param("from", start.UnixMicro()), clickhouse.Param("to", end.UnixMicro()))
		if err := db.Select(t.Context(), &lines, "EXPLAIN "+sql.Query(query), args...); err != nil {
			t.Fatal(err)
		}
		var read []string
		for _, l := range lines {
			if _, what, ok := strings.Cut(l.Text, "ReadFromMergeTree ("); ok {
				read = append(read, strings.TrimSuffix(what, ")"))
			}
		}
		return strings.Join(read, " ")
	}
	args := []clickhouse.Arg{
		clickhouse.Param("period", "day"), clickhouse.Param("tz", "Europe/Zurich"), clickhouse.Param("by", []string{"day", "team"}),
		clickhouse.Param("limit", uint64(10)), clickhouse.Param("offset", uint64(0)),
	}
	for _, d := range aggregate.Dimensions {
		args = append(args, clickhouse.Param(d, []string{"x"}))
	}
	if got := plan("showback_hours", args...); got != "hours" {
		t.Errorf("showback of hours reads %s", got)
	}
	if got, want := plan("rollup_verify_hours"), db.Database()+".cells hours"; got != want {
		t.Errorf("the proof of the hours reads %s, want %s", got, want)
	}
	if got, want := plan("showback_cells", args...), db.Database()+".cells"; got != want {
		t.Errorf("showback of cells reads %s, want %s", got, want)
	}
}

func TestShowbackRefuses(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	for name, q := range map[string]aggregate.Query{
		"twice":      {GroupBy: []string{"team", "team"}},
		"unknown":    {GroupBy: []string{"colour"}},
		"periods":    {GroupBy: []string{"day", "month"}},
		"filter":     {Filters: map[string][]string{"colour": {"red"}}},
		"negative":   {Limit: -1},
		"order":      {From: end, To: start},
		"empty zone": {From: end, To: end},
	} {
		if q.From.IsZero() {
			q.From, q.To = start, end
		}
		if _, err := aggregate.Showback(t.Context(), db, q); !errors.Is(err, aggregate.ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := aggregate.Showback(t.Context(), db, aggregate.Query{From: start, To: end, GroupBy: []string{"team"}})
	if err != nil || len(r.Rows) != 0 || r.Total.Cost != (money.Sum{}) || !r.CompleteThrough.IsZero() {
		t.Errorf("an empty ledger: %+v, %v", r, err)
	}
}
