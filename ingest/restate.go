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
// more and a re-entry, in the period of now. The rows of requests follow. A
// call counts as its adjusted events say it. It does nothing when nothing
// differs. It can be run again after a crash, and must be then, with the same
// period and rules. It reads a day at a time and needs memory for some ten
// thousand entries.
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
	r := &restater{correction: c, rows: o.rows, dry: o.DryRun, teams: map[[2]string]*TeamEffect{}, effect: Effect{Resumed: resumed, DryRun: o.DryRun}}
	r.rules = func(context.Context, *saying) (*governance.Snapshot, error) { return o.Snapshot, nil }
	if !o.DryRun {
		if err := newSnapshots(Options{DB: o.DB, Now: o.Now, Logger: o.Logger}).insert(ctx, o.Snapshot, o.Snapshot.Commit); err != nil {
			return Effect{}, fmt.Errorf("restate: %w", err)
		}
	}
	all, err := days(ctx, o.DB, o.From, o.To)
	for _, day := range all {
		from, to := clamp(day, o.From, o.To)
		if err = r.period(ctx, from, to); err != nil {
			err = fmt.Errorf("%s: %w", day.Format(time.DateOnly), err)
			break
		}
	}
	if err == nil {
		err = r.end(ctx)
	}
	if err != nil {
		return r.effect, fmt.Errorf("restatement %d: %w", c.number, err)
	}
	return r.effect, nil
}

// restater derives calls again and posts what differs under its correction.
type restater struct {
	*correction
	rules func(context.Context, *saying) (*governance.Snapshot, error)
	rows  int // entries posted with one insert; 0: 20,000
	dry   bool

	effect   Effect
	teams    map[[2]string]*TeamEffect
	charges  chargeColumns
	requests requestColumns
}

// period derives the calls of [from, to) again.
func (r *restater) period(ctx context.Context, from, to time.Time) error {
	args := []clickhouse.Arg{clickhouse.Param("from", from), clickhouse.Param("to", to), clickhouse.Param("through", r.through), clickhouse.Param("restatement", r.number-1)}
	events, err := newStream(ctx, r.store, "ingest_events", scanEvent, args[:3]...)
	if err != nil {
		return err
	}
	defer events.close()
	entries, err := newStream(ctx, r.store, "ingest_entries", scanEntry, args...)
	if err != nil {
		return err
	}
	defer entries.close()
	later, err := newAdjustments(ctx, r.store, from, to, r.through)
	if err != nil {
		return err
	}
	defer later.close()
	var group []storedEvent
	for !events.done {
		t := events.time
		if group, err = events.at(t, group[:0]); err != nil {
			return err
		}
		var has []storedEntry
		for !entries.done && entries.time <= t {
			// entries of an earlier time have no event here: it is not in these books yet
			if has, err = entries.at(entries.time, has[:0]); err != nil {
				return err
			}
		}
		adjusted, err := later.at(t)
		if err != nil {
			return err
		}
		for i := range group {
			if err := r.event(ctx, &group[i], has, adjusted[group[i].id]); err != nil {
				return fmt.Errorf("event %s: %w", group[i].id, err)
			}
		}
	}
	return nil
}

func (r *restater) event(ctx context.Context, s *storedEvent, has []storedEntry, by []adjusted) error {
	ev, err := event.Decode([]byte(s.raw))
	if err != nil {
		return err
	}
	due := isDue(looked(r.earlier, s.time), r.through, s, by)
	if !isCall(ev) || r.kind == kindAdjust && !due {
		return nil
	}
	says, err := asAdjusted(ev, s, by, r.through)
	if err != nil {
		return err
	}
	ev = says.call
	snap, err := r.rules(ctx, &says)
	if err != nil {
		return err
	}
	d, err := Derive(ev, snap)
	if err != nil {
		return err
	}
	current := currentEntries(has, ev.ID)
	r.effect.Events++
	r.count(current, func(t *TeamEffect) (*money.Sum, *int) { return &t.Before, &t.UnpricedBefore })
	r.count(d.Entries, func(t *TeamEffect) (*money.Sum, *int) { return &t.After, &t.UnpricedAfter })

	changes := correct(current, d.Entries, r.number, 0)
	if len(changes) > 0 {
		r.effect.Changed++
		r.effect.Entries += len(changes)
	}
	if r.dry || len(changes) == 0 && !due {
		return nil
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	for i := range changes {
		changes[i].Period = posting(event.Micros(r.seq))
		r.charges.add(&changes[i], r.seq)
	}
	r.entries += uint64(len(changes))
	r.days[dayOf(ev.Time)] = true
	// The row keeps the recorded_seq of its event: what was listed as of some
	// time stays listed, with what is known now.
	r.requests.add(ev, &d, s.governance, r.number, s.seq)
	if len(r.charges.id)+len(r.requests.id) >= cmp.Or(r.rows, 20_000) {
		return r.post(ctx)
	}
	return nil
}

// post writes what has been collected.
func (r *restater) post(ctx context.Context) error {
	if len(r.charges.id) > 0 {
		if err := r.store.Insert(ctx, "charges", "", r.charges.columns()); err != nil {
			return err
		}
	}
	if len(r.requests.id) > 0 {
		if err := r.store.Insert(ctx, "requests", "", r.requests.columns()); err != nil {
			return err
		}
	}
	r.charges.reset()
	r.requests.reset()
	return nil
}

// end posts the rest, closes the correction and completes the effect.
func (r *restater) end(ctx context.Context) error {
	if err := r.post(ctx); err != nil {
		return err
	}
	for _, key := range slices.SortedFunc(maps.Keys(r.teams), func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		t := r.teams[key]
		t.Difference = t.After.Minus(t.Before)
		r.effect.Teams = append(r.effect.Teams, *t)
	}
	if r.dry || r.seq == 0 {
		return nil
	}
	r.effect.Number = r.number
	return r.close(ctx)
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
