package main

import (
	"bytes"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ledgerline/ledgerline/retention"
)

// exportBed is books with two days of made-up calls in two retention classes.
func exportBed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	if _, err := b.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	bench := exportBench{requests: 20_000, days: 2}
	if err := bench.fill(t.Context(), b.db, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	return b
}

// export is the command to export to a folder.
func (b *bed) export(dir string, more ...string) *exec.Cmd {
	_, port, _ := net.SplitHostPort(b.store.HTTPAddr())
	argv := append([]string{"export", "--data", b.path("data"), "--topics", "bench", "--to", dir}, b.storeFlag()...)
	argv[len(argv)-1] += "?http=" + port
	cmd := exec.Command(binary, append(argv, more...)...)
	cmd.Env = b.env
	return cmd
}

func (b *bed) exported(dir string, more ...string) string {
	b.t.Helper()
	text, err := b.export(dir, more...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("export: %v\n%s", err, text)
	}
	return string(text)
}

// exportedFiles is what readers see below a folder.
func exportedFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".") && d.IsDir():
			return filepath.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *bed) sealedOK(t *testing.T) {
	t.Helper()
	v, err := retention.Verify(t.Context(), b.db, retention.VerifyOptions{Open: openSealed})
	if err != nil || !v.OK() || v.Days == 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestExportKilled kills exports with -9 one after the other, each a step further; what readers see is always whole, and the last
// one ends with what an export has that nobody killed.
func TestExportKilled(t *testing.T) {
	b := exportBed(t)
	dry := b.exported(b.path("dry"), "--dry-run")
	if got := exportedFiles(t, b.path("dry")); len(got) != 0 || strings.Count(dry, " due ") != 4 {
		t.Fatalf("a dry run wrote %d files and said\n%s", len(got), dry)
	}
	whole := b.path("whole")
	if out := b.exported(whole); strings.Count(out, " sealed ") != 4 {
		t.Fatalf("exported\n%s", out)
	}
	want := exportedFiles(t, whole)
	dir := b.path("killed")
	kills := 0
	for until := 0; ; until++ {
		cmd := b.export(dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var err error
		for running := true; running; {
			select {
			case err = <-ended:
				running = false
			case <-time.After(time.Millisecond): // look again
				scratch, _ := filepath.Glob(filepath.Join(dir, ".scratch", "*"))
				if found, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*", "*")); len(found) > until || until == 0 && len(scratch) > 0 {
					cmd.Process.Signal(syscall.SIGKILL)
				}
			}
		}
		got := exportedFiles(t, dir)
		for path, text := range got {
			if want[path] != text {
				t.Errorf("killed at %d files: %s is not whole", until, path)
			}
		}
		if err == nil {
			break
		}
		if kills++; kills > 3*len(want) {
			t.Fatal("no end of it")
		}
		until = max(until, len(got))
	}
	if kills < 4 {
		t.Errorf("only %d exports were killed", kills)
	}
	if got := exportedFiles(t, dir); !maps.Equal(got, want) {
		t.Error("after the kills the folder is another")
	}
	b.sealedOK(t)
	// Another export of the same folder is refused while one runs.
	target, err := openTarget(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	unlock, err := target.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if text, err := b.export(dir).CombinedOutput(); err == nil || !strings.Contains(string(text), "another export is writing") {
		t.Errorf("a second export at the same time: %v\n%s", err, text)
	}
}

// TestExportDiskFull exports to a disk that is too small, which leaves nothing half, and goes on when there is room.
func TestExportDiskFull(t *testing.T) {
	b := exportBed(t)
	whole := b.path("whole")
	b.exported(whole)
	want := exportedFiles(t, whole)
	disk := b.path("disk")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		if strings.Contains(os.Getenv("LEDGERLINE_REQUIRE"), "disk") {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Skipf("no small disk can be mounted here (%v); LEDGERLINE_REQUIRE=disk makes this a failure", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, 0) })
	text, err := b.export(disk).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "no space left on device") {
		t.Fatalf("on a disk of 1 MiB: %v\n%s", err, text)
	}
	left := exportedFiles(t, disk)
	for path, text := range left {
		if want[path] != text {
			t.Errorf("%s is not whole", path)
		}
	}
	if len(left) >= len(want) {
		t.Errorf("%d files on a disk of 1 MiB", len(left))
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	b.exported(disk)
	if got := exportedFiles(t, disk); !maps.Equal(got, want) {
		t.Error("after the disk was full the folder is another")
	}
	b.sealedOK(t)
}

// The job exports what the command does, counts it, and outlives a place that it cannot write to.
func TestExportJob(t *testing.T) {
	b := exportBed(t)
	registry := prometheus.NewRegistry()
	metrics := retention.NewMetrics(registry)
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	dir := b.path("exports")
	for _, to := range []string{"", dir, dir, filepath.Join(b.path("data"), "no\x00folder")} {
		if err := exportClosed(t.Context(), benchTopic, to, b.db, metrics, log); err != nil {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if got := strings.Count(said.String(), "msg=exported"); got != 1 || !strings.Contains(said.String(), "the export did not end") {
		t.Errorf("said %d times that something was exported:\n%s", got, said.String())
	}
	b.sealedOK(t)
	text := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(text, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, want := range []string{`ledgerline_export_days_total{state="sealed"} 4`, `ledgerline_export_days_total{state="unchanged"} 4`, `ledgerline_export_rows_total{table="requests"} 20000`} {
		if !strings.Contains(text.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, text.Body.String())
		}
	}
}

// A small run of the benchmark: both have written the same rows.
func TestBenchExport(t *testing.T) {
	out, err := exec.Command(binary, "bench", "export", "--requests", "3000", "--rounds", "1").CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?s)3,000 requests and \S+ entries in 2 days.*ClickHouse, FORMAT Parquet +[1-9].*ledgerline export, read back and sealed +[1-9]`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}
