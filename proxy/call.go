package proxy

import (
	"bytes"
	"errors"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// call is one call of a client and everything it needs, reused. One goroutine
// owns it at a time: the connection's, and after the client left the drain's.
// Texts in it may live in the arena, or alias the request, until it is
// released.
type call struct {
	s    *Server
	plan *plan
	ctx  *fasthttp.RequestCtx // not after the client left
	conn *clientConn

	started time.Time    // with the monotonic clock
	at      event.Micros // the same
	head    head
	path    []byte // below the provider, as the client wrote it
	query   []byte // with its question mark
	body    []byte
	format  *wire.Format
	from    *governance.Provider // named by the path; nil when not
	key     *governance.Key
	useCase *governance.UseCase
	request wire.Request

	// The record.
	intent     event.Intent
	ev         event.Event
	data       event.Request
	begun      bool // the spool has the intent
	unrecorded bool // bypass
	recorded   bool
	arena      []byte
	digest     digests
	id         [36]byte

	// Limits.
	taken      []taken
	settled    bool
	limited    *governance.Limit // that refuses the call
	retryAfter int64             // seconds
	reserved   []reserved        // of budgets

	// The attempt that runs.
	route    governance.Route
	up       *upstream
	stale    bool // the attempt ended with a connection that had rested
	upConn   *upstreamConn
	release  func(discard bool)
	out      []byte // header, and a small body
	upBody   []byte
	upFor    upstreamBody // what upBody was made for
	answer   wire.Answer
	in       body
	stream   wire.Stream
	raw      bool // the answer is no event stream of a known format: only its last piece is held
	live     bool // raw, but an event stream: only the end of its framing is held, since a client may wait for each event
	whole    []byte
	lastAt   int64 // µs since started
	firstOut int64 // the same, of the first byte to the client

	prev, next *call // in flight

	mu      sync.Mutex // guards what Shutdown touches from outside
	reading *upstreamConn
	cutting bool
}

type upstreamBody struct {
	model        string
	includeUsage bool
}

func newCall(s *Server) *call {
	c := &call{s: s, digest: newDigests(s.secrets), arena: make([]byte, 0, 1024), out: make([]byte, 0, 4096)}
	c.data.Attempts = make([]event.Attempt, 0, 2)
	c.data.Decision.Rejected = make([]event.Rejected, 0, 4)
	return c
}

const keepBuffer = 64 << 10 // larger buffers are not kept with a pooled call

func (c *call) free() {
	c.plan, c.ctx, c.conn = nil, nil, nil
	c.path, c.query, c.body, c.upBody, c.whole = nil, nil, nil, nil, nil
	c.format, c.from, c.key, c.useCase = nil, nil, nil, nil
	c.request, c.route, c.upFor = wire.Request{}, governance.Route{}, upstreamBody{}
	c.begun, c.unrecorded, c.recorded, c.raw, c.live = false, false, false, false, false
	c.intent, c.ev = event.Intent{}, event.Event{}
	c.data = event.Request{Attempts: c.data.Attempts[:0], Sources: c.data.Sources[:0], Decision: event.Decision{Rejected: c.data.Decision.Rejected[:0]}}
	c.up, c.upConn, c.release = nil, nil, nil
	c.taken, c.settled, c.limited, c.retryAfter = c.taken[:0], false, nil, 0
	c.reserved = c.reserved[:0]
	c.lastAt, c.firstOut = 0, 0
	c.cutting = false
	if cap(c.arena) > keepBuffer {
		c.arena = nil
	}
	if cap(c.out) > keepBuffer {
		c.out = nil
	}
	c.arena, c.out = c.arena[:0], c.out[:0]
	c.s.calls.Put(c)
}

// keep is b as a text of at most n bytes of UTF-8 in the arena.
func (c *call) keep(b []byte, n int) string {
	return c.keepText(wire.String(b), n)
}

func (c *call) keepText(s string, n int) string {
	from := len(c.arena)
	c.arena = append(c.arena, event.Clip(s, n)...)
	return wire.String(c.arena[from:])
}

// elapsed is the time since admission in µs. It follows the monotonic clock.
func (c *call) elapsed() int64 { return c.s.o.Now().Sub(c.started).Microseconds() }

// handle serves one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	if uri := ctx.Request.Header.RequestURI(); len(uri) < 10 && ctx.IsGet() {
		switch string(uri) {
		case "/healthz":
			ctx.SetBodyString("ok\n")
			return
		case "/readyz":
			if err := s.Ready(); err != nil {
				ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
				ctx.SetBodyString(err.Error() + "\n")
				return
			}
			ctx.SetBodyString("ok\n")
			return
		}
	}
	s.unread.take(&ctx.Request.Header)
	c := s.calls.Get().(*call)
	c.ctx = ctx
	c.conn, _ = ctx.Conn().(*clientConn)
	c.plan = s.plan.Load()
	s.flight.add(c)
	defer c.recover()
	if !c.serve() {
		c.end()
	}
}

// end is the last thing that happens to a call.
func (c *call) end() {
	if cap(c.body) > keepBuffer && c.ctx != nil {
		c.ctx.Request.SwapBody(nil) // an idle connection must not hold a large body
	}
	c.settleLimits()
	c.s.flight.remove(c)
	c.free()
}

// recover keeps a mistake in one call from ending all others. The call is
// recorded as far as it came.
func (c *call) recover() {
	p := recover()
	if p == nil {
		return
	}
	c.s.log.Error("a call panicked", "panic", p, "stack", string(debug.Stack()))
	c.dropUpstream()
	if c.begun && !c.recorded {
		c.endAttempt("protocol")
		c.record(outcome{status: 500, code: "ledgerline_internal", client: "completed", upstream: "unknown", served: -1})
	}
	c.reply(500, "ledgerline_internal", "The proxy failed.")
	c.end()
}

// serve admits a call and answers it. It reports true when the answer is
// passed on as it comes: then the call ends when that does.
func (c *call) serve() bool {
	s, header := c.s, &c.ctx.Request.Header
	c.format = wire.Passthrough
	plain := c.target(header.RequestURI())
	known := plain && c.where(string(header.Method()) == "POST") // before all refusals: the format gives them their shape
	if err := c.head.read(header.RawHeaders()); err != nil || !plain {
		return c.turnAway(400, "ledgerline_malformed", "The request is not strict HTTP/1.1.", s.metrics.malformed)
	}
	if !header.IsHTTP11() {
		return c.turnAway(505, "ledgerline_http_version", "Only HTTP/1.1 is spoken here.", s.metrics.malformed)
	}
	if s.stopping.Load() {
		return c.turnAway(503, "ledgerline_stopping", "The proxy is stopping.", s.metrics.stopping)
	}
	c.started = s.o.Now()
	c.at = event.At(c.started)
	key, err := c.plan.snapshot.Key(wire.String(c.head.key()), c.started)
	if err != nil {
		return c.turnAway(401, "ledgerline_unauthenticated", "The key is missing or not valid.", s.metrics.unauthenticated)
	}
	if !known {
		return c.turnAway(404, "ledgerline_not_found", "There is no such path. Paths are those of the providers, or start with a provider's id.", s.metrics.notFound)
	}
	c.key = key
	c.body = c.ctx.Request.Body()
	c.describe(header.Method())
	if code, status, message := c.admit(); code != "" {
		return c.deny(status, code, message)
	}
	return c.run()
}

// target splits the request's target. It refuses what is not a plain path:
// dot segments could lead out of a provider's base path.
func (c *call) target(uri []byte) bool {
	c.path, c.query = uri, nil
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		c.path, c.query = uri[:i], uri[i:]
	}
	if len(c.path) == 0 || c.path[0] != '/' {
		return false
	}
	for i := 0; i+1 < len(c.path); i++ {
		switch b := c.path[i]; {
		case b == '\\' || b == '#':
			return false
		case b == '%' && i+2 < len(c.path) && c.path[i+1] == '2' && c.path[i+2]|0x20 == 'e':
			return false
		case b == '/' && c.path[i+1] == '.':
			rest := c.path[i+2:]
			if len(rest) == 0 || rest[0] == '/' || rest[0] == '.' && (len(rest) == 1 || rest[1] == '/') {
				return false
			}
		}
	}
	return true
}

// where finds the provider and the format of the path. It reports false for a
// path that is nobody's.
func (c *call) where(post bool) bool {
	if f := wire.ByPath(c.path); f != nil {
		c.format = f
		return post
	}
	i := bytes.IndexByte(c.path[1:], '/')
	if i < 0 {
		return false
	}
	provider, ok := c.plan.snapshot.Provider(string(c.path[1 : i+1]))
	if !ok {
		return false
	}
	c.from, c.path = provider, c.path[i+1:]
	if f := wire.ByPath(c.path); f != nil && post {
		c.format = f
	}
	return true
}

// describe begins the record: what was asked, by whom.
func (c *call) describe(method []byte) {
	id := event.NewID(c.at)
	c.ev = event.Event{ID: id, Source: c.s.o.Source, Time: c.at, Request: &c.data}
	idText(&c.id, id)
	d := &c.data
	d.Outcome.Served = -1
	d.Call.Format = c.format.Name
	n := len(c.arena)
	c.arena = append(append(append(c.arena, method...), ' '), event.Clip(wire.String(c.path), 200)...)
	d.Call.Operation = wire.String(c.arena[n:])
	d.Call.BodyBytes = int64(len(c.body))
	c.digest.body.Reset()
	c.digest.body.Write(c.body)
	n = len(c.arena)
	c.arena = c.digest.appendHex(c.arena, c.digest.body)
	d.Call.BodyDigest = wire.String(c.arena[n:])
	if trace, parent := c.head.trace(); trace != nil {
		d.Call.TraceID, d.Call.ParentID = c.keep(trace, 32), c.keep(parent, 16)
	}
	d.Call.Workload = "interactive"
	d.Caller.KeyID = c.key.ID
	if c.s.o.ClientAddr && c.conn != nil {
		d.Caller.ClientAddr = c.conn.RemoteAddr().String()
	}
	d.Coverage, d.Capture, d.RetentionClass = "none", "none", "standard"
	d.Decision.Governance, d.Decision.Commit = c.plan.hex, c.plan.snapshot.Commit
}

// admit reads the body, attributes the call and routes it. A code says that
// the call is refused.
func (c *call) admit() (code string, status int, message string) {
	d := &c.data
	for _, dimension := range d.Attribution.All() {
		dimension.Provenance = event.Missing
	}
	if !c.addressAllowed() {
		c.chooseUseCase()
		c.attribute()
		return "ledgerline_address_not_allowed", 403, addressNotAllowed
	}
	limit := c.s.o.MaxBody
	if c.key.MaxBody > 0 {
		limit = min(limit, int(c.key.MaxBody))
	}
	if len(c.body) > limit {
		return "ledgerline_body_too_large", 413, "The request body is over " + strconv.Itoa(limit) + " bytes."
	}
	allowed := c.chooseUseCase()
	if u := c.useCase; u != nil {
		d.Call.Workload, d.RetentionClass = u.Workload, u.RetentionClass
	}
	var mistake error
	switch {
	case c.format == wire.Passthrough:
	case len(c.head.encoding) > 0 && !is(c.head.encoding, "identity"):
		return "ledgerline_encoding_unsupported", 415, "A request body with a Content-Encoding cannot be read here."
	default:
		mistake = c.format.Read(c.body, &c.request)
		d.Call.Stream = c.request.Stream
		d.Call.Model = c.keepText(c.request.Model, 256)
	}
	c.attribute()
	declared, unreadable := c.readSources()
	switch {
	case errors.Is(mistake, wire.ErrNoModel):
		return "ledgerline_model_missing", 400, "The request body does not name a model."
	case mistake != nil:
		return "ledgerline_malformed", 400, "The request body cannot be read: " + mistake.Error() + "."
	case !allowed:
		return "ledgerline_use_case_not_allowed", 403, "The key may not be used for this use case."
	case !c.key.AllowsModel(c.request.Model):
		if c.format == wire.Passthrough {
			return "ledgerline_model_not_allowed", 403, "The key may only be used for certain models, and on this path the model is not known."
		}
		return "ledgerline_model_not_allowed", 403, "The key may not be used for this model."
	}
	if missing := c.missing(); missing != "" && c.plan.snapshot.Mode() == "enforce" {
		return "ledgerline_attribution_missing", 400, "The call must say its " + missing + ", with the header " + claimHeaders[dimensionIndex(missing)] + "."
	}
	if code, status, message = c.checkSources(declared, unreadable); code != "" {
		return code, status, message
	}
	if code, status, message = c.choose(); code != "" {
		return code, status, message
	}
	if code, status, message = c.takeLimits(); code != "" {
		return code, status, message
	}
	return c.reserveBudgets()
}

func dimensionIndex(name string) int {
	for i, known := range event.DimensionNames {
		if known == name {
			return i
		}
	}
	return 0
}

func idText(dst *[36]byte, id event.ID) {
	const digits = "0123456789abcdef"
	n := 0
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst[n] = '-'
			n++
		}
		dst[n], dst[n+1] = digits[b>>4], digits[b&15]
		n += 2
	}
}

// cut interrupts the call's wait for the provider, for good.
func (c *call) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutting = true
	if c.reading != nil {
		c.reading.SetDeadline(longAgo)
	}
	if c.conn != nil {
		c.conn.hurry()
	}
}

var longAgo = time.Unix(1, 0)

func (c *call) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cutting
}

// deadline bounds what follows on the upstream connection, unless the call has
// been cut.
func (c *call) deadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutting {
		t = longAgo
	}
	c.reading = c.upConn
	c.upConn.SetDeadline(t)
}
