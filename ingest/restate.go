package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// RestateOptions say which calls are to be priced and attributed under which rules.
type RestateOptions struct {
	DB       Store
	Topic    string    // of the events
	From, To time.Time // the calls admitted in [From, To)
	Snapshot *governance.Snapshot
	Reason   string // kept with the restatement
	DryRun   bool   // tell the effect and change nothing
	Now      func() time.Time
	Logger   *slog.Logger

	rows int // entries posted with one insert; 0: 20,000
}

// Effect is what a correction does to the books.
type Effect struct {
	Number  uint32 // of the restatement; 0: none was needed
	Resumed bool   // an interrupted one was ended
	DryRun  bool
	Events  int // looked at
	Changed int // of these
	Entries int // reversals and re-entries
	Teams   []TeamEffect
}

// TeamEffect is the cost of one team's calls before and after: of all that
// were looked at, priced entries only.
type TeamEffect struct {
	BusinessUnit, Team        string
	Before, After, Difference money.Sum
	UnpricedBefore            int // entries without a cost
	UnpricedAfter             int
}

// Restate derives the calls of a period again under other rules and posts the
// difference to the ledger: a reversal of each entry that is not right any
// more and a re-entry, in the period of now. The rows of requests follow. It
// does nothing when nothing differs. It can be run again after a crash, and
// must be then, with the same period and rules. It reads a day at a time and
// needs memory for some ten thousand entries.
func Restate(ctx context.Context, o RestateOptions) (Effect, error) {
	if !o.From.Before(o.To) || o.Snapshot == nil {
		return Effect{}, errors.New("restate: a period and a snapshot are needed")
	}
	c := &correction{
		kind: kindRestate, from: event.At(o.From), to: event.At(o.To), governance: o.Snapshot.Digest, reason: o.Reason, store: o.DB, now: o.Now,
	}
	resumed, err := c.begin(ctx, o.Topic)
	if err != nil {
		return Effect{}, fmt.Errorf("restate: %w", err)
	}
	r := &restater{RestateOptions: o, correction: c, teams: map[[2]string]*TeamEffect{}}
	r.effect = Effect{Resumed: resumed, DryRun: o.DryRun}
	if !o.DryRun {
		if err := newSnapshots(Options{DB: o.DB, Now: o.Now, Logger: o.Logger}).insert(ctx, o.Snapshot, o.Snapshot.Commit); err != nil {
			return Effect{}, fmt.Errorf("restate: %w", err)
		}
	}
	if err := r.run(ctx); err != nil {
		return r.effect, fmt.Errorf("restatement %d: %w", c.number, err)
	}
	return r.effect, nil
}

type restater struct {
	RestateOptions
	*correction
	effect   Effect
	teams    map[[2]string]*TeamEffect
	charges  chargeColumns
	requests requestColumns
}

func (r *restater) run(ctx context.Context) error {
	all, err := days(ctx, r.DB, r.From, r.To)
	if err != nil {
		return err
	}
	for _, day := range all {
		if err := r.day(ctx, day); err != nil {
			return fmt.Errorf("%s: %w", day.Format(time.DateOnly), err)
		}
	}
	if err := r.post(ctx); err != nil {
		return err
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.teams), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		t := r.teams[key]
		t.Difference = t.After.Minus(t.Before)
		r.effect.Teams = append(r.effect.Teams, *t)
	}
	if r.DryRun || r.seq == 0 {
		return nil
	}
	r.effect.Number = r.number
	return r.close(ctx)
}

func (r *restater) day(ctx context.Context, day time.Time) error {
	from, to := clamp(day, r.From, r.To)
	args := []clickhouse.Arg{clickhouse.Param("from", from), clickhouse.Param("to", to), clickhouse.Param("through", r.through), clickhouse.Param("restatement", r.number-1)}
	events, err := newStream(ctx, r.DB, "ingest_events", scanEvent, args[:3]...)
	if err != nil {
		return err
	}
	defer events.close()
	entries, err := newStream(ctx, r.DB, "ingest_entries", scanEntry, args...)
	if err != nil {
		return err
	}
	defer entries.close()
	for !events.done {
		t := events.time
		group, err := events.at(t, nil)
		if err != nil {
			return err
		}
		var has []storedEntry
		for !entries.done && entries.time <= t {
			// entries of an earlier time have no event here: it is not in these books yet
			if has, err = entries.at(entries.time, has[:0]); err != nil {
				return err
			}
		}
		for i := range group {
			if err := r.event(ctx, &group[i], has); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *restater) event(ctx context.Context, s *storedEvent, has []storedEntry) error {
	ev, err := event.Decode([]byte(s.raw))
	if err != nil {
		return fmt.Errorf("event %s: %w", s.id, err)
	}
	if !isCall(ev) {
		return nil
	}
	d, err := Derive(ev, r.Snapshot)
	if err != nil {
		return fmt.Errorf("event %s: %w", s.id, err)
	}
	current := currentEntries(has, ev.ID)
	r.effect.Events++
	r.count(current, func(t *TeamEffect) (*money.Sum, *int) { return &t.Before, &t.UnpricedBefore })
	r.count(d.Entries, func(t *TeamEffect) (*money.Sum, *int) { return &t.After, &t.UnpricedAfter })

	if r.seq == 0 && !r.DryRun && len(correct(current, d.Entries, r.number, 0)) > 0 {
		if err := r.open(ctx); err != nil {
			return err
		}
	}
	changes := correct(current, d.Entries, r.number, posting(event.Micros(r.seq)))
	if len(changes) == 0 {
		return nil
	}
	r.effect.Changed++
	r.effect.Entries += len(changes)
	if r.DryRun {
		return nil
	}
	for i := range changes {
		r.charges.add(&changes[i], r.seq)
	}
	r.entries += uint64(len(changes))
	r.days[dayOf(ev.Time)] = true
	// The row keeps the recorded_seq of its event: what was listed as of some
	// time stays listed, with the cost as it is known now.
	r.requests.add(ev, &d, s.governance, r.number, s.seq)
	if len(r.charges.id) >= cmp.Or(r.rows, 20_000) {
		return r.post(ctx)
	}
	return nil
}

// post writes what has been collected.
func (r *restater) post(ctx context.Context) error {
	if len(r.charges.id) == 0 {
		return nil
	}
	if err := r.DB.Insert(ctx, "charges", "", r.charges.columns()); err != nil {
		return err
	}
	if err := r.DB.Insert(ctx, "requests", "", r.requests.columns()); err != nil {
		return err
	}
	r.charges.reset()
	r.requests.reset()
	return nil
}

func (r *restater) count(entries []Entry, of func(*TeamEffect) (*money.Sum, *int)) {
	for i := range entries {
		e := &entries[i]
		key := [2]string{e.BusinessUnit, e.Team}
		t := r.teams[key]
		if t == nil {
			t = &TeamEffect{BusinessUnit: e.BusinessUnit, Team: e.Team}
			r.teams[key] = t
		}
		sum, unpriced := of(t)
		if e.Cost.Known {
			*sum = sum.Add(money.Pico(e.Cost.Value))
		} else {
			*unpriced++
		}
	}
}

// currentEntries is what holds of an event's entries: for each attempt and
// class the one of the highest restatement, unless that only reversed it.
func currentEntries(has []storedEntry, id event.ID) []Entry {
	var current []Entry
	for i := range has { // by attempt, class, restatement, sign
		e := &has[i].Entry
		if e.Event != id {
			continue
		}
		n := len(current)
		if n > 0 && current[n-1].Attempt == e.Attempt && current[n-1].Class == e.Class {
			n--
		}
		current = current[:n]
		if e.Sign > 0 {
			current = append(current, *e)
		}
	}
	return current
}
