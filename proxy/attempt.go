package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/tidwall/sjson"
	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// run records the intent and tries the endpoints in order until one serves.
// An endpoint that fails is left for the next as long as no byte reached the
// client. It reports true when the answer is passed on as it comes.
func (c *call) run() bool {
	c.steer()
	if !c.begin() {
		return false
	}
	endpoints := c.route.Endpoints
	again := false // the same endpoint, on a new connection
	for i := 0; ; {
		up := c.plan.upstreams[endpoints[i]]
		last := i == len(endpoints)-1 || len(c.data.Attempts) == event.MaxAttempts-1
		failed, stale := c.attempt(up, again)
		switch {
		case c.isCut():
			c.dropUpstream()
			c.endAttempt("cancelled")
			return c.fail(503, "ledgerline_stopping", "The proxy is stopping.", "cut", "cut")
		case stale && len(c.data.Attempts) < event.MaxAttempts-1:
			// The provider closed a connection that rested; a new one will do.
			c.stale = true
			c.endAttempt(failed)
			again = true
			continue
		case failed == "":
			done, streams := c.deliver(last)
			if done {
				return streams
			}
		default:
			c.endAttempt(failed)
			if last {
				return c.unreachable(failed)
			}
		}
		c.explain(up.ID, endpoints[i+1].ID)
		i, again = i+1, false
	}
}

// attempt sends the call to an endpoint and reads the header of its answer
// into the response. failed is the error class when there is none; stale says
// that a reused connection ended before any byte of an answer.
func (c *call) attempt(up *upstream, fresh bool) (failed string, stale bool) {
	model, includeUsage := c.request.Model, false
	if c.format != wire.Passthrough {
		model, _ = up.Upstream(c.request.Model)
		includeUsage = up.IncludeUsage && c.format == wire.Chat && c.request.Stream && !c.request.IncludeUsage
	}
	requested := c.data.Call.Model // the client's, kept, or one of the snapshot
	if model != c.request.Model {
		requested = event.Clip(model, 256)
	}
	c.up, c.stale = up, false
	c.data.Attempts = append(c.data.Attempts, event.Attempt{
		Endpoint: up.ID, Provider: up.Provider, Region: up.Region, ModelRequested: requested,
		Start: c.micros(), UsageSource: event.UsageMissing,
	})
	a := c.current()
	c.answer.Reset()
	if !c.makeBody(upstreamBody{model, includeUsage}) {
		return "protocol", false
	}
	reused, err := c.connect(up, fresh)
	if err != nil {
		return classOf(err, "connect"), false
	}
	c.deadline(c.started.Add(time.Duration(c.lastAt)*time.Microsecond + up.Timeout.FirstByte))
	sent := c.send()
	br := c.upConn.br
	err = sent
	if sent == nil || classOf(sent, "reset") == "reset" {
		_, err = br.Peek(1) // also unsent: a provider may refuse before it has read all of a request
	}
	if err != nil {
		c.dropUpstream()
		class := classOf(err, "reset")
		return class, reused && class == "reset"
	}
	header := &c.ctx.Response.Header
	header.DisableNormalizing()
	for interim := 0; ; interim++ {
		if err := header.Read(br); err != nil || interim > 16 {
			c.dropUpstream()
			return classOf(err, "protocol"), false
		}
		if s := header.StatusCode(); s >= 200 {
			break
		} else if s == fasthttp.StatusSwitchingProtocols {
			c.dropUpstream()
			return "protocol", false
		}
	}
	if sent != nil {
		header.SetConnectionClose()
	}
	a.Status = header.StatusCode()
	return "", false
}

func (c *call) current() *event.Attempt { return &c.data.Attempts[len(c.data.Attempts)-1] }

// micros is now, and remembers it in lastAt.
func (c *call) micros() event.Micros {
	c.lastAt = c.elapsed()
	return c.at + event.Micros(c.lastAt)
}

// makeBody makes the body that goes to the endpoint: the client's own bytes,
// unless the endpoint calls the model otherwise or asks for usage.
func (c *call) makeBody(want upstreamBody) bool {
	if c.upBody != nil && c.upFor == want {
		return true
	}
	c.upFor, c.upBody = want, c.body
	var err error
	if want.model != c.request.Model {
		if c.upBody, err = sjson.SetBytes(c.upBody, "model", want.model); err != nil {
			return false
		}
	}
	if want.includeUsage {
		if c.upBody, err = sjson.SetRawBytes(c.upBody, "stream_options.include_usage", []byte("true")); err != nil {
			return false
		}
	}
	return true
}

// connect takes a connection of the endpoint: a resting one that is still open
// and on which nothing has come unasked, since that would be taken for the
// answer of this call; or a new one.
func (c *call) connect(up *upstream, fresh bool) (reused bool, err error) {
	for {
		cc, err := up.pool.AcquireConn(0, false)
		if err != nil {
			return false, err
		}
		conn := cc.Conn().(*upstreamConn)
		if conn.release == nil {
			conn.release = func(discard bool) {
				if discard {
					up.pool.CloseConn(cc)
				} else {
					up.pool.ReleaseConn(cc)
				}
			}
		} else if reused = true; fresh || conn.br.Buffered() > 0 || conn.peek.state() != open {
			conn.release(true)
			reused = false
			continue
		}
		c.upConn = conn
		return reused, nil
	}
}

// send writes the request.
func (c *call) send() error {
	b := append(c.out[:0], c.ctx.Request.Header.Method()...)
	b = append(b, ' ')
	b = append(b, c.up.base...)
	path := c.path
	if c.up.APIPath != "/v1" && len(path) >= 3 && string(path[:3]) == "/v1" && (len(path) == 3 || path[3] == '/') {
		b = append(b, c.up.APIPath...)
		path = path[3:]
	}
	b = append(append(b, path...), c.query...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), c.up.host...), "\r\n"...)
	b = c.head.appendLines(b)
	b = append(b, c.up.credential...)
	b = append(b, "Accept-Encoding: identity\r\n"...)
	if len(c.upBody) > 0 || c.head.length || c.head.te {
		b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(c.upBody)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	if len(c.upBody) <= 32<<10 {
		b = append(b, c.upBody...)
		c.out = b
		_, err := c.upConn.Conn.Write(b)
		return err
	}
	c.out = b
	parts := net.Buffers{b, c.upBody}
	_, err := parts.WriteTo(c.upConn.Conn)
	return err
}

// endAttempt completes the record of the attempt that runs.
func (c *call) endAttempt(class string) {
	if len(c.data.Attempts) == 0 {
		return
	}
	a := c.current()
	if a.End != 0 {
		return
	}
	a.End = c.micros()
	a.Error = class
	a.Chunks, a.Bytes = c.answer.Events, c.in.total
	if a.Status != 0 {
		a.ModelServed = c.keep(c.answer.Model, 256)
		a.Tier = c.keep(c.answer.Tier, 64)
		from := len(c.arena)
		usage, final := c.answer.Usage(c.arena)
		c.arena = usage
		if raw := usage[from:]; len(raw) > 0 {
			a.UsageRaw = event.Clip(wire.String(raw), event.MaxUsageRaw)
			a.UsageSource = event.UsageProvider
			if !final {
				a.UsageSource = event.UsagePartial
			}
		}
	}
	c.in.total = 0
	c.up.metrics.attempt(a)
	if !c.stale {
		c.judge(a)
	}
}

// dropUpstream closes the connection of the attempt that runs, if any.
func (c *call) dropUpstream() { c.leaveUpstream(true) }

// leaveUpstream gives the connection back, or closes it.
func (c *call) leaveUpstream(discard bool) {
	if c.upConn == nil {
		return
	}
	c.mu.Lock()
	c.reading = nil
	c.mu.Unlock()
	conn := c.upConn
	c.upConn = nil
	conn.release(discard)
}

// explain adds to the sentence why that an endpoint failed.
func (c *call) explain(failed, next string) {
	a := c.current()
	from := len(c.arena)
	c.arena = append(c.arena, c.data.Decision.Why...)
	c.arena = append(append(append(c.arena, ' '), failed...), ' ')
	switch a.Error {
	case "http":
		c.arena = strconv.AppendInt(append(c.arena, "answered "...), int64(a.Status), 10)
	case "connect":
		c.arena = append(c.arena, "could not be reached"...)
	case "timeout":
		c.arena = append(c.arena, "did not answer in time"...)
	case "cut":
		c.arena = append(c.arena, "broke off its answer"...)
	case "reset":
		c.arena = append(c.arena, "closed the connection"...)
	default:
		c.arena = append(c.arena, "answered what is not HTTP"...)
	}
	c.arena = append(append(append(c.arena, ", so "...), next...), " was tried."...)
	c.data.Decision.Why = event.Clip(wire.String(c.arena[from:]), event.MaxText)
}

// unreachable answers a call that no endpoint answered.
func (c *call) unreachable(class string) bool {
	if class == "timeout" {
		return c.fail(504, "ledgerline_upstream_timeout", "The provider did not answer in time.", "completed", "none")
	}
	return c.fail(502, "ledgerline_upstream_unreachable", "The provider could not be reached.", "completed", "none")
}

// classOf is the error class of an error of the network.
func classOf(err error, otherwise string) string {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return otherwise
	case otherwise == "connect":
		return "connect" // also when it took too long
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF):
		return "reset"
	}
	return otherwise
}
