package simulate

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A call is one request and what its answer will be. Each connection has one
// and uses it again; its byte slices point into the connection's buffers and
// hold until the next request is read.
type call struct {
	// The request as read.
	method, path, query []byte
	endpointHeader      []byte
	callHeader          []byte
	bearer, apiKey      []byte
	anthropicVersion    bool
	closing             bool // the client asked to close the connection
	expect              bool
	chunked             bool
	length              int // content-length, -1 without
	body                []byte
	names               []string // of the headers, only for kept requests
	badHeader           error    // a Simulate- header that could not be read

	// What it asks for.
	format       Format
	anthropic    bool   // answers in the shape of Anthropic
	prefix       []byte // of the path, before /v1
	asked        []byte // model, raw JSON string without its quotes
	stream       bool
	includeUsage bool
	base64       bool // embeddings
	inputs       int  // embeddings
	dimensions   int  // embeddings

	// What it gets.
	dictation
	id        [32]byte
	created   time.Time
	endpoint  string
	model     []byte // served
	modelBuf  []byte
	tierBytes []byte // requested tier
	status    int
	message   string // of an error
	fault     *Fault
	reported  bool // the usage was sent completely
	partial   bool // the input part of the usage was sent

	books *ModelStats
	epoch int
	kept  int64 // number of its kept request, from 1
}

func (c *call) reset() {
	names, modelBuf := c.names[:0], c.modelBuf[:0]
	*c = call{names: names, modelBuf: modelBuf, length: -1}
}

func (c *call) streamed() int {
	if c.stream {
		return 1
	}
	return 0
}

// route finds out what the path asks for.
func (c *call) route() {
	p := c.path
	c.status = http.StatusOK
	for f := Chat; f < formats; f++ {
		if bytes.HasSuffix(p, []byte(formatPaths[f])) {
			c.format = f
			c.prefix = p[:len(p)-len(formatPaths[f])]
			c.anthropic = f == Messages
			if string(c.method) != "POST" {
				c.refuse(http.StatusMethodNotAllowed, "Not allowed to "+string(c.method)+" on this path.")
			}
			return
		}
	}
	c.anthropic = c.anthropicVersion
	for _, known := range [...]string{"/models", "/files"} {
		if i := bytes.LastIndex(p, []byte(known)); i >= 0 && (len(p) == i+len(known) || p[i+len(known)] == '/') {
			c.prefix = p[:i]
			return
		}
	}
	if i := bytes.Index(p, []byte("/v1/")); i >= 0 {
		c.prefix = p[:i]
	}
	c.refuse(http.StatusNotFound, "Unknown request URL: "+string(c.method)+" "+printable(p)+".")
}

// refuse makes the answer an error, unless it is one already.
func (c *call) refuse(status int, message string) {
	if c.status == http.StatusOK {
		c.status, c.message = status, message
	}
}

// readBody reads the few members of the body that shape the answer.
func (c *call) readBody() {
	if c.format == Passthrough || c.status != http.StatusOK {
		return
	}
	c.inputs = 1
	ok := scanObject(c.body, func(name, value []byte) {
		switch string(name) {
		case "model":
			if len(value) > 2 && value[0] == '"' {
				c.asked = value[1 : len(value)-1]
			}
		case "stream":
			c.stream = string(value) == "true" && c.format != Embeddings
		case "stream_options":
			scanObject(value, func(name, value []byte) {
				if string(name) == "include_usage" {
					c.includeUsage = string(value) == "true"
				}
			})
		case "service_tier":
			if len(value) > 2 && value[0] == '"' {
				c.tierBytes = value[1 : len(value)-1]
			}
		case "encoding_format":
			c.base64 = string(value) == `"base64"`
		case "dimensions":
			c.dimensions, _ = count(string(value), 1, 1<<16)
		case "input":
			if c.format != Embeddings {
				return
			}
			if n, first := scanArray(value); n > 0 && (first == '"' || first == '[') {
				c.inputs = n
			}
		}
	})
	switch {
	case !ok:
		c.refuse(http.StatusBadRequest, "We could not parse the JSON body of your request.")
	case len(c.asked) == 0:
		c.refuse(http.StatusBadRequest, "you must provide a model parameter")
	}
}

// settle fills in what nobody dictated.
func (c *call) settle(models map[string]string) {
	switch {
	case c.says(saysModel):
		c.modelBuf = append(c.modelBuf, c.dictation.model...)
		c.model = c.modelBuf
	default:
		c.model = c.asked
		if served, ok := models[string(c.asked)]; ok {
			c.modelBuf = append(c.modelBuf, served...)
			c.model = c.modelBuf
		}
	}
	if !c.says(saysChunks) {
		c.chunks = 10
	}
	if !c.says(saysAnswerBytes) {
		c.answerBytes = 400
	}
	if !c.says(saysUsage) {
		c.usage = Usage{Input: int64(max(1, len(c.body)/4)), Output: int64(max(1, c.answerBytes/4))}
		if c.format == Embeddings {
			c.usage.Output = 0
		}
	}
	if !c.says(saysTier) {
		c.tier = c.defaultTier()
	}
}

// defaultTier is the tier that the real ones serve for the tier requested.
func (c *call) defaultTier() string {
	if c.format == Messages {
		return "standard"
	}
	switch string(c.tierBytes) {
	case "flex":
		return "flex"
	case "priority":
		return "priority"
	case "scale":
		return "scale"
	case "fast":
		return "fast"
	}
	return "default"
}

// choose picks the first fault whose endpoint and times hold. seen counts a
// request of the named call and returns how many there were with this one.
func (c *call) choose(seen func(call string) int) {
	n := 0
	for i := range c.faults {
		f := &c.faults[i]
		if f.Endpoint != "" && f.Endpoint != c.endpoint {
			continue
		}
		if f.Times > 0 {
			if n == 0 {
				n = seen(string(c.callHeader))
			}
			if n > f.Times {
				continue
			}
		}
		c.fault = f
		return
	}
}

// endpointName is the endpoint that the request names, or nothing.
func (c *call) endpointName() []byte {
	if len(c.endpointHeader) > 0 {
		return c.endpointHeader
	}
	return bytes.Trim(bytes.TrimSuffix(c.prefix, []byte("/v1")), "/")
}

// answerHead appends the head of the answer up to, and without, the headers
// that tell the body's length.
func (c *call) answerHead(dst []byte) []byte {
	dst = appendStatusLine(dst, c.status)
	if c.anthropic {
		dst = append(dst, "request-id: req_"...)
		dst = append(dst, c.id[:]...)
		dst = append(dst, "\r\nanthropic-organization-id: 00000000-0000-4000-8000-000000000000\r\n"...)
	} else {
		dst = append(dst, "x-request-id: req_"...)
		dst = append(dst, c.id[:]...)
		dst = append(dst, "\r\nopenai-version: 2020-10-01\r\nopenai-processing-ms: "...)
		dst = strconv.AppendInt(dst, c.first.Milliseconds(), 10)
		dst = append(dst, "\r\n"...)
	}
	if c.fault != nil && c.fault.RetryAfter != "" {
		dst = append(append(append(dst, "retry-after: "...), c.fault.RetryAfter...), "\r\n"...)
	}
	if c.closing {
		dst = append(dst, "connection: close\r\n"...)
	}
	return dst
}

// printable cuts p to what can stand in a JSON string and in a log.
func printable(p []byte) string {
	if len(p) > 200 {
		p = p[:200]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, string(p))
}
