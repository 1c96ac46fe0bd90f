package event

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// typical is an event as most are: one call, one attempt, about 2 KB.
func typical() *Event {
	t := Micros(1_790_000_000_123_456)
	return &Event{
		ID: ID{0x01, 0xa0, 0xc4, 0x50, 0x6c, 0x7b, 0x70, 1, 0x80, 2, 3, 4, 5, 6, 7, 8}, Source: "ledgerline/proxy-1", Type: RequestCompleted, Time: t, Writer: "proxy-1.9f3a61c2", Seq: 184_467,
		Request: &Request{
			Call: Call{
				Format: "openai.chat", Operation: "POST /v1/chat/completions", Stream: true, Model: "gpt-5-mini", BodyBytes: 1612,
				BodyDigest: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
				TraceID:    "4bf92f3577b34da6a3ce929d0e0e4736", ParentID: "00f067aa0ba902b7", Workload: "interactive",
			},
			Caller: Caller{KeyID: "k7f3q9zt", UserRef: "u_00f1e2d3c4b5a697"},
			Attribution: Attribution{
				BusinessUnit: Dimension{Value: "retail", Provenance: FromKey},
				Team:         Dimension{Value: "risk", Provenance: FromKey, Conflict: "fraud"},
				Project:      Dimension{Value: "onboarding", Provenance: FromHeader},
				User:         Dimension{Value: "u_00f1e2d3c4b5a697", Provenance: FromHeader},
				Application:  Dimension{Value: "", Provenance: Missing},
				UseCase:      Dimension{Value: "kyc-summary", Provenance: FromKey},
			},
			Sources:  []Source{{Namespace: "postgres://crm:5432", Name: "public.customers", Version: "2026-09-21", Role: "context", Evidence: "declared"}},
			Coverage: "declared",
			Decision: Decision{
				Rule: "use-case kyc-summary", Why: "kyc-summary may use openai-eu and azure-eu; openai-eu is healthy and first.",
				Governance: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", Commit: "9b1c2d3e4f5061728394a5b6c7d8e9f001122334",
			},
			Attempts: []Attempt{{
				Endpoint: "openai-eu", Provider: "openai", Region: "eu", ModelRequested: "gpt-5-mini", ModelServed: "gpt-5-mini-2025-08-07", Status: 200,
				Start: t + 120, FirstByte: t + 412_345, End: t + 2_345_678, ProviderID: "req_0a1b2c3d4e5f60718293a4b5c6d7e8f9", Tier: "default",
				UsageRaw:    `{"prompt_tokens":374,"completion_tokens":44,"total_tokens":418,"prompt_tokens_details":{"cached_tokens":128,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
				UsageSource: UsageProvider, Chunks: 47, Bytes: 9812,
			}},
			Outcome: Outcome{
				Status: 200, Finish: "stop", Latency: 2_345_900, FirstByte: 412_600, Client: "completed", Upstream: "completed", AnswerBytes: 9812,
				AnswerDigest: "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9",
			},
			Capture: "none", RetentionClass: "standard",
		},
	}
}

// canonical is the encoding of an event that must encode.
func canonical(t testing.TB, e *Event) []byte {
	t.Helper()
	raw, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	e := typical()
	raw := canonical(t, e)
	got, err := Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, e) {
		t.Fatalf("got %+v\nwant %+v", got.Request, e.Request)
	}
	if again := canonical(t, got); !bytes.Equal(again, raw) {
		t.Fatalf("got  %s\nwant %s", again, raw)
	}
}

// Append refuses, and leaves what was before, where a reader would refuse.
func TestAppendRefuses(t *testing.T) {
	for name, spoil := range map[string]func(e *Event, r *Request){
		"no id":                 func(e *Event, r *Request) { e.ID = ID{} },
		"id of another time":    func(e *Event, r *Request) { e.Time += 1000 },
		"id of another version": func(e *Event, r *Request) { e.ID[6] = 0x40 },
		"no writer":             func(e *Event, r *Request) { e.Writer = "" },
		"no seq":                func(e *Event, r *Request) { e.Seq = 0 },
		"no type":               func(e *Event, r *Request) { e.Type = "" },
		"no data":               func(e *Event, r *Request) { e.Request = nil },
		"two kinds of data":     func(e *Event, r *Request) { e.Audit = &Audit{} },
		"data of another type":  func(e *Event, r *Request) { e.Type = WriterOpened },
		"a subject":             func(e *Event, r *Request) { e.Subject = e.ID },
		"no subject":            func(e *Event, r *Request) { e.Type = RequestAdjusted },
		"subject is no id":      func(e *Event, r *Request) { e.Type, e.Subject = RequestAdjusted, ID{1} },
		"a subject a day later": func(e *Event, r *Request) { e.Type, e.Subject = RequestAdjusted, at(typical(), 86401).ID },
		"before 1970":           func(e *Event, r *Request) { e.Time = -1 },
		"after 2199":            func(e *Event, r *Request) { *e = *at(e, 174*365*86400) },
		"served too large":      func(e *Event, r *Request) { r.Outcome.Served = 1 },
		"served too small":      func(e *Event, r *Request) { r.Outcome.Served = -2 },
		"status too large":      func(e *Event, r *Request) { r.Outcome.Status = 1000 },
		"negative status":       func(e *Event, r *Request) { r.Attempts[0].Status = -1 },
		"negative size":         func(e *Event, r *Request) { r.Outcome.AnswerBytes = -1 },
		"negative duration":     func(e *Event, r *Request) { r.Outcome.Latency = -1 },
		"negative count":        func(e *Event, r *Request) { r.PII = []Count{{Kind: "email", Count: -1}} },
		"too many chunks":       func(e *Event, r *Request) { r.Attempts[0].Chunks = 1 << 32 },
		"attempt after 2199":    func(e *Event, r *Request) { r.Attempts[0].End = maxTime },
		"17 attempts":           func(e *Event, r *Request) { r.Attempts = make([]Attempt, 17) },
		"65 sources":            func(e *Event, r *Request) { r.Sources = make([]Source, 65) },
		"17 rejected":           func(e *Event, r *Request) { r.Decision.Rejected = make([]Rejected, 17) },
		"17 kinds of pii":       func(e *Event, r *Request) { r.PII = make([]Count, 17) },
		"65 changed files": func(e *Event, r *Request) {
			e.Type, e.Request, e.Governance = GovernanceLoaded, nil, &Governance{Changed: make([]string, 65)}
		},
	} {
		e := typical()
		spoil(e, e.Request)
		if out, err := e.Append([]byte("kept")); !errors.Is(err, ErrInvalid) || string(out) != "kept" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	for _, v := range readVectors(t) {
		if v.Name == "largest" {
			e, err := Decode(v.raw)
			if err != nil {
				t.Fatal(err)
			}
			e.Source += "x"
			if _, err := e.Append(nil); !errors.Is(err, ErrInvalid) {
				t.Errorf("one byte over the largest: %v", err)
			}
		}
	}
}

// Every text of every kind of event has its limit in bytes, and must be UTF-8.
func TestEveryTextHasItsLimit(t *testing.T) {
	tried := 0
	for i := range samples() {
		e := samples()[i]
		texts(reflect.ValueOf(e).Elem(), func(name string, v reflect.Value) {
			if name == "Type" {
				return
			}
			tried++
			limit := MaxText
			if name == "UsageRaw" {
				limit = MaxUsageRaw
			}
			before := v.String()
			for _, c := range []struct {
				text string
				ok   bool
			}{{strings.Repeat("x", limit), true}, {strings.Repeat("x", limit+1), false}, {"x\xff", false}, {"\xc3", false}} {
				v.SetString(c.text)
				raw, err := e.Append(nil)
				if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInvalid) {
					t.Errorf("%s of %s with %d bytes: %v", name, e.Type, len(c.text), err)
				}
				if err == nil {
					if _, err := Decode(raw); err != nil {
						t.Errorf("%s of %s: %v", name, e.Type, err)
					}
				}
			}
			v.SetString(before)
		})
	}
	if tried < 75 {
		t.Errorf("only %d texts were tried", tried)
	}
}

// texts calls f for every text below v.
func texts(v reflect.Value, f func(name string, v reflect.Value)) { textsOf("", v, f) }

func textsOf(name string, v reflect.Value, f func(name string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(name, v)
	case reflect.Pointer:
		if !v.IsNil() {
			textsOf(name, v.Elem(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			textsOf(v.Type().Field(i).Name, v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			textsOf(name, v.Index(i), f)
		}
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]any{
		"0": int64(0), "-0": int64(0), "7": int64(7), "-7": int64(-7), "9223372036854775807": int64(1<<63 - 1), "-9223372036854775808": int64(-1 << 63),
		"9223372036854775808": nil, "-9223372036854775809": nil, "18446744073709551616": nil, "99999999999999999999999": nil,
		"": nil, "-": nil, "+1": nil, "00": nil, "-01": nil, "1.0": nil, "1e3": nil, "1E3": nil, ".5": nil,
	} {
		p := parser{s: text}
		got := p.integer()
		if want == nil && p.err == nil || want != nil && (p.err != nil || got != want || p.i != len(text)) {
			t.Errorf("%q: %d, %v", text, got, p.err)
		}
	}
	for text, want := range map[string]uint64{
		`"1"`: 1, `"18446744073709551615"`: 1<<64 - 1, `"18446744073709551616"`: 0, `"01"`: 0, `""`: 0, `"-1"`: 0, `"1 "`: 0, `" 1"`: 0, `1`: 0,
	} {
		p := parser{s: text}
		if got := p.sequence(); (p.err == nil) != (want > 0) || p.err == nil && got != want {
			t.Errorf("%s: %d, %v", text, got, p.err)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"1970-01-01T00:00:00.000000Z": "1970-01-01 00:00:00 +0000 UTC", "2024-02-29T23:59:59.999999Z": "2024-02-29 23:59:59.999999 +0000 UTC",
		"2023-02-29T00:00:00.000000Z": "", "2026-13-01T00:00:00.000000Z": "", "2026-00-01T00:00:00.000000Z": "", "2026-01-00T00:00:00.000000Z": "", "2026-01-32T00:00:00.000000Z": "",
		"2026-01-01T24:00:00.000000Z": "", "2026-01-01T23:60:00.000000Z": "", "2026-01-01T23:59:60.000000Z": "",
		"2026-01-01t00:00:00.000000Z": "", "2026-01-01 00:00:00.000000Z": "", "2026-01-01T00:00:00.000000z": "", "2026-01-01T00:00:00,000000Z": "", "2026-01-01T00:00:00.00000 Z": "", "2026-01-01T00:00:00.000000": "", "-026-01-01T00:00:00.000000Z": "",
	} {
		p := parser{s: strconv.Quote(text)}
		if got := p.time(); (p.err == nil) != (want != "") || p.err == nil && got.Time().String() != want {
			t.Errorf("%s: %s, %v", text, got.Time(), p.err)
		}
	}
}

func TestID(t *testing.T) {
	at := Micros(1_790_000_000_123_456)
	id := NewID(at)
	if id.Milli() != 1_790_000_000_123 || id == NewID(at) {
		t.Errorf("%s is not of its time, or not random", id)
	}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("%s came back as %s, %v", id, got, err)
	}
	for _, s := range []string{"", "01a0c450-6c7b-7001-8002-03040506070", "01a0c450-6c7b-7001-8002-0304050607080", "01A0C450-6c7b-7001-8002-030405060708",
		"01a0c450-6c7b-4001-8002-030405060708", "01a0c450-6c7b-7001-c002-030405060708", "01a0c4506-c7b-7001-8002-030405060708", "01a0c450-6c7b-7001-8002-03040506070g", "{1a0c450-6c7b-7001-8002-030405060708"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q was read as %s", s, id)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"aé", 3, "aé"}, {"😀", 3, ""}, {"a\xffb", 9, "ab"}, {"\xe2\x82", 9, ""}, {"a\ufffdb", 9, "a\ufffdb"}, {"", 0, ""}} {
		if got := Clip(c.s, c.n); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.s, c.n, got, c.want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e := typical()
	buf := canonical(b, e)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = e.Append(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := canonical(b, typical())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
