package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

// pipeline is a topic and a database of a test's own.
type pipeline struct {
	t          testing.TB
	snap       *governance.Snapshot
	db         *clickhouse.DB
	kafka      kafka.Config
	topic      string
	governance string
	producer   *kafka.Producer
	log        *slog.Logger
	ahead      time.Duration // of the clock of ingest
}

func newPipeline(t testing.TB, partitions int) *pipeline {
	t.Helper()
	p := &pipeline{t: t, snap: loadSnapshot(t), log: slog.New(slog.DiscardHandler), topic: embeddedtest.Name("events"), governance: embeddedtest.Name("governance")}
	if testing.Verbose() {
		p.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	target := embeddedtest.ClickHouse(t)
	var err error
	p.db, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password}, p.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	if _, err := p.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if partitions == 0 { // books alone
		p.governance = ""
		if err := newSnapshots(p.options(p.db)).insert(t.Context(), p.snap, ""); err != nil {
			t.Fatal(err)
		}
		return p
	}
	broker := embeddedtest.Kafka(t)
	p.kafka = kafka.Config{Brokers: broker.Brokers}
	if broker.Mechanism != "" {
		p.kafka.SASL = &kafka.SASL{Mechanism: broker.Mechanism, User: broker.User, Password: broker.Password}
	}
	err = kafka.EnsureTopics(t.Context(), p.kafka, p.log, kafka.Topic{Name: p.topic, Partitions: partitions}, kafka.Topic{Name: p.governance, Partitions: 1, Compacted: true})
	if err != nil {
		t.Fatal(err)
	}
	if p.producer, err = kafka.NewProducer(p.kafka, p.topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.producer.Close)
	return p
}

func (p *pipeline) publishSnapshot(snap *governance.Snapshot) {
	p.t.Helper()
	producer, err := kafka.NewProducer(p.kafka, p.governance)
	if err != nil {
		p.t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Publish(p.t.Context(), []kafka.Message{{Key: []byte(snap.Hex()), Value: snap.Archive}}); err != nil {
		p.t.Fatal(err)
	}
}

// encode gives events their place in the sequence of writer w and their bytes.
func encode(t testing.TB, w string, seq *uint64, events ...*event.Event) [][]byte {
	t.Helper()
	var all [][]byte
	for _, ev := range events {
		*seq++
		ev.Writer, ev.Seq = w, *seq
		raw, err := ev.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// publish puts messages on the topic, by the id that is in them.
func (p *pipeline) publish(values ...[]byte) {
	p.t.Helper()
	var messages []kafka.Message
	for i, v := range values {
		key := fmt.Sprint("none ", i)
		if ev, err := event.Decode(v); err == nil {
			key = ev.ID.String()
		}
		messages = append(messages, kafka.Message{Key: []byte(key), Value: v})
	}
	if err := p.producer.Publish(p.t.Context(), messages); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) options(store Store) Options {
	return Options{
		Kafka: p.kafka, Topic: p.topic, GovernanceTopic: p.governance, Group: p.topic, DB: store, Logger: p.log, Now: func() time.Time { return time.Now().Add(p.ahead) },
		FlushAfter: 50 * time.Millisecond, IdleEvery: 200 * time.Millisecond,
	}
}

// start runs ingest until stop is called, which returns what Run gave.
func (p *pipeline) start(o Options) (stop func() error) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	p.t.Cleanup(func() { stop() })
	return stop
}

// ingest runs until everything that is on the topic now is in the store.
func (p *pipeline) ingest(o Options) {
	p.t.Helper()
	stop := p.start(o)
	p.caughtUp()
	if err := stop(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) caughtUp() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	_, next, err := kafka.Offsets(ctx, p.kafka, p.topic)
	if err == nil {
		err = WaitFor(ctx, p.db, p.topic, next)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// text is a query's result as text: rows by line, columns by tab.
func (p *pipeline) text(query string, args ...clickhouse.Arg) string {
	p.t.Helper()
	rows, err := p.db.Query(p.t.Context(), "SELECT arrayStringConcat(arrayMap(x -> x, line), '\n') FROM (SELECT groupArray(formatRowNoNewline('TSV', *)) AS line FROM ("+query+"))", args...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	var text string
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
	return text
}

// books is everything that a flush writes, without what differs from run to run.
const booksQuery = `
	SELECT * FROM (
		SELECT 'event' AS what, toString(event_id) AS id, hex(digest) AS a, concat(topic, ' ', toString(partition), ' ', toString(offset)) AS b, toInt64(0) AS c FROM events FINAL
		UNION ALL SELECT 'request', toString(event_id), cost_status, ifNull(toString(cost), 'NULL'), toInt64(0) FROM requests FINAL
		UNION ALL SELECT 'charge', toString(event_id), concat(hex(entry_id), ' ', class, ' ', cost_status), ifNull(toString(cost), 'NULL'), ifNull(quantity, -1) FROM charges FINAL
		UNION ALL SELECT 'quarantine', toString(offset), reason, hex(digest), toInt64(partition) FROM quarantine FINAL
		UNION ALL SELECT 'batches', toString(partition), toString(min(first_offset)), concat(toString(max(next_offset)), ' ', toString(sum(events)), ' ', toString(sum(duplicates))), toInt64(sum(quarantined)) FROM batches FINAL GROUP BY partition
	) ORDER BY ALL`

func (p *pipeline) books() string { return p.text(booksQuery) }

// faulty is a store that fails one call.
type faulty struct {
	Store
	mu    sync.Mutex
	calls int
	fail  int  // the call that fails, from 1
	after bool // it fails after it has worked
	log   []string
}

var errInjected = errors.New("injected")

func (f *faulty) call(what string, do func() error) error {
	f.mu.Lock()
	f.calls++
	hit := f.calls == f.fail
	f.log = append(f.log, what)
	f.mu.Unlock()
	if hit && !f.after {
		return errInjected
	}
	if err := do(); err != nil || !hit {
		return err
	}
	return errInjected
}

func (f *faulty) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	return f.call("insert "+table, func() error { return f.Store.Insert(ctx, table, token, columns) })
}

func (f *faulty) Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error {
	return f.call("select", func() error { return f.Store.Select(ctx, dest, query, args...) })
}

// history is a small day of all kinds: calls, a denied one, a writer's life,
// a second delivery, one with other bytes, and rubbish.
func (p *pipeline) history() [][]byte {
	var seq uint64
	begin := at("2026-10-10T10:00:00Z")
	var events []*event.Event
	opened := &event.Event{ID: event.NewID(begin), Source: "s", Type: event.WriterOpened, Time: begin, Lifecycle: &event.Lifecycle{Instance: "test", Version: "1", Kind: "live"}}
	events = append(events, opened)
	for i := range 20 {
		ev := callAt(p.snap, begin+event.Micros(i)*1_000_000, chatUsage(1000+i, i, 10))
		if i == 7 {
			ev.Type, ev.Request.Attempts, ev.Request.Outcome.Served = event.RequestDenied, nil, -1
		}
		events = append(events, ev)
	}
	all := encode(p.t, "test-1", &seq, events...)
	other := []byte(strings.Replace(string(all[3]), `"prompt_tokens\":1002`, `"prompt_tokens\":1`, 1))
	if string(other) == string(all[3]) {
		p.t.Fatal("the event has another form")
	}
	unknown := []byte(strings.Replace(string(all[0]), "writer.opened", "writer.dreamt", 1))
	return append(all, all[2], other, []byte(`{"id":`), unknown)
}

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 3)
	p.publishSnapshot(p.snap)
	all := p.history()
	p.publish(all...)
	p.publish(all[5]) // a second delivery in another batch
	p.ingest(p.options(p.db))
	p.publish(all[6], all[21:22][0])
	p.ingest(p.options(p.db))

	got := p.text(`SELECT count(), countDistinct(event_id), sum(length(raw) > 0) FROM events`)
	if got != "21\t21\t21" {
		t.Errorf("events: %s, want 21 stored once", got)
	}
	if got := p.text(`SELECT count(), countIf(type = 'llm.request.denied'), countIf(cost_status = 'exact'), toString(sum(cost)) FROM requests FINAL`); got != "20\t1\t19\t"+fmt.Sprint(wantHistoryCost()) {
		t.Errorf("requests: %s, want cost %s", got, wantHistoryCost())
	}
	if got := p.text(`SELECT groupUniqArray(provenance) FROM requests FINAL`); got != "[['hierarchy','key','missing','missing','missing','default']]" {
		t.Errorf("provenance: %s", got)
	}
	if got := p.text(`SELECT count(), sum(calls), sum(quantity), toString(sum(cost)), uniqExact(team), any(business_unit), any(posting_period) FROM charges FINAL`); got != "56\t19\t"+fmt.Sprint(19*1010+190-7)+"\t"+wantHistoryCost()+"\t1\tretail\t202610" {
		t.Errorf("charges: %s", got)
	}
	if got := p.text(`SELECT sum(events), sum(duplicates), sum(quarantined), sum(next_offset - first_offset) FROM batches FINAL`); got != "21\t4\t3\t28" {
		t.Errorf("batches: %s", got)
	}
	if got := p.text(`SELECT digest = unhex({d:String}), price_book != '' FROM snapshots FINAL`, clickhouse.Param("d", p.snap.Hex())); got != "1\t1" {
		t.Errorf("snapshots: %q", got)
	}
	if got := p.text(`SELECT count(), countIf(reason LIKE '%other bytes%'), countIf(reason LIKE '%does not know%'), countIf(raw = '{"id":') FROM quarantine FINAL`); got != "3\t1\t1\t1" {
		t.Errorf("quarantine: %s", got)
	}
}

// wantHistoryCost: 19 calls of (1000 + i - i) × 0.25 + i × 0.025 + 10 × 2 dollars per million, without i = 7.
func wantHistoryCost() string {
	pico := int64(0)
	for i := range int64(20) {
		if i != 7 {
			pico += 1000*250_000 + i*25_000 + 10*2_000_000
		}
	}
	return strings.TrimRight(fmt.Sprintf("0.%012d", pico), "0")
}

func messagesAt(partition int, from int64, raws [][]byte) (all []kafka.Message) {
	for i, raw := range raws {
		all = append(all, kafka.Message{Partition: partition, Offset: from + int64(i), Value: raw})
	}
	return all
}

// direct ingests partitions without a broker: from where batches are, size
// messages of each partition a flush.
func (p *pipeline) direct(store Store, partitions [][][]byte, size int) error {
	o := p.options(store)
	if err := o.setDefaults(); err != nil {
		return err
	}
	c := &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
	ctx := p.t.Context()
	next, end, numbers := map[int]int64{}, map[int]int64{}, []int{}
	all, err := readProgress(ctx, store, p.topic)
	if err != nil {
		return err
	}
	for _, at := range all {
		next[int(at.Partition)], c.last = int64(at.Next), max(c.last, at.Last)
	}
	for i := range partitions {
		numbers = append(numbers, i)
	}
	w := &writer{consumer: c}
	b := new(batch)
	for more := true; more; {
		more = false
		b.reset(p.topic, numbers, next, end)
		for i, values := range partitions {
			var messages []kafka.Message
			from := next[i]
			for n := from; n < int64(len(values)) && len(messages) < size; n++ {
				messages = append(messages, kafka.Message{Value: values[n], Offset: n})
			}
			next[i] = from + int64(len(messages))
			ch := chunk{partition: i, first: from, next: next[i]}
			if ch.items, err = c.prepare(ctx, messages, nil); err == nil {
				err = b.add(ch)
			}
			if err != nil {
				return err
			}
			more = more || next[i] < int64(len(values))
		}
		if err := w.flush(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// Whatever call of the store fails, before or after it has worked: the process
// ends, another one starts, and the books are what they would have been.
func TestCrashBetweenAnySteps(t *testing.T) {
	t.Parallel()
	first := newPipeline(t, 1)
	all := first.history()
	partitions := [][][]byte{all[:13], append(all[13:], all[20])}
	counted := &faulty{Store: first.db}
	first.publishSnapshot(first.snap)
	if err := first.direct(counted, partitions, 8); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(first.books(), first.topic, "topic")
	for _, must := range []string{"insert events", "insert requests", "insert charges", "insert quarantine", "insert batches", "insert snapshots"} {
		if !slices.Contains(counted.log, must) {
			t.Fatalf("the run had no %s: %v", must, counted.log)
		}
	}
	for fail := 1; fail <= counted.calls; fail++ {
		for _, after := range []bool{false, true} {
			p := newPipeline(t, 1)
			p.governance = first.governance
			broken := &faulty{Store: p.db, fail: fail, after: after}
			if err := p.direct(broken, partitions, 8); !errors.Is(err, errInjected) {
				t.Fatalf("call %d: %v, want the injected failure", fail, err)
			}
			// The next process may cut batches elsewhere.
			if err := p.direct(p.db, partitions, 8+fail%3); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(p.books(), p.topic, "topic"); got != want {
				t.Errorf("after a failed %s (call %d, after it worked: %v) the books are\n%s\nwant\n%s", broken.log[fail-1], fail, after, got, want)
			}
		}
	}
}

// An event waits for the snapshot that it names; nothing is put aside meanwhile, and it enters when the snapshot is published.
func TestWaitsForSnapshot(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 1)
	p.publish(p.history()...)
	waits := make(chan struct{})
	o := p.options(p.db)
	o.Logger = slog.New(notify{p.log.Handler(), "ingest waits", waits})
	stop := p.start(o)
	<-waits
	if got := p.text("SELECT (SELECT count() FROM events), (SELECT count() FROM quarantine), (SELECT sum(next_offset) FROM batches)"); got != "0\t0\t0" {
		t.Errorf("before the snapshot is there: %s", got)
	}
	p.publishSnapshot(p.snap)
	p.caughtUp()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.text("SELECT count(), toString(sum(cost)) FROM charges FINAL"); got != "56\t"+wantHistoryCost() {
		t.Errorf("charges: %s", got)
	}
}

// notify is a log handler that closes a channel at the first message that begins like text.
type notify struct {
	slog.Handler
	text string
	said chan struct{}
}

func (n notify) Enabled(context.Context, slog.Level) bool { return true }

func (n notify) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, n.text) {
		select {
		case <-n.said:
		default:
			close(n.said)
		}
	}
	return nil
}

// Offsets that the topic does not have any more, or not yet, end the process with a clear error.
func TestMissingOffsets(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 1)
	p.publishSnapshot(p.snap)
	p.publish(p.history()...)
	p.ingest(p.options(p.db))
	// The topic is made anew, with less in it.
	p.topic = embeddedtest.Name("events")
	if err := kafka.EnsureTopics(t.Context(), p.kafka, p.log, kafka.Topic{Name: p.topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.db.Exec(t.Context(), "INSERT INTO batches SELECT * REPLACE ({topic:String} AS topic) FROM batches", clickhouse.Param("topic", p.topic)); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), p.options(p.db))
	var offset *kafka.OffsetError
	if !errors.As(err, &offset) || !strings.Contains(err.Error(), "beyond the end") {
		t.Errorf("ingest gave %v", err)
	}
}

// Two processes that own the same partition do not both write it.
func TestFence(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	all := p.history()
	o := p.options(p.db)
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	c := &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
	if err := p.direct(p.db, [][][]byte{all[:8]}, 100); err != nil {
		t.Fatal(err)
	}
	if err := p.flushOne(c, 0, 4, all[4:10]); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a flush from an old position gave %v", err)
	}
	if got := p.text("SELECT max(next_offset) FROM batches"); got != "8" {
		t.Errorf("batches go to %s", got)
	}
	if err := p.direct(p.db, [][][]byte{all}, 100); err != nil {
		t.Fatal(err)
	}
	p.wantGreen(at("2026-10-10T10:00:20Z").Time())
}

// overtakenBatch is a store in which something happens just before the row of a batch is inserted.
type overtakenBatch struct {
	Store
	first func()
}

func (o *overtakenBatch) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if first := o.first; table == "batches" && first != nil {
		o.first = nil
		first()
	}
	return o.Store.Insert(ctx, table, token, columns)
}

// Nor when the other one stores its batch after the first has looked: one row enters, and the other process ends with its next batch.
func TestFenceOvertaken(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	all := p.history()
	if err := p.direct(p.db, [][][]byte{all[:8]}, 100); err != nil {
		t.Fatal(err)
	}
	process := func(store Store, ahead time.Duration) *consumer {
		o := p.options(store)
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
		o.Now = func() time.Time { return time.Now().Add(ahead) }
		return &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
	}
	other := process(p.db, time.Second)
	slow := process(&overtakenBatch{p.db, func() {
		if err := p.flushOne(other, 0, 8, all[8:15]); err != nil {
			t.Error(err)
		}
	}}, time.Hour)
	if err := p.flushOne(slow, 0, 8, all[8:12]); err != nil {
		t.Errorf("the one that was overtaken: %v", err)
	}
	if err := p.flushOne(slow, 0, 12, all[12:14]); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("its next batch: %v", err)
	}
	if err := p.flushOne(other, 0, 15, all[15:]); err != nil {
		t.Errorf("the one that overtook: %v", err)
	}
	p.wantGreen(at("2026-10-10T10:00:20Z").Time())
}

// away is a store that loses its connection once in three calls, after it did its work or before.
type away struct {
	Store
	calls int
	mu    sync.Mutex
}

func (a *away) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	a.mu.Lock()
	a.calls++
	n := a.calls
	a.mu.Unlock()
	if n%3 == 1 {
		return fmt.Errorf("insert: %w", syscall.ECONNRESET)
	}
	if err := a.Store.Insert(ctx, table, token, columns); err != nil || n%3 == 0 {
		return err
	}
	return fmt.Errorf("insert: %w", io.EOF)
}

// Inserts whose outcome is unknown are repeated until they worked, and leave each row once, in the parts and not only in what FINAL shows.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 0)
	all := p.history()
	if err := p.direct(&away{Store: p.db}, [][][]byte{all}, 100); err != nil {
		t.Fatal(err)
	}
	if got := p.text("SELECT (SELECT count() FROM events), (SELECT count() FROM requests), (SELECT count() FROM charges)"); got != "21\t20\t56" {
		t.Errorf("rows: %s", got)
	}
	p.wantGreen(at("2026-10-10T10:00:20Z").Time())
}
