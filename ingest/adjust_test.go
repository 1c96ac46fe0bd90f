package ingest

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
)

// adjustment is an adjusted event of a call: with usage, of one attempt more that begins as the call; without, of its outcome alone.
func adjustment(call *event.Event, when event.Micros, usage string) *event.Event {
	r := *call.Request
	r.Attempts, r.Outcome.Served = nil, -1
	if usage != "" {
		a := call.Request.Attempts[0]
		a.Status, a.Error, a.UsageRaw, a.UsageSource = 200, "", usage, event.UsageProvider
		r.Attempts, r.Outcome.Served = []event.Attempt{a}, 0
	}
	return &event.Event{ID: event.NewID(when), Source: "ledgerline/test", Type: event.RequestAdjusted, Subject: call.ID, Time: when, Request: &r}
}

// cut is a call whose usage is missing.
func (p *pipeline) cut(when string) *event.Event {
	call := callAt(p.snap, at(when), "")
	call.Request.Attempts[0].Error, call.Request.Outcome.Client = "cut", "cut"
	return call
}

func (p *pipeline) adjuster(store Store) *adjuster {
	o := p.options(store)
	return &adjuster{store: store, topic: p.topic, snapshots: newSnapshots(o), now: o.Now}
}

// adjust takes what is in the partitions, posts what adjusted events say and lets the watermark pass.
func (p *pipeline) adjust(partitions [][][]byte) Effect {
	p.t.Helper()
	p.pass(partitions)
	effect, err := p.adjuster(p.db).run(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.pass(partitions)
	return effect
}

func (p *pipeline) ledgerOf(call *event.Event) string {
	return p.text(`SELECT sum(calls), sum(quantity), ifNull(toString(sum(cost)), 'NULL'), sumIf(sign, cost IS NULL), uniqExact(charge_time) FROM charges FINAL WHERE event_id = {id:UUID}`, clickhouse.Param("id", [16]byte(call.ID)))
}

func (p *pipeline) viewOf(call *event.Event) string {
	return p.text(`SELECT cost_status, ifNull(toString(cost), 'NULL'), ifNull(toString(input_tokens), 'NULL'), client, served, length(attempt_endpoint), team FROM requests FINAL WHERE event_id = {id:UUID}`, clickhouse.Param("id", [16]byte(call.ID)))
}

// Late usage takes the place of what was not known, again and again, beside restatements and duplicates, and the proofs stay green.
func TestAdjust(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	call, other := p.cut("2026-10-10T10:00:00.123456Z"), callAt(p.snap, at("2026-10-10T10:00:00.123999Z"), chatUsage(1000, 0, 10))
	now := at("2026-10-10T10:00:01Z").Time()
	var seq uint64
	opened := &event.Event{ID: event.NewID(at("2026-10-10T10:00:00Z")), Source: "s", Type: event.WriterOpened, Time: at("2026-10-10T10:00:00Z"), Lifecycle: &event.Lifecycle{Instance: "test", Version: "1", Kind: "live"}}
	partitions := [][][]byte{encode(t, "test-1", &seq, opened, call, other), nil}
	more := func(ev *event.Event) { partitions[1] = append(partitions[1], encode(t, "test-1", &seq, ev)...) }
	if e := p.adjust(partitions); e.Number != 0 || p.text("SELECT count() FROM restatements") != "0" {
		t.Errorf("nothing was adjusted, and yet %+v", e)
	}
	if got := p.ledgerOf(call); got != "1\t\\N\tNULL\t1\t1" {
		t.Fatalf("before: %s", got)
	}
	step := func(name, ledger, view string) {
		t.Helper()
		p.wantGreen(now)
		if got := p.ledgerOf(call); got != ledger {
			t.Errorf("%s: the ledger says %s, want %s", name, got, ledger)
		}
		if got := p.viewOf(call); got != view {
			t.Errorf("%s: requests say %s, want %s", name, got, view)
		}
		if got := p.ledgerOf(other); got != "1\t1010\t0.00027\t0\t1" {
			t.Errorf("%s: the other call is %s", name, got)
		}
	}

	// 2,000 × 0.25 + 100 × 2 dollars per million, a year later, when prices are others.
	late := adjustment(call, at("2027-11-10T10:00:00Z"), chatUsage(2000, 0, 100))
	late.Request.Attribution.Team.Value, late.Request.Outcome.Client = "sales", "completed"
	more(late)
	p.pass(partitions)
	report, err := VerifyEntries(t.Context(), VerifyOptions{DB: p.db, Topic: p.topic, Now: time.Now, Logger: p.log})
	if err != nil || !report.OK || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "1 calls have adjusted events") {
		t.Errorf("before it is posted: %+v, %v", report, err)
	}
	now = at("2027-11-10T10:00:01Z").Time()
	if e := p.adjust(partitions); e.Number != 1 || e.Events != 1 || e.Entries != 3 {
		t.Errorf("the adjustment did %+v", e)
	}
	step("adjusted", "1\t2100\t0.0007\t0\t1", "exact\t0.0007\t2000\tcompleted\t0\t1\tsales")
	if got := p.text(`SELECT groupUniqArray(posting_period), groupUniqArray(team) FROM charges FINAL WHERE restatement = 1 AND sign = 1`); got != "["+time.Now().UTC().Add(p.ahead).Format("200601")+"]\t['sales']" {
		t.Errorf("it was posted in %s", got)
	}
	if e := p.adjust(partitions); e.Number != 0 {
		t.Errorf("it was posted again: %+v", e)
	}

	partitions[1] = append(partitions[1], partitions[1][0]) // a second delivery
	if e := p.adjust(partitions); e.Number != 0 {
		t.Errorf("a second delivery was posted: %+v", e)
	}
	step("delivered again", "1\t2100\t0.0007\t0\t1", "exact\t0.0007\t2000\tcompleted\t0\t1\tsales")

	// An earlier one that comes later changes nothing; the latest holds.
	more(adjustment(call, at("2027-11-09T10:00:00Z"), chatUsage(9, 0, 9)))
	if e := p.adjust(partitions); e.Number != 2 || e.Entries != 0 {
		t.Errorf("an older one did %+v", e)
	}
	step("older", "1\t2100\t0.0007\t0\t1", "exact\t0.0007\t2000\tcompleted\t0\t1\tsales")

	// A restatement prices the call as it was adjusted: output 3 instead of 2 dollars.
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	restate := func() Effect {
		t.Helper()
		e, err := Restate(t.Context(), RestateOptions{DB: p.db, Topic: p.topic, From: at("2026-10-10T00:00:00Z").Time(), To: call.Time.Time().Add(time.Microsecond), Snapshot: dearer, Reason: "test", Now: func() time.Time { return time.Now().Add(p.ahead) }, Logger: p.log})
		if err != nil {
			t.Fatal(err)
		}
		p.pass(partitions)
		return e
	}
	if e := restate(); e.Number != 3 || e.Entries != 2 {
		t.Errorf("the restatement did %+v", e)
	}
	step("restated", "1\t2100\t0.0008\t0\t1", "exact\t0.0008\t2000\tcompleted\t0\t1\tsales")
	if e := p.adjust(partitions); e.Number != 0 {
		t.Errorf("the restatement was undone: %+v", e)
	}

	// What is said after a restatement is as its own rules say, until the next one; a restatement takes in what waits.
	more(adjustment(call, at("2027-11-11T10:00:00Z"), chatUsage(4000, 0, 100)))
	if e := p.adjust(partitions); e.Number != 4 || e.Entries != 4 {
		t.Errorf("a newer one did %+v", e)
	}
	step("newer", "1\t4100\t0.0012\t0\t1", "exact\t0.0012\t4000\tcut\t0\t1\trisk")
	more(adjustment(call, at("2027-11-12T10:00:00Z"), chatUsage(8000, 0, 100)))
	p.pass(partitions)
	if e := restate(); e.Number != 5 || e.Entries != 4 {
		t.Errorf("the restatement of what waits did %+v", e)
	}
	step("restated with it", "1\t8100\t0.0023\t0\t1", "exact\t0.0023\t8000\tcut\t0\t1\trisk")
	if e := p.adjust(partitions); e.Number != 0 {
		t.Errorf("what the restatement took in was posted again: %+v", e)
	}

	more(adjustment(call, at("2027-11-10T11:00:00Z"), chatUsage(9, 0, 9))) // another that was overtaken
	if e := p.adjust(partitions); e.Number != 6 || e.Entries != 0 {
		t.Errorf("one that was overtaken did %+v", e)
	}

	// How it ended, and nothing more.
	withheld := adjustment(call, at("2027-11-13T10:00:00Z"), "")
	withheld.Request.Outcome.Client = "withheld"
	withheld.Request.Attribution.Team.Value = "nobody"
	more(withheld)
	if e := p.adjust(partitions); e.Number != 7 || e.Events != 1 || e.Entries != 0 {
		t.Errorf("an outcome did %+v", e)
	}
	now = at("2027-11-13T10:00:00Z").Time()
	step("withheld", "1\t8100\t0.0023\t0\t1", "exact\t0.0023\t8000\twithheld\t0\t1\trisk")
}

// In whatever order a call and its adjusted events come, also by two partitions, and however often one looks meanwhile, the books say the same.
func TestAdjustInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, looks := range []bool{true, false} {
			p := newPipeline(t, 0)
			call := p.cut("2026-10-10T10:00:00Z")
			events := []*event.Event{call, adjustment(call, at("2026-10-10T11:00:00Z"), chatUsage(1000, 0, 1)), adjustment(call, at("2026-10-10T12:00:00Z"), chatUsage(2000, 0, 100))}
			var seq uint64
			opened := &event.Event{ID: event.NewID(call.Time), Source: "s", Type: event.WriterOpened, Time: call.Time, Lifecycle: &event.Lifecycle{Instance: "test", Version: "1", Kind: "live"}}
			partitions := [][][]byte{encode(t, "test-1", &seq, opened), nil}
			a := p.adjuster(p.db) // one that remembers
			for i, n := range order {
				partitions[i%2] = append(partitions[i%2], encode(t, "test-1", &seq, events[n])...)
				p.pass(partitions)
				if !looks && i < 2 {
					continue
				}
				report, err := VerifyEntries(t.Context(), VerifyOptions{DB: p.db, Topic: p.topic, Now: time.Now, Logger: p.log})
				if err != nil {
					t.Fatal(err)
				}
				if lost := strings.Contains(strings.Join(report.Notes, "\n"), "1 calls have adjusted events and are not in the books themselves"); lost == slices.Contains(order[:i+1], 0) {
					t.Errorf("order %v, after %d: notes %q", order, i+1, report.Notes)
				}
				if _, err := a.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.pass(partitions)
			}
			p.wantGreen(at("2026-10-10T12:00:00Z").Time())
			if got := p.ledgerOf(call) + " " + p.viewOf(call); got != "1\t2100\t0.0007\t0\t1 exact\t0.0007\t2000\tcut\t0\t1\trisk" {
				t.Errorf("order %v, looking between: %v: %s", order, looks, got)
			}
		}
	}
}

// Killed at any of its calls, and run again, the books are the same, and nobody sees a part of it.
func TestAdjustCrash(t *testing.T) {
	t.Parallel()
	ledger := `SELECT charge_time, class, restatement, sign, cost FROM charges FINAL ORDER BY ALL`
	fill := func() (*pipeline, [][][]byte) {
		p := newPipeline(t, 0)
		var seq uint64
		opened := &event.Event{ID: event.NewID(at("2026-10-10T10:00:00Z")), Source: "s", Type: event.WriterOpened, Time: at("2026-10-10T10:00:00Z"), Lifecycle: &event.Lifecycle{Instance: "test", Version: "1", Kind: "live"}}
		events := []*event.Event{opened, callAt(p.snap, at("2026-10-10T10:00:00.5Z"), chatUsage(10, 0, 1))} // of which nothing more is said
		for _, when := range []string{"10:00:00", "10:00:01", "11:00:00", "12:00:00"} {                     // some together, some far apart
			call := p.cut("2026-10-10T" + when + "Z")
			events = append(events, call, adjustment(call, call.Time+event.Micros(1_000_000), chatUsage(1000, 0, 1)))
		}
		partitions := [][][]byte{encode(t, "test-1", &seq, events...)}
		p.pass(partitions)
		return p, partitions
	}
	p, _ := fill()
	counted := &faulty{Store: p.db}
	if effect, err := p.adjuster(counted).run(t.Context()); err != nil || effect.Events != 4 {
		t.Fatalf("%+v, %v", effect, err)
	}
	want := p.text(ledger)
	for fail := 1; fail <= counted.calls; fail++ {
		p, partitions := fill()
		a := p.adjuster(&faulty{Store: p.db, fail: fail, after: fail%2 == 0})
		if _, err := a.run(t.Context()); !errors.Is(err, errInjected) {
			t.Fatalf("call %d: %v", fail, err)
		}
		p.pass(partitions)
		n, err := Watermark(t.Context(), p.db, p.topic)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.text(`SELECT count() FROM charges FINAL WHERE restatement > 0 AND recorded_seq <= {n:UInt64}`, clickhouse.Param("n", n)); got != "0" && got != "12" {
			t.Errorf("after a failed %s a reader sees %s of 12 entries", counted.log[fail-1], got)
		}
		if _, err := a.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.pass(partitions)
		p.wantGreen(at("2026-10-10T12:00:01Z").Time())
		if got := p.text(ledger); got != want {
			t.Errorf("after a failed %s and another run the ledger is\n%s\nwant\n%s", counted.log[fail-1], got, want)
		}
	}
}

// While an adjustment is under way a restatement says so, and the proof notes it; one that stays open is a problem.
func TestAdjustmentUnderWay(t *testing.T) {
	t.Parallel()
	p, _, now := filled(t)
	began := at("2026-10-10T11:00:00Z")
	err := p.db.Exec(t.Context(), "INSERT INTO restatements (restatement, kind, state, recorded_seq, changed_at) VALUES (1, 'adjust', 'open', 9999999999999999, fromUnixTimestamp64Micro({at:Int64}, 'UTC'))", clickhouse.Param("at", int64(began)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.restate(p.db, p.snap, false); !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "a running ingest ends it") {
		t.Errorf("a restatement says %v", err)
	}
	verify := func(after time.Duration) Report {
		t.Helper()
		r, err := VerifyEntries(t.Context(), VerifyOptions{DB: p.db, Topic: p.topic, Now: func() time.Time { return began.Time().Add(after) }, Logger: p.log})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(59 * time.Second); !r.OK || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "is being made") {
		t.Errorf("meanwhile: %+v", r)
	}
	if r := verify(time.Minute); r.OK || r.Found != 1 {
		t.Errorf("a minute later: %+v", r)
	}
	if effect, err := p.adjuster(p.db).run(t.Context()); err != nil || !effect.Resumed {
		t.Errorf("ingest ends it with %+v, %v", effect, err)
	}
	p.wantGreen(now)
}

// Of two that begin a correction under the same number one goes on; the other leaves no trace.
func TestCorrectionBelongsToOne(t *testing.T) {
	t.Parallel()
	p, partitions, now := filled(t)
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	other := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "4"`)
	_, err := p.restate(&overtaken{p.db, func() {
		if _, err := p.restate(p.db, other, false); err != nil {
			t.Error(err)
		}
	}}, dearer, false)
	if !errors.Is(err, ErrOpen) {
		t.Errorf("the second one says %v", err)
	}
	p.pass(partitions)
	p.wantGreen(now)
	if got := p.text("SELECT count(), any(governance) = {d:FixedString(32)}, any(state) FROM restatements FINAL", clickhouse.Param("d", other.Digest)); got != "1\t1\tdone" {
		t.Errorf("restatements: %s", got)
	}
	if got := p.text("SELECT count() FROM restatements WHERE governance = {d:FixedString(32)}", clickhouse.Param("d", dearer.Digest)); got != "0" {
		t.Error("the other one's row is there too")
	}
	if got := p.text("SELECT uniqExact(governance), count() FROM charges FINAL WHERE restatement = 1 AND sign = 1"); got != "1\t14" {
		t.Errorf("re-entries: %s", got)
	}
}

// An adjusted event that cannot be priced goes to quarantine: its call could not be derived with it.
func TestAdjustedThatCannotBePriced(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	call := p.cut("2026-10-10T10:00:00Z")
	bad := adjustment(call, at("2026-10-10T11:00:00Z"), `{"prompt_tokens":9007199254740991,"completion_tokens":0}`)
	bad.Request.Attempts[0].ModelServed = "gold"
	var seq uint64
	if err := p.direct(p.db, [][][]byte{encode(t, "test-1", &seq, call, bad)}, 10); err != nil {
		t.Fatal(err)
	}
	if got := p.text("SELECT offset, reason LIKE 'derive: %' FROM quarantine FINAL"); got != "1\t1" {
		t.Errorf("quarantine: %s", got)
	}
}

// The running ingest posts what adjusted events say.
func TestIngestAdjusts(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 3)
	p.publishSnapshot(p.snap)
	posted := make(chan struct{})
	o := p.options(p.db)
	o.AdjustEvery = 50 * time.Millisecond
	o.Logger = slog.New(notify{p.log.Handler(), "adjusted events were posted", posted})
	stop := p.start(o)
	call := p.cut("2026-10-10T10:00:00Z")
	var seq uint64
	p.publish(encode(t, "test-1", &seq, adjustment(call, at("2026-10-10T11:00:00Z"), chatUsage(2000, 0, 100)), call)...)
	select {
	case <-posted:
	case <-time.After(time.Minute):
		t.Fatal("nothing was posted")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.ledgerOf(call); got != "1\t2100\t0.0007\t0\t1" {
		t.Errorf("the ledger says %s", got)
	}
}
