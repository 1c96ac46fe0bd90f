package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// Watermark is the highest recorded_seq that is complete: nothing at or below
// it can still appear. 0: nothing is.
func Watermark(ctx context.Context, store Store, topic string) (uint64, error) {
	var rows []struct {
		Watermark uint64 `ch:"watermark"`
	}
	if err := store.Select(ctx, &rows, sql.Query("watermark"), clickhouse.Param("topic", topic)); err != nil {
		return 0, err
	}
	if len(rows) != 1 {
		return 0, errors.New("the watermark query gave no row")
	}
	return rows[0].Watermark, nil
}

// WaitFor returns when every partition of the topic has been taken up to next
// (exclusive) and the watermark has passed that, or with an error when ctx ends.
func WaitFor(ctx context.Context, store Store, topic string, next map[int]int64) error {
	var seq uint64 // recorded_seq that the watermark must reach; 0: offsets are missing
	for {
		done, err := reached(ctx, store, topic, next, &seq)
		if err != nil && !clickhouse.Temporary(err) {
			return fmt.Errorf("wait for topic %s: %w", topic, err)
		}
		if err == nil && done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for topic %s: %w", topic, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func reached(ctx context.Context, store Store, topic string, next map[int]int64, seq *uint64) (bool, error) {
	if *seq == 0 {
		all, err := readProgress(ctx, store, topic)
		if err != nil {
			return false, err
		}
		at := map[int]int64{}
		last := uint64(0)
		for _, p := range all {
			at[int(p.Partition)], last = int64(p.Next), max(last, p.Last)
		}
		for partition, n := range next {
			if at[partition] < n {
				return false, nil
			}
		}
		*seq = last
	}
	n, err := Watermark(ctx, store, topic)
	return err == nil && n >= *seq, err
}
