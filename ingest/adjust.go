package ingest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/sql"
)

// An adjusted event says anew what became of a call (event/SPEC.md E17). It
// can come days after its call, or before it, and through another partition,
// so ingest only stores it. What follows from it is posted by a correction of
// the kind adjust, which looks at a state of the books that does not change
// any more: the entries of the call are reversed and entered anew, under the
// call's own id and time, in the period of the posting.

// adjusted is an adjusted event of a call.
type adjusted struct {
	raw string
	seq uint64
}

// saying is a call as its adjusted events say it.
type saying struct {
	call       *event.Event
	governance [32]byte // digest of the snapshot that is named by who said what was bought
	seq        uint64   // recorded_seq of that
}

// asAdjusted is what the call and its adjusted events say that were recorded up to through.
func asAdjusted(call *event.Event, s *storedEvent, by []adjusted, through uint64) (saying, error) {
	says := saying{call, s.governance, s.seq}
	type known struct {
		*event.Event
		seq uint64
	}
	var all []known
	for _, a := range by {
		if a.seq > through {
			continue
		}
		ev, err := event.Decode([]byte(a.raw))
		if err != nil {
			return says, fmt.Errorf("an adjusted event of it: %w", err)
		}
		all = append(all, known{ev, a.seq})
	}
	if len(all) == 0 {
		return says, nil
	}
	slices.SortFunc(all, func(a, b known) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
	})
	result, request := *call, *call.Request
	result.Request, says.call = &request, &result
	for _, a := range all {
		served := request.Outcome.Served
		request.Outcome = a.Request.Outcome
		if len(a.Request.Attempts) == 0 {
			request.Outcome.Served = served
			continue
		}
		request.Attempts, request.Attribution = a.Request.Attempts, a.Request.Attribution
		request.Call.Format, request.Call.Workload = a.Request.Call.Format, a.Request.Call.Workload
		says.seq = max(s.seq, a.seq)
		var err error
		if says.governance, err = digestOf(a.Event); err != nil {
			return says, fmt.Errorf("an adjusted event of it: %w", err)
		}
	}
	return says, nil
}

// rules is the snapshot that an adjustment derives the call by: the one it
// names, or that of the last restatement that knew what it says.
func (s *saying) rules(earlier []correction) [32]byte {
	digest := s.governance
	for i := range earlier {
		if c := &earlier[i]; c.restates(s.call.Time) && s.seq <= c.through {
			digest = c.governance
		}
	}
	return digest
}

// isDue reports whether up to through more was said of a call than corrections
// have seen that looked at the books up to looked.
func isDue(looked, through uint64, call *storedEvent, by []adjusted) bool {
	newest := uint64(0)
	for _, a := range by {
		if a.seq <= through {
			newest = max(newest, a.seq)
		}
	}
	return newest > 0 && max(newest, call.seq) > looked
}

// adjustments reads the adjusted events of a period's calls.
type adjustments struct {
	*stream[storedAdjusted]
	milli event.Micros // of the calls in now
	now   map[event.ID][]adjusted
}

type storedAdjusted struct {
	call event.ID
	adjusted
}

func newAdjustments(ctx context.Context, store Store, from, to time.Time, through uint64) (*adjustments, error) {
	s, err := newStream(ctx, store, "ingest_adjustments", scanAdjusted,
		clickhouse.Param("from", from.Truncate(time.Millisecond)), clickhouse.Param("to", to), clickhouse.Param("through", through))
	return &adjustments{stream: s, milli: -1}, err
}

func scanAdjusted(rows clickhouse.Rows) (a storedAdjusted, t event.Micros, err error) {
	var call string
	var milli int64
	if err = rows.Scan(&call, &milli, &a.raw, &a.seq); err == nil {
		a.call, t = event.ID([]byte(call)), event.Micros(milli*1000)
	}
	return a, t, err
}

// at is the adjusted events, by call, of the calls of t's millisecond. Times must not go back.
func (a *adjustments) at(t event.Micros) (map[event.ID][]adjusted, error) {
	milli := t - t%1000
	if milli == a.milli {
		return a.now, nil
	}
	a.milli, a.now = milli, map[event.ID][]adjusted{}
	for !a.done && a.time <= milli { // earlier ones are of calls that are not here
		if a.time == milli {
			a.now[a.next.call] = append(a.now[a.next.call], a.next.adjusted)
		}
		if err := a.advance(); err != nil {
			return nil, err
		}
	}
	return a.now, nil
}

// adjuster posts adjustments. It remembers what it has seen, so that a look at
// books in which nothing new was said costs little.
type adjuster struct {
	store     Store
	topic     string
	snapshots *snapshots
	now       func() time.Time

	seen    uint64              // recorded_seq through which adjusted events were looked at
	waiting map[event.ID]uint64 // those whose call is not in the books yet, with their newest recorded_seq
}

// run posts what follows from adjusted events up to the watermark. After an
// error it can be run again, and looks at everything anew.
func (a *adjuster) run(ctx context.Context) (Effect, error) {
	effect, err := a.adjust(ctx)
	if err != nil {
		a.seen, a.waiting = 0, nil
		return effect, fmt.Errorf("adjust: %w", err)
	}
	return effect, nil
}

// together is how far apart calls may be that are read in one go.
const together = event.Micros(60_000_000)

func (a *adjuster) adjust(ctx context.Context) (Effect, error) {
	c := &correction{kind: kindAdjust, reason: "adjusted events", store: a.store, now: a.now}
	resumed, err := c.begin(ctx, a.topic)
	if err != nil {
		return Effect{}, err
	}
	times, err := a.due(ctx, c)
	if err != nil {
		return Effect{}, err
	}
	r := &restater{correction: c, teams: map[[2]string]*TeamEffect{}, effect: Effect{Resumed: resumed}}
	r.rules = func(ctx context.Context, s *saying) (*governance.Snapshot, error) {
		return a.snapshots.find(ctx, s.rules(c.earlier), "")
	}
	for len(times) > 0 {
		n := 1
		for n < len(times) && times[n]-times[0] < together {
			n++
		}
		if err := r.period(ctx, times[0].Time(), (times[n-1] + 1).Time()); err != nil {
			return r.effect, err
		}
		times = times[n:]
	}
	return r.effect, r.end(ctx)
}

// due is the times of the calls that the correction has to look at, in order.
func (a *adjuster) due(ctx context.Context, c *correction) ([]event.Micros, error) {
	if a.waiting == nil || c.through < a.seen {
		a.seen, a.waiting = 0, map[event.ID]uint64{}
	}
	var said []struct {
		Call   string `ch:"call"`
		Newest uint64 `ch:"newest"`
	}
	err := a.store.Select(ctx, &said, sql.Query("ingest_adjusted"), clickhouse.Param("after", a.seen), clickhouse.Param("through", c.through))
	if err != nil {
		return nil, err
	}
	for _, s := range said {
		id := event.ID([]byte(s.Call))
		a.waiting[id] = max(a.waiting[id], s.Newest)
	}
	a.seen = max(a.seen, c.through)
	var times []event.Micros
	for ids := range slices.Chunk(slices.Collect(maps.Keys(a.waiting)), 10_000) {
		millis, keys := make([]int64, len(ids)), make([][16]byte, len(ids))
		for i, id := range ids {
			millis[i], keys[i] = id.Milli(), id
		}
		var calls []struct {
			ID  string `ch:"id"`
			At  int64  `ch:"at"`
			Seq uint64 `ch:"recorded_seq"`
		}
		err := a.store.Select(ctx, &calls, sql.Query("ingest_calls"), clickhouse.Param("through", c.through), clickhouse.Table("sent", []clickhouse.Column{
			{Name: "milli", Type: "Int64", Data: millis}, {Name: "event_id", Type: "UUID", Data: keys},
		}))
		if err != nil {
			return nil, err
		}
		for _, call := range calls {
			id, at := event.ID([]byte(call.ID)), event.Micros(call.At)
			if max(a.waiting[id], call.Seq) > looked(c.earlier, at) {
				times = append(times, at)
			}
			delete(a.waiting, id)
		}
	}
	slices.Sort(times)
	return times, nil
}
