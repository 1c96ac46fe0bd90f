package wire

import "github.com/tidwall/gjson"

// messageBody reads a message: https://docs.anthropic.com/en/api/messages
func messageBody(body string, a *Answer) {
	gjson.Parse(body).ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "model":
			set(&a.Model, v)
		case "stop_reason":
			set(&a.Finish, v)
		case "usage":
			if a.final = a.usage(v); a.final {
				set(&a.Tier, v.Get("service_tier"))
			}
		}
		return true
	})
}

// messagesEvent reads an event of a message's stream: the input is told at its
// start and the output, cumulative, with message_delta, so both are kept:
// https://docs.anthropic.com/en/docs/build-with-claude/streaming
func messagesEvent(kind, data []byte, a *Answer) mark {
	if len(kind) == 0 {
		kind = bytesOf(gjson.Get(String(data), "type").Str)
	}
	switch string(kind) {
	case "message_start":
		if m := gjson.Get(String(data), "message"); m.IsObject() {
			messageBody(m.Raw, a)
			a.first = append(a.first[:0], a.last...)
			a.last, a.final = a.last[:0], false
		}
	case "message_delta":
		gjson.Parse(String(data)).ForEach(func(key, v gjson.Result) bool {
			switch key.Str {
			case "delta":
				set(&a.Finish, v.Get("stop_reason"))
			case "usage":
				if a.usage(v) {
					set(&a.Tier, v.Get("service_tier"))
				}
			}
			return true
		})
		a.final = len(a.last) > 0 && len(a.Finish) > 0
	case "message_stop":
		a.final = len(a.last) > 0
		return terminal
	case "error":
		a.Failed = true
		return terminal
	}
	return 0
}
