package clickhouse_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

var update = flag.Bool("update", false, "write the golden files anew")

func open(t *testing.T, target embeddedtest.ClickHouseTarget) *clickhouse.DB {
	t.Helper()
	db, err := clickhouse.Open(context.Background(), clickhouse.Config{
		Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// The schema that a real server makes of the migrations is the one in the golden file.
func TestSchema(t *testing.T) {
	db := open(t, embeddedtest.ClickHouse(t))
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Migrate(t.Context()); n != 0 || err != nil {
		t.Fatalf("a second Migrate ran %d, %v; want none", n, err)
	}
	var tables []struct {
		Name       string `ch:"name"`
		Definition string `ch:"definition"`
	}
	if err := db.Select(t.Context(), &tables, sql.Query("schema")); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, table := range tables {
		got.WriteString(table.Definition + "\n\n")
	}
	const golden = "../../sql/testdata/schema.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the server's schema is not %s (go test ./internal/clickhouse -update shows the difference in git):\n%s", golden, got.String())
	}
}

func TestMigrateMakesTheDatabase(t *testing.T) {
	target := embeddedtest.ClickHouse(t)
	target.Database += "_new"
	db := open(t, target)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), "DROP DATABASE "+target.Database+" SYNC"); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ damage, want string }{
		"a changed one":       {"INSERT INTO migrations (name, sha256) VALUES ('0002_events.sql', unhex('00'))", "was changed after"},
		"an unknown newer":    {"INSERT INTO migrations (name, sha256) VALUES ('9999_later.sql', unhex('00'))", "older than the database"},
		"an unknown between":  {"INSERT INTO migrations (name, sha256) VALUES ('0002_else.sql', unhex('00'))", "does not know"},
		"one that is missing": {"ALTER TABLE migrations DELETE WHERE name = '0003_requests.sql' SETTINGS mutations_sync = 1", "was left out"},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, embeddedtest.ClickHouse(t))
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.Exec(t.Context(), tt.damage); err != nil {
				t.Fatal(err)
			}
			if n, err := db.Migrate(t.Context()); err == nil || n != 0 || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Migrate ran %d, %v; want an error with %q", n, err, tt.want)
			}
		})
	}
}

// Every kind of column arrives as it was sent, also over 256 and 65,536 distinct values of a dictionary.
func TestInsertTypes(t *testing.T) {
	db := open(t, embeddedtest.ClickHouse(t))
	err := db.Exec(t.Context(), `CREATE TABLE kinds (n UInt32, s String, l LowCardinality(String), d LowCardinality(String), f FixedString(3), f16 FixedString(16),
		f32 FixedString(32), u UUID, b Bool, i8 Int8, u8 UInt8, u16 UInt16, day Date, at DateTime('UTC'), t DateTime64(6, 'UTC'), i Int64, ni Nullable(Int64), nu Nullable(UInt64),
		m Decimal(38, 12), nm Nullable(Decimal(38, 12)), al Array(LowCardinality(String)), an Array(UInt16), at64 Array(DateTime64(6, 'UTC'))) ENGINE = MergeTree ORDER BY n`)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 70_000
	var (
		n, at    []uint32
		s        []string
		distinct clickhouse.Dictionary
		f        [][]byte
		ids      [][16]byte
		digests  [][32]byte
		b        []bool
		i8       []int8
		u8       []uint8
		u16      []uint16
		i        []int64
		ni       clickhouse.NullInt64
		nu       clickhouse.NullUint64
		m        clickhouse.Decimals
		al       [][]string
		an       clickhouse.Array
		days     []uint16
	)
	an.Values = []uint16{}
	for k := range rows {
		odd := k%2 == 1
		n, at, s = append(n, uint32(k)), append(at, uint32(k)), append(s, strings.Repeat("x", k%300))
		distinct.Append(string(rune('a'+k%26)) + strings.Repeat("y", k%7) + time.Duration(k).String())
		f, ids, digests = append(f, []byte{byte(k), 0, 'z'}), append(ids, [16]byte{0: 1, 7: byte(k), 8: 9, 15: 7}), append(digests, [32]byte{31: byte(k)})
		b, i8, u8, u16, days = append(b, odd), append(i8, int8(k)), append(u8, uint8(k)), append(u16, uint16(k)), append(days, uint16(k%30000))
		v := int64(k) * 1_000_003
		if odd {
			v = -v
		}
		i, al = append(i, v), append(al, s[k:k:k])
		if odd {
			al[k] = []string{"one", s[k]}
		}
		ni.Values, ni.Null = append(ni.Values, v), append(ni.Null, odd)
		nu.Values, nu.Null = append(nu.Values, uint64(k)), append(nu.Null, !odd)
		m.Pico, m.Null = append(m.Pico, v), append(m.Null, odd)
		if odd {
			an.Values = append(an.Values.([]uint16), uint16(k), 1)
		}
		an.Ends = append(an.Ends, uint64(len(an.Values.([]uint16))))
	}
	columns := []clickhouse.Column{
		{Name: "n", Data: n}, {Name: "s", Data: s}, {Name: "l", Data: s}, {Name: "d", Data: &distinct}, {Name: "f", Data: f}, {Name: "f16", Data: ids}, {Name: "f32", Data: digests},
		{Name: "u", Data: ids}, {Name: "b", Data: b}, {Name: "i8", Data: i8}, {Name: "u8", Data: u8}, {Name: "u16", Data: u16}, {Name: "day", Data: days}, {Name: "at", Data: at}, {Name: "t", Data: i},
		{Name: "i", Data: i}, {Name: "ni", Data: ni}, {Name: "nu", Data: nu}, {Name: "m", Data: clickhouse.Decimals{Pico: m.Pico}}, {Name: "nm", Data: m}, {Name: "al", Data: al}, {Name: "an", Data: an},
		{Name: "at64", Data: clickhouse.Array{Ends: an.Ends, Values: make([]int64, len(an.Values.([]uint16)))}},
	}
	if err := db.Insert(t.Context(), "kinds", "", columns); err != nil {
		t.Fatal(err)
	}
	// The server makes the same values by itself and counts what differs.
	var wrong uint64
	err = db.QueryRow(t.Context(), `SELECT countIf(NOT (
		s = repeat('x', n % 300) AND l = s AND startsWith(d, concat(char(97 + n % 26), repeat('y', n % 7)))
		AND f = concat(char(n % 256), char(0), 'z') AND f16 = unhex(concat('01000000000000', leftPad(hex(toUInt8(n % 256)), 2, '0'), '0900000000000007'))
		AND u = toUUID(concat('01000000-0000-00', lower(hex(toUInt8(n % 256))), '-0900-000000000007')) AND hex(f32) = concat(repeat('00', 31), hex(toUInt8(n % 256)))
		AND b = (n % 2 = 1) AND i8 = toInt8(n % 256) AND u8 = toUInt8(n % 256) AND u16 = toUInt16(n % 65536) AND toUInt32(day) = n % 30000 AND toUInt32(at) = n
		AND i = if(b, -1, 1) * toInt64(n) * 1000003 AND toUnixTimestamp64Micro(t) = i AND ni IS NOT DISTINCT FROM if(b, NULL, i) AND nu IS NOT DISTINCT FROM if(b, toUInt64(n), NULL)
		AND toInt128(m * 1000000000000) = i AND nm IS NOT DISTINCT FROM if(b, NULL, m) AND al = if(b, ['one', s], []) AND an = if(b, [toUInt16(n % 65536), 1], []) AND length(at64) = length(an)
		)) + if(uniqExact(d) = 70000, 0, 1) + if(count() = 70000, 0, 1) FROM kinds`).Scan(&wrong)
	if err != nil || wrong != 0 {
		t.Fatalf("%d rows differ, %v", wrong, err)
	}
	for k, bad := range []clickhouse.Column{
		{Name: "u", Data: i}, {Name: "t", Data: []uint64{1}}, {Name: "i", Data: []uint64{1}}, {Name: "n", Data: u8}, {Name: "f", Data: [][]byte{{1}}}, {Name: "m", Data: m},
		{Name: "an", Data: clickhouse.Array{Ends: []uint64{2}, Values: []uint16{1}}}, {Name: "l", Data: []any{"x"}},
	} {
		if err := db.Insert(t.Context(), "kinds", "", []clickhouse.Column{bad}); err == nil || clickhouse.Temporary(err) {
			t.Errorf("%d: insert of a wrong %s gave %v, want a lasting error", k, bad.Name, err)
		}
	}
	if err := db.Insert(t.Context(), "kinds", "", []clickhouse.Column{{Name: "n", Data: n}, {Name: "s", Data: s[1:]}}); err == nil {
		t.Error("columns of different lengths went in")
	}
}

// A token drops the retry of an insert, and only it.
func TestInsertToken(t *testing.T) {
	db := open(t, embeddedtest.ClickHouse(t))
	if err := db.Exec(t.Context(), "CREATE TABLE r (n UInt32, m UInt32) ENGINE = MergeTree PARTITION BY n % 3 ORDER BY n SETTINGS non_replicated_deduplication_window = 10"); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"a", "a", "b", ""} {
		if err := db.Insert(t.Context(), "r", token, []clickhouse.Column{{Name: "n", Data: []uint32{1, 2, 3}}, {Name: "m", Data: []uint32{7, 7, 7}}}); err != nil {
			t.Fatal(err)
		}
	}
	var count uint64
	if err := db.QueryRow(t.Context(), "SELECT count() FROM r").Scan(&count); err != nil || count != 9 {
		t.Fatalf("%d rows, %v; want 9", count, err)
	}
}

func TestParameters(t *testing.T) {
	db := open(t, embeddedtest.ClickHouse(t))
	at := time.Date(2026, 11, 24, 10, 0, 0, 123456000, time.UTC)
	id := [16]byte{1, 2, 3, 4, 5, 6, 0x77, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	text := "it's \\ a\ttab, \x00 and {x:String}"
	var gotText, gotTime, gotID, gotDigest string
	var gotList []string
	var gotCount uint64
	var cost money.Sum
	err := db.QueryRow(t.Context(), `SELECT {text:String}, toString({at:DateTime64(6, 'UTC')}), toString({id:UUID}), hex({digest:FixedString(32)}), {list:Array(String)},
		(SELECT count() FROM sent WHERE id = {id:UUID}), toString(toDecimal128('-12.000000000001', 12))`,
		clickhouse.Param("text", text), clickhouse.Param("at", at), clickhouse.Param("id", id), clickhouse.Param("digest", [32]byte{9, 10, '\\', 31: '\''}), clickhouse.Param("list", []string{"a'b", text}),
		clickhouse.Table("sent", []clickhouse.Column{{Name: "id", Type: "UUID", Data: [][16]byte{id, {}, id}}}),
	).Scan(&gotText, &gotTime, &gotID, &gotDigest, &gotList, &gotCount, &cost)
	if err != nil {
		t.Fatal(err)
	}
	if gotText != text || gotTime != "2026-11-24 10:00:00.123456" || gotID != "01020304-0506-7708-090a-0b0c0d0e0f10" || !strings.HasPrefix(gotDigest, "090A5C00") ||
		!strings.HasSuffix(gotDigest, "27") || len(gotList) != 2 || gotList[1] != text || gotCount != 2 || cost.String() != "-12.000000000001" {
		t.Errorf("got %q %s %s %s %q %d %s", gotText, gotTime, gotID, gotDigest, gotList, gotCount, cost)
	}
	if err := db.QueryRow(t.Context(), "SELECT 1 WHERE 0").Scan(&gotCount); !errors.Is(err, clickhouse.NoRows) {
		t.Errorf("an empty result gives %v", err)
	}
}

func TestTemporary(t *testing.T) {
	db := open(t, embeddedtest.ClickHouse(t))
	if err := db.Exec(t.Context(), "SELECT nothing_of_this_name"); err == nil || clickhouse.Temporary(err) {
		t.Errorf("an unknown column is temporary: %v", err)
	}
	if err := db.Exec(t.Context(), "SELECT throwIf(1, 'x', 241::Int16) SETTINGS allow_custom_error_code_in_throwif = 1"); !clickhouse.Temporary(err) {
		t.Errorf("the memory limit is not temporary: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	_, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{closed.Addr().String()}, Database: "x"}, slog.New(slog.DiscardHandler))
	if !clickhouse.Temporary(err) {
		t.Errorf("a refused connection is not temporary: %v", err)
	}
}
