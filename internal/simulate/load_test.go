package simulate

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// answerWith serves every request on a new listener with the same bytes, then
// closes the connection.
func answerWith(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(nc)
			for line := ""; line != "\r\n"; {
				if line, err = in.ReadString('\n'); err != nil {
					break
				}
			}
			in.Discard(400) // the body
			io.WriteString(nc, answer)
			nc.Close()
		}
	}()
	return "http://" + ln.Addr().String()
}

// Answered means that the terminal part arrived: nothing less will do.
func TestLoadAnswered(t *testing.T) {
	const stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nLedger-Request-Id: ev-1\r\nX-Request-Id: req_1\r\n\r\n"
	chunk := func(s string) string { return fmt.Sprintf("%X\r\n%s\r\n", len(s), s) }
	for _, c := range []struct {
		name     string
		format   Format
		answer   string
		answered bool
		status   int
		err      string
	}{
		{"whole body", Chat, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true, 200, ""},
		{"an error is an answer", Chat, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}", true, 503, ""},
		{"100 first", Chat, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true, 200, ""},
		{"until the end of the connection", Chat, "HTTP/1.1 200 OK\r\n\r\n{}", true, 200, ""},
		{"short body", Chat, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", false, 200, "closed"},
		{"nothing", Chat, "", false, 0, "closed"},
		{"half a head", Chat, "HTTP/1.1 200 OK\r\n", false, 0, "closed"},
		{"not HTTP", Chat, "\x15\x03\x03 garbage\r\n\r\n", false, 0, "malformed"},
		{"stream", Chat, stream + chunk("data: {}\n\n") + chunk("data: [DONE]\n\n") + "0\r\n\r\n", true, 200, ""},
		{"event over two chunks", Responses, stream + chunk("event: response.comp") + chunk("leted\ndata: {}\n\n") + "0\r\n\r\n", true, 200, ""},
		{"messages", Messages, stream + chunk("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n") + "0\r\n\r\n", true, 200, ""},
		{"no last chunk", Chat, stream + chunk("data: [DONE]\n\n"), false, 200, "closed"},
		{"half a last chunk", Chat, stream + chunk("data: [DONE]\n\n") + "0\r\n", false, 200, "closed"},
		{"no terminal event", Chat, stream + chunk("data: {}\n\n") + "0\r\n\r\n", false, 200, "no terminal event"},
		{"the terminal event of another format", Messages, stream + chunk("data: [DONE]\n\n") + "0\r\n\r\n", false, 200, "no terminal event"},
		{"bad chunk size", Chat, stream + "zz\r\n", false, 200, "malformed"},
		{"chunk longer than its size", Chat, stream + "1\r\nab\r\n", false, 200, "malformed"},
	} {
		var result Result
		r, err := Load(t.Context(), LoadOptions{
			Target: answerWith(t, c.answer), Requests: 1, Calls: []Call{{Format: c.format, Stream: true, Body: make([]byte, 400)}},
			OnResult: func(r Result) { result = r },
		})
		if err != nil || r.Calls != 1 || (r.Answered == 1) != c.answered || (r.Failed == 1) == c.answered || result.Answered != c.answered || result.Status != c.status {
			t.Errorf("%s: %+v %+v, %v", c.name, r, result, err)
		}
		if c.err != "" && (r.Errors[c.err] != 1 || result.Err == nil) || c.err == "" && result.Err != nil {
			t.Errorf("%s: %v %v, want %q", c.name, r.Errors, result.Err, c.err)
		}
		if strings.HasPrefix(c.answer, stream) && (result.EventID != "ev-1" || result.ProviderID != "req_1") {
			t.Errorf("%s: ids %q %q", c.name, result.EventID, result.ProviderID)
		}
	}
	r, err := Load(t.Context(), LoadOptions{Target: "http://127.0.0.1:1", Requests: 2})
	if err != nil || r.Errors["dial"] != 2 || r.Failed != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Every index is sent once, with its own headers, in the shape of its turn.
func TestLoadSendsEachOnce(t *testing.T) {
	_, address := serve(t, Options{APIKeys: []string{"k"}})
	var mu sync.Mutex
	seen := map[int]bool{}
	r, err := Load(t.Context(), LoadOptions{
		Target: "http://" + address + "/openai", Requests: 300, Concurrency: 7, Rate: 20_000, Key: "k",
		Calls: []Call{{Format: Chat, BodyBytes: 1600}, {Format: Messages, Stream: true}},
		Headers: func(i int, head []byte) []byte {
			return AppendHeader(head, "Simulate-Model", itoa(i))
		},
		OnResult: func(r Result) {
			mu.Lock()
			defer mu.Unlock()
			if seen[r.Index] || !r.Answered || (r.Call.Format == Messages) != (r.Index%2 == 1) || !strings.Contains(string(r.Body), `"model":"`+itoa(r.Index)+`"`) {
				t.Errorf("%+v", r)
			}
			if streamed := r.Call.Stream; (r.Passage > 0) != streamed || r.Passage > r.FirstByte {
				t.Errorf("call %d, streamed %t: the first byte took %s from the provider, %s from the call", r.Index, streamed, r.Passage, r.FirstByte)
			}
			seen[r.Index] = true
		},
	})
	if err != nil || r.Answered != 300 || len(seen) != 300 || r.Latency.Count() != 300 || r.Passage.Count() != 150 || r.ByStatus[200] != 300 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := len(Call{Format: Chat, BodyBytes: 1600}.body()); n != 1600 {
		t.Errorf("body of %d bytes, want 1600", n)
	}
	for _, bad := range []LoadOptions{{Target: "http://x"}, {Target: "https://x", Requests: 1}, {Target: "x", Requests: 1}, {Target: "http://x", Requests: 1, Calls: []Call{{}}}} {
		if _, err := Load(t.Context(), bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// Against a list sorted by hand: nearest rank, and exact.
func TestQuantiles(t *testing.T) {
	q := newQuantiles([]time.Duration{50, 10, 40, 20, 30})
	for p, want := range map[float64]time.Duration{0: 10, 0.2: 10, 0.21: 20, 0.5: 30, 0.8: 40, 0.99: 50, 1: 50} {
		if got := q.At(p); got != want {
			t.Errorf("At(%v) = %d, want %d", p, got, want)
		}
	}
	if q.Mean() != 30 || q.Count() != 5 || newQuantiles(nil).At(0.5) != 0 || newQuantiles(nil).Mean() != 0 {
		t.Errorf("%+v", q)
	}
}

// Alarms are woken in the order of their times, never early, and not after
// their cancel.
func TestClock(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	start := time.Now()
	woken := make(chan int, 10)
	list := make([]*alarm, 10)
	for i := range list {
		at := start.Add(time.Duration(10-i) * time.Millisecond)
		list[i] = &alarm{at: at, wake: func() {
			if time.Now().Before(at) {
				t.Errorf("alarm %d is early", i)
			}
			woken <- i
		}}
		c.set(list[i])
	}
	c.cancel(list[4])
	c.cancel(list[4])
	for _, want := range []int{9, 8, 7, 6, 5, 3, 2, 1, 0} {
		if got := <-woken; got != want {
			t.Errorf("alarm %d woken, want %d", got, want)
		}
	}
}
