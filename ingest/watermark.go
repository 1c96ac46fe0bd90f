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
// (exclusive) and the watermark has passed that, or when ctx ends.
func WaitFor(ctx context.Context, store Store, topic string, next map[int]int64) error {
	for {
		done, err := reached(ctx, store, topic, next)
		if err != nil && !clickhouse.Temporary(err) {
			return fmt.Errorf("wait for topic %s: %w", topic, err)
		}
		if err == nil && done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for topic %s: %w", topic, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func reached(ctx context.Context, store Store, topic string, next map[int]int64) (bool, error) {
	all, err := readProgress(ctx, store, topic)
	if err != nil {
		return false, err
	}
	at := map[int]int64{}
	for _, p := range all {
		at[int(p.Partition)] = int64(p.Next)
	}
	for partition, n := range next {
		if at[partition] < n {
			return false, nil
		}
	}
	return true, nil
}
