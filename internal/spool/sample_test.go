package spool

import (
	"strings"

	"github.com/ledgerline/ledgerline/internal/event"
)

const sampleTime = event.Micros(1_790_000_000_123_456)

func sampleAttribution() event.Attribution {
	return event.Attribution{
		BusinessUnit: event.Dimension{Value: "retail", Provenance: event.FromKey},
		Team:         event.Dimension{Value: "risk", Provenance: event.FromKey, Conflict: "fraud"},
		Project:      event.Dimension{Value: "onboarding", Provenance: event.FromHeader},
		User:         event.Dimension{Value: "u_00f1e2d3c4b5a697", Provenance: event.FromJWT},
		Application:  event.Dimension{Provenance: event.Missing},
		UseCase:      event.Dimension{Value: "kyc-summary", Provenance: event.FromDefault},
	}
}

func sampleIntent() *event.Intent {
	return &event.Intent{
		ID: event.NewID(sampleTime), Time: sampleTime,
		Call:  event.Call{Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "gpt-5-mini", BodyBytes: 1612, Workload: "interactive"},
		KeyID: "k7f3q9zt", Attribution: sampleAttribution(), Rule: "use case kyc-summary: first healthy endpoint",
		Endpoint: "openai-eu", Provider: "openai", Model: "gpt-5-mini-2025-08-07", RetentionClass: "standard",
	}
}

// sampleEvent is about 2 KB encoded.
func sampleEvent() *event.Event {
	return &event.Event{
		ID: event.NewID(sampleTime), Source: "ledgerline/proxy-1", Type: event.RequestCompleted, Time: sampleTime,
		Request: &event.Request{
			Call: event.Call{
				Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "gpt-5-mini", BodyBytes: 1612, Workload: "interactive",
				BodyDigest: strings.Repeat("ab", 32), TraceID: strings.Repeat("4f", 16), ParentID: strings.Repeat("1c", 8),
			},
			Caller:      event.Caller{KeyID: "k7f3q9zt", UserRef: "u_00f1e2d3c4b5a697"},
			Attribution: sampleAttribution(),
			Sources:     []event.Source{{Namespace: "postgres://core", Name: "kyc.documents", Version: "12", Role: "context", Evidence: "declared"}},
			Coverage:    "declared",
			Decision: event.Decision{
				Rule: "use case kyc-summary", Why: "The first healthy endpoint of use case kyc-summary, in the EU.",
				Rejected: []event.Rejected{{Endpoint: "openai-us", Why: "outside the EU"}}, Governance: strings.Repeat("7a", 32),
			},
			Attempts: []event.Attempt{{
				Endpoint: "openai-eu", Provider: "openai", Region: "eu-west-1", ModelRequested: "gpt-5-mini-2025-08-07", ModelServed: "gpt-5-mini-2025-08-07",
				Status: 200, Start: sampleTime + 90, FirstByte: sampleTime + 20_000, End: sampleTime + 20_100, ProviderID: "chatcmpl-9f8e7d6c5b4a", Tier: "default",
				UsageRaw:    `{"prompt_tokens":1214,"completion_tokens":187,"total_tokens":1401,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":64,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
				UsageSource: event.UsageProvider, Chunks: 1, Bytes: 1533,
			}},
			Outcome:        event.Outcome{Status: 200, Finish: "stop", Latency: 20_300, FirstByte: 20_100, Client: "completed", Upstream: "completed", AnswerBytes: 1533, AnswerDigest: strings.Repeat("cd", 32)},
			Capture:        "none",
			RetentionClass: "standard",
		},
	}
}
