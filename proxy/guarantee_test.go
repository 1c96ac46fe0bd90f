package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// Neither the caller's key nor a user's name is in an event; the provider gets
// its own credential (the simulated one answers 401 to any other).
func TestNoSecretInTheEvent(t *testing.T) {
	b := newBed(t, nil)
	b.want(b.call("/v1/chat/completions", strings.Replace(chatBody, "{", `{"user":"anna@example.com","safety_identifier":"anna@example.com",`, 1)), 200)
	ev := b.only()
	raw, err := ev.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"anna", b.keys["riskdesk1"], testCredential, "hello"} {
		if strings.Contains(string(raw), secret) {
			t.Errorf("the event holds %q: %s", secret, raw)
		}
	}
	if u := ev.Request.Attribution.User; !strings.HasPrefix(u.Value, "u_") || len(u.Value) != 18 || u.Provenance != event.FromHeader || ev.Request.Caller.UserRef != u.Value {
		t.Errorf("user %+v, caller %+v", u, ev.Request.Caller)
	}
}

// Intent before act: while the provider has a call and has not answered, a
// machine that is killed leaves the intent on the disk, and the next opening
// of the spool makes a recovered event of it.
func TestIntentBeforeAct(t *testing.T) {
	dir := ""
	b := newBed(t, func(o *Options, so *spool.Options) { dir = so.Dir })
	conn := b.dial()
	defer conn.Close()
	io.WriteString(conn, b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: patient", "Simulate-Fault: timeout"))
	b.until("the provider has the call", func() bool { return b.provider.Stats().InFlight == 1 })

	copied := filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	after, err := spool.Open(spool.Options{Dir: copied, Instance: "proxy-1", Heartbeat: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		after.Close(done)
	}()
	var recovered []*event.Event
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	go after.Drain(ctx, func(_ context.Context, batch []spool.Entry) error {
		for _, e := range batch {
			if ev, err := event.Decode(e.Bytes); err == nil && ev.Type == event.RequestRecovered {
				recovered = append(recovered, ev)
			}
		}
		return nil
	})
	if err := after.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if len(recovered) != 1 {
		t.Fatalf("%d recovered events, want 1", len(recovered))
	}
	r := recovered[0].Request
	if r.Call.Model != "gpt-5-mini" || r.Attribution.Team.Value != "risk" || r.Attempts[0].Endpoint != "patient" || r.Caller.KeyID != "riskdesk1" {
		t.Errorf("recovered %+v", r)
	}
}

// Durable before done: while the disk does not sync, no client gets the end of
// its answer; after Hold its connection breaks, and that is recorded.
func TestDurableBeforeDone(t *testing.T) {
	for _, c := range []struct{ name, path, body, never string }{
		{"whole", "/v1/chat/completions", chat(false), "HTTP/1.1"},
		{"chat", "/v1/chat/completions", chat(true), "[DONE]"},
		{"responses", "/v1/responses", `{"model":"m","stream":true,"input":"x"}`, "response.completed"},
		{"messages", "/v1/messages", `{"model":"m","stream":true,"max_tokens":1,"messages":[]}`, "message_stop"},
		{"passthrough", "/openai/v1/models", "", "HTTP/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := &gatedDisk{}
			b := newBed(t, func(o *Options, so *spool.Options) {
				so.FS, so.Durability = disk, spool.Fsync
				o.Hold = 100 * time.Millisecond
			})
			defer disk.open()
			disk.close()
			conn := b.dial()
			defer conn.Close()
			request := b.post(c.path, c.body, "Ledger-Use-Case: kyc")
			if c.body == "" {
				request = strings.Replace(request, "POST", "GET", 1)
			}
			io.WriteString(conn, request)
			got, _ := io.ReadAll(conn)
			if strings.Contains(string(got), c.never) || strings.HasSuffix(string(got), "\r\n0\r\n\r\n") {
				t.Fatalf("the client got the end of an answer that is not recorded:\n%s", got)
			}
			if c.name != "whole" && c.name != "passthrough" && !strings.Contains(string(got), "data: ") {
				t.Errorf("the stream was held back as a whole: %q", got)
			}
			disk.open()
			b.until("the withheld answer is recorded", func() bool { return len(b.recorded()) == 2 })
			list := b.recorded()
			first, second := list[0], list[1]
			if first.Type != event.RequestCompleted || second.Type != event.RequestAdjusted || second.Subject != first.ID || second.Request.Outcome.Client != "withheld" || len(second.Request.Attempts) != 0 {
				t.Errorf("recorded %s %+v and %s %+v", first.Type, first.Request.Outcome, second.Type, second.Request.Outcome)
			}
		})
	}
}

// The client leaving does not lose the usage: the provider is read to its end.
func TestClientLeavesStream(t *testing.T) {
	for _, c := range []struct{ useCase, upstream string }{{"patient", "drained"}, {"cancels", "cancelled"}} {
		t.Run(c.upstream, func(t *testing.T) {
			b := newBed(t, nil)
			conn := b.dial()
			io.WriteString(conn, b.post("/v1/chat/completions", strings.Replace(chat(true), "{", `{"stream_options":{"include_usage":true},`, 1),
				"Ledger-Use-Case: "+c.useCase, "Simulate-Usage: in=48,out=10", "Simulate-Chunks: 60", "Simulate-Latency: chunk=5ms"))
			r := bufio.NewReader(conn)
			for line := ""; !strings.HasPrefix(line, "data: "); {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			// Others reuse the connection's memory meanwhile.
			var r1 *event.Request
			b.until("the call is recorded", func() bool {
				b.want(b.call("/v1/chat/completions", strings.Replace(chatBody, "gpt-5-mini", "another-model-of-others", 1)), 200)
				for _, ev := range b.recorded() {
					if ev.Request.Call.Stream {
						r1 = ev.Request
					}
				}
				return r1 != nil
			})
			if r1.Call.Model != "gpt-5-mini" || r1.Attempts[0].ModelRequested != "gpt-5-mini" || r1.Call.Operation != "POST /v1/chat/completions" {
				t.Errorf("call %+v, attempt %+v", r1.Call, r1.Attempts[0])
			}
			if r1.Outcome.Client != "left" || r1.Outcome.Upstream != c.upstream {
				t.Errorf("outcome %+v", r1.Outcome)
			}
			if at := r1.Attempts[0]; c.upstream == "drained" && (at.UsageSource != event.UsageProvider || !strings.Contains(at.UsageRaw, `"prompt_tokens":48`) || at.Error != "") ||
				c.upstream == "cancelled" && (at.UsageSource != event.UsageMissing || at.Error != "cancelled") {
				t.Errorf("attempt %+v", at)
			}
			if c.upstream == "drained" && r1.Outcome.AnswerBytes != r1.Attempts[0].Bytes {
				t.Errorf("%d answer bytes, %d from the provider", r1.Outcome.AnswerBytes, r1.Attempts[0].Bytes)
			}
		})
	}
}

// A drain ends at its bounds, and is then recorded as cancelled.
func TestDrainIsBounded(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.DrainBytes = 2000 })
	conn := b.dial()
	io.WriteString(conn, b.post("/v1/chat/completions", chat(true), "Ledger-Use-Case: patient", "Simulate-Chunks: 2000", "Simulate-Latency: chunk=1ms"))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	b.until("the call is recorded", func() bool { return len(b.recorded()) == 1 })
	if r := b.only().Request; r.Outcome.Client != "left" || r.Outcome.Upstream != "cancelled" || r.Attempts[0].Error != "cancelled" || r.Attempts[0].Bytes > 200_000 {
		t.Errorf("outcome %+v, attempt %+v", r.Outcome, r.Attempts[0])
	}
}

// A client that leaves before a whole answer is there is recorded as such, with
// the usage.
func TestClientLeavesWhole(t *testing.T) {
	b := newBed(t, nil)
	conn := b.dial()
	io.WriteString(conn, b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: patient", "Simulate-Latency: first=200ms"))
	b.until("the provider has the call", func() bool { return b.provider.Stats().InFlight == 1 })
	conn.Close()
	b.until("the call is recorded", func() bool { return len(b.recorded()) == 1 })
	if r := b.only().Request; r.Outcome.Client != "left" || r.Outcome.Upstream != "completed" || r.Attempts[0].UsageSource != event.UsageProvider {
		t.Errorf("outcome %+v, attempt %+v", r.Outcome, r.Attempts[0])
	}
}

// A provider that breaks off breaks the client's answer as well, visibly; what
// it had said of the usage is partial, or missing, and never zero. Nothing is
// tried again once a byte has reached the client.
func TestProviderBreaksOff(t *testing.T) {
	for _, c := range []struct {
		path, body string
		source     event.UsageSource
	}{
		{"/v1/chat/completions", chat(true), event.UsageMissing},
		{"/v1/responses", `{"model":"m","stream":true,"input":"x"}`, event.UsageMissing},
		{"/v1/messages", `{"model":"m","stream":true,"max_tokens":1,"messages":[]}`, event.UsagePartial},
	} {
		t.Run(c.path, func(t *testing.T) {
			b := newBed(t, nil)
			a := b.call(c.path, c.body, "Simulate-Fault: cut_after=4")
			if a.err == nil {
				t.Fatalf("the client got a well-framed answer: %s", a.body)
			}
			if n := strings.Count(a.body, "\n\n"); n != 4 {
				t.Errorf("the client got %d events of 4", n)
			}
			r := b.only().Request
			if at := r.Attempts[0]; len(r.Attempts) != 1 || at.Error != "cut" || at.UsageSource != c.source || (at.UsageRaw == "") != (c.source == event.UsageMissing) || at.Chunks != 4 {
				t.Errorf("attempts %+v", r.Attempts)
			}
			if r.Outcome.Client != "cut" || r.Outcome.Upstream != "cut" || r.Outcome.Status != 200 {
				t.Errorf("outcome %+v", r.Outcome)
			}
		})
	}
}

// hasty makes the primary endpoint time out soon. Only tests of timeouts use
// it: on a busy machine others would meet one.
func hasty(file, text string) string {
	return strings.Replace(text, "first_byte: 20s", "first_byte: 300ms", 1)
}

// Retry and fallback: each attempt is recorded, with its error; the sentence
// says what happened; the answer is the one that served.
func TestFallback(t *testing.T) {
	for _, c := range []struct {
		fault, model, class, says string
		status                    int
	}{
		{"status=429,endpoint=primary", "m", "http", "primary answered 429, so backup was tried.", 429},
		{"status=503,endpoint=primary", "m", "http", "primary answered 503, so backup was tried.", 503},
		{"timeout,endpoint=primary", "m", "timeout", "primary did not answer in time, so backup was tried.", 0},
		{"reset,endpoint=primary", "m", "reset", "primary closed the connection, so backup was tried.", 0},
		{"garbage,endpoint=primary", "m", "protocol", "primary answered what is not HTTP, so backup was tried.", 0},
		{"cut_after=20,endpoint=primary", "m", "cut", "primary broke off its answer, so backup was tried.", 200},
		{"status=500,endpoint=nowhere", "dead-first", "connect", "dead could not be reached, so primary was tried.", 0},
	} {
		t.Run(c.fault, func(t *testing.T) {
			b := newBed(t, nil)
			if c.class == "timeout" {
				b = newBedWith(t, nil, hasty)
			}
			b.want(b.call("/v1/chat/completions", strings.Replace(chatBody, "gpt-5-mini", c.model, 1), "Simulate-Fault: "+c.fault), 200)
			r := b.only().Request
			if len(r.Attempts) != 2 {
				t.Fatalf("attempts %+v", r.Attempts)
			}
			first, second := r.Attempts[0], r.Attempts[1]
			if first.Error != c.class || first.Status != c.status || first.UsageSource != event.UsageMissing || first.End < first.Start || second.Start < first.End {
				t.Errorf("first attempt %+v", first)
			}
			if second.Error != "" || second.Status != 200 || second.UsageSource != event.UsageProvider || r.Outcome.Served != 1 {
				t.Errorf("second attempt %+v, outcome %+v", second, r.Outcome)
			}
			if !strings.HasSuffix(r.Decision.Why, c.says) || !strings.HasPrefix(r.Decision.Why, "Use case kyc goes to ") {
				t.Errorf("why: %s", r.Decision.Why)
			}
		})
	}
}

// The last failure's answer is passed on as it was; where there was none, the
// error is ours.
func TestNobodyServes(t *testing.T) {
	b := newBedWith(t, nil, hasty)
	a := b.call("/v1/chat/completions", chatBody, "Simulate-Fault: status=429,retry_after=7")
	b.want(a, 429)
	if a.header.Get("Retry-After") != "7" || !strings.Contains(a.body, `"error"`) || strings.Contains(a.body, "ledgerline_") {
		t.Errorf("answer %v %s", a.header, a.body)
	}
	b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Use-Case: single", "Simulate-Fault: timeout"), 504)
	a = b.call("/v1/messages", `{"model":"m","messages":[]}`, "Simulate-Fault: reset")
	b.want(a, 502)
	if !strings.HasPrefix(a.body, `{"type":"error","error":{"type":"api_error"`) || !strings.Contains(a.body, "ledgerline_upstream_unreachable") {
		t.Errorf("answer %s", a.body)
	}
	list := b.recorded()
	if o := list[0].Request.Outcome; len(list[0].Request.Attempts) != 2 || o.Served != 1 || o.Status != 429 || o.Code != "" {
		t.Errorf("429: %+v", o)
	}
	if o := list[1].Request.Outcome; o.Served != -1 || o.Status != 504 || o.Code != "ledgerline_upstream_timeout" || o.Upstream != "none" {
		t.Errorf("timeout: %+v", o)
	}
}

// Usage is asked for in chat streams where the endpoint says so; the client,
// which did not ask, does not see the chunk.
func TestIncludeUsage(t *testing.T) {
	b := newBed(t, nil)
	a := b.call("/v1/chat/completions", chat(true), "Simulate-Usage: in=48,out=10", "Simulate-Write: 11")
	b.want(a, 200)
	if strings.Contains(a.body, "prompt_tokens") || !strings.HasSuffix(a.body, "data: [DONE]\n\n") || !strings.Contains(a.body, `"usage":null`) {
		t.Errorf("the client got %s", a.body)
	}
	asked := strings.Replace(chat(true), "{", `{"stream_options":{"include_usage":true},`, 1)
	if a = b.call("/v1/chat/completions", asked, "Simulate-Usage: in=48,out=10"); !strings.Contains(a.body, `"prompt_tokens":48`) {
		t.Errorf("the client asked for the usage and got %s", a.body)
	}
	a = b.call("/v1/chat/completions", strings.Replace(chat(true), "gpt-5-mini", "fast", 1), "Ledger-Use-Case: single")
	b.want(a, 200)
	seen := b.provider.Requests()
	want := strings.TrimSuffix(chat(true), "}") + `,"stream_options":{"include_usage":true}}`
	if seen[0].BodySHA256 != sum(want) || seen[1].BodySHA256 != sum(asked) {
		t.Error("the bodies are not what they should be")
	}
	if want = strings.Replace(want, "gpt-5-mini", "gpt-5-mini-2025-08-07", 1); seen[2].BodySHA256 != sum(want) {
		t.Error("the mapped body is not the client's with another model")
	}
	for i, ev := range b.recorded() {
		if at := ev.Request.Attempts[0]; at.UsageSource != event.UsageProvider || !strings.Contains(at.UsageRaw, `"prompt_tokens":`) {
			t.Errorf("attempt %d: %+v", i, at)
		}
	}
}

// A full spool refuses new calls with a clear error and takes them again when
// it has been emptied. What was answered is recorded.
func TestFullSpool(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { so.SegmentBytes, so.MaxBytes = 256<<10, 512<<10 })
	b.mu.Lock() // nothing is published
	answered := 0
	for full := false; !full; {
		a := b.call("/v1/chat/completions", chatBody)
		switch {
		case a.status == 200:
			answered++
		case a.status == 503 && strings.Contains(a.body, "ledgerline_spool_full") && a.header.Get("Retry-After") != "":
			full = true
		default:
			b.mu.Unlock()
			t.Fatalf("status %d, error %v: %s", a.status, a.err, a.body)
		}
	}
	if b.server.Ready() == nil {
		t.Error("ready with a full spool")
	}
	seen := b.provider.Stats().Requests
	b.mu.Unlock()
	b.until("calls are served again", func() bool { return b.call("/v1/chat/completions", chatBody).status == 200 })
	if int64(answered) != seen {
		t.Errorf("%d calls answered, the provider saw %d", answered, seen)
	}
	if got := len(b.recorded()); got != answered+1 {
		t.Errorf("%d events of %d answered calls", got, answered+1)
	}
}

// Bypass lets calls pass unrecorded while the spool is full, and says so.
func TestBypass(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) {
		so.SegmentBytes, so.MaxBytes = 256<<10, 512<<10
		o.Bypass = true
	})
	b.mu.Lock()
	calls := 0
	for b.spool.Err() == nil {
		b.want(b.call("/v1/chat/completions", chatBody), 200)
		calls++
	}
	for range 3 {
		b.want(b.call("/v1/chat/completions", chat(true)), 200)
		b.want(b.call("/v1/chat/completions", chatBody), 200)
		calls += 2
	}
	b.mu.Unlock()
	b.until("the bypass ends", func() bool {
		b.want(b.call("/v1/chat/completions", chatBody), 200)
		calls++
		b.recorded()
		b.mu.Lock()
		defer b.mu.Unlock()
		n := 0
		for _, ev := range b.events {
			if ev.Type == event.AuditBypass {
				n++
			}
		}
		return n == 2
	})
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	calls++
	recorded, passed, audits := len(b.recorded()), 0, 0
	for _, ev := range b.events {
		if ev.Type == event.AuditBypass {
			audits++
			fmt.Sscanf(ev.Audit.Reason, "%d calls", &passed)
		}
	}
	if passed < 6 || recorded+passed != calls || audits != 2 {
		t.Errorf("%d calls, %d recorded, %d said to have passed unrecorded, %d audit events", calls, recorded, passed, audits)
	}
}

// An answer larger than what is read whole passes as it comes, and tells its
// usage all the same; its last piece is held until it is recorded.
func TestLargeAnswerPasses(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.MaxWhole = 10_000 })
	for _, path := range []string{"/v1/chat/completions", "/openai/v1/models"} {
		a := b.call(path, chatBody, "Simulate-Answer-Bytes: 300000", "Simulate-Usage: in=48,out=10")
		if a.err != nil || path != "/openai/v1/models" && len(a.body) < 300_000 {
			t.Fatalf("%s: %d bytes, error %v", path, len(a.body), a.err)
		}
	}
	for i, ev := range b.recorded() {
		seen, r := b.provider.Requests()[i], ev.Request
		if r.Outcome.AnswerBytes != seen.AnswerBytes || r.Outcome.Client != "completed" || i == 0 && (r.Attempts[0].UsageSource != event.UsageProvider || r.Attempts[0].ModelServed != "gpt-5-mini") {
			t.Errorf("%+v %+v", r.Outcome, r.Attempts)
		}
	}
}
