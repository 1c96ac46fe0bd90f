package event

import (
	"bytes"
	"reflect"
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
