// Package usage reads a provider's usage object, as received, into disjoint
// token classes. The proxy uses it for budgets and ingest for money: there is
// one reading, so a mistake in it is put right in one place and by deriving
// again.
//
// The rules, with where they come from:
//
//   - OpenAI (chat completions, responses, embeddings) counts cache reads,
//     cache writes, audio and images inside the input total, audio and reasoning
//     inside the output total. What is left of a total is the class "input" or
//     "output". Writes are told, and billed, from GPT-5.6 on; their time to live
//     is not told.
//   - Anthropic's input_tokens excludes cache reads and cache writes. The total
//     of the writes is authoritative, cache_creation splits it by time to live;
//     what the split leaves is "cache_write".
//   - Several objects of one stream come as a JSON array. Their counts are
//     cumulative: a later object overrides what it tells, null tells nothing.
//   - Reasoning stays inside output. Where a provider counts it beside the output
//     (xAI, Gemini's OpenAI-compatible endpoint), the total proves it:
//     total = input + output + reasoning. It is then put inside.
//   - Explicit zero is a fact and a line of 0 tokens. What is not told is no line.
//   - A usage that contradicts itself gives lines that are never negative, with
//     Inconsistent set; for OpenAI they never exceed the totals.
//   - Anthropic's usage.iterations can list work that is billed and in no total
//     (a compaction, an advisor, another model that stepped in): Inconsistent.
//
// Not read: output images inside OpenAI's output total (they stay in "output"),
// and price bands per iteration.
package usage

import (
	"errors"
	"fmt"
)

// Class is a class of tokens that a price book may price. The classes of one
// usage are disjoint: no token is in two of them.
type Class string

const (
	Input        Class = "input" // neither cached nor written nor audio nor image
	CacheRead    Class = "cache_read"
	CacheWrite5m Class = "cache_write_5m"
	CacheWrite1h Class = "cache_write_1h"
	CacheWrite   Class = "cache_write" // time to live not told
	InputAudio   Class = "input_audio"
	InputImage   Class = "input_image"
	Output       Class = "output" // reasoning included
	OutputAudio  Class = "output_audio"
)

// classes are the classes in their order.
var classes = [...]Class{Input, CacheRead, CacheWrite5m, CacheWrite1h, CacheWrite, InputAudio, InputImage, Output, OutputAudio}

// Line is a number of tokens of one class; never negative.
type Line struct {
	Class  Class
	Tokens int64
}

// Counter is a billable quantity that is not tokens, such as
// "web_search_requests". It is reported so that it shows as unpriced instead
// of vanishing. A name is 1 to 64 of a-z, 0-9 and _, and never that of a class.
type Counter struct {
	Name  string
	Count int64
}

// Usage is what a provider said about one attempt.
type Usage struct {
	Lines        []Line    // in the order of the constants; no class twice
	Counters     []Counter // quantities above 0, in the order received
	Reasoning    int64     // inside output; -1 when not told
	Input        int64     // total input with cache, audio and image, for price bands; -1 when not told
	Output       int64     // total output with reasoning and audio; -1 when not told
	Total        int64     // as the provider said; -1 when not told
	Tier         string    // Anthropic: service_tier, or speed when it is not "standard"; OpenAI tells it outside usage
	Geo          string    // Anthropic: inference_geo
	Inconsistent string    // why the lines are not the whole truth; "" when they are. A fixed text without values
}

var (
	// ErrMissing says that no count was told: null, {} or none we know.
	ErrMissing = errors.New("usage missing")
	// ErrInvalid says that the bytes are not a usage object, or that a count
	// in it is not a whole number from 0 to MaxTokens.
	ErrInvalid = errors.New("usage invalid")
	// ErrFormat says that the wire format has no usage object.
	ErrFormat = errors.New("wire format without usage")
)

// MaxTokens is the largest count that is believed, 2^53 - 1: what every JSON
// implementation can carry exactly.
const MaxTokens = 1<<53 - 1

// Parse reads the usage of one attempt. Format is the wire format's name; raw
// is the provider's object, or an array of the objects of one stream.
// It fails with ErrMissing, ErrInvalid or ErrFormat; a usage that contradicts
// itself is no error but has Inconsistent set.
func Parse(format string, raw []byte) (Usage, error) {
	switch format {
	case openaiChat, openaiResponses, openaiEmbeddings, anthropicMessages:
	default:
		return Usage{}, fmt.Errorf("parse usage of %q: %w", format, ErrFormat)
	}
	var t told
	if err := t.read(format, raw); err != nil {
		return Usage{}, fmt.Errorf("parse usage of %s: %w", format, err)
	}
	if format == anthropicMessages {
		return t.anthropic(), nil
	}
	return t.openai(format == openaiEmbeddings), nil
}

// The wire formats that have a usage object.
const (
	openaiChat        = "openai.chat"
	openaiResponses   = "openai.responses"
	openaiEmbeddings  = "openai.embeddings"
	anthropicMessages = "anthropic.messages"
)
