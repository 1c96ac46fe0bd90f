package proxy

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// What a key does not allow is refused by default: an unknown one, one that is
// over or disabled, a secret that was rotated out, a foreign address, a model
// that is not listed or not known. Refusals of a key that is somebody's are
// recorded with who it was.
func TestKeyLimits(t *testing.T) {
	old, oldHash := governance.GenerateKey("rotating1")
	ended, endedHash := governance.GenerateKey("rotated01")
	texts := map[string]string{"old": old, "ended": ended}
	b := newBedWith(t, func(o *Options, _ *spool.Options) { o.MaxBody = 300_000 }, func(file, text string) string {
		if file != "keys.yaml" {
			return text
		}
		text = strings.TrimRight(text, "\n") + "\n"
		for id, more := range map[string]string{
			"overdue01": "expires: 2026-01-01", "paused001": "disabled: true",
			"rotating1": "previous: {sha256: " + oldHash + ", until: 2999-01-01T00:00:00Z}",
			"rotated01": "previous: {sha256: " + endedHash + ", until: 2026-01-01T00:00:00Z}",
			"elsewhere": `addresses: [192.0.2.0/24, "2001:db8::/32"]`, "nearby001": "addresses: [192.0.2.0/24, 127.0.0.0/8]",
			"models001": "models: [gpt-5-mini, m]",
		} {
			var hash string
			texts[id], hash = governance.GenerateKey(id)
			text += fmt.Sprintf("  - {id: %s, sha256: %s, team: risk, use_cases: [kyc, patient], %s}\n", id, hash, more)
		}
		return text
	})
	for id, text := range texts {
		b.keys[id] = text
	}
	const path = "/v1/chat/completions"
	large := `{"model":"gpt-5","x":"` + strings.Repeat("x", 400_000) + `"}`
	served := int64(0)
	for _, c := range []struct {
		name, key, path, body string
		status                int
		code                  string
		recorded              bool
	}{
		{"an id that nobody has", "nobody", path, chatBody, 401, "ledgerline_unauthenticated", false},
		{"expired", "overdue01", path, chatBody, 401, "ledgerline_unauthenticated", false},
		{"disabled", "paused001", path, chatBody, 401, "ledgerline_unauthenticated", false},
		{"the old secret during its overlap", "old", path, chatBody, 200, "", true},
		{"the new one during it", "rotating1", path, chatBody, 200, "", true},
		{"the old secret after it", "ended", path, chatBody, 401, "ledgerline_unauthenticated", false},
		{"the new one after it", "rotated01", path, chatBody, 200, "", true},
		{"an address that is not listed", "elsewhere", path, chatBody, 403, "ledgerline_address_not_allowed", true},
		{"that address, in the other shape", "elsewhere", "/v1/messages", `{"model":"m"}`, 403, "ledgerline_address_not_allowed", true},
		{"that address, a passthrough", "elsewhere", "/openai/v1/files", "", 403, "ledgerline_address_not_allowed", true},
		{"that address, a body over the limit", "elsewhere", path, large, 403, "ledgerline_address_not_allowed", true},
		{"an address that is", "nearby001", path, chatBody, 200, "", true},
		{"a model that is listed", "models001", path, chatBody, 200, "", true},
		{"a model that is not", "models001", path, `{"model":"gpt-5"}`, 403, "ledgerline_model_not_allowed", true},
		{"another case of it", "models001", "/v1/messages", `{"model":"M"}`, 403, "ledgerline_model_not_allowed", true},
		{"a path whose model is not known", "models001", "/openai/v1/batches", `{"model":"gpt-5-mini"}`, 403, "ledgerline_model_not_allowed", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(b.recorded())
			conn := b.dial()
			defer conn.Close()
			go io.WriteString(conn, b.post(c.path, c.body, "key="+c.key, "X-Forwarded-For: 192.0.2.7")) // the proxy need not read all of it
			a := readAnswer(bufio.NewReader(conn))
			if a.err != nil || a.status != c.status || c.code != "" && !strings.Contains(a.body, `"code":"`+c.code+`"`) {
				t.Fatalf("status %d, error %v, want %d %s: %.300s", a.status, a.err, c.status, c.code, a.body)
			}
			if c.path == "/v1/messages" && !strings.HasPrefix(a.body, `{"type":"error"`) {
				t.Errorf("not this provider's shape: %s", a.body)
			}
			if c.status == 200 {
				served++
			}
			list := b.recorded()[before:]
			switch {
			case !c.recorded && len(list) != 0:
				t.Errorf("recorded %+v", list[0].Request)
			case c.recorded && len(list) != 1:
				t.Errorf("%d events", len(list))
			case c.recorded && c.code != "":
				r := list[0].Request
				if list[0].Type != event.RequestDenied || r.Outcome.Code != c.code || r.Outcome.Status != c.status || r.Caller.KeyID != c.key ||
					r.Attribution.Team.Value != "risk" || r.Attribution.UseCase.Value != "kyc" || len(r.Attempts) != 0 {
					t.Errorf("recorded %s %+v", list[0].Type, r)
				}
			}
		})
	}
	if n := int64(b.provider.Stats().Requests); n != served {
		t.Errorf("%d calls reached the provider, want the %d that were allowed", n, served)
	}
}
