package wire

import "bytes"

// MaxUsage is the most bytes of usage kept of one answer; a larger usage is
// not kept at all.
const MaxUsage = 8 << 10

// Answer is what an answer tells of itself. It owns its memory and is reused.
type Answer struct {
	Model  []byte // served
	Tier   []byte // service tier served
	Finish []byte // why it ended, in the provider's words
	Events int64  // stream events seen
	Failed bool   // the stream ended with the provider's error event

	first []byte // usage of Anthropic's message_start
	last  []byte // the latest usage object
	final bool   // last is the final one
	dull  []byte // the latest chat chunk that told nothing
}

// Reset empties the answer for reuse.
func (a *Answer) Reset() {
	*a = Answer{Model: a.Model[:0], Tier: a.Tier[:0], Finish: a.Finish[:0], first: a.first[:0], last: a.last[:0], dull: a.dull[:0]}
}

// Usage is the exact bytes of the usage seen, and whether it is the final one.
// The several objects of one stream are put into a JSON array. It is empty
// when there is none, or none that fits MaxUsage.
func (a *Answer) Usage(dst []byte) (raw []byte, final bool) {
	n := len(dst)
	switch {
	case len(a.first) > 0:
		dst = append(append(dst, '['), a.first...)
		if len(a.last) > 0 {
			dst = append(append(dst, ','), a.last...)
		}
		dst = append(dst, ']')
	default:
		dst = append(dst, a.last...)
	}
	if len(dst)-n > MaxUsage {
		return dst[:n], false
	}
	return dst, a.final
}

// set keeps the text of a raw JSON string; null and other things leave it.
func set(dst *[]byte, raw string) {
	if s := str(raw); s != "" {
		*dst = append((*dst)[:0], s...)
	}
}

// usage keeps a usage object; null and other things are not one.
func (a *Answer) usage(raw string) bool {
	if !isObject(raw) {
		return false
	}
	a.last = append(a.last[:0], raw...)
	return true
}

// mark is what a stream event means.
type mark uint8

const (
	terminal  mark = 1 << iota // the last event
	usageOnly                  // carries the usage and nothing else
)

// has reports whether data may have a member of this name (with quotation
// marks and colon) that is not null. It never misses one that is written
// without space before the colon, as the providers do; what it finds is
// parsed.
func has(data []byte, member string) bool {
	for {
		i := bytes.Index(data, bytesOf(member))
		if i < 0 {
			return false
		}
		data = data[i+len(member):]
		for len(data) > 0 && data[0] == ' ' {
			data = data[1:]
		}
		if len(data) == 0 || data[0] != 'n' {
			return true
		}
	}
}
