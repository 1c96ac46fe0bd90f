package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// demoCall is one live call of the demo, as a client would send it.
type demoCall struct {
	what    string // printed
	key     string // id of the virtual key
	path    string
	body    string
	headers map[string]string
	leave   bool // the client goes away after the first bytes
}

// demoCalls is what a morning looks like: both wire formats, streamed and not, a provider that refuses, a client that leaves, a
// caller who may not.
func demoCalls(seed uint64) []demoCall {
	usage := func(in, out, cached uint64) string {
		return fmt.Sprintf("in=%d,out=%d,cache_read=%d", in+seed%97, out+seed%13, cached)
	}
	chat := func(model, extra string) string {
		return `{"model":"` + model + `","messages":[{"role":"user","content":"What does clause 7 say?"}]` + extra + `}`
	}
	message := func(model, extra string) string {
		return `{"model":"` + model + `","max_tokens":400,"messages":[{"role":"user","content":"What does clause 7 say?"}]` + extra + `}`
	}
	return []demoCall{
		{what: "OpenAI chat", key: "cardsdesk", path: "/v1/chat/completions", body: chat("gpt-5-mini", ""),
			headers: map[string]string{"Ledger-Use-Case": "card-support", "Ledger-User": "ana", "Simulate-Usage": usage(1480, 212, 1024)}},
		{what: "OpenAI chat, streamed", key: "devtools", path: "/v1/chat/completions", body: chat("gpt-5.4", `,"stream":true`),
			headers: map[string]string{"Ledger-Use-Case": "code-assistant", "Ledger-User": "ben", "Simulate-Usage": usage(9120, 640, 8192), "Simulate-Latency": "first=20ms,chunk=2ms"}},
		{what: "OpenAI responses", key: "tradeportal", path: "/v1/responses", body: `{"model":"gpt-5-mini","input":"Is the bill of lading complete?"}`,
			headers: map[string]string{"Ledger-Use-Case": "trade-documents", "Simulate-Usage": usage(3300, 95, 0)}},
		{what: "Anthropic messages", key: "advisorapp", path: "/v1/messages", body: message("claude-sonnet-5-5", ""),
			headers: map[string]string{"Ledger-Use-Case": "client-briefing", "Ledger-User": "chloe", "Simulate-Usage": fmt.Sprintf("in=%d,out=310,cache_read=4096,cache_write_5m=512", 6000+seed%89)}},
		{what: "Anthropic messages, streamed", key: "devtools", path: "/v1/messages", body: message("claude-sonnet-5-5", `,"stream":true`),
			headers: map[string]string{"Ledger-Use-Case": "incident-summary", "Simulate-Usage": usage(2750, 433, 2048), "Simulate-Latency": "first=20ms,chunk=2ms"}},
		{what: "first endpoint answers 429, the second serves", key: "casemanager", path: "/v1/chat/completions", body: chat("gpt-5.4", ""),
			headers: map[string]string{"Ledger-Use-Case": "kyc-review", "Ledger-User": "dora", "Simulate-Usage": usage(12040, 880, 0),
				"Ledger-Sources": `"snowflake://example-eu1|KYC.MART.CUSTOMER_FILE";v="2026-11-24T06:00:00Z";role=context;n=1`,
				"Simulate-Fault": "status=429,times=1", "Simulate-Call": fmt.Sprint("demo-", time.Now().UnixNano())}},
		{what: "client leaves in the middle of a stream", key: "loandesk", path: "/v1/chat/completions", body: chat("gpt-5-mini", `,"stream":true`), leave: true,
			headers: map[string]string{"Ledger-Use-Case": "loan-explanation", "Simulate-Usage": usage(5210, 377, 0), "Simulate-Chunks": "40", "Simulate-Latency": "first=10ms,chunk=5ms"}},
		{what: "a use case that the key is not for", key: "advisorapp", path: "/v1/chat/completions", body: chat("gpt-5-mini", ""),
			headers: map[string]string{"Ledger-Use-Case": "kyc-review"}},
	}
}

// answer is what came back for a call.
type answer struct {
	id       string // of the event
	endpoint string
	status   int
	note     string
}

// send makes the call at the proxy and reads the answer, or leaves.
func (c demoCall) send(ctx context.Context, proxy, key string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, proxy+c.path, strings.NewReader(c.body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", c.what, err)
	}
	defer response.Body.Close()
	a := answer{id: response.Header.Get("Ledger-Request-Id"), endpoint: response.Header.Get("Ledger-Endpoint"), status: response.StatusCode}
	if c.leave {
		if _, err := io.ReadFull(response.Body, make([]byte, 64)); err != nil {
			return a, fmt.Errorf("%s: %w", c.what, err)
		}
		a.note = "left"
		return a, nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return a, fmt.Errorf("%s: %w", c.what, err)
	}
	if i := bytes.Index(body, []byte("ledgerline_")); response.StatusCode >= 400 && i >= 0 {
		code := body[i:]
		a.note = string(code[:max(0, bytes.IndexByte(code, '"'))])
	}
	return a, nil
}
