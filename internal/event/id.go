package event

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// ID is a UUIDv7 (RFC 9562). Its millisecond is that of the event's time, so
// an id alone tells where to look for its event.
type ID [16]byte

// NewID mints an id for an event at time t.
func NewID(t Micros) ID {
	var id ID
	rand.Read(id[6:])
	ms := uint64(t) / 1000
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// Milli is the millisecond since 1970 that the id was minted for.
func (id ID) Milli() int64 {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}

// String is the canonical 36-character form.
func (id ID) String() string { return string(id.append(make([]byte, 0, 36))) }

func (id ID) append(dst []byte) []byte {
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

const hexDigits = "0123456789abcdef"

var errID = errors.New("not a UUIDv7 in canonical form")

// ParseID reads the canonical form of a UUIDv7.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("id %q: %w", Clip(s, 40), errID)
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		if c := s[i]; c >= 'A' && c <= 'F' {
			return ID{}, fmt.Errorf("id %q: %w", s, errID)
		}
		digits[n] = s[i]
		n++
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil || !id.valid() {
		return ID{}, fmt.Errorf("id %q: %w", Clip(s, 40), errID)
	}
	return id, nil
}

// Micros is a time in microseconds since 1970, UTC.
type Micros int64

// At is t in microseconds, truncated.
func At(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time is the time in UTC.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// timeLayout is RFC 3339 in UTC with exactly six decimals (SPEC E6).
const timeLayout = "2006-01-02T15:04:05.000000Z"

func (id ID) valid() bool { return id[6]>>4 == 7 && id[8]>>6 == 2 }

// Clip shortens a text from outside to at most n bytes of valid UTF-8. It cuts
// between characters and drops bytes that are not UTF-8.
func Clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "")
}
