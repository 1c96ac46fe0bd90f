package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// Whatever the bytes: no panic, no error but ErrInvalid; what decodes is valid
// JSON, can be written again, and then decodes to the same event.
func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		e, err := Decode(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("Decode wrote to its input")
		}
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatal("accepted, and encoding/json says it is not JSON")
		}
		again, err := e.Append(nil)
		if err != nil {
			t.Fatalf("accepted, and cannot be written: %v", err)
		}
		if len(again) > len(raw) {
			t.Fatalf("%d bytes as it came, %d in canonical form", len(raw), len(again))
		}
		e2, err := Decode(again)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		if !equal(e, e2) {
			t.Fatalf("got %+v\nwant %+v", e2, e)
		}
		if third := canonical(t, e2); !bytes.Equal(third, again) {
			t.Fatalf("two encodings of one event:\n%s\n%s", again, third)
		}
	})
}

// equal compares events; an empty list and none are the same (SPEC E8).
func equal(a, b *Event) bool {
	for _, e := range []*Event{a, b} {
		if r := e.Request; r != nil {
			if len(r.Sources) == 0 {
				r.Sources = nil
			}
			if len(r.Attempts) == 0 {
				r.Attempts = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// Whatever a caller puts into an event: it is refused, or it is written as
// valid JSON that decodes to the same event.
func FuzzAppend(f *testing.F) {
	f.Add("stop", "why \" \\ \x00 \u2028 é 😀", `{"prompt_tokens":1}`, int64(1), 200, 0, uint64(1))
	f.Add("a\xff", "\xed\xa0\xbd", "\xf4\x90\x80\x80", int64(-1), 1000, 1, uint64(0))
	f.Add("", "", "", int64(1)<<62, -1, -1, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, finish, why, usage string, size int64, status, served int, seq uint64) {
		e := change(func(e *Event, r *Request) {
			e.Seq = seq
			r.Outcome.Finish, r.Decision.Why, r.Attempts[0].UsageRaw = finish, why, usage
			r.Call.BodyBytes, r.Outcome.Status, r.Outcome.Served = size, status, served
		})
		prefix := []byte("kept")
		out, err := e.Append(prefix)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || string(out) != "kept" {
				t.Fatalf("refused with %q, %v", out, err)
			}
			return
		}
		got, err := Decode(out[len("kept"):])
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got, e) || !json.Valid(out[len("kept"):]) {
			t.Fatalf("got %+v\nwant %+v", got, e)
		}
	})
}

// What decodes as an intent is exactly what AppendIntent writes.
func FuzzIntent(f *testing.F) {
	raw := AppendIntent(nil, sampleIntent())
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Add(append(bytes.Clone(raw), 0))
	for i, b := range map[int]byte{0: 2, 7: 0x40, 17: 0x80, 65: 2, 66: 1, 67: 0xff} {
		near := bytes.Clone(raw)
		near[i] = b
		f.Add(near)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := DecodeIntent(raw)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if again := AppendIntent(nil, in); !bytes.Equal(again, raw) {
			t.Fatalf("got  %x\nwant %x", again, raw)
		}
	})
}
