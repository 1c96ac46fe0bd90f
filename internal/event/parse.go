package event

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// parser reads one JSON text. The first mistake stays in err, with the last
// known member and the byte it was found at; after it every step does nothing.
type parser struct {
	s     string
	i     int
	depth int
	at    string // the last known member, for errors
	err   error
}

// Limits of nesting, and of members per object, so that looking for duplicates
// among unknown ones stays cheap (SPEC E10).
const (
	maxDepth   = 8
	maxMembers = 256
)

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s: %s at byte %d: %w", p.at, what, p.i, ErrInvalid)
	}
	p.i = len(p.s)
}

// peek skips white space and gives the next byte, 0 at the end.
func (p *parser) peek() byte {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return c
		}
	}
	return 0
}

func (p *parser) open(bracket byte) bool {
	if p.peek() != bracket {
		p.fail("want " + string(bracket))
		return false
	}
	if p.depth == maxDepth {
		p.fail("nested too deep")
		return false
	}
	p.depth++
	p.i++
	return true
}

// more reports whether the open object or array has an nth element, and reads
// what is before it: a comma, or the closing bracket.
func (p *parser) more(n int, closing byte) bool {
	switch c := p.peek(); {
	case p.err != nil:
		return false
	case c == closing:
		p.depth--
		p.i++
		return false
	case n == 0:
		return true
	case c == ',':
		p.i++
		return true
	}
	p.fail("want , or " + string(closing))
	return false
}

// name reads the name of a member and its colon.
func (p *parser) name() string {
	name := p.text(MaxSize)
	if p.peek() != ':' {
		p.fail("want :")
		return ""
	}
	p.i++
	return name
}

// once refuses a name that is in names already, and adds it.
func (p *parser) once(names []string, name string) []string {
	if len(names) == maxMembers {
		p.fail("object with too many members")
		return nil
	}
	for _, n := range names {
		if n == name {
			p.fail("an unknown member is told twice")
			return nil
		}
	}
	return append(names, name)
}

// text reads a string of at most limit bytes. It is a part of the input unless
// it has escapes.
func (p *parser) text(limit int) string {
	if p.peek() != '"' {
		p.fail("want a string")
		return ""
	}
	start := p.i + 1
	p.i = plain(p.s, start)
	switch {
	case p.i < len(p.s) && p.s[p.i] == '"' && p.i-start <= limit:
		p.i++
		return p.s[start : p.i-1]
	case p.i < len(p.s) && p.s[p.i] == '\\':
		return p.escaped(start, limit)
	case p.i-start > limit:
		p.fail("text over its limit")
	default:
		p.fail("unfinished string, or a control character in it")
	}
	return ""
}

// escaped reads the rest of a string from its first escape on.
func (p *parser) escaped(start, limit int) string {
	end := p.i // no text is longer than its escaped form: one allocation is enough
	for end < len(p.s) && p.s[end] == '\\' {
		end = plain(p.s, min(end+2, len(p.s)))
	}
	var b strings.Builder
	b.Grow(end - start)
	for from := start; ; from = p.i {
		p.i = plain(p.s, from)
		b.WriteString(p.s[from:p.i])
		switch {
		case p.i < len(p.s) && p.s[p.i] == '\\':
			if p.escape(&b); p.err != nil {
				return ""
			}
		case p.i == len(p.s) || p.s[p.i] != '"':
			p.fail("unfinished string, or a control character in it")
			return ""
		case b.Len() > limit:
			p.fail("text over its limit")
			return ""
		default:
			p.i++
			return b.String()
		}
	}
}

// escape reads one escape. A surrogate that is not half of a pair is no
// character, and is refused.
func (p *parser) escape(b *strings.Builder) {
	if p.i+1 < len(p.s) {
		c := p.s[p.i+1]
		if k := strings.IndexByte(`"\/bfnrt`, c); k >= 0 {
			p.i += 2
			b.WriteByte("\"\\/\b\f\n\r\t"[k])
			return
		}
		if c == 'u' {
			r, ok := p.unit(p.i)
			if ok && utf16.IsSurrogate(r) {
				low, lowOK := p.unit(p.i + 6)
				r = utf16.DecodeRune(r, low)
				ok = lowOK && r != utf8.RuneError
				p.i += 6
			}
			if ok {
				p.i += 6
				b.WriteRune(r)
				return
			}
		}
	}
	p.fail("bad escape in a string")
}

// unit reads \uXXXX at byte i.
func (p *parser) unit(i int) (rune, bool) {
	if i+6 > len(p.s) || p.s[i] != '\\' || p.s[i+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.s[i+2 : i+6]) {
		d := strings.IndexByte(hexDigits, c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

// integer reads a number without fraction and exponent, in 64 bits.
func (p *parser) integer() int64 {
	negative := p.peek() == '-'
	if negative {
		p.i++
	}
	n, ok := p.digits(uint64(math.MaxInt64))
	if negative && !ok && strings.HasPrefix(p.s[p.i:], "9223372036854775808") {
		n, ok = p.digits(1 << 63)
	}
	switch {
	case !ok:
		p.fail("want an integer of 64 bits")
		return 0
	case p.i < len(p.s) && (p.s[p.i] == '.' || p.s[p.i]|0x20 == 'e'):
		p.fail("want an integer, not a fraction or an exponent")
		return 0
	case negative:
		return -int64(n)
	}
	return int64(n)
}

// digits reads a decimal number up to limit, without leading zeros. It stays
// where it is when there is none.
func (p *parser) digits(limit uint64) (uint64, bool) {
	var n uint64
	i := p.i
	for ; i < len(p.s) && p.s[i]-'0' <= 9; i++ {
		d := uint64(p.s[i] - '0')
		if n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	if i == p.i || i > p.i+1 && p.s[p.i] == '0' {
		return 0, false
	}
	p.i = i
	return n, true
}

// sequence reads a number without sign in a string.
func (p *parser) sequence() uint64 {
	in := parser{s: p.text(20)}
	n, ok := in.digits(math.MaxUint64)
	if !ok || in.i != len(in.s) {
		p.fail("want a number of 64 bits in a string")
	}
	return n
}

func (p *parser) bool() bool {
	p.peek()
	switch rest := p.s[p.i:]; {
	case strings.HasPrefix(rest, "true"):
		p.i += 4
		return true
	case strings.HasPrefix(rest, "false"):
		p.i += 5
	default:
		p.fail("want true or false")
	}
	return false
}

// time reads a time of exactly the form of timeLayout.
func (p *parser) time() Micros {
	s := p.text(len(timeLayout))
	var n [7]int
	if len(s) == len(timeLayout) {
		field := 0
		for i := range len(s) {
			switch c := s[i]; {
			case timeLayout[i]-'0' <= 9 && c-'0' <= 9:
				n[field] = n[field]*10 + int(c-'0')
			case timeLayout[i]-'0' > 9 && c == timeLayout[i]:
				field++
			default:
				p.fail("want a time like " + timeLayout)
				return 0
			}
		}
		t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC)
		// A day that the month does not have gives another month.
		if t.Month() == time.Month(n[1]) && n[3] < 24 && n[4] < 60 && n[5] < 60 {
			return At(t)
		}
	}
	p.fail("want a time like " + timeLayout)
	return 0
}

// skip reads a value that is not known.
func (p *parser) skip() {
	switch c := p.peek(); {
	case c == '"':
		p.text(MaxSize)
	case c == '{':
		var names []string
		if !p.open('{') {
			return
		}
		for n := 0; p.more(n, '}'); n++ {
			names = p.once(names, p.name())
			p.skip()
		}
	case c == '[':
		if !p.open('[') {
			return
		}
		for n := 0; p.more(n, ']'); n++ {
			p.skip()
		}
	case c == '-' || c-'0' <= 9:
		p.integer()
	case c == 'n' && strings.HasPrefix(p.s[p.i:], "null"):
		p.i += 4
	default:
		p.bool()
	}
}
