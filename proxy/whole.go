package proxy

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/proxy/wire"
)

// deliver passes on the answer whose header is in the response. done is false
// when another endpoint is to be tried; streams says that the answer is passed
// on as it comes, and the call goes on after the handler.
func (c *call) deliver(last bool) (done, streams bool) {
	response := &c.ctx.Response
	a := c.current()
	length := response.Header.ContentLength()
	none := c.ctx.IsHead() || a.Status == fasthttp.StatusNoContent || a.Status == fasthttp.StatusNotModified
	c.in.reset(c.upConn.br, length, none)
	events, closes := c.readHeader()
	retry := !last && (a.Status == fasthttp.StatusTooManyRequests || a.Status >= 500)
	c.raw = !events || c.format == wire.Passthrough
	c.live = c.raw && events && length < 0

	var whole, complete bool
	switch {
	case events && !retry, c.format == wire.Passthrough && length < 0 && !none && !retry:
	case none || length <= c.s.o.MaxWhole:
		// Most answers are with their header; only for others the deadline moves.
		if !c.in.done() {
			a.FirstByte = c.micros()
		}
		if int64(c.upConn.br.Buffered()) < c.in.left || c.in.state == chunkSize || c.in.state == bodyToClose {
			c.deadline(c.wholeDeadline())
		}
		var class string
		complete, class = c.readWhole()
		if class != "" {
			c.dropUpstream()
			return c.broken(class, last), false
		}
		whole = true
	}
	if retry {
		c.leaveUpstream(closes || !complete)
		c.endAttempt("http")
		return false, false
	}
	if whole && complete {
		c.leaveUpstream(closes)
		c.sendWhole(none)
		return true, false
	}
	c.startStream(closes, whole)
	return true, true
}

// readWhole reads the body into c.whole, as far as MaxWhole.
func (c *call) readWhole() (complete bool, class string) {
	c.whole = c.ctx.Response.SwapBody(nil)[:0]
	if n := int(c.in.left); c.in.state == bodyFixed && cap(c.whole) < n {
		c.whole = make([]byte, 0, n)
	}
	for {
		switch {
		case c.in.done():
			return true, ""
		case len(c.whole) > c.s.o.MaxWhole:
			return false, ""
		case len(c.whole) == cap(c.whole):
			grown := make([]byte, len(c.whole), max(2*cap(c.whole), 4096))
			copy(grown, c.whole)
			c.whole = grown
		}
		n, err := c.in.Read(c.whole[len(c.whole):cap(c.whole)])
		c.whole = c.whole[:len(c.whole)+n]
		if err == io.EOF {
			return true, ""
		}
		if err != nil {
			return false, c.readClass(err)
		}
	}
}

// readClass is the error class of a body that could not be read to its end.
func (c *call) readClass(err error) string {
	switch {
	case c.isCut():
		return "cancelled"
	case err == errFraming:
		return "protocol"
	case classOf(err, "") == "timeout":
		return "timeout"
	}
	return "cut"
}

// broken is the end of an attempt whose body broke off before any byte of it
// reached the client.
func (c *call) broken(class string, last bool) (done bool) {
	c.endAttempt(class)
	if class == "cancelled" {
		c.fail(503, "ledgerline_stopping", "The proxy is stopping.", "cut", "cut")
		return true
	}
	if !last {
		return false
	}
	if class == "timeout" {
		c.fail(504, "ledgerline_upstream_timeout", "The provider did not finish its answer in time.", "completed", "cut")
	} else {
		c.fail(502, "ledgerline_upstream_cut", "The provider broke off its answer.", "completed", "cut")
	}
	return true
}

// sendWhole records a whole answer and, once that is durable, gives it to the
// client.
func (c *call) sendWhole(none bool) {
	response := &c.ctx.Response
	a := c.current()
	if a.Status < 300 {
		c.format.ReadAnswer(c.whole, &c.answer)
	}
	class := ""
	if a.Status >= 400 {
		class = "http"
	}
	c.endAttempt(class)
	c.digest.answer.Reset()
	c.digest.answer.Write(c.whole)
	client := "completed"
	if c.conn != nil && c.conn.gone() {
		client = "left"
	}
	if !c.record(outcome{status: a.Status, client: client, upstream: "completed", served: len(c.data.Attempts) - 1,
		bytes: int64(len(c.whole)), digest: true, firstByte: c.lastAt}) {
		c.withhold()
		return
	}
	c.mark(&response.Header)
	if !none {
		response.Header.SetContentLength(len(c.whole))
		if cap(c.whole) > keepBuffer {
			response.SetBodyRaw(c.whole)
		} else {
			response.SwapBody(c.whole)
		}
	} else if c.ctx.IsHead() {
		response.SkipBody = true
	}
	c.s.metrics.ended(c, client)
}

// readHeader takes from the answer's header what is of interest and what is
// not for the client. It reports whether the answer is an event stream, and
// whether the provider closes the connection after it.
func (c *call) readHeader() (events, closes bool) {
	header := &c.ctx.Response.Header
	a := c.current()
	a.FirstByte = 0
	c.firstOut = 0
	contentType := header.ContentType()
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = bytes.TrimRight(contentType[:i], " ")
	}
	events = is(contentType, "text/event-stream")
	var room [8][]byte
	hop := room[:0]
	var connection []byte
	for name, value := range header.All() {
		if !answerNames[byte(len(name))] {
			continue
		}
		switch {
		case is(name, "x-request-id"), is(name, "request-id"):
			a.ProviderID = c.keep(value, 256)
		case is(name, "connection"):
			if connection == nil {
				connection = value
			} else {
				connection = slices.Concat(connection, []byte{','}, value)
			}
			hop = append(hop, name)
		default:
			for _, r := range hopByHop {
				if is(name, r) {
					hop = append(hop, name)
					break
				}
			}
		}
	}
	closes = header.ConnectionClose()
	if len(connection) > 0 && !is(connection, "keep-alive") && !is(connection, "close") {
		for name := range header.All() {
			if listed(connection, name) && !is(name, "content-length") && !is(name, "content-type") {
				hop = append(hop, name)
			}
		}
	}
	header.ResetConnectionClose()
	for _, name := range hop {
		header.DelBytes(bytes.Clone(name))
	}
	return events, closes
}

// mark adds the proxy's own headers.
func (c *call) mark(h *fasthttp.ResponseHeader) {
	h.SetBytesKV(headerRequestID, c.id[:])
	if c.up != nil {
		h.SetBytesV("Ledger-Endpoint", []byte(c.up.ID))
	}
	if len(c.taken) > 0 {
		c.markLimits(h)
	}
}

// hopByHop are the headers of an answer that are not for the client; those
// that frame the body are set anew by the server.
var hopByHop = [...]string{"connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authenticate", "proxy-connection"}

// answerNames says for which lengths of a name it is worth comparing it.
var answerNames [256]bool

func init() {
	for _, name := range append(hopByHop[:], "x-request-id", "request-id") {
		answerNames[len(name)] = true
	}
}

var headerRequestID = []byte("Ledger-Request-Id")

func (c *call) wholeDeadline() time.Time {
	start := time.Duration(c.current().Start-c.at) * time.Microsecond
	return c.started.Add(start + c.up.Timeout.Total)
}
