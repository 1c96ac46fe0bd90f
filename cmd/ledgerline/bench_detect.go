package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

func benchDetectCommand() *cobra.Command {
	var b detectBench
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Time of the detectors over made-up projects and days",
		Long: `Makes up one ledger entry a day of each project inside an embedded ClickHouse of its own, with a level of its own, weekends and
noise; one day in four thousand costs six times as much. The rollups are made with the code of the jobs, a month at a time; then the
detectors look at all days at once, as on the first start over an old ledger, and once more after one day more, as on every other day.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.series < 1 || b.days < 1 || b.days > 2000 {
				return usageError{errors.New("--series must be at least 1, --days from 1 to 2000")}
			}
			return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&b.series, "series", 10_000, "projects")
	cmd.Flags().IntVar(&b.days, "days", 400, "days")
	return cmd
}

type detectBench struct{ series, days int }

func (b *detectBench) run(ctx context.Context, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "ledgerline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, db, err := openBenchStore(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer store.Close()
	defer db.Close()
	fmt.Fprintf(out, "machine: %s\n", machine())

	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	end := first.AddDate(0, 0, b.days)
	done := countProgress(progress, "days", b.days)
	for from := first; from.Before(end); {
		to := time.Date(from.Year(), from.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		if to.After(end) {
			to = end
		}
		if err := b.fill(ctx, db, from, to); err != nil {
			return err
		}
		from = to
		done(int(from.Sub(first) / (24 * time.Hour)))
	}
	var rows [][]string
	for _, what := range []struct{ name, bar string }{{"of all days", "60"}, {"of one day more", "-"}} {
		if len(rows) > 0 {
			if err := b.fill(ctx, db, end, end.AddDate(0, 0, 1)); err != nil {
				return err
			}
		}
		row, err := b.detect(ctx, db, store.Pid())
		if err != nil {
			return err
		}
		rows = append(rows, append(append([]string{what.name}, row...), what.bar))
	}
	var found []struct {
		Both   uint64 `ch:"both"`
		Missed uint64 `ch:"missed"`
		Other  uint64 `ch:"other"`
	}
	// Of the first four weeks nothing can be said.
	err = db.Select(ctx, &found, sql.Query("bench_detect_planted"), clickhouse.Param("projects", uint64(b.series)),
		clickhouse.Param("from", first.AddDate(0, 0, 28).Format(time.DateOnly)), clickhouse.Param("to", end.AddDate(0, 0, 1).Format(time.DateOnly)))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s projects × %s days, and the other dimensions of the same entries\n", thousands(b.series), thousands(b.days))
	printTable(out, []string{"detection", "days", "findings", "s", "CPU s, store", "CPU s, detectors", "bar"}, rows, 1, 2, 3, 4, 5, 6)
	f := found[0]
	fmt.Fprintf(out, "days planted in projects after the first four weeks: %s found, %s missed; found and not planted: %s of %s days of projects\n",
		thousands(f.Both), thousands(f.Missed), thousands(f.Other), thousands(b.series*max(0, b.days-27)))
	return nil
}

// fill makes up the days of a period and brings the rollups to its end.
func (b *detectBench) fill(ctx context.Context, db *clickhouse.DB, from, to time.Time) error {
	err := db.Exec(ctx, sql.Query("bench_detect_charges"), clickhouse.Param("projects", uint64(b.series)), clickhouse.Param("from", from.UnixMicro()),
		clickhouse.Param("to", to.UnixMicro()), clickhouse.Param("recorded_seq", uint64(to.UnixMicro())))
	if err == nil {
		offset := []uint64{uint64(from.Unix())}
		err = db.Insert(ctx, "batches", "", []clickhouse.Column{
			{Name: "topic", Data: []string{benchTopic}}, {Name: "first_offset", Data: offset}, {Name: "next_offset", Data: []uint64{uint64(to.Unix())}},
			{Name: "recorded_seq", Data: []uint64{uint64(to.UnixMicro())}},
		})
	}
	if err != nil {
		return fmt.Errorf("make up entries: %w", err)
	}
	_, err = aggregate.Rollup(ctx, db, aggregate.Options{Topic: benchTopic, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Exclusive: true})
	return err
}

// detect runs the detectors and tells days, findings and what it took: the bar is of the time, which another load on the machine
// stretches and CPU time is not.
func (b *detectBench) detect(ctx context.Context, db *clickhouse.DB, storePid int) ([]string, error) {
	var processes [2]*measured
	for i, pid := range []int{storePid, os.Getpid()} {
		process, err := os.FindProcess(pid)
		if err != nil {
			return nil, err
		}
		processes[i] = &measured{"process " + fmt.Sprint(pid), &exec.Cmd{Process: process}}
	}
	var before [2]time.Duration
	for i, p := range processes {
		var err error
		if before[i], err = p.cpu(); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	run, err := anomaly.Detect(ctx, db, anomaly.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	row := []string{thousands(run.Days), thousands(run.Found), fmt.Sprintf("%.1f", time.Since(began).Seconds())}
	for i, p := range processes {
		after, err := p.cpu()
		if err != nil {
			return nil, err
		}
		row = append(row, fmt.Sprintf("%.1f", (after-before[i]).Seconds()))
	}
	return row, nil
}
