package simulate

import (
	"strings"
	"testing"
)

const (
	chatBody = `{"model":"gpt-5-mini","messages":[{"role":"user","content":"a \"quoted\" \\"}]}`
	dictated = "Simulate-Usage: in=1000,out=50,cache_read=600,cache_write_5m=100,cache_write_1h=50,reasoning=7,audio=20,image=30,audio_out=5"
)

func streamed(body string) string { return strings.Replace(body, "{", `{"stream":true,`, 1) }

// What each format can tell of the usage dictated above.
const (
	chatUsage = `{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,
		"prompt_tokens_details":{"cached_tokens":600,"cache_write_tokens":150,"audio_tokens":20,"image_tokens":30},
		"completion_tokens_details":{"reasoning_tokens":7,"audio_tokens":5,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`
	responsesUsage = `{"input_tokens":1000,"input_tokens_details":{"cached_tokens":600,"cache_write_tokens":150},
		"output_tokens":50,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":1050}`
	messagesUsage = `{"input_tokens":250,"cache_read_input_tokens":600,"cache_creation_input_tokens":150,
		"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":50},
		"output_tokens":50,"output_tokens_details":{"thinking_tokens":7},"service_tier":"standard"}`
)

func TestWholeAnswers(t *testing.T) {
	_, address := serve(t, Options{Scenario: &Scenario{Models: map[string]string{"gpt-5-mini": "gpt-5-mini-2025-08-07"}}})
	text := string(appendProse(nil, 0, 120))
	for _, c := range []struct {
		path, body string
		idHeader   string
		text       []any
		usage      string
		tier       []any
		model      string
	}{
		{"/v1/chat/completions", chatBody, "X-Request-Id", []any{"choices", 0, "message", "content"}, chatUsage, []any{"service_tier"}, "gpt-5-mini-2025-08-07"},
		{"/openai/v1/responses", `{"model":"gpt-5-mini","input":"hi"}`, "X-Request-Id", []any{"output", 0, "content", 0, "text"}, responsesUsage, []any{"service_tier"}, "gpt-5-mini-2025-08-07"},
		{"/v1/embeddings", `{"model":"text-embedding-3-small","input":["a","b"]}`, "X-Request-Id", nil, `{"prompt_tokens":1000,"total_tokens":1000}`, nil, "text-embedding-3-small"},
		{"/anthropic/v1/messages", `{"model":"claude-haiku-4-5","max_tokens":9,"messages":[]}`, "Request-Id", []any{"content", 0, "text"}, messagesUsage, []any{"usage", "service_tier"}, "claude-haiku-4-5"},
	} {
		r := post(t, address, c.path, c.body, dictated, "Simulate-Answer-Bytes: 120")
		if r.status != 200 || r.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(r.header.Get(c.idHeader), "req_") {
			t.Errorf("%s: %d %v", c.path, r.status, r.header)
		}
		o := object(t, r.body)
		if c.text != nil && at(o, c.text...) != text {
			t.Errorf("%s: text %q", c.path, at(o, c.text...))
		}
		same(t, c.path+": usage", o["usage"], c.usage)
		if o["model"] != c.model {
			t.Errorf("%s: model %v", c.path, o["model"])
		}
		if c.tier != nil && at(o, c.tier...) == nil {
			t.Errorf("%s: no tier in %s", c.path, r.body)
		}
		if r = post(t, address, c.path, c.body, "Simulate-Omit-Usage: 1"); object(t, r.body)["usage"] != nil {
			t.Errorf("%s: usage to be left out: %s", c.path, r.body)
		}
	}
	// A tier asked for, dictated, and a zero usage that is told as zero.
	r := post(t, address, "/v1/chat/completions", `{"model":"m","service_tier":"flex"}`, "Simulate-Usage: in=0,out=0")
	if o := object(t, r.body); o["service_tier"] != "flex" || at(o, "usage", "total_tokens") != 0.0 {
		t.Errorf("%s", r.body)
	}
	r = post(t, address, "/v1/messages", `{"model":"m"}`, "Simulate-Tier: priority", "Simulate-Model: served")
	if o := object(t, r.body); o["model"] != "served" || at(o, "usage", "service_tier") != "priority" {
		t.Errorf("%s", r.body)
	}
	// A cache write of unknown time to live has no breakdown.
	r = post(t, address, "/v1/messages", `{"model":"m"}`, "Simulate-Usage: in=10,out=1,cache_write=4")
	if o := object(t, r.body); at(o, "usage", "cache_creation") != nil || at(o, "usage", "cache_creation_input_tokens") != 4.0 {
		t.Errorf("%s", r.body)
	}
}

func TestChatStream(t *testing.T) {
	_, address := serve(t, Options{})
	for _, asked := range []bool{true, false} {
		body := streamed(chatBody)
		if asked {
			body = strings.Replace(body, "{", `{"stream_options":{"include_usage":true},`, 1)
		}
		r := post(t, address, "/v1/chat/completions", body, dictated, "Simulate-Chunks: 7", "Simulate-Answer-Bytes: 100")
		list := events(t, r.body)
		want := 1 + 7 + 1 + 1
		if asked {
			want++
		}
		if len(list) != want || list[want-1].text != "[DONE]" {
			t.Fatalf("include_usage %v: %d events, want %d: %s", asked, len(list), want, r.body)
		}
		text := ""
		for k, e := range list[:9] {
			if e.data["object"] != "chat.completion.chunk" || e.data["id"] != list[0].data["id"] || e.data["model"] != "gpt-5-mini" || e.data["service_tier"] != "default" {
				t.Errorf("event %d: %s", k, e.text)
			}
			if usage, has := e.data["usage"]; has != asked || usage != nil {
				t.Errorf("include_usage %v, event %d: %s", asked, k, e.text)
			}
			if part, ok := at(e.data, "choices", 0, "delta", "content").(string); ok {
				text += part
			}
			if finish := at(e.data, "choices", 0, "finish_reason"); (finish == "stop") != (k == 8) {
				t.Errorf("event %d: finish reason %v", k, finish)
			}
		}
		if at(list[0].data, "choices", 0, "delta", "role") != "assistant" || text != string(appendProse(nil, 0, 100)) {
			t.Errorf("first %s, text %q", list[0].text, text)
		}
		if asked {
			same(t, "choices", list[9].data["choices"], "[]")
			same(t, "usage", list[9].data["usage"], chatUsage)
		}
	}
}

func names(list []event) string {
	var s []string
	for _, e := range list {
		if n := len(s); n > 0 && strings.HasPrefix(s[n-1], e.name+" ") || n > 0 && s[n-1] == e.name {
			s[n-1] = e.name + " +"
			continue
		}
		s = append(s, e.name)
	}
	return strings.Join(s, ", ")
}

func TestResponsesStream(t *testing.T) {
	_, address := serve(t, Options{})
	r := post(t, address, "/v1/responses", `{"model":"gpt-5-mini","input":"hi","stream":true}`, dictated, "Simulate-Chunks: 7")
	list := events(t, r.body)
	const order = "response.created, response.in_progress, response.output_item.added, response.content_part.added, response.output_text.delta +, " +
		"response.output_text.done, response.content_part.done, response.output_item.done, response.completed"
	if got := names(list); got != order || len(list) != 8+7 {
		t.Fatalf("%d events: %s", len(list), got)
	}
	text := ""
	for k, e := range list {
		if e.data["type"] != e.name || e.data["sequence_number"] != float64(k) {
			t.Errorf("event %d: %s %s", k, e.name, e.text)
		}
		if part, ok := e.data["delta"].(string); ok {
			text += part
		}
	}
	if text == "" || list[11].data["text"] != text || at(list[14].data, "response", "output", 0, "content", 0, "text") != text {
		t.Errorf("deltas %q, done %v", text, list[11].data["text"])
	}
	if usage := at(list[0].data, "response", "usage"); usage != nil {
		t.Errorf("response.created has usage %v", usage)
	}
	same(t, "usage", at(list[14].data, "response", "usage"), responsesUsage)
}

func TestMessagesStream(t *testing.T) {
	_, address := serve(t, Options{})
	r := post(t, address, "/v1/messages", `{"model":"claude-haiku-4-5","stream":true}`, dictated, "Simulate-Chunks: 7")
	list := events(t, r.body)
	const order = "message_start, content_block_start, ping, content_block_delta +, content_block_stop, message_delta, message_stop"
	if got := names(list); got != order || len(list) != 6+7 {
		t.Fatalf("%d events: %s", len(list), got)
	}
	for _, e := range list {
		if e.data["type"] != e.name {
			t.Errorf("%s: %s", e.name, e.text)
		}
	}
	same(t, "message_start", at(list[0].data, "message", "usage"), `{"input_tokens":250,"cache_read_input_tokens":600,"cache_creation_input_tokens":150,
		"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":50},"output_tokens":1,"service_tier":"standard"}`)
	same(t, "message_delta", list[11].data["usage"], `{"input_tokens":250,"cache_read_input_tokens":600,"cache_creation_input_tokens":150,
		"output_tokens":50,"output_tokens_details":{"thinking_tokens":7}}`)
}

func TestOtherPaths(t *testing.T) {
	_, address := serve(t, Options{})
	for _, c := range []struct {
		method, path, version string
		status                int
		want                  string
	}{
		{"GET", "/v1/models", "", 200, `"object":"list"`},
		{"GET", "/v1/models/gpt-5", "", 200, `"id":"gpt-5"`},
		{"GET", "/v1/models", "2023-06-01", 200, `"has_more":false`},
		{"POST", "/v1/files?purpose=batch", "", 200, ""},
		{"GET", "/v1/chat/completions", "", 405, `"error":{"message":`},
		{"POST", "/v1/nonsense", "", 404, `"error":{"message":`},
		{"POST", "/v1/nonsense", "2023-06-01", 404, `{"type":"error","error":{"type":"not_found_error"`},
	} {
		nc, in := dial(t, address)
		body := ""
		if strings.Contains(c.path, "files") {
			body = "some file"
			c.want = `"sha256":"` + digest(body)
		}
		request := c.method + " " + c.path + " HTTP/1.0\r\n"
		if c.version != "" {
			request += "anthropic-version: " + c.version + "\r\n"
		}
		write(t, nc, request+"content-length: "+itoa(len(body))+"\r\n\r\n"+body)
		answer := readAll(t, in)
		if !strings.HasPrefix(answer, "HTTP/1.1 "+itoa(c.status)) || !strings.Contains(answer, c.want) {
			t.Errorf("%s %s: %s", c.method, c.path, answer)
		}
	}
}
