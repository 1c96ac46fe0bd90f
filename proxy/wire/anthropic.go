package wire

// messageBody reads a message: https://docs.anthropic.com/en/api/messages
func messageBody(body string, a *Answer) {
	members(body, func(key, v string) bool {
		switch key {
		case "model":
			set(&a.Model, v)
		case "stop_reason":
			set(&a.Finish, v)
		case "usage":
			if a.final = a.usage(v); a.final {
				set(&a.Tier, member(v, "service_tier"))
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
		kind = bytesOf(str(member(String(data), "type")))
	}
	switch string(kind) {
	case "message_start":
		if m := member(String(data), "message"); isObject(m) {
			messageBody(m, a)
			a.first = append(a.first[:0], a.last...)
			a.last, a.final = a.last[:0], false
		}
	case "message_delta":
		members(String(data), func(key, v string) bool {
			switch key {
			case "delta":
				set(&a.Finish, member(v, "stop_reason"))
			case "usage":
				if a.usage(v) {
					set(&a.Tier, member(v, "service_tier"))
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
