package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
)

// stream is an Arrow answer read back: its schema and its rows as texts.
type stream struct {
	types []string
	meta  map[string]string
	rows  [][]string
}

func readArrow(t *testing.T, body []byte) stream {
	t.Helper()
	r, err := ipc.NewReader(bytes.NewReader(body))
	must(t, err)
	defer r.Release()
	s := stream{meta: map[string]string{}}
	for i, f := range r.Schema().Fields() {
		if f.Nullable {
			t.Errorf("column %s may be null", f.Name)
		}
		s.types = append(s.types, fmt.Sprint(r.Schema().Field(i).Name, " ", f.Type))
	}
	meta := r.Schema().Metadata()
	for i, key := range meta.Keys() {
		s.meta[key] = meta.Values()[i]
	}
	for r.Next() {
		record := r.Record()
		for n := range int(record.NumRows()) {
			var row []string
			for _, column := range record.Columns() {
				switch column := column.(type) {
				case *array.Decimal128:
					row = append(row, column.Value(n).ToString(column.DataType().(*arrow.Decimal128Type).Scale))
				case *array.Timestamp:
					row = append(row, column.Value(n).ToTime(arrow.Microsecond).UTC().Format(time.RFC3339))
				case *array.Date32:
					row = append(row, column.Value(n).ToTime().Format(time.DateOnly))
				default:
					row = append(row, column.ValueStr(n))
				}
			}
			s.rows = append(s.rows, row)
		}
	}
	must(t, r.Err())
	return s
}

var arrowFigures = []string{"requests int64", "quantity int64", "cost decimal(38, 12)", "unpriced int64", "unmeasured int64"}

// An Arrow answer says what the JSON answer says: the same rows, typed, its pages too.
func TestArrow(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for _, c := range []struct {
		by    string
		types []string
	}{
		{"", nil},
		{"team,project,class", []string{"team utf8", "project utf8", "class utf8"}},
		{"hour,team", []string{"hour timestamp[us, tz=UTC]", "team utf8"}},
		{"day", []string{"day date32"}},
		{"model,month", []string{"model utf8", "month date32"}},
	} {
		path := "/v1/showback?tz=Asia/Kathmandu"
		if c.by != "" {
			path += "&group_by=" + c.by
		}
		want := ask[struct {
			Rows  []map[string]any
			Total figures
			stamp
		}](b, Finance, path)
		_, header, body := b.get(b.keys[Finance], path, "Accept", mediaArrow)
		if header.Get("Content-Type") != mediaArrow || header.Get("Ledger-As-Of") != want.AsOf || header.Get("Ledger-Total-Cost") != want.Total.Cost.String() {
			t.Errorf("%s: header %v", c.by, header)
		}
		got := readArrow(t, body)
		if !slices.Equal(got.types, append(c.types, arrowFigures...)) {
			t.Errorf("%s: columns %q", c.by, got.types)
		}
		if got.meta["as_of"] != want.AsOf || got.meta["complete_through"] != *want.CompleteThrough || got.meta["next_cursor"] != "" || got.meta["total_cost"] != want.Total.Cost.String() {
			t.Errorf("%s: metadata %v", c.by, got.meta)
		}
		var rows [][]string
		for _, row := range want.Rows {
			var line []string
			if c.by != "" {
				for _, name := range strings.Split(c.by, ",") {
					text := row[name].(string)
					switch name {
					case "hour":
						at, err := time.Parse(time.RFC3339, text)
						must(t, err)
						text = at.UTC().Format(time.RFC3339)
					case "month":
						text += "-01"
					}
					line = append(line, text)
				}
			}
			for _, name := range figureNames {
				text := fmt.Sprint(row[name])
				if n, ok := row[name].(float64); ok {
					text = fmt.Sprint(int64(n))
				}
				line = append(line, text)
			}
			rows = append(rows, line)
		}
		if len(rows) == 0 || fmt.Sprint(got.rows) != fmt.Sprint(rows) {
			t.Errorf("%s: rows %v, want %v", c.by, got.rows, rows)
		}
	}

	// Pages follow one another as those of CSV do, and sum to the total.
	var cost money.Sum
	n := 0
	const path = "/v1/showback?group_by=team,class&format=arrow&limit=3"
	for next := ""; ; {
		_, _, body := b.get(b.keys[Finance], path+next)
		page := readArrow(t, body)
		for _, row := range page.rows {
			line, err := money.ParseSum(row[4])
			must(t, err)
			cost, n = cost.Plus(line), n+1
		}
		if total := page.meta["total_cost"]; page.meta["next_cursor"] == "" {
			if n <= 3 || cost.String() != total {
				t.Errorf("%d rows sum to %s, total %s", n, cost, total)
			}
			break
		}
		next = "&cursor=" + page.meta["next_cursor"]
	}

	// No rows are still a stream, which says its columns.
	_, _, body := b.get(b.keys[Finance], "/v1/showback?group_by=team&format=arrow&from=2020-01-01&to=2020-02-01")
	if none := readArrow(t, body); len(none.rows) != 0 || !slices.Equal(none.types, append([]string{"team utf8"}, arrowFigures...)) || none.meta["total_cost"] != "0.000000000000" {
		t.Errorf("of a time without calls: %+v", none)
	}
}

// arrowOf is a report as the API writes it.
func arrowOf(t *testing.T, r aggregate.Report) []byte {
	t.Helper()
	answer := httptest.NewRecorder()
	must(t, (&server{}).showbackArrow(echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/v1/showback", nil), answer), r, ""))
	return answer.Body.Bytes()
}

// More rows than a batch has all come, in order.
func TestArrowIsWhole(t *testing.T) {
	t.Parallel()
	rows := make([]aggregate.Row, batchRows*2+7)
	for i := range rows {
		line, err := money.Parse(fmt.Sprintf("-0.%012d", i))
		must(t, err)
		rows[i] = aggregate.Row{Group: []string{fmt.Sprint("team-", i)}, Figures: aggregate.Figures{Requests: int64(i), Cost: money.Sum{}.Add(line)}}
	}
	got := readArrow(t, arrowOf(t, aggregate.Report{GroupBy: []string{"team"}, Rows: rows}))
	if len(got.rows) != len(rows) {
		t.Fatalf("%d rows, want %d", len(got.rows), len(rows))
	}
	for i, row := range got.rows {
		if row[0] != rows[i].Group[0] || row[1] != fmt.Sprint(i) || row[3] != rows[i].Cost.String() {
			t.Fatalf("row %d is %v, want %+v", i, row, rows[i])
		}
	}
}

// A cost keeps each of its digits, of either sign; one that the column cannot hold ends the answer instead of being another.
func TestArrowDecimal(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0.000000000000", "-0.000000000001", "1.100000000001", "99999999999999999999999999.999999999999", "-99999999999999999999999999.999999999999"} {
		sum, err := money.ParseSum(text)
		must(t, err)
		if got, err := decimalOf(sum); err != nil || got.ToString(12) != text {
			t.Errorf("%s becomes %s, %v", text, got.ToString(12), err)
		}
	}
	for _, text := range []string{"100000000000000000000000000.000000000000", "-100000000000000000000000000.000000000000"} {
		sum, err := money.ParseSum(text)
		must(t, err)
		if got, err := decimalOf(sum); err == nil {
			t.Errorf("%s becomes %s", text, got.ToString(12))
		}
	}
}

// The readers that a warehouse has read what was meant: LEDGERLINE_READERS names a Python that has pyarrow and polars.
func TestArrowReaders(t *testing.T) {
	python := os.Getenv("LEDGERLINE_READERS")
	if python == "" {
		if strings.Contains(os.Getenv("LEDGERLINE_REQUIRE"), "readers") {
			t.Fatal("LEDGERLINE_READERS must name a Python with pyarrow and polars")
		}
		t.Skip("LEDGERLINE_READERS names no Python with pyarrow and polars")
	}
	t.Parallel()
	b := newBed(t)
	for _, by := range []string{"hour,project,class", "day,team", "model,month"} {
		_, _, body := b.get(b.keys[Finance], "/v1/showback?group_by="+by, "Accept", mediaArrow)
		checkReaders(t, python, body)
	}
	// Sums below zero, and such as no float holds.
	var rows []aggregate.Row
	for _, text := range []string{"-12345678901234567.123456789012", "0.000000000001", "99999999999999999999.999999999999", "-0.000000000001"} {
		sum, err := money.ParseSum(text)
		must(t, err)
		rows = append(rows, aggregate.Row{Group: []string{"größer"}, Figures: aggregate.Figures{Quantity: -1 << 60, Cost: sum}})
	}
	checkReaders(t, python, arrowOf(t, aggregate.Report{GroupBy: []string{"team"}, Rows: rows}))
}

func checkReaders(t *testing.T, python string, body []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "showback.arrow")
	must(t, os.WriteFile(path, body, 0o600))
	command := exec.CommandContext(t.Context(), python, "testdata/arrow_readers.py", path)
	command.Stderr = os.Stderr
	out, err := command.Output()
	must(t, err)
	want := readArrow(t, body)
	type told struct {
		Types []string
		Meta  map[string]string
		Rows  [][]string
	}
	var got map[string]told
	must(t, json.Unmarshal(out, &got))
	if got["pyarrow"].Meta["as_of"] != want.meta["as_of"] || got["pyarrow"].Meta["complete_through"] != want.meta["complete_through"] {
		t.Errorf("pyarrow has the metadata %v", got["pyarrow"].Meta)
	}
	for _, reader := range []string{"pyarrow", "polars"} {
		if fmt.Sprint(got[reader].Rows) != fmt.Sprint(want.rows) || len(want.rows) == 0 {
			t.Errorf("%s reads %v, want %v", reader, got[reader].Rows, want.rows)
		}
		if types := fmt.Sprint(got[reader].Types); !strings.Contains(strings.ToLower(types), "cost decimal") {
			t.Errorf("%s has the types %s", reader, types)
		}
	}
}
