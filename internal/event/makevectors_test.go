package event

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// at gives typical's id and time, so many seconds later.
func at(e *Event, seconds int64) *Event {
	e.Time += Micros(seconds * 1_000_000)
	ms := e.Time / 1000
	for i := range 6 {
		e.ID[i] = byte(ms >> (40 - 8*i))
	}
	e.Seq += uint64(seconds)
	return e
}

// change gives typical changed.
func change(f func(e *Event, r *Request)) *Event {
	e := typical()
	f(e, e.Request)
	return e
}

func other(t Type, f func(e *Event)) *Event {
	e := typical()
	e.Type, e.Request = t, nil
	f(e)
	return e
}

// full has every member that an event can have.
func full() *Event {
	return change(func(e *Event, r *Request) {
		e.Type, e.Subject = RequestAdjusted, ID{0x01, 0xa0, 0xc4, 0x40, 0, 0, 0x70, 9, 0x80, 9, 9, 9, 9, 9, 9, 9}
		r.Caller.ClientAddr = "192.0.2.17"
		r.Sources[0].Rows, r.Sources[0].Chunks = 1, 6
		for i, d := range r.Attribution.All() {
			d.Conflict = fmt.Sprintf("claimed %d", i)
		}
		r.Decision.Rejected = []Rejected{{Endpoint: "azure-eu", Why: "in cool-down until 14:13:25"}}
		r.Attempts[0].Error = "cut"
		r.Outcome.Code = "ledgerline_upstream_cut"
		r.PII = []Count{{Kind: "email", Count: 2}}
	})
}

// makeVectors makes the published vectors; the order is that of the index.
func makeVectors(t *testing.T) []vector {
	t.Helper()
	var vs []vector
	add := func(verdict string, schema bool, name string, raw []byte, shows string) {
		vs = append(vs, vector{Name: name, Verdict: verdict, Schema: schema, Shows: shows, raw: raw})
	}
	good := func(name string, e *Event, shows string) { add("canonical", true, name, canonical(t, e), shows) }

	good("completed", typical(), "a streamed call with one attempt, attribution with a conflict and a missing dimension")
	good("completed-minimal", change(func(e *Event, r *Request) {
		*r = Request{Call: Call{Format: "passthrough", Operation: "GET /v1/models", Workload: "interactive"}, Caller: Caller{KeyID: "k7f3q9zt"}, Coverage: "none",
			Attempts: []Attempt{{Endpoint: "openai-eu", Provider: "openai", Start: e.Time, UsageSource: UsageMissing}},
			Outcome:  Outcome{Client: "completed", Upstream: "completed"}, Capture: "none", RetentionClass: "standard"}
		for _, d := range r.Attribution.All() {
			d.Provenance = Missing
		}
	}), "every optional member left out: usage is missing, which is not zero")
	good("completed-anthropic-stream", change(func(e *Event, r *Request) {
		r.Call.Format, r.Call.Operation, r.Call.Model = "anthropic.messages", "POST /v1/messages", "claude-sonnet-4-5"
		a := &r.Attempts[0]
		a.Endpoint, a.Provider, a.ModelRequested, a.ModelServed, a.ProviderID, a.Tier = "anthropic-us", "anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "req_011CQ", "standard"
		a.UsageRaw = `[{"input_tokens":12,"cache_creation_input_tokens":2048,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":2048,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"},{"output_tokens":310}]`
		r.Outcome.Finish = "end_turn"
	}), "usage_raw of a stream: the objects of message_start and message_delta in one array")
	good("completed-fallback", change(func(e *Event, r *Request) {
		first := Attempt{Endpoint: "azure-eu", Provider: "azure", Region: "westeurope", ModelRequested: "gpt-5-mini", Status: 429, Error: "http",
			Start: e.Time + 90, FirstByte: e.Time + 20_000, End: e.Time + 20_100, ProviderID: "a1b2", UsageSource: UsageMissing, Bytes: 182}
		r.Attempts = append([]Attempt{first}, r.Attempts...)
		r.Outcome.Served = 1
		r.Decision.Rejected = []Rejected{{Endpoint: "openai-us", Why: "region us is not allowed for kyc-summary"}}
	}), "a 429 and a fallback that served; an endpoint that was not allowed")
	good("completed-failed", change(func(e *Event, r *Request) {
		r.Attempts[0] = Attempt{Endpoint: "openai-eu", Provider: "openai", ModelRequested: "gpt-5-mini", Error: "connect", Start: e.Time + 90, End: e.Time + 3_000_090, UsageSource: UsageMissing}
		r.Outcome = Outcome{Status: 502, Code: "ledgerline_upstream_unreachable", Served: -1, Latency: 3_000_200, Client: "completed", Upstream: "none", AnswerBytes: 143}
	}), "no attempt served: served is -1, the answer was ours")
	good("completed-left", change(func(e *Event, r *Request) {
		r.Outcome.Client, r.Outcome.Upstream, r.Outcome.AnswerBytes = "left", "drained", 2210
	}), "the client left, the upstream was drained and its usage is known")
	good("completed-left-cancelled", change(func(e *Event, r *Request) {
		a := &r.Attempts[0]
		a.Error, a.UsageRaw, a.UsageSource = "cancelled", "", UsageMissing
		r.Outcome.Client, r.Outcome.Upstream, r.Outcome.Finish = "left", "cancelled", ""
	}), "the client left and policy cancelled the upstream: usage is missing")
	good("completed-cut", change(func(e *Event, r *Request) {
		a := &r.Attempts[0]
		a.Error, a.UsageRaw, a.UsageSource = "cut", `{"input_tokens":12,"output_tokens":1}`, UsagePartial
		r.Call.Format = "anthropic.messages"
		r.Outcome.Client, r.Outcome.Upstream, r.Outcome.Finish = "cut", "cut", ""
	}), "the provider's stream broke off: usage is what it had said before")
	good("completed-withheld", change(func(e *Event, r *Request) {
		r.Outcome.Client, r.Outcome.Code = "withheld", "ledgerline_not_durable"
	}), "the event was not durable in time, so the end of the answer was withheld")
	good("denied", change(func(e *Event, r *Request) {
		e.Type = RequestDenied
		r.Sources, r.Attempts, r.Attribution.UseCase = nil, nil, Dimension{Provenance: Missing}
		r.Decision.Rule, r.Decision.Why = "required dimensions", "use_case is required and neither the key nor a header names one."
		r.Outcome = Outcome{Status: 400, Code: "ledgerline_attribution_missing", Served: -1, Latency: 210, Client: "completed", Upstream: "none", AnswerBytes: 151}
	}), "policy refused the call before any attempt")
	good("recovered", func() *Event {
		in := &Intent{ID: typical().ID, Time: typical().Time, Call: typical().Request.Call, KeyID: "k7f3q9zt", Attribution: typical().Request.Attribution,
			Rule: "use-case kyc-summary", Endpoint: "openai-eu", Provider: "openai", Model: "gpt-5-mini", RetentionClass: "standard"}
		in.Call.BodyDigest, in.Call.TraceID, in.Call.ParentID = "", "", ""
		e := in.Recovered("ledgerline/proxy-1")
		e.Writer, e.Seq = "proxy-1.77aa01de", 2
		return e
	}(), "an intent whose outcome was lost: its id and time, under the writer that found it")
	good("adjusted", at(change(func(e *Event, r *Request) {
		e.Type, e.Subject = RequestAdjusted, e.ID
		r.Call.Workload = "batch"
		r.Attempts[0].Tier = "batch"
	}), 3600), "the result of a batch, an hour later; subject names the call")
	good("adjusted-outcome", at(change(func(e *Event, r *Request) {
		e.Type, e.Subject = RequestAdjusted, e.ID
		r.Sources, r.Attempts, r.Coverage = nil, nil, "none"
		r.Outcome.Client, r.Outcome.Served, r.Outcome.Code = "withheld", -1, "ledgerline_withheld"
	}), 5), "how the call ended, and nothing of what it bought: no attempts")
	good("adjusted-early", at(change(func(e *Event, r *Request) {
		e.Type, e.Subject = RequestAdjusted, at(typical(), 0).ID
	}), -86400), "by a clock that is a day behind")
	good("hierarchy", change(func(e *Event, r *Request) {
		r.Attribution.Team = Dimension{Value: "kyc", Provenance: FromKey}
		r.Attribution.BusinessUnit = Dimension{Value: "retail", Provenance: FromHierarchy}
	}), "a business unit that follows from the team")
	good("sources-mapped", change(func(e *Event, r *Request) {
		r.Sources = append(r.Sources, Source{Namespace: "milvus://vectors:19530", Name: "policies.kyc_v7", Evidence: "mapped"})
	}), "what the client declared, and what else the map of the use case lists")
	good("sources-malformed", change(func(e *Event, r *Request) {
		r.Sources, r.Coverage = []Source{{Namespace: "postgres://crm:5432", Name: "public.customers", Evidence: "mapped"}}, "malformed"
	}), "the client's list could not be read: only the map of the use case is known")
	good("unicode", change(func(e *Event, r *Request) {
		r.Decision.Why = "quote \" backslash \\ slash / tab \t line\nreturn\r form\f back\b bell \a delete \x7f nul \x00 separator \u2028 é 漢字 😀 <&>"
		r.Sources[0].Name = "público.clientes"
	}), "the only escapes a writer uses; everything else as it is")
	good("full", full(), "every member there is")
	good("limits", change(func(e *Event, r *Request) {
		text := strings.Repeat("é", MaxText/2)
		r.Decision.Why, r.Call.Model = text, text[:MaxText-2]+"\n\""
		a := r.Attempts[0]
		a.UsageRaw, r.Attempts = "{}", nil
		for range MaxAttempts {
			r.Attempts = append(r.Attempts, a)
		}
		for i := range MaxSources {
			r.Sources = append(r.Sources[:i:i], Source{Namespace: "s3://lake", Name: fmt.Sprintf("docs/%d", i), Evidence: "traced"})
		}
		for i := range MaxRejected {
			r.Decision.Rejected = append(r.Decision.Rejected, Rejected{Endpoint: fmt.Sprintf("e%d", i), Why: "not healthy"})
			r.PII = append(r.PII, Count{Kind: fmt.Sprintf("kind-%d", i), Count: 1<<63 - 1})
		}
		r.Outcome.Served = MaxAttempts - 1
		e.Seq = 1<<64 - 1
	}), "lists, texts and numbers at their limits")
	largest := change(func(e *Event, r *Request) {
		a := r.Attempts[0]
		a.UsageRaw, r.Attempts = strings.Repeat("x", MaxUsageRaw), nil
		for range 8 {
			r.Attempts = append(r.Attempts, a)
		}
		r.Attempts[7].UsageRaw = ""
	})
	largest.Request.Attempts[7].UsageRaw = strings.Repeat("x", MaxSize-len(canonical(t, largest))-len(`,"usage_raw":""`))
	good("largest", largest, "65,536 bytes")

	good("writer-opened", other(WriterOpened, func(e *Event) {
		e.Seq, e.Lifecycle = 1, &Lifecycle{Instance: "proxy-1", Version: "0.1.0", Kind: "live"}
	}), "number 1 of a writer")
	good("writer-heartbeat", at(other(WriterHeartbeat, func(e *Event) {
		e.Lifecycle = &Lifecycle{Instance: "proxy-1", Version: "0.1.0", Kind: "live"}
	}), 10), "its seq is the last one so far")
	good("writer-closed", at(other(WriterClosed, func(e *Event) {
		e.Lifecycle = &Lifecycle{Instance: "proxy-1", Reason: "stopped", Version: "0.1.0", Kind: "live"}
	}), 20), "a writer that stopped")
	good("writer-closed-recovered", at(other(WriterClosed, func(e *Event) {
		e.Lifecycle = &Lifecycle{Instance: "proxy-1", Reason: "recovered", By: "proxy-1.77aa01de", Version: "0.1.0", Kind: "synthetic"}
	}), 30), "a dead writer, closed by the next opening of its spool")
	good("governance-loaded", other(GovernanceLoaded, func(e *Event) {
		e.Governance = &Governance{Digest: typical().Request.Decision.Governance, Commit: typical().Request.Decision.Commit, Changed: []string{"prices.yaml", "routing.yaml"}}
	}), "a snapshot and what changed in it")
	for _, a := range []struct {
		t     Type
		audit Audit
	}{
		{AuditRead, Audit{Actor: "a1c0mpl1", Action: "read trace", Object: "01a0c450-6c7b-7001-8002-030405060708", Reason: "ticket 4711", Outcome: "done"}},
		{AuditExport, Audit{Actor: "jobs", Action: "export", Object: "standard/2026-09-21", Outcome: "done"}},
		{AuditDeletion, Audit{Actor: "jobs", Action: "delete", Object: "standard/2026-08", Reason: "retention 30 days", Outcome: "done"}},
		{AuditHold, Audit{Actor: "legal", Action: "set hold", Object: "use_case/kyc-summary", Reason: "case 12", Outcome: "done"}},
		{AuditErasure, Audit{Actor: "dpo", Action: "erase", Object: "u_00f1e2d3c4b5a697", Outcome: "refused"}},
		{AuditBypass, Audit{Actor: "root", Action: "begin bypass", Object: "proxy-1", Reason: "disk replaced", Outcome: "done"}},
		{AuditGovernance, Audit{Actor: "proxy-1", Action: "load governance", Object: typical().Request.Decision.Governance, Reason: "keys.yaml:3:5 and 2 more mistakes", Outcome: "refused"}},
	} {
		good(strings.ReplaceAll(string(a.t), ".", "-"), other(a.t, func(e *Event) { e.Audit = &a.audit }), "who did what to which object")
	}

	raw := canonical(t, typical())
	// edit gives the typical event with one text replaced, which must be there
	// exactly once.
	edit := func(old, new string) []byte {
		t.Helper()
		if bytes.Count(raw, []byte(old)) != 1 {
			t.Fatalf("%q is in the event %d times", old, bytes.Count(raw, []byte(old)))
		}
		return bytes.Replace(raw, []byte(old), []byte(new), 1)
	}
	envelope, data, _ := bytes.Cut(bytes.TrimSuffix(raw, []byte("}")), []byte(`,"data":`))
	ok := func(name string, raw []byte, shows string) { add("valid", true, name, raw, shows) }
	ok("order", fmt.Appendf(nil, `{"data":%s,%s}`, data, envelope[1:]), "members in any order, data before type")
	deep := bytes.Replace(data, []byte(`{"request":`), []byte(`{"newer":[[[[[[]]]]]],"request":`), 1)
	ok("order-depth", fmt.Appendf(nil, `{"data":%s,%s}`, deep, envelope[1:]), "data before type, with eight levels of nesting")
	ok("space", edit(`{"specversion":"1.0",`, " {\r\n\t\"specversion\" : \"1.0\" ,\n"), "white space between tokens")
	ok("space-after", append(bytes.Clone(raw), " \n"...), "white space after the event")
	ok("escapes", edit(`"provider":"openai"`, `"\u0070rovider":"\u006fpen\u0061i \/ \u0008\u001F \ud83d\ude00"`), "escapes a writer does not use, also in a name")
	ok("unknown-members", edit(`"seq":"184467",`, `"seq":"184467","newer":{"list":[1,-2,"x",null,true,{}]},"flag":false,`), "members of a newer version")
	ok("empty-optional", edit(`"finish":"stop"`, `"finish":""`), "an optional member written although empty")
	good("open-list", change(func(e *Event, r *Request) { r.Attribution.Project.Provenance = "moon" }), "a value of a newer version in an open list")

	add("unknown_type", true, "unknown-type", edit(`"type":"llm.request.completed"`, `"type":"llm.request.imagined"`), "a type of a newer version: the envelope counts, the bytes are kept")

	bad := func(schema bool, name string, raw []byte, shows string) {
		if schema {
			shows += " (a schema cannot tell)"
		}
		add("invalid", schema, name, raw, shows)
	}
	bad(true, "twice", edit(`"finish":"stop",`, `"finish":"stop","finish":"stop",`), "a member twice")
	bad(true, "twice-escaped", edit(`"source":"ledgerline/proxy-1",`, `"source":"ledgerline/proxy-1","sourc\u0065":"ledgerline/proxy-1",`), "a member twice, once spelt with an escape")
	bad(true, "twice-unknown", edit(`"seq":"184467",`, `"seq":"184467","newer":{"a":1,"b":2,"a":1},`), "an unknown member twice")
	bad(true, "twice-newer", edit(`"seq":"184467",`, `"seq":"184467","newer":1,"old":2,"newer":1,`), "an unknown member twice in the event itself")
	bad(true, "fraction-zero", edit(`"status":200,"start_us"`, `"status":200.0,"start_us"`), "200.0 is not written as an integer")
	bad(true, "exponent", edit(`"body_bytes":1612`, `"body_bytes":1e3`), "1e3 is not written as an integer")
	bad(false, "fraction", edit(`"latency_us":2345900`, `"latency_us":2345900.5`), "a fraction")
	bad(true, "fraction-unknown", edit(`"seq":"184467",`, `"seq":"184467","newer":0.5,`), "a fraction in an unknown member")
	bad(false, "overflow", edit(`"latency_us":2345900`, `"latency_us":9223372036854775808`), "2^63 is not in 64 bits")
	bad(false, "negative", edit(`"body_bytes":1612`, `"body_bytes":-1`), "a negative size")
	bad(false, "source-negative", edit(`"role":"context",`, `"role":"context","rows":-1,`), "a negative number of rows of a source")
	bad(false, "status", edit(`"outcome":{"status":200`, `"outcome":{"status":1000`), "a status of four digits")
	bad(false, "status-attempt", edit(`"status":200,"start_us"`, `"status":1000,"start_us"`), "a status of four digits in an attempt")
	bad(false, "leading-zero", edit(`"body_bytes":1612`, `"body_bytes":01612`), "a leading zero is not JSON")
	bad(false, "number-as-text", edit(`"body_bytes":1612`, `"body_bytes":"1612"`), "a number in a string")
	bad(false, "boolean-as-text", edit(`"stream":true`, `"stream":"true"`), "a boolean in a string")
	bad(false, "null", edit(`"region":"eu"`, `"region":null`), "null where an optional text could be")
	bad(false, "seq-number", edit(`"seq":"184467"`, `"seq":184467`), "seq as a number")
	bad(false, "seq-zero", edit(`"seq":"184467"`, `"seq":"0"`), "seq begins at 1")
	bad(false, "seq-leading-zero", edit(`"seq":"184467"`, `"seq":"0184467"`), "seq with a leading zero")
	bad(true, "seq-overflow", edit(`"seq":"184467"`, `"seq":"18446744073709551616"`), "2^64")
	bad(false, "missing", edit(`"usage_source":"provider",`, ``), "an attempt without usage_source")
	bad(false, "missing-data", append(bytes.Clone(envelope), '}'), "no data")
	bad(false, "missing-writer", edit(`"writer":"proxy-1.9f3a61c2",`, ``), "no writer")
	bad(false, "specversion", edit(`"specversion":"1.0"`, `"specversion":"0.3"`), "another version of CloudEvents")
	bad(false, "content-type", edit(`"datacontenttype":"application/json"`, `"datacontenttype":"text/plain"`), "data that is not JSON")
	bad(false, "id-upper", edit(`"id":"01a0c450-`, `"id":"01A0C450-`), "an id with capitals")
	bad(false, "id-v4", edit(`-7001-8002-`, `-4001-8002-`), "a UUIDv4")
	bad(true, "id-time", edit(`14:13:20.123456Z`, `14:13:20.124456Z`), "id and time of different milliseconds")
	bad(false, "time-offset", edit(`14:13:20.123456Z`, `14:13:20.123456+00:00`), "an offset instead of Z")
	bad(false, "time-milliseconds", edit(`14:13:20.123456Z`, `14:13:20.123Z`), "three decimals")
	bad(true, "time-day", edit(`"time":"2026-09-21T`, `"time":"2026-09-31T`), "the 31st of September")
	bad(false, "subject", edit(`"time":"`, `"subject":"01a0c450-6c7b-7001-8002-030405060708","time":"`), "a subject in an event that adjusts nothing")
	bad(false, "subject-missing", edit(`"type":"llm.request.completed"`, `"type":"llm.request.adjusted"`), "an adjustment of nothing")
	early := canonical(t, at(change(func(e *Event, r *Request) { e.Type, e.Subject = RequestAdjusted, e.ID }), 1))
	bad(true, "subject-later", bytes.Replace(early, []byte(`"subject":"01a0c450-`), []byte(`"subject":"01a5c450-`), 1), "an adjusted event that is more than a day older than its call")
	bad(false, "data-of-another-type", edit(`"type":"llm.request.completed"`, `"type":"writer.opened"`), "data that does not fit the type")
	bad(true, "served", edit(`"served":0`, `"served":1`), "served is no attempt")
	bad(false, "text-over", edit(`"coverage":"declared"`, `"coverage":"`+strings.Repeat("x", MaxText+1)+`"`), "a text of 513 bytes")
	bad(false, "text-over-escaped", edit(`"coverage":"declared"`, `"coverage":"`+strings.Repeat("x", MaxText)+`\n"`), "a text of 513 bytes, the last one escaped")
	bad(true, "text-over-bytes", edit(`"coverage":"declared"`, `"coverage":"`+strings.Repeat("é", MaxText/2+1)+`"`), "a text of 257 characters in 514 bytes")
	bad(false, "usage-over", edit(`"usage_raw":"{`, `"usage_raw":"`+strings.Repeat("x", MaxUsageRaw)+`{`), "usage_raw of more than 8,192 bytes")
	attempt := raw[bytes.Index(raw, []byte(`{"endpoint"`)):bytes.Index(raw, []byte(`],"outcome"`))]
	bad(false, "attempts-over", edit(`],"outcome"`, strings.Repeat(","+string(attempt), MaxAttempts)+`],"outcome"`), "17 attempts")
	bad(true, "depth", edit(`"seq":"184467",`, `"seq":"184467","newer":[[[[[[[[]]]]]]]],`), "nine levels of nesting")
	bad(true, "size", bytes.Replace(canonical(t, largest), []byte(`"finish":"stop"`), []byte(`"finish":"stop."`), 1), "65,537 bytes")
	bad(false, "trailing", append(bytes.Clone(raw), '}'), "bytes after the event")
	bad(false, "two", append(bytes.Clone(raw), raw...), "two events")
	bad(false, "cut", raw[:len(raw)-1], "the last byte is missing")
	bad(false, "empty", nil, "nothing")
	bad(false, "bom", append([]byte("\ufeff"), raw...), "a byte order mark")
	bad(false, "array", fmt.Appendf(nil, "[%s]", raw), "an event in an array")
	bad(false, "comma", edit(`"retention_class":"standard"}`, `"retention_class":"standard",}`), "a comma after the last member")
	bad(false, "control", edit(`"finish":"stop"`, "\"finish\":\"st\nop\""), "a line feed in a string")
	bad(false, "escape", edit(`"finish":"stop"`, `"finish":"st\op"`), "an escape that JSON does not have")
	bad(false, "escape-digits", edit(`"finish":"stop"`, "\"finish\":\"st\\u00\x101op\""), "a control character where a hex digit should be")
	bad(true, "utf8", edit(`"finish":"stop"`, "\"finish\":\"st\xffop\""), "a byte that is not UTF-8")
	bad(true, "surrogate", edit(`"finish":"stop"`, `"finish":"st\ud83dop"`), "half of a surrogate pair")
	bad(true, "surrogate-order", edit(`"finish":"stop"`, `"finish":"st\ude00\ud83dop"`), "a surrogate pair in the wrong order")
	return vs
}
