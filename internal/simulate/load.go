package simulate

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// LoadOptions says what Load sends.
type LoadOptions struct {
	Target string // http://host:port, with a path before /v1 if any
	// Calls are sent in turn: call i is Calls[i%len(Calls)]. Default: one chat
	// completion, not streamed.
	Calls []Call
	Key   string // sent as Authorization: Bearer, or x-api-key to Anthropic

	Concurrency int // connections, each with one call at a time; default 1
	// The load ends after so many Requests, or at the end of Duration, whichever
	// comes first; at least one is given.
	Requests int
	Duration time.Duration
	// Rate is how many calls are due per second, evenly spaced; 0: each
	// connection sends its next call when it has the answer to the last. A call
	// that is due while all connections are busy is sent late: see Result.Lag.
	Rate    float64
	Timeout time.Duration // of a call, from its sending; default 60 s

	// Headers appends headers of call i to its head, each with AppendHeader.
	// OnResult is told of each call. Both are called from several goroutines.
	Headers  func(i int, head []byte) []byte
	OnResult func(Result)
}

// Call is the shape of a call.
type Call struct {
	Format       Format // default: Chat (the zero value, Passthrough, needs a Path)
	Path         string // default: that of the format under /v1
	Stream       bool
	IncludeUsage bool   // stream_options.include_usage, Chat only
	Model        string // default: gpt-5-mini, text-embedding-3-small, claude-haiku-4-5
	BodyBytes    int    // length of the request's body, filled up with text; default 400
	Body         []byte // instead of a body made from the above
	// LeaveAfter makes the client close the connection after so many bytes of
	// the answer's body; -1: right after sending the call; 0: it stays.
	LeaveAfter int
}

// Result is what became of a call.
type Result struct {
	Index  int // of the call, from 0
	Call   Call
	Status int // 0: no answer began
	// Answered: the terminal part arrived. The whole body; of a stream of events
	// also its terminal event ([DONE], message_stop, response.completed).
	Answered bool
	// Ended: the whole body arrived, whatever was in it.
	Ended bool
	Left  bool  // the client left as it was told to
	Err   error // why the call did not end; nil if it ended or left

	Lag       time.Duration // sent later than it was due (Rate)
	FirstByte time.Duration // from sending to the first byte of the answer's body
	Passage   time.Duration // of a stream, from the provider's first byte to its arrival; both must share a clock
	Latency   time.Duration // from sending to the last byte of the answer

	EventID    string // header Ledger-Request-Id
	ProviderID string // header x-request-id or request-id

	// The answer's head, and its body without framing. They hold only during
	// OnResult.
	Head, Body []byte
}

// Report sums up a load.
type Report struct {
	Calls    int            `json:"calls"`
	Answered int            `json:"answered"`
	Left     int            `json:"left"`
	Failed   int            `json:"failed"`    // neither answered nor left
	ByStatus map[int]int    `json:"by_status"` // of the answered
	Errors   map[string]int `json:"errors"`    // of the failed: dial, write, closed, timeout, malformed, no terminal event
	Elapsed  time.Duration  `json:"elapsed_ns"`

	// Of the answered calls with a status below 400. Latency and FirstByte count
	// from the sending of a call, FromDue from when it was due, Passage from the
	// first byte that the provider sent of a stream.
	Latency   Quantiles `json:"latency"`
	FirstByte Quantiles `json:"first_byte"`
	FromDue   Quantiles `json:"from_due"`
	Passage   Quantiles `json:"passage"`
}

// Load sends calls and returns when all are answered or given up. When ctx ends
// no further call is sent; those in flight are waited for. Its error is an
// option that makes no sense; calls that fail are in the report.
func Load(ctx context.Context, o LoadOptions) (Report, error) {
	l, err := newLoad(o)
	if err != nil {
		return Report{}, fmt.Errorf("load: %w", err)
	}
	if l.clock, err = newClock(); err != nil {
		return Report{}, fmt.Errorf("load: %w", err)
	}
	defer l.clock.close()
	l.start = time.Now()
	clients := make([]*client, l.Concurrency)
	var wg sync.WaitGroup
	for i := range clients {
		clients[i] = &client{load: l, tally: newTally()}
		wg.Go(func() { clients[i].run(ctx) })
	}
	wg.Wait()
	elapsed := time.Since(l.start)
	sum := newTally()
	for _, c := range clients {
		sum.merge(c.tally)
	}
	return sum.report(elapsed), nil
}

// A load is a LoadOptions at work.
type load struct {
	LoadOptions
	address  string
	requests []template // by call
	clock    *clock
	start    time.Time
	next     atomic.Int64
}

// A template is a request but for the headers of its call.
type template struct{ head, tail []byte }

func newLoad(o LoadOptions) (*load, error) {
	l := &load{LoadOptions: o}
	if l.Requests <= 0 && l.Duration <= 0 {
		return nil, fmt.Errorf("neither requests nor duration is given")
	}
	if l.Requests <= 0 {
		l.Requests = 1 << 62
	}
	if l.Duration <= 0 {
		l.Duration = 1 << 62
	}
	l.Concurrency = max(1, l.Concurrency)
	if l.Timeout <= 0 {
		l.Timeout = time.Minute
	}
	target, err := url.Parse(l.Target)
	if err != nil || target.Scheme != "http" || target.Host == "" {
		return nil, fmt.Errorf("target %q is not http://host:port", l.Target)
	}
	l.address = target.Host
	if target.Port() == "" {
		l.address += ":80"
	}
	if len(l.Calls) == 0 {
		l.Calls = []Call{{Format: Chat}}
	}
	for _, c := range l.Calls {
		if c.Path == "" {
			if c.Format == Passthrough {
				return nil, fmt.Errorf("a passthrough call needs a path")
			}
			c.Path = "/v1" + formatPaths[c.Format]
		}
		l.requests = append(l.requests, c.template(target.Host, target.EscapedPath()+c.Path, l.Key))
	}
	return l, nil
}

func (c Call) template(host, path, key string) template {
	body := c.Body
	if body == nil {
		body = c.body()
	}
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nhost: %s\r\nuser-agent: ledgerline-load\r\ncontent-type: application/json\r\n", path, host)
	if c.Format == Messages {
		head = AppendHeader(head, "anthropic-version", "2023-06-01")
		if key != "" {
			head = AppendHeader(head, "x-api-key", key)
		}
	} else if key != "" {
		head = AppendHeader(head, "authorization", "Bearer "+key)
	}
	tail := fmt.Appendf(nil, "content-length: %d\r\n\r\n", len(body))
	return template{head, append(tail, body...)}
}

func (c Call) body() []byte {
	model, size := c.Model, c.BodyBytes
	if model == "" {
		model = [formats]string{Chat: "gpt-5-mini", Responses: "gpt-5-mini", Embeddings: "text-embedding-3-small", Messages: "claude-haiku-4-5"}[c.Format]
	}
	if size == 0 {
		size = 400
	}
	b := fmt.Appendf(nil, `{"model":%s`, quoted(model))
	if c.Stream {
		b = append(b, `,"stream":true`...)
		if c.Format == Chat && c.IncludeUsage {
			b = append(b, `,"stream_options":{"include_usage":true}`...)
		}
	}
	open, shut := `,"messages":[{"role":"user","content":"`, `"}]}`
	switch c.Format {
	case Messages:
		open = `,"max_tokens":1024` + open
	case Responses, Embeddings:
		open, shut = `,"input":"`, `"}`
	}
	b = append(b, open...)
	b = appendProse(b, 0, max(1, size-len(b)-len(shut)))
	return append(b, shut...)
}

// AppendHeader appends a header line to a head.
func AppendHeader(head []byte, name, value string) []byte {
	head = append(append(head, name...), ": "...)
	return append(append(head, value...), "\r\n"...)
}

// AppendUsage appends the header that dictates u.
func AppendUsage(head []byte, u Usage) []byte {
	return append(u.Append(append(head, "Simulate-Usage: "...)), "\r\n"...)
}

// due is when call i is to be sent.
func (l *load) due(i int) time.Time {
	if l.Rate <= 0 {
		return time.Time{}
	}
	return l.start.Add(time.Duration(float64(i) / l.Rate * float64(time.Second)))
}

// terminal reports whether the body of a stream of events has its terminal event.
func (c *Call) terminal(body []byte) bool {
	switch c.Format {
	case Chat:
		return bytes.HasSuffix(bytes.TrimRight(body, "\r\n"), []byte("data: [DONE]"))
	case Responses:
		return bytes.Contains(body, []byte("event: response.completed"))
	case Messages:
		return bytes.Contains(body[max(0, len(body)-200):], []byte("event: message_stop"))
	}
	return true
}

// parseStatus reads the status of an answer's first line, 0 if it is none.
func parseStatus(head []byte) int {
	if len(head) < 12 || string(head[:7]) != "HTTP/1." {
		return 0
	}
	n, err := strconv.Atoi(string(head[9:12]))
	if err != nil || n < 100 {
		return 0
	}
	return n
}
