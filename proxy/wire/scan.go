package wire

import (
	"strings"

	"github.com/tidwall/gjson"
)

// Answers are read by their top level alone, and most of an answer is one long
// string: members and elements jump over strings with IndexByte instead of
// looking at each byte. They check brackets and quotes and nothing else; an
// answer that is not JSON tells nothing, or what could be read of it.

// members calls each with the members of a JSON object until it returns false.
// The name is as written between the quotation marks, the value is raw. It
// reports whether text is one whole object, with nothing behind it.
func members(text string, each func(name, value string) bool) (whole bool) {
	i := blank(text, 0)
	if i >= len(text) || text[i] != '{' {
		return false
	}
	if i = blank(text, i+1); i < len(text) && text[i] == '}' {
		return blank(text, i+1) == len(text)
	}
	for ; i < len(text) && text[i] == '"'; i = blank(text, i+1) {
		end := skip(text, i)
		if end < 0 {
			return false
		}
		name := text[i+1 : end-1]
		if i = blank(text, end); i >= len(text) || text[i] != ':' {
			return false
		}
		i = blank(text, i+1)
		if end = skip(text, i); end < 0 || !each(name, text[i:end]) {
			return false
		}
		if i = blank(text, end); i >= len(text) || text[i] != ',' {
			return i < len(text) && text[i] == '}' && blank(text, i+1) == len(text)
		}
	}
	return false
}

// elements calls each with the elements of a JSON array until it returns false.
func elements(text string, each func(value string) bool) {
	i := blank(text, 0)
	if i >= len(text) || text[i] != '[' {
		return
	}
	for i = blank(text, i+1); i < len(text) && text[i] != ']'; i = blank(text, i+1) {
		end := skip(text, i)
		if end < 0 || !each(text[i:end]) {
			return
		}
		if i = blank(text, end); i >= len(text) || text[i] != ',' {
			return
		}
	}
}

func blank(text string, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

// skip is the end of the value at i, or -1 when it has none.
func skip(text string, i int) int {
	depth := 0
	for start := i; i < len(text); {
		switch text[i] {
		case '"':
			for i++; ; i++ {
				n := strings.IndexByte(text[i:], '"')
				if n < 0 {
					return -1
				}
				i += n
				slashes := 0
				for text[i-1-slashes] == '\\' {
					slashes++
				}
				if slashes%2 == 0 {
					break
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				if i == start {
					return -1
				}
				return i
			}
			depth--
			i++
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				if i == start {
					return -1
				}
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		if depth == 0 {
			return i
		}
	}
	if depth > 0 {
		return -1
	}
	return i
}

// member is the raw value of a member of an object, or "".
func member(text, name string) (value string) {
	members(text, func(n, v string) bool {
		if n == name {
			value = v
			return false
		}
		return true
	})
	return value
}

// str is the text of a raw JSON string, or "" for anything else.
func str(raw string) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if s := raw[1 : len(raw)-1]; strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return gjson.Parse(raw).Str
}

func isObject(raw string) bool { return len(raw) > 1 && raw[0] == '{' }
