package aggregate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// finished is the recorded_seq through which the rollups hold the ledger; 0
// before the first run.
func finished(ctx context.Context, db Store) (through uint64, err error) {
	err = db.QueryRow(ctx, sql.Query("rollup_finished")).Scan(&through)
	if errors.Is(err, clickhouse.NoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the last rollup: %w", err)
	}
	return through, nil
}

// touched reports whether a run past asOf has begun to swap a day of [from, to).
func touched(ctx context.Context, db Store, asOf uint64, from, to time.Time) (touched bool, err error) {
	last := to.UTC().Truncate(day)
	if last.Before(to) {
		last = last.Add(day)
	}
	err = db.QueryRow(ctx, sql.Query("rollup_touched"), clickhouse.Param("as_of", asOf),
		clickhouse.Param("from", from.UTC().Format(time.DateOnly)), clickhouse.Param("to", last.Format(time.DateOnly))).Scan(&touched)
	if err != nil {
		return false, fmt.Errorf("read the runs of the rollup after %d: %w", asOf, err)
	}
	return touched, nil
}

// record writes the word of a run: of the words of one run the latest holds.
func record(ctx context.Context, db Store, through uint64, state string, days []time.Time, at time.Time) error {
	texts := make([]string, len(days))
	for i, d := range days {
		texts[i] = d.Format(time.DateOnly)
	}
	err := db.Exec(ctx, sql.Query("rollup_record"), clickhouse.Param("through", through), clickhouse.Param("state", state),
		clickhouse.Param("days", texts), clickhouse.Param("changed_at", at.UnixMicro()))
	if err != nil {
		return fmt.Errorf("record rollup %d as %s: %w", through, state, err)
	}
	return nil
}

// lease is how long a lock holds without a word of its owner: much longer than
// making one day takes, short enough that figures catch up soon after a kill.
const lease = 30 * time.Second

// lock keeps two rollups from sharing the staging tables. It is a row under
// through_seq 0 that is written again as the work goes on. Two that begin in
// the same instant are told apart by the later row only; the process that runs
// rollups is one by other means (the lock of the data folder, the elected jobs
// process).
type lock struct {
	db    Store
	clock func() time.Time
	at    int64 // µs, of the row last written under through_seq 0
	last  int64 // µs, of the word last given; the words of a run are told apart by their times
}

func acquire(ctx context.Context, db Store, o Options) (*lock, error) {
	l := &lock{db: db, clock: o.Now}
	state, at, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	l.at, l.last = at, at
	if age := time.Duration(o.Now().UnixMicro()-at) * time.Microsecond; state == "running" && age < lease && !o.Exclusive {
		return nil, fmt.Errorf("%w, heard of %s ago", ErrRunning, age.Round(time.Second))
	}
	return l, l.write(ctx, "running")
}

// keep renews the lock, or says that another run has taken it.
func (l *lock) keep(ctx context.Context) error {
	_, at, err := l.read(ctx)
	if err != nil {
		return err
	}
	if at != l.at {
		return fmt.Errorf("lock lost: %w", ErrRunning)
	}
	if l.clock().UnixMicro()-l.at < lease.Microseconds()/4 {
		return nil
	}
	return l.write(ctx, "running")
}

// release gives the lock back, also when the work was cancelled. A failure
// only makes the next run wait for the lease.
func (l *lock) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if l.keep(ctx) == nil {
		l.write(ctx, "free")
	}
}

// now is the clock, forced past the last word.
func (l *lock) now() time.Time {
	l.last = max(l.clock().UnixMicro(), l.last+1)
	return time.UnixMicro(l.last).UTC()
}

func (l *lock) write(ctx context.Context, state string) error {
	at := l.now()
	if err := record(ctx, l.db, 0, state, nil, at); err != nil {
		return fmt.Errorf("lock the rollup: %w", err)
	}
	l.at = at.UnixMicro()
	return nil
}

func (l *lock) read(ctx context.Context) (state string, at int64, err error) {
	err = l.db.QueryRow(ctx, sql.Query("rollup_lock")).Scan(&state, &at)
	if errors.Is(err, clickhouse.NoRows) {
		return "free", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read the lock of the rollup: %w", err)
	}
	return state, at, nil
}
