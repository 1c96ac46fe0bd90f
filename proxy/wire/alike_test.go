package wire

import (
	"testing"

	"github.com/tidwall/gjson"
)

// A chunk that is taken for dull by comparison tells nothing: whatever two
// chunks come, neither a usage nor a finish reason is overlooked.
func FuzzAlike(f *testing.F) {
	for _, c := range [][2]string{
		{`{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}`, `{"choices":[{"delta":{"content":"bcd"},"finish_reason":null}],"usage":null}`},
		{`{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}`, `{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":null}`},
		{`{"choices":[],"x":"\n","usage":null}`, `{"choices":[],"x":"\","usage":{"a":1},"y":"","usage":null}`},
		{`{"x":"a\\","y":",\"usage\":{\"a\":1}"}`, `{"x":"a","y":",\"usage\":{\"a\":1}"}`},
		{`{"usagE":{"a":1}}`, `{"usage" :{"a":1}}`},
		{`{"Choices":[{"finish_reason":"stop"}]}`, `{"choices":[{"finish_reason":"stop"}]}`},
		{`{"x":"\n","usage":"}`, `{"x":"\","usage":"}`},
	} {
		f.Add([]byte(c[0]), []byte(c[1]))
	}
	f.Fuzz(func(t *testing.T, dull, chunk []byte) {
		tells := func(b []byte) bool {
			v := gjson.ParseBytes(b)
			found := len(v.Get("usage").Map()) > 0
			v.Get("choices").ForEach(func(_, choice gjson.Result) bool {
				found = found || choice.Get("finish_reason").Type == gjson.String
				return true
			})
			return found
		}
		if !gjson.ValidBytes(dull) || !gjson.ValidBytes(chunk) || tells(dull) {
			return
		}
		if alike(dull, chunk) && tells(chunk) {
			t.Errorf("%s passes for as dull as %s", chunk, dull)
		}
	})
}

func TestAlike(t *testing.T) {
	const a, b = `{"id":"c1","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}],"usage":null}`, `{"id":"c1","choices":[{"index":0,"delta":{"content":"\n another"},"finish_reason":null}],"usage":null}`
	if !alike([]byte(a), []byte(b)) || !alike([]byte(b), []byte(a)) || !alike([]byte(a), []byte(a)) {
		t.Error("chunks that differ in their content only are not alike")
	}
}
