package simulate

import (
	"maps"
	"net/http"
	"sync"
)

// Stats is what a provider served since its start or last reset. A call is
// booked with the last bytes of its answer, before they are written, so a
// client that has its whole answer finds it counted.
//
// Requests = Complete + Cut + Left + Unanswered + InFlight, always.
type Stats struct {
	Requests   int64 `json:"requests"`   // received whole
	InFlight   int64 `json:"in_flight"`  // received, not yet ended in one of the next four ways
	Complete   int64 `json:"complete"`   // answers written to their end, whatever their status
	Cut        int64 `json:"cut"`        // answers begun and cut by a fault, or by the provider's end
	Left       int64 `json:"left"`       // calls whose client went away before the end of the answer
	Unanswered int64 `json:"unanswered"` // no answer begun, by a fault or the provider's end
	Broken     int64 `json:"broken"`     // connections that ended or failed inside a request; not in Requests

	ByStatus map[int]int64         `json:"by_status"` // complete answers
	ByFormat map[string]CallStats  `json:"by_format"` // key: the wire format, with "+stream" for streams
	ByModel  map[string]ModelStats `json:"by_model"`  // key: the model served
	Faults   map[string]int64      `json:"faults"`    // faults injected, by the names of [Fault] (status_429, timeout, …)

	// Calls whose answer of status 200 has a usage, and was begun or would have
	// been had the client stayed, are in exactly one of Reported, Unreported and
	// Omitted.
	Reported   UsageStats `json:"reported"`   // whose usage was sent completely
	Unreported UsageStats `json:"unreported"` // cut, or left, before that; the tokens that would have been reported
	Omitted    UsageStats `json:"omitted"`    // that left it out as dictated; the tokens that would have been reported
	// Partial is the part of Unreported whose message_start was sent (Anthropic
	// streams): the tokens are those of message_start.
	Partial UsageStats `json:"partial"`
}

// CallStats counts calls.
type CallStats struct {
	Requests int64 `json:"requests"`
	Complete int64 `json:"complete"`
}

// ModelStats counts the calls of a model, and the tokens reported for it.
type ModelStats struct {
	CallStats
	Reported UsageStats `json:"reported"`
}

// UsageStats counts calls and sums their tokens, in the classes that their wire
// format tells apart (see [Usage]).
type UsageStats struct {
	Calls     int64  `json:"calls"`
	Tokens    Tokens `json:"tokens"`
	Reasoning int64  `json:"reasoning"` // inside the output
}

func (u *UsageStats) add(t Tokens, reasoning, sign int64) {
	u.Calls += sign
	u.Tokens.add(t, sign)
	u.Reasoning += sign * reasoning
}

// end is how a call ended.
type end uint8

const (
	complete end = iota
	cut
	left
	unanswered
	ends
)

var endNames = [ends]string{"complete", "cut", "left", "unanswered"}

// maxModels bounds the models counted apart; the rest are counted as "other".
const maxModels = 1000

// books counts. One lock twice per call is cheaper than many counters apart,
// and makes every reading consistent.
type books struct {
	mu       sync.Mutex
	epoch    int // of the last reset; calls of earlier epochs are not counted
	requests int64
	ends     [ends]int64
	broken   int64
	inFlight int64
	status   map[int]int64
	format   [formats][2]CallStats // by streamed
	models   map[string]*ModelStats
	faults   map[string]int64

	reported, unreported, omitted, partial UsageStats
}

func (b *books) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch++
	b.requests, b.broken, b.inFlight = 0, 0, 0
	b.ends = [ends]int64{}
	b.format = [formats][2]CallStats{}
	b.status, b.models, b.faults = map[int]int64{}, map[string]*ModelStats{}, map[string]int64{}
	b.reported, b.unreported, b.omitted, b.partial = UsageStats{}, UsageStats{}, UsageStats{}, UsageStats{}
}

// begin books a call whose request, format and model served are known.
func (b *books) begin(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.epoch = b.epoch
	b.requests++
	b.inFlight++
	b.format[c.format][c.streamed()].Requests++
	c.books = nil
	if len(c.model) > 0 {
		m := b.models[string(c.model)]
		if m == nil {
			name := string(c.model)
			if len(b.models) >= maxModels {
				name = "other"
			}
			if m = b.models[name]; m == nil {
				m = new(ModelStats)
				b.models[name] = m
			}
		}
		m.Requests++
		c.books = m
	}
	if c.fault != nil {
		for _, name := range c.fault.names(nil) {
			b.faults[name]++
		}
	}
}

// finish books how a call ended.
func (b *books) finish(c *call, how end) { b.move(c, how, 1) }

// unfinish takes back what finish booked: the last bytes could not be written.
func (b *books) unfinish(c *call, how end) { b.move(c, how, -1) }

func (b *books) move(c *call, how end, sign int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.epoch != b.epoch {
		return
	}
	b.inFlight -= sign
	b.ends[how] += sign
	if how == complete {
		b.status[c.status] += sign
		b.format[c.format][c.streamed()].Complete += sign
		if c.books != nil {
			c.books.Complete += sign
		}
	}
	if c.status != http.StatusOK || !c.format.hasUsage() || how == unanswered {
		return
	}
	t := c.usage.Tokens(c.format)
	reasoning := c.usage.Reasoning
	if c.format == Embeddings {
		reasoning = 0
	}
	switch {
	case c.says(saysOmitUsage):
		b.omitted.add(t, reasoning, sign)
	case c.reported:
		b.reported.add(t, reasoning, sign)
		c.books.Reported.add(t, reasoning, sign)
	default:
		b.unreported.add(t, reasoning, sign)
		if c.partial {
			t.Output = firstOutput(c.usage)
			b.partial.add(t, 0, sign)
		}
	}
}

func (b *books) brokenRequest() {
	b.mu.Lock()
	b.broken++
	b.mu.Unlock()
}

func (b *books) stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{
		Requests: b.requests, InFlight: b.inFlight, Broken: b.broken,
		Complete: b.ends[complete], Cut: b.ends[cut], Left: b.ends[left], Unanswered: b.ends[unanswered],
		ByStatus: map[int]int64{}, ByFormat: map[string]CallStats{}, ByModel: map[string]ModelStats{}, Faults: maps.Clone(b.faults),
		Reported: b.reported, Unreported: b.unreported, Omitted: b.omitted, Partial: b.partial,
	}
	for status, n := range b.status {
		if n != 0 {
			s.ByStatus[status] = n
		}
	}
	for f, byStream := range b.format {
		for streamed, n := range byStream {
			if n.Requests > 0 {
				s.ByFormat[Format(f).String()+[2]string{"", "+stream"}[streamed]] = n
			}
		}
	}
	for name, m := range b.models {
		s.ByModel[name] = *m
	}
	return s
}
