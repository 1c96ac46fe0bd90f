package simulate

import "strconv"

// The chat completions of OpenAI, https://platform.openai.com/docs/api-reference/chat
//
// Events of a stream: the role, the parts of the content, the finish reason,
// the usage if include_usage was asked for, [DONE].

func (c *call) appendChat(dst []byte) []byte {
	dst = c.appendChatStart(dst, `","object":"chat.completion","created":`)
	dst = append(dst, `,"choices":[{"index":0,"message":{"role":"assistant","content":"`...)
	dst = appendProse(dst, 0, c.answerBytes)
	dst = append(dst, `","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}]`...)
	if !c.says(saysOmitUsage) {
		dst = c.appendChatUsage(append(dst, `,"usage":`...))
	}
	return append(c.appendTier(dst), `,"system_fingerprint":"fp_simulated"}`...)
}

func (c *call) appendChatStart(dst []byte, object string) []byte {
	dst = append(append(dst, `{"id":"chatcmpl-`...), c.id[:]...)
	dst = strconv.AppendInt(append(dst, object...), c.created.Unix(), 10)
	dst = append(append(dst, `,"model":"`...), c.model...)
	return append(dst, '"')
}

func (c *call) appendTier(dst []byte) []byte {
	dst = append(append(dst, `,"service_tier":"`...), c.tier...)
	return append(dst, '"')
}

func (c *call) appendChatUsage(dst []byte) []byte {
	u := &c.usage
	dst = strconv.AppendInt(append(dst, `{"prompt_tokens":`...), u.Input, 10)
	dst = strconv.AppendInt(append(dst, `,"completion_tokens":`...), u.Output, 10)
	dst = strconv.AppendInt(append(dst, `,"total_tokens":`...), u.Input+u.Output, 10)
	dst = strconv.AppendInt(append(dst, `,"prompt_tokens_details":{"cached_tokens":`...), u.CacheRead, 10)
	dst = strconv.AppendInt(append(dst, `,"cache_write_tokens":`...), u.cacheWrites(), 10)
	dst = strconv.AppendInt(append(dst, `,"audio_tokens":`...), u.InputAudio, 10)
	if u.InputImage > 0 {
		dst = strconv.AppendInt(append(dst, `,"image_tokens":`...), u.InputImage, 10)
	}
	dst = strconv.AppendInt(append(dst, `},"completion_tokens_details":{"reasoning_tokens":`...), u.Reasoning, 10)
	dst = strconv.AppendInt(append(dst, `,"audio_tokens":`...), u.OutputAudio, 10)
	return append(dst, `,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

// chatUsageAsked reports whether the stream has an event with the usage.
func (c *call) chatUsageAsked() bool { return c.includeUsage && !c.says(saysOmitUsage) }

func (c *call) chatEvents() int {
	if c.chatUsageAsked() {
		return c.chunks + 4
	}
	return c.chunks + 3
}

func (c *call) appendChatEvent(dst []byte, k int) []byte {
	if k == c.chatEvents()-1 {
		return append(dst, "data: [DONE]\n\n"...)
	}
	dst = c.appendChatStart(append(dst, "data: "...), `","object":"chat.completion.chunk","created":`)
	dst = append(c.appendTier(dst), `,"system_fingerprint":"fp_simulated"`...)
	switch {
	case k == 0:
		dst = append(dst, `,"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]`...)
	case k <= c.chunks:
		dst = append(dst, `,"choices":[{"index":0,"delta":{"content":"`...)
		dst = c.appendPart(dst, k-1)
		dst = append(dst, `"},"logprobs":null,"finish_reason":null}]`...)
	case k == c.chunks+1:
		dst = append(dst, `,"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`...)
	default:
		dst = c.appendChatUsage(append(dst, `,"choices":[],"usage":`...))
		return append(dst, "}\n\n"...)
	}
	if c.chatUsageAsked() {
		dst = append(dst, `,"usage":null`...)
	}
	return append(dst, "}\n\n"...)
}
