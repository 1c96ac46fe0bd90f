package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Arg is what a statement is given besides its text: a [Param] or a [Table].
type Arg struct {
	name    string
	value   any
	columns []Column
}

// Param is the value of {name:Type} in a statement. Text, integers, Bool, []string,
// time.Time (to the microsecond), [16]byte for UUID, [32]byte for FixedString(32).
func Param(name string, value any) Arg {
	switch v := value.(type) {
	case [32]byte:
		value = string(v[:])
	case [16]byte:
		value = fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:])
	case time.Time:
		value = v.UTC().Format("2006-01-02 15:04:05.000000")
	}
	return Arg{name: name, value: value}
}

// Table sends columns along with a statement, which reads them as the temporary table name.
// Every column needs its Type.
func Table(name string, columns []Column) Arg { return Arg{name: name, columns: columns} }

// Rows are read with Next, Scan and Err, and must be closed.
type Rows = driver.Rows

// Row is the one row of [DB.QueryRow].
type Row = driver.Row

// Exec runs a statement without a result.
func (db *DB) Exec(ctx context.Context, query string, args ...Arg) error {
	ctx, conn, values, err := db.bind(ctx, args)
	if err != nil {
		return err
	}
	if err := conn.Exec(ctx, query, values...); err != nil {
		return fmt.Errorf("%s: %w", title(query), err)
	}
	return nil
}

// Select reads the whole result into dest, a pointer to a slice of structs whose fields have `ch:"column"` tags.
func (db *DB) Select(ctx context.Context, dest any, query string, args ...Arg) error {
	ctx, conn, values, err := db.bind(ctx, args)
	if err != nil {
		return err
	}
	if err := conn.Select(ctx, dest, query, values...); err != nil {
		return fmt.Errorf("%s: %w", title(query), err)
	}
	return nil
}

// Query streams a result.
func (db *DB) Query(ctx context.Context, query string, args ...Arg) (Rows, error) {
	ctx, conn, values, err := db.bind(ctx, args)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, query, values...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title(query), err)
	}
	return rows, nil
}

// QueryRow reads a result of one row; its Scan gives [NoRows] when there is none.
func (db *DB) QueryRow(ctx context.Context, query string, args ...Arg) Row {
	ctx, conn, values, err := db.bind(ctx, args)
	if err != nil {
		return failed{err}
	}
	return conn.QueryRow(ctx, query, values...)
}

type failed struct{ err error }

func (f failed) Err() error           { return f.err }
func (f failed) Scan(...any) error    { return f.err }
func (f failed) ScanStruct(any) error { return f.err }

func (db *DB) bind(ctx context.Context, args []Arg) (context.Context, driver.Conn, []any, error) {
	conn, err := db.session()
	if err != nil {
		return ctx, nil, nil, err
	}
	var values []any
	var tables []*ext.Table
	for _, a := range args {
		if a.columns == nil {
			values = append(values, clickhouse.Named(a.name, a.value))
			continue
		}
		var definitions []func(*ext.Table) error
		for _, c := range a.columns {
			definitions = append(definitions, ext.Column(c.Name, column.Type(c.Type)))
		}
		table, err := ext.NewTable(a.name, definitions...)
		if err != nil {
			return ctx, nil, nil, fmt.Errorf("table %s: %w", a.name, err)
		}
		if _, err := check(table.Block().Columns, a.columns); err != nil {
			return ctx, nil, nil, fmt.Errorf("table %s: %w", a.name, err)
		}
		if _, err := fill(table.Block().Columns, a.columns, nil); err != nil {
			return ctx, nil, nil, fmt.Errorf("table %s: %w", a.name, err)
		}
		tables = append(tables, table)
	}
	if tables != nil {
		ctx = clickhouse.Context(ctx, clickhouse.WithExternalTable(tables...))
	}
	return ctx, conn, values, nil
}

// title names a statement in an error: its leading comment, or its first line.
func title(query string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(query), "\n")
	return strings.TrimRight(strings.TrimPrefix(line, "-- "), ".:")
}
