package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Insert writes the columns with one synchronous INSERT. When it
// returns nil the server has the rows; an error can mean either. A token that
// the table has seen within its last non_replicated_deduplication_window
// blocks makes the server drop the rows in silence, so it must name their
// content; empty: no such check.
func (db *DB) Insert(ctx context.Context, table, token string, columns []Column) error {
	conn, err := db.session()
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = "`" + c.Name + "`"
	}
	settings := clickhouse.Settings{
		"async_insert": 0,
		// Else the server merges the rows of a ReplacingMergeTree before it
		// writes them, row by row: half the cost of an insert of wide rows.
		"optimize_on_insert": 0,
		// a batch may bring a history of many months
		"max_partitions_per_insert_block": 0,
	}
	if token != "" {
		settings["insert_deduplicate"] = 1
		settings["insert_deduplication_token"] = token
	}
	batch, err := conn.PrepareBatch(clickhouse.Context(ctx, clickhouse.WithSettings(settings)),
		"INSERT INTO `"+table+"` ("+strings.Join(names, ", ")+")")
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	defer batch.Abort()
	rows, err := check(batch.Columns(), columns)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	for from := 0; from < rows; from += blockRows {
		to := min(from+blockRows, rows)
		part := make([]Column, len(columns))
		for i, c := range columns {
			part[i] = Column{Name: c.Name, Data: slice(c.Data, from, to)}
		}
		if *scratch, err = fill(batch.Columns(), part, *scratch); err != nil {
			return fmt.Errorf("insert into %s: %w", table, err)
		}
		if to < rows {
			err = batch.Flush()
		} else {
			err = batch.Send()
		}
		if err != nil {
			return fmt.Errorf("insert %d rows into %s: %w", rows, table, err)
		}
	}
	return nil
}

// blockRows are the rows of a block on the wire. The client's columns keep
// their memory from block to block, so smaller ones cost less than one that
// grows; the server puts the blocks of one INSERT together again (up to
// min_insert_block_size_rows, a million, and 256 MB).
const blockRows = 4096

// scratches are memory that columns were encoded in.
var scratches = sync.Pool{New: func() any { return new([]byte) }}
