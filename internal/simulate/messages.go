package simulate

import "strconv"

// The messages of Anthropic, https://docs.anthropic.com/en/api/messages-streaming
//
// Events of a stream: message_start (with the input part of the usage and an
// output of 1), content_block_start, ping, the parts as content_block_delta,
// content_block_stop, message_delta (with the whole usage), message_stop.

const messagesBefore, messagesAfter = 3, 3

func (c *call) appendMessage(dst []byte, done bool) []byte {
	dst = append(append(dst, `{"model":"`...), c.model...)
	dst = append(append(dst, `","id":"msg_`...), c.id[:]...)
	dst = append(dst, `","type":"message","role":"assistant","content":[`...)
	if done {
		dst = appendProse(append(dst, `{"type":"text","text":"`...), 0, c.answerBytes)
		dst = append(dst, `"}],"stop_reason":"end_turn"`...)
	} else {
		dst = append(dst, `],"stop_reason":null`...)
	}
	dst = append(dst, `,"stop_sequence":null`...)
	if !c.says(saysOmitUsage) {
		dst = c.appendMessageInput(append(dst, `,"usage":{`...))
		if c.usage.CacheWrite == 0 || c.usage.CacheWrite5m+c.usage.CacheWrite1h > 0 {
			dst = strconv.AppendInt(append(dst, `,"cache_creation":{"ephemeral_5m_input_tokens":`...), c.usage.CacheWrite5m, 10)
			dst = strconv.AppendInt(append(dst, `,"ephemeral_1h_input_tokens":`...), c.usage.CacheWrite1h, 10)
			dst = append(dst, '}')
		}
		if done {
			dst = c.appendMessageOutput(dst)
		} else {
			dst = strconv.AppendInt(append(dst, `,"output_tokens":`...), firstOutput(c.usage), 10)
		}
		dst = append(append(append(dst, `,"service_tier":"`...), c.tier...), `"}`...)
	}
	return append(dst, '}')
}

// firstOutput is what message_start says of the output.
func firstOutput(u Usage) int64 { return min(u.Output, 1) }

func (c *call) appendMessageInput(dst []byte) []byte {
	u := &c.usage
	dst = strconv.AppendInt(append(dst, `"input_tokens":`...), u.Input-u.CacheRead-u.cacheWrites(), 10)
	dst = strconv.AppendInt(append(dst, `,"cache_creation_input_tokens":`...), u.cacheWrites(), 10)
	return strconv.AppendInt(append(dst, `,"cache_read_input_tokens":`...), u.CacheRead, 10)
}

func (c *call) appendMessageOutput(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"output_tokens":`...), c.usage.Output, 10)
	if c.usage.Reasoning > 0 {
		dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"thinking_tokens":`...), c.usage.Reasoning, 10)
		dst = append(dst, '}')
	}
	return dst
}

func (c *call) messageEvents() int { return messagesBefore + c.chunks + messagesAfter }

func (c *call) appendMessageEvent(dst []byte, k int) []byte {
	after := k - messagesBefore - c.chunks
	switch {
	case k == 0:
		dst = append(dst, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
		dst = append(c.appendMessage(dst, false), '}')
	case k == 1:
		dst = append(dst, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"...)
	case k == 2:
		dst = append(dst, "event: ping\ndata: {\"type\":\"ping\"}"...)
	case after < 0:
		dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""...)
		dst = append(c.appendPart(dst, k-messagesBefore), `"}}`...)
	case after == 0:
		dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}"...)
	case after == 1:
		dst = append(dst, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}"...)
		if !c.says(saysOmitUsage) {
			dst = c.appendMessageOutput(c.appendMessageInput(append(dst, `,"usage":{`...)))
			dst = append(dst, '}')
		}
		dst = append(dst, '}')
	default:
		dst = append(dst, "event: message_stop\ndata: {\"type\":\"message_stop\"}"...)
	}
	return append(dst, "\n\n"...)
}
