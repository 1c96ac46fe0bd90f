package simulate

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	maxHead    = 64 << 10
	maxBody    = 64 << 20
	keepBuffer = 1 << 20 // larger buffers are given back after a call
	patience   = 10 * time.Minute
)

// A conn is a connection of a client. One goroutine owns it, but for wake,
// which the clock calls.
type conn struct {
	server *server
	p      *Provider
	nc     net.Conn
	alarm  alarm

	in    []byte // in[r:w] is read and not used yet; bytes move only between calls, which point into it
	r, w  int
	chunk []byte // decoded chunked body
	event []byte
	out   []byte
	body  []byte

	endpoint string // of the last call, so that the next need not make it again

	call   call
	sum    hash.Hash // of the answer's body, only for kept requests
	sent   int64     // bytes of the answer's body
	broken bool      // no further request on this connection

	// The usage, or its input part, is sent when so many bytes of out are; 0 or
	// less: it is not waiting in out.
	usageEnd, partialEnd int
}

var errLeft = errors.New("the client left")

func newConn(s *server, nc net.Conn) *conn {
	c := &conn{server: s, p: s.provider, nc: nc, in: make([]byte, 4096)}
	c.alarm.wake = func() { nc.SetReadDeadline(time.Unix(1, 0)) }
	if c.keeps() {
		c.sum = sha256.New()
	}
	return c
}

func (c *conn) keeps() bool { return len(c.p.shelf.ring) > 0 }

// serve answers requests until the connection ends.
func (c *conn) serve() {
	for !c.broken {
		idle, err := c.read()
		if err != nil {
			if !idle && !c.server.isClosing() {
				c.p.books.brokenRequest()
				c.p.log.Debug("read a request", "error", err)
			}
			return
		}
		c.answer()
		if c.call.closing {
			return
		}
		if cap(c.in) > keepBuffer && c.r == c.w {
			c.in, c.r, c.w = make([]byte, 4096), 0, 0
		}
		if cap(c.chunk) > keepBuffer {
			c.chunk = nil
		}
		if cap(c.out)+cap(c.body) > keepBuffer {
			c.out, c.body = nil, nil
		}
	}
}

// more reads more of the request into c.in.
func (c *conn) more() error {
	if c.w == len(c.in) {
		if c.w > 2*maxBody {
			return errors.New("request is too large")
		}
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.nc.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// read reads a request into c.call. idle tells that an error came before any
// byte of it.
func (c *conn) read() (idle bool, err error) {
	if c.r > 0 {
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
	c.call.reset()
	head := 0
	for seen := 0; head == 0; {
		if i := bytes.Index(c.in[seen:c.w], []byte("\r\n\r\n")); i >= 0 {
			head = seen + i + 4
		}
		if head > maxHead || head == 0 && c.w > maxHead {
			return false, c.bad(http.StatusRequestHeaderFieldsTooLarge, errors.New("head is too large"))
		}
		if head > 0 {
			break
		}
		seen = max(0, c.w-3)
		if err := c.more(); err != nil {
			return c.w == 0, err
		}
	}
	if err := c.parseHead(c.in[:head-2]); err != nil {
		return false, c.bad(http.StatusBadRequest, err)
	}
	q := &c.call
	if q.expect && c.w == head {
		if _, err := c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return false, err
		}
	}
	if q.chunked {
		return false, c.readChunks(head)
	}
	n := max(0, q.length)
	if n > maxBody {
		return false, c.bad(http.StatusRequestEntityTooLarge, errors.New("body is too large"))
	}
	if need := head + n; need > len(c.in) {
		// The head's slices keep the old array; its bytes do not change.
		c.in = append(c.in, make([]byte, need-len(c.in))...)
	}
	for c.w < head+n {
		if err := c.more(); err != nil {
			return false, err
		}
	}
	q.body = c.in[head : head+n]
	c.r = head + n
	return false, nil
}

// bad answers what is not a request and returns why.
func (c *conn) bad(status int, why error) error {
	c.nc.Write(append(appendStatusLine(nil, status), "content-length: 0\r\nconnection: close\r\n\r\n"...))
	return why
}

// readChunks reads a chunked body that begins at c.in[i].
func (c *conn) readChunks(i int) error {
	c.chunk = c.chunk[:0]
	for {
		line, next, err := c.line(i)
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 32)
		if err != nil || len(c.chunk)+int(n) > maxBody {
			return c.bad(http.StatusBadRequest, fmt.Errorf("chunk size %q", size))
		}
		i = next
		if n == 0 {
			break
		}
		for c.w < i+int(n)+2 {
			if err := c.more(); err != nil {
				return err
			}
		}
		c.chunk = append(c.chunk, c.in[i:i+int(n)]...)
		i += int(n) + 2
	}
	for { // trailers
		line, next, err := c.line(i)
		if err != nil {
			return err
		}
		i = next
		if len(line) == 0 {
			break
		}
	}
	c.call.body = c.chunk
	c.r = i
	return nil
}

// line returns the line that begins at c.in[i] and the index after it.
func (c *conn) line(i int) (line []byte, next int, err error) {
	for {
		if n := bytes.IndexByte(c.in[i:c.w], '\n'); n >= 0 {
			return bytes.TrimSuffix(c.in[i:i+n], []byte("\r")), i + n + 1, nil
		}
		if err := c.more(); err != nil {
			return nil, 0, err
		}
	}
}

// parseHead reads a request's head, without its last empty line.
func (c *conn) parseHead(head []byte) error {
	q := &c.call
	i := bytes.IndexByte(head, '\n')
	line := bytes.TrimSuffix(head[:i], []byte("\r"))
	var ok bool
	var target, proto []byte
	if q.method, line, ok = bytes.Cut(line, []byte(" ")); !ok {
		return fmt.Errorf("request line %q", printable(head[:i]))
	}
	if target, proto, ok = bytes.Cut(line, []byte(" ")); !ok || !bytes.HasPrefix(proto, []byte("HTTP/1.")) || len(q.method) == 0 {
		return fmt.Errorf("request line %q", printable(head[:i]))
	}
	q.closing = proto[len(proto)-1] == '0'
	if !bytes.HasPrefix(target, []byte("/")) { // absolute form
		if _, rest, ok := bytes.Cut(target, []byte("://")); ok {
			target = rest[max(0, bytes.IndexByte(rest, '/')):]
		}
	}
	q.path, q.query, _ = bytes.Cut(target, []byte("?"))
	for head = head[i+1:]; len(head) > 0; {
		i := bytes.IndexByte(head, '\n')
		if i < 0 {
			break
		}
		line, head = bytes.TrimSuffix(head[:i], []byte("\r")), head[i+1:]
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 {
			return fmt.Errorf("header line %q", printable(line))
		}
		if err := c.header(line[:colon], bytes.TrimSpace(line[colon+1:])); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) header(name, value []byte) error {
	q := &c.call
	if c.keeps() {
		q.names = append(q.names, string(name))
	}
	switch name[0] | 0x20 {
	case 's':
		if len(name) > len("simulate-") && is(name[:9], "simulate-") {
			c.dictation(name[9:], value)
		}
	case 'c':
		switch {
		case is(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 32)
			if err != nil {
				return fmt.Errorf("content-length %q", printable(value))
			}
			q.length = int(n)
		case is(name, "connection"):
			q.closing = q.closing && !is(value, "keep-alive") || is(value, "close")
		}
	case 't':
		if is(name, "transfer-encoding") {
			if !is(value, "chunked") {
				return fmt.Errorf("transfer-encoding %q", printable(value))
			}
			q.chunked = true
		}
	case 'e':
		if is(name, "expect") {
			q.expect = is(value, "100-continue")
		}
	case 'x':
		if is(name, "x-api-key") {
			q.apiKey = value
		}
	case 'a':
		switch {
		case is(name, "authorization"):
			if len(value) > 7 && is(value[:7], "bearer ") {
				q.bearer = value[7:]
			}
		case is(name, "api-key"):
			q.apiKey = value
		case is(name, "anthropic-version"):
			q.anthropicVersion = true
		}
	}
	return nil
}

func (c *conn) dictation(name, value []byte) {
	q := &c.call
	switch {
	case is(name, "endpoint"):
		q.endpointHeader = value
	case is(name, "call"):
		q.callHeader = value
	default:
		lower := bytes.ToLower(name)
		if err := q.put(string(lower), string(value)); err != nil && q.badHeader == nil {
			q.badHeader = fmt.Errorf("simulate-%w", err)
		}
	}
}

// is reports whether b is s, in whatever case; s is in lower case.
func is(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		x := b[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if x != s[i] {
			return false
		}
	}
	return true
}

// wait lets d pass. It returns errLeft at once when the client goes away.
func (c *conn) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	c.alarm.at = time.Now().Add(d)
	c.server.clock.set(&c.alarm)
	var err error
	for err == nil { // what comes in now is the next request, which waits
		if c.w == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
		var n int
		n, err = c.nc.Read(c.in[c.w:])
		c.w += n
		if c.w > maxBody {
			err = errors.New("too much pipelined")
		}
	}
	c.server.clock.cancel(&c.alarm)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return errLeft
	}
	c.nc.SetReadDeadline(time.Time{})
	return nil
}
