package simulate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Provider. The zero value is a provider that answers everybody
// at once with usages made from the lengths of body and answer.
type Options struct {
	Scenario *Scenario
	// APIKeys, if any, are the only credentials accepted (Authorization: Bearer,
	// x-api-key or api-key); other calls get the provider's 401.
	APIKeys []string
	// Keep is how many of the last requests are kept for Requests; about 1 KiB
	// each, and two SHA-256 per call.
	Keep   int
	Logger *slog.Logger     // default: none
	Now    func() time.Time // for times in answers and kept requests, not for latency; default time.Now
}

// Provider is a simulated provider. Its methods may be called at any time from
// any goroutine.
type Provider struct {
	script *script
	keys   map[[sha256.Size]byte]bool
	log    *slog.Logger
	now    func() time.Time

	instance [16]byte // hex, makes request ids of several providers differ
	ids      atomic.Uint64
	books    books
	shelf    shelf

	timesMu sync.Mutex
	times   map[string]int // requests by Simulate-Call, only of calls with a times= fault
}

// New makes a provider. It panics if a scenario made in Go, not read by
// ReadScenario, is wrong.
func New(o Options) *Provider {
	p := &Provider{script: new(script), log: o.Logger, now: o.Now, times: map[string]int{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if o.Scenario != nil {
		var err error
		if p.script, err = o.Scenario.compile(); err != nil {
			panic(fmt.Sprintf("simulate: scenario: %v", err))
		}
	}
	if len(o.APIKeys) > 0 {
		p.keys = map[[sha256.Size]byte]bool{}
		for _, key := range o.APIKeys {
			p.keys[sha256.Sum256([]byte(key))] = true
		}
	}
	if o.Keep > 0 {
		p.shelf.ring = make([]Request, o.Keep)
	}
	var instance [8]byte
	rand.Read(instance[:])
	hex.Encode(p.instance[:], instance[:])
	p.books.reset()
	return p
}

// Serve answers the connections of ln until ctx ends or ln is closed. Then it
// closes ln, cuts the connections that are open, and returns once all of them
// have ended: nil if ctx ended.
func (p *Provider) Serve(ctx context.Context, ln net.Listener) error {
	return p.ServeEndpoint(ctx, "", ln)
}

// ServeEndpoint is Serve for a listener that plays the endpoint of that name.
// One provider may serve several listeners at once.
func (p *Provider) ServeEndpoint(ctx context.Context, endpoint string, ln net.Listener) error {
	clock, err := newClock()
	if err != nil {
		ln.Close()
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	s := &server{provider: p, endpoint: endpoint, clock: clock, open: map[net.Conn]struct{}{}}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	p.log.Info("simulated provider serves", "address", ln.Addr().String(), "endpoint", endpoint)
	err = s.accept(ln)
	ln.Close()
	s.closeAll()
	clock.close()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve %s: %w", ln.Addr(), err)
}

// Stats returns the counts since the start or the last Reset.
func (p *Provider) Stats() Stats { return p.books.stats() }

// Reset forgets all counts and kept requests. Calls in flight are counted
// neither before nor after it.
func (p *Provider) Reset() {
	p.books.reset()
	p.shelf.reset()
	p.timesMu.Lock()
	clear(p.times)
	p.timesMu.Unlock()
}

// Requests returns the kept requests, oldest first.
func (p *Provider) Requests() []Request { return p.shelf.list() }

// seen counts a request of a named call and returns how many there were with
// this one. At 65,536 names it starts anew.
func (p *Provider) seen(call string) int {
	p.timesMu.Lock()
	defer p.timesMu.Unlock()
	if len(p.times) >= 1<<16 {
		clear(p.times)
	}
	p.times[call]++
	return p.times[call]
}

// nextID is the id of the next request: 32 hexadecimal digits, unique among all
// providers.
func (p *Provider) nextID() (id [32]byte) {
	copy(id[:], p.instance[:])
	n := p.ids.Add(1)
	for i := len(id) - 1; i >= 16; i-- {
		id[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return id
}

func (p *Provider) authorized(c *call) bool {
	if p.keys == nil {
		return true
	}
	return p.keys[sha256.Sum256(c.bearer)] || p.keys[sha256.Sum256(c.apiKey)]
}

// A server is a provider at one listener.
type server struct {
	provider *Provider
	endpoint string
	clock    *clock

	mu      sync.Mutex
	open    map[net.Conn]struct{}
	closing bool
	conns   sync.WaitGroup
}

func (s *server) accept(ln net.Listener) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			// Out of descriptors, or a connection that died in the queue: the
			// listener itself lives on.
			s.provider.log.Warn("accept a connection", "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		s.open[nc] = struct{}{}
		s.mu.Unlock()
		s.conns.Go(func() {
			newConn(s, nc).serve()
			nc.Close()
			s.mu.Lock()
			delete(s.open, nc)
			s.mu.Unlock()
		})
	}
}

func (s *server) closeAll() {
	s.mu.Lock()
	s.closing = true
	for nc := range s.open {
		nc.Close()
	}
	s.mu.Unlock()
	s.conns.Wait()
}

func (s *server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
