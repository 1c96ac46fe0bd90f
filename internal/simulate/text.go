package simulate

import "strings"

// prose is what all answers consist of; it needs no escaping in JSON.
var prose = strings.Repeat("Each event is a fact and everything else is derived from it; a correction is a new fact, never a changed one. ", 600)

// appendProse appends the n bytes of the answer that begin at its byte from.
func appendProse(dst []byte, from, n int) []byte {
	from %= len(prose)
	for n > 0 {
		m := min(n, len(prose)-from)
		dst = append(dst, prose[from:from+m]...)
		n -= m
		from = 0
	}
	return dst
}

// appendPart appends part k of the answer cut into c.chunks parts.
func (c *call) appendPart(dst []byte, k int) []byte {
	from, to := k*c.answerBytes/c.chunks, (k+1)*c.answerBytes/c.chunks
	return appendProse(dst, from, to-from)
}
