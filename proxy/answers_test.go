package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// scripted is a provider that answers the n-th call (from 0) with exactly these
// bytes, whatever HTTP makes of them; "" closes. It reads each request first.
type scripted struct {
	addr  string
	conns atomic.Int32
	calls atomic.Int32
}

func script(t *testing.T, answers func(n int) (text string, closes bool)) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &scripted{addr: ln.Addr().String()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, request.Body)
					text, closes := answers(int(s.calls.Add(1)) - 1)
					io.WriteString(conn, text)
					if closes {
						return
					}
				}
			}()
		}
	}()
	return s
}

// before makes the endpoint primary the scripted provider's.
func (s *scripted) before(_, text string) string {
	if i := strings.Index(text, "{id: primary,"); i >= 0 {
		from := strings.Index(text[i:], `"http://`) + i
		to := strings.Index(text[from+1:], `"`) + from + 1
		text = text[:from] + `"http://` + s.addr + text[to:]
	}
	return text
}

const plainAnswer = `{"model":"m","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}`

func fixed(head, body string) string {
	return fmt.Sprintf("%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// What providers may answer, in every framing that HTTP/1.1 has, passes; and
// the next call gets its own answer, over the same connection where that is
// sound and over a new one where it is not.
func TestAnswersOfEveryFraming(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	chunked := "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name, method, answer string
		closes               bool
		status               int
		body                 string
		conns                int32 // after a second call
		usage                event.UsageSource
	}{
		{"fixed", "POST", fixed(ok, plainAnswer), false, 200, plainAnswer, 1, event.UsageProvider},
		{"chunked, no event stream", "POST", ok + chunked + "\r\n10\r\n" + plainAnswer[:16] + fmt.Sprintf("\r\n%x;x=y\r\n", len(plainAnswer)-16) + plainAnswer[16:] + "\r\n0\r\n\r\n", false, 200, plainAnswer, 1, event.UsageProvider},
		{"chunked with trailers", "POST", ok + chunked + "Trailer: X-A\r\n\r\n" + fmt.Sprintf("%x\r\n", len(plainAnswer)) + plainAnswer + "\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", false, 200, plainAnswer, 1, event.UsageProvider},
		{"chunked with a length as well", "POST", ok + chunked + "Content-Length: 5\r\n\r\n" + fmt.Sprintf("%x\r\n", len(plainAnswer)) + plainAnswer + "\r\n0\r\n\r\n", false, 200, plainAnswer, 1, event.UsageProvider}, // RFC 9112, 6.3: the chunks count
		{"until the connection ends", "POST", ok + "\r\nContent-Type: application/json\r\n\r\n" + plainAnswer, true, 200, plainAnswer, 2, event.UsageProvider},
		{"connection: close", "POST", fixed(ok+"\r\nConnection: close", plainAnswer), true, 200, plainAnswer, 2, event.UsageProvider},
		{"after 100 and 103", "POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + fixed(ok, plainAnswer), false, 200, plainAnswer, 1, event.UsageProvider},
		{"204", "POST", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", false, 204, "", 1, event.UsageMissing},
		{"304 with the length of another", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false, 304, "", 1, event.UsageMissing},
		{"HEAD with the length of another", "HEAD", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n", false, 200, "", 1, event.UsageMissing},
		{"empty", "POST", fixed(ok, ""), false, 200, "", 1, event.UsageMissing},
		{"large header", "POST", fixed(ok+"\r\nX-A: "+strings.Repeat("a", 24<<10), plainAnswer), false, 200, plainAnswer, 1, event.UsageProvider},
		{"more than it said", "POST", fixed(ok, plainAnswer) + fixed(ok, `{"secret":1}`), false, 200, plainAnswer, 2, event.UsageProvider},
		{"error of the caller", "POST", fixed("HTTP/1.1 400 Bad Request", `{"error":{}}`), false, 400, `{"error":{}}`, 1, event.UsageMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := script(t, func(n int) (string, bool) {
				if n == 0 {
					return c.answer, c.closes
				}
				return fixed(ok, `{"second":true}`), false
			})
			b := newBedWith(t, nil, s.before)
			request := b.post("/openai/v1/chat/completions", chatBody, "Ledger-Use-Case: single")
			if c.method != "POST" {
				request = c.method + strings.TrimPrefix(strings.Replace(b.post("/openai/v1/models", "", "Ledger-Use-Case: single"), "Content-Length: 0\r\n", "", 1), "POST")
			}
			conn := b.dial()
			defer conn.Close()
			io.WriteString(conn, request)
			r := bufio.NewReader(conn)
			response, err := http.ReadResponse(r, &http.Request{Method: c.method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != c.status || string(body) != c.body {
				t.Fatalf("status %d, error %v: %q", response.StatusCode, err, body)
			}
			if c.name == "HEAD with the length of another" && response.ContentLength != 99 {
				t.Errorf("HEAD says a length of %d", response.ContentLength)
			}
			for _, name := range []string{"Trailer", "Connection", "Keep-Alive"} {
				if v := response.Header.Get(name); v != "" {
					t.Errorf("%s: %s reached the client", name, v)
				}
			}
			first := b.only().Request
			if at := first.Attempts[0]; len(first.Attempts) != 1 || at.Status != c.status || at.UsageSource != c.usage || at.Bytes != int64(len(c.body)) || first.Outcome.AnswerBytes != int64(len(c.body)) {
				t.Errorf("attempts %+v, outcome %+v", first.Attempts, first.Outcome)
			}
			if c.usage == event.UsageProvider && first.Attempts[0].UsageRaw != `{"prompt_tokens":0,"completion_tokens":0}` {
				t.Errorf("an explicit zero is a fact; recorded %q", first.Attempts[0].UsageRaw)
			}
			io.WriteString(conn, b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: single"))
			a := readAnswer(r)
			b.want(a, 200)
			if a.body != `{"second":true}` {
				t.Errorf("the next call got %q", a.body)
			}
			if n := s.conns.Load(); n != c.conns {
				t.Errorf("%d connections, want %d", n, c.conns)
			}
		})
	}
}

// What is not sound HTTP is nobody's answer: a client gets our error, in the
// shape of its provider, and the connection is not used again.
func TestBrokenAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, c := range []struct {
		name, answer, class string
	}{
		{"two lengths", ok + "Content-Length: 2\r\nContent-Length: 20\r\n\r\n{}", "protocol"},
		{"signed length", ok + "Content-Length: +2\r\n\r\n{}", "protocol"},
		{"no number", ok + "Content-Length: two\r\n\r\n{}", "protocol"},
		{"bad chunk", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "protocol"},
		{"header over every bound", ok + "X-A: " + strings.Repeat("a", 64<<10) + "\r\nContent-Length: 2\r\n\r\n{}", "protocol"},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol"},
		{"only interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 40), "protocol"},
		{"cut in the header", "HTTP/1.1 200 OK\r\nContent-", "reset"},
		{"cut in the body", ok + "Content-Length: 20\r\n\r\n{}", "cut"},
		{"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n20\r\n{}", "cut"},
		{"nothing", "", "reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := script(t, func(n int) (string, bool) {
				if n == 0 {
					return c.answer, true
				}
				return fixed("HTTP/1.1 200 OK", plainAnswer), false
			})
			b := newBedWith(t, nil, s.before)
			a := b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single")
			b.want(a, 502)
			if !strings.Contains(a.body, `"code":"ledgerline_upstream_`) || !strings.HasPrefix(a.body, `{"error":`) {
				t.Errorf("answer %s", a.body)
			}
			r := b.only().Request
			if at := r.Attempts[0]; len(r.Attempts) != 1 || at.Error != c.class || at.UsageSource != event.UsageMissing || r.Outcome.Served != -1 || r.Outcome.Status != 502 {
				t.Errorf("attempts %+v, outcome %+v", r.Attempts, r.Outcome)
			}
			b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single"), 200)
			if s.conns.Load() != 2 {
				t.Errorf("%d connections", s.conns.Load())
			}
		})
	}
}

// A provider that refuses a large body before it has read it is heard.
func TestEarlyRefusal(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, fixed("HTTP/1.1 413 Content Too Large\r\nConnection: close", `{"error":{"code":"theirs"}}`))
			conn.Close()
		}
	}()
	b := newBedWith(t, nil, (&scripted{addr: ln.Addr().String()}).before)
	a := b.call("/v1/chat/completions", chatBody+strings.Repeat(" ", 8<<20), "Ledger-Use-Case: single")
	b.want(a, 413)
	if !strings.Contains(a.body, "theirs") {
		t.Errorf("answer %s", a.body)
	}
	if r := b.only().Request; len(r.Attempts) != 1 || r.Attempts[0].Status != 413 || r.Attempts[0].Error != "http" {
		t.Errorf("attempts %+v", r.Attempts)
	}
}

// Usage is asked for whatever the client's stream_options say, unless they ask
// for it, and the client sees what it would have seen.
func TestIncludeUsageOverOptions(t *testing.T) {
	for _, options := range []string{`null`, `{}`, `{"include_usage":false}`, `{"include_obfuscation":false,"include_usage": null}`} {
		b := newBed(t, nil)
		a := b.call("/v1/chat/completions", strings.Replace(chat(true), "{", `{"stream_options":`+options+`,`, 1), "Simulate-Usage: in=48,out=10")
		b.want(a, 200)
		if strings.Contains(a.body, "prompt_tokens") || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
			t.Errorf("%s: the client got %s", options, a.body)
		}
		if at := b.only().Request.Attempts[0]; at.UsageSource != event.UsageProvider || !strings.Contains(at.UsageRaw, `"prompt_tokens":48`) {
			t.Errorf("%s: attempt %+v", options, at)
		}
	}
}

// What a provider sends unasked on a connection that rests is nobody's answer.
func TestUnaskedAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	unasked := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, request.Body)
			io.WriteString(conn, fixed("HTTP/1.1 200 OK", plainAnswer))
			if first {
				<-unasked
				io.WriteString(conn, fixed("HTTP/1.1 200 OK", `{"secret":"of another"}`))
				close(sent)
			}
		}
	}()
	b := newBedWith(t, nil, (&scripted{addr: ln.Addr().String()}).before)
	for i := range 2 {
		a := b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single")
		b.want(a, 200)
		if a.body != plainAnswer {
			t.Errorf("call %d got %s", i, a.body)
		}
		if i == 0 {
			close(unasked)
			<-sent
		}
	}
	if r := b.recorded()[1].Request; len(r.Attempts) != 1 {
		t.Errorf("attempts %+v", r.Attempts)
	}
}

// Header lines of an answer reach the client in their case, each of several of
// one name; what is between provider and proxy does not.
func TestHeadersOfTheAnswer(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nX-wEiRd-cAsE: 1\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: a=1; Path=/x\r\nx-ratelimit-remaining: 7\r\nX-Multi: a\r\nX-Multi: b\r\n" +
		"Keep-Alive: timeout=5\r\nX-Hop: secret\r\nConnection: X-Hop\r\nConnection: X-Other, close\r\nX-Other: secret\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nServer: theirs\r\nX-Request-Id: req_1"
	s := script(t, func(int) (string, bool) { return fixed(head, plainAnswer), true })
	b := newBedWith(t, nil, s.before)
	for range 2 {
		conn := b.dial()
		io.WriteString(conn, strings.Replace(b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: single"), "\r\n", "\r\nConnection: close\r\n", 1))
		raw, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		if body != plainAnswer {
			t.Errorf("body %q", body)
		}
		for _, line := range []string{"X-wEiRd-cAsE: 1", "a=1; Path=/", "a=1; Path=/x", "x-ratelimit-remaining: 7", "X-Multi: a", "X-Multi: b", "Date: Tue, 24 Nov 2026 10:00:00 GMT", "Server: theirs", "X-Request-Id: req_1", "Ledger-Endpoint: primary", "Connection: close"} {
			if !strings.Contains(got, line+"\r\n") && !strings.HasSuffix(got, line) {
				t.Errorf("%q is missing in\n%s", line, got)
			}
		}
		for _, name := range []string{"Keep-Alive", "X-Hop", "X-Other", "Proxy-Authenticate", "Upgrade"} {
			if strings.Contains(got, "\r\n"+name+":") {
				t.Errorf("%s reached the client:\n%s", name, got)
			}
		}
	}
	for _, ev := range b.recorded() {
		if at := ev.Request.Attempts; len(at) != 1 || at[0].ProviderID != "req_1" {
			t.Errorf("attempts %+v", at)
		}
	}
}

// Each event of a stream reaches the client before the provider sends the next:
// here it sends none until the client has the last one. The end of the stream
// waits for the record, of a format unknown here too.
func TestEventsInLockstep(t *testing.T) {
	const first, second = "data: {\"model\":\"m\",\"choices\":[]}\n\n", "event: x\ndata: {}\n\n"
	for _, c := range []struct {
		path, end string
		withheld  bool
	}{
		{"/v1/chat/completions", "data: [DONE]\n\n", false},
		{"/v1/chat/completions", "data: [DONE]\n\n", true},
		{"/openai/v1/threads/runs", "", false},
		{"/openai/v1/threads/runs", "", true},
	} {
		t.Run(fmt.Sprint(c.path, c.withheld), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			next := make(chan struct{})
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				io.Copy(io.Discard, request.Body)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
				for _, ev := range []string{first, second} {
					fmt.Fprintf(conn, "%x\r\n%s\r\n", len(ev), ev)
					<-next
				}
				if c.end != "" {
					fmt.Fprintf(conn, "%x\r\n%s\r\n", len(c.end), c.end)
				}
				io.WriteString(conn, "0\r\n\r\n")
			}()
			disk := &gatedDisk{}
			b := newBedWith(t, func(o *Options, so *spool.Options) {
				so.FS, so.Durability = disk, spool.Fsync
				if c.withheld {
					o.Hold = 50 * time.Millisecond
				}
			}, at("primary", "http://"+ln.Addr().String(), ""))
			defer disk.open()
			conn := b.dial()
			defer conn.Close()
			io.WriteString(conn, b.post(c.path, chat(true), "Ledger-Use-Case: single"))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, ev := range []string{first, second} {
				got := make([]byte, len(ev))
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != ev {
					t.Fatalf("event %d: %q, %v", i, got, err)
				}
				if i == 1 && c.withheld {
					disk.close()
				}
				next <- struct{}{}
			}
			rest, err := io.ReadAll(response.Body)
			disk.open()
			if c.withheld {
				if err == nil || len(rest) != 0 {
					t.Errorf("the client got %q and a well-framed end, which is not recorded", rest)
				}
				b.until("that is recorded", func() bool {
					list := b.recorded()
					return len(list) == 2 && list[1].Request.Outcome.Client == "withheld"
				})
				return
			}
			if err != nil || string(rest) != c.end {
				t.Errorf("the end is %q, %v", rest, err)
			}
			if r := b.only().Request; r.Outcome.Client != "completed" || r.Attempts[0].Error != "" || r.Outcome.AnswerBytes != int64(len(first+second+c.end)) {
				t.Errorf("outcome %+v, attempts %+v", r.Outcome, r.Attempts)
			}
		})
	}
}
