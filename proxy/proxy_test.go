package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// A call's event says who asked for what, where it went and why, what the
// provider said it used, and how it ended.
func TestEventOfACall(t *testing.T) {
	b := newBed(t, nil)
	a := b.call("/v1/chat/completions", chatBody, "Simulate-Usage: in=48,out=10", "Simulate-Model: gpt-5-mini-2025-08-07", "Ledger-User: anna",
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", `Ledger-Sources: "s3://files|kyc/a.pdf";v="3";role=context;chunks=6, "pg://crm|customers"`)
	b.want(a, 200)
	ev := b.only()
	r := ev.Request
	if a.header.Get("Ledger-Request-Id") != ev.ID.String() || a.header.Get("Ledger-Endpoint") != "primary" {
		t.Errorf("the client was told %q and %q", a.header.Get("Ledger-Request-Id"), a.header.Get("Ledger-Endpoint"))
	}
	if ev.Type != event.RequestCompleted || ev.Source != "ledgerline/proxy-1" || ev.ID.Milli() != int64(ev.Time)/1000 {
		t.Errorf("envelope %+v", ev)
	}
	c := r.Call
	if c.Format != "openai.chat" || c.Operation != "POST /v1/chat/completions" || c.Stream || c.Model != "gpt-5-mini" || c.BodyBytes != int64(len(chatBody)) ||
		len(c.BodyDigest) != 64 || c.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || c.ParentID != "00f067aa0ba902b7" || c.Workload != "interactive" {
		t.Errorf("call %+v", c)
	}
	at := &r.Attempts[0]
	if len(r.Attempts) != 1 || at.Endpoint != "primary" || at.Provider != "openai" || at.Region != "eu" || at.ModelRequested != "gpt-5-mini" ||
		at.ModelServed != "gpt-5-mini-2025-08-07" || at.Status != 200 || at.Error != "" || at.UsageSource != event.UsageProvider || at.Tier == "" ||
		at.Start < ev.Time || at.FirstByte < at.Start || at.End < at.FirstByte || at.Bytes != int64(len(a.body)) {
		t.Errorf("attempts %+v", r.Attempts)
	}
	if at.ProviderID == "" || at.ProviderID != b.provider.Requests()[0].ID {
		t.Errorf("provider id %q, the provider's is %q", at.ProviderID, b.provider.Requests()[0].ID)
	}
	if !strings.Contains(a.body, `"usage":`+at.UsageRaw) || !strings.Contains(at.UsageRaw, `"prompt_tokens":48`) {
		t.Errorf("usage_raw is not the provider's bytes: %s", at.UsageRaw)
	}
	o := r.Outcome
	if o.Status != 200 || o.Finish != "stop" || o.Served != 0 || o.Client != "completed" || o.Upstream != "completed" || o.AnswerBytes != int64(len(a.body)) || len(o.AnswerDigest) != 64 || o.Latency <= 0 {
		t.Errorf("outcome %+v", o)
	}
	if len(r.Sources) != 2 || r.Sources[0] != (event.Source{Namespace: "s3://files", Name: "kyc/a.pdf", Version: "3", Role: "context", Chunks: 6, Evidence: "declared"}) || r.Sources[1] != (event.Source{Namespace: "pg://crm", Name: "customers", Evidence: "declared"}) || r.Coverage != "declared" {
		t.Errorf("sources %+v, coverage %s", r.Sources, r.Coverage)
	}
	if r.RetentionClass != "regulated" || r.Capture != "none" || r.Decision.Rule != "kyc-primary" || len(r.Decision.Governance) != 64 {
		t.Errorf("class %q, capture %q, decision %+v", r.RetentionClass, r.Capture, r.Decision)
	}
}

// Bytes pass unchanged, both ways, in every format, streamed and not.
func TestBytesPassUnchanged(t *testing.T) {
	b := newBed(t, nil)
	unicode := strings.Repeat(`{\"ü\":\"\\u00e9 日本 \ud83d\ude00\"}  `, 300)
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{ "model" : "gpt-5-mini" ,` + "\n\t" + ` "messages":[{"role":"user","content":"` + unicode + `"}], "x":1e400 }`},
		{"/v1/chat/completions", `{"stream":true,"stream_options":{"include_usage":true},"model":"gpt-5-mini","messages":[{"role":"user","content":"` + unicode + `"}]}`},
		{"/openai/v1/responses", `{"model":"gpt-5-mini","input":"` + unicode + `"}`},
		{"/v1/responses", `{"model":"gpt-5-mini","stream":true,"input":"` + unicode + `"}`},
		{"/v1/embeddings", `{"model":"text-embedding-3-small","input":"` + unicode + `"}`},
		{"/v1/messages", `{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"` + unicode + `"}]}`},
		{"/anthropic/v1/messages", `{"model":"claude-haiku-4-5","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"` + unicode + `"}]}`},
		{"/openai/v1/files?purpose=x%2Fy", unicode},
	} {
		for _, chunked := range []bool{false, true} {
			b.provider.Reset()
			request := b.post(c.path, c.body, "Simulate-Write: 7")
			if chunked {
				head, _, _ := strings.Cut(request, "Content-Length")
				request = head + "transfer-encoding: chunked\r\n\r\n"
				for piece := range slices.Chunk([]byte(c.body), 999) {
					request += fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece)
				}
				request += "0\r\n\r\n"
			}
			a := b.raw(request)
			if a.err != nil || a.status != 200 && a.status != 404 {
				t.Fatalf("%s: status %d, error %v: %s", c.path, a.status, a.err, a.body)
			}
			seen := b.provider.Requests()
			if len(seen) != 1 || seen[0].BodySHA256 != sum(c.body) {
				t.Errorf("%s chunked=%v: the provider received other bytes: %+v", c.path, chunked, seen)
			}
			if seen[0].AnswerSHA256 != sum(a.body) {
				t.Errorf("%s chunked=%v: the client received other bytes than the provider sent", c.path, chunked)
			}
		}
	}
}

// Header lines go upstream in their order and case; the caller's key and what
// is between client and proxy do not.
func TestHeadersOfTheRequest(t *testing.T) {
	b := newBed(t, nil)
	b.want(b.call("/v1/chat/completions", chatBody, "X-wEiRd-cAsE: 1", "OpenAI-Beta: a", "aCCEPT-encoding: gzip", "openai-beta: b", "Connection: keep-alive, X-Hop", "X-Hop: 1",
		"Keep-Alive: 5", "Proxy-Authorization: Basic x", "TE: trailers", "LEDGER-team: risk", "Ledger-Anything: x", "anthropic-version: 2023-06-01"), 200)
	got := b.provider.Requests()[0].Headers
	want := []string{"Host", "Content-Type", "X-wEiRd-cAsE", "OpenAI-Beta", "openai-beta", "anthropic-version", "Authorization", "Accept-Encoding", "Content-Length"}
	if !slices.Equal(got, want) {
		t.Errorf("the provider received the headers\n%q, want\n%q", got, want)
	}
	// APIKeys of the simulated provider are the proof that the credential was
	// swapped: it would have answered 401 to the caller's own key.
}
