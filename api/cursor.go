package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// A cursor is where the next page of a query begins, and as of which recorded_seq its pages are, so that they sum to the total
// whatever arrives between them. It holds a hash of the route, the period and the query: it belongs to that query alone.
//
//	0   8  as of
//	8   8  position: rows given, or the time of the last row in µs
//	16 16  id of the last row, or zero
//	32  8  hash of the query and of all of the above
type cursor struct {
	asOf     uint64
	position uint64
	id       [16]byte
}

var errCursor = invalid("cursor", "not a cursor of this query")

// question is what a cursor belongs to. The period stands apart from the query, where it may be left out and then moves with the
// clock. The order of parameters does not count.
type question struct {
	route    string
	from, to time.Time
	query    url.Values
}

// sum covers the question but for the page's own parameters.
func (c cursor) sum(q question) []byte {
	rest := url.Values{}
	for name, values := range q.query {
		if name != "cursor" && name != "limit" {
			rest[name] = values
		}
	}
	h := sha256.New()
	fmt.Fprintf(h, "ledgerline cursor\n%s\n%d %d\n%s\n", q.route, q.from.UnixMicro(), q.to.UnixMicro(), rest.Encode())
	h.Write(c.bytes())
	return h.Sum(nil)[:8]
}

func (c cursor) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.asOf)
	b = binary.BigEndian.AppendUint64(b, c.position)
	return append(b, c.id[:]...)
}

func (c cursor) text(q question) string {
	return base64.RawURLEncoding.EncodeToString(append(c.bytes(), c.sum(q)...))
}

// parseCursor reads a cursor of the question.
func parseCursor(text string, q question) (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 40 {
		return c, errCursor
	}
	c.asOf, c.position = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(c.id[:], b[16:32])
	if string(c.sum(q)) != string(b[32:]) || c.position > 1<<62 {
		return cursor{}, errCursor
	}
	return c, nil
}
