package retention

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go"
)

// stream is rows of a number, a text, a list that may be empty and a number that may be missing, in batches of a size.
func stream(t *testing.T, rows, batch int) *bytes.Buffer {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String},
		{Name: "list", Type: arrow.ListOfNonNullable(arrow.BinaryTypes.String)}, {Name: "maybe", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for n := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(n))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprint("text ", n*n))
		list := b.Field(2).(*array.ListBuilder)
		list.Append(true)
		for k := range n % 3 {
			list.ValueBuilder().(*array.StringBuilder).Append(fmt.Sprint(n, " ", k))
		}
		if n%5 == 0 {
			b.Field(3).AppendNull()
		} else {
			b.Field(3).(*array.Int64Builder).Append(int64(-n))
		}
		if (n+1)%batch == 0 || n+1 == rows {
			record := b.NewRecord()
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
			record.Release()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// The bytes of a file do not depend on how its rows arrive; row groups end after groupRows, and the values are those that were sent.
func TestEncode(t *testing.T) {
	const rows = groupRows + chunkRows + 77
	var first []byte
	for _, batch := range []int{rows, 777, 65_409} {
		var file bytes.Buffer
		n, columns, err := encode(t.Context(), "test", stream(t, rows, batch), &file)
		if err != nil || n != rows {
			t.Fatalf("%d rows, %v", n, err)
		}
		if got := fmt.Sprint(columns); got != "[{n INT(64,true)} {text STRING} {list LIST<STRING>} {maybe INT(64,true) NULL}]" {
			t.Errorf("columns %s", got)
		}
		if first == nil {
			first = file.Bytes()
		}
		if !bytes.Equal(first, file.Bytes()) {
			t.Errorf("batches of %d rows give other bytes", batch)
		}
	}
	f, err := parquet.OpenFile(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	if groups := f.RowGroups(); len(groups) != 2 || groups[0].NumRows() != groupRows {
		t.Errorf("%d row groups", len(groups))
	}
	type line struct {
		N     int64    `parquet:"n"`
		Text  string   `parquet:"text"`
		List  []string `parquet:"list,list"`
		Maybe *int64   `parquet:"maybe"`
	}
	got, err := parquet.Read[line](bytes.NewReader(first), int64(len(first)))
	if err != nil || len(got) != rows {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for n, l := range got {
		var list []string
		for k := range n % 3 {
			list = append(list, fmt.Sprint(n, " ", k))
		}
		if l.N != int64(n) || l.Text != fmt.Sprint("text ", n*n) || strings.Join(l.List, ",") != strings.Join(list, ",") ||
			(l.Maybe == nil) != (n%5 == 0) || l.Maybe != nil && *l.Maybe != int64(-n) {
			t.Fatalf("row %d: %+v", n, l)
		}
	}
	// A stream that ends in the middle of a batch is an error.
	whole := stream(t, 1000, 100).Bytes()
	if _, _, err := encode(t.Context(), "test", bytes.NewReader(whole[:len(whole)*2/3]), &bytes.Buffer{}); err == nil {
		t.Error("no error of a stream that was cut")
	}
}
