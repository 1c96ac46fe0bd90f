package simulate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serve starts a provider that ends with the test, and returns its address.
func serve(t *testing.T, o Options) (*Provider, string) {
	t.Helper()
	p := New(o)
	return p, listen(t, p, "")
}

// listen serves p at one more address, as the endpoint of that name.
func listen(t *testing.T, p *Provider, endpoint string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- p.ServeEndpoint(ctx, endpoint, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

// post sends a call with Go's own client, which knows nothing of ours.
func post(t *testing.T, address, path, body string, headers ...string) reply {
	t.Helper()
	r, err := send(address, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(address, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequest("POST", "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	r.body, r.err = io.ReadAll(resp.Body)
	return r, nil
}

// dial opens a connection to write a request on by hand.
func dial(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc, bufio.NewReader(nc)
}

type event struct {
	name string
	text string // data as sent
	data map[string]any
}

// events decodes a stream of server-sent events.
func events(t *testing.T, body []byte) []event {
	t.Helper()
	var list []event
	for block := range bytes.SplitSeq(bytes.TrimSuffix(body, []byte("\n\n")), []byte("\n\n")) {
		var e event
		for line := range strings.SplitSeq(string(block), "\n") {
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				e.name = name
			} else if data, ok := strings.CutPrefix(line, "data: "); ok {
				e.text = data
			} else {
				t.Fatalf("line %q of an event", line)
			}
		}
		if e.text != "[DONE]" {
			if err := json.Unmarshal([]byte(e.text), &e.data); err != nil {
				t.Fatalf("data %q: %v", e.text, err)
			}
		}
		list = append(list, e)
	}
	return list
}

// at follows names and indexes into decoded JSON; nil if there is nothing.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			a, _ := v.([]any)
			if step >= len(a) {
				return nil
			}
			v = a[step]
		}
	}
	return v
}

func object(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return m
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func canonical(t *testing.T, text string) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return []byte(encoded(t, v))
}

// same fails unless got and want are the same JSON.
func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	a := canonical(t, encoded(t, got))
	b := canonical(t, want)
	if !bytes.Equal(a, b) {
		t.Errorf("%s\n got %s\nwant %s", what, a, b)
	}
}

func write(t *testing.T, nc net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(nc, s); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func itoa(n int) string { return strconv.Itoa(n) }

// request is a request to write by hand.
func request(path, body string, headers ...string) string {
	head := "POST " + path + " HTTP/1.1\r\nhost: x\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	return head + "content-length: " + itoa(len(body)) + "\r\n\r\n" + body
}

// until waits for what another goroutine does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if done() {
			return
		}
		runtime.Gosched()
	}
	t.Fatalf("not seen: %s", what)
}
