package simulate

import "encoding/json"

// appendError appends the body of an error, in the provider's shape.
func (c *call) appendError(dst []byte) []byte {
	if c.anthropic {
		return c.appendAnthropicError(dst, anthropicErrorType(c.status), c.message)
	}
	kind, code := openAIErrorType(c.status)
	return appendOpenAIError(dst, kind, code, c.message)
}

func (c *call) appendAnthropicError(dst []byte, kind, message string) []byte {
	dst = append(append(dst, `{"type":"error","error":{"type":"`...), kind...)
	dst = append(append(dst, `","message":`...), quoted(message)...)
	dst = append(append(dst, `},"request_id":"req_`...), c.id[:]...)
	return append(dst, `"}`...)
}

func appendOpenAIError(dst []byte, kind, code, message string) []byte {
	dst = append(append(dst, `{"error":{"message":`...), quoted(message)...)
	dst = append(append(dst, `,"type":"`...), kind...)
	dst = append(dst, `","param":null,"code":`...)
	if code == "" {
		return append(dst, `null}}`...)
	}
	return append(append(append(dst, '"'), code...), `"}}`...)
}

func anthropicErrorType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 504:
		return "timeout_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func openAIErrorType(status int) (kind, code string) {
	switch status {
	case 401:
		return "invalid_request_error", "invalid_api_key"
	case 429:
		return "requests", "rate_limit_exceeded"
	}
	if status >= 500 {
		return "server_error", ""
	}
	return "invalid_request_error", ""
}

// faultMessage is what the provider says to a status it was told to answer.
func faultMessage(status int) string {
	switch {
	case status == 429:
		return "Rate limit reached (simulated). Please try again later."
	case status == 529:
		return "Overloaded"
	case status >= 500:
		return "The server had an error while processing your request (simulated). Sorry about that!"
	}
	return "The request was refused (simulated)."
}

// quoted is s as a JSON string.
func quoted(s string) []byte {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}
