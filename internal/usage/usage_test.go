package usage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// brief writes a usage on one line, so that a table of them can be read.
func brief(u Usage) string {
	var b strings.Builder
	for _, l := range u.Lines {
		fmt.Fprintf(&b, "%s=%d ", l.Class, l.Tokens)
	}
	fmt.Fprintf(&b, "| in=%d out=%d total=%d reasoning=%d", u.Input, u.Output, u.Total, u.Reasoning)
	for _, c := range u.Counters {
		fmt.Fprintf(&b, " %s=%d", c.Name, c.Count)
	}
	if u.Tier != "" || u.Geo != "" {
		fmt.Fprintf(&b, " tier=%s geo=%s", u.Tier, u.Geo)
	}
	if u.Inconsistent != "" {
		fmt.Fprintf(&b, " | %s", u.Inconsistent)
	}
	return b.String()
}

// Usage objects as the providers document or send them.
func TestParse(t *testing.T) {
	for _, c := range []struct{ name, format, raw, want string }{
		// OpenAI chat completions.
		{"chat, cached and reasoning", "openai.chat",
			`{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
			"input=86 cache_read=1920 input_audio=0 output=300 output_audio=0 | in=2006 out=300 total=2306 reasoning=128"},
		{"chat, no details (vLLM)", "openai.chat",
			`{"prompt_tokens":14,"total_tokens":21,"completion_tokens":7,"prompt_tokens_details":null}`,
			"input=14 output=7 | in=14 out=7 total=21 reasoning=-1"},
		{"chat, the stream's last chunk after continuous ones", "openai.chat",
			`[{"prompt_tokens":14,"total_tokens":15,"completion_tokens":1},null,{"prompt_tokens":14,"total_tokens":21,"completion_tokens":7}]`,
			"input=14 output=7 | in=14 out=7 total=21 reasoning=-1"},
		{"chat, audio in and out", "openai.chat",
			`{"prompt_tokens":119,"completion_tokens":93,"total_tokens":212,"prompt_tokens_details":{"audio_tokens":100,"cached_tokens":0},"completion_tokens_details":{"audio_tokens":70,"reasoning_tokens":0}}`,
			"input=19 cache_read=0 input_audio=100 output=23 output_audio=70 | in=119 out=93 total=212 reasoning=0"},
		{"chat, cached audio is in the class of the cache", "openai.chat",
			`{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101,"prompt_tokens_details":{"audio_tokens":60,"cached_tokens":50,"cached_tokens_details":{"audio_tokens":40,"text_tokens":10}}}`,
			"input=30 cache_read=50 input_audio=20 output=1 | in=100 out=1 total=101 reasoning=-1"},
		{"chat, cache writes (GPT-5.6)", "openai.chat",
			`{"prompt_tokens":3000,"completion_tokens":10,"total_tokens":3010,"prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":1500}}`,
			"input=500 cache_read=1000 cache_write=1500 output=10 | in=3000 out=10 total=3010 reasoning=-1"},
		{"chat, zero is a fact", "openai.chat",
			`{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`,
			"input=0 output=0 | in=0 out=0 total=0 reasoning=-1"},
		{"chat, DeepSeek", "openai.chat",
			`{"prompt_tokens":1000,"completion_tokens":20,"total_tokens":1020,"prompt_cache_hit_tokens":896,"prompt_cache_miss_tokens":104,"prompt_tokens_details":{"cached_tokens":896}}`,
			"input=104 cache_read=896 output=20 | in=1000 out=20 total=1020 reasoning=-1"},
		{"chat, Moonshot", "openai.chat",
			`{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cached_tokens":64}`,
			"input=36 cache_read=64 output=20 | in=100 out=20 total=120 reasoning=-1"},
		{"chat, xAI counts reasoning beside the output, and images", "openai.chat",
			`{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":12,"audio_tokens":0,"image_tokens":20,"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0},"num_sources_used":0}`,
			"input=6 cache_read=6 input_audio=0 input_image=20 output=103 output_audio=0 | in=32 out=103 total=135 reasoning=94"},
		{"chat, Gemini without details", "openai.chat",
			`{"completion_tokens":9,"prompt_tokens":32,"total_tokens":135}`,
			"input=32 output=9 | in=32 out=9 total=135 reasoning=-1 | the total is not input plus output"},
		{"chat, Groq's times are not counts", "openai.chat",
			`{"queue_time":0.037493756,"prompt_tokens":18,"prompt_time":6.8e-4,"completion_tokens":556,"completion_time":0.463,"total_tokens":574,"total_time":-0.5}`,
			"input=18 output=556 | in=18 out=556 total=574 reasoning=-1"},
		{"chat, an escape in a name", "openai.chat", `{"prompt\u005ftokens":18,"completion_tokens":2}`,
			"input=18 output=2 | in=18 out=2 total=-1 reasoning=-1"},
		{"chat, more cached than there is", "openai.chat",
			`{"prompt_tokens":50,"completion_tokens":3,"total_tokens":53,"prompt_tokens_details":{"cached_tokens":11000}}`,
			"input=0 cache_read=50 output=3 | in=50 out=3 total=53 reasoning=-1 | the parts of the input exceed it"},
		{"chat, more audio out than there is", "openai.chat",
			`{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"completion_tokens_details":{"audio_tokens":4}}`,
			"input=5 output=0 output_audio=3 | in=5 out=3 total=8 reasoning=-1 | the parts of the output exceed it"},
		{"chat, more reasoning than output", "openai.chat",
			`{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"completion_tokens_details":{"reasoning_tokens":4}}`,
			"input=5 output=3 | in=5 out=3 total=8 reasoning=4 | reasoning exceeds the output"},
		{"chat, output not told", "openai.chat", `{"prompt_tokens":5}`,
			"input=5 | in=5 out=-1 total=-1 reasoning=-1 | the output total is not told"},
		{"chat, input not told", "openai.chat", `{"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3}}`,
			"output=5 | in=-1 out=5 total=-1 reasoning=-1 | the input total is not told"},

		{"chat, input not told and reasoning apart prove nothing", "openai.chat", `{"completion_tokens":5,"total_tokens":7,"completion_tokens_details":{"reasoning_tokens":3}}`,
			"output=5 | in=-1 out=5 total=7 reasoning=3 | the input total is not told"},
		{"chat, a later null tells nothing", "openai.chat", `[{"prompt_tokens":14,"completion_tokens":1},{"prompt_tokens":null,"completion_tokens":7}]`,
			"input=14 output=7 | in=14 out=7 total=-1 reasoning=-1"},

		// OpenAI responses.
		{"responses", "openai.responses",
			`{"input_tokens":2500,"input_tokens_details":{"cached_tokens":2048},"output_tokens":500,"output_tokens_details":{"reasoning_tokens":320},"total_tokens":3000}`,
			"input=452 cache_read=2048 output=500 | in=2500 out=500 total=3000 reasoning=320"},
		{"responses, cache writes", "openai.responses",
			`{"input_tokens":2500,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":2048},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2505}`,
			"input=452 cache_read=0 cache_write=2048 output=5 | in=2500 out=5 total=2505 reasoning=0"},

		// OpenAI embeddings.
		{"embeddings", "openai.embeddings", `{"prompt_tokens":8,"total_tokens":8}`,
			"input=8 | in=8 out=-1 total=8 reasoning=-1"},
		{"embeddings, Voyage", "openai.embeddings", `{"total_tokens":10}`,
			"input=10 | in=10 out=-1 total=10 reasoning=-1"},
		{"embeddings, vLLM", "openai.embeddings", `{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0,"prompt_tokens_details":null}`,
			"input=8 output=0 | in=8 out=0 total=8 reasoning=-1"},

		// Anthropic messages.
		{"messages", "anthropic.messages",
			`{"input_tokens":2095,"cache_creation_input_tokens":2051,"cache_read_input_tokens":1024,"cache_creation":{"ephemeral_1h_input_tokens":51,"ephemeral_5m_input_tokens":2000},"output_tokens":503,"output_tokens_details":{"thinking_tokens":100},"server_tool_use":{"web_search_requests":2,"web_fetch_requests":0},"service_tier":"priority","inference_geo":"us"}`,
			"input=2095 cache_read=1024 cache_write_5m=2000 cache_write_1h=51 output=503 | in=5170 out=503 total=-1 reasoning=100 web_search_requests=2 tier=priority geo=us"},
		{"messages, nulls", "anthropic.messages",
			`{"input_tokens":21,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"cache_creation":null,"output_tokens":3,"server_tool_use":null,"service_tier":null}`,
			"input=21 output=3 | in=21 out=3 total=-1 reasoning=-1"},
		{"messages, writes without a split", "anthropic.messages",
			`{"input_tokens":21,"cache_creation_input_tokens":188086,"cache_read_input_tokens":0,"output_tokens":393}`,
			"input=21 cache_read=0 cache_write=188086 output=393 | in=188107 out=393 total=-1 reasoning=-1"},
		{"messages, no writes and no split", "anthropic.messages",
			`{"input_tokens":21,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":393}`,
			"input=21 cache_read=0 cache_write=0 output=393 | in=21 out=393 total=-1 reasoning=-1"},
		{"messages, no writes, and a split that says so", "anthropic.messages",
			`{"input_tokens":21,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":393}`,
			"input=21 cache_write_5m=0 cache_write_1h=0 output=393 | in=21 out=393 total=-1 reasoning=-1"},
		{"messages, a split without total", "anthropic.messages",
			`{"input_tokens":21,"cache_creation":{"ephemeral_5m_input_tokens":7},"output_tokens":393}`,
			"input=21 cache_write_5m=7 output=393 | in=28 out=393 total=-1 reasoning=-1"},
		{"messages, a time to live we do not know", "anthropic.messages",
			`{"input_tokens":1,"cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_12h_input_tokens":40},"output_tokens":3}`,
			"input=1 cache_write_5m=60 cache_write=40 output=3 | in=101 out=3 total=-1 reasoning=-1"},
		{"messages, a split above the total", "anthropic.messages",
			`{"input_tokens":1,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":60},"output_tokens":3}`,
			"input=1 cache_write_5m=60 output=3 | in=61 out=3 total=-1 reasoning=-1 | the split of the cache writes exceeds them"},
		{"messages, stream", "anthropic.messages",
			`[{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"},{"output_tokens":15}]`,
			"input=25 cache_read=7 cache_write_5m=100 cache_write_1h=0 output=15 | in=132 out=15 total=-1 reasoning=-1 tier=standard geo="},
		{"messages, stream with tools: all counts are cumulative", "anthropic.messages",
			`[{"input_tokens":2679,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":3,"server_tool_use":{"web_search_requests":1}},{"input_tokens":10682,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":510,"server_tool_use":{"web_search_requests":3}}]`,
			"input=10682 cache_read=5 cache_write=0 output=510 | in=10687 out=510 total=-1 reasoning=-1 web_search_requests=3"},
		{"messages, stream cut after message_start", "anthropic.messages", `[{"input_tokens":25,"output_tokens":1}]`,
			"input=25 output=1 | in=25 out=1 total=-1 reasoning=-1"},
		{"messages, fast", "anthropic.messages", `{"input_tokens":25,"output_tokens":1,"service_tier":"standard","speed":"fast"}`,
			"input=25 output=1 | in=25 out=1 total=-1 reasoning=-1 tier=fast geo="},
		{"messages, iterations of the same call", "anthropic.messages",
			`{"input_tokens":25,"output_tokens":1,"iterations":[{"type":"message","input_tokens":20,"output_tokens":1},{"input_tokens":5,"output_tokens":0,"type":"message"}]}`,
			"input=25 output=1 | in=25 out=1 total=-1 reasoning=-1"},
		{"messages, a compaction is billed and not in the totals", "anthropic.messages",
			`{"input_tokens":23000,"output_tokens":1000,"iterations":[{"type":"compaction","input_tokens":180000,"output_tokens":3500},{"type":"message","input_tokens":23000,"output_tokens":1000}]}`,
			"input=23000 output=1000 | in=23000 out=1000 total=-1 reasoning=-1 | iterations of other kinds or models are not in the totals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := Parse(c.format, []byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if got := brief(u); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			checkDisjoint(t, c.format, u)
		})
	}
}

// Missing is not zero, and what is not a count is not read as one.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		format, raw string
		want        error
	}{
		{"openai.chat", `null`, ErrMissing},
		{"openai.chat", `{}`, ErrMissing},
		{"openai.chat", `[]`, ErrMissing},
		{"openai.chat", `[null]`, ErrMissing},
		{"openai.chat", `{"prompt_tokens":null,"completion_tokens":null}`, ErrMissing},
		{"openai.chat", `{"input_tokens":5,"output_tokens":5}`, ErrMissing}, // names of another format
		{"anthropic.messages", `{"service_tier":"standard"}`, ErrMissing},
		{"openai.chat", ``, ErrInvalid},
		{"openai.chat", `5`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":-1,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":-0,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":1.0,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":1e3,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":007,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":"7","completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":true,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":9007199254740992,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":99999999999999999999999999,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"prompt_tokens":8,"completion_tokens":1}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens_details":[]}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":-3}}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"completion_tokens":1`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"completion_tokens":1}}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"completion_tokens":1,}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"other":01}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"other":"` + "\n" + `"}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"other":"\x"}`, ErrInvalid},
		{"openai.chat", `{"prompt_tokens":7,"other":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, ErrInvalid},
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"web_search_requests":-2}}`, ErrInvalid},
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"input":2}}`, ErrInvalid}, // would pass for a class
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"Web Search":2}}`, ErrInvalid},
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"":2}}`, ErrInvalid},
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"` + strings.Repeat("x", 65) + `":2}}`, ErrInvalid},
		{"anthropic.messages", `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}}`, ErrInvalid},
		{"passthrough", `{"prompt_tokens":7,"completion_tokens":1}`, ErrFormat},
		{"", `{}`, ErrFormat},
	} {
		u, err := Parse(c.format, []byte(c.raw))
		if !errors.Is(err, c.want) {
			t.Errorf("%s %s: got %+v, %v, want %v", c.format, c.raw, u, err, c.want)
		}
	}
}

// checkDisjoint holds for every usage: no negative line, no class twice, fixed
// order, and lines that add up to what the provider said unless Inconsistent
// says why they do not.
func checkDisjoint(t *testing.T, format string, u Usage) {
	t.Helper()
	order := []Class{Input, CacheRead, CacheWrite5m, CacheWrite1h, CacheWrite, InputAudio, InputImage, Output, OutputAudio}
	for _, c := range u.Counters {
		if c.Count <= 0 || c.Name == "" || len(c.Name) > 64 || slices.Contains(order, Class(c.Name)) || strings.ToLower(c.Name) != c.Name {
			t.Fatalf("counter %+v", c)
		}
	}
	var in, out int64
	next := 0
	for _, l := range u.Lines {
		for next < len(order) && order[next] != l.Class {
			next++
		}
		if next == len(order) {
			t.Fatalf("%s comes twice or out of order", l.Class)
		}
		next++
		if l.Tokens < 0 {
			t.Fatalf("negative line %+v", l)
		}
		if strings.HasPrefix(string(l.Class), "output") {
			out += l.Tokens
		} else {
			in += l.Tokens
		}
	}
	if u.Input >= 0 && in != u.Input {
		t.Fatalf("input lines sum to %d, the input is %d", in, u.Input)
	}
	if out != max(u.Output, 0) {
		t.Fatalf("output lines sum to %d, the output is %d", out, u.Output)
	}
	if u.Inconsistent != "" {
		return
	}
	if u.Input < 0 || u.Output < 0 && format != "openai.embeddings" {
		t.Fatalf("a total is not told and that is not said")
	}
	if u.Total >= 0 && in+out != u.Total {
		t.Fatalf("lines sum to %d, the provider said %d", in+out, u.Total)
	}
	if u.Reasoning > u.Output {
		t.Fatalf("reasoning %d is not inside output %d", u.Reasoning, u.Output)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, format, raw string }{
		{"chat", "openai.chat", `{"prompt_tokens":374,"completion_tokens":44,"total_tokens":418,"prompt_tokens_details":{"cached_tokens":128,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`},
		{"messages-stream", "anthropic.messages", `[{"input_tokens":25,"cache_creation_input_tokens":100,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"},{"output_tokens":15}]`},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw := []byte(c.raw)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(c.format, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
