package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/simulate"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// Every answered call is an event, under many mixed calls at once, with faults
// and clients that leave; nothing counts twice, and the tokens recorded are
// those the provider reported.
func TestEveryCallIsAnEvent(t *testing.T) {
	for _, durability := range []spool.Durability{spool.Write, spool.Fsync} {
		b := newBed(t, func(o *Options, so *spool.Options) { so.Durability = durability })
		var mu sync.Mutex
		answered := map[string]int{}
		faults := []string{"", "", "", "status=429,endpoint=primary", "status=500", "cut_after=5", "reset,endpoint=primary", "error_after=2"}
		report, err := simulate.Load(context.Background(), simulate.LoadOptions{
			Target: "http://" + b.addr, Key: b.keys["riskdesk1"], Concurrency: 200, Requests: 2000,
			Calls: []simulate.Call{
				{Format: simulate.Chat}, {Format: simulate.Chat, Stream: true}, {Format: simulate.Responses, Stream: true}, {Format: simulate.Embeddings},
				{Format: simulate.Messages}, {Format: simulate.Messages, Stream: true}, {Format: simulate.Chat, Stream: true, LeaveAfter: 300}, {Format: simulate.Responses},
			},
			Headers: func(i int, head []byte) []byte {
				head = simulate.AppendUsage(head, simulate.Usage{Input: int64(1000 + i), Output: int64(i % 97)})
				if f := faults[i/8%len(faults)]; f != "" {
					head = simulate.AppendHeader(head, "Simulate-Fault", f)
				}
				return head
			},
			OnResult: func(r simulate.Result) {
				mu.Lock()
				defer mu.Unlock()
				if r.Answered {
					answered[r.EventID]++
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.until("the drains end", func() bool { return b.server.flight.len() == 0 })
		events := map[string]*event.Event{}
		attempts, inTokens := int64(0), int64(0)
		for _, ev := range b.recorded() {
			if events[ev.ID.String()] != nil || ev.Type != event.RequestCompleted {
				t.Errorf("event %s twice, or not of a call: %s", ev.ID, ev.Type)
			}
			events[ev.ID.String()] = ev
			for i := range ev.Request.Attempts {
				at := &ev.Request.Attempts[i]
				attempts++
				if at.UsageSource == event.UsageProvider {
					inTokens += tokens(t, at.UsageRaw)
				}
			}
		}
		for id, n := range answered {
			if n != 1 || events[id] == nil {
				t.Errorf("answered call %q: answered %d times, event %v", id, n, events[id])
			}
		}
		if len(events) != report.Calls || report.Calls != 2000 || report.Answered < 1000 {
			t.Errorf("%d events of %d calls, %d answered; errors %v", len(events), report.Calls, report.Answered, report.Errors)
		}
		stats := b.provider.Stats()
		if attempts != stats.Requests {
			t.Errorf("%d attempts recorded, the provider counts %d", attempts, stats.Requests)
		}
		if want := stats.Reported.Tokens.Input; inTokens != want {
			t.Errorf("%d input tokens recorded, the provider reported %d", inTokens, want)
		}
	}
}

// tokens is the input of a usage: prompt_tokens or input_tokens, the first.
func tokens(t *testing.T, raw string) int64 {
	for _, name := range []string{`"prompt_tokens":`, `"input_tokens":`} {
		if _, rest, ok := strings.Cut(raw, name); ok {
			n, _ := strconv.ParseInt(rest[:strings.IndexAny(rest, ",}")], 10, 64)
			return n
		}
	}
	t.Errorf("no tokens in %s", raw)
	return 0
}

// Stopping: admission ends at once; a call in flight gets the grace, one that
// needs longer is cut and recorded.
func TestShutdown(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.Grace = time.Second })
	idle, quick, slow := b.dial(), b.dial(), b.dial()
	defer idle.Close()
	defer quick.Close()
	defer slow.Close()
	fromIdle := bufio.NewReader(idle)
	io.WriteString(idle, b.post("/v1/chat/completions", chatBody))
	b.want(readAnswer(fromIdle), 200)
	io.WriteString(quick, b.post("/v1/chat/completions", chat(true), "Ledger-Use-Case: patient", "Simulate-Latency: chunk=20ms"))
	io.WriteString(slow, b.post("/v1/chat/completions", chat(true), "Ledger-Use-Case: patient", "Simulate-Latency: chunk=5s"))
	b.until("both calls are with the provider", func() bool { return b.provider.Stats().InFlight == 2 })
	stopped := make(chan error, 1)
	go func() { stopped <- b.server.Shutdown(context.Background()) }()
	b.until("stopping", func() bool { return b.server.Ready() != nil })
	io.WriteString(idle, b.post("/v1/chat/completions", chatBody))
	if a := readAnswer(fromIdle); a.err == nil && a.status != 503 {
		t.Errorf("a call was admitted while stopping: %+v", a)
	}
	if a := readAnswer(bufio.NewReader(quick)); a.err != nil || !strings.HasSuffix(a.body, "[DONE]\n\n") {
		t.Errorf("the call within the grace ended with %v: %s", a.err, a.body)
	}
	if a := readAnswer(bufio.NewReader(slow)); a.err == nil {
		t.Errorf("the call beyond the grace ended well: %s", a.body)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	list := b.recorded()
	if len(list) != 3 {
		t.Fatalf("%d events, want 3", len(list))
	}
	if o := list[1].Request.Outcome; o.Client != "completed" {
		t.Errorf("within the grace: %+v", o)
	}
	if r := list[2].Request; r.Outcome.Client != "cut" || r.Outcome.Upstream != "cut" || r.Attempts[0].Error != "cancelled" {
		t.Errorf("beyond the grace: %+v %+v", r.Outcome, r.Attempts)
	}
}

// A provider that closes a connection which rested costs nobody an error: the
// attempt is recorded and the call goes out again on a new connection.
func TestStaleConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var conns atomic.Int32
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for i := range 2 {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, request.Body)
					if i == 1 {
						return // closes without an answer
					}
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 46\r\n\r\n"+`{"model":"m","usage":{"prompt_tokens":1}}     `)
				}
			}()
		}
	}()
	b := newBedWith(t, nil, func(file, text string) string {
		if i := strings.Index(text, "{id: primary,"); i >= 0 {
			from := strings.Index(text[i:], `"http://`) + i
			to := strings.Index(text[from+1:], `"`) + from + 1
			text = text[:from] + `"http://` + ln.Addr().String() + text[to:]
		}
		return text
	})
	b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single"), 200)
	b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single"), 200)
	list := b.recorded()
	if at := list[1].Request.Attempts; len(at) != 2 || at[0].Error != "reset" || at[0].Endpoint != "primary" || at[1].Status != 200 || at[1].Endpoint != "primary" || conns.Load() != 2 {
		t.Errorf("attempts %+v over %d connections", at, conns.Load())
	}
}

// TLS upstream under a private authority, through an egress proxy.
func TestPrivateAuthorityAndEgress(t *testing.T) {
	cert, authority := certificate(t)
	provider := simulate.New(simulate.Options{APIKeys: []string{testCredential}})
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
	egress, tunnels := tunnel(t)
	b := newBedWith(t, nil, func(file, text string) string {
		return strings.Replace(text, `{id: patient, region: eu,`, `{id: patient, region: eu, ca_file: "`+authority+`", egress_proxy: "http://`+egress+`",`, 1)
	})
	// The snapshot's address is replaced after its loading: the bed knows only
	// its own listeners.
	for e, u := range b.server.plan.Load().upstreams {
		if e.ID == "patient" {
			changed := *e
			changed.BaseURL = "https://" + plain.Addr().String()
			replaced, err := newUpstream(&changed)
			if err != nil {
				t.Fatal(err)
			}
			replaced.metrics, replaced.circuit = u.metrics, u.circuit
			b.server.plan.Load().upstreams[e] = replaced
		}
	}
	for range 2 {
		b.want(b.call("/v1/chat/completions", chat(true), "Ledger-Use-Case: patient"), 200)
	}
	if provider.Stats().Complete != 2 || tunnels.Load() != 1 {
		t.Errorf("%d calls through %d tunnels", provider.Stats().Complete, tunnels.Load())
	}
}

func tunnel(t *testing.T) (addr string, opened *atomic.Int32) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	opened = new(atomic.Int32)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				request, err := http.ReadRequest(r)
				if err != nil || request.Method != "CONNECT" {
					return
				}
				to, err := net.Dial("tcp", request.Host)
				if err != nil {
					return
				}
				defer to.Close()
				opened.Add(1)
				io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n")
				go io.Copy(to, r)
				io.Copy(conn, to)
			}()
		}
	}()
	return ln.Addr().String(), opened
}

func certificate(t *testing.T) (cert tls.Certificate, authorityFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	authorityFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authorityFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authorityFile
}

// The names of the metrics are a promise.
func TestMetricNames(t *testing.T) {
	b := newBed(t, nil)
	b.want(b.call("/v1/chat/completions", chatBody, "Simulate-Fault: status=429,endpoint=primary"), 200)
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if name := f.GetName() + "{" + strings.Join(labels, ",") + "}"; strings.HasPrefix(name, "ledgerline_proxy_") && (len(names) == 0 || names[len(names)-1] != name) {
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	want, err := os.ReadFile("testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, "\n") + "\n"; got != string(want) {
		t.Errorf("the metrics are\n%s", got)
	}
	var out bytes.Buffer
	for _, f := range families {
		out.WriteString(f.String())
	}
	if strings.Contains(out.String(), b.keys["riskdesk1"]) {
		t.Error("a key is in the metrics")
	}
}
