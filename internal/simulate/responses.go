package simulate

import "strconv"

// The responses of OpenAI, https://platform.openai.com/docs/api-reference/responses
//
// Events of a stream: created, in_progress, output_item.added,
// content_part.added, the parts as output_text.delta, output_text.done,
// content_part.done, output_item.done, completed. The last is the terminal
// event and carries the usage.

const responsesBefore, responsesAfter = 4, 4 // events around the deltas; completed included

func (c *call) appendResponse(dst []byte, done bool) []byte {
	dst = append(append(dst, `{"id":"resp_`...), c.id[:]...)
	dst = strconv.AppendInt(append(dst, `","object":"response","created_at":`...), c.created.Unix(), 10)
	if done {
		dst = append(dst, `,"status":"completed"`...)
	} else {
		dst = append(dst, `,"status":"in_progress"`...)
	}
	dst = append(dst, `,"background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":"`...)
	dst = append(append(dst, c.model...), `","output":[`...)
	if done {
		dst = c.appendResponseItem(dst, true)
	}
	dst = append(dst, `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null}`...)
	dst = c.appendTier(dst)
	dst = append(dst, `,"store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":`...)
	if done && !c.says(saysOmitUsage) {
		dst = c.appendResponseUsage(dst)
	} else {
		dst = append(dst, "null"...)
	}
	return append(dst, `,"user":null,"metadata":{}}`...)
}

func (c *call) appendResponseItem(dst []byte, done bool) []byte {
	dst = append(append(dst, `{"id":"msg_`...), c.id[:]...)
	if !done {
		return append(dst, `","type":"message","status":"in_progress","content":[],"role":"assistant"}`...)
	}
	dst = c.appendResponsePart(append(dst, `","type":"message","status":"completed","content":[`...), true)
	return append(dst, `],"role":"assistant"}`...)
}

func (c *call) appendResponsePart(dst []byte, done bool) []byte {
	dst = append(dst, `{"type":"output_text","annotations":[],"logprobs":[],"text":"`...)
	if done {
		dst = appendProse(dst, 0, c.answerBytes)
	}
	return append(dst, `"}`...)
}

func (c *call) appendResponseUsage(dst []byte) []byte {
	u := &c.usage
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), u.Input, 10)
	dst = strconv.AppendInt(append(dst, `,"input_tokens_details":{"cached_tokens":`...), u.CacheRead, 10)
	dst = strconv.AppendInt(append(dst, `,"cache_write_tokens":`...), u.cacheWrites(), 10)
	dst = strconv.AppendInt(append(dst, `},"output_tokens":`...), u.Output, 10)
	dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"reasoning_tokens":`...), u.Reasoning, 10)
	dst = strconv.AppendInt(append(dst, `},"total_tokens":`...), u.Input+u.Output, 10)
	return append(dst, '}')
}

func (c *call) responseEvents() int { return responsesBefore + c.chunks + responsesAfter }

func (c *call) appendResponseEvent(dst []byte, k int) []byte {
	after := k - responsesBefore - c.chunks
	switch {
	case k == 0:
		dst = c.appendResponse(appendResponseEventStart(dst, "response.created", k, `,"response":`), false)
	case k == 1:
		dst = c.appendResponse(appendResponseEventStart(dst, "response.in_progress", k, `,"response":`), false)
	case k == 2:
		dst = c.appendResponseItem(appendResponseEventStart(dst, "response.output_item.added", k, `,"output_index":0,"item":`), false)
	case k == 3:
		dst = c.appendResponsePlace(appendResponseEventStart(dst, "response.content_part.added", k, ""))
		dst = c.appendResponsePart(append(dst, `,"part":`...), false)
	case after < 0:
		dst = c.appendResponsePlace(appendResponseEventStart(dst, "response.output_text.delta", k, ""))
		dst = c.appendPart(append(dst, `,"delta":"`...), k-responsesBefore)
		dst = append(dst, `","logprobs":[]`...)
	case after == 0:
		dst = c.appendResponsePlace(appendResponseEventStart(dst, "response.output_text.done", k, ""))
		dst = appendProse(append(dst, `,"text":"`...), 0, c.answerBytes)
		dst = append(dst, `","logprobs":[]`...)
	case after == 1:
		dst = c.appendResponsePlace(appendResponseEventStart(dst, "response.content_part.done", k, ""))
		dst = c.appendResponsePart(append(dst, `,"part":`...), true)
	case after == 2:
		dst = c.appendResponseItem(appendResponseEventStart(dst, "response.output_item.done", k, `,"output_index":0,"item":`), true)
	default:
		dst = c.appendResponse(appendResponseEventStart(dst, "response.completed", k, `,"response":`), true)
	}
	return append(dst, "}\n\n"...)
}

func appendResponseEventStart(dst []byte, name string, k int, next string) []byte {
	dst = append(append(dst, "event: "...), name...)
	dst = append(append(dst, "\ndata: {\"type\":\""...), name...)
	dst = strconv.AppendInt(append(dst, `","sequence_number":`...), int64(k), 10)
	return append(dst, next...)
}

func (c *call) appendResponsePlace(dst []byte) []byte {
	dst = append(append(dst, `,"item_id":"msg_`...), c.id[:]...)
	return append(dst, `","output_index":0,"content_index":0`...)
}
