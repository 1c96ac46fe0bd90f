package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// What the key says beats what the client says, and the conflict is recorded;
// aliases are the ids they stand for; a team's business unit follows from the
// hierarchy; unknown values are not taken.
func TestAttribution(t *testing.T) {
	b := newBed(t, nil)
	b.want(b.call("/v1/chat/completions", chatBody, "Ledger-Team: desk", "Ledger-Application: my-app", "Ledger-Project: nonsense"), 200)
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01", "Ledger-Team: credit risk", "Ledger-Business-Unit: corporate"), 200)
	list := b.recorded()
	want := func(name string, got event.Dimension, value string, from event.Provenance, conflict string) {
		t.Helper()
		if got != (event.Dimension{Value: value, Provenance: from, Conflict: conflict}) {
			t.Errorf("%s is %+v, want %q from %s, conflict %q", name, got, value, from, conflict)
		}
	}
	a := list[0].Request.Attribution
	want("business unit", a.BusinessUnit, "retail", event.FromHierarchy, "")
	want("team", a.Team, "risk", event.FromKey, "desk")
	want("project", a.Project, "scoring", event.FromDefault, "nonsense")
	want("application", a.Application, "my-app", event.FromHeader, "")
	want("use case", a.UseCase, "kyc", event.FromKey, "")
	want("user", a.User, "", event.Missing, "")
	a = list[1].Request.Attribution
	want("business unit", a.BusinessUnit, "corporate", event.FromHeader, "")
	want("team", a.Team, "risk", event.FromHeader, "")
	want("project", a.Project, "", event.Missing, "")
}

// A required dimension that is missing refuses the call in enforce and is
// recorded as missing in observe.
func TestEnforceAndObserve(t *testing.T) {
	b := newBed(t, nil)
	a := b.call("/v1/chat/completions", chatBody, "key=openkey01")
	b.want(a, 400)
	if !strings.Contains(a.body, `"code":"ledgerline_attribution_missing"`) || !strings.Contains(a.body, "ledger-team") {
		t.Errorf("answer %s", a.body)
	}
	ev := b.only()
	if ev.Type != event.RequestDenied || ev.Request.Outcome.Code != "ledgerline_attribution_missing" || ev.Request.Outcome.Status != 400 || len(ev.Request.Attempts) != 0 || b.provider.Stats().Requests != 0 {
		t.Errorf("recorded %s %+v", ev.Type, ev.Request.Outcome)
	}

	b = newBedWith(t, nil, func(file, text string) string {
		return strings.Replace(text, "attribution: enforce", "attribution: observe", 1)
	})
	b.want(b.call("/v1/chat/completions", chatBody, "key=openkey01"), 200)
	if team := b.only().Request.Attribution.Team; team.Provenance != event.Missing || team.Value != "" {
		t.Errorf("team %+v", team)
	}
}

// What policy refuses is answered in the provider's shape and recorded; what is
// nobody's call is counted.
func TestRefusals(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.MaxBody = 300_000 })
	for _, c := range []struct {
		name, request, code string
		status              int
		recorded            bool
	}{
		{"no such use case", b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: nonsense"), "ledgerline_use_case_not_allowed", 403, true},
		{"another's use case", b.post("/v1/chat/completions", chatBody, "Ledger-Use-Case: secret"), "ledgerline_use_case_not_allowed", 403, true},
		{"not json", b.post("/v1/chat/completions", `{"model":"m",`), "ledgerline_malformed", 400, true},
		{"not an object", b.post("/v1/chat/completions", `["model"]`), "ledgerline_malformed", 400, true},
		{"two models", b.post("/v1/chat/completions", `{"model":"cheap","model":"dear"}`), "ledgerline_malformed", 400, true},
		{"two models, one escaped", b.post("/v1/chat/completions", `{"model":"cheap","mod\u0065l":"dear"}`), "ledgerline_malformed", 400, true},
		{"no model", b.post("/v1/messages", `{"messages":[]}`), "ledgerline_model_missing", 400, true},
		{"compressed", b.post("/v1/messages", `{"model":"m"}`, "Content-Encoding: gzip"), "ledgerline_encoding_unsupported", 415, true},
		{"no endpoint of the provider", b.post("/anthropic/v1/chat/completions", chatBody), "ledgerline_no_route", 403, true},
		{"no endpoint of the format", b.post("/v1/messages", `{"model":"m"}`, "Ledger-Use-Case: patient"), "ledgerline_no_route", 403, true},
		{"passthrough to a provider not of the use case", b.post("/anthropic/v1/files", "", "Ledger-Use-Case: patient"), "ledgerline_no_route", 403, true},
		{"over the key's limit", b.post("/v1/chat/completions", chatBody+strings.Repeat(" ", 250_000), "key=openkey01"), "ledgerline_body_too_large", 413, true},
		{"over the proxy's limit", b.post("/v1/chat/completions", chatBody+strings.Repeat(" ", 350_000)), "ledgerline_body_too_large", 413, true},
		{"over the proxy's limit, chunked", strings.Replace(b.post("/v1/chat/completions", ""), "Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat("8000\r\n"+strings.Repeat(" ", 0x8000)+"\r\n", 10), 1), "ledgerline_body_too_large", 413, true},
		{"unknown key", strings.Replace(b.post("/v1/messages", `{}`), "Bearer ll_", "Bearer ll_x", 1), "ledgerline_unauthenticated", 401, false},
		{"unknown key, large body", strings.TrimSpace(strings.Replace(b.post("/v1/messages", strings.Repeat(" ", 250_000)), "Bearer ll_", "Bearer ll_x", 1)) + "\r\n\r\n", "ledgerline_unauthenticated", 401, false}, // of which not a byte is waited for
		{"no key", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "ledgerline_unauthenticated", 401, false},
		{"unknown path", b.post("/v1/models", ""), "ledgerline_not_found", 404, false},
		{"unknown provider", b.post("/google/v1/models", ""), "ledgerline_not_found", 404, false},
		{"dot segments", b.post("/openai/v1/../../admin", ""), "ledgerline_malformed", 400, false},
		{"escaped dot segments", b.post("/openai/v1/%2E%2e/admin", ""), "ledgerline_malformed", 400, false},
		{"absolute target", b.post("http://evil/v1/chat/completions", chatBody), "ledgerline_malformed", 400, false},
		{"HTTP/1.0", strings.Replace(b.post("/v1/chat/completions", chatBody), "HTTP/1.1", "HTTP/1.0", 1), "ledgerline_http_version", 505, false},
		{"two lengths", strings.Replace(b.post("/v1/chat/completions", chatBody), "Host:", "Content-Length: 3\r\nHost:", 1), "ledgerline_malformed", 400, false},
		{"length and chunks", strings.Replace(b.post("/v1/chat/completions", "0\r\n\r\n"), "Host:", "Transfer-Encoding: chunked\r\nHost:", 1), "ledgerline_malformed", 400, false},
		{"other coding", strings.Replace(b.post("/v1/chat/completions", ""), "Content-Length: 0", "Transfer-Encoding: gzip, chunked", 1), "ledgerline_malformed", 400, false},
		{"identity coding", strings.Replace(b.post("/v1/chat/completions", ""), "Content-Length: 0", "Transfer-Encoding: identity", 1), "ledgerline_malformed", 400, false},
		{"bare line feed", strings.Replace(b.post("/v1/chat/completions", chatBody), "\r\nContent-Type", "\nContent-Type", 1), "ledgerline_malformed", 400, false},
		{"continuation line", strings.Replace(b.post("/v1/chat/completions", chatBody), "application/json", "application\r\n /json", 1), "ledgerline_malformed", 400, false},
		{"space in a name", strings.Replace(b.post("/v1/chat/completions", chatBody), "Content-Type:", "Content Type:", 1), "ledgerline_malformed", 400, false},
		{"space before the colon", strings.Replace(b.post("/v1/chat/completions", chatBody), "Content-Type:", "Content-Type :", 1), "ledgerline_malformed", 400, false},
		{"two keys of one kind", b.post("/v1/chat/completions", chatBody, "Authorization: Bearer other"), "ledgerline_malformed", 400, false},
		{"bad chunk size", strings.Replace(b.post("/v1/chat/completions", "xyz\r\n"), "Content-Length: 5", "Transfer-Encoding: chunked", 1), "ledgerline_malformed", 400, false},
		{"large header", b.post("/v1/chat/completions", chatBody, "X-Large: "+strings.Repeat("x", 20_000)), "ledgerline_header_too_large", 431, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(b.recorded())
			conn := b.dial()
			defer conn.Close()
			go io.WriteString(conn, c.request) // the proxy need not read all of it
			a := readAnswer(bufio.NewReader(conn))
			if a.err != nil || a.status != c.status || !strings.Contains(a.body, `"code":"`+c.code+`"`) {
				t.Fatalf("status %d, error %v, want %d with %s: %s", a.status, a.err, c.status, c.code, a.body)
			}
			var shape struct {
				Type  string
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(a.body), &shape); err != nil || shape.Error.Message == "" || shape.Error.Type == "" {
				t.Errorf("not the provider's shape: %v %s", err, a.body)
			}
			if strings.Contains(c.request, " /v1/messages") && shape.Type != "error" {
				t.Errorf("not this provider's shape: %s", a.body)
			}
			list := b.recorded()
			switch {
			case c.recorded && (len(list) != before+1 || list[before].Type != event.RequestDenied || list[before].Request.Outcome.Code != c.code || list[before].Request.Outcome.Status != c.status):
				t.Errorf("recorded %d events, last %+v", len(list)-before, list[len(list)-1].Request)
			case !c.recorded && len(list) != before:
				t.Errorf("recorded %+v", list[before].Request)
			}
		})
	}
	if n := b.provider.Stats().Requests; n != 0 {
		t.Errorf("%d refused calls reached the provider", n)
	}
	b.want(b.call("/v1/chat/completions", chatBody), 200)
}

// A request that comes too slowly, or not to its end, is answered and makes no
// call.
func TestSlowAndTruncated(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.ReadTimeout = 100 * time.Millisecond })
	request := b.post("/v1/chat/completions", chatBody)
	if a := b.raw(request[:len(request)-1]); a.status != 408 || !strings.Contains(a.body, "ledgerline_request_timeout") {
		t.Errorf("slow body: %+v", a)
	}
	if a := b.raw(request[:50]); a.status != 408 {
		t.Errorf("slow header: %+v", a)
	}
	conn := b.dial()
	defer conn.Close()
	io.WriteString(conn, request[:len(request)-1])
	conn.(*net.TCPConn).CloseWrite()
	if a := readAnswer(bufio.NewReader(conn)); a.status != 400 {
		t.Errorf("truncated: %+v", a)
	}
	if n := b.provider.Stats().Requests; n != 0 || len(b.recorded()) != 0 {
		t.Errorf("%d calls were made, %d recorded", n, len(b.recorded()))
	}
}

// Expect: 100-continue, in any case, is answered before the body is sent.
func TestExpectContinue(t *testing.T) {
	b := newBed(t, nil)
	for _, name := range []string{"Expect", "expect"} {
		conn := b.dial()
		head, body, _ := strings.Cut(b.post("/v1/chat/completions", chatBody, name+": 100-continue"), "\r\n\r\n")
		io.WriteString(conn, head+"\r\n\r\n")
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
			t.Fatalf("%s: %q %v", name, line, err)
		}
		r.ReadString('\n')
		io.WriteString(conn, body)
		b.want(readAnswer(r), 200)
		conn.Close()
	}
}

// Anything else under a provider's path passes and is recorded, with the usage
// missing.
func TestPassthrough(t *testing.T) {
	b := newBed(t, nil)
	request := strings.Replace(b.post("/openai/v1/models?limit=2", ""), "POST", "GET", 1)
	request = strings.Replace(request, "Content-Length: 0\r\n", "", 1)
	a := b.raw(request)
	b.want(a, 200)
	r := b.only().Request
	if r.Call.Format != "passthrough" || r.Call.Operation != "GET /v1/models" || r.Decision.Rule != "passthrough" || r.Decision.Why == "" {
		t.Errorf("call %+v, decision %+v", r.Call, r.Decision)
	}
	if at := r.Attempts[0]; len(r.Attempts) != 1 || at.UsageSource != event.UsageMissing || at.UsageRaw != "" || at.Status != 200 || at.Endpoint != "primary" {
		t.Errorf("attempts %+v", r.Attempts)
	}
	if r.Outcome.AnswerBytes != int64(len(a.body)) {
		t.Errorf("outcome %+v of %d bytes", r.Outcome, len(a.body))
	}
}

// A snapshot whose credential cannot be read is refused; the old one serves on.
// A good one decides new calls.
func TestSetSnapshot(t *testing.T) {
	b := newBed(t, nil)
	old := b.server.plan.Load().snapshot
	load := func(from, to string) *governance.Snapshot {
		t.Helper()
		folder := t.TempDir()
		var files map[string]string
		if err := json.Unmarshal(old.Archive, &files); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(strings.ReplaceAll(text, from, to)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		snapshot, err := governance.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		return snapshot
	}
	err := b.server.SetSnapshot(load("LEDGERLINE_TEST_CREDENTIAL", "LEDGERLINE_NOT_SET"))
	if err == nil || !strings.Contains(err.Error(), "endpoint primary") || !strings.Contains(err.Error(), "endpoint claude") || !strings.Contains(err.Error(), "LEDGERLINE_NOT_SET") {
		t.Fatalf("a snapshot without credentials: %v", err)
	}
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	fresh := load("kyc-primary", "kyc-second")
	if err := b.server.SetSnapshot(fresh); err != nil {
		t.Fatal(err)
	}
	b.want(b.call("/v1/chat/completions", chatBody), 200)
	list := b.recorded()
	if d := list[0].Request.Decision; d.Rule != "kyc-primary" || d.Governance != old.Hex() {
		t.Errorf("before: %+v", d)
	}
	if d := list[1].Request.Decision; d.Rule != "kyc-second" || d.Governance != fresh.Hex() {
		t.Errorf("after: %+v", d)
	}
}

// Health needs no key; readiness says why not.
func TestHealth(t *testing.T) {
	b := newBed(t, func(o *Options, so *spool.Options) { o.Ready = func() error { return io.ErrNoProgress } })
	if a := b.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != 200 {
		t.Errorf("healthz %+v", a)
	}
	if a := b.raw("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != 503 || !bytes.Contains([]byte(a.body), []byte(io.ErrNoProgress.Error())) {
		t.Errorf("readyz %+v", a)
	}
}
