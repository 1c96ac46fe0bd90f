package event

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Intent is the small record that the spool keeps from before the first byte
// goes upstream until the outcome is known. After a crash an intent without an
// outcome becomes a recovered event, so it names who pays and where the call
// was going.
type Intent struct {
	ID             ID
	Time           Micros
	Call           Call // BodyDigest, TraceID and ParentID are not kept
	KeyID          string
	Attribution    Attribution
	Rule           string
	Governance     [32]byte // digest of the snapshot that decided
	Endpoint       string   // of the first attempt
	Provider       string
	Model          string // as sent to the first endpoint
	RetentionClass string
}

// Recovered is the event of an intent whose outcome was lost. Status, usage and
// everything after the intent are unknown, and said to be.
func (in *Intent) Recovered(source string) *Event {
	return &Event{
		ID: in.ID, Source: source, Type: RequestRecovered, Time: in.Time,
		Request: &Request{
			Call:        in.Call,
			Caller:      Caller{KeyID: in.KeyID, UserRef: in.Attribution.User.Value},
			Attribution: in.Attribution,
			Coverage:    "none",
			Decision: Decision{
				Rule: in.Rule, Why: "The outcome was lost in a crash; the intent was found in the spool.",
				Governance: hexString(in.Governance),
			},
			Attempts: []Attempt{{
				Endpoint: in.Endpoint, Provider: in.Provider, ModelRequested: in.Model,
				Error: "lost", Start: in.Time, UsageSource: UsageMissing,
			}},
			Outcome:        Outcome{Served: -1, Client: "unknown", Upstream: "unknown"},
			Capture:        "none",
			RetentionClass: in.RetentionClass,
		},
	}
}

// MaxIntent is the largest encoded intent in bytes. The limits of its texts
// add up to less: longer texts are clipped, the intent itself never fails.
const MaxIntent = 4 << 10

// The encoding of an intent is private to the spool of one machine. Version 1:
//
//	1   version, 1
//	16  id
//	8   time in microseconds, big endian
//	8   body bytes, big endian
//	32  governance digest
//	1   stream, 0 or 1
//	28  texts in the order of Intent.texts: length, 2 bytes big endian, then the bytes
const (
	intentVersion = 1
	intentFixed   = 1 + 16 + 8 + 8 + 32 + 1
)

// texts are the texts of an intent in the order of the encoding, with
// their limits in bytes.
func (in *Intent) texts() [28]intentText {
	a := &in.Attribution
	return [28]intentText{
		{&in.Call.Format, 32}, {&in.Call.Operation, 256}, {&in.Call.Model, 256}, {&in.Call.Workload, 16},
		{&in.KeyID, 64}, {&in.Rule, 128}, {&in.Endpoint, 128}, {&in.Provider, 64}, {&in.Model, 256}, {&in.RetentionClass, 64},
		{&a.BusinessUnit.Value, 256}, {(*string)(&a.BusinessUnit.Provenance), 16}, {&a.BusinessUnit.Conflict, 96},
		{&a.Team.Value, 256}, {(*string)(&a.Team.Provenance), 16}, {&a.Team.Conflict, 96},
		{&a.Project.Value, 256}, {(*string)(&a.Project.Provenance), 16}, {&a.Project.Conflict, 96},
		{&a.User.Value, 256}, {(*string)(&a.User.Provenance), 16}, {&a.User.Conflict, 96},
		{&a.Application.Value, 256}, {(*string)(&a.Application.Provenance), 16}, {&a.Application.Conflict, 96},
		{&a.UseCase.Value, 256}, {(*string)(&a.UseCase.Provenance), 16}, {&a.UseCase.Conflict, 96},
	}
}

type intentText struct {
	s   *string
	max int
}

// AppendIntent appends the encoding of an intent, at most MaxIntent bytes.
func AppendIntent(dst []byte, in *Intent) []byte {
	dst = append(dst, intentVersion)
	dst = append(dst, in.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Time))
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Call.BodyBytes))
	dst = append(dst, in.Governance[:]...)
	stream := byte(0)
	if in.Call.Stream {
		stream = 1
	}
	dst = append(dst, stream)
	texts := in.texts()
	for i := range texts {
		s := Clip(*texts[i].s, texts[i].max)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// DecodeIntent reads what AppendIntent wrote. The result does not alias raw.
// Anything else gives an error that wraps ErrInvalid.
func DecodeIntent(raw []byte) (*Intent, error) {
	switch {
	case len(raw) < intentFixed || len(raw) > MaxIntent:
		return nil, fmt.Errorf("intent of %d bytes: %w", len(raw), ErrInvalid)
	case raw[0] != intentVersion:
		return nil, fmt.Errorf("intent version %d, known is %d: %w", raw[0], intentVersion, ErrInvalid)
	case raw[intentFixed-1] > 1:
		return nil, fmt.Errorf("intent: stream is neither 0 nor 1: %w", ErrInvalid)
	}
	in := &Intent{
		ID:   ID(raw[1:17]),
		Time: Micros(binary.BigEndian.Uint64(raw[17:25])),
		Call: Call{BodyBytes: int64(binary.BigEndian.Uint64(raw[25:33])), Stream: raw[intentFixed-1] == 1},
	}
	copy(in.Governance[:], raw[33:65])
	switch {
	case !in.ID.valid():
		return nil, fmt.Errorf("intent: id is %w: %w", errID, ErrInvalid)
	case in.Time < 0 || in.Time >= maxTime:
		return nil, fmt.Errorf("intent: time out of range: %w", ErrInvalid)
	}
	rest := string(raw[intentFixed:])
	texts := in.texts()
	for i := range texts {
		if len(rest) < 2 {
			return nil, fmt.Errorf("intent: ends before text %d: %w", i, ErrInvalid)
		}
		n := int(rest[0])<<8 | int(rest[1])
		if n > texts[i].max || n > len(rest)-2 || !utf8.ValidString(rest[2:2+n]) {
			return nil, fmt.Errorf("intent: text %d of %d bytes, or not UTF-8: %w", i, n, ErrInvalid)
		}
		*texts[i].s, rest = rest[2:2+n], rest[2+n:]
	}
	if rest != "" {
		return nil, fmt.Errorf("intent: %d bytes too many: %w", len(rest), ErrInvalid)
	}
	return in, nil
}
