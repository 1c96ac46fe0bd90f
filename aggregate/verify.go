package aggregate

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// Verification is one proof and how it ended.
type Verification struct {
	Name      string
	AsOf      uint64 // recorded_seq that was compared
	Checked   uint64 // cells compared, of both sides
	Different uint64 // cells that are not the same
	Problems  []string
}

// OK reports whether both sides are equal.
func (v *Verification) OK() bool { return v.Different == 0 && len(v.Problems) == 0 }

// maxProblems are spelled out; the others are counted.
const maxProblems = 20

// VerifyRollups proves that the rollups are the ledger: for every day that
// either side has anything of, every cell of the entries as of the rollups' N
// against every cell of the rollup, so both what is missing and what is too
// much shows, in requests, entries, quantity, cost, what is unmeasured and
// unpriced, and the hash over the entries. Rollups that run meanwhile are
// waited for, a day at a time.
func VerifyRollups(ctx context.Context, db Store) ([]Verification, error) {
	asOf, err := finished(ctx, db)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Day time.Time `ch:"day"`
	}
	if err := db.Select(ctx, &rows, sql.Query("rollup_verify_days"), clickhouse.Param("as_of", asOf)); err != nil {
		return nil, err
	}
	var out []Verification
	for _, proof := range []struct{ name, rollup string }{{"entries = cells", "cells"}, {"cells = hours", "hours"}, {"entries = user_days", "user_days"}} {
		v := Verification{Name: proof.name, AsOf: asOf}
		for _, r := range rows {
			if err := v.day(ctx, db, proof.rollup, r.Day.UTC()); err != nil {
				return nil, fmt.Errorf("compare %s on %s: %w", proof.name, r.Day.Format(time.DateOnly), err)
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// day compares one day as of an N that its rollup holds throughout.
func (v *Verification) day(ctx context.Context, db Store, rollup string, d time.Time) error {
	for wait := 0; ; wait++ {
		asOf, err := finished(ctx, db)
		if err != nil {
			return err
		}
		var checked, different uint64
		var problems []string
		err = db.QueryRow(ctx, sql.Query("rollup_verify_"+rollup), ledgerParams(asOf, d, d.Add(day))...).Scan(&checked, &different, &problems)
		if err != nil {
			return err
		}
		moved, err := touched(ctx, db, asOf, d, d.Add(day))
		if err != nil {
			return err
		}
		if !moved {
			v.Checked += checked
			v.Different += different
			v.Problems = append(v.Problems, problems[:min(len(problems), maxProblems-len(v.Problems))]...)
			return nil
		}
		if wait == 100 {
			v.Problems = append(v.Problems, fmt.Sprintf("%s: a rollup began to swap this day and did not finish", d.Format(time.DateOnly)))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
