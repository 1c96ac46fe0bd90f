package proxy

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// A client says which datasets fed the prompt in Ledger-Sources, a list of
// RFC 9651 (https://www.rfc-editor.org/rfc/rfc9651) whose members are strings,
// or display strings where a name is not ASCII:
//
//	Ledger-Sources: "postgres://crm:5432|crm.public.customers";v="2026-11-01";role=context;n=12, "s3://policies|kyc/handbook.pdf";chunks=6
//
// A member is the namespace and the name of the dataset as in OpenLineage,
// with a vertical bar between them. Its parameters are v (a string: the
// version), role (a token: what it was used for), n and chunks (integers from
// 1: rows of it that were used, chunks of it that were put into the prompt).
// What is not of this form, also a parameter of another name, makes the whole
// list malformed: half a list would look like a whole one. An empty list says
// that no dataset was used.
const (
	maxSourcesBytes = 4 << 10 // of the list
	maxMappedBytes  = 8 << 10 // of the names that an event takes from the map
	maxRole         = 64
)

// A malformed list is told to the client by its place, without its content.
type sourcesError struct {
	at   int // byte, from 1
	what string
}

func (e *sourcesError) Error() string { return fmt.Sprintf("byte %d: %s", e.at, e.what) }

// readSources fills the record's sources: those that the client declares, then
// those of the use case's map that it does not. It reports whether it declares
// any list at all, and what is wrong with that.
func (c *call) readSources() (declared bool, err error) {
	d := &c.data
	if lines := c.head.sources; len(lines) > 0 {
		from := len(c.arena)
		for i, line := range lines {
			if i > 0 { // RFC 9651, 4.2: several lines are one list
				c.arena = append(c.arena, ", "...)
			}
			c.arena = append(c.arena, line...)
		}
		declared = true
		if d.Sources, err = parseSources(d.Sources, c.arena[from:]); err != nil {
			d.Sources, d.Coverage = d.Sources[:0], "malformed"
		} else {
			d.Coverage = "declared"
		}
	}
	said := len(d.Sources)
	mapped := c.plan.mapped[c.useCase]
	for _, s := range mapped.sources {
		if names(d.Sources[:said], &s) {
			continue
		}
		if len(d.Sources) == event.MaxSources {
			d.Coverage = "partial"
			break
		}
		d.Sources = append(d.Sources, s)
	}
	switch {
	case err != nil || d.Coverage == "partial":
	case mapped.cut:
		d.Coverage = "partial"
	case !declared && len(d.Sources) > 0:
		d.Coverage = "mapped"
	}
	return declared, err
}

func names(list []event.Source, s *event.Source) bool {
	for i := range list {
		if list[i].Name == s.Name && list[i].Namespace == s.Namespace {
			return true
		}
	}
	return false
}

// checkSources applies the use case's rule to what readSources found: a code
// says that the call is refused. A call that lacks what it must say and is let
// through is counted.
func (c *call) checkSources(declared bool, mistake error) (code string, status int, message string) {
	reject := c.useCase.OnMissingSources == "reject"
	switch {
	case mistake != nil && reject:
		return "ledgerline_sources_malformed", 400, "The header Ledger-Sources is not a list of datasets: " + mistake.Error() + "."
	case mistake != nil:
		c.s.metrics.sourcesMalformed.Inc()
	case declared || c.useCase.Lineage != "required":
	case reject:
		return "ledgerline_sources_missing", 422, "The call must say which datasets its prompt comes from, with the header Ledger-Sources."
	default:
		c.s.metrics.sourcesMissing.Inc()
	}
	if c.data.Coverage == "partial" {
		c.s.metrics.sourcesCut.Inc()
	}
	return "", 0, ""
}

// mapped is what the map lists for a use case, as an event says it. cut says
// that it is more than an event takes.
type mapped struct {
	sources []event.Source
	cut     bool
}

func mapOf(u *governance.UseCase) mapped {
	var m mapped
	size := 0
	for _, listed := range u.Sources {
		s := event.Source{Namespace: listed.Namespace, Name: listed.Name, Evidence: "mapped"}
		if names(m.sources, &s) {
			continue
		}
		if size += len(s.Namespace) + len(s.Name); size > maxMappedBytes {
			m.cut = true
			break
		}
		m.sources = append(m.sources, s)
	}
	return m
}

// parseSources reads a list and appends its datasets to dst. Their texts alias
// in, in which escapes are resolved.
func parseSources(dst []event.Source, in []byte) ([]event.Source, error) {
	if len(in) > maxSourcesBytes {
		return dst, &sourcesError{maxSourcesBytes + 1, fmt.Sprintf("longer than %d bytes", maxSourcesBytes)}
	}
	l := sourceList{in: in}
	l.skip(" ")
	for l.i < len(in) {
		if len(dst) == event.MaxSources {
			return dst, l.fail(fmt.Sprintf("more than %d datasets", event.MaxSources))
		}
		s, err := l.source()
		if err != nil {
			return dst, err
		}
		dst = append(dst, s)
		l.skip(" \t")
		if l.i == len(in) {
			break
		}
		if in[l.i] != ',' {
			return dst, l.fail("want a comma or a parameter")
		}
		l.i++
		l.skip(" \t")
		if l.i == len(in) {
			return dst, l.fail("nothing after a comma")
		}
	}
	return dst, nil
}

// sourceList reads the list from in; what is before i has been read.
type sourceList struct {
	in []byte
	i  int
}

func (l *sourceList) fail(what string) error { return &sourcesError{l.i + 1, what} }

func (l *sourceList) skip(set string) {
	for l.i < len(l.in) && bytes.IndexByte([]byte(set), l.in[l.i]) >= 0 {
		l.i++
	}
}

// next is the next byte, or 0 at the end: no byte of a list is 0.
func (l *sourceList) next() byte {
	if l.i < len(l.in) {
		return l.in[l.i]
	}
	return 0
}

// source reads a dataset and its parameters. Of a parameter that is told
// twice the last value holds, as RFC 9651 has it.
func (l *sourceList) source() (s event.Source, err error) {
	from := l.i
	id, err := l.text(2*event.MaxText + 1)
	if err != nil {
		return s, err
	}
	namespace, name, _ := bytes.Cut(id, []byte{'|'})
	if len(namespace) == 0 || len(name) == 0 || len(namespace) > event.MaxText || len(name) > event.MaxText {
		l.i = from
		return s, l.fail(fmt.Sprintf("want namespace|name, each of 1 to %d bytes", event.MaxText))
	}
	s = event.Source{Namespace: wire.String(namespace), Name: wire.String(name), Evidence: "declared"}
	for l.next() == ';' {
		l.i++
		l.skip(" ")
		at := l.i
		key := l.key()
		if l.next() != '=' && key != "" {
			return s, l.fail("a parameter without value")
		}
		l.i++
		switch key {
		case "v":
			var v []byte
			if v, err = l.text(event.MaxText); err == nil && len(v) == 0 {
				err = l.fail("an empty version")
			}
			s.Version = wire.String(v)
		case "role":
			s.Role, err = l.token()
		case "n":
			s.Rows, err = l.integer()
		case "chunks":
			s.Chunks, err = l.integer()
		default:
			l.i = at
			err = l.fail("want one of the parameters v, role, n and chunks")
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// key reads a parameter's name; it is empty when there is none.
func (l *sourceList) key() string {
	from := l.i
	for l.i < len(l.in) {
		c := l.in[l.i]
		first := 'a' <= c && c <= 'z' || c == '*'
		if !first && (l.i == from || (c < '0' || c > '9') && c != '_' && c != '-' && c != '.') {
			break
		}
		l.i++
	}
	return string(l.in[from:l.i])
}

// text reads a string or a display string of at most limit bytes, without
// control characters. It is resolved in place.
func (l *sourceList) text(limit int) ([]byte, error) {
	display := l.next() == '%'
	if display {
		l.i++
	}
	if l.next() != '"' {
		return nil, l.fail("want a string")
	}
	l.i++
	from, to := l.i, l.i
	for {
		c := l.next()
		switch {
		case c == 0:
			return nil, l.fail("a string without end")
		case c < 0x20 || c > 0x7e:
			return nil, l.fail("a byte that a string cannot have")
		case c == '"':
			l.i++
			text := l.in[from:to]
			switch {
			case len(text) > limit:
				return nil, l.fail(fmt.Sprintf("a string longer than %d bytes", limit))
			case display && (!utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl)):
				return nil, l.fail("a display string that is not UTF-8, or with control characters")
			}
			return text, nil
		case c == '\\' && !display:
			l.i++
			if c = l.next(); c != '"' && c != '\\' {
				return nil, l.fail("an escape that strings do not have")
			}
		case c == '%' && display:
			high, low := -1, -1
			if l.i+2 < len(l.in) {
				high, low = lowerHex(l.in[l.i+1]), lowerHex(l.in[l.i+2])
			}
			if high < 0 || low < 0 {
				return nil, l.fail("want two lower-case hex digits after %")
			}
			c = byte(high<<4 | low)
			l.i += 2
		}
		l.in[to] = c
		to++
		l.i++
	}
}

func lowerHex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

func (l *sourceList) token() (string, error) {
	from := l.i
	if c := l.next(); (c|0x20 < 'a' || c|0x20 > 'z') && c != '*' {
		return "", l.fail("want a token")
	}
	for l.i < len(l.in) && (token[l.in[l.i]] || l.in[l.i] == ':' || l.in[l.i] == '/') {
		l.i++
	}
	if l.i-from > maxRole {
		return "", l.fail(fmt.Sprintf("a role longer than %d bytes", maxRole))
	}
	return wire.String(l.in[from:l.i]), nil
}

func (l *sourceList) integer() (int64, error) {
	from, n := l.i, int64(0)
	for ; '0' <= l.next() && l.next() <= '9' && l.i-from < 15; l.i++ {
		n = n*10 + int64(l.next()-'0')
	}
	if n == 0 {
		return 0, l.fail("want an integer from 1, of at most 15 digits")
	}
	return n, nil
}
