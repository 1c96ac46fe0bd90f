package simulate

import (
	"strings"
	"testing"
)

const scenario = `{"seed": 7, "models": {"gpt-5-mini": "gpt-5-mini-2025-08-07"}, "rules": [
	{"match": {"endpoint": "first", "probability": 0.3}, "then": {"fault": "status=429,retry_after=1"}},
	{"match": {"path": "/messages", "nth": 3}, "then": {"fault": "status=529"}},
	{"match": {"model": "claude-*"}, "then": {"tier": "priority", "usage": "in=9,out=3", "chunks": 2, "answer_bytes": 6}}]}`

func read(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := ReadScenario(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScenario(t *testing.T) {
	_, address := serve(t, Options{Scenario: read(t, scenario)})
	// nth, and a rule that fills in what the earlier one left open; a header beats both.
	claude := strings.Replace(chatBody, "gpt-5-mini", "claude-haiku-4-5", 1)
	for i := 1; i <= 6; i++ {
		r := post(t, address, "/v1/messages", claude)
		if want := map[bool]int{true: 529, false: 200}[i%3 == 0]; r.status != want {
			t.Errorf("message %d: %d, want %d", i, r.status, want)
		}
		if o := object(t, r.body); r.status == 200 && (at(o, "usage", "service_tier") != "priority" || at(o, "usage", "input_tokens") != 9.0 || at(o, "content", 0, "text") != "Each e") {
			t.Errorf("message %d: %s", i, r.body)
		}
	}
	r := post(t, address, "/v1/messages", claude, "Simulate-Tier: standard", "Simulate-Usage: in=1,out=1")
	if o := object(t, r.body); at(o, "usage", "service_tier") != "standard" || at(o, "usage", "input_tokens") != 1.0 {
		t.Errorf("%s", r.body)
	}
	r = post(t, address, "/v1/chat/completions", chatBody)
	if o := object(t, r.body); o["model"] != "gpt-5-mini-2025-08-07" {
		t.Errorf("%s", r.body)
	}
}

// The same seed refuses the same calls, another one others; the share is the
// one asked for; another endpoint is not touched.
func TestScenarioProbability(t *testing.T) {
	refused := func(seed, path string) (pattern string) {
		p, address := serve(t, Options{Scenario: read(t, strings.Replace(scenario, `"seed": 7`, `"seed": `+seed, 1))})
		_, err := Load(t.Context(), LoadOptions{
			Target: "http://" + address, Requests: 400, Calls: []Call{{Format: Chat, Path: path}},
			OnResult: func(r Result) { pattern += map[bool]string{true: "x", false: "."}[r.Status == 429] },
		})
		if err != nil || p.Stats().Complete != 400 {
			t.Errorf("%+v, %v", p.Stats(), err)
		}
		return pattern
	}
	a, b, c := refused("7", "/first/v1/chat/completions"), refused("7", "/first/v1/chat/completions"), refused("8", "/first/v1/chat/completions")
	if n := strings.Count(a, "x"); a != b || a == c || n < 90 || n > 150 {
		t.Errorf("%d of 400 refused\n%s\n%s\n%s", n, a, b, c)
	}
	if d := refused("7", "/second/v1/chat/completions"); strings.Contains(d, "x") {
		t.Errorf("another endpoint: %s", d)
	}
}

func TestScenarioIsStrict(t *testing.T) {
	for bad, why := range map[string]string{
		`{"sed": 1}`: "unknown field",
		`{"rules":[{"match":{},"then":{"latncy":"first=1s"}}]}`:                             "unknown field",
		`{"rules":[{"match":{},"then":{}}]}`:                                                "rule 1: then says nothing",
		`{"rules":[{"match":{"probability":2},"then":{"tier":"x"}}]}`:                       "between 0 and 1",
		`{"rules":[{"match":{},"then":{"tier":"x"}},{"match":{},"then":{"fault":"bang"}}]}`: "rule 2: fault: unknown",
		`{"rules":[{"match":{"model":"[a"},"then":{"tier":"x"}}]}`:                          "syntax error in pattern",
		`{"models":{"a":"b\"c"}}`:                                                           "plain ASCII",
		`{} {}`:                                                                             "more follows",
	} {
		if _, err := ReadScenario(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", bad, err, why)
		}
	}
}
