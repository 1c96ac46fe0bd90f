package proxy

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// listener gives client connections that can be looked at and that a client
// which stops reading cannot hold for ever.
type listener struct {
	net.Listener
	stall time.Duration
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c = direct(c)
	return &clientConn{Conn: c, peek: newPeeker(c), stall: l.stall}, nil
}

// clientConn is a connection of a client. One goroutine uses it at a time.
type clientConn struct {
	net.Conn
	peek  peeker
	stall time.Duration
	armed time.Time // when the write deadline was last moved
	ends  atomic.Bool

	joins  bool   // the next write waits for the one behind it
	joined []byte // what waits
}

// Write fails when the client takes nothing for the stall time. The deadline
// moves at most four times in it, because moving it costs more than a write
// needs otherwise.
func (c *clientConn) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.armed) > c.stall/4 && !c.ends.Load() {
		c.armed = now
		if err := c.Conn.SetWriteDeadline(now.Add(c.stall)); err != nil {
			return 0, err
		}
	}
	joins := c.joins && len(p) <= maxJoined
	c.joins = false
	switch {
	case joins:
		c.joined = append(c.joined[:0], p...)
		return len(p), nil
	case len(c.joined) > 0:
		both := append(c.joined, p...)
		c.joined = both[:0]
		n, err := c.Conn.Write(both)
		return max(0, n-(len(both)-len(p))), err
	}
	return c.Conn.Write(p)
}

// maxJoined is the most bytes that wait for the next write.
const maxJoined = 4 << 10

// join makes the next write go out together with the one behind it, which must
// follow at once.
func (c *clientConn) join() { c.joins = true }

// hurry gives the writes that remain one second. Any goroutine may call it.
func (c *clientConn) hurry() {
	c.ends.Store(true)
	c.SetWriteDeadline(time.Now().Add(time.Second))
}

// gone reports whether the client has closed its side. A client that only
// closes its sending side counts as gone, as it does for other proxies.
func (c *clientConn) gone() bool { return c.peek.state() == closed }

// peeker looks at a connection without reading from it.
type peeker struct {
	raw   syscall.RawConn
	look  func(fd uintptr)
	found connState
}

type connState uint8

const (
	open     connState = iota // nothing to read
	readable                  // bytes are waiting
	closed                    // by the other side
)

func newPeeker(c net.Conn) peeker {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn() // below TLS
	}
	var p peeker
	if s, ok := c.(syscall.Conn); ok {
		p.raw, _ = s.SyscallConn()
	}
	return p
}

func (p *peeker) state() connState {
	if p.raw == nil {
		return open
	}
	if p.look == nil {
		p.look = func(fd uintptr) { p.found = peekFD(fd) }
	}
	p.found = open
	if p.raw.Control(p.look) != nil {
		return closed
	}
	return p.found
}
