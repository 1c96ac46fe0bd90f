// Package lineage says where an answer came from: which datasets fed its
// prompt, how that is known, who owns them and what they were made from at that
// time, back to the first tables; and the other way, which answers a dataset
// has fed.
//
// Both follow from the events and from the governance snapshot that each event
// names, so they say what was known then and say it again the same way. What
// is not known is told as such.
package lineage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/sql"
)

// Store reads the tables; *clickhouse.DB is one.
type Store interface {
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
}

// ErrNotFound says that no call of that id is in the books.
var ErrNotFound = errors.New("no such request in the books")

// Tracer answers from a store. It is safe for concurrent use and keeps the
// snapshots that it has read.
type Tracer struct {
	store Store

	mu    sync.Mutex
	known map[[32]byte]*rules
}

// New is a tracer of the store.
func New(store Store) *Tracer {
	return &Tracer{store: store, known: map[[32]byte]*rules{}}
}

// Trace is an answer with all that is known of where it came from. Times are
// RFC 3339 in UTC.
type Trace struct {
	Subject      Subject      `json:"subject"`
	Decision     Decision     `json:"decision"`
	Nodes        []Node       `json:"nodes"`
	Edges        []Edge       `json:"edges"`
	Completeness Completeness `json:"completeness"`
	Event        Origin       `json:"event"`
	ElapsedUS    int64        `json:"elapsed_us"` // what finding all this took
}

// Subject is who asked, when, and how the call ended.
type Subject struct {
	RequestID         string `json:"request_id"`
	Time              string `json:"time"`
	Type              string `json:"type"`
	KeyID             string `json:"key_id"`
	User              string `json:"user"` // keyed reference; empty: not known
	BusinessUnit      string `json:"business_unit"`
	Team              string `json:"team"`
	Project           string `json:"project"`
	Application       string `json:"application"`
	UseCase           string `json:"use_case"`
	Operation         string `json:"operation"`
	TraceID           string `json:"trace_id"`
	ProviderRequestID string `json:"provider_request_id"`
	Status            int    `json:"status"`
	Code              string `json:"code"`
	Client            string `json:"client"`
	AnswerBytes       int64  `json:"answer_bytes"`
	AnswerDigest      string `json:"answer_digest"`
	RetentionClass    string `json:"retention_class"`
	Adjusted          int    `json:"adjusted"` // events that said more of the call later
}

// Decision is which model answered, and why that one.
type Decision struct {
	ModelAsked     string     `json:"model_asked"`
	ModelRequested string     `json:"model_requested"` // of the provider; empty when none served
	ModelServed    string     `json:"model_served"`    // as the answer named it; empty: it did not
	Provider       string     `json:"provider"`
	Endpoint       string     `json:"endpoint"`
	Region         string     `json:"region"`
	Tier           string     `json:"tier"`
	Fallback       bool       `json:"fallback"` // not the first endpoint that was tried
	Rule           string     `json:"rule"`
	Why            string     `json:"why"`
	Rejected       []Rejected `json:"rejected"`
	Attempts       []Attempt  `json:"attempts"`
	Governance     string     `json:"governance"` // digest of the snapshot
	Commit         string     `json:"commit"`
	PriceBook      string     `json:"price_book"`
}

// Rejected is an endpoint that was not chosen.
type Rejected struct {
	Endpoint string `json:"endpoint"`
	Why      string `json:"why"`
}

// Attempt is a call upstream.
type Attempt struct {
	Endpoint string `json:"endpoint"`
	Model    string `json:"model"` // served, or else requested
	Status   int    `json:"status"`
	Error    string `json:"error"`
}

// Completeness is what the trace does not know.
type Completeness struct {
	Coverage        string   `json:"coverage"`    // of the event, SPEC.md E18
	Requirement     string   `json:"requirement"` // lineage of the use case then: required, optional, none; unknown
	Flags           []string `json:"flags"`       // what an auditor should look at, of Flags
	Truncated       bool     `json:"truncated"`
	TruncatedBy     []string `json:"truncated_by"`     // depth, nodes, edges
	Cycles          int      `json:"cycles"`           // groups of datasets that feed each other
	UnknownSources  []string `json:"unknown_sources"`  // fed the prompt; nobody is known to own them, nor what they were made from
	UnknownUpstream []string `json:"unknown_upstream"` // the same of datasets further up
	Notes           []string `json:"notes"`
}

// What Completeness.Flags may hold.
const (
	FlagMissing   = "missing"   // the call had to say its sources and did not
	FlagMalformed = "malformed" // it said them so that they could not be read
	FlagPartial   = "partial"   // more were known than the event had room for
	FlagRecovered = "recovered" // what it said was lost in a crash
	FlagUnlisted  = "unlisted"  // it used a dataset that the estate does not know
	FlagRules     = "rules"     // the snapshot that it names is not there, or cannot be read
)

// Origin is where the event stands, so that anybody can find its exact bytes.
type Origin struct {
	Digest    string `json:"digest" ch:"digest_hex"`
	Writer    string `json:"writer" ch:"writer"`
	Seq       string `json:"seq" ch:"seq_text"`
	Topic     string `json:"topic" ch:"topic"`
	Partition uint32 `json:"partition" ch:"partition"`
	Offset    uint64 `json:"offset" ch:"offset"`
	Raw       string `json:"-" ch:"raw"`
}

// Trace traces the answer to a call, as of a recorded_seq. It fails with
// ErrNotFound when there is none then.
func (t *Tracer) Trace(ctx context.Context, id event.ID, asOf uint64, limits Limits) (*Trace, error) {
	began := time.Now()
	// The id tells its millisecond, which is where the tables are sorted.
	args := []clickhouse.Arg{
		clickhouse.Param("id", id.String()), clickhouse.Param("as_of", asOf),
		clickhouse.Param("from", id.Milli()*1000), clickhouse.Param("to", id.Milli()*1000+1000),
	}
	var origins []Origin
	if err := t.store.Select(ctx, &origins, sql.Query("requests_event"), args...); err != nil {
		return nil, fmt.Errorf("find the event of a request: %w", err)
	}
	if len(origins) == 0 {
		return nil, ErrNotFound
	}
	call, err := event.Decode([]byte(origins[0].Raw))
	if err != nil {
		return nil, fmt.Errorf("decode a stored event: %w", err)
	}
	if call.Request == nil || call.Type == event.RequestAdjusted {
		return nil, fmt.Errorf("%w: it is the id of another kind of event", ErrNotFound)
	}
	adjusted, err := t.adjust(ctx, call.Request, args)
	if err != nil {
		return nil, err
	}
	r := call.Request
	rules, why, err := t.rules(ctx, r.Decision.Governance)
	if err != nil {
		return nil, err
	}
	sources := withMap(r.Sources, rules, r.Attribution.UseCase.Value)
	var listed estate = unknown{}
	if rules != nil {
		listed = rules
	}
	g := upstream(listed, sources, call.Time.Time(), limits)
	trace := &Trace{
		Subject: subject(call, adjusted), Decision: decision(r, rules), Nodes: append([]Node{}, g.nodes...), Edges: append([]Edge{}, g.edges...),
		Completeness: completeness(call, rules, g), Event: origins[0],
	}
	if why != "" {
		trace.Completeness.Notes = append(trace.Completeness.Notes, why)
	}
	trace.ElapsedUS = time.Since(began).Microseconds()
	return trace, nil
}

// adjust lets the adjusted events say how the call ended (SPEC.md E17), and
// counts them.
func (t *Tracer) adjust(ctx context.Context, r *event.Request, args []clickhouse.Arg) (int, error) {
	var rows []struct {
		Raw string `ch:"raw"`
	}
	if err := t.store.Select(ctx, &rows, sql.Query("requests_adjustments"), args...); err != nil {
		return 0, fmt.Errorf("find the adjustments of a request: %w", err)
	}
	all := make([]*event.Event, len(rows))
	for i, row := range rows {
		var err error
		if all[i], err = event.Decode([]byte(row.Raw)); err != nil {
			return 0, fmt.Errorf("decode a stored event: %w", err)
		}
	}
	slices.SortFunc(all, func(a, b *event.Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for _, a := range all {
		served := r.Outcome.Served
		r.Outcome = a.Request.Outcome
		if len(a.Request.Attempts) == 0 {
			r.Outcome.Served = served
			continue
		}
		r.Attempts, r.Attribution = a.Request.Attempts, a.Request.Attribution
	}
	return len(all), nil
}

// maxSnapshots is how many snapshots are kept in memory.
const maxSnapshots = 64

// rules is the snapshot with the digest, or nil and why there is none.
func (t *Tracer) rules(ctx context.Context, digest string) (r *rules, why string, err error) {
	var key [32]byte
	if n, err := hex.Decode(key[:], []byte(digest)); err != nil || n != len(key) {
		return nil, "The event names no governance snapshot.", nil
	}
	t.mu.Lock()
	r = t.known[key]
	t.mu.Unlock()
	if r != nil {
		return r, "", nil
	}
	var rows []struct {
		Archive string `ch:"archive"`
	}
	if err := t.store.Select(ctx, &rows, sql.Query("ingest_snapshot"), clickhouse.Param("digest", key)); err != nil {
		return nil, "", fmt.Errorf("find a governance snapshot: %w", err)
	}
	if len(rows) == 0 {
		return nil, "The governance snapshot that the event names is not in the store.", nil
	}
	s, err := governance.Parse([]byte(rows[0].Archive))
	if err != nil || s.Digest != key {
		return nil, "The governance snapshot that the event names cannot be read by this version.", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) == maxSnapshots {
		clear(t.known)
	}
	r = rulesOf(s)
	t.known[key] = r
	return r, "", nil
}

// withMap is the sources of a call with those that the map of its use case
// lists besides: an event from before there was a map in it, one that had no
// room, and one that was recovered lack them.
func withMap(sources []event.Source, rules *rules, useCase string) []event.Source {
	if rules == nil {
		return sources
	}
	u, ok := rules.UseCase(useCase)
	if !ok {
		return sources
	}
	named := make(map[governance.DatasetID]bool, len(sources))
	for i := range sources {
		named[governance.DatasetID{Namespace: sources[i].Namespace, Name: sources[i].Name}] = true
	}
	sources = slices.Clip(sources)
	for _, m := range u.Sources {
		if id := (governance.DatasetID{Namespace: m.Namespace, Name: m.Name}); !named[id] {
			named[id] = true
			sources = append(sources, event.Source{Namespace: m.Namespace, Name: m.Name, Evidence: "mapped"})
		}
	}
	return sources
}

func subject(call *event.Event, adjusted int) Subject {
	r := call.Request
	a, o := &r.Attribution, &r.Outcome
	s := Subject{
		RequestID: call.ID.String(), Time: call.Time.Time().Format(time.RFC3339Nano), Type: string(call.Type), KeyID: r.Caller.KeyID, User: a.User.Value,
		BusinessUnit: a.BusinessUnit.Value, Team: a.Team.Value, Project: a.Project.Value, Application: a.Application.Value, UseCase: a.UseCase.Value,
		Operation: r.Call.Operation, TraceID: r.Call.TraceID, Status: o.Status, Code: o.Code, Client: o.Client,
		AnswerBytes: o.AnswerBytes, AnswerDigest: o.AnswerDigest, RetentionClass: r.RetentionClass, Adjusted: adjusted,
	}
	if o.Served >= 0 && o.Served < len(r.Attempts) {
		s.ProviderRequestID = r.Attempts[o.Served].ProviderID
	}
	return s
}

func decision(r *event.Request, rules *rules) Decision {
	d := Decision{
		ModelAsked: r.Call.Model, Rule: r.Decision.Rule, Why: r.Decision.Why, Governance: r.Decision.Governance, Commit: r.Decision.Commit,
		Rejected: []Rejected{}, Attempts: []Attempt{},
	}
	if served := r.Outcome.Served; served >= 0 && served < len(r.Attempts) {
		a := &r.Attempts[served]
		d.ModelRequested, d.ModelServed, d.Provider, d.Endpoint, d.Region, d.Tier = a.ModelRequested, a.ModelServed, a.Provider, a.Endpoint, a.Region, a.Tier
		d.Fallback = a.Endpoint != r.Attempts[0].Endpoint
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		d.Attempts = append(d.Attempts, Attempt{a.Endpoint, cmp.Or(a.ModelServed, a.ModelRequested), a.Status, a.Error})
	}
	for _, x := range r.Decision.Rejected {
		d.Rejected = append(d.Rejected, Rejected(x))
	}
	if rules != nil {
		d.PriceBook = rules.PriceBook
	}
	return d
}

func completeness(call *event.Event, rules *rules, g *graph) Completeness {
	r := call.Request
	c := Completeness{
		Coverage: r.Coverage, Requirement: "unknown", Truncated: len(g.truncatedBy) > 0, TruncatedBy: append([]string{}, g.truncatedBy...), Cycles: g.cycles,
		Flags: []string{}, UnknownSources: []string{}, UnknownUpstream: []string{}, Notes: []string{},
	}
	flag := func(name, note string) {
		c.Flags = append(c.Flags, name)
		c.Notes = append(c.Notes, note)
	}
	mapped := map[governance.DatasetID]bool{}
	if rules == nil {
		c.Flags = append(c.Flags, FlagRules)
	} else if u, ok := rules.UseCase(r.Attribution.UseCase.Value); ok {
		c.Requirement = u.Lineage
		for _, m := range u.Sources {
			mapped[governance.DatasetID{Namespace: m.Namespace, Name: m.Name}] = true
		}
	}
	switch {
	case call.Type == event.RequestRecovered:
		flag(FlagRecovered, "The outcome was lost in a crash, and with it what the call declared; only the map of the use case is known.")
	case r.Coverage == "malformed":
		flag(FlagMalformed, "The call sent a list of sources that could not be read; which datasets it used is not known.")
	case r.Coverage == "partial":
		flag(FlagPartial, "More sources were known than the event had room for; those of the map are added again here.")
	case c.Requirement == "required" && (r.Coverage == "none" || r.Coverage == "mapped"):
		flag(FlagMissing, "The use case requires that a call says its sources, and this one did not.")
	}
	shadow := false
	for _, n := range g.nodes {
		switch {
		case n.Listed:
		case n.Depth == 1:
			c.UnknownSources = append(c.UnknownSources, n.ID)
			shadow = shadow || !mapped[governance.DatasetID{Namespace: n.Namespace, Name: n.Name}]
		default:
			c.UnknownUpstream = append(c.UnknownUpstream, n.ID)
		}
	}
	if shadow && rules != nil {
		flag(FlagUnlisted, "It used datasets that the estate does not know, neither by themselves nor for the use case.")
	}
	return c
}
