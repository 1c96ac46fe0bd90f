package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// maxDull is the largest chunk that is kept for comparison.
const maxDull = 2 << 10

// alike reports whether chunk differs from dull, a chunk without usage and
// finish reason, in one place only, and there in what cannot be a member: then
// it has neither. Chunks of a stream are like this but for their content, and
// comparing two is several times cheaper than searching one.
//
// What tells something has a quotation mark more (an object with members, a
// string), or another name. So neither difference may have one, be part of a
// name, nor end in a backslash or follow one, which would make another
// quotation mark mean something else.
func alike(dull, chunk []byte) bool {
	if len(dull) == 0 {
		return false
	}
	most := min(len(dull), len(chunk))
	same := prefix(dull[:most], chunk[:most])
	end := suffix(dull[len(dull)-(most-same):], chunk[len(chunk)-(most-same):])
	return inert(dull, same, end) && inert(chunk, same, end) && !named(chunk[len(chunk)-end:])
}

// named reports whether what stands before rest may be part of a member's
// name: its quotation mark ends it and a colon follows. Only a name with an
// escaped quotation mark gets past this, and no name that tells has one.
func named(rest []byte) bool {
	i := bytes.IndexByte(rest, '"')
	if i < 0 {
		return false
	}
	for _, b := range rest[i+1:] {
		switch b {
		case ' ', '\t', '\r', '\n':
		case ':':
			return true
		default:
			return false
		}
	}
	return false
}

func inert(chunk []byte, same, end int) bool {
	if same > 0 && chunk[same-1] == '\\' {
		return false
	}
	differs := chunk[same : len(chunk)-end]
	return bytes.IndexByte(differs, '"') < 0 && (len(differs) == 0 || differs[len(differs)-1] != '\\')
}

// prefix is how many bytes a and b, of one length, have in common at their
// start.
func prefix(a, b []byte) int {
	i := 0
	for ; i+8 <= len(a); i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i
}

// suffix is the same at their end.
func suffix(a, b []byte) int {
	n := 0
	for ; n+8 <= len(a); n += 8 {
		if x := binary.LittleEndian.Uint64(a[len(a)-n-8:]) ^ binary.LittleEndian.Uint64(b[len(b)-n-8:]); x != 0 {
			return n + bits.LeadingZeros64(x)/8
		}
	}
	for n < len(a) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
