package proxy

import (
	"errors"
	"io"
	"runtime/debug"
	"time"
)

// tail is how long the proxy waits for the end of an answer after its terminal
// event: the connection is worth that, the client's waiting is not worth more.
const tail = 500 * time.Millisecond

// readSize is the least room for one read of an answer.
const readSize = 4 << 10

// passing is the body of a response whose answer is passed on as it comes. The
// server calls WriteTo and then Close, on the connection's own goroutine.
type passing struct {
	c      *call
	closes bool // the provider closes the connection after it
	ended  bool // the outcome is recorded
	bytes  int64
}

// The ways in which passing on ends before the answer does. The server closes
// the client's connection on any of them, without the end of the body.
var (
	errCut      = errors.New("the provider broke off its answer")
	errWithheld = errors.New("the record was not durable in time")
	errLeft     = errors.New("the client has left")
)

// startStream hands the answer to the server. The start of it may have been
// read already.
func (c *call) startStream(closes, started bool) {
	response := &c.ctx.Response
	c.mark(&response.Header)
	c.digest.answer.Reset()
	c.stream.Reset(c.format, &c.answer, c.upFor.includeUsage)
	if started {
		copy(c.stream.Space(len(c.whole)), c.whole)
		c.fill(len(c.whole))
		c.whole = nil
	}
	c.deadline(c.wholeDeadline())
	length := response.Header.ContentLength()
	if length < 0 || !c.raw {
		length = -1 // so that each event is flushed as it comes
	}
	if cap(c.body) > keepBuffer {
		c.ctx.Request.SwapBody(nil)
		c.body, c.upBody = nil, nil
	}
	response.SetBodyStream(&passing{c: c, closes: closes}, length)
}

// fill takes n bytes that were read into the stream's space.
func (c *call) fill(n int) error {
	if c.raw {
		c.stream.FillRaw(n, !c.live)
		return nil
	}
	return c.stream.Fill(n)
}

// SupportsBodyWriteTo makes the server use WriteTo: each Write is one chunk,
// flushed at once.
func (p *passing) SupportsBodyWriteTo() bool { return true }

// Read is there for io.Reader only.
func (p *passing) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// WriteTo passes the answer on. It returns nil when all of it, with its end,
// may reach the client.
func (p *passing) WriteTo(w io.Writer) (n int64, err error) {
	c := p.c
	defer func() {
		if v := recover(); v != nil {
			p.panicked(v)
			n, err = p.bytes, errCut
		}
	}()
	if pass := c.stream.Pass(); len(pass) > 0 {
		if err := p.pass(w, pass); err != nil {
			return p.bytes, err
		}
	}
	for {
		more, class := p.read()
		if pass := c.stream.Pass(); len(pass) > 0 {
			if err := p.pass(w, pass); err != nil {
				return p.bytes, err
			}
		}
		if class != "" {
			return p.bytes, p.breakOff(w, class)
		}
		if !more {
			break
		}
	}
	return p.bytes, p.finish(w)
}

// read reads what is there next. class says why there will be nothing more;
// more is false at the end of the answer.
func (p *passing) read() (more bool, class string) {
	c := p.c
	terminal := c.stream.Terminal()
	n, err := c.in.Read(c.stream.Space(max(readSize, c.upConn.br.Buffered())))
	if n > 0 {
		if a := c.current(); a.FirstByte == 0 {
			a.FirstByte = c.micros()
		}
		if c.fill(n) != nil {
			return false, "too_large"
		}
		if !terminal && c.stream.Terminal() && !c.in.done() {
			c.deadline(c.s.o.Now().Add(tail))
		}
	}
	switch {
	case err == nil:
		return true, ""
	case err == io.EOF:
		c.stream.End()
		return false, ""
	case c.stream.Terminal() && !c.isCut():
		p.closes = true // all of the answer is there, only the framing's end is not
		return false, ""
	}
	return false, c.readClass(err)
}

func (p *passing) pass(w io.Writer, pass []byte) error {
	c := p.c
	if c.firstOut == 0 {
		c.firstOut = c.elapsed()
	}
	c.digest.answer.Write(pass)
	p.bytes += int64(len(pass))
	_, err := w.Write(pass)
	c.stream.Passed()
	return err
}

// finish records the answer and, once that is durable, gives its end to the
// client.
func (p *passing) finish(w io.Writer) error {
	c := p.c
	held := c.stream.Held()
	c.digest.answer.Write(held)
	p.bytes += int64(len(held))
	client := "completed"
	if c.conn != nil && c.conn.gone() {
		client = "left"
	}
	p.close(client, "completed", "")
	switch {
	case !c.recorded:
		c.withhold()
		return errWithheld
	case client == "left":
		return errLeft
	case len(held) == 0:
		return nil
	}
	if c.firstOut == 0 {
		c.firstOut = c.elapsed()
	}
	if c.conn != nil {
		c.conn.join() // the server writes the end of the framing next
	}
	_, err := w.Write(held)
	return err
}

// breakOff records an answer that broke off and passes on what came of it. The
// error it returns makes the server break the client's connection as well.
func (p *passing) breakOff(w io.Writer, class string) error {
	c := p.c
	c.stream.End()
	held := c.stream.Held()
	if class == "too_large" {
		held = nil
	}
	c.digest.answer.Write(held)
	p.bytes += int64(len(held))
	p.close("cut", "cut", class)
	if len(held) > 0 && !c.stream.Terminal() {
		w.Write(held)
	}
	return errCut
}

// close records the outcome and ends the attempt.
func (p *passing) close(client, upstream, class string) {
	c := p.c
	p.ended = true
	a := c.current()
	if class == "" && !c.raw && upstream == "completed" && !c.stream.Terminal() {
		class = "cut" // a well-framed end of a stream that lacks its terminal event
	}
	if class == "" && (a.Status >= 400 || c.answer.Failed) {
		class = "http"
	}
	c.endAttempt(class)
	c.leaveUpstream(p.closes || upstream != "completed" && upstream != "drained" || !c.in.done())
	c.record(outcome{status: a.Status, client: client, upstream: upstream, served: len(c.data.Attempts) - 1,
		bytes: p.bytes, digest: true, firstByte: c.firstOut})
	c.s.metrics.ended(c, client)
}

// Close ends the call. When the answer has not ended, the client has left: the
// rest of it is read on a goroutine of its own, because the provider bills for
// it and tells the usage at its end.
func (p *passing) Close() error {
	c := p.c
	if p.ended {
		c.end()
		return nil
	}
	c.mu.Lock()
	c.ctx, c.conn = nil, nil
	c.mu.Unlock()
	c.body, c.upBody = nil, nil
	if c.useCase != nil && c.useCase.Disconnect == "cancel" {
		p.cancel()
		return nil
	}
	select {
	case c.s.drains <- struct{}{}:
		go p.drain()
	default:
		p.cancel()
	}
	return nil
}

// panicked keeps a mistake in one answer from ending all other calls. The call
// is recorded as far as it came.
func (p *passing) panicked(v any) {
	c := p.c
	c.s.log.Error("an answer's passing panicked", "panic", v, "stack", string(debug.Stack()))
	p.ended = true
	client := "cut"
	if c.ctx == nil {
		client = "left"
	}
	c.dropUpstream()
	c.endAttempt("protocol")
	if !c.recorded {
		c.record(outcome{status: c.current().Status, client: client, upstream: "cut", served: len(c.data.Attempts) - 1,
			bytes: p.bytes, firstByte: c.firstOut})
	}
}

func (p *passing) cancel() {
	p.close("left", "cancelled", "cancelled")
	p.c.end()
}

// drain reads the answer to its end, within bounds of bytes and time.
func (p *passing) drain() {
	c := p.c
	s := c.s
	defer func() {
		if v := recover(); v != nil {
			p.panicked(v)
			c.end()
		}
		<-s.drains
	}()
	end := c.s.o.Now().Add(c.s.o.DrainTime)
	if whole := c.wholeDeadline(); whole.Before(end) {
		end = whole
	}
	c.deadline(end)
	most := c.in.total + c.s.o.DrainBytes
	for {
		more, class := p.read()
		if pass := c.stream.Pass(); len(pass) > 0 {
			c.digest.answer.Write(pass)
			p.bytes += int64(len(pass))
			c.stream.Passed()
		}
		switch {
		case class == "timeout" || more && c.in.total > most:
			p.cancel()
			return
		case class != "":
			p.close("left", "cut", class)
			c.end()
			return
		case !more:
			held := c.stream.Held()
			c.digest.answer.Write(held)
			p.bytes += int64(len(held))
			p.close("left", "drained", "")
			c.end()
			return
		}
	}
}
