package lineage

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/sql"
)

// Output is an answer that a dataset fed, directly or through others.
type Output struct {
	RequestID   string   `json:"request_id"`
	Time        string   `json:"time"`
	Type        string   `json:"type"`
	KeyID       string   `json:"key_id"`
	User        string   `json:"user"`
	Team        string   `json:"team"`
	Application string   `json:"application"`
	UseCase     string   `json:"use_case"`
	Status      int      `json:"status"`
	Client      string   `json:"client"`
	Evidence    string   `json:"evidence"` // of the source that it came through; "mapped": whether the call used it is not known
	Via         []string `json:"via"`      // ids from the dataset to the source of the answer; only the dataset itself: directly
	id          event.ID
	at          event.Micros
}

// Place is where a list of outputs goes on: after the answer of a time and id,
// newest first.
type Place struct {
	At event.Micros
	ID event.ID
}

// Place is the place after the output.
func (o *Output) Place() Place { return Place{o.at, o.id} }

// Outputs lists the answers of [from, to) that a dataset fed, newest first, the
// first limit of them after a place (or after the end: the zero Place), as of a
// recorded_seq. What was upstream of what is told by the snapshot that each
// call names, at the call's time. more says that there are further ones.
func (t *Tracer) Outputs(ctx context.Context, id governance.DatasetID, from, to time.Time, after Place, limit int, asOf uint64) (list []Output, more bool, err error) {
	if after == (Place{}) {
		after.At = event.At(to)
	}
	datasets, err := t.mayReach(ctx, id, from, to, asOf)
	if err != nil {
		return nil, false, err
	}
	walks := map[walkKey]map[governance.DatasetID]step{}
	// It walks back in windows of time, each so many times as wide as the one before, so that what a page costs depends on its answers
	// and the emptiest period takes a few steps.
	width := firstWindow.Microseconds()
	for low, ask := max(from.UnixMicro(), int64(after.At)-width), limit+1; ; ask = min(2*ask, maxRows) { // some of them may not count
		page, err := t.page(ctx, low, after, datasets, asOf, ask)
		if err != nil {
			return nil, false, err
		}
		calls, err := t.events(ctx, page)
		if err != nil {
			return nil, false, err
		}
		for _, call := range calls {
			o, ok, err := t.output(ctx, call, id, walks)
			if err != nil {
				return nil, false, err
			}
			if ok && len(list) == limit {
				return list, true, nil
			}
			if ok {
				list = append(list, o)
			}
		}
		switch {
		case len(page) == ask: // there may be more in this window
			after = page[ask-1]
		case low <= from.UnixMicro():
			return list, false, nil
		default:
			after = Place{At: event.Micros(low)} // exclusive: no id is before the zero one
			width *= windowGrowth
			low = max(from.UnixMicro(), low-width)
		}
	}
}

const (
	firstWindow  = 15 * time.Minute
	windowGrowth = 8
	maxRows      = 4096 // events that are read at once
)

// page is the places of the first calls after a place that any of the datasets may have fed, none before low.
func (t *Tracer) page(ctx context.Context, low int64, after Place, datasets []string, asOf uint64, limit int) ([]Place, error) {
	var rows []struct {
		At int64  `ch:"at"`
		ID string `ch:"id"`
	}
	err := t.store.Select(ctx, &rows, sql.Query("sources_outputs"), clickhouse.Param("from", low), clickhouse.Param("before", int64(after.At)),
		clickhouse.Param("before_id", after.ID.String()), clickhouse.Param("as_of", asOf), clickhouse.Param("datasets", datasets), clickhouse.Param("limit", uint64(limit)))
	if err != nil {
		return nil, fmt.Errorf("list the answers that a dataset fed: %w", err)
	}
	places := make([]Place, len(rows))
	for i, r := range rows {
		places[i] = Place{event.Micros(r.At), event.ID([]byte(r.ID))}
	}
	return places, nil
}

// events are the events of the places, newest first, each once.
func (t *Tracer) events(ctx context.Context, places []Place) ([]*event.Event, error) {
	if len(places) == 0 {
		return nil, nil
	}
	times, ids := make([]int64, len(places)), make([][16]byte, len(places))
	for i, p := range places {
		times[i], ids[i] = int64(p.At), p.ID
	}
	var rows []struct {
		Raw string `ch:"raw"`
	}
	err := t.store.Select(ctx, &rows, sql.Query("sources_events"), clickhouse.Table("page", []clickhouse.Column{
		{Name: "time", Type: "DateTime64(6, 'UTC')", Data: times}, {Name: "event_id", Type: "UUID", Data: ids},
	}))
	if err != nil {
		return nil, fmt.Errorf("read the events of a page: %w", err)
	}
	calls := make([]*event.Event, len(rows))
	for i, r := range rows {
		if calls[i], err = event.Decode([]byte(r.Raw)); err != nil {
			return nil, fmt.Errorf("decode a stored event: %w", err)
		}
	}
	return calls, nil
}

// mayReach is every dataset that the one may have fed, at any time and by any
// of the snapshots that calls of the period name, itself included; and '*',
// which marks calls that may have had other sources than their events say.
func (t *Tracer) mayReach(ctx context.Context, id governance.DatasetID, from, to time.Time, asOf uint64) ([]string, error) {
	reached := []string{id.String(), "*"}
	add := func(r *rules) {
		for fed := range r.downstream(id, nil) {
			reached = append(reached, fed.String())
		}
	}
	// Those in memory may be of other periods: then they reach too much, which output finds out.
	known := [][32]byte{{}} // of events that name none
	t.mu.Lock()
	for digest, r := range t.known {
		known = append(known, digest)
		add(r)
	}
	t.mu.Unlock()
	for {
		var named []struct {
			Governance string `ch:"governance"`
		}
		err := t.store.Select(ctx, &named, sql.Query("sources_rules"), clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("to", to.UnixMicro()),
			clickhouse.Param("as_of", asOf), clickhouse.Table("known", []clickhouse.Column{{Name: "governance", Type: "FixedString(32)", Data: known}}))
		if err != nil {
			return nil, fmt.Errorf("list the governance snapshots of a period: %w", err)
		}
		if len(named) == 0 {
			slices.Sort(reached)
			return slices.Compact(reached), nil
		}
		digest := [32]byte([]byte(named[0].Governance))
		r, _, err := t.rules(ctx, hex.EncodeToString(digest[:]))
		if err != nil {
			return nil, err
		}
		if r != nil { // what a lost one does not tell cannot be followed; the direct sources can
			add(r)
		}
		known = append(known, digest)
	}
}

// walkKey is what a walk downstream depends on besides where it begins: the
// estate's times are days.
type walkKey struct {
	rules string
	day   int64
}

// output says whether and how a dataset fed the answer of a call.
func (t *Tracer) output(ctx context.Context, call *event.Event, id governance.DatasetID, walks map[walkKey]map[governance.DatasetID]step) (o Output, ok bool, err error) {
	r := call.Request
	rules, _, err := t.rules(ctx, r.Decision.Governance)
	if err != nil {
		return o, false, err
	}
	at := call.Time.Time()
	key := walkKey{r.Decision.Governance, at.Unix() / (24 * 60 * 60)}
	reached := walks[key]
	if reached == nil {
		reached = map[governance.DatasetID]step{id: {}}
		if rules != nil {
			reached = rules.downstream(id, &at)
		}
		walks[key] = reached
	}
	var by *event.Source
	sources := withMap(r.Sources, rules, r.Attribution.UseCase.Value)
	for i := range sources {
		s := &sources[i]
		step, fed := reached[governance.DatasetID{Namespace: s.Namespace, Name: s.Name}]
		if !fed {
			continue
		}
		// The stronger evidence, then the shorter way.
		if by == nil || by.Evidence == "mapped" && s.Evidence != "mapped" ||
			(by.Evidence == "mapped") == (s.Evidence == "mapped") && step.depth < reached[governance.DatasetID{Namespace: by.Namespace, Name: by.Name}].depth {
			by = s
		}
	}
	if by == nil {
		return o, false, nil
	}
	s := subject(call, 0)
	o = Output{RequestID: s.RequestID, Time: s.Time, Type: s.Type, KeyID: s.KeyID, User: s.User, Team: s.Team, Application: s.Application, UseCase: s.UseCase,
		Status: s.Status, Client: s.Client, Evidence: by.Evidence, id: call.ID, at: call.Time}
	for d := (governance.DatasetID{Namespace: by.Namespace, Name: by.Name}); ; d = reached[d].from {
		o.Via = append(o.Via, d.String())
		if d == id {
			break
		}
	}
	slices.Reverse(o.Via)
	return o, true, nil
}

// step is how a walk downstream came to a dataset.
type step struct {
	from  governance.DatasetID
	depth int
}

// feeds is an edge of the estate seen from above.
type feeds struct {
	to       governance.DatasetID
	upstream *governance.Upstream
}

// rules are a snapshot with its edges in both directions.
type rules struct {
	*governance.Snapshot
	feeds map[governance.DatasetID][]feeds
}

func rulesOf(s *governance.Snapshot) *rules {
	r := &rules{s, map[governance.DatasetID][]feeds{}}
	for _, d := range s.Datasets() {
		for i := range d.Upstream {
			u := &d.Upstream[i]
			r.feeds[u.DatasetID] = append(r.feeds[u.DatasetID], feeds{d.DatasetID, u})
		}
	}
	return r
}

// downstream is every dataset that one feeds at a time, or at any time when
// that is nil, and itself.
func (r *rules) downstream(id governance.DatasetID, at *time.Time) map[governance.DatasetID]step {
	reached := map[governance.DatasetID]step{id: {}}
	for open := []governance.DatasetID{id}; len(open) > 0; open = open[1:] {
		for _, f := range r.feeds[open[0]] {
			if _, met := reached[f.to]; !met && (at == nil || f.upstream.Holds(*at)) {
				reached[f.to] = step{open[0], reached[open[0]].depth + 1}
				open = append(open, f.to)
			}
		}
	}
	return reached
}
