package retention

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

// reading is what a reader finds in a table of a folder: all rows and the sum of the decimal column, and the same of the rows since
// a time, which the reader may rule out by statistics, and of the negative ones.
type reading struct {
	Rows     uint64    `json:"rows"`
	Cost     money.Sum `json:"cost"`
	Since    uint64    `json:"since"`
	Later    money.Sum `json:"later"`
	Negative uint64    `json:"negative"`
	Debit    money.Sum `json:"debit"`
}

// The files of two days, of which one was corrected twice, are read by DuckDB, pyarrow and polars: rows, sums, what is left by a
// filter on time and on negative amounts are the ledger's; lists, maps and times have their types.
func TestReaders(t *testing.T) {
	python := os.Getenv("LEDGERLINE_READERS")
	if python == "" {
		if strings.Contains(os.Getenv("LEDGERLINE_REQUIRE"), "readers") {
			t.Fatal("LEDGERLINE_REQUIRE asks for other readers, LEDGERLINE_READERS names none")
		}
		t.Skip("LEDGERLINE_READERS names no Python with duckdb, pyarrow and polars; LEDGERLINE_REQUIRE=readers makes this a failure")
	}
	b, _ := corrected(t)
	since := monday.Add(36 * time.Hour)
	var want struct{ Charges reading }
	for into, query := range map[any]string{
		&want.Charges.Rows:     "SELECT count() FROM charges FINAL",
		&want.Charges.Cost:     "SELECT toString(sum(cost)) FROM charges FINAL",
		&want.Charges.Since:    "SELECT count() FROM charges FINAL WHERE charge_time >= '" + since.Format(time.DateTime) + "'",
		&want.Charges.Later:    "SELECT toString(sum(cost)) FROM charges FINAL WHERE charge_time >= '" + since.Format(time.DateTime) + "'",
		&want.Charges.Negative: "SELECT count() FROM charges FINAL WHERE cost < 0",
		&want.Charges.Debit:    "SELECT toString(sum(cost)) FROM charges FINAL WHERE cost < 0",
	} {
		if err := b.db.QueryRow(t.Context(), query).Scan(into); err != nil {
			t.Fatal(err)
		}
	}
	if want.Charges.Negative == 0 || want.Charges.Since == 0 {
		t.Fatalf("no negative amounts: %+v", want)
	}
	command := exec.Command(python, "testdata/readers.py", b.dir, since.Format("2006-01-02T15:04:05+00:00"))
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got map[string]reading
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, reader := range []string{"duckdb", "pyarrow", "polars"} {
		if got[reader] != want.Charges {
			t.Errorf("%s: got %+v, want %+v", reader, got[reader], want.Charges)
		}
		t.Logf("%s: %+v", reader, got[reader])
	}
	if _, err := os.Stat(filepath.Join(b.dir, "charges", "class=standard")); err != nil {
		t.Error(err)
	}
}
