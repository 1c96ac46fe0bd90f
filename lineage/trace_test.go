package lineage

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// books is a store with events, as the ingest writes them.
type books struct {
	t   *testing.T
	db  *clickhouse.DB
	seq uint64
}

func newBooks(t *testing.T) *books {
	t.Helper()
	target := embeddedtest.ClickHouse(t)
	db, err := clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.Migrate(t.Context())
	must(t, err)
	return &books{t: t, db: db}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rules is the example's snapshot with its estate changed, stored.
func (b *books) rules(oldnew ...string) *governance.Snapshot {
	b.t.Helper()
	dir := b.t.TempDir()
	must(b.t, os.CopyFS(dir, example.Governance()))
	path := filepath.Join(dir, "estate.yaml")
	text, err := os.ReadFile(path)
	must(b.t, err)
	for i := 0; i < len(oldnew); i += 2 {
		if strings.Count(string(text), oldnew[i]) != 1 {
			b.t.Fatalf("the example's estate has %q %d times", oldnew[i], strings.Count(string(text), oldnew[i]))
		}
		text = []byte(strings.Replace(string(text), oldnew[i], oldnew[i+1], 1))
	}
	must(b.t, os.WriteFile(path, text, 0o600))
	s, err := governance.Load(dir)
	must(b.t, err)
	must(b.t, b.db.Insert(b.t.Context(), "snapshots", "", []clickhouse.Column{
		{Name: "digest", Data: [][32]byte{s.Digest}}, {Name: "archive", Data: [][]byte{s.Archive}}, {Name: "price_book", Data: []string{s.PriceBook}},
		{Name: "git_commit", Data: []string{""}}, {Name: "recorded_at", Data: []int64{1}},
	}))
	return s
}

// record stores an event and returns its recorded_seq.
func (b *books) record(ev *event.Event) uint64 {
	b.t.Helper()
	ev.Writer, ev.Seq, ev.Source = "proxy-1.test", b.seq+1, "ledgerline/proxy-1"
	return b.again(ev)
}

// again stores an event once more, as a second delivery does, and returns the
// recorded_seq of that.
func (b *books) again(ev *event.Event) uint64 {
	b.t.Helper()
	b.seq++
	raw, err := ev.Append(nil)
	must(b.t, err)
	class, digest := "", [32]byte{}
	var datasets []string
	if r := ev.Request; r != nil {
		class = r.RetentionClass
		hex.Decode(digest[:], []byte(r.Decision.Governance))
		for _, s := range r.Sources {
			datasets = append(datasets, s.Namespace+"|"+s.Name)
		}
		if ev.Type == event.RequestRecovered || r.Coverage == "partial" {
			datasets = append(datasets, "*")
		}
	}
	must(b.t, b.db.Insert(b.t.Context(), "events", "", []clickhouse.Column{
		{Name: "event_id", Data: [][16]byte{ev.ID}}, {Name: "type", Data: []string{string(ev.Type)}}, {Name: "subject", Data: [][16]byte{ev.Subject}},
		{Name: "time", Data: []int64{int64(ev.Time)}}, {Name: "retention_class", Data: []string{class}}, {Name: "writer", Data: []string{ev.Writer}},
		{Name: "seq", Data: []uint64{ev.Seq}}, {Name: "governance", Data: [][32]byte{digest}}, {Name: "datasets", Data: [][]string{datasets}},
		{Name: "raw", Data: [][]byte{raw}}, {Name: "digest", Data: [][32]byte{event.Digest(raw)}}, {Name: "topic", Data: []string{"events"}},
		{Name: "partition", Data: []uint32{0}}, {Name: "offset", Data: []uint64{b.seq}}, {Name: "recorded_seq", Data: []uint64{b.seq}},
	}))
	return b.seq
}

const latest = 1 << 60

func (b *books) trace(id event.ID) *Trace {
	b.t.Helper()
	trace, err := New(b.db).Trace(b.t.Context(), id, latest, DefaultLimits)
	must(b.t, err)
	return trace
}

// review is a call of kyc-review at a time.
func review(at time.Time, s *governance.Snapshot, sources ...event.Source) *event.Event {
	t := event.At(at)
	r := &event.Request{
		Call:    event.Call{Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "gpt-5.4", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Workload: "interactive"},
		Caller:  event.Caller{KeyID: "casemanager", UserRef: "u_a8b1f606f47aa9b0"},
		Sources: sources, Coverage: "declared",
		Decision: event.Decision{Rule: "kyc-primary", Why: "Use case kyc-review goes to openai-eu first.", Rejected: []event.Rejected{{Endpoint: "claude-us", Why: "is not in the EU"}}, Governance: s.Hex(), Commit: "3f1c2ab"},
		Attempts: []event.Attempt{
			{Endpoint: "openai-eu", Provider: "openai", Region: "eu", ModelRequested: "gpt-5.4", Status: 429, Error: "http", Start: t, UsageSource: event.UsageMissing},
			{Endpoint: "openai-us", Provider: "openai", Region: "us", ModelRequested: "gpt-5.4", ModelServed: "gpt-5.4-2026-08-01", Status: 200, Start: t, ProviderID: "req_7", Tier: "default", UsageRaw: "{}", UsageSource: event.UsageProvider},
		},
		Outcome: event.Outcome{Status: 200, Served: 1, Client: "completed", Upstream: "completed", AnswerBytes: 812, AnswerDigest: strings.Repeat("ab", 32)},
		Capture: "none", RetentionClass: "regulated",
	}
	for i, v := range []string{"group", "compliance", "financial-crime", "u_a8b1f606f47aa9b0", "case-manager", "kyc-review"} {
		*r.Attribution.All()[i] = event.Dimension{Value: v, Provenance: event.FromKey}
	}
	return &event.Event{ID: event.NewID(t), Type: event.RequestCompleted, Time: t, Request: r}
}

func snowflake(name, evidence string) event.Source {
	return event.Source{Namespace: "snowflake://example-eu1", Name: name, Evidence: evidence}
}

// The whole story of one answer, from the example's estate.
func TestTrace(t *testing.T) {
	b := newBooks(t)
	s := b.rules()
	file := snowflake("KYC.MART.CUSTOMER_FILE", "declared")
	file.Version, file.Role, file.Rows = "2026-11-20", "context", 12
	ev := review(noon, s, file, event.Source{Namespace: "s3://unknown", Name: "notes", Chunks: 2, Evidence: "declared"})
	seq := b.record(ev)
	trace := b.trace(ev.ID)

	if want := (Subject{RequestID: ev.ID.String(), Time: "2026-11-20T12:00:00Z", Type: "llm.request.completed", KeyID: "casemanager", User: "u_a8b1f606f47aa9b0",
		BusinessUnit: "group", Team: "compliance", Project: "financial-crime", Application: "case-manager", UseCase: "kyc-review", Operation: "POST /v1/chat/completions",
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", ProviderRequestID: "req_7", Status: 200, Client: "completed", AnswerBytes: 812, AnswerDigest: strings.Repeat("ab", 32),
		RetentionClass: "regulated"}); trace.Subject != want {
		t.Errorf("subject %+v\nwant %+v", trace.Subject, want)
	}
	if want := (Decision{ModelAsked: "gpt-5.4", ModelRequested: "gpt-5.4", ModelServed: "gpt-5.4-2026-08-01", Provider: "openai", Endpoint: "openai-us", Region: "us", Tier: "default",
		Fallback: true, Rule: "kyc-primary", Why: "Use case kyc-review goes to openai-eu first.", Rejected: []Rejected{{"claude-us", "is not in the EU"}},
		Attempts:   []Attempt{{"openai-eu", "gpt-5.4", 429, "http"}, {"openai-us", "gpt-5.4-2026-08-01", 200, ""}},
		Governance: s.Hex(), Commit: "3f1c2ab", PriceBook: s.PriceBook}); !reflect.DeepEqual(trace.Decision, want) {
		t.Errorf("decision %+v\nwant %+v", trace.Decision, want)
	}
	var nodes []string
	for _, n := range trace.Nodes {
		nodes = append(nodes, n.ID+" "+n.Owner)
	}
	if want := []string{"snowflake://example-eu1|KYC.MART.CUSTOMER_FILE head of customer data", "s3://unknown|notes ", "https://registers.example.com|/companies head of financial crime",
		"snowflake://example-eu1|KYC.STAGE.CUSTOMERS head of customer data", "snowflake://example-eu1|KYC.STAGE.DOCUMENTS head of customer data",
		"postgres://core.internal.example:5432|core.public.customers head of core banking", "s3://example-documents|kyc/scans "}; !reflect.DeepEqual(nodes, want) {
		t.Errorf("nodes %q\nwant %q", nodes, want)
	}
	if got, want := trace.Nodes[0], (Node{ID: "snowflake://example-eu1|KYC.MART.CUSTOMER_FILE", Namespace: "snowflake://example-eu1", Name: "KYC.MART.CUSTOMER_FILE",
		Listed: true, Kind: "table", Owner: "head of customer data", Classification: "confidential", Depth: 1}); got != want {
		t.Errorf("node %+v, want %+v", got, want)
	}
	if want := []Edge{
		{From: nodes0(trace, 0), To: Answer, Evidence: "declared", Version: "2026-11-20", Role: "context", Rows: 12},
		{From: nodes0(trace, 1), To: Answer, Evidence: "declared", Chunks: 2},
		{From: nodes0(trace, 2), To: Answer, Evidence: "mapped"},
		{From: nodes0(trace, 3), To: nodes0(trace, 0), Evidence: "mapped"},
		{From: nodes0(trace, 4), To: nodes0(trace, 0), Evidence: "mapped"},
		{From: nodes0(trace, 5), To: nodes0(trace, 3), Evidence: "mapped", ValidFrom: "2026-07-01"},
		{From: nodes0(trace, 5), To: nodes0(trace, 4), Evidence: "mapped"},
		{From: nodes0(trace, 6), To: nodes0(trace, 4), Evidence: "mapped"},
	}; !reflect.DeepEqual(trace.Edges, want) {
		t.Errorf("edges %+v\nwant %+v", trace.Edges, want)
	}
	c := trace.Completeness
	if c.Coverage != "declared" || c.Requirement != "required" || c.Truncated || c.Cycles != 0 || !reflect.DeepEqual(c.Flags, []string{FlagUnlisted}) ||
		!reflect.DeepEqual(c.UnknownSources, []string{"s3://unknown|notes"}) || !reflect.DeepEqual(c.UnknownUpstream, []string{"s3://example-documents|kyc/scans"}) || len(c.Notes) != 1 {
		t.Errorf("completeness %+v", c)
	}
	if o := trace.Event; len(o.Digest) != 64 || o.Topic != "events" || o.Offset != seq || o.Writer != "proxy-1.test" || o.Seq != "1" || trace.ElapsedUS <= 0 {
		t.Errorf("event %+v, elapsed %d", o, trace.ElapsedUS)
	}
}

func nodes0(t *Trace, i int) string { return t.Nodes[i].ID }

// A trace of a call says what was so at its time: by its own snapshot, not a
// later one, and by the days of the estate.
func TestTraceAsOfThen(t *testing.T) {
	b := newBooks(t)
	old := b.rules()
	later := b.rules("owner: head of core banking, classification: confidential}\n  - {namespace: \"postgres", "owner: head of the new core, classification: restricted}\n  - {namespace: \"postgres")
	june := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC)
	owner := func(ev *event.Event) (text string) {
		b.record(ev)
		for _, n := range b.trace(ev.ID).Nodes {
			if strings.HasPrefix(n.Name, "CORE.") || strings.HasPrefix(n.Name, "core.public.customers") {
				text += n.Name + ": " + n.Owner + "; "
			}
		}
		return text
	}
	stage := snowflake("KYC.STAGE.CUSTOMERS", "declared")
	for _, c := range []struct {
		at   time.Time
		s    *governance.Snapshot
		want string
	}{
		{june, old, "core.public.customers: head of core banking; CORE.PROD.CUSTOMER: head of core banking; "},
		{june, later, "core.public.customers: head of core banking; CORE.PROD.CUSTOMER: head of the new core; "},
		{june.Add(time.Second), old, "core.public.customers: head of core banking; "},
	} {
		// The mart of the map is made from both: depth tells which came through the stage table.
		ev := review(c.at, c.s, stage)
		got := owner(ev)
		if sorted(got) != sorted(c.want) {
			t.Errorf("at %s: %s, want %s", c.at, got, c.want)
		}
	}
}

func sorted(s string) string {
	parts := strings.Split(s, "; ")
	for i := range parts {
		for j := range i {
			if parts[i] < parts[j] {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
	}
	return strings.Join(parts, "; ")
}

// What is missing is said.
func TestTraceOfWhatIsMissing(t *testing.T) {
	b := newBooks(t)
	s := b.rules()
	lost := &governance.Snapshot{Digest: [32]byte{7}}
	for _, c := range []struct {
		name        string
		change      func(ev *event.Event)
		flags       []string
		nodes       int
		requirement string
	}{
		{"mapped only", func(ev *event.Event) {
			ev.Request.Sources, ev.Request.Coverage = []event.Source{snowflake("KYC.MART.CUSTOMER_FILE", "mapped")}, "mapped"
		}, []string{FlagMissing}, 6, "required"},
		{"from before the map", func(ev *event.Event) { ev.Request.Sources, ev.Request.Coverage = nil, "none" }, []string{FlagMissing}, 6, "required"},
		{"malformed", func(ev *event.Event) { ev.Request.Sources, ev.Request.Coverage = nil, "malformed" }, []string{FlagMalformed}, 6, "required"},
		{"partial", func(ev *event.Event) { ev.Request.Sources, ev.Request.Coverage = nil, "partial" }, []string{FlagPartial}, 6, "required"},
		{"none used", func(ev *event.Event) { ev.Request.Sources = nil }, []string{}, 6, "required"},
		{"recovered", func(ev *event.Event) {
			in := event.Intent{ID: ev.ID, Time: ev.Time, Call: ev.Request.Call, KeyID: "k", Attribution: ev.Request.Attribution, Endpoint: "openai-eu", Provider: "openai", Model: "gpt-5.4", RetentionClass: "regulated", Governance: s.Digest}
			*ev = *in.Recovered("ledgerline/proxy-1")
		}, []string{FlagRecovered}, 6, "required"},
		{"optional", func(ev *event.Event) {
			ev.Request.Sources, ev.Request.Coverage, ev.Request.Attribution.UseCase.Value = nil, "mapped", "incident-summary"
		}, []string{}, 1, "optional"},
		{"no such use case", func(ev *event.Event) {
			ev.Request.Sources, ev.Request.Coverage, ev.Request.Attribution.UseCase.Value = nil, "none", "gone"
		}, []string{}, 0, "unknown"},
		{"no snapshot", func(ev *event.Event) { ev.Request.Decision.Governance = lost.Hex() }, []string{FlagRules}, 1, "unknown"},
		{"no digest", func(ev *event.Event) { ev.Request.Decision.Governance = "?" }, []string{FlagRules}, 1, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := review(noon, s, snowflake("KYC.MART.CUSTOMER_FILE", "declared"))
			c.change(ev)
			b.record(ev)
			trace := b.trace(ev.ID)
			got := trace.Completeness
			if !reflect.DeepEqual(got.Flags, c.flags) || got.Requirement != c.requirement || len(trace.Nodes) != c.nodes || len(got.Notes) != len(c.flags) {
				t.Errorf("flags %v, requirement %s, %d nodes, notes %q", got.Flags, got.Requirement, len(trace.Nodes), got.Notes)
			}
		})
	}
}

// Adjusted events say how the call ended; the latest holds.
func TestTraceOfAnAdjustedCall(t *testing.T) {
	b := newBooks(t)
	ev := review(noon, b.rules(), snowflake("KYC.MART.CUSTOMER_FILE", "declared"))
	b.record(ev)
	adjusted := func(after time.Duration, change func(r *event.Request)) uint64 {
		a := review(noon.Add(after), &governance.Snapshot{})
		a.Type, a.Subject = event.RequestAdjusted, ev.ID
		a.Request.Sources, a.Request.Coverage = nil, "none"
		change(a.Request)
		return b.record(a)
	}
	first := adjusted(2*time.Hour, func(r *event.Request) {
		r.Attempts = nil
		r.Outcome.Served, r.Outcome.Client = -1, "withheld"
	})
	adjusted(time.Hour, func(r *event.Request) {
		r.Attempts = r.Attempts[1:]
		r.Attempts[0].ModelServed, r.Outcome.Served, r.Outcome.Client = "gpt-5.4-batch", 0, "left"
	})
	trace := b.trace(ev.ID)
	if d := trace.Decision; d.ModelServed != "gpt-5.4-batch" || d.Fallback || len(d.Attempts) != 1 || trace.Subject.Client != "withheld" || trace.Subject.Adjusted != 2 || len(trace.Nodes) < 5 {
		t.Errorf("decision %+v, subject %+v", d, trace.Subject)
	}
	earlier, err := New(b.db).Trace(t.Context(), ev.ID, first, DefaultLimits)
	must(t, err)
	if d := earlier.Decision; d.ModelServed != "gpt-5.4-2026-08-01" || !d.Fallback || earlier.Subject.Client != "withheld" || earlier.Subject.Adjusted != 1 {
		t.Errorf("as of before: decision %+v, subject %+v", d, earlier.Subject)
	}
}

func TestTraceOfNothing(t *testing.T) {
	b := newBooks(t)
	s := b.rules()
	ev := review(noon, s)
	seq := b.record(ev)
	a := review(noon.Add(time.Hour), s)
	a.Type, a.Subject = event.RequestAdjusted, ev.ID
	b.record(a)
	read := &event.Event{ID: event.NewID(event.At(noon)), Type: event.AuditRead, Time: event.At(noon), Audit: &event.Audit{Actor: "a", Action: "b", Outcome: "done"}}
	b.record(read)
	for name, c := range map[string]struct {
		id   event.ID
		asOf uint64
	}{"an id that nobody had": {event.NewID(event.At(noon)), latest}, "not recorded yet": {ev.ID, seq - 1}, "an adjusted event": {a.ID, latest}, "a read": {read.ID, latest}} {
		if trace, err := New(b.db).Trace(t.Context(), c.id, c.asOf, DefaultLimits); !errors.Is(err, ErrNotFound) || trace != nil {
			t.Errorf("%s: %+v, %v", name, trace, err)
		}
	}
}
