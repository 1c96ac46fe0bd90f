// Package aggregate turns the ledger (table charges) into figures: rollups of
// 15-minute cells and of days by user, showback from them, and the proof that
// they are the ledger.
//
// A rollup is never added to: the days that changed are made again from the
// deduplicated ledger as it was at one recorded_seq N and swapped in whole, so
// a run may crash anywhere and the next one puts it right. What every figure
// means is said once, in the view ledger; rollups, showback and proof sum its
// columns.
package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// Options of a rollup.
type Options struct {
	Topic   string           // whose watermark the ledger is complete through
	Now     func() time.Time // the clock of the lock
	Logger  *slog.Logger
	Metrics *Metrics // nil: none

	// From and To name days (UTC, To excluded) to make again although nothing
	// changed in them. Zero: only what changed.
	From, To time.Time

	// Exclusive says that nobody else can be running a rollup on this store,
	// so a lock that a killed run left is void at once.
	Exclusive bool
}

// Run is what a rollup did.
type Run struct {
	Through uint64      // recorded_seq through which the rollups now hold the ledger
	Days    []time.Time // days (UTC midnights) made again, in order
}

// ErrRunning says that another rollup is at work, or was killed less than
// half a minute ago. The caller tries again at its next tick.
var ErrRunning = errors.New("another rollup is running")

// rollups are the tables that a rollup makes.
var rollups = []string{"cells", "user_days"}

// Rollup brings cells and user_days to the watermark. What it costs depends on
// the days with new entries, not on the history.
//
// Order of the steps, and what a crash leaves: days are staged (nothing seen
// by readers); a row "started" names the days, and from here on readers of
// those days go to the ledger itself; each day is swapped; a row "finished"
// moves N. A crash before "finished" leaves N where it was, so the next run
// sees the same days, and more, as changed.
func Rollup(ctx context.Context, db Store, o Options) (Run, error) {
	began := o.Now()
	run, err := roll(ctx, db, o)
	if !errors.Is(err, ErrRunning) {
		o.Metrics.ended(run, err, began, o.Now())
	}
	return run, err
}

func roll(ctx context.Context, db Store, o Options) (Run, error) {
	finished, through, err := behind(ctx, db, o.Topic)
	if err != nil {
		return Run{}, err
	}
	if through == finished && o.From.IsZero() {
		return Run{Through: finished}, nil
	}
	l, err := acquire(ctx, db, o)
	if err != nil {
		return Run{}, err
	}
	defer l.release(ctx)
	// Asked again under the lock: a run that finished in between has moved N, and the days made as of an older one would stay.
	if finished, through, err = behind(ctx, db, o.Topic); err != nil {
		return Run{}, err
	}
	days, err := changed(ctx, db, finished, through)
	if err != nil {
		return Run{}, err
	}
	for d := o.From.UTC().Truncate(day); d.Before(o.To); d = d.Add(day) {
		days = append(days, d)
	}
	slices.SortFunc(days, time.Time.Compare)
	days = slices.Compact(days)
	o.Metrics.found(len(days))
	staged, err := stage(ctx, db, l, through, days)
	if err != nil {
		return Run{}, fmt.Errorf("roll up %d days through %d: %w", len(days), through, err)
	}
	// What is begun here is ended, also by a process that stops: a swap takes milliseconds, and until the next run readers of
	// days left in the middle would go to the ledger.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease/2)
	defer cancel()
	if err := swap(ctx, db, l, o.Metrics, finished, through, days, staged); err != nil {
		return Run{}, fmt.Errorf("roll up %d days through %d: %w", len(days), through, err)
	}
	// A run at the N that the rollups have already moves nothing, and its row
	// would hide the days of the run that had moved it there.
	if through > finished {
		if err := record(ctx, db, through, "finished", days, l.now()); err != nil {
			return Run{}, err
		}
	}
	o.Logger.Debug("rollup finished", "through", through, "days", len(days))
	return Run{Through: through, Days: days}, nil
}

// behind is the recorded_seq through which the rollups hold the ledger, and the one that a run now brings them to.
func behind(ctx context.Context, db Store, topic string) (held, through uint64, err error) {
	var watermark uint64
	if err := db.QueryRow(ctx, sql.Query("watermark"), clickhouse.Param("topic", topic)).Scan(&watermark); err != nil {
		return 0, 0, fmt.Errorf("read the watermark of %s: %w", topic, err)
	}
	held, err = finished(ctx, db)
	return held, max(watermark, held), err
}

const day = 24 * time.Hour

// stage makes the days beside the rollups, and counts how many cells each staging table holds of each.
func stage(ctx context.Context, db Store, l *lock, through uint64, days []time.Time) (map[string]map[time.Time]uint64, error) {
	if len(days) == 0 {
		return nil, nil
	}
	for _, statement := range []string{"rollup_clear_cells", "rollup_clear_user_days"} {
		if err := db.Exec(ctx, sql.Query(statement)); err != nil {
			return nil, err
		}
	}
	for _, d := range days {
		if err := l.keep(ctx); err != nil {
			return nil, err
		}
		for _, statement := range []string{"rollup_stage_cells", "rollup_stage_user_days"} {
			if err := db.Exec(ctx, sql.Query(statement), ledgerParams(through, d, d.Add(day))...); err != nil {
				return nil, err
			}
		}
	}
	return staged(ctx, db)
}

// swap puts staged days in the place of those that the rollups hold.
func swap(ctx context.Context, db Store, l *lock, m *Metrics, finished, through uint64, days []time.Time, staged map[string]map[time.Time]uint64) error {
	if len(days) > 0 && through > finished {
		if err := record(ctx, db, through, "started", days, l.now()); err != nil {
			return err
		}
	}
	for _, d := range days {
		if err := l.keep(ctx); err != nil {
			return err
		}
		for _, table := range rollups {
			statement, cells := "rollup_drop_"+table, staged[table][d] // of a day without entries there is nothing to swap in
			if cells > 0 {
				statement = "rollup_swap_" + table
			}
			if err := db.Exec(ctx, sql.Query(statement), clickhouse.Param("day", yyyymmdd(d))); err != nil {
				return err
			}
			m.swapped(table, cells)
		}
	}
	return nil
}

// ledgerParams are the parameters of the view ledger.
func ledgerParams(asOf uint64, from, to time.Time) []clickhouse.Arg {
	return []clickhouse.Arg{
		clickhouse.Param("as_of", asOf), clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("to", to.UnixMicro()),
	}
}

func yyyymmdd(d time.Time) uint32 {
	return uint32(d.Year()*10000 + int(d.Month())*100 + d.Day())
}

// changed is the days (UTC) of the entries recorded after one recorded_seq and through another.
func changed(ctx context.Context, db Store, after, through uint64) ([]time.Time, error) {
	var rows []struct {
		Day time.Time `ch:"day"`
	}
	err := db.Select(ctx, &rows, sql.Query("rollup_days"), clickhouse.Param("after", after), clickhouse.Param("through", through))
	days := make([]time.Time, len(rows))
	for i, r := range rows {
		days[i] = r.Day.UTC()
	}
	return days, err
}

// staged is how many cells each staging table holds of each day, by the table that they are for.
func staged(ctx context.Context, db Store) (map[string]map[time.Time]uint64, error) {
	var rows []struct {
		Target string    `ch:"target"`
		Day    time.Time `ch:"day"`
		Cells  uint64    `ch:"cells"`
	}
	err := db.Select(ctx, &rows, sql.Query("rollup_staged"))
	cells := map[string]map[time.Time]uint64{}
	for _, table := range rollups {
		cells[table] = map[time.Time]uint64{}
	}
	for _, r := range rows {
		cells[r.Target][r.Day.UTC()] = r.Cells
	}
	return cells, err
}
