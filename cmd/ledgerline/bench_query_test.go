package main

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
)

// TestBenchQuery runs the benchmark small: the API answers from what it makes up, a second run on the same folder finds it, and it is books
// whose requests cost what their entries say and whose rollups are the entries.
func TestBenchQuery(t *testing.T) {
	dir := t.TempDir()
	for _, run := range []string{"first", "second"} {
		out, err := exec.Command(binary, "bench", "query", "--requests", "3000", "--rounds", "2", "--data", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", run, err, out)
		}
		for _, want := range []string{
			`3,000 requests in \d{4}-\d\d, [\d,]+ entries, [\d,]+ cells, [\d,]+ days by user`,
			`showback of the month by team and model +\d+\.\d +\d+\.\d +\d+\.\d +100 +\d+\.\d\n`,
			`request by id, its reading recorded +\d+\.\d +\d+\.\d +\d+\.\d +- +\d+\.\d\n`,
			`trace by id, its reading recorded +\d+\.\d +\d+\.\d +\d+\.\d +200 +\d+\.\d\n`,
		} {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("%s: nothing like %s in\n%s", run, want, out)
			}
		}
		if made := regexp.MustCompile(`made and rolled up in`).Match(out); made != (run == "first") {
			t.Errorf("%s: made is %v\n%s", run, made, out)
		}
	}
	if out, err := exec.Command(binary, "bench", "query", "--requests", "4000", "--data", dir).CombinedOutput(); err == nil || !regexp.MustCompile(`holds 3,000 requests, not 4,000`).Match(out) {
		t.Errorf("another number: %v\n%s", err, out)
	}

	quiet := slog.New(slog.DiscardHandler)
	store, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: filepath.Join(dir, "clickhouse"), Command: []string{binary}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	db, err := clickhouse.Open(t.Context(), embeddedClickHouse(store), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	proofs, err := aggregate.VerifyRollups(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range proofs {
		if !p.OK() || p.Checked < 3000 {
			t.Errorf("%s: %d of %d differ, %q", p.Name, p.Different, p.Checked, p.Problems)
		}
	}
	var requests, events uint64
	var listed, charged string
	err = db.QueryRow(t.Context(), `SELECT (SELECT count() FROM requests FINAL), (SELECT countIf(digest = SHA256(raw)) FROM events FINAL),
		(SELECT toString(sum(cost)) FROM requests FINAL), (SELECT toString(sum(cost)) FROM charges FINAL)`).Scan(&requests, &events, &listed, &charged)
	if err != nil || requests != 3000 || events != 3000 || listed != charged || listed == "0" {
		t.Errorf("%d requests that cost %s, %d events, entries that cost %s: %v", requests, listed, events, charged, err)
	}
}
