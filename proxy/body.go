package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errFraming says that an answer's chunked framing is broken.
var errFraming = errors.New("broken chunked framing in the answer")

// body reads the body of an answer, without ever blocking while it has bytes
// to give: several chunks that have arrived are given as one.
type body struct {
	br    *bufio.Reader
	state bodyState
	left  int64 // of the body, or of the chunk
	total int64 // body bytes read
}

type bodyState uint8

const (
	bodyDone    bodyState = iota
	bodyFixed             // left bytes follow
	bodyToClose           // everything until the connection ends
	chunkSize             // a chunk's size line is next
	chunkData             // left bytes of a chunk are next
	chunkEnd              // the line end after a chunk is next
	chunkTrail            // trailer lines are next, and dropped
)

// reset begins a body. length is as fasthttp tells it: -1 chunked, -2 until
// the connection ends.
func (b *body) reset(br *bufio.Reader, length int, none bool) {
	*b = body{br: br}
	switch {
	case none || length == 0:
	case length > 0:
		b.state, b.left = bodyFixed, int64(length)
	case length == -1:
		b.state = chunkSize
	default:
		b.state = bodyToClose
	}
}

// done reports whether the body has been read to its end.
func (b *body) done() bool { return b.state == bodyDone }

// Read gives what is there; io.EOF only after the framing says that the body
// is complete. A connection that ends before gives io.ErrUnexpectedEOF.
func (b *body) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if n > 0 && !b.ready() {
			return n, nil
		}
		switch b.state {
		case bodyDone:
			if n > 0 {
				return n, nil
			}
			return 0, io.EOF
		case bodyToClose:
			m, err := b.br.Read(p[n:])
			n += m
			b.total += int64(m)
			if err == io.EOF {
				b.state = bodyDone
				if n > 0 {
					err = nil
				}
			}
			return n, err
		case bodyFixed, chunkData:
			m, err := b.br.Read(p[n:min(int64(len(p)), int64(n)+b.left)])
			n += m
			b.total += int64(m)
			b.left -= int64(m)
			if b.left == 0 {
				if b.state == bodyFixed {
					b.state = bodyDone
				} else {
					b.state = chunkEnd
				}
				continue
			}
			if err != nil {
				return n, unexpected(err)
			}
		case chunkEnd:
			var end [2]byte
			if _, err := io.ReadFull(b.br, end[:]); err != nil {
				return n, unexpected(err)
			}
			if end != [2]byte{'\r', '\n'} {
				return n, errFraming
			}
			b.state = chunkSize
		case chunkSize:
			size, err := b.size()
			if err != nil {
				return n, err
			}
			b.state, b.left = chunkData, size
			if size == 0 {
				b.state = chunkTrail
			}
		case chunkTrail:
			line, err := b.br.ReadSlice('\n')
			if err != nil {
				return n, unexpected(err)
			}
			if len(line) <= 2 {
				b.state = bodyDone
			}
		}
	}
	return n, nil
}

// ready reports whether the next step will not block.
func (b *body) ready() bool {
	switch b.state {
	case bodyDone:
		return true
	case chunkEnd:
		return b.br.Buffered() >= 2
	case chunkSize, chunkTrail:
		buffered, _ := b.br.Peek(b.br.Buffered())
		return bytes.IndexByte(buffered, '\n') >= 0
	}
	return b.br.Buffered() > 0
}

func (b *body) size() (int64, error) {
	line, err := b.br.ReadSlice('\n')
	if err != nil {
		return 0, unexpected(err)
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return 0, errFraming
	}
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		line = line[:i]
	}
	line = bytes.TrimRight(line, " \t")
	if len(line) == 0 || len(line) > 15 {
		return 0, errFraming
	}
	var n int64
	for _, c := range line {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, errFraming
		}
		n = n<<4 | int64(c)
	}
	return n, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
