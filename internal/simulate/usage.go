package simulate

import (
	"fmt"
	"strconv"
	"strings"
)

// Usage is what an answer says it consumed, in tokens. Its compact form, the
// value of the header Simulate-Usage, is a comma-separated list of name=count;
// names left out are zero:
//
//	in=4808,out=10,cache_read=0,cache_write_5m=0,cache_write_1h=0,cache_write=0,reasoning=0,audio=0,image=0,audio_out=0
//
// in and out are totals in the sense of OpenAI. in includes cache_read, the
// three cache_write, audio and image; these six are disjoint. out includes
// audio_out and reasoning; reasoning is not a class of its own. in less its six
// parts is plain input, and must not be negative.
//
// Each wire format reports it in its own terms, and the provider's own books
// ([Stats]) count what was reported, not what was meant:
//
//   - openai.chat: prompt_tokens = in, with cached_tokens, cache_write_tokens
//     (the sum of the three cache writes: the format has no time to live),
//     audio_tokens and image_tokens; completion_tokens = out.
//   - openai.responses: the same under input_tokens and output_tokens; audio
//     and image count as plain tokens.
//   - openai.embeddings: prompt_tokens = total_tokens = in, all plain; no output.
//   - anthropic.messages: input_tokens = in less cache reads and writes;
//     cache_read_input_tokens; cache_creation_input_tokens = the sum of the
//     writes, with the object cache_creation (5m, 1h) unless cache_write is the
//     only write; audio and image count as plain tokens; output_tokens = out.
type Usage struct {
	Input        int64 // total
	Output       int64 // total
	CacheRead    int64
	CacheWrite5m int64
	CacheWrite1h int64
	CacheWrite   int64 // time to live unknown
	Reasoning    int64 // inside Output
	InputAudio   int64
	InputImage   int64
	OutputAudio  int64
}

const maxTokens = 1_000_000_000_000

// ParseUsage reads the compact form.
func ParseUsage(s string) (Usage, error) {
	var u Usage
	for s != "" {
		var item string
		item, s, _ = strings.Cut(s, ",")
		name, count, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return Usage{}, fmt.Errorf("usage: %q is not name=count", item)
		}
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 0 || n > maxTokens {
			return Usage{}, fmt.Errorf("usage: %s is %q, want a count from 0 to %d", name, count, int64(maxTokens))
		}
		field := u.field(name)
		if field == nil {
			return Usage{}, fmt.Errorf("usage: unknown name %q", name)
		}
		*field = n
	}
	return u, u.check()
}

func (u *Usage) field(name string) *int64 {
	switch name {
	case "in":
		return &u.Input
	case "out":
		return &u.Output
	case "cache_read":
		return &u.CacheRead
	case "cache_write_5m":
		return &u.CacheWrite5m
	case "cache_write_1h":
		return &u.CacheWrite1h
	case "cache_write":
		return &u.CacheWrite
	case "reasoning":
		return &u.Reasoning
	case "audio":
		return &u.InputAudio
	case "image":
		return &u.InputImage
	case "audio_out":
		return &u.OutputAudio
	}
	return nil
}

func (u Usage) cacheWrites() int64 { return u.CacheWrite + u.CacheWrite5m + u.CacheWrite1h }

func (u Usage) check() error {
	if parts := u.CacheRead + u.cacheWrites() + u.InputAudio + u.InputImage; parts > u.Input {
		return fmt.Errorf("usage: in=%d is less than its parts, %d", u.Input, parts)
	}
	if u.OutputAudio > u.Output || u.Reasoning > u.Output {
		return fmt.Errorf("usage: out=%d is less than one of its parts", u.Output)
	}
	return nil
}

// Append appends the compact form, without the names that are zero; in and out
// are always there.
func (u Usage) Append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "in="...), u.Input, 10)
	dst = strconv.AppendInt(append(dst, ",out="...), u.Output, 10)
	for _, part := range [...]struct {
		name string
		n    int64
	}{
		{",cache_read=", u.CacheRead}, {",cache_write_5m=", u.CacheWrite5m}, {",cache_write_1h=", u.CacheWrite1h},
		{",cache_write=", u.CacheWrite}, {",reasoning=", u.Reasoning}, {",audio=", u.InputAudio},
		{",image=", u.InputImage}, {",audio_out=", u.OutputAudio},
	} {
		if part.n != 0 {
			dst = strconv.AppendInt(append(dst, part.name...), part.n, 10)
		}
	}
	return dst
}

// String is the compact form.
func (u Usage) String() string { return string(u.Append(nil)) }

// Tokens counts tokens in disjoint classes, named as in the books of the proxy.
type Tokens struct {
	Input        int64 `json:"input"`
	CacheRead    int64 `json:"cache_read"`
	CacheWrite5m int64 `json:"cache_write_5m"`
	CacheWrite1h int64 `json:"cache_write_1h"`
	CacheWrite   int64 `json:"cache_write"`
	InputAudio   int64 `json:"input_audio"`
	InputImage   int64 `json:"input_image"`
	Output       int64 `json:"output"`
	OutputAudio  int64 `json:"output_audio"`
}

// Tokens is what an answer of format f can tell of u, in disjoint classes.
func (u Usage) Tokens(f Format) Tokens {
	switch f {
	case Chat:
		return Tokens{
			Input:      u.Input - u.CacheRead - u.cacheWrites() - u.InputAudio - u.InputImage,
			CacheRead:  u.CacheRead,
			CacheWrite: u.cacheWrites(),
			InputAudio: u.InputAudio, InputImage: u.InputImage,
			Output: u.Output - u.OutputAudio, OutputAudio: u.OutputAudio,
		}
	case Responses:
		return Tokens{Input: u.Input - u.CacheRead - u.cacheWrites(), CacheRead: u.CacheRead, CacheWrite: u.cacheWrites(), Output: u.Output}
	case Embeddings:
		return Tokens{Input: u.Input}
	case Messages:
		return Tokens{
			Input:     u.Input - u.CacheRead - u.cacheWrites(),
			CacheRead: u.CacheRead, CacheWrite5m: u.CacheWrite5m, CacheWrite1h: u.CacheWrite1h, CacheWrite: u.CacheWrite,
			Output: u.Output,
		}
	}
	return Tokens{}
}

// Total is the sum of all classes.
func (t Tokens) Total() int64 {
	return t.Input + t.CacheRead + t.CacheWrite5m + t.CacheWrite1h + t.CacheWrite + t.InputAudio + t.InputImage + t.Output + t.OutputAudio
}

// add adds sign times o.
func (t *Tokens) add(o Tokens, sign int64) {
	t.Input += sign * o.Input
	t.CacheRead += sign * o.CacheRead
	t.CacheWrite5m += sign * o.CacheWrite5m
	t.CacheWrite1h += sign * o.CacheWrite1h
	t.CacheWrite += sign * o.CacheWrite
	t.InputAudio += sign * o.InputAudio
	t.InputImage += sign * o.InputImage
	t.Output += sign * o.Output
	t.OutputAudio += sign * o.OutputAudio
}
