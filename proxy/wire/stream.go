package wire

import (
	"bytes"
	"errors"
)

// MaxEvent is the most bytes of one stream event, and of what is held back at
// the end of a stream.
const MaxEvent = 8 << 20

// ErrEventTooLarge says that an event, or the end of a stream, exceeds
// MaxEvent.
var ErrEventTooLarge = errors.New("stream event too large")

// Stream splits the bytes of a server-sent event stream into those that may go
// to the client now and those that are held back: an event of which the end is
// not there yet (a client cannot use it either), and everything from the first
// byte of the terminal event on. Lines end with LF or CRLF; a lone CR is not a
// line end here.
//
// The owner reads into Space, tells Fill, writes Pass, and calls Passed. After
// the last byte it calls End; what is in Held then is the end of the stream.
type Stream struct {
	format    *Format
	answer    *Answer
	dropUsage bool

	buf      []byte
	event    int // start of the event being read; everything before it may pass
	line     int // start of the line being read
	scanned  int // no LF between line and here
	kind     [2]int
	data     [2]int
	joined   []byte // data of several lines; used instead of data when not empty
	fields   bool   // the event has a field
	terminal bool

	raw   bool // FillRaw, not Fill
	sieve sieve
}

// Reset begins a stream. With dropUsage the chunk that carries only the usage
// is taken out.
func (s *Stream) Reset(f *Format, a *Answer, dropUsage bool) {
	buf := s.buf[:0]
	if cap(buf) > 64<<10 {
		buf = nil // one large event must not stay in a pool
	}
	kept := s.sieve.buf[:0]
	if cap(kept) > 64<<10 {
		kept = nil
	}
	*s = Stream{format: f, answer: a, dropUsage: dropUsage, buf: buf, joined: s.joined[:0], sieve: sieve{buf: kept}}
}

// Space is room for the next bytes, of at least n bytes.
func (s *Stream) Space(n int) []byte {
	if cap(s.buf)-len(s.buf) < n {
		grown := make([]byte, len(s.buf), max(2*cap(s.buf), len(s.buf)+n))
		copy(grown, s.buf)
		s.buf = grown
	}
	return s.buf[len(s.buf):cap(s.buf)]
}

// Fill says that n bytes were put into Space.
func (s *Stream) Fill(n int) error {
	s.buf = s.buf[:len(s.buf)+n]
	for !s.terminal {
		i := bytes.IndexByte(s.buf[s.scanned:], '\n')
		if i < 0 {
			s.scanned = len(s.buf)
			break
		}
		end := s.scanned + i
		next := end + 1
		if end > s.line && s.buf[end-1] == '\r' {
			end--
		}
		if end > s.line {
			s.field(s.line, end)
			s.line, s.scanned = next, next
			continue
		}
		s.line, s.scanned = next, next
		s.dispatch(next)
	}
	if len(s.buf)-s.event > MaxEvent {
		return ErrEventTooLarge
	}
	return nil
}

// FillRaw is Fill for an answer whose events are not read: what was there
// before may pass, and with hold the n new bytes are held until more come. End
// reads what the top level of the answer tells.
func (s *Stream) FillRaw(n int, hold bool) {
	s.raw = true
	s.event = len(s.buf)
	s.buf = s.buf[:len(s.buf)+n]
	s.sieve.write(s.buf[s.event:])
	if !hold {
		s.event = len(s.buf)
	}
}

// field reads the line buf[from:to].
func (s *Stream) field(from, to int) {
	s.fields = true
	line := s.buf[from:to]
	switch {
	case bytes.HasPrefix(line, bytesOf("data:")):
		from += 5
		if from < to && s.buf[from] == ' ' {
			from++
		}
		switch {
		case len(s.joined) > 0:
			s.joined = append(append(s.joined, '\n'), s.buf[from:to]...)
		case s.data[1] > 0:
			s.joined = append(s.joined, s.buf[s.data[0]:s.data[1]]...)
			s.joined = append(append(s.joined, '\n'), s.buf[from:to]...)
		default:
			s.data = [2]int{from, to}
		}
	case bytes.HasPrefix(line, bytesOf("event:")):
		from += 6
		if from < to && s.buf[from] == ' ' {
			from++
		}
		s.kind = [2]int{from, to}
	}
}

// dispatch ends an event at next.
func (s *Stream) dispatch(next int) {
	data := s.buf[s.data[0]:s.data[1]]
	if len(s.joined) > 0 {
		data = s.joined
	}
	var m mark
	if len(data) > 0 {
		s.answer.Events++
		m = s.format.event(s.buf[s.kind[0]:s.kind[1]], data, s.answer)
	}
	s.kind, s.data, s.joined, s.fields = [2]int{}, [2]int{}, s.joined[:0], false
	switch {
	case m&terminal != 0:
		s.terminal = true // the event's start stays where it is: all from it on is held
	case m&usageOnly != 0 && s.dropUsage:
		s.buf = append(s.buf[:s.event], s.buf[next:]...)
		s.line, s.scanned = s.event, s.event
	default:
		s.event = next
	}
}

// Pass is the bytes that may go to the client now.
func (s *Stream) Pass() []byte { return s.buf[:s.event] }

// Passed forgets the bytes of Pass.
func (s *Stream) Passed() {
	if s.event == 0 {
		return
	}
	n := copy(s.buf, s.buf[s.event:])
	s.buf = s.buf[:n]
	s.line -= s.event
	s.scanned -= s.event
	for _, span := range [...]*[2]int{&s.kind, &s.data} {
		if span[1] > 0 {
			span[0] -= s.event
			span[1] -= s.event
		}
	}
	s.event = 0
}

// End says that no byte follows. An event that lacks its empty line, or even
// its line end, counts: its bytes have arrived.
func (s *Stream) End() {
	if s.raw {
		s.format.body(String(s.sieve.buf), s.answer)
		return
	}
	if s.terminal || len(s.buf) == s.event {
		return
	}
	if end := len(s.buf); end > s.line {
		if s.buf[end-1] == '\r' {
			end--
		}
		s.field(s.line, end)
		s.line, s.scanned = len(s.buf), len(s.buf)
	}
	if s.fields {
		start := s.event
		s.dispatch(len(s.buf))
		if s.event > start {
			s.event = start // it is the end of the stream now
		}
	}
}

// Terminal reports whether the terminal event has been seen.
func (s *Stream) Terminal() bool { return s.terminal }

// Held is the bytes held back after what passed.
func (s *Stream) Held() []byte { return s.buf[s.event:] }
