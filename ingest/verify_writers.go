package ingest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// VerifyWriters proves that the sequence of every writer is there from 1
// without a gap, each number once, and that each writer has said that it ended
// or is still beating. It reads up to the watermark; what is in quarantine
// counts where its place in the sequence can be read.
func VerifyWriters(ctx context.Context, o VerifyOptions) (Report, error) {
	r := Report{Name: "every writer's sequence"}
	if err := verifyWriters(ctx, o, &r); err != nil {
		return r, fmt.Errorf("verify writers: %w", err)
	}
	return r.end(), nil
}

func verifyWriters(ctx context.Context, o VerifyOptions, r *Report) error {
	through, err := Watermark(ctx, o.DB, o.Topic)
	if err != nil {
		return err
	}
	var writers []struct {
		Writer      string    `ch:"writer"`
		Events      uint64    `ch:"events"`
		Distinct    uint64    `ch:"distinct"`
		First       uint64    `ch:"first"`
		Last        uint64    `ch:"last"`
		Closed      uint64    `ch:"closed"`
		ClosedAt    uint64    `ch:"closed_at"`
		Kind        string    `ch:"kind"`
		LastSeen    time.Time `ch:"last_seen"`
		Quarantined uint64    `ch:"quarantined"`
	}
	err = o.DB.Select(ctx, &writers, sql.Query("verify_writers"), clickhouse.Param("through", through))
	if err != nil {
		return err
	}
	beat := o.Heartbeat
	if beat == 0 {
		beat = 10 * time.Second
	}
	for _, w := range writers {
		r.Checked++
		if w.First != 1 || w.Distinct != w.Last {
			missing, err := missingSeqs(ctx, o.DB, w.Writer, through, w.Last)
			if err != nil {
				return err
			}
			r.problem("writer %s: %d of its %d events are not there: %s", w.Writer, w.Last-w.Distinct, w.Last, missing)
		}
		if w.Events != w.Distinct {
			r.problem("writer %s: %d events share a number with another one", w.Writer, w.Events-w.Distinct)
		}
		switch silent := o.Now().Sub(w.LastSeen); {
		case w.Closed > 0 && w.ClosedAt != w.Last:
			r.problem("writer %s: it ended at %d and there is a %d", w.Writer, w.ClosedAt, w.Last)
		case w.Closed == 0 && silent > 3*beat:
			r.problem("writer %s: it has not ended and was last heard of %s ago; its last events may be lost, or are still in its spool", w.Writer, silent.Round(time.Second))
		}
		if w.Kind != "" && w.Kind != "live" {
			r.note("writer %s is %s: %d events", w.Writer, w.Kind, w.Events)
		}
		if w.Quarantined > 0 {
			r.note("writer %s: %d of its events are in quarantine", w.Writer, w.Quarantined)
		}
	}
	return nil
}

// missingSeqs names the first gaps of a writer.
func missingSeqs(ctx context.Context, store Store, writer string, through, last uint64) (string, error) {
	rows, err := store.Query(ctx, sql.Query("verify_gaps"), clickhouse.Param("writer", writer), clickhouse.Param("through", through))
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var gaps []string
	for rows.Next() {
		var from, to uint64
		if err := rows.Scan(&from, &to); err != nil {
			return "", err
		}
		if from == to {
			gaps = append(gaps, fmt.Sprint(from))
		} else {
			gaps = append(gaps, fmt.Sprintf("%d to %d", from, to))
		}
	}
	return strings.Join(gaps, ", "), rows.Err()
}
