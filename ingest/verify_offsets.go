package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// VerifyOffsets proves that every offset of each partition, from the first one
// that was read, is in exactly one batch, that a batch's events, duplicates
// and quarantined messages are as many as its offsets, and that the rows of
// its events and of quarantine are there. It reads up to the watermark.
func VerifyOffsets(ctx context.Context, o VerifyOptions) (Report, error) {
	r := Report{Name: "every offset in one batch"}
	if err := verifyOffsets(ctx, o, &r); err != nil {
		return r, fmt.Errorf("verify offsets: %w", err)
	}
	return r.end(), nil
}

func verifyOffsets(ctx context.Context, o VerifyOptions, r *Report) error {
	through, err := Watermark(ctx, o.DB, o.Topic)
	if err != nil {
		return err
	}
	rows, err := o.DB.Query(ctx, sql.Query("verify_batches"), clickhouse.Param("topic", o.Topic), clickhouse.Param("through", through))
	if err != nil {
		return err
	}
	defer rows.Close()
	next := map[int]int64{}
	for rows.Next() {
		var partition uint32
		var first, after, events, duplicates, quarantined, hasEvents, hasReplayed, hasQuarantined uint64
		if err := rows.Scan(&partition, &first, &after, &events, &duplicates, &quarantined, &hasEvents, &hasReplayed, &hasQuarantined); err != nil {
			return err
		}
		r.Checked++
		p := int(partition)
		where := fmt.Sprintf("partition %d, offsets %d to %d", p, first, int64(after)-1)
		switch expected, known := next[p]; {
		case !known && first > 0:
			r.note("partition %d begins at offset %d: what was before was gone when it was first read", p, first)
		case known && int64(first) > expected:
			r.problem("partition %d: no batch has the offsets %d to %d", p, expected, first-1)
		case known && int64(first) < expected:
			r.problem("partition %d: the offsets %d to %d are in more than one batch", p, first, min(int64(after), expected)-1)
		}
		next[p] = max(next[p], int64(after))
		if events+duplicates+quarantined != after-first {
			r.problem("%s: %d events, %d duplicates and %d quarantined are not %d offsets", where, events, duplicates, quarantined, after-first)
		}
		if hasEvents != events+hasReplayed {
			r.problem("%s: %d events are stored, the batch says %d and %d were replayed", where, hasEvents, events, hasReplayed)
		}
		if hasQuarantined != quarantined {
			r.problem("%s: %d messages are in quarantine, the batch says %d", where, hasQuarantined, quarantined)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(o.End)) {
		if next[p] < o.End[p] {
			r.problem("partition %d: the topic ends at offset %d, the store at %d", p, o.End[p], next[p])
		} else if next[p] > 0 && o.End[p] == 0 {
			r.problem("partition %d: the topic is empty, the store is at offset %d: it is another topic of the same name", p, next[p])
		}
	}
	var outside []struct {
		Partition uint32 `ch:"partition"`
		Offset    uint64 `ch:"offset"`
	}
	err = o.DB.Select(ctx, &outside, sql.Query("verify_outside"), clickhouse.Param("topic", o.Topic), clickhouse.Param("through", through))
	if err != nil {
		return err
	}
	for _, e := range outside {
		r.problem("partition %d: the event at offset %d is in no batch", e.Partition, e.Offset)
	}
	return nil
}
