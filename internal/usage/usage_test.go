package usage

import "testing"

func TestX(t *testing.T) {
	for _, c := range [][2]string{
		{"openai.chat", `{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5}}`},
		{"anthropic.messages", `[{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"},{"output_tokens":99,"server_tool_use":{"web_search_requests":2}}]`},
		{"openai.chat", `null`}, {"openai.chat", `{}`}, {"openai.chat", `{"prompt_tokens":-1}`},
	} {
		u, err := Parse(c[0], []byte(c[1]))
		t.Logf("%+v %v", u, err)
	}
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(`{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`)
	b.ReportAllocs()
	for b.Loop() {
		Parse("openai.chat", raw)
	}
}
