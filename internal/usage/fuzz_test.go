package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

// Whatever a provider sends: no panic, a known error, and what is accepted is
// JSON whose lines are disjoint.
func FuzzUsage(f *testing.F) {
	formats := []string{openaiChat, openaiResponses, openaiEmbeddings, anthropicMessages}
	for _, raw := range []string{
		`null`, `{}`, `[null,{}]`, `{"total_tokens":10}`,
		`{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128}}`,
		`{"prompt_tokens":50,"completion_tokens":3,"total_tokens":53,"prompt_tokens_details":{"cached_tokens":51,"audio_tokens":50,"image_tokens":50,"cache_write_tokens":1,"cached_tokens_details":{"audio_tokens":60}}}`,
		`{"input_tokens":9007199254740991,"cache_read_input_tokens":9007199254740991,"cache_creation_input_tokens":9007199254740991,"output_tokens":9007199254740991}`,
		`{"input_tokens":1,"cache_creation_input_tokens":10,"cache_creation":{"ephemeral_5m_input_tokens":60,"ephemeral_1h_input_tokens":1},"output_tokens":3,"iterations":[{"type":"compaction"}],"server_tool_use":{"a":1}}`,
		`{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}`,
		`{"prompt\u005ftokens":18,"x":[0.1,-2e5,"\"",true,{"y":null}]}`, `{"prompt_tokens":1,"prompt_tokens":1}`, `{"prompt_tokens":01}`, `{"x":"`, `[{]`,
	} {
		for i := range formats {
			f.Add(uint8(i), []byte(raw))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, raw []byte) {
		format := formats[int(i)%len(formats)]
		u, err := Parse(format, raw)
		switch {
		case errors.Is(err, ErrMissing) || err == nil:
			if !json.Valid(raw) {
				t.Fatalf("read (%v), and encoding/json says it is not JSON", err)
			}
			if err == nil {
				checkDisjoint(t, format, u)
			}
		case !errors.Is(err, ErrInvalid):
			t.Fatalf("not a known error: %v", err)
		}
	})
}

// The lines of a usage are disjoint and add up for any counts, not only for
// those that a fuzzer happens to spell.
func FuzzCounts(f *testing.F) {
	f.Add(int64(100), int64(20), int64(120), int64(60), int64(10), int64(5), int64(5), int64(3), int64(7))
	f.Add(int64(0), int64(0), int64(0), int64(1), int64(1), int64(1), int64(1), int64(1), int64(1))
	f.Add(int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens), int64(MaxTokens))
	f.Fuzz(func(t *testing.T, in, out, total, cached, wrote, audio, image, audioOut, reasoning int64) {
		for _, c := range [][2]string{
			{openaiChat, `{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,"audio_tokens":%d,"image_tokens":%d},"completion_tokens_details":{"audio_tokens":%d,"reasoning_tokens":%d}}`},
			{anthropicMessages, `{"input_tokens":%d,"output_tokens":%d,"x":%d,"cache_read_input_tokens":%d,"cache_creation_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d},"y":%d,"output_tokens_details":{"thinking_tokens":%d}}`},
		} {
			u, err := Parse(c[0], fmt.Appendf(nil, c[1], in, out, total, cached, wrote, audio, image, audioOut, reasoning))
			if err != nil {
				if !errors.Is(err, ErrInvalid) {
					t.Fatal(err)
				}
				continue
			}
			checkDisjoint(t, c[0], u)
		}
	})
}
