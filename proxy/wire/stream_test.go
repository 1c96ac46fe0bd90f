package wire

import (
	"bytes"
	"strings"
	"testing"
)

// The streams of the formats, as the providers document them.
var streams = []struct {
	name    string
	format  *Format
	text    string
	held    string // the terminal part
	without string // text without the usage chunk
	want    string // usage, final, model, tier, finish, events
}{
	{"chat", Chat,
		": ping\n\ndata: {\"id\":\"1\",\"model\":\"gpt-5\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"usage\\\":{\"},\"finish_reason\":null}],\"usage\":null}\n\n" +
			"data: {\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"usage\"},\"finish_reason\":null}],\"usage\":null}\n\n" +
			"data: {\"model\":\"gpt-5\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n" +
			"data: {\"model\":\"gpt-5\",\"choices\":[],\"usage\":{\"prompt_tokens\": 3,\"completion_tokens\":0}}\n\n" +
			"data: [DONE]\n\n",
		"data: [DONE]\n\n", "data: {\"model\":\"gpt-5\",\"choices\":[],\"usage\":{\"prompt_tokens\": 3,\"completion_tokens\":0}}\n\n",
		`{"prompt_tokens": 3,"completion_tokens":0} final gpt-5 default stop 5`},
	{"chat with CRLF, no space, and no empty line at the end", Chat,
		"data:{\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":1}}\r\n\r\ndata:[DONE]",
		"data:[DONE]", "", `{"prompt_tokens":1} final m  length 2`},
	{"chat of several data lines", Chat,
		"data: {\"model\":\"m\",\ndata: \"choices\":[],\ndata: \"usage\":{\"a\":1}}\n\ndata: [DONE]\n\n", "data: [DONE]\n\n",
		"data: {\"model\":\"m\",\ndata: \"choices\":[],\ndata: \"usage\":{\"a\":1}}\n\n", `{"a":1} final m   2`},
	{"chat that ends without its terminal event", Chat,
		"data: {\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"a\":1}}\n\n", "", "", `{"a":1} partial m  stop 1`},
	{"chat with an error", Chat, "data: {\"model\":\"m\",\"choices\":[]}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\nleft over",
		"data: {\"error\":{\"message\":\"x\"}}\n\nleft over", "", ` partial m   2 failed`},
	{"responses", Responses,
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-5\",\"status\":\"in_progress\",\"usage\":null}}\n\n" +
			"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"response.completed\"}\n\n" +
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5-x\",\"service_tier\":\"flex\",\"status\":\"completed\",\"usage\":{\"input_tokens\":0}}}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5-x\",\"service_tier\":\"flex\",\"status\":\"completed\",\"usage\":{\"input_tokens\":0}}}\n\n",
		"", `{"input_tokens":0} final gpt-5-x flex completed 3`},
	{"responses without event lines", Responses, "data: {\"type\":\"response.failed\",\"response\":{\"model\":\"m\",\"status\":\"failed\",\"usage\":null}}\n\n",
		"data: {\"type\":\"response.failed\",\"response\":{\"model\":\"m\",\"status\":\"failed\",\"usage\":null}}\n\n", "", ` partial m  failed 1 failed`},
	{"messages", Messages,
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"stop_reason\":null,\"usage\":{\"input_tokens\":9,\"service_tier\":\"standard\"}}}\n\n" +
			"event: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"message_stop\"}}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "", `[{"input_tokens":9,"service_tier":"standard"},{"output_tokens":5}] final claude standard end_turn 5`},
	{"messages cut after the start", Messages, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"usage\":{\"input_tokens\":9}}}\n\nevent: content",
		"event: content", "", `[{"input_tokens":9}] partial claude   1`},
}

func describe(a *Answer) string {
	raw, final := a.Usage(nil)
	s := string(raw) + " partial"
	if final {
		s = string(raw) + " final"
	}
	s += " " + string(a.Model) + " " + string(a.Tier) + " " + string(a.Finish) + " " + string(rune('0'+a.Events))
	if a.Failed {
		s += " failed"
	}
	return s
}

// run feeds the pieces of a stream and returns what passed and what was held.
func run(t testing.TB, f *Format, drop bool, pieces ...[]byte) (passed, held string, a *Answer) {
	a = &Answer{}
	var s Stream
	s.Reset(f, a, drop)
	var out []byte
	for _, p := range pieces {
		for len(p) > 0 {
			n := copy(s.Space(1), p)
			if err := s.Fill(n); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
			out = append(out, s.Pass()...)
			s.Passed()
		}
	}
	s.End()
	return string(out), string(s.Held()), a
}

// Wherever a stream is split, the same bytes pass, the same end is held, and
// the same is told.
func TestStreamSplitAnywhere(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			text := []byte(c.text)
			for _, drop := range []bool{false, true} {
				wantPass := strings.TrimSuffix(c.text, c.held)
				if drop && c.without != "" {
					wantPass = strings.Replace(wantPass, c.without, "", 1)
				}
				check := func(where int, pieces ...[]byte) {
					t.Helper()
					passed, held, a := run(t, c.format, drop, pieces...)
					if passed != wantPass || held != c.held || describe(a) != c.want {
						t.Fatalf("split at %d, drop %v:\npassed %q\nwant   %q\nheld %q\nwant %q\ntold %s\nwant %s", where, drop, passed, wantPass, held, c.held, describe(a), c.want)
					}
				}
				for i := range text {
					check(i, text[:i], text[i:])
				}
				var single [][]byte
				for i := range text {
					single = append(single, text[i:i+1])
				}
				check(-1, single...)
			}
		})
	}
}

// A whole answer tells its usage byte for byte.
func TestReadAnswer(t *testing.T) {
	for _, c := range []struct {
		format     *Format
		body, want string
	}{
		{Chat, `{"id":"x","model":"gpt-5","choices":[{"finish_reason":"stop","message":{"content":"\"usage\":{}"}}],"usage":{"prompt_tokens": 0 },"service_tier":"flex"}`, `{"prompt_tokens": 0 } final gpt-5 flex stop 0`},
		{Embeddings, `{"object":"list","data":[{"embedding":[1,2]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}`, `{"prompt_tokens":8,"total_tokens":8} final e   0`},
		{Responses, `{"model":"gpt-5","status":"incomplete","service_tier":"priority","usage":{"input_tokens":1}}`, `{"input_tokens":1} final gpt-5 priority incomplete 0`},
		{Messages, `{"model":"claude","stop_reason":"max_tokens","usage":{"input_tokens":1,"service_tier":"batch"}}`, `{"input_tokens":1,"service_tier":"batch"} final claude batch max_tokens 0`},
		{Chat, `{"model":"m","usage":null}`, ` partial m   0`},
		{Chat, `not json`, ` partial    0`},
		{Passthrough, `{"model":"m","usage":{"a":1}}`, ` partial    0`},
	} {
		var a Answer
		c.format.ReadAnswer([]byte(c.body), &a)
		if got := describe(&a); got != c.want {
			t.Errorf("%s %s tells %s, want %s", c.format.Name, c.body, got, c.want)
		}
	}
}

func TestReadRequest(t *testing.T) {
	for _, c := range []struct {
		format *Format
		body   string
		want   Request
		err    error
	}{
		{Chat, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"user":"u"}`, Request{Model: "m", User: "u", Stream: true, IncludeUsage: true}, nil},
		{Chat, `{"model":"m","max_tokens":5,"max_completion_tokens":7}`, Request{Model: "m", MaxOutput: 7}, nil},
		{Messages, `{"model":"m","max_tokens":-5}`, Request{Model: "m"}, nil},
		{Responses, `{"model":"m","max_output_tokens":"9"}`, Request{Model: "m", MaxOutput: 9}, nil},
		{Chat, `{"metadata":{"user_id":"x"},"model":"m","stream":false}`, Request{Model: "m"}, nil},
		{Messages, `{"metadata":{"user_id":"x"},"model":"m","user":"y"}`, Request{Model: "m", User: "x"}, nil},
		{Chat, `{"messages":[{"model":"inner"}],"model":"\u006d"}`, Request{Model: "m"}, nil},
		{Chat, `{"model":7}`, Request{}, ErrNoModel},
		{Chat, `{"Model":"m"}`, Request{}, ErrNoModel},
		{Chat, `{"model":"cheap","MODEL":"dear"}`, Request{}, ErrDuplicate},
		{Chat, `{"mod\u0065L":"dear","model":"cheap"}`, Request{}, ErrDuplicate},
		{Chat, `{"model":"m"} `, Request{Model: "m"}, nil},
		{Chat, `{"model":"m"}{}`, Request{}, ErrNotJSON},
		{Chat, ``, Request{}, ErrNotJSON},
		{Chat, `{"stream":true,"stream":false,"model":"m"}`, Request{}, ErrDuplicate},
	} {
		var r Request
		err := c.format.Read([]byte(c.body), &r)
		if err != c.err || err == nil && r != c.want {
			t.Errorf("%s %s: %+v, %v; want %+v, %v", c.format.Name, c.body, r, err, c.want, c.err)
		}
	}
}

// No bytes are lost or invented, whatever comes, and however it is split.
func FuzzStream(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(c.text), 7)
	}
	// What the formats do not document: fields without a colon, lone carriage
	// returns, a byte order mark, an id, usage that is no object or is cut, two
	// ends, an end inside a text, a kind that contradicts its data.
	for _, s := range []string{
		"data\n\ndata\n: c\ndata: [DONE]\n\n", "data: a\r\rdata: [DONE]\r\n\r\n", "\ufeffdata: {\"usage\":{}}\n\n", "id: 1\nretry: 5\nevent: x\ndata: {}\n\n",
		"data: {\"choices\":[],\"usage\":7}\n\ndata: {\"choices\":[],\"usage\":{\"a\":\n\n", "data: [DONE]\n\ndata: [DONE]\n\n", "data: {\"x\":\"data: [DONE]\\n\\n\"}\n\n",
		"event: message_stop\ndata: {\"type\":\"ping\"}\n\n", "event: message_stop\n\n", "data:\ndata: [DONE]\n\n", "data: \n\n\n\n\ndata: [DONE]", "data: {\"usage\" : {\"a\":1},\"choices\":[]}\n\n\r\n",
	} {
		f.Add([]byte(s), 9)
	}
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		for _, format := range All {
			if at < 0 || at > len(text) {
				at = len(text) / 2
			}
			passed, held, _ := run(t, format, false, text)
			if passed+held != string(text) {
				t.Fatalf("%s: passed %q, held %q of %q", format.Name, passed, held, text)
			}
			for _, drop := range []bool{false, true} {
				passed, held, a := run(t, format, drop, text)
				var single [][]byte
				if len(text) < 2000 {
					for i := range text {
						single = append(single, text[i:i+1])
					}
				}
				for _, pieces := range [][][]byte{{bytes.Clone(text[:at]), text[at:]}, single} {
					if pieces == nil {
						continue
					}
					passed2, held2, b := run(t, format, drop, pieces...)
					if passed2 != passed || describe(a) != describe(b) || held != held2 {
						t.Fatalf("%s, drop %v: in %d pieces, at %d, it tells %s, else %s; passed %q and %q; held %q and %q", format.Name, drop, len(pieces), at, describe(b), describe(a), passed2, passed, held2, held)
					}
				}
			}
		}
	})
}

// An answer too large to be kept tells the same, in pieces of any size.
func TestLargeAnswer(t *testing.T) {
	large := strings.Repeat("x, \\\"usage\\\":{[ ", 5000)
	body := `{"id":"` + large + `","choices":[{"finish_reason":"stop","message":{"content":"` + large + `","usage":{"a":9}}}], "model" : "gpt-5","more":[` +
		strings.Repeat("1,", 9000) + `1],"usage":{"prompt_tokens":3,"d":{"x":[1,2]}},"last":"` + large + `"}`
	for _, size := range []int{1, 7, 4096, len(body)} {
		var a Answer
		var s Stream
		s.Reset(Chat, &a, false)
		var passed []byte
		for rest := []byte(body); len(rest) > 0; {
			n := copy(s.Space(1), rest[:min(size, len(rest))])
			s.FillRaw(n, true)
			rest = rest[n:]
			passed = append(passed, s.Pass()...)
			s.Passed()
		}
		s.End()
		if got := describe(&a); got != `{"prompt_tokens":3,"d":{"x":[1,2]}} final gpt-5   0` {
			t.Errorf("pieces of %d tell %s", size, got)
		}
		if string(passed)+string(s.Held()) != body || len(s.Held()) == 0 {
			t.Errorf("pieces of %d: %d bytes passed, %d held of %d", size, len(passed), len(s.Held()), len(body))
		}
	}
}
