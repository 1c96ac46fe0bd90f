package wire

import (
	"bytes"
	"unsafe"
)

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// chatBody reads a chat completion, a chunk of one, and an embeddings answer:
// https://platform.openai.com/docs/api-reference/chat/object
func chatBody(body string, a *Answer) {
	members(body, func(key, v string) bool {
		switch key {
		case "model":
			set(&a.Model, v)
		case "service_tier":
			set(&a.Tier, v)
		case "usage":
			a.final = a.usage(v)
		case "choices":
			elements(v, func(choice string) bool {
				set(&a.Finish, member(choice, "finish_reason"))
				return len(a.Finish) == 0
			})
		}
		return true
	})
}

// chatEvent reads a chunk. The usage of a stream that was asked for it is in a
// chunk of its own without choices, before [DONE]; some providers put a
// running usage into every chunk instead, and the last one counts.
func chatEvent(kind, data []byte, a *Answer) mark {
	switch {
	case string(data) == "[DONE]":
		if len(a.last) > 0 {
			a.final = true
		}
		return terminal
	case string(kind) == "error" || bytes.HasPrefix(data, bytesOf(`{"error":`)):
		a.Failed = true
		return terminal
	case a.Events > 1:
		if alike(a.dull, data) {
			return 0
		}
		if !has(data, `"usage":`) && !has(data, `"finish_reason":`) {
			if len(data) <= maxDull {
				a.dull = append(a.dull[:0], data...)
			}
			return 0
		}
	}
	var m mark
	told := false
	choices := -1
	members(String(data), func(key, v string) bool {
		switch key {
		case "model":
			set(&a.Model, v)
		case "service_tier":
			set(&a.Tier, v)
		case "usage":
			told = a.usage(v)
		case "choices":
			choices = 0
			elements(v, func(choice string) bool {
				choices++
				set(&a.Finish, member(choice, "finish_reason"))
				return true
			})
		}
		return true
	})
	if told && choices == 0 {
		a.final = true
		m |= usageOnly
	}
	return m
}

// responseObject reads a response:
// https://platform.openai.com/docs/api-reference/responses/object
func responseObject(body string, a *Answer) {
	members(body, func(key, v string) bool {
		switch key {
		case "model":
			set(&a.Model, v)
		case "service_tier":
			set(&a.Tier, v)
		case "status":
			set(&a.Finish, v)
		case "usage":
			a.final = a.usage(v)
		}
		return true
	})
}

// responsesEvent reads an event of a response's stream. Only the first and
// the last carry what is needed.
func responsesEvent(kind, data []byte, a *Answer) mark {
	if len(kind) == 0 {
		kind = bytesOf(str(member(String(data), "type")))
	}
	switch string(kind) {
	case "response.created":
		response(data, a)
		a.Finish = a.Finish[:0]
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		response(data, a)
		a.Failed = string(kind) == "response.failed"
		return terminal
	case "error":
		a.Failed = true
		return terminal
	}
	return 0
}

func response(data []byte, a *Answer) {
	responseObject(member(String(data), "response"), a)
}
