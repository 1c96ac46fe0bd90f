package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// repriced is the test's snapshot with texts of prices.yaml replaced.
func repriced(t testing.TB, oldnew ...string) *governance.Snapshot {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/governance/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(f) == "prices.yaml" {
			changed := strings.NewReplacer(oldnew...).Replace(string(text))
			if changed == string(text) {
				t.Fatalf("prices.yaml has no %q", oldnew)
			}
			text = []byte(changed)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := governance.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// verify runs the three proofs as of now and returns what they found.
func (p *pipeline) verify(now time.Time) (problems []string) {
	p.t.Helper()
	o := VerifyOptions{DB: p.db, Topic: p.topic, Now: func() time.Time { return now }, Logger: p.log}
	for _, proof := range []func(context.Context, VerifyOptions) (Report, error){VerifyEntries, VerifyOffsets, VerifyWriters} {
		r, err := proof(p.t.Context(), o)
		if err != nil {
			p.t.Fatal(err)
		}
		if r.Checked == 0 || r.OK != (r.Found == 0) {
			p.t.Fatalf("%s checked %d, found %d, OK %v", r.Name, r.Checked, r.Found, r.OK)
		}
		problems = append(problems, r.Problems...)
	}
	return problems
}

func (p *pipeline) wantGreen(now time.Time) {
	p.t.Helper()
	if problems := p.verify(now); len(problems) > 0 {
		p.t.Errorf("the proofs found\n%s", strings.Join(problems, "\n"))
	}
}

// filled are books of two partitions with the history, and the time of its end.
func filled(t testing.TB) (*pipeline, [][][]byte, time.Time) {
	p := newPipeline(t, 0)
	all := p.history()
	partitions := [][][]byte{all[:13], append(all[13:len(all):len(all)], all[20])}
	if err := p.direct(p.db, partitions, 8); err != nil {
		t.Fatal(err)
	}
	p.pass(partitions) // an empty range at the end
	return p, partitions, at("2026-10-10T10:00:20Z").Time()
}

func TestVerifyGreen(t *testing.T) {
	t.Parallel()
	p, _, now := filled(t)
	p.wantGreen(now)
}

// Every damage to the books is found, whichever it is.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	alter := func(statement string) func(*testing.T, *pipeline) {
		return func(t *testing.T, p *pipeline) {
			if strings.HasPrefix(statement, "ALTER") {
				statement += " SETTINGS mutations_sync = 1"
			}
			if err := p.db.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		damage func(*testing.T, *pipeline)
		want   string
		later  time.Duration
	}{
		"a charge is gone": {damage: alter("ALTER TABLE charges DELETE WHERE class = 'output' AND quantity = 10 AND event_id = (SELECT min(event_id) FROM charges)"), want: "(attempt 0, class output, restatement 0, sign +1) is missing"},
		"a cost is another": {damage: alter("ALTER TABLE charges UPDATE cost = cost + 0.000000000001 WHERE class = 'output' AND event_id = (SELECT max(event_id) FROM charges)"),
			want: "is 10 × 2000000 = $0.000020000001 exact"},
		"a team is another":       {damage: alter("ALTER TABLE charges UPDATE team = 'sales' WHERE class = 'input' AND event_id = (SELECT max(event_id) FROM charges)"), want: `team "sales"`},
		"a call is counted twice": {damage: alter("ALTER TABLE charges UPDATE calls = 1 WHERE class = 'output' AND event_id = (SELECT max(event_id) FROM charges)"), want: "calls 1"},
		"an entry of no event": {damage: alter("INSERT INTO charges SELECT * REPLACE (addSeconds(charge_time, 1000) AS charge_time) FROM charges WHERE class = 'input' ORDER BY charge_time LIMIT 1"),
			want: "follows from no event"},
		"an entry under another id":       {damage: alter("ALTER TABLE charges UPDATE entry_id = unhex('00000000000000000000000000000000') WHERE class = 'input' AND event_id = (SELECT max(event_id) FROM charges)"), want: "is not what its id names"},
		"an event is gone":                {damage: alter("ALTER TABLE events DELETE WHERE event_id = (SELECT max(event_id) FROM events)"), want: "events are stored, the batch says"},
		"an event with other bytes":       {damage: alter("INSERT INTO events (event_id, type, subject, time, retention_class, writer, seq, governance, raw, digest, topic, partition, offset, recorded_seq) SELECT event_id, type, subject, time, retention_class, writer, seq, governance, replaceOne(raw, '1000', '1'), SHA256(replaceOne(raw, '1000', '1')), topic, partition, offset, recorded_seq + 1 FROM events WHERE type = 'llm.request.completed' ORDER BY time LIMIT 1"), want: "is stored with different bytes"},
		"bytes that are not the digest's": {damage: alter("ALTER TABLE events UPDATE raw = replaceOne(raw, 'default', 'defaulT') WHERE event_id = (SELECT max(event_id) FROM events WHERE raw LIKE '%default%')"), want: "its bytes are not those of its digest"},
		"a request costs something else":  {damage: alter("ALTER TABLE requests UPDATE cost = 1 WHERE event_id = (SELECT max(event_id) FROM requests)"), want: "requests say it cost $1.000000000000"},
		"a request is gone":               {damage: alter("ALTER TABLE requests DELETE WHERE event_id = (SELECT max(event_id) FROM requests)"), want: "has no row in requests"},
		"a batch is gone":                 {damage: alter("ALTER TABLE batches DELETE WHERE partition = 0 AND first_offset = 0"), want: "is in no batch"},
		"a batch in the middle is gone":   {damage: alter("ALTER TABLE batches DELETE WHERE partition = 0 AND first_offset = 8"), want: "no batch has the offsets 8 to 12"},
		"a batch counts less":             {damage: alter("ALTER TABLE batches UPDATE events = events - 1 WHERE partition = 0 AND first_offset = 0"), want: "are not 8 offsets"},
		"a batch that overlaps": {damage: alter("INSERT INTO batches (topic, partition, first_offset, next_offset, events, recorded_seq) SELECT topic, partition, 4, 6, 2, recorded_seq FROM batches WHERE partition = 0 AND first_offset = 0"),
			want: "in more than one batch"},
		"quarantine is emptied": {damage: alter("ALTER TABLE quarantine DELETE WHERE 1"), want: "0 messages are in quarantine"},
		"a number is missing":   {damage: alter("ALTER TABLE events DELETE WHERE seq = 5"), want: "1 of its 21 events are not there: 5"},
		"a number is there twice": {damage: alter("INSERT INTO events (event_id, type, time, writer, seq, raw, digest, topic, recorded_seq) SELECT generateUUIDv7(), type, time, writer, seq, raw, digest, topic, recorded_seq FROM events WHERE seq = 5"),
			want: "1 events share a number"},
		"the writer fell silent": {damage: func(*testing.T, *pipeline) {}, want: "last heard of", later: time.Minute},
		"a restatement is open":  {damage: alter("INSERT INTO restatements (restatement, kind, state, recorded_seq) VALUES (1, 'restate', 'open', 9999999999999999)"), want: "begun and not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, now := filled(t)
			tt.damage(t, p)
			if problems := strings.Join(p.verify(now.Add(tt.later)), "\n"); !strings.Contains(problems, tt.want) {
				t.Errorf("the proofs found\n%s\nwant %q", problems, tt.want)
			}
		})
	}
}

func (p *pipeline) restate(store Store, snap *governance.Snapshot, dry bool) (Effect, error) {
	return Restate(p.t.Context(), RestateOptions{
		DB: store, Topic: p.topic, From: at("2026-10-10T10:00:05Z").Time(), To: at("2026-10-11T00:00:00Z").Time(), Snapshot: snap, Reason: "test", DryRun: dry, Now: time.Now, Logger: p.log, rows: 6,
	})
}

// pass lets the watermark go beyond what has been corrected.
func (p *pipeline) pass(partitions [][][]byte) {
	p.t.Helper()
	p.ahead += 10 * time.Second
	if err := p.direct(p.db, partitions, 100); err != nil {
		p.t.Fatal(err)
	}
}

// A restatement says what it would do, does exactly that, and leaves proofs green; doing it again does nothing.
func TestRestate(t *testing.T) {
	t.Parallel()
	p, partitions, now := filled(t)
	// 10 output tokens of 14 calls (5 to 19, but for the denied 7) cost 3 instead of 2 dollars per million.
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	before := p.text(`SELECT toString(sum(cost)), sum(quantity), sum(calls) FROM charges FINAL`)
	dry, err := p.restate(p.db, dearer, true)
	if err != nil {
		t.Fatal(err)
	}
	if dry.Events != 15 || dry.Changed != 14 || dry.Entries != 28 || len(dry.Teams) != 1 || dry.Teams[0].Team != "risk" || dry.Teams[0].Difference.String() != "0.000140000000" || dry.Number != 0 {
		t.Errorf("the dry run says %+v", dry)
	}
	if after := p.text(`SELECT toString(sum(cost)), sum(quantity), sum(calls) FROM charges FINAL`); after != before || p.text(`SELECT count() FROM restatements`) != "0" {
		t.Error("the dry run changed the books")
	}
	effect, err := p.restate(p.db, dearer, false)
	if err != nil {
		t.Fatal(err)
	}
	if effect.Number != 1 || effect.Entries != dry.Entries || effect.Teams[0] != dry.Teams[0] {
		t.Errorf("it did %+v, the dry run said %+v", effect, dry)
	}
	p.wantGreen(now) // as of the watermark, which is below still
	p.pass(partitions)
	p.wantGreen(now)
	total := strings.TrimRight(fmt.Sprintf("0.%012d", 19*1000*250_000+(190-7)*25_000+5*10*2_000_000+14*10*3_000_000), "0")
	if got := p.text(`SELECT toString(sum(cost)), sum(quantity), sum(calls) FROM charges FINAL`); got != total+"\t"+fmt.Sprint(19*1010+183)+"\t19" {
		t.Errorf("after it the ledger is %s, want %s", got, total)
	}
	if got := p.text(`SELECT toString(sum(cost)), countIf(restatement = 1), max(recorded_seq) < (SELECT min(recorded_seq) FROM charges WHERE restatement = 1) FROM requests FINAL`); got != total+"\t14\t1" {
		t.Errorf("after it requests are %s", got)
	}
	if got := p.text(`SELECT count(), sum(sign), any(posting_period) FROM charges FINAL WHERE restatement = 1`); got != "28\t0\t"+time.Now().UTC().Format("200601") {
		t.Errorf("it posted %s", got)
	}
	// A call of that time that comes late is as its own rules say: the restatement did not look at it.
	late := callAt(p.snap, at("2026-10-10T10:00:15.5Z"), chatUsage(0, 0, 1000))
	seq := uint64(21)
	partitions[1] = append(partitions[1], encode(t, "test-1", &seq, late)...)
	p.pass(partitions)
	p.wantGreen(now)
	if got := p.text(`SELECT count(), sum(cost) FROM charges FINAL WHERE event_id = {id:UUID}`, clickhouse.Param("id", [16]byte(late.ID))); got != "2\t0.002" {
		t.Errorf("the late call's entries: %s", got)
	}
	again, err := p.restate(p.db, p.snap, true)
	if err != nil || again.Entries != 28 {
		t.Errorf("the way back would be %+v, %v", again, err)
	}
	again, err = p.restate(p.db, dearer, false)
	if err != nil || again.Number != 2 || again.Entries != 2 { // the late one
		t.Errorf("the late one: %+v, %v", again, err)
	}
	p.pass(partitions)
	again, err = p.restate(p.db, dearer, false)
	if err != nil || again.Number != 0 || again.Entries != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	// Back to the old prices: a second restatement over the first.
	back, err := p.restate(p.db, p.snap, false)
	if err != nil || back.Number != 3 || back.Entries != 30 {
		t.Errorf("back: %+v, %v", back, err)
	}
	p.pass(partitions)
	p.wantGreen(now)
	if got := p.text(`SELECT toString(sum(cost)), sum(quantity), sum(calls) FROM charges FINAL WHERE event_id != {id:UUID}`, clickhouse.Param("id", [16]byte(late.ID))); got != before {
		t.Errorf("back again the ledger is %s, it was %s", got, before)
	}
}

// A restatement that is killed at any of its calls is ended by the next one, and the books are the same. Until then no reader sees any of it.
func TestRestateCrash(t *testing.T) {
	t.Parallel()
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	ledger := `SELECT charge_time, class, restatement, sign, cost FROM charges FINAL ORDER BY ALL`
	p, _, _ := filled(t)
	counted := &faulty{Store: p.db}
	if _, err := p.restate(counted, dearer, false); err != nil {
		t.Fatal(err)
	}
	want := p.text(ledger)
	for fail := 1; fail <= counted.calls; fail++ {
		p, partitions, now := filled(t)
		broken := &faulty{Store: p.db, fail: fail, after: fail%2 == 0}
		if _, err := p.restate(broken, dearer, false); !errors.Is(err, errInjected) {
			t.Fatalf("call %d: %v", fail, err)
		}
		p.pass(partitions)
		n, err := Watermark(t.Context(), p.db, p.topic)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.text(`SELECT count() FROM charges FINAL WHERE restatement > 0 AND recorded_seq <= {n:UInt64}`, clickhouse.Param("n", n)); got != "0" && got != "28" {
			t.Errorf("after a failed %s a reader sees %s of 28 entries", broken.log[fail-1], got)
		}
		if ended := p.text(`SELECT count() FROM restatements FINAL WHERE state = 'done'`) == "1"; !ended {
			other := repriced(t, `output: "15"`, `output: "16"`)
			if p.text(`SELECT count() FROM restatements FINAL WHERE state = 'open'`) == "1" {
				if _, err := p.restate(p.db, other, false); !errors.Is(err, ErrOpen) {
					t.Errorf("another restatement over an open one: %v", err)
				}
			}
			if _, err := p.restate(p.db, dearer, false); err != nil {
				t.Fatal(err)
			}
		}
		p.pass(partitions)
		p.wantGreen(now)
		if got := p.text(ledger); got != want {
			t.Errorf("after a failed %s and another run the ledger is\n%s\nwant\n%s", broken.log[fail-1], got, want)
		}
	}
}

// overtaken is a store in which a batch is committed just before a correction is made known.
type overtaken struct {
	Store
	batch func()
}

func (o *overtaken) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if batch := o.batch; table == "restatements" && batch != nil {
		o.batch = nil
		batch()
	}
	return o.Store.Insert(ctx, table, token, columns)
}

// A batch that overtakes the opening of a restatement does not let a reader see a part of it, nor has what was read changed afterwards.
func TestRestateOvertaken(t *testing.T) {
	t.Parallel()
	p, partitions, now := filled(t)
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	var n uint64
	ledger := func() string {
		return p.text(`SELECT count(), sum(cost) FROM charges FINAL WHERE recorded_seq <= {n:UInt64}`, clickhouse.Param("n", n))
	}
	was := ""
	_, err := p.restate(&overtaken{p.db, func() {
		p.ahead += time.Hour
		p.pass(partitions)
		var err error
		if n, err = Watermark(t.Context(), p.db, p.topic); err != nil {
			t.Fatal(err)
		}
		was = ledger()
	}}, dearer, false)
	if err != nil {
		t.Fatal(err)
	}
	if now := ledger(); now != was {
		t.Errorf("at the watermark %d there was %s, and now is %s", n, was, now)
	}
	p.pass(partitions)
	p.wantGreen(now)
}

func (p *pipeline) replay(store Store, dry bool) (Replayed, error) {
	return Replay(p.t.Context(), ReplayOptions{DB: store, Topic: p.topic, DryRun: dry, Now: time.Now, Logger: p.log})
}

// What quarantine holds enters the books once it can be read, killed at any call or not; the rest stays.
func TestReplay(t *testing.T) {
	t.Parallel()
	books := func(p *pipeline) string { return strings.ReplaceAll(p.books(), p.topic, "topic") }
	// A version that could not read the calls after the 15th put them aside.
	older := func(t *testing.T, all [][]byte) (*pipeline, [][][]byte) {
		p := newPipeline(t, 0)
		partitions := [][][]byte{all}
		unread := make([][]byte, len(all))
		for i, raw := range all {
			if unread[i] = raw; i >= 15 && i < 20 {
				unread[i] = []byte("x")
			}
		}
		if err := p.direct(p.db, [][][]byte{unread}, 8); err != nil {
			t.Fatal(err)
		}
		for i := 15; i < 20; i++ {
			err := p.db.Exec(t.Context(), "ALTER TABLE quarantine UPDATE raw = {raw:String}, digest = SHA256({raw:String}) WHERE offset = {offset:UInt64} SETTINGS mutations_sync = 1",
				clickhouse.Param("raw", string(all[i])), clickhouse.Param("offset", i))
			if err != nil {
				t.Fatal(err)
			}
		}
		return p, partitions
	}
	first := newPipeline(t, 0)
	all := first.history()
	p, partitions := older(t, all)
	now := at("2026-10-10T10:00:20Z").Time()
	p.wantGreen(now)
	dry, err := p.replay(p.db, true)
	if err != nil || dry.Tried != 8 || dry.Entered != 5 || len(dry.Left) != 3 || p.text("SELECT count() FROM restatements") != "0" {
		t.Fatalf("the dry run says %+v, %v", dry, err)
	}
	counted := &faulty{Store: p.db}
	done, err := p.replay(counted, false)
	if err != nil || done.Entered != 5 || done.Number != 1 {
		t.Fatalf("the replay says %+v, %v", done, err)
	}
	p.pass(partitions)
	p.wantGreen(now)
	if got := p.text(`SELECT count(), toString(sum(cost)) FROM requests FINAL`); got != "20\t"+wantHistoryCost() {
		t.Errorf("requests: %s", got)
	}
	if again, err := p.replay(p.db, false); err != nil || again.Entered != 0 || again.Number != 0 || again.Tried != 3 {
		t.Errorf("again: %+v, %v", again, err)
	}
	want := books(p)
	for fail := 1; fail <= counted.calls; fail++ {
		p, partitions := older(t, all)
		if _, err := p.replay(&faulty{Store: p.db, fail: fail, after: fail%2 == 0}, false); !errors.Is(err, errInjected) {
			t.Fatalf("call %d: %v", fail, err)
		}
		p.pass(partitions)
		if _, err := p.replay(p.db, false); err != nil {
			t.Fatal(err)
		}
		p.pass(partitions)
		p.wantGreen(now)
		if got := books(p); got != want {
			t.Errorf("after a failed %s and another run the books are\n%s\nwant\n%s", counted.log[fail-1], got, want)
		}
	}
}

// Nothing at or below a watermark appears after it was given, with two
// processes on two partitions at different speeds, clocks that differ and step
// back, crashes, and a restatement in between.
func TestNothingAppearsBelowTheWatermark(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	dearer := repriced(t, `cache_read: "0.025", output: "2"`, `cache_read: "0.025", output: "3"`)
	random := rand.New(rand.NewPCG(1, 2))
	begin := at("2026-10-10T10:00:00Z")
	var seq uint64
	clock := [2]time.Time{time.Now(), time.Now().Add(-time.Hour)}
	var processes [2]*consumer
	next := [2]int64{}
	start := func(i int) {
		o := p.options(p.db)
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
		o.Now = func() time.Time { return clock[i] }
		processes[i] = &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
		all, err := readProgress(t.Context(), p.db, p.topic)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range all {
			processes[i].last = max(processes[i].last, at.Last)
			if int(at.Partition) == i {
				next[i] = int64(at.Next)
			}
		}
		if err := p.flushOne(processes[i], i, next[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	start(0)
	start(1)
	given := map[uint64]string{} // what was to be seen at each watermark
	seen := func(n uint64) string {
		return p.text(`SELECT (SELECT count() FROM events FINAL WHERE recorded_seq <= {n:UInt64}), (SELECT concat(toString(count()), ' ', toString(sum(cost)), ' ', toString(groupBitXor(cityHash64(entry_id)))) FROM charges FINAL WHERE recorded_seq <= {n:UInt64})`, clickhouse.Param("n", n))
	}
	last := uint64(0)
	for step := range 60 {
		i := random.IntN(2) * random.IntN(2) // partition 0 is three times as fast
		var events []*event.Event
		for range random.IntN(4) {
			events = append(events, callAt(p.snap, begin+event.Micros(seq)*1_000_000+event.Micros(step), chatUsage(100, 0, 10)))
		}
		raws := encode(t, "w", &seq, events...)
		clock[i] = clock[i].Add(time.Duration(random.IntN(2000)-500) * time.Millisecond)
		switch random.IntN(8) {
		case 0: // killed between the inserts
			processes[i].DB = &faulty{Store: p.db, fail: 2 + random.IntN(5), after: random.IntN(2) == 0}
			if err := p.flushOne(processes[i], i, next[i], raws); err != nil && !errors.Is(err, errInjected) {
				t.Fatal(err)
			}
			start(i)
		case 1:
			snap := []*governance.Snapshot{p.snap, dearer}[random.IntN(2)]
			if _, err := Restate(t.Context(), RestateOptions{
				DB: p.db, Topic: p.topic, From: begin.Time(), To: begin.Time().Add(time.Hour), Snapshot: snap, Now: func() time.Time { return clock[1] }, Logger: p.log,
			}); err != nil {
				t.Fatal(err)
			}
		default:
			if err := p.flushOne(processes[i], i, next[i], raws); err != nil {
				t.Fatal(err)
			}
			next[i] += int64(len(raws))
		}
		n, err := Watermark(t.Context(), p.db, p.topic)
		if err != nil {
			t.Fatal(err)
		}
		if n < last {
			t.Fatalf("step %d: the watermark went back from %d to %d", step, last, n)
		}
		last = n
		given[n] = seen(n)
	}
	if len(given) < 10 {
		t.Fatalf("only %d watermarks", len(given))
	}
	for n, was := range given {
		if now := seen(n); now != was {
			t.Errorf("at the watermark %d there was %s, and now is %s", n, was, now)
		}
	}
}

// flushOne writes messages of one partition from an offset on as one batch.
func (p *pipeline) flushOne(c *consumer, partition int, from int64, raws [][]byte) error {
	b := new(batch)
	b.reset(p.topic, []int{partition}, map[int]int64{partition: from}, nil)
	ch := chunk{partition: partition, first: from, next: from + int64(len(raws))}
	var err error
	if ch.items, err = c.prepare(p.t.Context(), messagesAt(partition, from, raws), nil); err != nil {
		return err
	}
	if err := b.add(ch); err != nil {
		return err
	}
	return (&writer{consumer: c}).flush(p.t.Context(), b)
}
