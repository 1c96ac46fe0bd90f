package simulate

import "fmt"

// Format is the wire format of a call.
type Format uint8

const (
	Passthrough Format = iota // anything that is none of the others
	Chat                      // POST …/chat/completions
	Responses                 // POST …/responses
	Embeddings                // POST …/embeddings
	Messages                  // POST …/messages (Anthropic)
	formats                   // how many there are
)

var formatNames = [formats]string{"passthrough", "openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages"}

var formatPaths = [formats]string{"/files", "/chat/completions", "/responses", "/embeddings", "/messages"}

// String is the format's name as used in events: openai.chat, openai.responses,
// openai.embeddings, anthropic.messages, passthrough.
func (f Format) String() string {
	if f < formats {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// MarshalText writes the format's name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a format's name.
func (f *Format) UnmarshalText(text []byte) error {
	for i, name := range formatNames {
		if name == string(text) {
			*f = Format(i)
			return nil
		}
	}
	return fmt.Errorf("unknown wire format %q", text)
}

// hasUsage reports whether answers of this format carry a usage object.
func (f Format) hasUsage() bool { return f != Passthrough }
