// Package proxy is the routing proxy: it receives a call, decides where it
// goes, forwards it unchanged and records it. Its guarantees are those of the
// project's design: bytes pass unchanged, the intent is recorded before the
// act and the outcome before the end of the answer, and a client that leaves
// does not lose the usage. It knows no broker and no database; what it records
// goes to the spool.
//
// # One call
//
// The files follow a call's way: head.go reads the request's header, call.go
// admits the call, attribution.go says who pays, sources.go which datasets fed
// the prompt, limit.go what it may use of limits, budget.go of
// budgets, circuit.go leaves out
// endpoints that rest, attempt.go calls the others until one serves, whole.go
// and stream.go pass its answer on, record.go makes the event of it.
//
// # What is changed
//
// Upstream: Host, the caller's key (replaced by the endpoint's credential),
// hop-by-hop and Ledger-* headers (removed), Accept-Encoding (identity),
// framing (Content-Length instead of chunks), the model's name where the
// endpoint has another one for it, and stream_options.include_usage of OpenAI
// chat streams where the endpoint asks for usage. All other header lines go as
// they came, in their order and case.
//
// To the client: hop-by-hop headers (removed), Ledger-Request-Id and
// Ledger-Endpoint (added), RateLimit and RateLimit-Policy (added where a limit
// of requests or tokens counts the call), the chunk that carries only the usage of a stream
// whose client did not ask for it (removed; the other chunks then carry
// "usage": null). Header names keep their case, Server, Content-Type and
// Content-Length come first.
//
// HTTP/2 and HTTP/1.0 towards clients are not spoken: a load balancer speaks
// them. Request bodies are read whole before anything goes upstream, up to
// Options.MaxBody.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/budget"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// Options of a Server. Zero values mean the default given.
type Options struct {
	Spool    *spool.Spool
	Snapshot *governance.Snapshot
	Secret   []byte // key of the digests and user references, at least 32 bytes
	Source   string // of the events, such as "ledgerline/proxy-1"
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
	Ready    func() error // further conditions of readiness

	Hold       time.Duration // longest wait for durability, then the call is cut and recorded as withheld; 5 s
	Grace      time.Duration // for calls in flight when stopping; 30 s
	DrainBytes int64         // most bytes read of an answer whose client left; 64 MiB
	DrainTime  time.Duration // longest that is read on for; 2 min
	MaxDrains  int           // most answers read on for at once, further ones are cancelled; 1024
	Bypass     bool          // an operator's decision: let calls pass unrecorded while the spool takes none
	ClientAddr bool          // record the client's address

	MaxBody      int           // bytes of a request's body; 32 MiB
	MaxWhole     int           // bytes of an answer that is read whole before it is passed on; 1 MiB
	MaxHeader    int           // bytes of a request's header; 16 KiB
	MaxConns     int           // of clients; 16384
	ReadTimeout  time.Duration // for a whole request; 60 s
	IdleTimeout  time.Duration // between requests of a connection; 90 s
	WriteTimeout time.Duration // for which a client may take nothing; 60 s
}

func (o *Options) defaults() {
	set(&o.Hold, 5*time.Second)
	set(&o.Grace, 30*time.Second)
	set(&o.DrainBytes, 64<<20)
	set(&o.DrainTime, 2*time.Minute)
	set(&o.MaxDrains, 1024)
	set(&o.MaxBody, 32<<20)
	set(&o.MaxWhole, 1<<20)
	set(&o.MaxHeader, 16<<10)
	set(&o.MaxConns, 16384)
	set(&o.ReadTimeout, time.Minute)
	set(&o.IdleTimeout, 90*time.Second)
	set(&o.WriteTimeout, time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Server is a proxy. Its methods may be called at any time from any goroutine.
type Server struct {
	o        Options
	log      *slog.Logger
	spool    *spool.Spool
	metrics  *metrics
	secrets  secrets
	plan     atomic.Pointer[plan]
	http     *fasthttp.Server
	counters counters
	budgets  budget.Ledger
	circuits circuits
	calls    sync.Pool
	unread   unread

	stopping atomic.Bool
	flight   flight
	bypass   bypass
	adjust   chan struct{} // one slot for each adjusted event that waits for the spool
	drains   chan struct{} // one slot for each drain
	gone     chan struct{} // closed at the end of Shutdown
	goneOnce sync.Once
}

// New makes a server with its first snapshot.
func New(o Options) (*Server, error) {
	o.defaults()
	switch {
	case o.Spool == nil || o.Snapshot == nil:
		return nil, errors.New("proxy: a spool and a snapshot are needed")
	case len(o.Secret) < 32:
		return nil, fmt.Errorf("proxy: a secret of %d bytes, at least 32 are needed", len(o.Secret))
	}
	s := &Server{
		o: o, log: o.Logger, spool: o.Spool, secrets: deriveSecrets(o.Secret),
		adjust: make(chan struct{}, 1024), drains: make(chan struct{}, o.MaxDrains), gone: make(chan struct{}),
	}
	var err error
	if s.metrics, err = newMetrics(o.Metrics, s); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s.calls.New = func() any { return newCall(s) }
	if err := s.SetSnapshot(o.Snapshot); err != nil {
		return nil, err
	}
	s.http = &fasthttp.Server{
		Handler: s.handle, ErrorHandler: s.refuseUnread, HeaderReceived: s.limitBody,
		Logger: quiet{s.log}, SecureErrorLogMessage: true,
		Concurrency: o.MaxConns, ReadBufferSize: o.MaxHeader, WriteBufferSize: 20 << 10, // more than the piece of a stream that is passed on at a time, with its frame
		ReadTimeout: o.ReadTimeout, IdleTimeout: o.IdleTimeout, MaxRequestBodySize: o.MaxBody,
		DisablePreParseMultipartForm: true, LazyRequestTime: true, CloseOnShutdown: true,
		NoDefaultServerHeader: true, NoDefaultDate: true, NoDefaultContentType: true,
	}
	return s, nil
}

// SetSnapshot makes a snapshot the one of all new calls; calls in flight end
// under theirs. Credentials are read here: a snapshot with an endpoint that
// has none that can be read is refused, and the old one stays.
func (s *Server) SetSnapshot(snapshot *governance.Snapshot) error {
	p, err := newPlan(snapshot, s.metrics, &s.circuits)
	if err != nil {
		return err
	}
	if old := s.plan.Swap(p); old != nil {
		old.closeIdle()
	}
	return nil
}

// Serve takes the connections of ln until Shutdown. It may be called once.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(listener{ln, s.o.WriteTimeout}); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Ready says why calls would not be served, or nil.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	if err := s.spool.Err(); err != nil && !s.o.Bypass {
		return err
	}
	if s.o.Ready != nil {
		return s.o.Ready()
	}
	return nil
}

// Shutdown ends admission at once, gives the calls in flight Options.Grace,
// or less when ctx ends before, then cuts and records them. When it returns,
// every call has its outcome in the spool.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopping.Store(true)
	stopped := make(chan error, 1)
	go func() { stopped <- s.http.ShutdownWithContext(context.WithoutCancel(ctx)) }()
	grace := time.NewTimer(s.o.Grace)
	defer grace.Stop()
	select {
	case <-s.flight.whenEmpty():
	case <-grace.C:
	case <-ctx.Done():
	}
	s.flight.cutAll()
	<-s.flight.whenEmpty() // bounded: every wait of a call is cut or has a limit of its own
	s.goneOnce.Do(func() { close(s.gone) })
	s.plan.Load().closeIdle()
	select {
	case err := <-stopped:
		return err
	case <-time.After(time.Second):
		return nil // connections without a call, such as a request that is not read to its end
	}
}

// quiet is the server's own log: broken connections and the like.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) { q.log.Debug(fmt.Sprintf(format, args...)) }
