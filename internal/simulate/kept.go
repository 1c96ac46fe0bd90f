package simulate

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"
)

// Request is what a provider kept of one call (Options.Keep). It holds no
// header's value and no text.
type Request struct {
	ID           string    `json:"id"` // as sent in x-request-id or request-id
	Time         time.Time `json:"time"`
	Endpoint     string    `json:"endpoint"`
	Method       string    `json:"method"`
	Path         string    `json:"path"`
	Format       Format    `json:"format"`
	Stream       bool      `json:"stream"`
	Headers      []string  `json:"headers"` // names as received, in their order
	BodyBytes    int       `json:"body_bytes"`
	BodySHA256   string    `json:"body_sha256"`
	ModelAsked   string    `json:"model_asked"`
	ModelServed  string    `json:"model_served"`
	Tier         string    `json:"tier"`
	Status       int       `json:"status"`
	Faults       []string  `json:"faults"`
	End          string    `json:"end"` // complete, cut, left, unanswered; empty while it lasts
	AnswerBytes  int64     `json:"answer_bytes"`
	AnswerSHA256 string    `json:"answer_sha256"` // of the body as written, without its chunked framing
	Reported     bool      `json:"reported"`      // the usage was sent completely
	Partial      bool      `json:"partial"`       // the input part of it was (message_start)
	Tokens       Tokens    `json:"tokens"`        // reported, or what would have been
	Reasoning    int64     `json:"reasoning"`
}

// A shelf keeps the last requests.
type shelf struct {
	mu   sync.Mutex
	ring []Request
	n    int64 // put since the last reset
}

func (s *shelf) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ring)
	s.n = 0
}

// put keeps a call that has just been received.
func (s *shelf) put(c *call) {
	sum := sha256.Sum256(c.body)
	r := Request{
		ID: "req_" + string(c.id[:]), Time: c.created, Endpoint: c.endpoint, Method: string(c.method), Path: string(c.path),
		Format: c.format, Stream: c.stream, Headers: append([]string{}, c.names...),
		BodyBytes: len(c.body), BodySHA256: hex.EncodeToString(sum[:]),
		ModelAsked: string(c.asked), ModelServed: string(c.model), Tier: c.tier, Status: c.status, Faults: []string{},
	}
	if c.fault != nil {
		r.Faults = c.fault.names(r.Faults)
	}
	if c.status == 200 && c.format.hasUsage() {
		r.Tokens, r.Reasoning = c.usage.Tokens(c.format), c.usage.Reasoning
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	c.kept = s.n
	s.ring[(s.n-1)%int64(len(s.ring))] = r
}

// end notes how a kept call ended; a later end replaces an earlier one.
func (s *shelf) end(c *call, how end, answerBytes int64, answerSum []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.ring[(c.kept-1)%int64(len(s.ring))]
	if r.ID != "req_"+string(c.id[:]) {
		return // pushed out, or reset
	}
	r.End, r.Reported, r.Partial = endNames[how], c.reported, c.partial && !c.reported
	r.AnswerBytes, r.AnswerSHA256 = answerBytes, hex.EncodeToString(answerSum)
}

// list returns what is kept, oldest first.
func (s *shelf) list() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := int64(len(s.ring))
	var out []Request
	for i := max(0, s.n-size); i < s.n; i++ {
		out = append(out, s.ring[i%size])
	}
	return out
}
