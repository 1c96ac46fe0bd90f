package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// NoRows is what Scan of a [Row] gives when the result is empty.
var NoRows = sql.ErrNoRows

// temporary are the server's answers (src/Common/ErrorCodes.cpp) that time or an operator can cure without
// a change of the statement or its rows: too busy, out of memory or disk, a
// replica or Keeper away, a server starting or stopping.
var temporary = []int32{
	159, // TIMEOUT_EXCEEDED
	202, // TOO_MANY_SIMULTANEOUS_QUERIES
	203, // NO_FREE_CONNECTION
	209, // SOCKET_TIMEOUT
	210, // NETWORK_ERROR
	225, // NO_ZOOKEEPER
	236, // ABORTED
	241, // MEMORY_LIMIT_EXCEEDED
	242, // TABLE_IS_READ_ONLY
	243, // NOT_ENOUGH_SPACE
	252, // TOO_MANY_PARTS
	265, // UNABLE_TO_SKIP_UNUSED_SHARDS
	279, // ALL_CONNECTION_TRIES_FAILED
	285, // TOO_FEW_LIVE_REPLICAS
	286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	319, // UNKNOWN_STATUS_OF_INSERT
	394, // QUERY_WAS_CANCELLED
	439, // CANNOT_SCHEDULE_TASK
	999, // KEEPER_EXCEPTION
}

// Temporary reports whether the same statement may succeed later: the store is
// away or overloaded. A schema, type or permission error is not temporary.
func Temporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if c := code(err); c != 0 {
		return slices.Contains(temporary, c)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, clickhouse.ErrAcquireConnTimeout) || errors.Is(err, context.DeadlineExceeded)
}

func code(err error) int32 {
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		return exception.Code
	}
	return 0
}
