package proxy

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A chunked body gives the same bytes however it arrives, knows its end, and
// tells a cut and broken framing apart.
func TestBody(t *testing.T) {
	for _, c := range []struct {
		name, text string
		length     int
		want       string
		err        error
		rest       string
	}{
		{"chunks", "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\nnext", -1, "hello world", nil, "next"},
		{"upper case", "A\r\n0123456789\r\n0\r\n\r\n", -1, "0123456789", nil, ""},
		{"cut in a chunk", "5\r\nhel", -1, "hel", io.ErrUnexpectedEOF, ""},
		{"cut between chunks", "5\r\nhello\r\n", -1, "hello", io.ErrUnexpectedEOF, ""},
		{"cut before the last line", "5\r\nhello\r\n0\r\n", -1, "hello", io.ErrUnexpectedEOF, ""},
		{"no size", "\r\nhello", -1, "", errFraming, "hello"},
		{"negative size", "-5\r\nhello", -1, "", errFraming, "hello"},
		{"huge size", "ffffffffffffffff\r\nhello", -1, "", errFraming, "hello"},
		{"line feed only", "5\nhello\n0\n\n", -1, "", errFraming, "hello\n0\n\n"},
		{"chunk too long", "5\r\nhello!\r\n0\r\n\r\n", -1, "hello", errFraming, "\n0\r\n\r\n"},
		{"fixed", "hellonext", 5, "hello", nil, "next"},
		{"fixed, cut", "hel", 5, "hel", io.ErrUnexpectedEOF, ""},
		{"to the end", "hello", -2, "hello", nil, ""},
		{"none", "next", 0, "", nil, "next"},
	} {
		for _, slow := range []bool{false, true} {
			var from io.Reader = strings.NewReader(c.text)
			if slow {
				from = iotest.OneByteReader(from)
			}
			br := bufio.NewReader(from)
			var b body
			b.reset(br, c.length, false)
			got, err := io.ReadAll(&b)
			rest, _ := io.ReadAll(br)
			if string(got) != c.want || !errors.Is(err, c.err) || string(rest) != c.rest || b.done() != (c.err == nil) || b.total != int64(len(c.want)) {
				t.Errorf("%s, byte by byte %v: %q, %v, then %q; want %q, %v, then %q", c.name, slow, got, err, rest, c.want, c.err, c.rest)
			}
		}
	}
}

// Chunks that have arrived are given as one, and nothing waits while there are
// bytes to give.
func TestBodyDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go w.Write([]byte("5\r\nhello\r\n6\r\n world\r\n1")) // the next size is not there yet
	var b body
	b.reset(bufio.NewReader(r), -1, false)
	p := make([]byte, 100)
	if n, err := b.Read(p); err != nil || string(p[:n]) != "hello world" {
		t.Fatalf("%q, %v", p[:n], err)
	}
}
