package usage

import (
	"encoding/json"
	"fmt"
)

// scanner reads one JSON text. It is as strict as encoding/json. The first
// mistake stays in err, and every later step does nothing.
type scanner struct {
	raw []byte
	i   int
	err error
}

// maxDepth bounds the nesting of members that are only skipped.
const maxDepth = 16

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%s at byte %d: %w", what, s.i, ErrInvalid)
	}
	s.i = len(s.raw)
}

// peek skips white space and gives the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.raw) {
		switch c := s.raw[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// open reads an opening bracket. Null, which tells nothing, is read too, but
// not opened.
func (s *scanner) open(bracket byte) bool {
	if s.null() {
		return false
	}
	if s.peek() != bracket {
		s.fail("want " + string(bracket))
		return false
	}
	s.i++
	return true
}

// more reports whether the open array or object has an nth element, and reads
// what is before it: a comma or the closing bracket.
func (s *scanner) more(n int, closing byte) bool {
	switch c := s.peek(); {
	case s.err != nil:
		return false
	case c == closing:
		s.i++
		return false
	case n == 0:
		return true
	case c != ',':
		s.fail("want , or " + string(closing))
		return false
	}
	s.i++
	return true
}

// key reads the name of a member and its colon.
func (s *scanner) key() []byte {
	k := s.text()
	if s.peek() != ':' {
		s.fail("want :")
		return nil
	}
	s.i++
	return k
}

// text reads a string. The result may be part of the input.
func (s *scanner) text() []byte {
	if s.peek() != '"' {
		s.fail("want a string")
		return nil
	}
	start, plain := s.i+1, true
	for i := start; i < len(s.raw); i++ {
		switch c := s.raw[i]; {
		case c == '"':
			s.i = i + 1
			if plain {
				return s.raw[start:i]
			}
			var text string
			if json.Unmarshal(s.raw[start-1:i+1], &text) != nil {
				s.i = start - 1
				s.fail("bad escape in the string")
			}
			return []byte(text)
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			s.fail("control character in a string")
			return nil
		}
	}
	s.fail("unfinished string")
	return nil
}

func (s *scanner) null() bool { return s.literal("null") }

func (s *scanner) literal(word string) bool {
	s.peek()
	if end := s.i + len(word); end <= len(s.raw) && string(s.raw[s.i:end]) == word {
		s.i = end
		return true
	}
	return false
}

// count reads a whole number from 0 to MaxTokens; -1 stands for null.
func (s *scanner) count() int64 {
	c := s.peek()
	if c == 'n' && s.null() {
		return -1
	}
	start, n := s.i, int64(0)
	for ; s.i < len(s.raw) && s.raw[s.i]-'0' <= 9; s.i++ {
		if n = n*10 + int64(s.raw[s.i]-'0'); n > MaxTokens {
			s.fail("count too large")
			return -1
		}
	}
	switch {
	case s.i == start, s.i > start+1 && s.raw[start] == '0':
		s.fail("count is not a whole number from 0")
	case s.i < len(s.raw) && (s.raw[s.i] == '.' || s.raw[s.i]|0x20 == 'e'):
		s.fail("count is not a whole number")
	}
	return n
}

// skip reads a value that nobody asked for.
func (s *scanner) skip(depth int) {
	switch c := s.peek(); {
	case depth > maxDepth:
		s.fail("nested too deep")
	case c == '"':
		s.text()
	case c == '{':
		s.i++
		for n := 0; s.more(n, '}'); n++ {
			s.key()
			s.skip(depth + 1)
		}
	case c == '[':
		s.i++
		for n := 0; s.more(n, ']'); n++ {
			s.skip(depth + 1)
		}
	case c == '-' || c-'0' <= 9:
		start := s.i
		for s.i < len(s.raw) && isNumber(s.raw[s.i]) {
			s.i++
		}
		if !json.Valid(s.raw[start:s.i]) {
			s.fail("bad number")
		}
	case s.literal("null"), s.literal("true"), s.literal("false"):
	default:
		s.fail("want a value")
	}
}

func isNumber(c byte) bool {
	return c-'0' <= 9 || c == '-' || c == '+' || c == '.' || c|0x20 == 'e'
}
