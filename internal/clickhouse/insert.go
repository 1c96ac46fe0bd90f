package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Insert writes the columns as one block of one synchronous INSERT. When it
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
	if err := fill(batch.Columns(), columns); err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	rows := batch.Rows()
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", rows, table, err)
	}
	return nil
}
