package simulate

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answer answers the request that has been read.
func (c *conn) answer() {
	q := &c.call
	if bytes.HasPrefix(q.path, []byte("/__simulate/")) {
		c.administer()
		return
	}
	q.id, q.created = c.p.nextID(), c.p.now()
	c.prepare()
	c.begin()
	f := q.fault
	switch {
	case f == nil:
	case f.Reset:
		if tcp, ok := c.nc.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.end(unanswered)
		return
	case f.Timeout:
		if c.wait(patience) != nil && !c.server.isClosing() {
			c.end(left)
		} else {
			c.end(unanswered)
		}
		return
	case f.Garbage:
		c.end(unanswered)
		c.nc.Write([]byte("\x15\x03\x03\x00\x02\x02\x28 this is not HTTP\r\n\r\n"))
		return
	}
	if q.stream && q.status == http.StatusOK {
		c.streamAnswer()
	} else {
		c.wholeAnswer()
	}
}

// prepare decides on the answer.
func (c *conn) prepare() {
	q := &c.call
	q.route()
	q.endpoint = c.server.endpoint
	if name := q.endpointName(); len(name) > 0 {
		if string(name) != c.endpoint {
			c.endpoint = string(name)
		}
		q.endpoint = c.endpoint
	}
	if q.badHeader != nil {
		q.refuse(http.StatusBadRequest, q.badHeader.Error())
	}
	if !c.p.authorized(q) {
		q.status = http.StatusOK
		q.refuse(http.StatusUnauthorized, "Incorrect API key provided.")
	}
	q.readBody()
	if q.status == http.StatusOK {
		c.p.script.direct(&q.dictation, q.path, q.asked, q.endpoint)
		q.choose(c.p.seen)
	}
	q.settle(c.p.script.models)
	if q.fault != nil && q.fault.Status != 0 {
		q.refuse(q.fault.Status, faultMessage(q.fault.Status))
	}
}

// wholeAnswer writes an answer that is one body.
func (c *conn) wholeAnswer() {
	q := &c.call
	body := c.body[:0]
	switch {
	case q.status != http.StatusOK:
		body = q.appendError(body)
	case q.format == Chat:
		body = q.appendChat(body)
	case q.format == Responses:
		body = q.appendResponse(body, true)
	case q.format == Embeddings:
		body = q.appendEmbeddings(body)
	case q.format == Messages:
		body = q.appendMessage(body, true)
	default:
		body = q.appendPassthrough(body, c.p.script.models)
	}
	c.body = body
	f := q.fault
	usage := q.status == http.StatusOK && q.format.hasUsage() && !q.says(saysOmitUsage)
	if f != nil && f.BadJSON {
		body = body[:len(body)*2/3]
		usage = false
	}
	out := append(q.answerHead(c.out[:0]), "content-type: application/json\r\ncontent-length: "...)
	out = append(strconv.AppendInt(out, int64(len(body)), 10), "\r\n\r\n"...)
	if f != nil && f.Cut && f.CutAfter < len(body) {
		body = body[:f.CutAfter]
		usage = false
	}
	if string(q.method) == "HEAD" {
		body = nil
	}
	c.out = append(out, body...)
	if usage {
		c.usageEnd = len(c.out)
	}
	c.count(body)
	if c.wait(q.first) != nil || c.slowly() != nil {
		c.lose()
		return
	}
	how := complete
	if f != nil && f.Cut {
		how = cut
	}
	c.last(how)
}

// streamAnswer writes an answer that is a stream of events.
func (c *conn) streamAnswer() {
	q := &c.call
	f := q.fault
	if f == nil {
		f = new(Fault)
	}
	events, usageEvent := q.events()
	if c.wait(q.first) != nil {
		c.lose()
		return
	}
	c.out = append(q.answerHead(c.out[:0]), "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nsimulate-began: "...)
	c.out = append(strconv.AppendInt(c.out, time.Now().UnixNano(), 10), "\r\ntransfer-encoding: chunked\r\n\r\n"...)
	if c.slowly() != nil {
		c.lose()
		return
	}
	for k := range events {
		if f.Cut && k == f.CutAfter {
			c.last(cut)
			return
		}
		if content := k - q.contentBegins(); content > 0 && content < q.chunks && q.chunk > 0 && (c.flush(true) != nil || c.wait(q.chunk) != nil) {
			c.lose()
			return
		}
		c.event = q.appendEvent(c.event[:0], k)
		failing := f.Err && k == f.ErrAfter
		switch {
		case failing:
			c.event = q.appendErrorEvent(c.event[:0])
		case f.BadJSON && k == q.contentBegins():
			c.event = append(c.event[:len(c.event)/2], "\n\n"...)
		}
		c.count(c.event)
		c.out = append(strconv.AppendUint(c.out, uint64(len(c.event)), 16), "\r\n"...)
		c.out = append(append(c.out, c.event...), "\r\n"...)
		switch {
		case failing || q.says(saysOmitUsage):
		case k == usageEvent:
			c.usageEnd = len(c.out)
		case k == 0 && q.format == Messages:
			c.partialEnd = len(c.out)
		}
		if failing || k == events-1 {
			how := cut
			if !f.Cut {
				how = complete
				c.out = append(c.out, "0\r\n\r\n"...)
			}
			c.last(how)
			return
		}
		if c.flush(false) != nil {
			c.lose()
			return
		}
	}
}

// events is how many events the stream has, and which one completes the usage
// (-1: none).
func (q *call) events() (n, usage int) {
	switch q.format {
	case Chat:
		n = q.chatEvents()
		if q.chatUsageAsked() {
			return n, n - 2
		}
		return n, -1
	case Responses:
		n = q.responseEvents()
		return n, n - 1
	}
	n = q.messageEvents()
	return n, n - 2
}

func (q *call) appendEvent(dst []byte, k int) []byte {
	switch q.format {
	case Chat:
		return q.appendChatEvent(dst, k)
	case Responses:
		return q.appendResponseEvent(dst, k)
	}
	return q.appendMessageEvent(dst, k)
}

// contentBegins is the first event with a part of the content.
func (q *call) contentBegins() int {
	switch q.format {
	case Chat:
		return 1
	case Responses:
		return responsesBefore
	}
	return messagesBefore
}

// appendErrorEvent appends the event that ends a stream in an error.
func (q *call) appendErrorEvent(dst []byte) []byte {
	const message = "The server had an error while processing your request (simulated)."
	switch q.format {
	case Chat:
		dst = appendOpenAIError(append(dst, "data: "...), "server_error", "", message)
	case Responses:
		dst = append(dst, "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":"...)
		dst = append(append(dst, quoted(message)...), `,"param":null,"sequence_number":0}`...)
	default:
		dst = q.appendAnthropicError(append(dst, "event: error\ndata: "...), "overloaded_error", "Overloaded")
	}
	return append(dst, "\n\n"...)
}

// slowly writes the status line ahead of the rest if a fault says so.
func (c *conn) slowly() error {
	f := c.call.fault
	if f == nil || f.SlowHeaders == 0 {
		return nil
	}
	line := bytes.IndexByte(c.out, '\n') + 1
	if _, err := c.nc.Write(c.out[:line]); err != nil {
		return errLeft
	}
	c.out = append(c.out[:0], c.out[line:]...)
	c.usageEnd -= line
	return c.wait(f.SlowHeaders)
}

// flush writes what c.out holds: all of it, or only whole pieces of the size
// dictated.
func (c *conn) flush(all bool) error {
	q := &c.call
	out := c.out
	for len(out) > 0 {
		n := len(out)
		if q.says(saysWrite) {
			if n < q.write && !all {
				break
			}
			n = min(n, q.write)
		}
		if _, err := c.nc.Write(out[:n]); err != nil {
			return err
		}
		out = out[n:]
		if c.usageEnd > 0 {
			c.usageEnd -= n
			q.reported = c.usageEnd <= 0
		}
		if c.partialEnd > 0 {
			c.partialEnd -= n
			q.partial = c.partialEnd <= 0
		}
	}
	c.out = append(c.out[:0], out...)
	return nil
}

// last books the call and then writes its last bytes, so that nobody can have
// an answer that is not counted. If they cannot be written the booking is taken
// back.
func (c *conn) last(how end) {
	q := &c.call
	reported, partial := q.reported, q.partial
	q.reported, q.partial = reported || c.usageEnd > 0, partial || c.partialEnd > 0
	c.end(how)
	if c.flush(true) == nil {
		return
	}
	c.p.books.unfinish(q, how)
	q.reported, q.partial = reported || c.usageEnd <= 0 && q.reported, partial || c.partialEnd <= 0 && q.partial
	c.lose()
}

// lose ends a call whose client is gone, or that the provider's end cuts.
func (c *conn) lose() {
	switch {
	case !c.server.isClosing():
		c.end(left)
	case c.sent > 0:
		c.end(cut)
	default:
		c.end(unanswered)
	}
}

// begin books the call as received.
func (c *conn) begin() {
	q := &c.call
	c.p.books.begin(q)
	c.sent, c.usageEnd, c.partialEnd = 0, 0, 0
	if c.keeps() {
		c.sum.Reset()
		c.p.shelf.put(q)
	}
}

// end books how the call ended; after anything but a complete answer the
// connection ends too.
func (c *conn) end(how end) {
	if c.keeps() {
		c.p.shelf.end(&c.call, how, c.sent, c.sum.Sum(nil))
	}
	c.p.books.finish(&c.call, how)
	c.broken = how != complete
}

// count adds to the answer's body what is about to be written.
func (c *conn) count(body []byte) {
	c.sent += int64(len(body))
	if c.keeps() {
		c.sum.Write(body)
	}
}

// appendStatusLine appends the first line of an answer.
func appendStatusLine(dst []byte, status int) []byte {
	if status == http.StatusOK {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	text := http.StatusText(status)
	if text == "" {
		text = "Overloaded" // 529 has no registered text
	}
	dst = strconv.AppendInt(append(dst, "HTTP/1.1 "...), int64(status), 10)
	return append(append(append(dst, ' '), text...), "\r\n"...)
}
