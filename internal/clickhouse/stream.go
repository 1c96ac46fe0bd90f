package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Stream runs a query and gives its result in one of the server's formats, such as ArrowStream, as it comes. It goes over HTTP,
// where alone the server converts formats, to [Config.HTTPAddr]. An error of the server in the middle of the result is one of Read.
// The caller closes the stream.
func (db *DB) Stream(ctx context.Context, format, query string, args ...Arg) (io.ReadCloser, error) {
	if _, err := db.session(); err != nil {
		return nil, err
	}
	conn, err := db.http()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title(query), err)
	}
	var values []any
	for _, a := range args {
		if a.columns != nil {
			return nil, fmt.Errorf("%s: a stream takes no table", title(query))
		}
		values = append(values, clickhouse.Named(a.name, a.value))
	}
	stream, err := conn.QueryFormat(ctx, format, query, values...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title(query), err)
	}
	return stream, nil
}

// openHTTP makes the connection that streams go through; nothing is sent yet.
func openHTTP(addr []string, options clickhouse.Options) (driver.Conn, error) {
	if len(addr) == 0 {
		return nil, errors.New("the address of the store's HTTP interface is not known")
	}
	options.Addr, options.Protocol = addr, clickhouse.HTTP
	return clickhouse.Open(&options)
}
