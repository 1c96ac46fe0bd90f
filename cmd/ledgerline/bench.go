package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
)

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the line against nginx and against ClickHouse itself, as ratios in one run",
	}
	cmd.AddCommand(benchProxyCommand(), benchIngestCommand(), benchQueryCommand(), benchExportCommand(), benchDetectCommand())
	return cmd
}

// measured is a process whose CPU time and memory the kernel accounts.
type measured struct {
	name string
	cmd  *exec.Cmd
}

// startMeasured runs a program with its output in a log file.
func startMeasured(name, logFile string, argv ...string) (*measured, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &measured{name, cmd}, nil
}

func (m *measured) stop() error {
	m.cmd.Process.Signal(syscall.SIGTERM)
	return m.cmd.Wait()
}

// cpu is the CPU time of all threads of the process since its start, user and system, in clock ticks of 10 ms.
func (m *measured) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of %s: %w", m.name, err)
	}
	_, after, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, errors.New("read the CPU time: /proc/PID/stat has another form")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// rss is the resident memory of the process in bytes.
func (m *measured) rss() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of %s: %w", m.name, err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, errors.New("read the memory: /proc/PID/statm has another form")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// peak is the most memory that the process, which has ended, had resident at a time, in bytes.
func (m *measured) peak() int64 { return m.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 }

// machine names where a measurement was made.
func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// openBenchStore starts the store of a benchmark in a folder, with its tables.
func openBenchStore(ctx context.Context, dir string, progress io.Writer) (*embedded.ClickHouse, *clickhouse.DB, error) {
	quiet := slog.New(slog.DiscardHandler)
	store, err := embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{Dir: filepath.Join(dir, "clickhouse"), Progress: fetchProgress(progress), Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	db, err := clickhouse.Open(ctx, embeddedClickHouse(store), quiet)
	if err == nil {
		if _, err = db.Migrate(ctx); err == nil {
			return store, db, nil
		}
		db.Close()
	}
	store.Close()
	return nil, nil, err
}
