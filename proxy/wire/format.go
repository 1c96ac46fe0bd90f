// Package wire knows the wire formats of the providers: where a request names
// its model, where an answer tells its usage, and which event of a stream is
// its last. It reads single fields and never changes a byte, except where a
// function says so.
package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// Format is one wire format. Its functions read; they keep nothing of what
// they are given.
type Format struct {
	Name string // as in events: "openai.chat"
	Path string // of the operation below a provider's base: "/v1/chat/completions"; empty for passthrough

	body  func(body string, a *Answer)
	event func(kind, data []byte, a *Answer) mark
	err   func(dst []byte, e *Error) []byte
	user  func(name, v string) string // the user a member of the request names, or ""
}

// The formats.
var (
	Chat        = &Format{Name: "openai.chat", Path: "/v1/chat/completions", body: chatBody, event: chatEvent, err: openAIError, user: openAIUser}
	Responses   = &Format{Name: "openai.responses", Path: "/v1/responses", body: responseObject, event: responsesEvent, err: openAIError, user: openAIUser}
	Embeddings  = &Format{Name: "openai.embeddings", Path: "/v1/embeddings", body: chatBody, event: noEvent, err: openAIError, user: openAIUser}
	Messages    = &Format{Name: "anthropic.messages", Path: "/v1/messages", body: messageBody, event: messagesEvent, err: anthropicError, user: anthropicUser}
	Passthrough = &Format{Name: "passthrough", body: func(string, *Answer) {}, event: noEvent, err: eitherError}
)

// All is every format with a path of its own.
var All = [...]*Format{Chat, Responses, Embeddings, Messages}

// ByPath is the format of a path, or nil.
func ByPath(path []byte) *Format {
	for _, f := range All {
		if string(path) == f.Path {
			return f
		}
	}
	return nil
}

func noEvent(kind, data []byte, a *Answer) mark { return 0 }

// Request is what a request's body says. The texts alias the body.
type Request struct {
	Model        string
	User         string
	Stream       bool
	IncludeUsage bool  // the client itself asks for usage in a chat stream
	MaxOutput    int64 // tokens of output that it allows itself; 0: it does not say
}

// Mistakes of a request's body. They carry no value of it.
var (
	ErrNotJSON   = errors.New("the body is not a JSON object")
	ErrDuplicate = errors.New("a member of the body is there twice")
	ErrNoModel   = errors.New("the body does not name a model")
)

// Read reads a request's body, which must be one JSON object whose members of
// interest are there once: a second "model" would be read differently here
// and by the provider. Only the top level, and that brackets and strings end,
// is checked; what else is wrong inside a member is for the provider to say.
func (f *Format) Read(body []byte, r *Request) error {
	var seen uint8
	twice := false
	once := func(bit uint8) bool {
		twice = twice || seen&bit != 0
		seen |= bit
		return !twice
	}
	whole := members(String(body), func(name, v string) bool {
		if strings.IndexByte(name, '\\') >= 0 {
			name = gjson.Parse(`"` + name + `"`).Str // the same name in other letters
		}
		switch name {
		case "model":
			r.Model = str(v)
			return once(1)
		case "stream":
			r.Stream = v == "true"
			return once(2)
		case "stream_options":
			r.IncludeUsage = member(v, "include_usage") == "true"
			return once(4)
		case "max_tokens", "max_completion_tokens", "max_output_tokens":
			if n := gjson.Parse(v).Int(); n > r.MaxOutput {
				r.MaxOutput = n
			}
		case "user", "safety_identifier", "metadata":
			if u := f.user(name, v); u != "" {
				r.User = u
			}
		default:
			if len(name) == 5 && strings.EqualFold(name, "model") {
				return once(1) // providers written in Go take it for the model
			}
		}
		return true
	})
	switch {
	case twice:
		return ErrDuplicate
	case !whole:
		return ErrNotJSON
	case r.Model == "":
		return ErrNoModel
	}
	return nil
}

// OpenAI's safety_identifier replaces user; where both are there it is the
// last one that counts here.
func openAIUser(name, v string) string {
	if name == "metadata" {
		return ""
	}
	return str(v)
}

func anthropicUser(name, v string) string {
	if name != "metadata" {
		return ""
	}
	return str(member(v, "user_id"))
}

// ReadAnswer reads a whole answer's body.
func (f *Format) ReadAnswer(body []byte, a *Answer) { f.body(String(body), a) }

// Error is an error of our own for the client.
type Error struct {
	Status  int
	Code    string // "ledgerline_…"
	Message string // plain ASCII without quotation marks
	ID      string // of the event
}

// AppendError appends the body of an error in the provider's own shape.
func (f *Format) AppendError(dst []byte, e *Error) []byte { return f.err(dst, e) }

func openAIError(dst []byte, e *Error) []byte {
	kind := "invalid_request_error"
	switch {
	case e.Status == 401:
		kind = "authentication_error"
	case e.Status == 402:
		kind = "insufficient_quota"
	case e.Status == 403:
		kind = "permission_error"
	case e.Status == 429:
		kind = "rate_limit_error"
	case e.Status >= 500:
		kind = "server_error"
	}
	return fmt.Appendf(dst, `{"error":{"message":%q,"type":%q,"param":null,"code":%q}}`, e.Message, kind, e.Code)
}

// anthropicError has a member "code" that Anthropic's own errors lack.
func anthropicError(dst []byte, e *Error) []byte {
	kind := "invalid_request_error"
	switch {
	case e.Status == 401:
		kind = "authentication_error"
	case e.Status == 402:
		kind = "billing_error"
	case e.Status == 403:
		kind = "permission_error"
	case e.Status == 404:
		kind = "not_found_error"
	case e.Status == 413:
		kind = "request_too_large"
	case e.Status == 429:
		kind = "rate_limit_error"
	case e.Status == 504:
		kind = "timeout_error"
	case e.Status >= 500:
		kind = "api_error"
	}
	return fmt.Appendf(dst, `{"type":"error","error":{"type":%q,"message":%q,"code":%q},"request_id":%q}`, kind, e.Message, e.Code, e.ID)
}

// eitherError is read by the clients of both: for a request of which the format
// is not known, because it passes unread or could not be read.
func eitherError(dst []byte, e *Error) []byte {
	n := len(dst)
	dst = openAIError(dst, e)
	return slices.Insert(dst, n+1, []byte(`"type":"error",`)...)
}

// String is b as a text that shares its memory: it holds as long as b is not
// changed.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
