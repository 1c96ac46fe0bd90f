package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/simulate"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// bed is a proxy on a real spool before simulated providers, under a real
// snapshot.
type bed struct {
	t        testing.TB
	provider *simulate.Provider
	spool    *spool.Spool
	server   *Server
	registry *prometheus.Registry
	addr     string
	keys     map[string]string // texts by id

	mu     sync.Mutex
	events []*event.Event
}

const testCredential = "sk-provider-credential"

func newBed(t testing.TB, change func(o *Options, so *spool.Options)) *bed {
	return newBedWith(t, change, nil)
}

func newBedWith(t testing.TB, change func(o *Options, so *spool.Options), edit func(file, text string) string) *bed {
	t.Helper()
	t.Setenv("LEDGERLINE_TEST_CREDENTIAL", testCredential)
	b := &bed{t: t, provider: simulate.New(simulate.Options{Keep: 4096, APIKeys: []string{testCredential}}), registry: prometheus.NewRegistry()}
	primary, backup := b.listen("primary"), b.listen("backup")
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()

	folder := t.TempDir()
	files, err := filepath.Glob("testdata/governance/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "keys.yaml" {
			if raw, b.keys, err = governance.Rekey(raw); err != nil {
				t.Fatal(err)
			}
		}
		text := strings.NewReplacer("PRIMARY", primary, "BACKUP", backup, "DEAD", dead.Addr().String()).Replace(string(raw))
		if edit != nil {
			text = edit(filepath.Base(file), text)
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := governance.Load(folder)
	if err != nil {
		t.Fatal(err)
	}

	so := spool.Options{Dir: t.TempDir(), Instance: "proxy-1", Durability: spool.Write, Heartbeat: -1}
	o := Options{Snapshot: snapshot, Secret: bytes.Repeat([]byte{7}, 32), Source: "ledgerline/proxy-1", Metrics: b.registry}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if change != nil {
		change(&o, &so)
	}
	if b.spool, err = spool.Open(so); err != nil {
		t.Fatal(err)
	}
	o.Spool = b.spool
	if b.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(ln) }()
	ctx, stop := context.WithCancel(context.Background())
	drained := make(chan error, 1)
	go func() { drained <- b.spool.Drain(ctx, b.publish) }()
	t.Cleanup(func() {
		short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := b.server.Shutdown(short); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		stop()
		<-drained
		long, cancelLong := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancelLong()
		b.spool.Close(long)
	})
	return b
}

// listen starts an endpoint of the simulated provider.
func (b *bed) listen(endpoint string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.provider.ServeEndpoint(ctx, endpoint, ln) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
	return ln.Addr().String()
}

func (b *bed) publish(ctx context.Context, batch []spool.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entry := range batch {
		ev, err := event.Decode(bytes.Clone(entry.Bytes))
		if err != nil {
			return fmt.Errorf("the proxy recorded what is no event: %w: %s", err, entry.Bytes)
		}
		b.events = append(b.events, ev)
	}
	return nil
}

// recorded is every request event so far.
func (b *bed) recorded() []*event.Event {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.spool.Flush(ctx); err != nil {
		b.t.Fatalf("flush the spool: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*event.Event
	for _, ev := range b.events {
		if ev.Request != nil {
			list = append(list, ev)
		}
	}
	return list
}

// only is the one request event.
func (b *bed) only() *event.Event {
	b.t.Helper()
	list := b.recorded()
	if len(list) != 1 {
		b.t.Fatalf("%d events, want 1: %+v", len(list), list)
	}
	return list[0]
}

// until waits for a condition that another goroutine brings about.
func (b *bed) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			b.t.Fatalf("did not happen within 20 s: %s", what)
		}
		time.Sleep(time.Millisecond) // a poll, not a synchronisation
	}
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body: not nil when it broke off
}

const chatBody = `{"model":"gpt-5-mini","messages":[{"role":"user","content":"hello"}]}`

func chat(stream bool) string {
	if stream {
		return strings.Replace(chatBody, `{`, `{"stream":true,`, 1)
	}
	return chatBody
}

// raw writes a request as it is and reads one answer.
func (b *bed) raw(request string) answer {
	b.t.Helper()
	conn := b.dial()
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{err: err}
	}
	return readAnswer(bufio.NewReader(conn))
}

func (b *bed) dial() net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func readAnswer(r *bufio.Reader) answer {
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body), err}
}

// post is the text of a request.
func (b *bed) post(path, body string, headers ...string) string {
	key := b.keys["riskdesk1"]
	for _, h := range headers {
		if text, ok := strings.CutPrefix(h, "key="); ok {
			key = b.keys[text]
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "POST %s HTTP/1.1\r\nHost: ledgerline\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n", path, key)
	for _, h := range headers {
		if !strings.HasPrefix(h, "key=") {
			s.WriteString(h + "\r\n")
		}
	}
	fmt.Fprintf(&s, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return s.String()
}

func (b *bed) call(path, body string, headers ...string) answer {
	b.t.Helper()
	return b.raw(b.post(path, body, headers...))
}

func (b *bed) want(a answer, status int) {
	b.t.Helper()
	if a.err != nil || a.status != status {
		b.t.Fatalf("status %d, error %v, want %d: %s", a.status, a.err, status, a.body)
	}
}
