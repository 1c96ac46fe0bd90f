package aggregate

import (
	"context"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

// Store is what runs the statements of this package: a *clickhouse.DB.
type Store interface {
	Exec(ctx context.Context, query string, args ...clickhouse.Arg) error
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
	QueryRow(ctx context.Context, query string, args ...clickhouse.Arg) clickhouse.Row
}
