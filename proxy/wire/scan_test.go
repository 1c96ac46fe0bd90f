package wire

import (
	"testing"

	"github.com/tidwall/gjson"
)

// FuzzMembers compares the scanner with gjson on every valid object: the same members, the same raw values.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { "a" : 1 , "b":[{"c":"}\"]"}] ,"d":null}`, `{"a\"b":"\\","c":"\\\""}`, `{"usage":{"x":{"y":[1,2,{}]}},"e":true}`,
		`{"a":"unterminated`, `{"a":[1,2`, `{"a"1}`, `{"a":}`, `{,}`, `{"a":1,}`, `["x"]`, "", `{"a":"\\\\\"","b":-1.5e9}`,
	} {
		f.Add(s)
	}
	type pair struct{ name, value string }
	f.Fuzz(func(t *testing.T, text string) {
		var got []pair
		whole := members(text, func(name, value string) bool {
			got = append(got, pair{name, value})
			return true
		})
		elements(text, func(string) bool { return true })
		if !gjson.Valid(text) || !gjson.Parse(text).IsObject() {
			return // it must only not fail
		}
		if !whole {
			t.Fatalf("%q is an object", text)
		}
		var want []pair
		gjson.Parse(text).ForEach(func(key, v gjson.Result) bool {
			want = append(want, pair{key.Raw[1 : len(key.Raw)-1], v.Raw})
			return true
		})
		if len(got) != len(want) {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: member %d is %q, want %q", text, i, got[i], want[i])
			}
		}
	})
}
