package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// The provider's counts are exactly what its clients saw, call by call, under
// 1,000 mixed calls of all formats, with faults, from many connections at once.
func TestStatsExact(t *testing.T) {
	p, address := serve(t, Options{Keep: 2000})
	calls := []Call{
		{Format: Chat}, {Format: Chat, Stream: true}, {Format: Chat, Stream: true, IncludeUsage: true}, {Format: Responses},
		{Format: Responses, Stream: true}, {Format: Embeddings}, {Format: Messages}, {Format: Messages, Stream: true, Model: "claude-sonnet-4-5"},
		{Format: Passthrough, Path: "/v1/files", Body: []byte("x")},
	}
	faults := []string{"", "", "", "", "status=429", "cut_after=5", "", "bad_json", "reset", "status=500", ""}
	usage := func(i int) Usage {
		return Usage{Input: int64(1000 + i), Output: int64(i), CacheRead: int64(i % 7), CacheWrite5m: int64(i % 5), CacheWrite1h: int64(i % 3)}
	}
	var mu sync.Mutex
	seen := Stats{ByStatus: map[int]int64{}, ByFormat: map[string]CallStats{}}
	ids := map[string]bool{}
	r, err := Load(t.Context(), LoadOptions{
		Target: "http://" + address, Calls: calls, Concurrency: 40, Requests: 1000,
		Headers: func(i int, head []byte) []byte {
			head = AppendUsage(head, usage(i))
			if f := faults[i%len(faults)]; f != "" {
				head = AppendHeader(head, "Simulate-Fault", f)
			}
			return head
		},
		OnResult: func(r Result) {
			mu.Lock()
			defer mu.Unlock()
			fault := faults[r.Index%len(faults)]
			name := r.Call.Format.String()
			if r.Call.Stream {
				name += "+stream"
			}
			n := seen.ByFormat[name]
			n.Requests++
			switch {
			case r.Ended:
				n.Complete++
				seen.Complete++
				seen.ByStatus[r.Status]++
				if ids[r.ProviderID] || r.ProviderID == "" {
					t.Errorf("request id %q twice", r.ProviderID)
				}
				ids[r.ProviderID] = true
			case r.Status > 0:
				seen.Cut++
			default:
				seen.Unanswered++
			}
			seen.ByFormat[name] = n
			// What the answer said of its usage, by our own knowledge of the formats.
			body := string(r.Body)
			has := r.Ended && r.Status == 200 && r.Call.Format != Passthrough
			if fault == "bad_json" && !r.Call.Stream || r.Call.Format == Chat && r.Call.Stream && !r.Call.IncludeUsage {
				has = false
			}
			u := usage(r.Index)
			if has {
				seen.Reported.add(u.Tokens(r.Call.Format), 0, 1)
				if want := fmt.Sprintf(`_tokens":%d`, u.Output); r.Call.Format != Embeddings && !strings.Contains(body, want) {
					t.Errorf("call %d: usage %v is not in %s", r.Index, u, body)
				}
			} else if r.Status == 200 && r.Call.Format != Passthrough {
				seen.Unreported.add(u.Tokens(r.Call.Format), 0, 1)
			}
		},
	})
	if err != nil || r.Calls != 1000 {
		t.Fatalf("%+v, %v", r, err)
	}
	s := p.Stats()
	if s.Requests != 1000 || s.InFlight != 0 || s.Requests != s.Complete+s.Cut+s.Left+s.Unanswered {
		t.Errorf("requests do not add up: %+v", s)
	}
	if s.Complete != seen.Complete || s.Cut != seen.Cut || s.Unanswered != seen.Unanswered || s.Reported != seen.Reported || s.Unreported != seen.Unreported {
		t.Errorf("provider counts\n%+v\nits clients saw\n%+v", s, seen)
	}
	same(t, "by status", s.ByStatus, encoded(t, seen.ByStatus))
	same(t, "by format", s.ByFormat, encoded(t, seen.ByFormat))
	var byModel UsageStats
	for _, m := range s.ByModel {
		byModel.Calls += m.Reported.Calls
		byModel.Tokens.add(m.Reported.Tokens, 1)
	}
	if byModel != s.Reported {
		t.Errorf("models sum to %+v, all is %+v", byModel, s.Reported)
	}
	// The kept requests tell the same.
	var kept UsageStats
	for _, k := range p.Requests() {
		if k.Reported {
			kept.add(k.Tokens, k.Reasoning, 1)
		}
	}
	if kept != s.Reported {
		t.Errorf("kept requests sum to %+v, all is %+v", kept, s.Reported)
	}
	// And so does the provider over HTTP.
	nc, in := dial(t, address)
	write(t, nc, "GET /__simulate/stats HTTP/1.0\r\n\r\n")
	var told Stats
	_, body, _ := strings.Cut(readAll(t, in), "\r\n\r\n")
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatal(err)
	}
	same(t, "over HTTP", told, encoded(t, s))

	p.Reset()
	if s := p.Stats(); s.Requests != 0 || s.Reported != (UsageStats{}) || len(s.ByModel)+len(s.ByFormat)+len(s.ByStatus) != 0 || len(p.Requests()) != 0 {
		t.Errorf("after reset: %+v", s)
	}
}

// A call in flight at a reset is not counted afterwards.
func TestResetInFlight(t *testing.T) {
	p, address := serve(t, Options{Keep: 4})
	nc, _ := dial(t, address)
	write(t, nc, request("/v1/messages", chatBody, "Simulate-Fault: timeout"))
	until(t, "the call is in flight", func() bool { return p.Stats().InFlight == 1 })
	p.Reset()
	nc.Close()
	post(t, address, "/v1/messages", chatBody)
	if s := p.Stats(); s.Requests != 1 || s.Complete != 1 || s.Left != 0 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

// A brittleListener's connections break when they are to write the given text.
type brittleListener struct {
	net.Listener
	text string
}

type brittleConn struct {
	net.Conn
	text string
}

func (l brittleListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return brittleConn{nc, l.text}, err
}

func (c brittleConn) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.text) {
		c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// An answer whose last bytes could not be written is not complete, and its
// usage is reported only if it was in the bytes before.
func TestLastBytesLost(t *testing.T) {
	for _, c := range []struct {
		name     string
		call     Call
		breaks   string
		reported int64
	}{
		{"whole", Call{Format: Messages}, "end_turn", 0},
		{"responses", Call{Format: Responses, Stream: true}, "response.completed", 0},
		{"chat, its end", Call{Format: Chat, Stream: true, IncludeUsage: true}, "[DONE]", 1},
		{"chat, its usage", Call{Format: Chat, Stream: true, IncludeUsage: true}, "prompt_tokens", 0},
		{"messages, its end", Call{Format: Messages, Stream: true}, "message_stop", 1},
		{"messages, its usage", Call{Format: Messages, Stream: true}, "message_delta", 0},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := New(Options{Keep: 1})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- p.Serve(ctx, brittleListener{ln, c.breaks}) }()
		r, err := Load(ctx, LoadOptions{Target: "http://" + ln.Addr().String(), Requests: 1, Calls: []Call{c.call}})
		if err != nil || r.Failed != 1 {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		until(t, "the loss is booked", func() bool { return p.Stats().Left == 1 })
		s, k := p.Stats(), p.Requests()[0]
		if s.Complete != 0 || s.InFlight != 0 || len(s.ByStatus) != 0 || s.Reported.Calls != c.reported || s.Unreported.Calls != 1-c.reported || k.End != "left" || k.Reported != (c.reported == 1) {
			t.Errorf("%s: %+v\n%+v", c.name, s, k)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A client that leaves in a stream is noticed in the pause before the next
// chunk, and its usage is not booked as reported.
func TestClientLeaves(t *testing.T) {
	p, address := serve(t, Options{})
	r, err := Load(context.Background(), LoadOptions{
		Target: "http://" + address, Requests: 1, Calls: []Call{{Format: Messages, Stream: true, LeaveAfter: 1}},
		Headers: func(_ int, head []byte) []byte { return append(head, "Simulate-Latency: chunk=10m\r\n"...) },
	})
	if err != nil || r.Left != 1 || r.Answered+r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	until(t, "the client is missed", func() bool { return p.Stats().Left == 1 })
	if s := p.Stats(); s.Reported.Calls != 0 || s.Partial.Calls != 1 || s.Unreported.Calls != 1 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}
