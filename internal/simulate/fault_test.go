package simulate

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFaultForm(t *testing.T) {
	got, err := ParseFault("status=503,endpoint=a,times=2; retry_after=7;cut_after=0,slow_headers=5ms")
	want := []Fault{{Status: 503, Endpoint: "a", Times: 2}, {Status: 429, RetryAfter: "7"}, {Cut: true, SlowHeaders: 5 * time.Millisecond}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "status=200", "status=x", "endpoint=a", "cut_after=-1", "slow_headers=1h", "explode", "times=0,reset"} {
		if list, err := ParseFault(bad); err == nil {
			t.Errorf("%q: %+v", bad, list)
		}
	}
}

// Errors have the provider's own shape, and say when to come back.
func TestFaultStatus(t *testing.T) {
	p, address := serve(t, Options{})
	r := post(t, address, "/v1/chat/completions", streamed(chatBody), "Simulate-Fault: status=429,retry_after=3")
	if r.status != 429 || r.header.Get("Retry-After") != "3" || at(object(t, r.body), "error", "code") != "rate_limit_exceeded" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	r = post(t, address, "/v1/messages", chatBody, "Simulate-Fault: status=529")
	if o := object(t, r.body); r.status != 529 || o["type"] != "error" || at(o, "error", "type") != "overloaded_error" || o["request_id"] != r.header.Get("Request-Id") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	r = post(t, address, "/v1/responses", chatBody, "Simulate-Fault: status=500")
	if r.status != 500 || at(object(t, r.body), "error", "type") != "server_error" {
		t.Errorf("%d %s", r.status, r.body)
	}
	s := p.Stats()
	same(t, "by status", s.ByStatus, `{"429":1,"500":1,"529":1}`)
	same(t, "faults", s.Faults, `{"status_429":1,"status_500":1,"status_529":1}`)
	if s.Reported.Calls+s.Unreported.Calls != 0 {
		t.Errorf("a refused call has usage: %+v", s)
	}
}

// What the client sees of each fault that spoils an answer, and how it is booked.
func TestFaultsOfTransport(t *testing.T) {
	asked := strings.Replace(streamed(chatBody), "{", `{"stream_options":{"include_usage":true},`, 1)
	for _, c := range []struct {
		name, path, body, fault string
		sees                    func(r reply, err error) bool
		end                     string
		reported, partial       int64
	}{
		{"reset", "/v1/messages", chatBody, "reset", func(_ reply, err error) bool { return errors.Is(err, syscall.ECONNRESET) }, "unanswered", 0, 0},
		{"garbage", "/v1/messages", chatBody, "garbage", func(_ reply, err error) bool { return err != nil && strings.Contains(err.Error(), "malformed HTTP") }, "unanswered", 0, 0},
		{"cut body", "/v1/messages", chatBody, "cut_after=100", func(r reply, err error) bool {
			return err == nil && len(r.body) == 100 && errors.Is(r.err, io.ErrUnexpectedEOF)
		}, "cut", 0, 0},
		{"cut stream", "/v1/chat/completions", streamed(chatBody), "cut_after=4", func(r reply, err error) bool {
			return err == nil && strings.Count(string(r.body), "data: ") == 4 && errors.Is(r.err, io.ErrUnexpectedEOF)
		}, "cut", 0, 0},
		{"cut before the first event", "/v1/chat/completions", streamed(chatBody), "cut_after=0", func(r reply, err error) bool {
			return err == nil && r.status == 200 && len(r.body) == 0 && errors.Is(r.err, io.ErrUnexpectedEOF)
		}, "cut", 0, 0},
		{"cut after message_start", "/v1/messages", streamed(chatBody), "cut_after=1", func(r reply, err error) bool {
			return err == nil && strings.Contains(string(r.body), "message_start") && errors.Is(r.err, io.ErrUnexpectedEOF)
		}, "cut", 0, 1},
		{"cut after all events", "/v1/messages", streamed(chatBody), "cut_after=16", func(r reply, err error) bool {
			return err == nil && strings.Contains(string(r.body), "message_stop") && errors.Is(r.err, io.ErrUnexpectedEOF)
		}, "cut", 1, 0},
		{"cut before message_delta", "/v1/messages", streamed(chatBody), "cut_after=14", func(r reply, err error) bool {
			return err == nil && strings.Contains(string(r.body), "content_block_stop") && !strings.Contains(string(r.body), "message_delta")
		}, "cut", 0, 1},
		{"cut before the usage chunk", "/v1/chat/completions", asked, "cut_after=12", func(r reply, err error) bool {
			return err == nil && strings.Contains(string(r.body), `"finish_reason":"stop"`) && !strings.Contains(string(r.body), "prompt_tokens")
		}, "cut", 0, 0},
		{"cut after the usage chunk", "/v1/chat/completions", asked, "cut_after=13", func(r reply, err error) bool {
			return err == nil && strings.Contains(string(r.body), "prompt_tokens") && !strings.Contains(string(r.body), "[DONE]")
		}, "cut", 1, 0},
		{"error event of Anthropic", "/v1/messages", streamed(chatBody), "error_after=2", func(r reply, err error) bool {
			return err == nil && r.err == nil && strings.HasSuffix(string(r.body), "\"}\n\n") && strings.Contains(string(r.body), "event: error\ndata: {\"type\":\"error\"") &&
				!strings.Contains(string(r.body), "message_stop")
		}, "complete", 0, 1},
		{"error event of OpenAI", "/v1/chat/completions", streamed(chatBody), "error_after=2", func(r reply, err error) bool {
			return err == nil && r.err == nil && strings.Contains(string(r.body), "data: {\"error\":{") && !strings.Contains(string(r.body), "[DONE]")
		}, "complete", 0, 0},
		{"bad JSON", "/v1/responses", chatBody, "bad_json", func(r reply, err error) bool {
			return err == nil && r.err == nil && r.status == 200 && len(r.body) > 0 && !json.Valid(r.body)
		}, "complete", 0, 0},
		{"bad JSON in a stream", "/v1/messages", streamed(chatBody), "bad_json", func(r reply, err error) bool {
			return err == nil && r.err == nil && strings.Contains(string(r.body), "message_stop") && strings.Count(string(r.body), "}\n\n") == strings.Count(string(r.body), "\n\n")-1
		}, "complete", 1, 0},
		{"slow headers", "/v1/messages", chatBody, "slow_headers=5ms", func(r reply, err error) bool {
			return err == nil && r.err == nil && json.Valid(r.body)
		}, "complete", 1, 0},
	} {
		p, address := serve(t, Options{Keep: 1})
		r, err := send(address, c.path, c.body, "Simulate-Fault: "+c.fault, "Simulate-Usage: in=10,out=5")
		if !c.sees(r, err) {
			t.Errorf("%s: the client sees %d %q %v, %v", c.name, r.status, r.body, r.err, err)
		}
		s := p.Stats()
		if s.Requests != 1 || s.InFlight != 0 || s.Reported.Calls != c.reported || s.Partial.Calls != c.partial || s.Reported.Calls+s.Unreported.Calls+s.Unanswered != 1 {
			t.Errorf("%s: %+v", c.name, s)
		}
		if c.partial == 1 && s.Partial.Tokens != (Tokens{Input: 10, Output: 1}) || s.Unreported.Calls == 1 && s.Unreported.Tokens != (Tokens{Input: 10, Output: 5}) {
			t.Errorf("%s: partial %+v, unreported %+v", c.name, s.Partial, s.Unreported)
		}
		k := p.Requests()
		if len(k) != 1 || k[0].End != c.end || k[0].Reported != (c.reported == 1) || k[0].Partial != (c.partial == 1) || len(s.Faults) != 1 || s.Faults[k[0].Faults[0]] != 1 {
			t.Errorf("%s: kept %+v, faults %v", c.name, k, s.Faults)
		}
		if got := map[string]int64{"complete": s.Complete, "cut": s.Cut, "unanswered": s.Unanswered}[c.end]; got != 1 {
			t.Errorf("%s: not booked as %s: %+v", c.name, c.end, s)
		}
	}
}

// A timeout lasts until the client leaves; the provider notices at once.
func TestFaultTimeout(t *testing.T) {
	p, address := serve(t, Options{})
	nc, _ := dial(t, address)
	write(t, nc, request("/v1/chat/completions", chatBody, "Simulate-Fault: timeout"))
	until(t, "the call is in flight", func() bool { return p.Stats().InFlight == 1 })
	nc.Close()
	until(t, "the client is missed", func() bool { s := p.Stats(); return s.Left == 1 && s.InFlight == 0 })
}

// A fault can be for one endpoint, and for the first tries of one call.
func TestFaultConditions(t *testing.T) {
	p, first := serve(t, Options{})
	second := listen(t, p, "second")
	status := func(address, path string, headers ...string) int {
		t.Helper()
		return post(t, address, path, chatBody, headers...).status
	}
	const fault = "Simulate-Fault: status=500,endpoint=second;status=503,endpoint=by-path"
	if a, b, c, d := status(first, "/v1/messages", fault), status(second, "/v1/messages", fault), status(first, "/by-path/v1/messages", fault),
		status(first, "/v1/messages", fault, "Simulate-Endpoint: second"); a != 200 || b != 500 || c != 503 || d != 500 {
		t.Errorf("%d %d %d %d", a, b, c, d)
	}
	const twice = "Simulate-Fault: status=500,times=2"
	for i, want := range []int{500, 500, 200, 200} {
		if got := status(first, "/v1/messages", twice, "Simulate-Call: one"); got != want {
			t.Errorf("try %d: %d, want %d", i, got, want)
		}
	}
	if got := status(first, "/v1/messages", twice, "Simulate-Call: two"); got != 500 {
		t.Errorf("another call: %d", got)
	}
}
