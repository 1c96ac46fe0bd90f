package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

func benchExportCommand() *cobra.Command {
	var b exportBench
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Rows a second to Parquet files, beside ClickHouse's own Parquet output of the same queries",
		Long: `Makes up requests and their entries inside an embedded ClickHouse of its own, as bench query does, and has them written
to files twice, in turn: by ClickHouse itself (FORMAT Parquet over HTTP, zstd, to a file, nothing read back), and by
ledgerline export as a process of its own, all of it: the control sums, the files, their sync, the reading back of every
page, the manifests, the seals. Memory is the peak of that process.`,
		Example: "  ledgerline bench export --requests 1000000\n  ledgerline bench export --requests 10000000 --data /var/tmp/bench",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.requests < 1 || b.rounds < 1 || b.days < 1 || b.days > 28 {
				return usageError{errors.New("--requests and --rounds must be at least 1, --days from 1 to 28")}
			}
			return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&b.requests, "requests", 1_000_000, "requests to make up")
	cmd.Flags().IntVar(&b.days, "days", 2, "days that they are spread over")
	cmd.Flags().IntVar(&b.rounds, "rounds", 3, "times that both write, in turn")
	cmd.Flags().StringVar(&b.data, "data", "", "folder to keep the requests in, or to find them (default: a temporary one)")
	return cmd
}

type exportBench struct {
	requests, days, rounds int
	data                   string
}

func (b *exportBench) run(ctx context.Context, out, progress io.Writer) error {
	dir := b.data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ledgerline-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	store, db, err := openBenchStore(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer store.Close()
	defer db.Close()
	fmt.Fprintf(out, "machine: %s\n", machine())
	month := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stored, err := benchStored(ctx, db)
	if err == nil && stored.Requests == 0 {
		if err = b.fill(ctx, db, month, progress); err == nil {
			stored, err = benchStored(ctx, db)
		}
	}
	if err != nil {
		return err
	}
	if stored.Requests != uint64(b.requests) {
		return usageError{fmt.Errorf("--data %s holds %s requests, not %s", dir, thousands(stored.Requests), thousands(b.requests))}
	}
	rows := stored.Requests + stored.Entries
	fmt.Fprintf(out, "%s requests and %s entries in %d days of two classes\n", thousands(stored.Requests), thousands(stored.Entries), b.days)

	child, err := os.FindProcess(store.Pid())
	if err != nil {
		return err
	}
	server := &measured{"the store", &exec.Cmd{Process: child}}
	var theirs, ours []float64
	var memory, theirBytes, ourBytes int64
	var theirCPU, serverCPU, ourCPU time.Duration
	for round := range b.rounds {
		to := filepath.Join(dir, fmt.Sprintf("exports-%d-%d", os.Getpid(), round))
		before, err := server.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		if theirBytes, err = b.clickhouse(ctx, db, month, to+"-clickhouse"); err != nil {
			return err
		}
		theirs = append(theirs, float64(rows)/time.Since(began).Seconds())
		between, err := server.cpu()
		if err != nil {
			return err
		}

		self, err := os.Executable()
		if err != nil {
			return err
		}
		export := exec.CommandContext(ctx, self, "export", "--data", dir, "--topics", strings.TrimSuffix(benchTopic, ".events"), "--to", to)
		began = time.Now()
		if text, err := export.CombinedOutput(); err != nil {
			return fmt.Errorf("export: %w\n%s", err, text)
		}
		ours = append(ours, float64(rows)/time.Since(began).Seconds())
		usage := export.ProcessState.SysUsage().(*syscall.Rusage)
		memory = max(memory, usage.Maxrss<<10)
		after, err := server.cpu()
		theirCPU, serverCPU = theirCPU+between-before, serverCPU+after-between
		ourCPU += export.ProcessState.UserTime() + export.ProcessState.SystemTime()
		if err != nil {
			return err
		}
		if ourBytes, err = size(to); err == nil {
			err = errors.Join(os.RemoveAll(to), os.RemoveAll(to+"-clickhouse"))
		}
		if err != nil {
			return err
		}
	}
	perRow := func(cpu time.Duration) string {
		return fmt.Sprintf("%.1f", float64(cpu.Nanoseconds())/1e3/float64(rows)/float64(b.rounds))
	}
	printTable(out, []string{"written by", "rows/s", "ratio", "bar", "MiB", "CPU µs a row: ClickHouse", "export", "peak MiB"}, [][]string{
		{"ClickHouse, FORMAT Parquet", fmt.Sprintf("%.0f", median(theirs)), "1.00", "", fmt.Sprint(theirBytes >> 20), perRow(theirCPU), "", ""},
		{"ledgerline export, read back and sealed", fmt.Sprintf("%.0f", median(ours)), fmt.Sprintf("%.2f", median(ours)/median(theirs)), "0.50",
			fmt.Sprint(ourBytes >> 20), perRow(serverCPU), perRow(ourCPU), fmt.Sprint(memory >> 20)},
	}, 1, 2, 3, 4, 5, 6, 7)
	fmt.Fprintf(out, "  medians of %d rounds; a machine that does other work shows in rows/s, not in CPU\n", b.rounds)
	return nil
}

// fill makes up the requests and entries; events and rollups are not needed.
func (b *exportBench) fill(ctx context.Context, db *clickhouse.DB, month time.Time, progress io.Writer) error {
	tokens, err := (&queryBench{}).tokens()
	if err != nil {
		return err
	}
	if err := db.Exec(ctx, sql.Query("bench_query_table")); err != nil {
		return err
	}
	end := month.AddDate(0, 0, b.days)
	done := countProgress(progress, "requests", b.requests)
	for first := 0; first < b.requests; {
		last := min(first+benchChunk, b.requests)
		again := min(first, (last-first)/200)
		args := []clickhouse.Arg{
			tokens, clickhouse.Param("first", uint64(first-again)), clickhouse.Param("last", uint64(last)), clickhouse.Param("calls", uint64(b.requests)),
			clickhouse.Param("from", month.UnixMicro()), clickhouse.Param("to", end.UnixMicro()),
			clickhouse.Param("recorded_seq", uint64(end.AddDate(0, 0, 1).UnixMicro()+int64(last))), clickhouse.Param("topic", benchTopic),
			clickhouse.Param("duplicates", uint64(again)), clickhouse.Param("table", "bench_calls"),
		}
		for _, statement := range []string{"bench_empty", "bench_query_calls", "bench_query_requests", "bench_query_charges", "bench_query_batch"} {
			if err := db.Exec(ctx, sql.Query(statement), args...); err != nil {
				return fmt.Errorf("make up requests %d to %d: %w", first, last, err)
			}
		}
		first = last
		done(first)
	}
	return nil
}

// clickhouse has the store write what an export writes, one file after the other, and returns the bytes.
func (b *exportBench) clickhouse(ctx context.Context, db *clickhouse.DB, month time.Time, to string) (bytes int64, err error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return 0, err
	}
	for day := range b.days {
		from := month.AddDate(0, 0, day)
		for _, class := range []string{"long", "standard"} {
			for _, table := range []string{"requests", "charges", "daily_spend"} {
				rows, err := db.Stream(ctx, "Parquet", sql.Query("export_"+table), clickhouse.Param("class", class),
					clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("to", from.AddDate(0, 0, 1).UnixMicro()),
					clickhouse.Param("after", uint64(0)), clickhouse.Param("through", uint64(1)<<62))
				if err != nil {
					return bytes, err
				}
				file, err := os.Create(filepath.Join(to, fmt.Sprintf("%s-%s-%d.parquet", table, class, day)))
				if err != nil {
					rows.Close()
					return bytes, err
				}
				n, err := io.Copy(file, rows)
				bytes += n
				if err := errors.Join(err, rows.Close(), file.Close()); err != nil {
					return bytes, err
				}
			}
		}
	}
	return bytes, nil
}

// size is the bytes of the files below a folder.
func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}
