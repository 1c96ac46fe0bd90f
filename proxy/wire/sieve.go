package wire

// A sieve keeps members of at most maxMember bytes, in which a usage fits and
// content does not, and at most maxSieve bytes of them.
const (
	maxMember = MaxUsage
	maxSieve  = 64 << 10
)

// sieve keeps the small members of a JSON object's top level, from pieces of
// any size: an answer too large to be kept as a whole still tells its usage.
// What it holds is read like an answer.
type sieve struct {
	buf     []byte
	member  int // start of the member in buf
	depth   int
	text    bool // inside a string
	escape  bool // behind a backslash
	dropped bool // the member is too large
}

func (s *sieve) write(p []byte) {
	for _, c := range p {
		switch {
		case s.escape:
			s.escape = false
		case s.text:
			s.escape = c == '\\'
			s.text = c != '"'
		case c == '"':
			s.text = true
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			s.depth--
		case c == ',' && s.depth == 1:
			if !s.dropped {
				s.buf = append(s.buf, c)
			}
			s.member, s.dropped = len(s.buf), false
			continue
		}
		if s.dropped {
			continue
		}
		if s.buf = append(s.buf, c); len(s.buf)-s.member > maxMember || len(s.buf) > maxSieve {
			s.buf, s.dropped = s.buf[:s.member], true
			if s.member == 0 {
				s.buf = append(s.buf, '{') // the first member holds the opening
			}
		}
	}
}
