package clickhouse_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
)

// A stream takes parameters as other statements do, and an error in the middle of it is an error.
func TestStream(t *testing.T) {
	target := embeddedtest.ClickHouse(t)
	db, err := clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{target.Addr}, HTTPAddr: []string{target.HTTPAddr}, Database: target.Database, User: target.User, Password: target.Password,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	read := func(query string) (string, error) {
		stream, err := db.Stream(t.Context(), "TSV", query, clickhouse.Param("text", "it's"), clickhouse.Param("last", uint64(500_000)))
		if err != nil {
			return "", err
		}
		defer stream.Close()
		text, err := io.ReadAll(stream)
		return string(text), err
	}
	if got, err := read("SELECT {text:String}, currentDatabase()"); got != `it\'s`+"\t"+target.Database+"\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := read("SELECT number, throwIf(number = {last:UInt64}) FROM numbers(1000000) SETTINGS max_block_size = 1000"); err == nil || len(got) == 0 {
		t.Errorf("an error in the middle gave %d bytes and %v", len(got), err)
	}
	none := open(t, target) // knows no HTTP address
	if _, err := none.Stream(t.Context(), "TSV", "SELECT 1"); err == nil {
		t.Error("no error without an address")
	}
}
