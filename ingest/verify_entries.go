package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/sql"
)

// VerifyEntries derives every event again, through all restatements, and
// compares with the ledger, both ways: each entry that must be there is, field
// by field, and none else. It also proves that the bytes of each event are
// those of its digest, that no event was stored with other bytes too, and that
// requests say what the entries say. It reads up to the watermark, a day at a
// time, in little memory.
func VerifyEntries(ctx context.Context, o VerifyOptions) (Report, error) {
	v := &entryVerifier{o: o, Report: Report{Name: "entries against events derived again"}, snapshots: o.snapshotsFor()}
	if err := v.run(ctx); err != nil {
		return v.Report, fmt.Errorf("verify entries: %w", err)
	}
	return v.end(), nil
}

type entryVerifier struct {
	Report
	o           VerifyOptions
	through     uint64
	snapshots   *snapshots
	corrections []correction // that are done and below the watermark, but for replays
	restated    []correction // of these the restatements: the others are of adjusted calls alone
	last        uint32       // the number of the last of these
}

func (v *entryVerifier) run(ctx context.Context) error {
	var err error
	if v.through, err = Watermark(ctx, v.o.DB, v.o.Topic); err != nil {
		return err
	}
	all, err := readCorrections(ctx, v.o.DB, true)
	if err != nil {
		return err
	}
	for _, c := range all {
		switch {
		case !c.done && v.o.Now().Sub(c.changed.Time()) < time.Minute:
			v.note("correction %d (%s) is being made", c.number, c.kind)
		case !c.done && c.kind == kindAdjust:
			v.problem("correction %d (%s) was begun and not ended: a running ingest ends it", c.number, c.kind)
		case !c.done:
			v.problem("correction %d (%s) was begun and not ended: run it again", c.number, c.kind)
		case c.kind != kindReplay && c.seq <= v.through:
			v.corrections, v.last = append(v.corrections, c), c.number
			if c.kind == kindRestate {
				v.restated = append(v.restated, c)
			}
		}
	}
	list, err := days(ctx, v.o.DB, time.Unix(0, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return err
	}
	for _, day := range list {
		if err := v.day(ctx, day); err != nil {
			return fmt.Errorf("%s: %w", day.Format(time.DateOnly), err)
		}
	}
	a := &adjuster{store: v.o.DB}
	due, err := a.due(ctx, &correction{through: v.through, earlier: v.corrections})
	if err != nil {
		return err
	}
	if len(due) > 0 {
		v.note("%d calls have adjusted events that are not posted yet", len(due))
	}
	if len(a.waiting) > 0 {
		v.note("%d calls have adjusted events and are not in the books themselves", len(a.waiting))
	}
	return nil
}

func (v *entryVerifier) day(ctx context.Context, day time.Time) error {
	args := []clickhouse.Arg{clickhouse.Param("from", day), clickhouse.Param("to", day.AddDate(0, 0, 1)), clickhouse.Param("through", v.through)}
	var conflicts []struct {
		ID string `ch:"id"`
	}
	if err := v.o.DB.Select(ctx, &conflicts, sql.Query("verify_conflicts"), args[:2]...); err != nil {
		return err
	}
	for _, c := range conflicts {
		v.problem("event %s is stored with different bytes", c.ID)
	}
	events, err := newStream(ctx, v.o.DB, "ingest_events", scanEvent, args...)
	if err != nil {
		return err
	}
	defer events.close()
	entries, err := newStream(ctx, v.o.DB, "verify_entries", scanEntry, args...)
	if err != nil {
		return err
	}
	defer entries.close()
	requests, err := newStream(ctx, v.o.DB, "ingest_requests", scanRequest, args...)
	if err != nil {
		return err
	}
	defer requests.close()
	later, err := newAdjustments(ctx, v.o.DB, day, day.AddDate(0, 0, 1), v.through)
	if err != nil {
		return err
	}
	defer later.close()

	var group []storedEvent
	var has []storedEntry
	var rows []storedRequest
	for !events.done || !entries.done || !requests.done {
		t := event.Micros(1<<63 - 1)
		if !events.done {
			t = min(t, events.time)
		}
		if !entries.done {
			t = min(t, entries.time)
		}
		if !requests.done {
			t = min(t, requests.time)
		}
		if group, err = events.at(t, group[:0]); err != nil {
			return err
		}
		if has, err = entries.at(t, has[:0]); err != nil {
			return err
		}
		if rows, err = requests.at(t, rows[:0]); err != nil {
			return err
		}
		adjusted, err := later.at(t)
		if err != nil {
			return err
		}
		if err := v.moment(ctx, group, has, rows, adjusted); err != nil {
			return err
		}
	}
	return nil
}

// moment compares the rows of one microsecond.
func (v *entryVerifier) moment(ctx context.Context, group []storedEvent, has []storedEntry, rows []storedRequest, said map[event.ID][]adjusted) error {
	stored := make(map[[16]byte]*storedEntry, len(has))
	for i := range has {
		e := &has[i]
		if e.ID != entryID(&e.Entry) {
			v.problem("entry %x of event %s is not what its id names", e.ID, e.Event)
		}
		stored[e.ID] = e
	}
	views := make(map[event.ID]storedRequest, len(rows))
	for _, r := range rows {
		views[r.id] = r
	}
	for i := range group {
		s := &group[i]
		v.Checked++
		want, view, err := v.expected(ctx, s, said[s.id])
		if err != nil {
			return err
		}
		for j := range want {
			e := &want[j]
			got, ok := stored[e.ID]
			delete(stored, e.ID)
			switch {
			case !ok:
				v.problem("event %s: the entry %s is missing", s.id, name(e))
			case got.Entry != *e:
				v.problem("event %s: the entry %s is %s, derived again it is %s", s.id, name(e), value(&got.Entry), value(e))
			}
		}
		row, ok := views[s.id]
		delete(views, s.id)
		switch {
		case view == nil && ok:
			v.problem("event %s is no call, and yet has a row in requests", s.id)
		case view == nil:
		case !ok:
			v.problem("event %s has no row in requests", s.id)
		case row.restatement > v.last: // it is ahead of the watermark: its entries are not to be seen yet
		case row.cost != view.Cost || row.text != view.Status:
			v.problem("event %s: requests say it cost %s %s, derived again it is %s %s", s.id, pico(row.cost), row.text, pico(view.Cost), view.Status)
		}
	}
	for i := range has {
		if e := &has[i].Entry; stored[e.ID] != nil {
			delete(stored, e.ID)
			v.problem("event %s: the entry %s, %s, follows from no event", e.Event, name(e), value(e))
		}
	}
	for _, r := range rows {
		if _, ok := views[r.id]; ok {
			v.problem("requests have a row for %s, which is no event", r.id)
		}
	}
	return nil
}

// expected is every entry of the event, first ones and those of corrections,
// and the view of it that holds now; nil when it is no call. by are the
// adjusted events of it.
func (v *entryVerifier) expected(ctx context.Context, s *storedEvent, by []adjusted) ([]Entry, *Derived, error) {
	if event.Digest([]byte(s.raw)) != s.digest {
		v.problem("event %s: its bytes are not those of its digest", s.id)
	}
	ev, err := event.Decode([]byte(s.raw))
	if err != nil {
		v.problem("event %s cannot be decoded: %s", s.id, reason(err))
		return nil, nil, nil
	}
	digest, err := digestOf(ev)
	if err != nil || ev.ID != s.id || ev.Time != s.time || digest != s.governance {
		v.problem("event %s: id, time or governance of its row are not those of its bytes", s.id)
	}
	if !isCall(ev) {
		return nil, nil, nil
	}
	d, err := v.derive(ctx, ev, digest)
	if err != nil || d == nil {
		return nil, d, err
	}
	all := append([]Entry(nil), d.Entries...)
	current := d.Entries
	corrections := v.restated
	if len(by) > 0 {
		corrections = v.corrections
	}
	looked := uint64(0)
	for i := range corrections {
		c := &corrections[i]
		if c.kind == kindRestate && !c.restates(ev.Time) {
			continue
		}
		due := isDue(looked, c.through, s, by)
		looked = max(looked, c.through)
		if s.seq > c.through || c.kind == kindAdjust && !due {
			continue
		}
		says, err := asAdjusted(ev, s, by, c.through)
		if err != nil {
			v.problem("event %s: %s", s.id, reason(err))
			return all, d, nil
		}
		rules := c.governance
		if c.kind == kindAdjust {
			rules = says.rules(corrections[:i])
		}
		next, err := v.derive(ctx, says.call, rules)
		if err != nil || next == nil {
			return all, d, err
		}
		changes := correct(current, next.Entries, c.number, posting(event.Micros(c.seq)))
		all = append(all, changes...)
		current, d = replace(current, changes), next
	}
	return all, d, nil
}

// replace is the current entries after changes.
func replace(current, changes []Entry) []Entry {
	var after []Entry
	for i := range current {
		reversed := false
		for j := range changes {
			c := &changes[j]
			reversed = reversed || c.Sign < 0 && c.Attempt == current[i].Attempt && c.Class == current[i].Class
		}
		if !reversed {
			after = append(after, current[i])
		}
	}
	for j := range changes {
		if changes[j].Sign > 0 {
			after = append(after, changes[j])
		}
	}
	return after
}

// derive is Derive with a snapshot that is looked up; nil when that cannot be, which is a problem.
func (v *entryVerifier) derive(ctx context.Context, ev *event.Event, digest [32]byte) (*Derived, error) {
	var snap *governance.Snapshot
	snap, err := v.snapshots.find(ctx, digest, "")
	if errors.Is(err, errUnknownSnapshot) {
		v.problem("event %s names a governance snapshot that is nowhere: %x", ev.ID, digest[:8])
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := Derive(ev, snap)
	if err != nil {
		v.problem("event %s cannot be derived: %s", ev.ID, reason(err))
		return nil, nil
	}
	return &d, nil
}

func name(e *Entry) string {
	return fmt.Sprintf("(attempt %d, class %s, restatement %d, sign %+d)", e.Attempt, e.Class, e.Restatement, e.Sign)
}

func value(e *Entry) string {
	number := func(a Amount) string {
		if !a.Known {
			return "unknown"
		}
		return fmt.Sprint(a.Value)
	}
	return fmt.Sprintf("%s × %s = %s %s, calls %d, team %q, model %q", number(e.Quantity), number(e.Rate), pico(e.Cost), e.Status, e.Calls, e.Team, e.Model)
}
