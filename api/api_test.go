package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/spool"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// bed is an API on real books: events went through a broker and the ingest.
type bed struct {
	t       *testing.T
	db      *clickhouse.DB
	server  *httptest.Server
	options Options
	topic   string
	target  embeddedtest.ClickHouseTarget
	records *spool.Spool
	keys    map[Scope]string
	ids     []event.ID // of the calls, oldest first
	publish func(events ...*event.Event)
	seq     uint64
	snap    *governance.Snapshot
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, keys: map[Scope]string{}}
	log := slog.New(slog.DiscardHandler)
	target, broker := embeddedtest.ClickHouse(t), embeddedtest.Kafka(t)
	b.target = target
	var err error
	b.db, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password}, log)
	must(t, err)
	t.Cleanup(func() { b.db.Close() })
	_, err = b.db.Migrate(t.Context())
	must(t, err)
	cfg := kafka.Config{Brokers: broker.Brokers}
	if broker.Mechanism != "" {
		cfg.SASL = &kafka.SASL{Mechanism: broker.Mechanism, User: broker.User, Password: broker.Password}
	}
	topic, rules := embeddedtest.Name("events"), embeddedtest.Name("governance")
	b.topic = topic
	must(t, kafka.EnsureTopics(t.Context(), cfg, log, kafka.Topic{Name: topic, Partitions: 2}, kafka.Topic{Name: rules, Partitions: 1, Compacted: true}))
	b.snap, err = governance.Load("../deploy/example/governance")
	must(t, err)
	send := func(topic string, messages ...kafka.Message) {
		producer, err := kafka.NewProducer(cfg, topic)
		must(t, err)
		defer producer.Close()
		must(t, producer.Publish(t.Context(), messages))
	}
	send(rules, kafka.Message{Key: []byte(b.snap.Hex()), Value: b.snap.Archive})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ingest.Run(ctx, ingest.Options{Kafka: cfg, Topic: topic, GovernanceTopic: rules, Group: topic, DB: b.db, Logger: log, FlushAfter: 50 * time.Millisecond, IdleEvery: 200 * time.Millisecond})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ingest: %v", err)
		}
	})
	b.publish = func(events ...*event.Event) {
		t.Helper()
		var messages []kafka.Message
		for _, ev := range events {
			b.seq++
			ev.Writer, ev.Seq = "test-1", b.seq
			raw, err := ev.Append(nil)
			must(t, err)
			messages = append(messages, kafka.Message{Key: []byte(ev.ID.String()), Value: raw})
		}
		send(topic, messages...)
		_, end, err := kafka.Offsets(t.Context(), cfg, topic)
		must(t, err)
		must(t, ingest.WaitFor(t.Context(), b.db, topic, end))
		b.rollup()
	}
	b.records, err = spool.Open(spool.Options{Dir: t.TempDir(), Instance: "api", Heartbeat: -1, Now: time.Now, Logger: log})
	must(t, err)
	t.Cleanup(func() { b.records.Close(context.Background()) })
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "secrets", "api-keys.json"))
	must(t, err)
	for _, scope := range Scopes {
		b.keys[scope], err = keys.Add("test", scope)
		must(t, err)
	}
	b.options = Options{DB: b.db, Keys: keys, Topic: topic, Recorder: b.records, Source: "ledgerline/api", Logger: log, Metrics: prometheus.NewRegistry(), Now: func() time.Time { return now },
		Governance: func() *governance.Snapshot { return b.snap }}
	handler, err := New(b.options)
	must(t, err)
	b.server = httptest.NewServer(handler)
	t.Cleanup(b.server.Close)

	var calls []*event.Event
	for i := range 60 {
		calls = append(calls, b.call(now.Add(time.Duration(i-120)*time.Minute), i))
	}
	for _, c := range calls {
		b.ids = append(b.ids, c.ID)
	}
	b.publish(calls...)
	return b
}

// TestReads is what does not change the books, on one bed.
func TestReads(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for name, test := range map[string]func(*testing.T, *bed){
		"scopes":                     testScopes,
		"bad parameters":             testBadParameters,
		"problems":                   testProblems,
		"the store is away":          testStoreAway,
		"empty books":                testEmptyBooks,
		"cursor of another question": testCursorOfAnotherQuestion,
		"a read is recorded before it is answered": testReadIsRecordedBeforeItIsAnswered,
		"a refused read is recorded":               testRefusedReadIsRecorded,
		"a mistake of the program":                 testPanic,
		"the document is the code":                 testDocumentIsTheCode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *b
			own.t = t
			test(t, &own)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) rollup() {
	b.t.Helper()
	_, err := aggregate.Rollup(b.t.Context(), b.db, aggregate.Options{Topic: b.topic, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Exclusive: true})
	must(b.t, err)
}

// call is the i-th made-up call: two attempts in every fifth, a conflict, a project that looks like a formula, a model without a price.
func (b *bed) call(at time.Time, i int) *event.Event {
	t := event.At(at)
	model := "gpt-5-mini"
	if i%10 == 3 {
		model = "gpt-nobody-knows"
	}
	served := event.Attempt{
		Endpoint: "openai-us", Provider: "openai", Region: "us", ModelRequested: "gpt-5-mini", ModelServed: model, Status: 200,
		Start: t, FirstByte: t + 100, End: t + 200, UsageSource: event.UsageProvider, ProviderID: fmt.Sprint("req_", i),
		UsageRaw: fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, 100+i, i, 100+2*i),
	}
	attempts := []event.Attempt{served}
	if i%5 == 0 {
		refused := event.Attempt{Endpoint: "openai-eu", Provider: "openai", Region: "eu", ModelRequested: "gpt-5-mini", Status: 429, Error: "http", Start: t, FirstByte: t + 1, End: t + 2, UsageSource: event.UsageMissing}
		attempts = []event.Attempt{refused, served}
	}
	of := func(value string, p event.Provenance) event.Dimension {
		return event.Dimension{Value: value, Provenance: p}
	}
	return &event.Event{
		ID: event.NewID(t), Source: "ledgerline/test", Type: event.RequestCompleted, Time: t,
		Request: &event.Request{
			Call:   event.Call{Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "gpt-5-mini", Workload: "interactive"},
			Caller: event.Caller{KeyID: "cardsdesk"},
			Attribution: event.Attribution{
				BusinessUnit: of("", event.Missing), Team: event.Dimension{Value: []string{"cards", "lending"}[i%2], Provenance: event.FromKey, Conflict: "advisory"},
				Project: of("=HYPERLINK(1)", event.FromHeader), User: of("u_00112233445566aa", event.FromHeader), Application: of("card-service", event.FromKey), UseCase: of("card-support", event.FromHeader),
			},
			Coverage: "none", Attempts: attempts,
			Decision:       event.Decision{Rule: "everyday", Why: "Because.", Governance: b.snap.Hex(), Rejected: []event.Rejected{{Endpoint: "anthropic-main", Why: "does not speak openai.chat"}}},
			Outcome:        event.Outcome{Status: 200, Finish: "stop", Served: len(attempts) - 1, Latency: 200, FirstByte: 100, Client: "completed", Upstream: "completed", AnswerBytes: 10},
			Capture:        "none",
			RetentionClass: "standard",
		},
	}
}

// get asks and returns status, header and body.
func (b *bed) get(key, path string, header ...string) (int, http.Header, []byte) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.server.URL+path, nil)
	must(b.t, err)
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	must(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(b.t, err)
	if err := theDocument().conform(path, response.StatusCode, response.Header, body); err != nil {
		b.t.Errorf("GET %.100s: not as the document says: %v\n%.2000s", path, err, body)
	}
	return response.StatusCode, response.Header, body
}

// ask gets JSON that must be answered with 200.
func ask[T any](b *bed, scope Scope, path string) (v T) {
	b.t.Helper()
	status, _, body := b.get(b.keys[scope], path)
	if status != http.StatusOK {
		b.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	must(b.t, json.Unmarshal(body, &v))
	return v
}

type showbackRows struct {
	Rows []struct {
		Team, Project, Class string
		figures
	}
	Total figures
	stamp
	NextCursor string `json:"next_cursor"`
}

func TestShowback(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const path = "/v1/showback?group_by=team,project,class&from=2026-11-01&to=2026-12-01&tz=Asia/Kathmandu"
	whole := ask[showbackRows](b, Finance, path)
	if whole.Total.Requests != 60 || whole.Total.Unpriced != 12 || whole.Total.Cost.Sign() != 1 {
		t.Errorf("total %+v", whole.Total)
	}

	// Pages sum to the total, though more arrives between them.
	var sum figures
	n := 0
	for next := "&limit=1"; ; n++ {
		page := ask[showbackRows](b, Finance, path+next)
		if page.Total != whole.Total || page.AsOf != whole.AsOf {
			t.Fatalf("page %d: total %+v as of %s, want %+v as of %s", n, page.Total, page.AsOf, whole.Total, whole.AsOf)
		}
		for _, r := range page.Rows {
			sum.Requests, sum.Quantity, sum.Cost = sum.Requests+r.Requests, sum.Quantity+r.Quantity, sum.Cost.Plus(r.Cost)
			sum.Unpriced, sum.Unmeasured = sum.Unpriced+r.Unpriced, sum.Unmeasured+r.Unmeasured
		}
		if page.NextCursor == "" {
			break
		}
		if n == 1 {
			b.publish(b.call(now.Add(-time.Second), 1))
		}
		next = "&limit=1&cursor=" + page.NextCursor
	}
	if sum != whole.Total || n+1 != len(whole.Rows) {
		t.Errorf("%d pages sum to %+v, want %+v", n+1, sum, whole.Total)
	}
	if again := ask[showbackRows](b, Finance, path); again.Total.Requests != 61 {
		t.Errorf("afterwards %d requests, want 61", again.Total.Requests)
	}
	if past := ask[showbackRows](b, Finance, path+"&as_of="+whole.AsOf); past.Total != whole.Total {
		t.Errorf("as of %s the total is %+v now, was %+v", whole.AsOf, past.Total, whole.Total)
	}

	// CSV says the same, and no cell of it is a formula.
	_, header, body := b.get(b.keys[Finance], path+"&as_of="+whole.AsOf, "Accept", "text/csv")
	if header.Get("Ledger-As-Of") != whole.AsOf || !strings.HasPrefix(header.Get("Content-Type"), "text/csv") {
		t.Errorf("header %v", header)
	}
	lines, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	must(t, err)
	if len(lines) != len(whole.Rows)+1 || strings.Join(lines[0], ",") != "team,project,class,requests,quantity,cost,unpriced,unmeasured" {
		t.Fatalf("CSV %q", lines)
	}
	for i, r := range whole.Rows {
		want := []string{r.Team, "'" + r.Project, r.Class, fmt.Sprint(r.Requests), fmt.Sprint(r.Quantity), r.Cost.String(), fmt.Sprint(r.Unpriced), fmt.Sprint(r.Unmeasured)}
		if !slices.Equal(lines[i+1], want) || r.Project != "=HYPERLINK(1)" {
			t.Errorf("CSV line %q, want %q", lines[i+1], want)
		}
	}

	// A file holds all rows or is refused.
	must(t, b.db.Exec(t.Context(), fmt.Sprintf("INSERT INTO cells (cell, team, requests, entries) SELECT '2026-03-01 00:00:00', toString(number), 1, 1 FROM numbers(%d)", maxFile+1)))
	const file = "/v1/showback?group_by=team&format=csv&from=2026-03-01&to=2026-03-02"
	if status, _, body := b.get(b.keys[Finance], file); status != http.StatusBadRequest || !strings.Contains(string(body), "format: the file has over 100000 rows") {
		t.Errorf("a file of %d rows: %d %.200s", maxFile+1, status, body)
	}
	must(t, b.db.Exec(t.Context(), "ALTER TABLE cells DELETE WHERE team = '0' SETTINGS mutations_sync = 1"))
	if status, header, body := b.get(b.keys[Finance], file); status != http.StatusOK || bytes.Count(body, []byte("\n")) != maxFile+1 || header.Get("Ledger-Total-Requests") != fmt.Sprint(maxFile) {
		t.Errorf("a file of %d rows: %d, %d lines", maxFile, status, bytes.Count(body, []byte("\n")))
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var got []string
	for next := ""; ; {
		page := ask[requestsAnswer](b, Compliance, "/v1/requests?limit=17"+next)
		for _, r := range page.Requests {
			got = append(got, r.ID)
		}
		if page.NextCursor == "" {
			break
		}
		if next == "" {
			b.publish(b.call(now.Add(-100*time.Minute-30*time.Second), 1)) // it would stand on a later page
		}
		next = "&cursor=" + page.NextCursor
	}
	var want []string
	for _, id := range slices.Backward(b.ids) {
		want = append(want, id.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %d calls %v,\nwant %d, newest first", len(got), got, len(want))
	}
	if list := ask[requestsAnswer](b, Finance, "/v1/requests?cost_status=unpriced&team=lending&team=cards"); len(list.Requests) != 6 || list.Requests[0].Cost != nil {
		t.Errorf("unpriced calls: %d", len(list.Requests))
	}

	// One call in full: the sum of its entries is its cost, and reading it is recorded.
	id := b.ids[0]
	b.publish(&event.Event{ID: event.NewID(event.At(now)), Source: "ledgerline/test", Type: event.RequestAdjusted, Subject: id, Time: event.At(now),
		Request: func() *event.Request {
			r := *b.call(now, 0).Request
			r.Attempts, r.Outcome.Served, r.Outcome.Client = nil, -1, "withheld"
			return &r
		}()})
	one := ask[requestAnswer](b, Compliance, "/v1/requests/"+id.String())
	var sum money.Sum
	for _, e := range one.Entries {
		line, err := money.ParseSum(*e.Cost)
		must(t, err)
		sum = sum.Plus(line)
	}
	if one.Cost == nil || sum.String() != *one.Cost || *one.Cost != "0.000025000000" || one.CostStatus != "exact" || len(one.Attempts) != 2 || len(one.Entries) != 3 {
		t.Errorf("cost %v, entries sum to %s: %+v", one.Cost, sum, one)
	}
	if team := one.Attribution["team"]; team != (dimension{"cards", "key", "advisory"}) || one.Decision.Why != "Because." || len(one.Decision.Rejected) != 1 {
		t.Errorf("%+v %+v", one.Attribution, one.Decision)
	}
	if len(one.Adjustments) != 1 || one.Adjustments[0].Outcome.Client != "withheld" {
		t.Errorf("adjustments %+v", one.Adjustments)
	}
	if status, _, body := b.get(b.keys[Compliance], "/v1/requests/"+event.NewID(event.At(now)).String()); status != http.StatusNotFound || !strings.Contains(string(body), "no_such_request") {
		t.Errorf("an unknown id: %d %s", status, body)
	}
	var reads []string
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	must(t, b.records.Drain(ctx, func(_ context.Context, batch []spool.Entry) error {
		for _, e := range batch {
			ev, err := event.Decode(e.Bytes)
			must(t, err)
			if ev.Audit != nil {
				reads = append(reads, ev.Audit.Action+" "+ev.Audit.Outcome)
				if ev.Audit.Outcome == "done" && ev.Audit.Object != id.String() {
					t.Errorf("recorded a read of %s", ev.Audit.Object)
				}
			}
		}
		if len(reads) == 2 {
			stop()
		}
		return nil
	}))
	if want := []string{"GET /v1/requests/{id} done", "GET /v1/requests/{id} refused"}; !slices.Equal(reads, want) {
		t.Errorf("recorded %q, want %q", reads, want)
	}
	must(t, func() error { return b.records.Close(t.Context()) }())
	if status, _, body := b.get(b.keys[Compliance], "/v1/requests/"+id.String()); status != http.StatusServiceUnavailable || strings.Contains(string(body), "Because") {
		t.Errorf("a read that cannot be recorded: %d %s", status, body)
	}
}

func testScopes(t *testing.T, b *bed) {
	for _, r := range routes {
		path := strings.NewReplacer("sources/:id", "sources/a%7Cb", ":id", b.ids[0].String()).Replace(r.path)
		for _, scope := range append([]Scope{""}, Scopes...) {
			want := http.StatusForbidden
			if scope == Admin || slices.Contains(r.scopes, scope) {
				want = http.StatusOK
			}
			if scope == "" {
				want = http.StatusUnauthorized
			}
			if got, _, body := b.get(b.keys[scope], path); got != want {
				t.Errorf("GET %s with %q: %d, want %d: %s", path, scope, got, want, body)
			}
		}
	}
	for _, key := range []string{b.keys[Admin] + "x", "lk_nobody_x", "x", "ll_devtools_x", strings.Replace(b.keys[Admin], "_", "-", 1)} {
		if got, header, _ := b.get(key, "/v1/showback"); got != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" {
			t.Errorf("with %q: %d", key, got)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got, _, _ := b.get("", path); got != http.StatusOK {
			t.Errorf("GET %s: %d", path, got)
		}
	}
	response, err := http.Post(b.server.URL+"/v1/showback", "text/plain", nil)
	must(t, err)
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("POST: %d %v", response.StatusCode, response.Header)
	}
}

func testBadParameters(t *testing.T, b *bed) {
	page := ask[showbackRows](b, Finance, "/v1/showback?group_by=team&limit=1")
	tampered := []byte(page.NextCursor)
	tampered[3] ^= 1
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	asked := question{"/v1/requests", month, month.AddDate(0, 1, 0), url.Values{}}
	forged := cursor{position: uint64(month.UnixMicro() - 1)}.text(asked) // a good sum, and a place before the period
	long := url.QueryEscape(strings.Repeat("x", 513))
	for path, parameter := range map[string]string{
		"/v1/showback?colour=red":                               "colour",
		"/v1/showback?tz=Mars/Olympus":                          "tz",
		"/v1/showback?tz=UTC&tz=UTC":                            "tz",
		"/v1/showback?from=yesterday":                           "from",
		"/v1/showback?from=2026-12-01&to=2026-11-01":            "from",
		"/v1/showback?from=2020-01-01&to=2026-11-01":            "from",
		"/v1/showback?limit=0":                                  "limit",
		"/v1/showback?limit=1001":                               "limit",
		"/v1/showback?as_of=-1":                                 "as_of",
		"/v1/showback?as_of=4611686018427387904":                "as_of",
		"/v1/showback?format=xml":                               "format",
		"/v1/showback?team=" + long:                             "team",
		"/v1/showback?group_by=team,team":                       "group_by",
		"/v1/showback?group_by=day,month":                       "group_by",
		"/v1/showback?cursor=xyz":                               "cursor",
		"/v1/showback?group_by=team&cursor=" + string(tampered): "cursor",
		"/v1/showback?group_by=model&cursor=" + page.NextCursor: "cursor",
		"/v1/requests?group_by=team":                            "group_by",
		"/v1/requests?status=abc":                               "status",
		"/v1/requests/not-an-id":                                "id",
		"/v1/requests/" + b.ids[0].String() + "?x=1":            "x",
		"/v1/unpriced?limit=0":                                  "limit",
		"/v1/unpriced?as_of=4611686018427387904":                "as_of",
		"/v1/unpriced?cursor=" + page.NextCursor:                "cursor",
		"/v1/unpriced?team=cards":                               "team",
		"/v1/requests?cursor=" + forged:                         "cursor",
		"/v1/showback?" + strings.Repeat("team=a&", 101) + "x":  "team",
	} {
		status, _, body := b.get(b.keys[Admin], path)
		var p Problem
		must(t, json.Unmarshal(body, &p))
		if status != http.StatusBadRequest || !strings.Contains(p.Detail, parameter) || p.Status != status {
			t.Errorf("GET %.80s: %d %s", path, status, body)
		}
	}
	// What is far away is empty: a time of the store ends in 2106 or 2149 and would wrap to today, an id can name the year 10889.
	for _, path := range []string{
		"/v1/showback?from=2162-01-01&to=2163-12-31", "/v1/showback?from=2162-01-01&to=2163-12-31&tz=Asia/Kathmandu&group_by=day",
		"/v1/showback?from=2194-01-01&to=2195-12-31&user=u_00112233445566aa", "/v1/showback?from=2000-01-01&to=2001-01-01",
		"/v1/requests?from=2162-01-01&to=2163-12-31", "/v1/unpriced?from=2162-01-01&to=2163-12-31", "/v1/requests?from=2199-12-31T23:59:59-14:00&to=2199-12-31T23:59:59-15:00",
	} {
		status, _, body := b.get(b.keys[Admin], path)
		if status != http.StatusOK || strings.Contains(string(body), b.ids[0].String()[:8]) || !strings.Contains(string(body), `":[],`) {
			t.Errorf("GET %s: %d %.300s", path, status, body)
		}
	}
	for _, id := range []string{"ffffffff-ffff-7fff-bfff-ffffffffffff", "00000000-0000-7000-8000-000000000000"} {
		if status, _, body := b.get(b.keys[Admin], "/v1/requests/"+id); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", id, status, body)
		}
	}
	if status, _, _ := b.get(b.keys[Admin], "/v1/showback?team="+strings.Repeat("x", maxQuery)); status != http.StatusRequestURITooLong {
		t.Errorf("a long query: %d", status)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets", "api-keys.json")
	one, err := OpenKeys(path)
	must(t, err)
	two, err := OpenKeys(path)
	must(t, err)
	text, err := one.Add("finance team", Finance)
	must(t, err)
	if key, ok := two.Find(text); !ok || !key.Has(Finance) || key.Has(Compliance) || key.Name != "finance team" {
		t.Errorf("another process finds %+v, %v", key, ok)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	file, err := os.ReadFile(path)
	must(t, err)
	if secret := text[strings.LastIndex(text, "_")+1:]; strings.Contains(string(file), secret) {
		t.Error("the secret is in the file")
	}
	next, err := two.Replace("finance team", Finance)
	must(t, err)
	if _, ok := one.Find(text); ok || one.Count() != 1 {
		t.Error("the replaced key still opens")
	}
	if _, ok := one.Find(next); !ok {
		t.Error("its successor does not")
	}
	third, err := one.Replace("finance team", Finance) // two changes in one tick of the clock
	must(t, err)
	fourth, err := one.Replace("finance team", Finance)
	must(t, err)
	if _, ok := two.Find(third); ok {
		t.Error("a key that was replaced at once still opens")
	}
	if _, ok := two.Find(fourth); !ok {
		t.Error("its successor does not")
	}
	var both sync.WaitGroup
	for _, k := range []*Keys{one, two} {
		both.Go(func() {
			for i := range 20 {
				if _, err := k.Add(fmt.Sprint("key ", i), Operator); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	if one.Count() != 41 || two.Count() != 41 {
		t.Errorf("two that add at once keep %d and %d keys, want 41", one.Count(), two.Count())
	}
	must(t, os.WriteFile(path, []byte(`[{"id":`), 0o600))
	if _, ok := two.Find(fourth); !ok {
		t.Error("a damaged file locks out the keys that were known")
	}
	if _, err := two.Add("x", Operator); err == nil {
		t.Error("a damaged file was written over")
	}
	for _, scope := range []Scope{"", "root"} {
		if _, err := one.Add("x", scope); err == nil {
			t.Errorf("scope %q was taken", scope)
		}
	}
	must(t, os.WriteFile(path, []byte(`[{"id":"x"}]`), 0o600))
	if _, err := OpenKeys(path); err == nil {
		t.Error("a damaged file was taken")
	}
	if _, err := New(Options{}); err == nil || errors.Is(err, io.EOF) {
		t.Error("an API without a recorder was made")
	}
}
