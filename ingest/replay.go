package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/sql"
)

// ReplayOptions say what to try again.
type ReplayOptions struct {
	DB              Store
	Topic           string // of the events
	Kafka           kafka.Config
	GovernanceTopic string // empty: snapshots come from the table alone
	DryRun          bool
	Now             func() time.Time
	Logger          *slog.Logger
}

// Replayed is what a replay did, or would do.
type Replayed struct {
	Number     uint32 // of the correction; 0: none was needed
	Tried      int
	Entered    int            // events that are in the books now
	Duplicates int            // of an event that is in the books: they stay
	Left       map[string]int // the others, by reason
}

// Replay tries again what is in quarantine, with the code of now. What can be
// decoded and derived enters the books under a number of its own; its offset
// stays in its batch. It can be run again at any time, and after a crash.
func Replay(ctx context.Context, o ReplayOptions) (Replayed, error) {
	r := &replayer{
		ReplayOptions: o,
		correction:    &correction{kind: kindReplay, reason: "replay of quarantine", store: o.DB, now: o.Now},
		snapshots:     newSnapshots(Options{DB: o.DB, Kafka: o.Kafka, GovernanceTopic: o.GovernanceTopic, Now: o.Now, Logger: o.Logger}),
		result:        Replayed{Left: map[string]int{}},
	}
	if _, err := r.begin(ctx, o.Topic); err != nil {
		return r.result, fmt.Errorf("replay: %w", err)
	}
	if err := r.run(ctx); err != nil {
		return r.result, fmt.Errorf("replay %d: %w", r.number, err)
	}
	return r.result, nil
}

type replayer struct {
	ReplayOptions
	*correction
	snapshots *snapshots
	result    Replayed
}

type quarantineRow struct {
	Topic     string `ch:"topic"`
	Partition uint32 `ch:"partition"`
	Offset    uint64 `ch:"offset"`
	Reason    string `ch:"reason"`
	Raw       string `ch:"raw"`
	At        int64  `ch:"at"`
	Seq       uint64 `ch:"recorded_seq"`
}

func (r *replayer) run(ctx context.Context) error {
	at := quarantineRow{}
	offset := int64(-1)
	for {
		var page []quarantineRow
		err := r.DB.Select(ctx, &page, sql.Query("ingest_quarantine"), clickhouse.Param("through", r.through), clickhouse.Param("replayed", r.seq),
			clickhouse.Param("topic", at.Topic), clickhouse.Param("partition", at.Partition), clickhouse.Param("offset", offset))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		at = page[len(page)-1]
		offset = int64(at.Offset)
		if err := r.page(ctx, page); err != nil {
			return err
		}
	}
	if r.DryRun || r.seq == 0 {
		return nil
	}
	r.result.Number = r.number
	return r.close(ctx)
}

// page tries a page of rows and writes what can enter.
func (r *replayer) page(ctx context.Context, page []quarantineRow) error {
	var ready []item
	var rows []quarantineRow
	var times []int64
	var ids [][16]byte
	for _, row := range page {
		r.result.Tried++
		it := item{raw: []byte(row.Raw), digest: event.Digest([]byte(row.Raw)), offset: int64(row.Offset)}
		if err := r.derive(ctx, &it); err != nil {
			return err
		}
		if it.reason != "" {
			r.result.Left[it.reason]++
			continue
		}
		ready, rows = append(ready, it), append(rows, row)
		times, ids = append(times, int64(it.ev.Time)), append(ids, it.ev.ID)
	}
	if len(ready) == 0 {
		return nil
	}
	before, err := lookUp(ctx, r.DB, times, ids)
	if err != nil {
		return err
	}
	b := &batch{}
	b.reset("", nil, nil, nil)
	var entered []quarantined
	for i := range ready {
		it, row := &ready[i], rows[i]
		if s, ok := before[it.ev.ID]; ok && (s.topic != row.Topic || s.partition != int(row.Partition) || s.offset != it.offset) {
			if s.digest == it.digest {
				r.result.Duplicates++
			} else {
				r.result.Left[conflictReason(s.offset)]++
			}
			continue
		}
		// The first of two in this page goes before.
		before[it.ev.ID] = stored{row.Topic, int(row.Partition), it.offset, it.digest}
		r.result.Entered++
		if r.DryRun {
			continue
		}
		if err := r.open(ctx); err != nil {
			return err
		}
		b.write(it, Position{row.Topic, int(row.Partition), it.offset, r.seq})
		r.entries += uint64(len(it.derived.Entries))
		r.days[dayOf(it.ev.Time)] = true
		entered = append(entered, quarantined{
			topic: row.Topic, partition: int(row.Partition), offset: it.offset, reason: row.Reason, raw: it.raw, digest: it.digest,
			time: event.Micros(row.At), seq: row.Seq, replayed: r.seq,
		})
	}
	if len(entered) == 0 {
		return nil
	}
	if err := r.DB.Insert(ctx, "events", "", b.events.columns()); err != nil {
		return err
	}
	if len(b.requests.id) > 0 {
		if err := r.DB.Insert(ctx, "requests", "", b.requests.columns()); err != nil {
			return err
		}
	}
	if len(b.charges.id) > 0 {
		if err := r.DB.Insert(ctx, "charges", "", b.charges.columns()); err != nil {
			return err
		}
	}
	return r.DB.Insert(ctx, "quarantine", "", quarantineColumns(entered))
}

// derive makes the item of a row's bytes; its reason says why it cannot enter.
func (r *replayer) derive(ctx context.Context, it *item) error {
	ev, err := event.Decode(it.raw)
	if err != nil {
		it.reason = reason(err)
		return nil
	}
	it.ev = ev
	if it.governance, err = digestOf(ev); err != nil {
		it.reason = reason(err)
		return nil
	}
	if !isPriced(ev) {
		return nil
	}
	snap, err := r.snapshots.find(ctx, it.governance, ev.Request.Decision.Commit)
	if errors.Is(err, errUnknownSnapshot) {
		it.reason = reason(err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := it.derived.derive(ev, snap); err != nil {
		it.reason = reason(fmt.Errorf("derive: %w", err))
	}
	return nil
}
