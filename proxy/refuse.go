package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// turnAway answers a request that makes no event: nobody's, or one that cannot
// be recorded. It is counted.
func (c *call) turnAway(status int, code, message string, count prometheus.Counter) bool {
	count.Inc()
	c.reply(status, code, message)
	if status != 404 && status != 401 {
		c.ctx.Response.SetConnectionClose()
	}
	return false
}

// deny answers a call that policy refuses, and records that.
func (c *call) deny(status int, code, message string) bool {
	c.answer.Reset()
	if !c.record(outcome{status: status, code: code, client: "completed", upstream: "none", served: -1}) {
		if err := c.s.spool.Err(); err != nil {
			c.refuseForSpool(err)
			return false
		}
		c.withhold()
		return false
	}
	c.reply(status, code, message)
	c.s.metrics.ended(c, "denied")
	return false
}

// fail answers a call that no provider answered to the end, and records that.
func (c *call) fail(status int, code, message, client, upstream string) bool {
	served := -1
	if !c.record(outcome{status: status, code: code, client: client, upstream: upstream, served: served}) {
		c.withhold()
		return false
	}
	c.up = nil
	c.reply(status, code, message)
	if client == "cut" {
		c.ctx.Response.SetConnectionClose()
	}
	c.s.metrics.ended(c, "failed")
	return false
}

// reply makes a response of our own, in the provider's error shape.
func (c *call) reply(status int, code, message string) {
	if c.ctx == nil {
		return
	}
	response := &c.ctx.Response
	retryAfter := append([]byte(nil), response.Header.Peek("Retry-After")...)
	response.Reset()
	response.SetStatusCode(status)
	response.Header.SetContentType("application/json")
	if len(retryAfter) > 0 && status == 503 {
		response.Header.SetBytesV("Retry-After", retryAfter)
	}
	id := ""
	if !c.ev.ID.IsZero() {
		id = wire.String(c.id[:])
		response.Header.SetBytesKV(headerRequestID, c.id[:])
	}
	if c.limited != nil {
		c.markLimits(&response.Header)
	}
	response.SetBodyRaw(c.format.AppendError(nil, &wire.Error{Status: status, Code: code, Message: message, ID: id}))
}

// limitBody lets only callers with a valid key send a large body: it runs when
// the header is there and before the body is read.
func (s *Server) limitBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const anybody = 64 << 10
	if n := h.ContentLength(); n >= 0 && n <= anybody {
		return fasthttp.RequestConfig{}
	}
	if s.knows(h) == nil {
		return fasthttp.RequestConfig{MaxRequestBodySize: anybody}
	}
	if h.ContentLength() < 0 {
		s.unread.keep(h)
	}
	return fasthttp.RequestConfig{}
}

// unread keeps the headers of chunked requests of valid keys while their
// bodies are read: the server forgets a header when reading the body fails.
type unread struct {
	count   atomic.Int64
	headers sync.Map // copies by the *fasthttp.RequestHeader that the server reads into
}

func (u *unread) keep(h *fasthttp.RequestHeader) {
	kept := new(fasthttp.RequestHeader)
	h.CopyTo(kept)
	if _, was := u.headers.Swap(h, kept); !was {
		u.count.Add(1)
	}
}

// take is what was kept of a header, or nil.
func (u *unread) take(h *fasthttp.RequestHeader) *fasthttp.RequestHeader {
	if u.count.Load() == 0 {
		return nil
	}
	kept, ok := u.headers.LoadAndDelete(h)
	if !ok {
		return nil
	}
	u.count.Add(-1)
	return kept.(*fasthttp.RequestHeader)
}

// knows says whether a header carries a valid key: its head, or nil.
func (s *Server) knows(h *fasthttp.RequestHeader) *head {
	var parsed head
	if parsed.read(h.RawHeaders()) != nil {
		return nil
	}
	if _, err := s.plan.Load().snapshot.Key(wire.String(parsed.key()), s.o.Now()); err != nil {
		return nil
	}
	return &parsed
}

// refuseUnread answers a request that could not be read: malformed, too large,
// too slow, cut off. A call of a valid key whose body is too large is recorded
// as denied; others made no call and are counted.
func (s *Server) refuseUnread(ctx *fasthttp.RequestCtx, err error) {
	c := s.calls.Get().(*call)
	c.ctx = ctx
	c.conn, _ = ctx.Conn().(*clientConn)
	c.plan = s.plan.Load()
	c.format = wire.Passthrough
	s.flight.add(c)
	defer c.recover()
	if kept := s.unread.take(&ctx.Request.Header); kept != nil {
		kept.CopyTo(&ctx.Request.Header)
	}
	if c.target(ctx.Request.Header.RequestURI()) {
		c.where(true)
	}
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		c.turnAway(fasthttp.StatusRequestHeaderFieldsTooLarge, "ledgerline_header_too_large", "The request's header is too large.", s.metrics.malformed)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		c.refuseLarge()
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, fasthttp.ErrTimeout):
		c.turnAway(fasthttp.StatusRequestTimeout, "ledgerline_request_timeout", "The request did not arrive in time.", s.metrics.malformed)
	default:
		c.turnAway(400, "ledgerline_malformed", "The request cannot be read.", s.metrics.malformed)
	}
	c.end()
}

func (c *call) refuseLarge() {
	header := &c.ctx.Request.Header
	const code, message = "ledgerline_body_too_large", "The request's body is too large."
	c.from = nil
	if c.head.read(header.RawHeaders()) != nil || !c.target(header.RequestURI()) || len(c.head.lines) == 0 {
		c.turnAway(413, code, message, c.s.metrics.malformed)
		return
	}
	c.started = c.s.o.Now()
	c.at = event.At(c.started)
	known := c.where(true)
	key, err := c.plan.snapshot.Key(wire.String(c.head.key()), c.started)
	switch {
	case err != nil:
		c.turnAway(401, "ledgerline_unauthenticated", "The key is missing or not valid.", c.s.metrics.unauthenticated)
		return
	case !known:
		c.turnAway(413, code, message, c.s.metrics.malformed)
		return
	}
	c.key = key
	c.describe(header.Method())
	c.data.Call.BodyBytes, c.data.Call.BodyDigest = int64(max(header.ContentLength(), 0)), "" // 0: chunked, not known
	for _, d := range c.data.Attribution.All() {
		d.Provenance = event.Missing
	}
	c.chooseUseCase()
	c.attribute()
	if !c.addressAllowed() {
		c.deny(403, "ledgerline_address_not_allowed", addressNotAllowed)
		return
	}
	c.deny(413, code, message)
}
