package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/sql"
)

// Kinds of corrections.
const (
	kindRestate = "restate"
	kindReplay  = "replay"
	kindAdjust  = "adjust"
)

// correction is a row of restatements: the one mechanism by which rows enter
// the books that are not of a batch.
//
// Its number belongs to the process whose row is stored under it: an insert of
// the same number and version by another one is dropped by its token, so of
// two that begin at once one goes on and the other sees [ErrOpen].
//
// Its recorded_seq R lies above every one given out before. The row is written
// as open first; if a batch has passed R by then, R is raised and the row is
// written again. From then on no reader's watermark reaches R until the row
// is done, and rows with R are written only then. A correction that was
// interrupted stays open, and with it the watermark, until the same call is
// made again: it goes on under the same number and makes the same rows.
type correction struct {
	number     uint32
	kind       string
	from, to   event.Micros // of a restatement's calls; else 0
	governance [32]byte     // of a restatement; else zero
	reason     string
	through    uint64 // recorded_seq through which the books were looked at
	seq        uint64 // R; 0: not open yet
	version    uint32
	changed    event.Micros // when the row was written last
	done       bool
	entries    uint64
	days       map[uint16]bool
	earlier    []correction // restatements, and the last adjustment

	store Store
	now   func() time.Time
}

// ErrOpen says that another correction is under way, or was interrupted, and must be ended first.
var ErrOpen = errors.New("another correction is open")

// readCorrections reads all corrections, or only those that matter for the next one.
func readCorrections(ctx context.Context, store Store, all bool) ([]correction, error) {
	var rows []struct {
		Restatement uint32      `ch:"restatement"`
		Kind        string      `ch:"kind"`
		From        int64       `ch:"from_us"`
		To          int64       `ch:"to_us"`
		Governance  string      `ch:"governance"`
		Reason      string      `ch:"reason"`
		State       string      `ch:"state"`
		Through     uint64      `ch:"through_seq"`
		Entries     uint64      `ch:"entries"`
		Days        []time.Time `ch:"days"`
		Seq         uint64      `ch:"recorded_seq"`
		Version     uint32      `ch:"version"`
		Changed     int64       `ch:"changed"`
	}
	if err := store.Select(ctx, &rows, sql.Query("ingest_restatements"), clickhouse.Param("all", all)); err != nil {
		return nil, err
	}
	var corrections []correction
	for _, r := range rows {
		corrections = append(corrections, correction{
			number: r.Restatement, kind: r.Kind, from: event.Micros(r.From), to: event.Micros(r.To), governance: [32]byte([]byte(r.Governance)), reason: r.Reason,
			through: r.Through, seq: r.Seq, version: r.Version, done: r.State == "done", entries: r.Entries, changed: event.Micros(r.Changed),
		})
	}
	return corrections, nil
}

// begin prepares the correction: it takes up the open one if that is the same,
// and a new number otherwise. Nothing is written yet.
func (c *correction) begin(ctx context.Context, topic string) (resumed bool, err error) {
	c.days = map[uint16]bool{}
	all, err := readCorrections(ctx, c.store, false)
	if err != nil {
		return false, err
	}
	for _, o := range all {
		c.number = max(c.number, o.number)
		if o.done {
			c.earlier = append(c.earlier, o)
			continue
		}
		if o.kind != c.kind || o.from != c.from || o.to != c.to || o.governance != c.governance {
			if o.kind == kindAdjust {
				return false, fmt.Errorf("%w: number %d is what adjusted events say; a running ingest ends it within seconds, try again then", ErrOpen, o.number)
			}
			return false, fmt.Errorf("%w: number %d (%s, %s to %s, governance %x) was interrupted; run it again to end it",
				ErrOpen, o.number, o.kind, o.from.Time().Format(time.RFC3339), o.to.Time().Format(time.RFC3339), o.governance[:8])
		}
		c.number, c.through, c.seq, c.version, c.reason = o.number, o.through, o.seq, o.version, o.reason
		return true, nil
	}
	c.number++
	c.through, err = Watermark(ctx, c.store, topic)
	return false, err
}

// open makes the correction known before the first of its rows is written.
func (c *correction) open(ctx context.Context) error {
	const margin = 1_000_000 // µs: batches that are being written now shall pass below
	for c.seq == 0 {
		batches, others, err := c.last(ctx)
		if err != nil {
			return err
		}
		seq := max(uint64(c.now().UnixMicro()), batches, others) + margin
		if err := c.write(ctx, "open", seq); err != nil {
			return err
		}
		if batches, _, err = c.last(ctx); err != nil {
			return err
		}
		if batches < seq {
			c.seq = seq
		}
	}
	return nil
}

// close lets the watermark pass.
func (c *correction) close(ctx context.Context) error { return c.write(ctx, "done", c.seq) }

func (c *correction) last(ctx context.Context) (batches, restatements uint64, err error) {
	var rows []struct {
		Batches      uint64 `ch:"batches"`
		Restatements uint64 `ch:"restatements"`
	}
	if err := c.store.Select(ctx, &rows, sql.Query("ingest_last")); err != nil {
		return 0, 0, err
	}
	return rows[0].Batches, rows[0].Restatements, nil
}

// write stores the next version of the row, and fails when that is another process's.
func (c *correction) write(ctx context.Context, state string, seq uint64) error {
	c.version++
	changed := c.now().UnixMicro()
	days := []uint16{}
	for d := range c.days {
		days = append(days, d)
	}
	slices.Sort(days)
	err := c.store.Insert(ctx, "restatements", fmt.Sprintf("restatement %d version %d", c.number, c.version), []clickhouse.Column{
		{Name: "restatement", Data: []uint32{c.number}}, {Name: "kind", Data: []string{c.kind}},
		{Name: "from_time", Data: []int64{int64(c.from)}}, {Name: "to_time", Data: []int64{int64(c.to)}}, {Name: "governance", Data: [][32]byte{c.governance}},
		{Name: "reason", Data: []string{c.reason}}, {Name: "state", Data: []string{state}}, {Name: "through_seq", Data: []uint64{c.through}},
		{Name: "entries", Data: []uint64{c.entries}}, {Name: "days", Data: clickhouse.Array{Ends: []uint64{uint64(len(days))}, Values: days}},
		{Name: "recorded_seq", Data: []uint64{seq}}, {Name: "changed_at", Data: []int64{changed}}, {Name: "version", Data: []uint32{c.version}},
	})
	if err != nil {
		return err
	}
	var rows []struct {
		Kind    string `ch:"kind"`
		Seq     uint64 `ch:"recorded_seq"`
		Changed int64  `ch:"changed_at"`
	}
	err = c.store.Select(ctx, &rows, sql.Query("ingest_claim"), clickhouse.Param("restatement", c.number), clickhouse.Param("version", c.version))
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Kind != c.kind || r.Seq != seq || r.Changed != changed {
			return fmt.Errorf("%w: number %d was taken by another process meanwhile", ErrOpen, c.number)
		}
	}
	return nil
}

// restates reports whether the correction is a restatement of the calls of a time.
func (c *correction) restates(t event.Micros) bool {
	return c.kind == kindRestate && c.from <= t && t < c.to
}

// looked is through which recorded_seq earlier corrections have looked at the
// calls of a time, and at what was said of them later.
func looked(earlier []correction, t event.Micros) uint64 {
	through := uint64(0)
	for i := range earlier {
		if c := &earlier[i]; c.kind == kindAdjust || c.restates(t) {
			through = max(through, c.through)
		}
	}
	return through
}
