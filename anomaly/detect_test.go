package anomaly_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// start is a Monday and the first of a month.
var start = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

const days = 40 // that planted fills

func at(day int) time.Time      { return start.AddDate(0, 0, day) }
func dayOf(day int) anomaly.Day { return anomaly.DayOf(at(day)) }
func seqAt(at time.Time) uint64 { return uint64(at.UnixMicro()) }
func detect(t *testing.T, db *clickhouse.DB) anomaly.Run {
	t.Helper()
	ledgertest.Rollup(t, db)
	run, err := anomaly.Detect(t.Context(), db, options())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func options() anomaly.Options {
	return anomaly.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

// list is all findings in their last revision, as of a recorded_seq or now.
func list(t *testing.T, db *clickhouse.DB, q anomaly.Query) []anomaly.Finding {
	t.Helper()
	if q.AsOf == 0 {
		var err error
		if q.AsOf, err = anomaly.Latest(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	q.From, q.To, q.Limit = 1, 1<<16-1, 100_000
	findings, err := anomaly.List(t.Context(), db, q)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// calls is a day's calls of a team, of a use case of its name, each of so many million tokens at $10 per million. Ids are the same
// for the same arguments.
func calls(team string, day, n int, millions int64) []ledgertest.Entry {
	var entries []ledgertest.Entry
	for i := range n {
		when := at(day).Add(time.Duration(i+1) * time.Minute)
		e := ledgertest.Entry{
			Event: id(team, day, i, when), Class: "input", Sign: 1, Time: when, BusinessUnit: "bank", Team: team, Project: "p", User: "u_1",
			Application: "app", UseCase: team + "-case", Provider: "openai", Model: "gpt", Calls: 1, Quantity: millions * 1_000_000, Rate: 10_000_000,
		}
		entries = append(entries, e)
	}
	return entries
}

func id(team string, day, i int, when time.Time) event.ID {
	id := event.NewID(event.At(when))
	copy(id[9:], fmt.Sprintf("%3d%3d%.1s", day, i, team)[:7])
	return id
}

// planted is days of teams with a pattern, and what is found in them by team and day.
func planted() (entries []ledgertest.Entry, want map[string][]int) {
	r := rand.New(rand.NewPCG(3, 1))
	for day := range days {
		week := 10
		if day%7 >= 5 {
			week = 2
		}
		n := map[string]int{"steady": 10, "weekly": week, "spike": 10, "outage": 10, "shift": 10, "fresh": 0}
		switch {
		case day == 32:
			n["spike"], n["outage"] = 40, 0
		case day == 31:
			n["weekly"] = week + 1 // 10 %
		case day >= 36:
			n["shift"], n["fresh"] = 25, 30
		}
		for _, team := range []string{"steady", "weekly", "spike", "outage", "shift", "fresh"} {
			more := calls(team, day, n[team], 1)
			for i := range more {
				more[i].Quantity += r.Int64N(100_001) - 50_000
			}
			entries = append(entries, more...)
		}
	}
	return entries, map[string][]int{"spike": {32}, "outage": {32}, "shift": {36, 37, 38, 39}}
}

// cost is what the entries of a value of a dimension cost from one day to another.
func cost(entries []ledgertest.Entry, team string, from, to int) money.Sum {
	sum := money.Sum{}
	for i := range entries {
		if e := &entries[i]; e.Team == team && !e.Time.Before(at(from)) && e.Time.Before(at(to)) {
			if c, ok := e.Cost(); ok {
				sum = sum.Add(c)
			}
		}
	}
	return sum
}

func sums(t *testing.T, f anomaly.Finding) {
	t.Helper()
	sum := money.Sum{}
	for _, p := range f.Reason {
		sum = sum.Plus(p.Amount)
	}
	if sum != f.Change || f.Cost.Minus(f.Baseline) != f.Change {
		t.Errorf("%s %s on %s: %v sum to %s; %s - %s = %s", f.Dimension, f.Value, f.Day, f.Reason, sum, f.Cost, f.Baseline, f.Change)
	}
}

func byTeam(findings []anomaly.Finding) map[string][]int {
	got := map[string][]int{}
	for _, f := range findings {
		if f.Dimension == "team" && f.State == anomaly.Open {
			got[f.Value] = append(got[f.Value], int(f.Day-anomaly.DayOf(start)))
		}
	}
	for team := range got {
		slices.Sort(got[team])
	}
	return got
}

// What is planted is found, and nothing else, with the amounts of the ledger.
func TestDetect(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, want := planted()
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	run := detect(t, db)
	findings := list(t, db, anomaly.Query{})
	if run.Days != days || run.Found != len(findings) || run.Corrected != 0 || run.Withdrawn != 0 || run.Through != seqAt(at(days)) {
		t.Errorf("run %+v, %d findings", run, len(findings))
	}
	if got := byTeam(findings); !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for _, f := range findings {
		sums(t, f)
		if f.Dimension != "team" {
			continue
		}
		day, reference := int(f.Day-dayOf(0)), int(f.Reference-dayOf(0))
		if c, b := cost(entries, f.Value, day, day+1), cost(entries, f.Value, reference, reference+1); f.Cost != c || f.Baseline != b {
			t.Errorf("%s on day %d: %s against %s, the ledger says %s and %s", f.Value, day, f.Cost, f.Baseline, c, b)
		}
		if f.Through != f.Day || f.Revision != 1 || f.Basis != anomaly.Weekday || (day-reference)%7 != 0 || len(f.ID) != 32 {
			t.Errorf("%+v", f)
		}
		if first := f.Value != "shift" || day == 36; (f.Began == f.Day) != first {
			t.Errorf("%s on day %d: began on %s", f.Value, day, f.Began)
		}
	}
	useCases := map[string]string{} // ids by value and day
	for _, f := range findings {
		if f.Dimension == "use_case" {
			useCases[f.Value+f.Day.String()] = f.ID
		}
	}
	for _, f := range findings { // each team has one use case
		if want := useCases[f.Value+"-case"+f.Day.String()]; f.Dimension == "team" && (f.PartOf != want || want == "") || f.Dimension == "use_case" && f.PartOf != "" {
			t.Errorf("%s %s is part of %q, want %q", f.Dimension, f.Value, f.PartOf, want)
		}
	}
	var first []string
	for _, f := range list(t, db, anomaly.Query{First: true}) {
		if !f.IsFirst() {
			t.Errorf("%+v", f)
		}
		first = append(first, fmt.Sprint(f.Dimension, " ", f.Value))
	}
	slices.Sort(first)
	// What is fresh has no usual itself; where it shows, in the project and all other dimensions, the project tells it.
	if want := []string{"project p", "use_case outage-case", "use_case shift-case", "use_case spike-case"}; !slices.Equal(first, want) {
		t.Errorf("alerts are made of %v, want %v", first, want)
	}
	spike := list(t, db, anomaly.Query{Dimension: []string{"team"}, Value: []string{"spike"}})[0]
	if len(spike.Top) != 5 || len(spike.Movers) != 1 || spike.Movers[0] != (anomaly.Mover{UseCase: "spike-case", Amount: spike.Change}) {
		t.Errorf("top %v, movers %v", spike.Top, spike.Movers)
	}
	for i, r := range spike.Top {
		var most []money.Sum
		for j := range entries {
			if e := &entries[j]; e.Team == "spike" && e.Time.Truncate(24*time.Hour).Equal(at(32)) {
				c, _ := e.Cost()
				most = append(most, money.Sum{}.Add(c))
			}
		}
		slices.SortFunc(most, func(a, b money.Sum) int { return b.Minus(a).Sign() })
		if r.Cost != most[i] {
			t.Errorf("request %d cost %s, want %s", i, r.Cost, most[i])
		}
	}
	if p := spike.Reason[0]; p.Name != anomaly.PartVolume || p.Amount != spike.Baseline.Plus(spike.Baseline).Plus(spike.Baseline) { // 40 calls for 10
		t.Errorf("volume is %s of %s", p.Amount, spike.Change)
	}
	const want32 = "Team spike cost $401.05 on Friday 3 July 2026, $301.42 more than the $99.63 of Friday 5 June 2026, the middle one of the last 4 Fridays. " +
		"Why: number of requests +$298.90, tokens per request +$2.51. Use case spike-case changed most: +$301.42."
	if spike.Sentence != want32 {
		t.Errorf("it says: %s", spike.Sentence)
	}
}

// A day is looked at when it is complete, and a run that has nothing to look at, or looks again, changes nothing.
func TestDetectAgain(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, _ := planted()
	var earlier, thatDay []ledgertest.Entry
	for _, e := range entries {
		if e.Time.Before(at(32)) {
			earlier = append(earlier, e)
		} else if e.Time.Before(at(33)) {
			thatDay = append(thatDay, e)
		}
	}
	ledgertest.Post(t, db, seqAt(at(32)), earlier...)
	detect(t, db)
	ledgertest.Post(t, db, seqAt(at(33))-1, thatDay...)
	if run := detect(t, db); run.Days != 0 || len(list(t, db, anomaly.Query{})) != 0 {
		t.Errorf("a day that is not over was looked at: %+v", run)
	}
	ledgertest.Batch(t, db, seqAt(at(33)))
	if run := detect(t, db); run.Days != 1 || run.Found == 0 {
		t.Errorf("the day is over: %+v", run)
	}
	before := list(t, db, anomaly.Query{})
	if run := detect(t, db); run.Days != 0 || run.Through != seqAt(at(33)) {
		t.Errorf("nothing is new: %+v", run)
	}
	late := calls("late", 20, 1, 1) // a day of which others follow
	ledgertest.Post(t, db, seqAt(at(33))+1, late...)
	if run := detect(t, db); run.Days != 13 || run.Found+run.Corrected+run.Withdrawn != 0 {
		t.Errorf("a late call that changes no finding: %+v", run)
	}
	if after := list(t, db, anomaly.Query{}); !reflect.DeepEqual(after, before) {
		t.Error("findings changed")
	}
}

// Late entries and restatements correct a finding or withdraw it; what was said as of an earlier recorded_seq stays.
func TestCorrections(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, want := planted()
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	detect(t, db)
	original := list(t, db, anomaly.Query{})

	late := calls("spike", 32, 50, 2)[40:] // ten more calls
	late = append(late, calls("outage", 32, 10, 1)...)
	entries = append(entries, late...)
	ledgertest.Post(t, db, seqAt(at(days))+1, late...)
	run := detect(t, db)
	if run.Corrected == 0 || run.Withdrawn == 0 {
		t.Errorf("run %+v", run)
	}
	delete(want, "outage")
	if got := byTeam(list(t, db, anomaly.Query{})); !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	spike := list(t, db, anomaly.Query{Dimension: []string{"team"}, Value: []string{"spike"}})
	if len(spike) != 1 || spike[0].Revision != 2 || spike[0].Cost != cost(entries, "spike", 32, 33) {
		t.Errorf("spike after late calls: %+v", spike)
	}
	sums(t, spike[0])
	gone := list(t, db, anomaly.Query{Dimension: []string{"team"}, Value: []string{"outage"}})
	if len(gone) != 1 || gone[0].State != anomaly.Withdrawn || gone[0].Revision != 2 || !strings.HasPrefix(gone[0].Sentence, "Withdrawn") {
		t.Errorf("outage after late calls: %+v", gone)
	}
	if open := list(t, db, anomaly.Query{State: []string{anomaly.Open}, Dimension: []string{"team"}, Value: []string{"outage"}}); len(open) != 0 {
		t.Errorf("open: %+v", open)
	}

	// The late calls of the outage are taken back.
	var back []ledgertest.Entry
	for _, e := range late {
		if e.Team == "outage" {
			back = append(back, e.Reverse(1))
		}
	}
	ledgertest.Post(t, db, seqAt(at(days))+2, back...)
	detect(t, db)
	again := list(t, db, anomaly.Query{Dimension: []string{"team"}, Value: []string{"outage"}})
	if len(again) != 1 || again[0].State != anomaly.Open || again[0].Revision != 3 {
		t.Errorf("outage after all: %+v", again)
	}

	if was := list(t, db, anomaly.Query{AsOf: seqAt(at(days))}); !reflect.DeepEqual(was, original) {
		t.Error("as of the first run other findings are told")
	}
	if was := list(t, db, anomaly.Query{AsOf: seqAt(at(days)) + 1, Dimension: []string{"team"}, Value: []string{"spike", "outage"}}); !reflect.DeepEqual(was, append(spike, gone...)) {
		t.Errorf("as of the second run: %+v", was)
	}
}

var errCrash = errors.New("crash")

// crashing is a store whose client dies at one of its writes: before it, or after it and before it knows. Dying at a read leaves
// what dying at the next write does.
type crashing struct {
	*clickhouse.DB
	writes, at int
	after      bool
}

func (c *crashing) Exec(ctx context.Context, query string, args ...clickhouse.Arg) error {
	c.writes++
	if c.writes > c.at || c.writes == c.at && !c.after {
		return errCrash
	}
	if err := c.DB.Exec(ctx, query, args...); err != nil || c.writes < c.at {
		return err
	}
	return errCrash
}

// A detection may die at any write: readers see none of it, and the next run leaves what one that lived would have, each revision
// once.
func TestDetectKilledAnywhere(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, _ := planted()
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	detect(t, db)
	before := list(t, db, anomaly.Query{})

	// Each round brings more calls to a day of each of two months.
	for n := 0; ; n++ {
		seq := seqAt(at(days)) + uint64(n) + 1
		for _, day := range []int{29, 32} {
			more := calls("spike", day, 60+2*n, 1)[58+2*n:]
			entries = append(entries, more...)
			ledgertest.Post(t, db, seq, more...)
		}
		ledgertest.Rollup(t, db)
		c := &crashing{DB: db, at: n/2 + 1, after: n%2 == 1}
		_, err := anomaly.Detect(t.Context(), c, options())
		if err == nil {
			if n < 6 {
				t.Errorf("a run makes only %d writes; the test does not do what it says", c.writes)
			}
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("write %d: %v", c.at, err)
		}
		if through, err := anomaly.Latest(t.Context(), db); err != nil {
			t.Fatal(err)
		} else if through < seq { // the row of the run was not written
			if got := list(t, db, anomaly.Query{}); !reflect.DeepEqual(got, before) {
				t.Fatalf("died at write %d: readers see half a run", c.at)
			}
		}
		detect(t, db)
		before = list(t, db, anomaly.Query{})
	}

	clean := ledgertest.Open(t)
	ledgertest.Post(t, clean, seqAt(at(days)), entries...)
	detect(t, clean)
	want, got := list(t, clean, anomaly.Query{}), list(t, db, anomaly.Query{})
	for _, all := range [][]anomaly.Finding{want, got} {
		for i := range all {
			all[i].RecordedSeq, all[i].Revision = 0, 0
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d findings, a clean run has %d, or others", len(got), len(want))
	}
	var rows []struct {
		Rows      uint64 `ch:"rows"`
		Revisions uint64 `ch:"revisions"`
		Gaps      uint64 `ch:"gaps"`
	}
	if err := db.Select(t.Context(), &rows, `SELECT sum(n) AS rows, sum(d) AS revisions, countIf(d != m) AS gaps FROM
		(SELECT count() AS n, uniqExact(revision) AS d, max(revision) AS m FROM findings GROUP BY finding_id)`); err != nil {
		t.Fatal(err)
	}
	if rows[0].Rows != rows[0].Revisions || rows[0].Gaps != 0 {
		t.Errorf("%+v: a revision twice, or a gap", rows[0])
	}
}

// name makes calls name a snapshot of the example's files, some of them changed, from a day on.
func name(t *testing.T, db *clickhouse.DB, day int, seq uint64, changed map[string]func(string) string) *governance.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for file, text := range example.Files() {
		if change := changed[file]; change != nil {
			text = []byte(change(string(text)))
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := governance.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Insert(t.Context(), "snapshots", "", []clickhouse.Column{{Name: "digest", Data: [][32]byte{s.Digest}}, {Name: "archive", Data: [][]byte{s.Archive}}})
	if err != nil {
		t.Fatal(err)
	}
	when := at(day).Add(time.Hour)
	err = db.Insert(t.Context(), "events", "", []clickhouse.Column{
		{Name: "event_id", Data: [][16]byte{event.NewID(event.At(when))}}, {Name: "time", Data: []int64{when.UnixMicro()}},
		{Name: "governance", Data: [][32]byte{s.Digest}}, {Name: "recorded_seq", Data: []uint64{seq}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A use case is held against its estimate: the month so far from the first week on, and the whole month also when it cost less.
func TestDrift(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	seq := seqAt(at(30 + 6))
	s := name(t, db, 0, seq, map[string]func(string) string{"estate.yaml": func(text string) string {
		for useCase, estimate := range map[string][2]string{"kyc-review": {"3000", "3000"}, "card-dispute": {"1800", "3000"}, "code-assistant": {"4000", "3000"}} {
			i := strings.Index(text, "- id: "+useCase)
			text = text[:i] + strings.Replace(text[i:], `"`+estimate[0]+`"`, `"`+estimate[1]+`"`, 1)
		}
		return text
	}})
	var entries []ledgertest.Entry
	post := func(useCase string, from, to, n int) {
		for day := from; day < to; day++ {
			more := calls(useCase, day, n, 1)
			for i := range more {
				more[i].UseCase = useCase
			}
			entries = append(entries, more...)
		}
	}
	// $3000 are $100 a day of June, and $96.77 of July. Each call costs $10.
	post("kyc-review", 0, 30, 12)     // 20 % over: not more than that
	post("kyc-review", 30, 61, 12)    // 24 % over
	post("card-dispute", 0, 30, 7)    // 30 % under
	post("card-dispute", 30, 61, 10)  // over by 3 %
	post("code-assistant", 0, 30, 10) // on it
	post("code-assistant", 30, 61, 20)
	until := func(day int) (some []ledgertest.Entry) {
		for _, e := range entries {
			if e.Time.Before(at(day)) {
				some = append(some, e)
			}
		}
		return some
	}
	drifts := func() map[string]anomaly.Finding {
		got := map[string]anomaly.Finding{}
		for _, f := range list(t, db, anomaly.Query{Kind: []string{anomaly.Drift}, State: []string{anomaly.Open}}) {
			sums(t, f)
			if f.Value == "kyc-review" || f.Value == "card-dispute" || f.Value == "code-assistant" { // the others were not used
				got[f.Value+" "+f.Day.String()[5:7]] = f
			}
		}
		return got
	}
	ledgertest.Post(t, db, seq, until(36)...)
	detect(t, db)
	got := drifts()
	if len(got) != 1 || got["card-dispute 06"].Change.String() != "-900.000000000000" {
		t.Errorf("after June and six days of July: %v", got)
	}
	if f := got["card-dispute 06"]; f.Owner != "head of card operations" || f.Reference != 0 || f.Governance != s.Hex() || len(f.Reason) != 1 ||
		!strings.Contains(f.Sentence, "Use case card-dispute cost $2,100.00 in June 2026, 30 % ($900.00 less) than the estimate of $3,000.00. There is no month before") {
		t.Errorf("%+v", f)
	}

	ledgertest.Post(t, db, seqAt(at(37)), until(37)...)
	detect(t, db)
	got = drifts()
	f := got["code-assistant 07"]
	if len(got) != 3 || got["kyc-review 07"].Through != dayOf(36) || f.Cost.String() != "1400.000000000000" || f.Baseline.String() != "677.419354838709" {
		t.Errorf("after a week of July: %v", got)
	}
	want := []anomaly.Part{{Name: anomaly.PartEstimate, Amount: sum(t, "22.580645161291")}, {Name: anomaly.PartVolume, Amount: sum(t, "700")},
		{Name: anomaly.PartFallback}, {Name: anomaly.PartMix}, {Name: anomaly.PartTokens}, {Name: anomaly.PartPrice}}
	if !reflect.DeepEqual(f.Reason, want) || f.Reference != dayOf(0) || f.Owner != "head of engineering" {
		t.Errorf("reason %v, want %v", f.Reason, want)
	}
	if !strings.Contains(f.Sentence, "cost $1,400.00 from 1 July to 7 July 2026, 106 % ($722.58 more) than the estimate of $677.42 for these days, of $3,000.00 a month. "+
		"Against from 1 June to 7 June 2026: number of requests +$700.00, off the estimate before +$22.58.") {
		t.Error(f.Sentence)
	}

	ledgertest.Post(t, db, seqAt(at(61)), entries...)
	detect(t, db)
	got = drifts()
	if f := got["code-assistant 07"]; len(got) != 3 || f.Revision < 2 || f.Through != dayOf(60) || f.Change.String() != "3200.000000000000" {
		t.Errorf("after July: %v", got)
	}
	for _, f := range list(t, db, anomaly.Query{Kind: []string{anomaly.Drift}, Value: []string{"research-search"}}) {
		if f.Change.Sign() >= 0 || f.Cost.Sign() != 0 {
			t.Errorf("a use case without calls: %+v", f)
		}
	}
}

func sum(t *testing.T, text string) money.Sum {
	t.Helper()
	s, err := money.ParseSum(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Calls that took a second attempt are a path of their own, told from the attempts of the ledger: also where provider and model are
// what is looked at, and after a restatement.
func TestFallback(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	var entries []ledgertest.Entry
	for day := range days {
		more := calls("team", day, 10, 1)
		if day == days-1 { // all of them fall back to a model that costs five times as much
			for i := range more {
				failed := more[i]
				failed.Class, failed.Quantity, failed.Rate = "none", 0, 0
				more[i].Attempt, more[i].Calls, more[i].Provider, more[i].Model, more[i].Rate = 1, 0, "anthropic", "claude", 50_000_000
				more = append(more, failed)
			}
		}
		entries = append(entries, more...)
	}
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	detect(t, db)
	check := func(price string) {
		t.Helper()
		f := list(t, db, anomaly.Query{Dimension: []string{"team"}})[0]
		amounts := map[string]string{}
		for _, p := range f.Reason {
			if !p.Amount.IsZero() {
				amounts[p.Name] = p.Amount.String()
			}
		}
		if !reflect.DeepEqual(amounts, map[string]string{anomaly.PartFallback: price}) {
			t.Errorf("%s: %v", f.Sentence, f.Reason)
		}
		for _, f := range list(t, db, anomaly.Query{}) {
			sums(t, f)
		}
	}
	check("400.000000000000")
	if f := list(t, db, anomaly.Query{Dimension: []string{"provider"}, Value: []string{"openai"}})[0]; f.Cost.Sign() != 0 || f.Reason[1].Amount.String() != "-100.000000000000" {
		t.Errorf("the calls fell back from it: %v", f.Reason)
	}

	// Their price was wrong: each is reversed and entered anew, and the corrections leave ten calls of a fallback, not twenty.
	var corrections []ledgertest.Entry
	for _, e := range entries {
		if e.Attempt == 1 {
			back := e.Reverse(1)
			e.Restatement, e.Rate = 1, 40_000_000
			corrections = append(corrections, back, e)
		}
	}
	ledgertest.Post(t, db, seqAt(at(days))+1, corrections...)
	detect(t, db)
	check("300.000000000000")
}

// A day is judged by the rules that the calls of the day named last: from a day on users are watched, and less is enough.
func TestRules(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	var entries []ledgertest.Entry
	for day := range days {
		n := 1
		if day == 30 || day == 32 { // $10 more
			n = 3
		}
		more := calls("team", day, n, 1)
		for i := range more {
			more[i].Quantity /= 2
			more[i].User = fmt.Sprintf("u_%d", i)
		}
		entries = append(entries, more...)
	}
	name(t, db, 0, seqAt(at(days)), map[string]func(string) string{"findings.yaml": func(string) string { return `floor_usd: "10.01"` }})
	after := name(t, db, 31, seqAt(at(days)), map[string]func(string) string{"findings.yaml": func(string) string { return `{dimensions: [team], floor_usd: "10"}` }})
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	detect(t, db)
	got := list(t, db, anomaly.Query{Kind: []string{anomaly.Anomaly}})
	if len(got) != 1 || got[0].Day != dayOf(32) || got[0].Dimension != "team" || got[0].Change.String() != "10.000000000000" || got[0].Governance != after.Hex() {
		t.Errorf("%+v", got)
	}
}

// Users are watched where the rules name them, from days by user.
func TestUsers(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, _ := planted()
	for i := range entries {
		entries[i].User = "u_" + entries[i].Team
	}
	name(t, db, 0, seqAt(at(days)), map[string]func(string) string{"findings.yaml": func(string) string { return "dimensions: [user]" }})
	ledgertest.Post(t, db, seqAt(at(days)), entries...)
	detect(t, db)
	var got []string
	for _, f := range list(t, db, anomaly.Query{Kind: []string{anomaly.Anomaly}, First: true}) {
		sums(t, f)
		got = append(got, fmt.Sprint(f.Dimension, " ", f.Value, " ", int(f.Day-dayOf(0)), " ", len(f.Top)))
	}
	slices.Sort(got)
	if want := []string{"user u_outage 32 0", "user u_shift 36 5", "user u_spike 32 5"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// meddling is a store in which something happens before a statement.
type meddling struct {
	*clickhouse.DB
	before string // how the statement begins
	what   func()
}

func (m *meddling) Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error {
	if m.what != nil && strings.HasPrefix(query, m.before) {
		what := m.what
		m.what = nil
		what()
	}
	return m.DB.Select(ctx, dest, query, args...)
}

// Of two detections at once that of the older ledger gives way, and one whose days are made again under it records nothing.
func TestDetectMeanwhile(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	entries, want := planted()
	seq := seqAt(at(days))
	ledgertest.Post(t, db, seq, entries...)
	ledgertest.Rollup(t, db)
	m := &meddling{db, "-- findings of days", func() {
		ledgertest.Batch(t, db, seq+1)
		detect(t, db)
	}}
	if _, err := anomaly.Detect(t.Context(), m, options()); !errors.Is(err, anomaly.ErrOvertaken) {
		t.Errorf("overtaken: %v", err)
	}
	before := list(t, db, anomaly.Query{})
	if got := byTeam(before); !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	late := func(n int) []ledgertest.Entry { return calls("spike", 32, 40+n, 1)[39+n:] }
	ledgertest.Post(t, db, seq+2, late(1)...)
	ledgertest.Rollup(t, db)
	m = &meddling{db, "-- whether a run past", func() {
		ledgertest.Post(t, db, seq+3, late(2)...)
		ledgertest.Rollup(t, db)
	}}
	if _, err := anomaly.Detect(t.Context(), m, options()); !errors.Is(err, anomaly.ErrMoved) {
		t.Errorf("moved: %v", err)
	}
	if got := list(t, db, anomaly.Query{AsOf: seq + 3}); !reflect.DeepEqual(got, before) {
		t.Error("a detection whose days moved recorded something")
	}
	detect(t, db)
	spike := list(t, db, anomaly.Query{Dimension: []string{"team"}, Value: []string{"spike"}})
	if len(spike) != 1 || spike[0].Revision != 2 || spike[0].Cost != cost(append(entries, append(late(1), late(2)...)...), "spike", 32, 33) {
		t.Errorf("%+v", spike)
	}
}
