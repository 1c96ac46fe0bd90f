package simulate

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Whatever encoding/json takes for an object has the same members here.
func FuzzScanObject(f *testing.F) {
	for _, seed := range []string{chatBody, `{}`, `{"a":[{"b":"}\\\""},[]],"c":-1e5,"d":null}`, ` { "a" : true } `, `{"a":"\\"}`, `{"a":1,}`, `[`, `{"a":"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string][]byte{}
		ok := scanObject(b, func(name, value []byte) {
			var s string
			if json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &s) == nil {
				got[s] = value
			}
			scanArray(value)
		})
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			return
		}
		if !ok || len(got) != len(want) {
			t.Fatalf("%q: %v %q, want %q", b, ok, got, want)
		}
		for name, value := range want {
			if !bytes.Equal(got[name], value) {
				t.Errorf("%q: %q is %q, want %q", b, name, got[name], value)
			}
		}
	})
}
