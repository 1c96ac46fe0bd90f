package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
)

// A cursor is where the next page of a query begins, and as of which recorded_seq its pages are, so that they sum to the total
// whatever arrives between them. It holds a hash of the query: it belongs to that query alone.
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

// queryHash covers every parameter but the page's own.
func (c cursor) sum(query url.Values) []byte {
	rest := url.Values{}
	for name, values := range query {
		if name != "cursor" && name != "limit" && name != "format" {
			rest[name] = values
		}
	}
	h := sha256.New()
	h.Write([]byte("ledgerline cursor\n" + rest.Encode() + "\n"))
	h.Write(c.bytes())
	return h.Sum(nil)[:8]
}

func (c cursor) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, c.asOf)
	b = binary.BigEndian.AppendUint64(b, c.position)
	return append(b, c.id[:]...)
}

func (c cursor) text(query url.Values) string {
	return base64.RawURLEncoding.EncodeToString(append(c.bytes(), c.sum(query)...))
}

// parseCursor reads a cursor of the query.
func parseCursor(text string, query url.Values) (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 40 {
		return c, errCursor
	}
	c.asOf, c.position = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	copy(c.id[:], b[16:32])
	if string(c.sum(query)) != string(b[32:]) || c.position > 1<<62 {
		return cursor{}, errCursor
	}
	return c, nil
}
