package lineage

import (
	"context"
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

// maxRows is the most events that are read at once.
const maxRows = 10_000

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
	for ask := limit + 1; ; ask = min(4*ask, maxRows) { // some of them may not count
		var rows []struct {
			At  int64  `ch:"at"`
			ID  string `ch:"id"`
			Raw string `ch:"raw"`
		}
		err := t.store.Select(ctx, &rows, sql.Query("sources_outputs"), clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("before", int64(after.At)),
			clickhouse.Param("before_id", after.ID.String()), clickhouse.Param("as_of", asOf), clickhouse.Param("datasets", datasets), clickhouse.Param("limit", uint64(ask)))
		if err != nil {
			return nil, false, fmt.Errorf("list the answers that a dataset fed: %w", err)
		}
		for _, row := range rows {
			call, err := event.Decode([]byte(row.Raw))
			if err != nil {
				return nil, false, fmt.Errorf("decode a stored event: %w", err)
			}
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
			after = Place{call.Time, call.ID}
		}
		if len(rows) < ask {
			return list, false, nil
		}
	}
}

// mayReach is every dataset that the one may have fed, at any time and by any
// of the snapshots that calls of the period name, itself included; and '*',
// which marks calls that may have had other sources than their events say.
func (t *Tracer) mayReach(ctx context.Context, id governance.DatasetID, from, to time.Time, asOf uint64) ([]string, error) {
	var named []struct {
		Governance string `ch:"governance"`
	}
	err := t.store.Select(ctx, &named, sql.Query("sources_rules"), clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("to", to.UnixMicro()), clickhouse.Param("as_of", asOf))
	if err != nil {
		return nil, fmt.Errorf("list the governance snapshots of a period: %w", err)
	}
	reached := []string{id.String(), "*"}
	for _, n := range named {
		r, _, err := t.rules(ctx, fmt.Sprintf("%x", n.Governance))
		if err != nil {
			return nil, err
		}
		if r == nil { // what it does not tell cannot be followed; the direct sources can
			continue
		}
		for fed := range r.downstream(id, nil) {
			reached = append(reached, fed.String())
		}
	}
	slices.Sort(reached)
	return slices.Compact(reached), nil
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
