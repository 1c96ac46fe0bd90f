package proxy

import (
	"bytes"
	"errors"
)

// head is what the header of a request says, read from its exact bytes: the
// lines go upstream as they came, in their order and case. The slices alias
// the header.
type head struct {
	lines []line

	bearer, apiKey []byte // the two places of a key
	encoding       []byte // Content-Encoding
	traceparent    []byte
	connection     []byte
	claims         [6][]byte // Ledger-* headers of the dimensions, in the order of event.DimensionNames
	sources        [][]byte  // the lines of Ledger-Sources
	length, te     bool      // Content-Length, Transfer-Encoding
	twice          bool      // a header that must be there once is there twice
}

type line struct {
	raw  []byte // with its CRLF
	name int    // length of the name
}

var errHead = errors.New("the request's header is not strictly HTTP/1.1")

// read reads the lines of a header. It is stricter than the server before it:
// lines end with CRLF, no continuation lines, no spaces in names, and not both
// Content-Length and Transfer-Encoding, since another proxy might read such a
// header otherwise.
func (h *head) read(raw []byte) error {
	*h = head{lines: h.lines[:0], sources: h.sources[:0]}
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\n')
		if i < 1 || raw[i-1] != '\r' {
			return errHead
		}
		l := raw[:i+1]
		raw = raw[i+1:]
		if len(l) == 2 {
			break
		}
		n := bytes.IndexByte(l, ':')
		if n < 1 {
			return errHead
		}
		name := l[:n]
		for _, c := range name {
			if !token[c] {
				return errHead
			}
		}
		h.lines = append(h.lines, line{l, n})
		if !interesting[byte(n)] {
			continue
		}
		h.field(name, bytes.Trim(l[n+1:len(l)-2], " \t"))
	}
	if h.length && h.te || h.twice {
		return errHead
	}
	return nil
}

// field keeps what is of interest here.
func (h *head) field(name, value []byte) {
	once := func(dst *[]byte) {
		h.twice = h.twice || *dst != nil
		*dst = value
	}
	switch {
	case is(name, "authorization"):
		once(&h.bearer)
	case is(name, "x-api-key"):
		once(&h.apiKey)
	case is(name, "content-length"):
		h.twice = h.twice || h.length
		h.length = true
	case is(name, "transfer-encoding"):
		h.twice = h.twice || h.te || !is(value, "chunked")
		h.te = true
	case is(name, "connection"):
		h.connection = value
	case is(name, "content-encoding"):
		once(&h.encoding)
	case is(name, "traceparent"):
		h.traceparent = value
	case is(name, "ledger-sources"):
		h.sources = append(h.sources, value)
	case len(name) > 7 && is(name[:7], "ledger-"):
		for i, claim := range claimHeaders {
			if is(name, claim) {
				once(&h.claims[i])
			}
		}
	}
}

// claimHeaders are the headers by which a client says its dimensions, in the
// order of event.DimensionNames.
var claimHeaders = [6]string{"ledger-business-unit", "ledger-team", "ledger-project", "ledger-user", "ledger-application", "ledger-use-case"}

// removed are the headers that never go upstream: hop-by-hop ones, the
// caller's key, and what the proxy says itself. Ledger-* goes too.
var removed = [...]string{
	"host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "proxy-authorization",
	"proxy-authenticate", "te", "trailer", "upgrade", "expect", "accept-encoding", "authorization", "x-api-key", "api-key",
}

// interesting and dropLength say for which lengths of a name it is worth
// comparing it.
var interesting, dropLength [256]bool

var token [256]bool

func init() {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		token[c] = true
	}
	for _, name := range removed {
		dropLength[len(name)] = true
		interesting[len(name)] = true
	}
	for _, name := range append(claimHeaders[:], "content-encoding", "traceparent", "ledger-sources") {
		interesting[len(name)] = true
	}
}

// appendLines appends the lines that go upstream.
func (h *head) appendLines(dst []byte) []byte {
	for _, l := range h.lines {
		if !h.drops(l.raw[:l.name]) {
			dst = append(dst, l.raw...)
		}
	}
	return dst
}

func (h *head) drops(name []byte) bool {
	if len(name) > 7 && name[6] == '-' && is(name[:7], "ledger-") {
		return true
	}
	if dropLength[byte(len(name))] {
		for _, r := range removed {
			if is(name, r) {
				return true
			}
		}
	}
	return len(h.connection) > 0 && listed(h.connection, name)
}

// listed reports whether the comma-separated list has the name.
func listed(list, name []byte) bool {
	for item := range bytes.SplitSeq(list, []byte{','}) {
		if bytes.EqualFold(bytes.Trim(item, " \t"), name) {
			return true
		}
	}
	return false
}

// is compares a name with one in lower case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// key is the text of the caller's virtual key, from either place.
func (h *head) key() []byte {
	if len(h.apiKey) > 0 {
		return h.apiKey
	}
	if len(h.bearer) > 7 && is(h.bearer[:7], "bearer ") {
		return bytes.TrimLeft(h.bearer[7:], " ")
	}
	return nil
}

// trace is the trace id and parent id of a W3C traceparent, or nothing:
// https://www.w3.org/TR/trace-context/#traceparent-header
func (h *head) trace() (trace, parent []byte) {
	t := h.traceparent
	if len(t) < 55 || t[2] != '-' || t[35] != '-' || t[52] != '-' || len(t) > 55 && (t[0] == '0' && t[1] == '0' || t[55] != '-') || t[0] == 'f' && t[1] == 'f' {
		return nil, nil
	}
	zero := true
	for i, c := range t[:55] {
		switch {
		case i == 2 || i == 35 || i == 52:
			continue
		case c < '0' || c > '9' && c < 'a' || c > 'f':
			return nil, nil
		}
		if i > 2 && i < 35 && c != '0' {
			zero = false
		}
	}
	if zero {
		return nil, nil
	}
	return t[3:35], t[36:52]
}
