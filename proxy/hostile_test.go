package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/spool"
)

// Requests that another proxy might read otherwise, or that carry a second one,
// are refused in the provider's shape; nothing of them goes upstream, and
// nothing behind them on their connection is taken for a call.
func TestSmuggling(t *testing.T) {
	b := newBed(t, nil)
	good := b.post("/v1/messages", `{"model":"m"}`)
	change := func(from, to string) string {
		t.Helper()
		if !strings.Contains(good, from) {
			t.Fatalf("no %q in the request", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	const length = "Content-Length: 13\r\n"
	chunks := func(header, body string) string {
		return change(length+"\r\n"+`{"model":"m"}`, header+"\r\n\r\n"+body)
	}
	for _, c := range []struct{ name, request string }{
		{"length with a sign", change("Length: 13", "Length: +13")},
		{"negative length", change("Length: 13", "Length: -13")},
		{"hexadecimal length", change("Length: 13", "Length: 0xd")},
		{"list of lengths", change("Length: 13", "Length: 13, 13")},
		{"length with a space inside", change("Length: 13", "Length: 1 3")},
		{"huge length", change("Length: 13", "Length: 99999999999999999999")},
		{"two equal lengths", change(length, length+length)},
		{"length and chunks", change(length, length+"Transfer-Encoding: chunked\r\n")},
		{"chunks and length", change(length, "Transfer-Encoding: chunked\r\n"+length)},
		{"length and an unknown coding", change(length, length+"Transfer-Encoding: x\r\n")},
		{"coding hidden by a tab", chunks("Transfer-Encoding: \x0bchunked", "0\r\n\r\n")},
		{"coding twice", chunks("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")},
		{"coding in a list", chunks("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")},
		{"coding with a space before the colon", chunks("Transfer-Encoding : chunked", "0\r\n\r\n")},
		{"coding on a continuation line", chunks("Transfer-Encoding:\r\n chunked", "0\r\n\r\n")},
		{"continuation line first", change("Host:", " Host:")},
		{"bare line feed in the header", change("\r\nContent-Type", "\nContent-Type")},
		{"bare line feed at the header's end", change(length+"\r\n", length+"\n")},
		{"bare carriage return in a value", change("application/json", "x\rTransfer-Encoding: chunked")},
		{"NUL in a value", change("application/json", "x\x00y")},
		{"chunk size with a sign", chunks("Transfer-Encoding: chunked", "+d\r\n{\"model\":\"m\"}\r\n0\r\n\r\n")},
		{"chunk size with 0x", chunks("Transfer-Encoding: chunked", "0xd\r\n{\"model\":\"m\"}\r\n0\r\n\r\n")},
		{"chunk size too large", chunks("Transfer-Encoding: chunked", "fffffffffffffffff\r\n{\"model\":\"m\"}\r\n0\r\n\r\n")},
		{"chunk size and a bare line feed", chunks("Transfer-Encoding: chunked", "d\n{\"model\":\"m\"}\n0\n\n")},
		{"chunk longer than its size", chunks("Transfer-Encoding: chunked", "c\r\n{\"model\":\"m\"}\r\n0\r\n\r\n")},
		{"space in the target", change("/v1/messages", "/v1/messages HTTP/1.1")},
		{"control character in the target", change("/v1/messages", "/anthropic/v1/x\x01y")},
		{"control character in the query", change("/v1/messages", "/v1/messages?a\x7fb")},
		{"carriage return in the target", change("/v1/messages", "/v1/messages?x\ry")},
		{"no header's end", strings.TrimSuffix(good[:strings.Index(good, "\r\n\r\n")+2], "\r\n")},
		{"no colon", change("Host: ledgerline", "Host ledgerline")},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := b.dial()
			defer conn.Close()
			io.WriteString(conn, c.request+b.post("/v1/chat/completions", chatBody))
			conn.(*net.TCPConn).CloseWrite()
			r := bufio.NewReader(conn)
			a := readAnswer(r)
			if a.err != nil || a.status < 400 || a.status >= 500 || !strings.Contains(a.body, `"code":"ledgerline_`) {
				t.Fatalf("status %d, error %v: %s", a.status, a.err, a.body)
			}
			if second := readAnswer(r); second.err == nil {
				t.Errorf("what follows was taken for a call: %+v", second)
			}
		})
	}
	if n := b.provider.Stats().Requests; n != 0 || len(b.recorded()) != 0 {
		t.Errorf("%d calls were made, %d recorded", n, len(b.recorded()))
	}
}

// The body of a method that has none usually is read all the same: it is never
// taken for the next request.
func TestBodyOfGet(t *testing.T) {
	b := newBed(t, nil)
	inner := b.post("/v1/chat/completions", chatBody)
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		conn := b.dial()
		io.WriteString(conn, method+strings.TrimPrefix(b.post("/openai/v1/models", inner), "POST"))
		conn.(*net.TCPConn).CloseWrite()
		r := bufio.NewReader(conn)
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		io.Copy(io.Discard, response.Body)
		if a := readAnswer(r); a.err == nil {
			t.Errorf("%s: its body was answered: %+v", method, a)
		}
		conn.Close()
	}
	for _, r := range b.provider.Requests() {
		if r.Format.String() != "passthrough" {
			t.Errorf("the provider got the call inside the body: %+v", r)
		}
	}
}

// A request that ends before its body does, whatever its framing, makes no call
// and is answered in the shape of the provider whose path it has.
func TestTruncatedBody(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.ReadTimeout = 100 * time.Millisecond })
	whole := b.post("/v1/messages", `{"model":"m"}`)
	for _, c := range []struct {
		name, request string
		status        int
		leaves        bool
	}{
		{"length larger than sent, then closed", strings.Replace(whole, "Length: 13", "Length: 14", 1), 400, true},
		{"length larger than sent, then silent", strings.Replace(whole, "Length: 13", "Length: 14", 1), 408, false},
		{"chunks without an end, then closed", strings.Replace(whole, "Content-Length: 13\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nd\r\n", 1), 400, true},
		{"chunks without an end, then silent", strings.Replace(whole, "Content-Length: 13\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nd\r\n", 1), 408, false},
	} {
		conn := b.dial()
		io.WriteString(conn, c.request)
		if c.leaves {
			conn.(*net.TCPConn).CloseWrite()
		}
		if a := readAnswer(bufio.NewReader(conn)); a.status != c.status || !strings.HasPrefix(a.body, `{"type":"error","error":{`) {
			t.Errorf("%s: status %d, error %v: %s", c.name, a.status, a.err, a.body)
		}
		conn.Close()
	}
	if n := b.provider.Stats().Requests; n != 0 || len(b.recorded()) != 0 {
		t.Errorf("%d calls were made, %d recorded", n, len(b.recorded()))
	}
}

// The same request sent twice is two calls, each with its own event: the books
// are of what was called, and a client that repeats itself is billed twice by
// the provider as well.
func TestRepeatedRequest(t *testing.T) {
	b := newBed(t, nil)
	conn := b.dial()
	defer conn.Close()
	request := b.post("/v1/chat/completions", chatBody)
	io.WriteString(conn, request+request)
	r := bufio.NewReader(conn)
	first, second := readAnswer(r), readAnswer(r)
	b.want(first, 200)
	b.want(second, 200)
	list := b.recorded()
	if len(list) != 2 || list[0].ID == list[1].ID || list[0].Request.Call.BodyDigest != list[1].Request.Call.BodyDigest || b.provider.Stats().Requests != 2 {
		t.Errorf("%d events, the provider saw %d calls", len(list), b.provider.Stats().Requests)
	}
}
