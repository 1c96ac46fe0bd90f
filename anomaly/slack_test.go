package anomaly

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// slack is a strict imitation of Slack's incoming webhooks: it takes what they take, within their limits, and says no as they do.
type slack struct {
	*httptest.Server
	mu       sync.Mutex
	taken    []slackTaken
	asked    int
	answer   func(n int, w http.ResponseWriter, r *http.Request) bool // of the n-th request, from 1; false: as Slack does
	lastPost time.Time
	now      func() time.Time // nil: the pace is not looked at
}

// slackTaken is a message that was taken.
type slackTaken struct {
	text string // the whole body
	id   string // the idempotency marker in it
	key  string // the header
}

func newSlack(t *testing.T) *slack {
	s := &slack{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.answer != nil {
		n := s.asked
		s.mu.Unlock() // it may take its time
		done := s.answer(n, w, r)
		s.mu.Lock()
		if done {
			return
		}
	}
	if s.now != nil { // one message a second
		if at := s.now(); !s.lastPost.IsZero() && at.Sub(s.lastPost) < time.Second {
			w.Header().Set("Retry-After", "30")
			http.Error(w, "ratelimited", http.StatusTooManyRequests)
			return
		} else {
			s.lastPost = at
		}
	}
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "http_method_not_allowed", http.StatusMethodNotAllowed)
		return
	case r.URL.Path != "/services/T0/B0/Zq7secret":
		http.Error(w, "no_service", http.StatusNotFound)
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	if err := slackValid(body); err != nil {
		http.Error(w, "invalid_blocks", http.StatusBadRequest)
		return
	}
	id := ""
	if _, after, ok := strings.Cut(string(body), "Alert "); ok {
		id, _, _ = strings.Cut(after, ",")
	}
	s.taken = append(s.taken, slackTaken{string(body), id, r.Header.Get("Idempotency-Key")})
	io.WriteString(w, "ok")
}

func (s *slack) messages() []slackTaken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]slackTaken{}, s.taken...)
}

// slackValid is what Slack demands of a message with blocks.
func slackValid(body []byte) error {
	var m struct {
		Text   *string          `json:"text"`
		Blocks []map[string]any `json:"blocks"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	if m.Text == nil || *m.Text == "" || len(*m.Text) > 40_000 {
		return fmt.Errorf("no_text")
	}
	if len(m.Blocks) == 0 || len(m.Blocks) > 50 {
		return fmt.Errorf("%d blocks", len(m.Blocks))
	}
	total := 0
	object := func(v any, kinds string, limit int) error {
		o, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("no text object: %v", v)
		}
		for name := range o {
			if !strings.Contains(" type text emoji verbatim ", " "+name+" ") {
				return fmt.Errorf("a text object with %s", name)
			}
		}
		kind, _ := o["type"].(string)
		text, ok := o["text"].(string)
		n := len(utf16.Encode([]rune(text)))
		total += n
		if _, verbatim := o["verbatim"]; verbatim && kind != "mrkdwn" {
			return fmt.Errorf("verbatim outside mrkdwn")
		}
		if !ok || kind == "" || !strings.Contains(kinds, kind) || n == 0 || n > limit || strings.TrimSpace(text) == "" {
			return fmt.Errorf("%s of %d, limit %d", kind, n, limit)
		}
		return nil
	}
	for _, b := range m.Blocks {
		var err error
		switch b["type"] {
		case "header":
			err = object(b["text"], "plain_text", 150)
		case "section":
			fields, has := b["fields"].([]any)
			if b["text"] == nil && !has || len(fields) > 10 || has && len(fields) == 0 {
				return fmt.Errorf("a section of nothing, or of %d fields", len(fields))
			}
			if b["text"] != nil {
				err = object(b["text"], "plain_text mrkdwn", 3000)
			}
			for _, f := range fields {
				if err == nil {
					err = object(f, "plain_text mrkdwn", 2000)
				}
			}
		case "context":
			elements, _ := b["elements"].([]any)
			if len(elements) == 0 || len(elements) > 10 {
				return fmt.Errorf("a context of %d", len(elements))
			}
			for _, e := range elements {
				if err == nil {
					err = object(e, "plain_text mrkdwn", 2000)
				}
			}
		default:
			return fmt.Errorf("a block of type %v", b["type"])
		}
		if err != nil {
			return err
		}
		for name := range b {
			if !strings.Contains(" type text fields elements ", " "+name+" ") {
				return fmt.Errorf("a block with %s", name)
			}
		}
	}
	if total > 13_200 {
		return fmt.Errorf("msg_blocks_too_long: %d", total)
	}
	return nil
}

// Whatever an alert holds, its message keeps within Slack's limits, and what Slack would take for markup is text.
func TestSlackMessageKeepsTheLimits(t *testing.T) {
	long := strings.Repeat("<!channel> & *co*\x00\xff𝄞 ", 2000)
	many := func(n int, text string) (lines []string) {
		for range n {
			lines = append(lines, text)
		}
		return lines
	}
	var facts []Fact
	for range 40 {
		facts = append(facts, Fact{long, long})
	}
	for name, a := range map[string]Alert{
		"nothing":   {},
		"short":     {ID: "x", Title: "t", Text: "x", Facts: []Fact{{"a", "b"}}, Why: []string{"w"}, Next: "n", Link: "ledgerline budgets x"},
		"blank":     {Title: " ", Text: "\n", Facts: []Fact{{"", ""}}, Why: []string{""}, Next: " "},
		"long":      {Title: long, Text: long, Facts: facts, Why: many(500, long), Next: long, Link: "https://" + long},
		"markup":    {Title: strings.Repeat("&", 150), Text: strings.Repeat("<", 3000), Facts: facts, Why: many(500, "&"), Next: strings.Repeat(">", 1000), Link: long},
		"many":      {Title: strings.Repeat("𝄞", 75), Text: strings.Repeat("𝄞", 1500), Why: many(100, strings.Repeat("x", 300))},
		"one over":  {Title: strings.Repeat("𝄞", 75) + "x", Text: strings.Repeat("x", 3001)},
		"fits just": {Title: strings.Repeat("x", 150), Text: strings.Repeat("x", 3000), Why: many(10, strings.Repeat("x", 300))},
	} {
		for _, repeat := range []bool{false, true} {
			body := slackMessage(&a, repeat)
			if err := slackValid(body); err != nil {
				t.Errorf("%s: %v\n%.600s", name, err, body)
			}
			if strings.Contains(string(body), "<!") || strings.Contains(string(body), `\u003c!`) || strings.Contains(string(body), `\u0000`) {
				t.Errorf("%s: markup or a control character comes through", name)
			}
			if strings.Contains(string(body), "repeat") != repeat {
				t.Errorf("%s: repeat %v is not what it says", name, repeat)
			}
		}
	}
	// What fits is whole; what does not is cut at its last character.
	if got := slackClip("a&b", 7); got != "a&amp;b" {
		t.Errorf("a&b in 7: %q", got)
	}
	if got := slackClip("a&b", 6); got != "a…" {
		t.Errorf("a&b in 6: %q", got)
	}
	if got := slackReasons(many(100, strings.Repeat("x", 300))); !strings.HasSuffix(got, "\n… and 91 more") {
		t.Errorf("…%s", got[len(got)-40:])
	}
}
