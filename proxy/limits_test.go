package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/simulate"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// failingDisk is the real disk until it fails: then no sync succeeds.
type failingDisk struct {
	gatedDisk
	failed atomic.Bool
}

type failingFile struct {
	spool.File
	disk *failingDisk
}

func (f failingFile) Sync() error {
	if f.disk.failed.Load() {
		return errors.New("input/output error")
	}
	return f.File.Sync()
}

func (d *failingDisk) Create(name string, size int64) (spool.File, error) {
	f, err := d.gatedDisk.Create(name, size)
	return failingFile{f, d}, err
}

func (d *failingDisk) Open(name string) (spool.File, error) {
	f, err := d.gatedDisk.Open(name)
	return failingFile{f, d}, err
}

// A failing disk stops admission: the call it meets is cut without its answer's
// end, and no further one goes to a provider.
func TestFailingDisk(t *testing.T) {
	disk := &failingDisk{}
	b := newBed(t, func(o *Options, so *spool.Options) { so.FS, so.Durability = disk, spool.Fsync })
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	disk.failed.Store(true)
	if a := b.call("/v1/chat/completions", chatBody); a.err == nil {
		t.Errorf("a call that could not be recorded was answered: %+v", a)
	}
	seen := b.provider.Stats().Requests
	a := b.call("/v1/messages", `{"model":"m"}`)
	b.want(a, 503)
	if !strings.HasPrefix(a.body, `{"type":"error"`) || !strings.Contains(a.body, "ledgerline_spool_failed") || a.header.Get("Retry-After") == "" {
		t.Errorf("answer %v %s", a.header, a.body)
	}
	if b.server.Ready() == nil {
		t.Error("ready with a failed disk")
	}
	if n := b.provider.Stats().Requests; n != seen {
		t.Errorf("%d calls went to the provider after the failure", n-seen)
	}
}

// A client that stops reading holds nothing for ever: after WriteTimeout it
// counts as gone, and the provider's answer is read to its usage.
func TestClientStopsReading(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.WriteTimeout = 200 * time.Millisecond })
	conn := b.dial()
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	io.WriteString(conn, b.post("/v1/chat/completions", strings.Replace(chat(true), "{", `{"stream_options":{"include_usage":true},`, 1),
		"Ledger-Use-Case: patient", "Simulate-Usage: in=48,out=10", "Simulate-Chunks: 200", "Simulate-Answer-Bytes: 16000000"))
	b.until("the call is recorded", func() bool { return len(b.recorded()) == 1 })
	r := b.only().Request
	if at := r.Attempts[0]; r.Outcome.Client != "left" || r.Outcome.Upstream != "drained" || at.UsageSource != event.UsageProvider || !strings.Contains(at.UsageRaw, `"prompt_tokens":48`) {
		t.Errorf("outcome %+v, attempt %+v", r.Outcome, at)
	}
}

// Connections are bounded; those there are go on being served.
func TestTooManyConnections(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.MaxConns = 2 })
	conns := []net.Conn{b.dial(), b.dial()}
	for _, c := range conns {
		defer c.Close()
		io.WriteString(c, b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: patient", "Simulate-Latency: first=300ms"))
	}
	b.until("both calls are with the provider", func() bool { return b.provider.Stats().InFlight == 2 })
	if a := b.call("/v1/chat/completions", chatBody); a.err == nil && a.status != 503 {
		t.Errorf("the third connection: %+v", a)
	}
	b.until("both are recorded", func() bool { return len(b.recorded()) == 2 })
	if n := b.provider.Stats().Requests; n != 2 {
		t.Errorf("%d calls were made", n)
	}
}

// at gives an endpoint another base URL, and more members.
func at(endpoint, url, more string) func(file, text string) string {
	return func(_, text string) string {
		i := strings.Index(text, "{id: "+endpoint+",")
		if i < 0 {
			return text
		}
		from := strings.Index(text[i:], `"http://`) + i
		to := strings.Index(text[from+1:], `"`) + from + 1
		return text[:from] + `"` + url + `"` + more + text[to+1:]
	}
}

// Who cannot be trusted is not called: a certificate of an unknown authority,
// and an egress proxy that refuses. The credential reaches neither.
func TestUntrustedUpstream(t *testing.T) {
	cert, _ := certificate(t)
	provider := simulate.New(simulate.Options{Keep: 10})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- provider.Serve(ctx, tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{cert}}))
	}()
	defer func() { stop(); <-served }()
	refusing := script(t, func(int) (string, bool) { return "", true })
	denied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer denied.Close()
	go func() {
		for {
			conn, err := denied.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}
	}()
	for name, edit := range map[string]func(file, text string) string{
		"unknown authority":     at("primary", "https://"+plain.Addr().String(), ""),
		"egress refuses":        at("primary", "https://"+plain.Addr().String(), `, egress_proxy: "http://`+denied.Addr().String()+`"`),
		"egress hangs up":       at("primary", "https://"+plain.Addr().String(), `, egress_proxy: "http://`+refusing.addr+`"`),
		"TLS to a plain server": at("primary", "https://"+refusing.addr, ""),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBedWith(t, nil, edit)
			a := b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single")
			b.want(a, 502)
			if r := b.only().Request; len(r.Attempts) != 1 || r.Attempts[0].Error != "connect" || r.Attempts[0].Status != 0 {
				t.Errorf("attempts %+v", r.Attempts)
			}
		})
	}
	if n := provider.Stats().Requests; n != 0 {
		t.Errorf("%d calls reached who is not trusted", n)
	}
}
