package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/retention"
)

// exportMemory is what the runtime keeps near, however large the days are: about twice what an export has in use. It is no hard limit.
const exportMemory = 300 << 20

func exportCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var to, from, until string
	o := retention.Options{Now: time.Now}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write closed days to Parquet files, read them back, and seal them",
		Long: `Writes requests, charges and daily spend of each closed day and retention class to Parquet files in Hive-style
folders, reads every file back from where it lies, compares it with the ledger, writes a manifest and seals the day.
A day is closed when everything of it is in the books, a grace after its end. It can be stopped at any time and run
again: what is sealed stays as it is, and what came late for a sealed day goes into new files with a manifest of
their own.

Readers take the files that manifests name. Of charges and daily_spend all rows count; of requests the last of
each event_id, by revision.`,
		Example: `  ledgerline export
  ledgerline export --to s3://bucket/ledger --from 2026-11-01 --to-day 2026-12-01
  ledgerline export --class regulated --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if debug.SetMemoryLimit(-1) == math.MaxInt64 { // GOMEMLIMIT says nothing else
				debug.SetMemoryLimit(exportMemory)
			}
			if from != "" {
				if o.From, err = parseDay("--from", from); err != nil {
					return err
				}
			}
			if until != "" {
				if o.To, err = parseDay("--to-day", until); err != nil {
					return err
				}
			}
			o.Logger, o.Topic = logs.logger(cmd.ErrOrStderr()), engines.topics.events()
			if to == "" {
				to = filepath.Join(engines.data, "exports")
			}
			target, err := openTarget(to, true)
			if err != nil {
				return err
			}
			defer target.Close()
			if !o.DryRun {
				unlock, err := target.lock()
				if err != nil {
					return err
				}
				defer unlock()
			}
			o.Target, o.Objects, o.Scratch = target.name, target.Objects, target.scratch
			db, store, err := engines.openStore(cmd.Context(), o.Logger, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			var bar func(int)
			o.Progress = func(done, total int) {
				if bar == nil {
					bar = countProgress(cmd.ErrOrStderr(), "days", total)
				}
				bar(done)
			}
			result, err := retention.Export(cmd.Context(), db, o)
			printExport(cmd.OutOrStdout(), target.name, result)
			return err
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "folder, or s3://bucket/prefix with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL_S3 from the environment (default: exports in the data folder)")
	cmd.Flags().StringVar(&from, "from", "", "first day, UTC, such as 2026-11-01 (default: the first there is)")
	cmd.Flags().StringVar(&until, "to-day", "", "day after the last, UTC (default: the last closed one is the last)")
	cmd.Flags().StringVar(&o.Class, "class", "", "only this retention class")
	cmd.Flags().DurationVar(&o.Grace, "grace", exportGrace, "how long after its end a day is closed")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be written and write nothing")
	return cmd
}

func registerExportTo(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "export-to", "", "export closed days to this folder or s3://bucket/prefix every ten minutes, as ledgerline export does (default: no exports)")
}

// exportClosed is the job: what ledgerline export does. A place that is away is no reason to end the other jobs: the next tick
// tries again, and the metrics tell since when.
func exportClosed(ctx context.Context, topic, to string, db *clickhouse.DB, metrics *retention.Metrics, log *slog.Logger) error {
	if to == "" {
		return nil
	}
	began := time.Now()
	result, err := func() (retention.Result, error) {
		target, err := openTarget(to, true)
		if err != nil {
			return retention.Result{}, err
		}
		defer target.Close()
		unlock, err := target.lock()
		if err != nil {
			return retention.Result{}, err
		}
		defer unlock()
		return retention.Export(ctx, db, retention.Options{
			Topic: topic, Target: target.name, Objects: target.Objects, Scratch: target.scratch, Grace: exportGrace, Now: time.Now, Logger: log, Metrics: metrics,
		})
	}()
	written := 0
	for _, d := range result.Days {
		if d.State == "sealed" || d.State == "corrected" {
			written++
		}
	}
	if written > 0 {
		log.Info("exported", "to", to, "days", written, "through_seq", result.Through, "seconds", time.Since(began).Seconds())
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errExporting) {
		log.Error("the export did not end; it goes on in ten minutes", "to", to, "err", err)
	}
	return nil
}

// exportGrace is how long after its end a day is closed.
const exportGrace = time.Hour

// printExport says what became of the days; unchanged ones are only counted.
func printExport(out io.Writer, target string, r retention.Result) {
	var rows [][]string
	var cost money.Sum
	unchanged := 0
	for _, d := range r.Days {
		if d.State == "unchanged" {
			unchanged++
			continue
		}
		cost = cost.Plus(d.Cost)
		rows = append(rows, []string{d.Day.Format(time.DateOnly), d.Class, d.State, fmt.Sprint(d.Revision), thousands(d.Requests), thousands(d.Entries), d.Cost.String(), thousands(d.Bytes)})
	}
	if len(rows) > 0 {
		rows = append(rows, []string{"total", "", "", "", "", "", cost.String(), ""})
		printTable(out, []string{"day", "class", "state", "revision", "requests", "entries", "cost USD", "bytes"}, rows, 3, 4, 5, 6, 7)
	}
	if r.Through > 0 {
		fmt.Fprintf(out, "%s: days before %s are closed; %s of them unchanged; the books are complete through %s\n",
			target, r.Closed.Format(time.DateOnly), thousands(unchanged), aggregate.Complete(r.Through).Format(time.RFC3339))
	}
}

// target is where exports lie.
type target struct {
	retention.Objects
	name    string // as seals have it
	scratch string
	folder  string // empty: not a folder of this machine
	close   func() error
}

// openTarget opens a folder, which it makes if it should, or a bucket.
func openTarget(to string, create bool) (*target, error) {
	if where, ok := strings.CutPrefix(to, "s3://"); ok {
		return openBucket(to, where)
	}
	path, err := filepath.Abs(to)
	if err != nil {
		return nil, fmt.Errorf("find the folder %s: %w", to, err)
	}
	if create {
		if err := os.MkdirAll(path, 0o750); err != nil {
			return nil, fmt.Errorf("make the folder of exports: %w", err)
		}
	}
	folder, err := retention.OpenFolder(path)
	if err != nil {
		return nil, err
	}
	return &target{folder, path, filepath.Join(path, ".scratch"), path, folder.Close}, nil
}

func openBucket(to, where string) (*target, error) {
	name, prefix, _ := strings.Cut(where, "/")
	if name == "" {
		return nil, usageError{fmt.Errorf("%s: want s3://bucket/prefix", to)}
	}
	scratch, err := os.MkdirTemp("", "ledgerline-export-")
	if err != nil {
		return nil, fmt.Errorf("make a scratch folder: %w", err)
	}
	remove := func() error { return os.RemoveAll(scratch) }
	bucket, err := retention.OpenBucket(retention.BucketConfig{
		Name: name, Prefix: prefix, Scratch: scratch, Endpoint: os.Getenv("AWS_ENDPOINT_URL_S3"), Region: os.Getenv("AWS_REGION"),
	})
	if err != nil {
		remove()
		return nil, err
	}
	return &target{bucket, strings.TrimRight(to, "/"), scratch, "", remove}, nil
}

// Close ends the use of the target.
func (t *target) Close() error { return t.close() }

// lock keeps other exports away while this one runs. On a bucket nothing does: of two that write the same revision the one that
// puts its manifest first wins, and the other fails.
func (t *target) lock() (unlock func(), err error) {
	if t.folder == "" {
		return func() {}, nil
	}
	file, err := os.OpenFile(filepath.Join(t.folder, ".lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of exports: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w to %s", errExporting, t.name)
		}
		return nil, fmt.Errorf("lock the folder of exports: %w", err)
	}
	return func() { file.Close() }, nil
}

var errExporting = errors.New("another export is writing")
