package event

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sampleIntent() *Intent {
	t := Micros(1_790_000_000_123_456)
	in := &Intent{
		ID:    NewID(t),
		Time:  t,
		Call:  Call{Format: "openai.chat", Operation: "POST /v1/chat/completions", Stream: true, Model: "gpt-5-mini", BodyBytes: 1612, Workload: "interactive"},
		KeyID: "k7f3q9zt", Rule: "use case kyc-summary: first healthy endpoint", Endpoint: "openai-eu", Provider: "openai", Model: "gpt-5-mini-2025-08-07", RetentionClass: "standard",
		Attribution: Attribution{
			BusinessUnit: Dimension{Value: "retail", Provenance: FromKey},
			Team:         Dimension{Value: "risk", Provenance: FromKey, Conflict: "fraud"},
			Project:      Dimension{Value: "onboarding", Provenance: FromHeader},
			User:         Dimension{Value: "u_00f1e2d3c4b5a697", Provenance: FromJWT},
			Application:  Dimension{Provenance: Missing},
			UseCase:      Dimension{Value: "kyc-summary", Provenance: FromDefault},
		},
	}
	for i := range in.Governance {
		in.Governance[i] = byte(i * 7)
	}
	return in
}

// An intent survives the spool with everything a recovered event needs.
func TestIntentRoundTrip(t *testing.T) {
	in := sampleIntent()
	raw := AppendIntent([]byte("before"), in)[len("before"):]
	got, err := DecodeIntent(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, in) {
		t.Fatalf("got %+v\nwant %+v", got, in)
	}
	ev := got.Recovered("ledgerline/proxy-1")
	ev.Writer, ev.Seq = "proxy-1.4f2a", 1
	if _, err := ev.Append(nil); err != nil {
		t.Fatalf("the recovered event of an intent does not encode: %v", err)
	}
}

// However long the texts from outside are, an intent fits its room, and the
// event recovered from it can be written: nothing that was begun is lost.
func TestIntentOfHugeTextsStillRecovers(t *testing.T) {
	huge := strings.Repeat("\xffé€", 4000)
	in := &Intent{ID: NewID(1), Time: 1}
	for _, text := range in.texts() {
		*text.s = huge
	}
	raw := AppendIntent(nil, in)
	if len(raw) > MaxIntent {
		t.Fatalf("%d bytes, the limit is %d", len(raw), MaxIntent)
	}
	got, err := DecodeIntent(raw)
	if err != nil {
		t.Fatal(err)
	}
	ev := got.Recovered("ledgerline/proxy-1")
	ev.Writer, ev.Seq = "proxy-1.4f2a", 1
	if _, err := ev.Append(nil); err != nil {
		t.Fatal(err)
	}
}

func TestIntentRefusesDamage(t *testing.T) {
	raw := AppendIntent(nil, sampleIntent())
	for n := range raw {
		if _, err := DecodeIntent(raw[:n]); !errors.Is(err, ErrInvalid) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(raw), err)
		}
	}
	for name, damaged := range map[string][]byte{
		"one byte too many":    append(bytes.Clone(raw), 0),
		"another version":      with(raw, 0, 2),
		"id of no version 7":   with(raw, 7, 0x40),
		"time before 1970":     with(raw, 17, 0x80),
		"stream neither":       with(raw, intentFixed-1, 2),
		"not UTF-8":            with(raw, intentFixed+2, 0xff),
		"a text over its room": slices.Concat(raw[:intentFixed], []byte{0, 33}, bytes.Repeat([]byte("x"), 33), raw[intentFixed+2+len("openai.chat"):]),
	} {
		if _, err := DecodeIntent(damaged); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func with(raw []byte, i int, b byte) []byte {
	raw = bytes.Clone(raw)
	raw[i] = b
	return raw
}

func BenchmarkAppendIntent(b *testing.B) {
	in := sampleIntent()
	buf := make([]byte, 0, MaxIntent)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendIntent(buf[:0], in)
	}
}

func BenchmarkDecodeIntent(b *testing.B) {
	raw := AppendIntent(nil, sampleIntent())
	b.ReportAllocs()
	for b.Loop() {
		DecodeIntent(raw)
	}
}
