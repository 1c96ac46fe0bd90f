package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// A client sends calls over one connection. One goroutine owns it.
type client struct {
	load *load
	nc   net.Conn // nil: not connected
	tally

	in   []byte // in[r:w] is read and not used yet
	r, w int
	out  []byte
	head []byte
	body []byte

	sent  time.Time
	first time.Time // of the answer's body
	stamp int64     // when the provider began a stream, Unix ns; 0: not told
}

const (
	maxAnswer  = 256 << 20
	redialWait = 20 * time.Millisecond // after a failed dial, so that a dead target is not flooded
)

// The reasons why a call did not end, as counted in Report.Errors.
var (
	errDial      = errors.New("dial")
	errWrite     = errors.New("write")
	errClosed    = errors.New("closed")
	errTimeout   = errors.New("timeout")
	errMalformed = errors.New("malformed")
	errTerminal  = errors.New("no terminal event")
)

func (c *client) run(ctx context.Context) {
	defer c.close()
	l := c.load
	woken := make(chan struct{}, 1)
	sleep := alarm{wake: func() { woken <- struct{}{} }}
	end := l.start.Add(l.Duration)
	for ctx.Err() == nil {
		i := int(l.next.Add(1) - 1)
		if i >= l.Requests {
			return
		}
		due := l.due(i)
		now := time.Now()
		if due.After(end) || now.After(end) {
			return
		}
		if due.After(now) {
			sleep.at = due
			l.clock.set(&sleep)
			select {
			case <-woken:
			case <-ctx.Done():
				l.clock.cancel(&sleep)
				return
			}
		}
		c.do(i, due)
	}
}

func (c *client) close() {
	if c.nc != nil {
		c.nc.Close()
		c.nc = nil
	}
}

// do sends call i and counts what became of it.
func (c *client) do(i int, due time.Time) {
	l := c.load
	r := Result{Index: i, Call: l.Calls[i%len(l.Calls)]}
	c.first, c.stamp = time.Time{}, 0
	reuse, err := c.exchange(i, &r)
	done := time.Now()
	if !reuse {
		c.close()
	}
	if !c.sent.IsZero() {
		r.Latency = done.Sub(c.sent)
		if !due.IsZero() {
			r.Lag = max(0, c.sent.Sub(due))
		}
	}
	if !c.first.IsZero() {
		r.FirstByte = c.first.Sub(c.sent)
		if c.stamp > 0 {
			r.Passage = time.Duration(c.first.UnixNano() - c.stamp)
		}
	}
	r.Err = err
	r.Answered = r.Ended && err == nil
	c.count(&r)
	if l.OnResult != nil {
		l.OnResult(r)
	}
	if errors.Is(err, errDial) {
		time.Sleep(redialWait)
	}
}

// exchange sends call i and reads its answer. reuse tells whether the
// connection can take another call.
func (c *client) exchange(i int, r *Result) (reuse bool, err error) {
	l := c.load
	c.sent = time.Time{}
	if c.nc == nil {
		nc, err := net.DialTimeout("tcp", l.address, l.Timeout)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errDial, err)
		}
		c.nc, c.r, c.w = nc, 0, 0
	}
	t := &l.requests[i%len(l.requests)]
	c.out = append(c.out[:0], t.head...)
	if l.Headers != nil {
		c.out = l.Headers(i, c.out)
	}
	c.out = append(c.out, t.tail...)
	c.sent = time.Now()
	c.nc.SetDeadline(c.sent.Add(l.Timeout))
	if _, err := c.nc.Write(c.out); err != nil {
		return false, fmt.Errorf("%w: %w", errWrite, err)
	}
	if r.Call.LeaveAfter < 0 {
		r.Left = true
		return false, nil
	}
	return c.receive(r)
}

// An answerHead is what matters of the head of an answer.
type answerHead struct {
	status  int
	length  int // -1: unknown
	chunked bool
	close   bool
	events  bool // text/event-stream
}

func (c *client) receive(r *Result) (reuse bool, err error) {
	h, err := c.readHead(r)
	for err == nil && h.status < 200 {
		h, err = c.readHead(r)
	}
	if err != nil {
		return false, err
	}
	r.Status = h.status
	if c.load.OnResult == nil {
		r.Head = nil
	} else {
		c.head = append(c.head[:0], r.Head...) // reading on may move the bytes
		r.Head = c.head
	}
	switch {
	case h.chunked:
		err = c.readChunked(r)
	case h.length >= 0:
		err = c.readLength(r, h.length)
	default:
		h.close = true
		err = c.readAll(r)
	}
	if err != nil || r.Left {
		return false, err
	}
	r.Ended = true
	if h.events && !r.Call.terminal(r.Body) {
		return !h.close, errTerminal
	}
	return !h.close, nil
}

// more reads more of the answer.
func (c *client) more() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.in) {
		if c.r > 0 {
			c.w = copy(c.in, c.in[c.r:c.w])
			c.r = 0
		} else if len(c.in) > maxAnswer {
			return fmt.Errorf("%w: answer is too large", errMalformed)
		} else {
			c.in = append(c.in, make([]byte, max(4096, len(c.in)))...)
		}
	}
	n, err := c.nc.Read(c.in[c.w:])
	c.w += n
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w after %v", errTimeout, c.load.Timeout)
	}
	return fmt.Errorf("%w: %w", errClosed, err)
}

func (c *client) readHead(r *Result) (answerHead, error) {
	h := answerHead{length: -1}
	for seen := c.r; ; {
		if i := bytes.Index(c.in[seen:c.w], []byte("\r\n\r\n")); i >= 0 {
			r.Head = c.in[c.r : seen+i+2]
			c.r = seen + i + 4
			break
		}
		if c.w-c.r > maxHead {
			return h, fmt.Errorf("%w: head is too large", errMalformed)
		}
		back := c.w - c.r // more may move the bytes
		if err := c.more(); err != nil {
			return h, err
		}
		seen = c.r + max(0, back-3)
	}
	if h.status = parseStatus(r.Head); h.status == 0 {
		return h, fmt.Errorf("%w: %q", errMalformed, printable(r.Head))
	}
	for head := r.Head; len(head) > 0; {
		i := bytes.IndexByte(head, '\n')
		line := head[:i]
		head = head[i+1:]
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue // the status line
		}
		if err := c.header(&h, r, line[:colon], bytes.TrimSpace(line[colon+1:])); err != nil {
			return h, err
		}
	}
	if h.status == 204 || h.status == 304 {
		h.length = 0
	}
	return h, nil
}

func (c *client) header(h *answerHead, r *Result, name, value []byte) error {
	switch len(name) {
	case len("content-length"):
		if is(name, "content-length") {
			n, err := strconv.ParseUint(string(value), 10, 32)
			if err != nil {
				return fmt.Errorf("%w: content-length %q", errMalformed, printable(value))
			}
			h.length = int(n)
		} else if is(name, "simulate-began") {
			c.stamp, _ = strconv.ParseInt(string(value), 10, 64)
		}
	case len("transfer-encoding"):
		switch {
		case is(name, "transfer-encoding"):
			h.chunked = is(value, "chunked")
		case c.load.OnResult != nil && is(name, "ledger-request-id"):
			r.EventID = string(value)
		}
	case len("connection"):
		switch {
		case is(name, "connection"):
			h.close = is(value, "close")
		case c.load.OnResult != nil && is(name, "request-id"):
			r.ProviderID = string(value)
		}
	case len("content-type"):
		switch {
		case is(name, "content-type"):
			h.events = bytes.HasPrefix(value, []byte("text/event-stream"))
		case c.load.OnResult != nil && is(name, "x-request-id"):
			r.ProviderID = string(value)
		}
	}
	return nil
}

// began notes the arrival of the answer's first bytes, and whether the client
// now leaves.
func (c *client) began(r *Result, n int) (leave bool) {
	if c.first.IsZero() && n > 0 {
		c.first = time.Now()
	}
	r.Left = r.Call.LeaveAfter > 0 && n >= r.Call.LeaveAfter
	return r.Left
}

func (c *client) readLength(r *Result, n int) error {
	for {
		if c.began(r, min(n, c.w-c.r)) {
			return nil
		}
		if c.w-c.r >= n {
			r.Body = c.in[c.r : c.r+n]
			c.r += n
			return nil
		}
		if err := c.more(); err != nil {
			return err
		}
	}
}

// readAll reads a body that ends with the connection.
func (c *client) readAll(r *Result) error {
	for {
		if c.began(r, c.w-c.r) {
			return nil
		}
		err := c.more()
		if errors.Is(err, errClosed) {
			r.Body = c.in[c.r:c.w]
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *client) readChunked(r *Result) error {
	c.body = c.body[:0]
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, ok := parseHex(line)
		if !ok || len(c.body)+size > maxAnswer {
			return fmt.Errorf("%w: chunk size %q", errMalformed, printable(line))
		}
		for left := size; left > 0; {
			if c.r == c.w {
				if err := c.more(); err != nil {
					return err
				}
			}
			n := min(left, c.w-c.r)
			c.body = append(c.body, c.in[c.r:c.r+n]...)
			c.r += n
			left -= n
			if c.began(r, len(c.body)) {
				return nil
			}
		}
		// The line end of a chunk, or of the whole when its size is 0. Trailers
		// are not expected.
		if line, err = c.line(); err != nil {
			return err
		}
		if len(line) > 0 {
			return fmt.Errorf("%w: chunk of %d bytes ends in %q", errMalformed, size, printable(line))
		}
		if size == 0 {
			r.Body = c.body
			return nil
		}
	}
}

// line reads a line without its end.
func (c *client) line() ([]byte, error) {
	for {
		if n := bytes.IndexByte(c.in[c.r:c.w], '\n'); n >= 0 {
			line := c.in[c.r : c.r+n]
			c.r += n + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if c.w-c.r > maxHead {
			return nil, fmt.Errorf("%w: line is too long", errMalformed)
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// parseHex reads a chunk size, up to 1 GiB.
func parseHex(b []byte) (n int, ok bool) {
	for i, x := range b {
		switch {
		case '0' <= x && x <= '9':
			n = n<<4 | int(x-'0')
		case 'a' <= x|0x20 && x|0x20 <= 'f':
			n = n<<4 | int(x|0x20-'a'+10)
		case i > 0 && (x == ';' || x == ' '):
			return n, true
		default:
			return 0, false
		}
		if n > 1<<30 {
			return 0, false
		}
	}
	return n, len(b) > 0
}
