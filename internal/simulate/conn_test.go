package simulate

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// One connection takes calls one after the other, in all the ways that clients
// frame a body.
func TestFraming(t *testing.T) {
	p, address := serve(t, Options{Keep: 10})
	nc, in := dial(t, address)
	answer := func() reply {
		t.Helper()
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		return reply{resp.StatusCode, resp.Header, body, err}
	}
	ok := func(what string) {
		t.Helper()
		if r := answer(); r.status != 200 || r.err != nil || object(t, r.body)["model"] != "gpt-5-mini" {
			t.Fatalf("%s: %d %s %v", what, r.status, r.body, r.err)
		}
	}
	write(t, nc, request("/v1/messages", chatBody))
	ok("content-length")

	head := "POST /v1/messages HTTP/1.1\r\nTRANSFER-ENCODING: Chunked\r\n\r\n"
	write(t, nc, head+"5;x=y\r\n"+chatBody[:5]+"\r\n"+strconv.FormatInt(int64(len(chatBody)-5), 16)+"\r\n"+chatBody[5:]+"\r\n0\r\nTrailer: x\r\n\r\n")
	ok("chunked")

	// Two requests in one packet, the first of which waits and is split.
	write(t, nc, request("/v1/messages", chatBody, "Simulate-Latency: first=5ms", "Simulate-Write: 3")+request("/v1/messages", chatBody))
	ok("the first of two")
	ok("the second of two")

	// Byte by byte, with a body that the client holds back until it is asked.
	all := request("/v1/messages", chatBody, "Expect: 100-continue")
	i := strings.Index(all, "\r\n\r\n") + 4
	for _, b := range all[:i] {
		write(t, nc, string(b))
	}
	if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	in.ReadString('\n')
	write(t, nc, all[i:])
	ok("after 100 Continue")

	// A body larger than any buffer.
	large := `{"model":"gpt-5-mini","messages":"` + strings.Repeat("x", 3<<20) + `"}`
	write(t, nc, request("/v1/messages", large))
	ok("3 MiB")
	write(t, nc, request("/v1/messages", chatBody))
	ok("after 3 MiB")

	for i, want := range []string{chatBody, chatBody, chatBody, chatBody, chatBody, large, chatBody} {
		if got := p.Requests()[i]; got.BodySHA256 != digest(want) || got.BodyBytes != len(want) {
			t.Errorf("call %d: body of %d bytes, want %d", i, got.BodyBytes, len(want))
		}
	}
	if s := p.Stats(); s.Complete != 7 || s.Broken != 0 {
		t.Errorf("%+v", s)
	}
}

// What is not a request is refused, counted apart, and harms nobody else.
func TestBrokenRequests(t *testing.T) {
	p, address := serve(t, Options{})
	for i, bad := range []string{
		"nonsense\r\n\r\n",
		"GET /v1/models HTTP/2\r\n\r\n",
		"GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n",
		"POST /v1/messages HTTP/1.1\r\ncontent-length: x\r\n\r\n",
		"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
		"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
		"POST /v1/messages HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
		"GET / HTTP/1.1\r\nx: " + strings.Repeat("x", maxHead) + "\r\n\r\n",
	} {
		nc, in := dial(t, address)
		io.WriteString(nc, bad) // may be refused before it is sent whole
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 4") {
			t.Errorf("%d: answered with %q, %v", i, line, err)
		}
		until(t, "it is counted", func() bool { return p.Stats().Broken == int64(i+1) })
	}
	nc, _ := dial(t, address)
	write(t, nc, "POST /v1/messages HTTP/1.1\r\ncontent-length: 100\r\n\r\n{")
	nc.Close()
	until(t, "a client that left in its own request is counted", func() bool { return p.Stats().Broken == 9 })
	if s := p.Stats(); s.Requests != 0 {
		t.Errorf("%+v", s)
	}
	// JSON that is none, or that asks for nothing, is the provider's own 400.
	for _, bad := range []string{"", "[]", `{"model":"m"`, `{"model":"m"}x`, `{"model":`, `{"messages":[]}`, `{"model":"m","x":{"y":"}`, `{"model":"m",}`} {
		r := post(t, address, "/v1/messages", bad)
		if r.status != 400 || at(object(t, r.body), "error", "type") != "invalid_request_error" {
			t.Errorf("%q: %d %s", bad, r.status, r.body)
		}
	}
	// A dictation that cannot be read is an error that names it, not a surprise.
	for header, why := range map[string]string{
		"Simulate-Usage: in=x": "in is", "Simulate-Fault: explode": "explode", "Simulate-Chunks: 0": "chunks", "Simulate-Latency: last=1s": "last",
		"Simulate-Model: a\"b": "plain ASCII", "Simulate-Nonsense: 1": "nonsense",
	} {
		r := post(t, address, "/v1/chat/completions", chatBody, header)
		if message, _ := at(object(t, r.body), "error", "message").(string); r.status != 400 || !strings.Contains(message, why) {
			t.Errorf("%s: %d %s", header, r.status, r.body)
		}
	}
}

// Only the configured keys are accepted, however they are sent, so that a test
// can prove that a proxy swapped the credential; the names of all headers that
// arrived are kept, and nothing of their values.
func TestCredentials(t *testing.T) {
	p, address := serve(t, Options{APIKeys: []string{"real-1", "real-2"}, Keep: 10})
	for _, c := range []struct {
		path, header string
		status       int
	}{
		{"/v1/chat/completions", "Authorization: Bearer real-1", 200},
		{"/v1/messages", "X-Api-Key: real-2", 200},
		{"/v1/embeddings", "Api-Key: real-2", 200},
		{"/v1/chat/completions", "Authorization: Bearer virtual", 401},
		{"/v1/messages", "X-Api-Key: ", 401},
		{"/v1/messages", "X-Other: 1", 401},
	} {
		r := post(t, address, c.path, chatBody, c.header)
		if r.status != c.status {
			t.Errorf("%s: %d %s", c.header, r.status, r.body)
		}
		kind := at(object(t, r.body), "error", "type")
		if want := map[string]string{"/v1/messages": "authentication_error", "/v1/chat/completions": "invalid_request_error"}[c.path]; c.status == 401 && kind != want {
			t.Errorf("%s: %s", c.path, r.body)
		}
	}
	kept := p.Requests()
	if got := strings.Join(kept[0].Headers, " "); !strings.Contains(got, "Authorization") || strings.Contains(encoded(t, kept), "real-1") {
		t.Errorf("kept %s", encoded(t, kept))
	}
	// One of them, found by its id, over HTTP without a key.
	nc, in := dial(t, address)
	write(t, nc, "GET /__simulate/requests?id="+kept[1].ID+" HTTP/1.0\r\n\r\n")
	if _, lines, _ := strings.Cut(readAll(t, in), "\r\n\r\n"); lines != encoded(t, kept[1])+"\n" {
		t.Errorf("%s", lines)
	}
}

// The kept digest of the answer is that of the body as the client decodes it.
func TestKeptAnswer(t *testing.T) {
	p, address := serve(t, Options{Keep: 2})
	for i, body := range []string{chatBody, streamed(chatBody), streamed(chatBody)} {
		r := post(t, address, "/v1/messages", body, "Simulate-Write: 11")
		k := p.Requests()
		if last := k[len(k)-1]; last.AnswerSHA256 != digest(string(r.body)) || last.AnswerBytes != int64(len(r.body)) || len(k) != min(2, i+1) {
			t.Errorf("%d kept; %+v; the client has %d bytes", len(k), last, len(r.body))
		}
	}
}

// However long the pause, the events of a stream come as they are written.
func TestStreamIsNotHeldBack(t *testing.T) {
	_, address := serve(t, Options{})
	nc, in := dial(t, address)
	write(t, nc, request("/v1/chat/completions", streamed(chatBody), "Simulate-Latency: chunk=10m"))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(resp.Body)
	for range 3 { // the role, an empty line, the first part
		if _, err := body.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}
