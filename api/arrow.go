package api

import (
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
)

// mediaArrow is the Arrow IPC streaming format, as registered with IANA.
const mediaArrow = "application/vnd.apache.arrow.stream"

// batchRows is how many rows go out at a time.
const batchRows = 4096

var (
	typeCost = &arrow.Decimal128Type{Precision: 38, Scale: money.Scale}
	typeTime = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
)

// showbackSchema is the columns of showback's rows and, as metadata, what JSON says beside them. Nothing in it is ever null. An hour is
// an instant; a day and a month are dates of the asker's time zone, a month its first day.
func showbackSchema(r aggregate.Report, next string) *arrow.Schema {
	var fields []arrow.Field
	for _, name := range r.GroupBy {
		field := arrow.Field{Name: name, Type: arrow.BinaryTypes.String}
		switch name {
		case "hour":
			field.Type = typeTime
		case "day", "month":
			field.Type = arrow.FixedWidthTypes.Date32
		}
		fields = append(fields, field)
	}
	for _, name := range figureNames {
		field := arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64}
		if name == "cost" {
			field.Type = typeCost
		}
		fields = append(fields, field)
	}
	at := stampOf(r.AsOf)
	keys, values := []string{"as_of", "next_cursor"}, []string{at.AsOf, next}
	if at.CompleteThrough != nil {
		keys, values = append(keys, "complete_through"), append(values, *at.CompleteThrough)
	}
	for i, text := range figureTexts(r.Total) {
		keys, values = append(keys, "total_"+figureNames[i]), append(values, text)
	}
	meta := arrow.NewMetadata(keys, values)
	return arrow.NewSchema(fields, &meta)
}

// showbackArrow writes the rows of a page as an Arrow IPC stream, batch by batch. One that ends early is cut, so that it cannot be taken
// for a whole one.
func (s *server) showbackArrow(c echo.Context, r aggregate.Report, next string) error {
	showbackHeader(c.Response().Header(), r, next)
	c.Response().Header().Set(echo.HeaderContentType, mediaArrow)
	c.Response().WriteHeader(http.StatusOK)
	schema := showbackSchema(r, next)
	batch := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer batch.Release()
	w := ipc.NewWriter(c.Response(), ipc.WithSchema(schema))
	for rows := r.Rows; len(rows) > 0; {
		n := min(len(rows), batchRows)
		if err := writeBatch(w, batch, r.GroupBy, rows[:n]); err != nil {
			return errors.Join(fmt.Errorf("write showback as Arrow: %w", err), http.ErrAbortHandler)
		}
		rows = rows[n:]
	}
	if err := w.Close(); err != nil { // it also writes the schema of a stream without rows
		return errors.Join(fmt.Errorf("end showback as Arrow: %w", err), http.ErrAbortHandler)
	}
	return nil
}

func writeBatch(w *ipc.Writer, batch *array.RecordBuilder, groupBy []string, rows []aggregate.Row) error {
	for _, row := range rows {
		for i, name := range groupBy {
			if err := appendGroup(batch.Field(i), name, row.Group[i]); err != nil {
				return err
			}
		}
		cost, err := decimalOf(row.Cost)
		if err != nil {
			return err
		}
		for i, v := range []any{row.Requests, row.Quantity, cost, row.Unpriced, row.Unmeasured} { // as figureNames
			switch column := batch.Field(len(groupBy) + i).(type) {
			case *array.Int64Builder:
				column.Append(v.(int64))
			case *array.Decimal128Builder:
				column.Append(v.(decimal128.Num))
			}
		}
	}
	record := batch.NewRecord()
	defer record.Release()
	return w.Write(record)
}

// appendGroup puts a group's value, as showback writes it, into its column.
func appendGroup(column array.Builder, name, value string) error {
	var t time.Time
	var err error
	switch column := column.(type) {
	case *array.StringBuilder:
		column.Append(value)
	case *array.TimestampBuilder:
		if t, err = time.Parse(time.RFC3339, value); err == nil {
			column.Append(arrow.Timestamp(t.UnixMicro()))
		}
	case *array.Date32Builder:
		layout := time.DateOnly
		if name == "month" {
			layout = "2006-01"
		}
		if t, err = time.Parse(layout, value); err == nil {
			column.Append(arrow.Date32FromTime(t))
		}
	}
	return err
}

// decimalOf is a sum as DECIMAL(38,12), or an error for one of over 26 digits before the point.
func decimalOf(sum money.Sum) (decimal128.Num, error) {
	whole, ok := new(big.Int).SetString(strings.Replace(sum.String(), ".", "", 1), 10)
	if !ok || len(new(big.Int).Abs(whole).String()) > int(typeCost.Precision) {
		return decimal128.Num{}, fmt.Errorf("%s does not fit DECIMAL(%d,%d)", sum, typeCost.Precision, typeCost.Scale)
	}
	return decimal128.FromBigInt(whole), nil
}
