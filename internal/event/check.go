package event

import "math"

// whyType is the reason of check for a type that this version does not know.
const whyType = "unknown type"

// check gives the rule that the event breaks, or "". It looks at everything
// but the texts.
func (e *Event) check() string {
	switch {
	case !e.ID.valid():
		return "id is not a UUIDv7"
	case e.Time < 0 || e.Time >= maxTime:
		return "time out of range"
	case e.ID.Milli() != int64(e.Time)/1000:
		return "id and time are of different milliseconds"
	case e.Writer == "" || e.Seq == 0:
		return "without writer or seq"
	}
	r := e.Request
	var data, others bool
	switch e.Type {
	case RequestCompleted, RequestDenied, RequestRecovered, RequestAdjusted:
		data, others = r != nil, e.Lifecycle != nil || e.Governance != nil || e.Audit != nil
	case WriterOpened, WriterHeartbeat, WriterClosed:
		data, others = e.Lifecycle != nil, r != nil || e.Governance != nil || e.Audit != nil
	case GovernanceLoaded:
		data, others = e.Governance != nil, r != nil || e.Lifecycle != nil || e.Audit != nil
	case AuditRead, AuditExport, AuditDeletion, AuditHold, AuditErasure, AuditBypass, AuditGovernance:
		data, others = e.Audit != nil, r != nil || e.Lifecycle != nil || e.Governance != nil
	default:
		return whyType
	}
	switch {
	case !data || others:
		return "data does not fit the type"
	case (e.Type == RequestAdjusted) == e.Subject.IsZero() || !e.Subject.IsZero() && !e.Subject.valid():
		return "adjusted events, and only they, have a subject, which is an id"
	case e.Subject.Milli()-e.ID.Milli() > maxSkew:
		return "an adjusted event is more than a day older than its call"
	case r != nil && (len(r.Attempts) > MaxAttempts || len(r.Sources) > MaxSources || len(r.Decision.Rejected) > MaxRejected || len(r.PII) > MaxPII),
		e.Governance != nil && len(e.Governance.Changed) > MaxChanged:
		return "list over its limit"
	case r != nil:
		return r.checkNumbers()
	}
	return ""
}

func (r *Request) checkNumbers() string {
	o := &r.Outcome
	switch {
	case o.Served < -1 || o.Served >= len(r.Attempts):
		return "served is not -1 or the index of an attempt"
	case o.Status < 0 || o.Status > maxStatus:
		return "status out of range"
	case min(r.Call.BodyBytes, o.Latency, o.FirstByte, o.AnswerBytes) < 0:
		return "negative size or duration"
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		switch {
		case a.Status < 0 || a.Status > maxStatus:
			return "status of an attempt out of range"
		case min(a.Start, a.FirstByte, a.End) < 0 || max(a.Start, a.FirstByte, a.End) >= maxTime:
			return "time of an attempt out of range"
		case a.Chunks < 0 || a.Chunks > math.MaxUint32 || a.Bytes < 0:
			return "chunks or bytes of an attempt out of range"
		}
	}
	for i := range r.Sources {
		if min(r.Sources[i].Rows, r.Sources[i].Chunks) < 0 {
			return "negative rows or chunks of a source"
		}
	}
	for i := range r.PII {
		if r.PII[i].Count < 0 {
			return "negative count"
		}
	}
	return ""
}

// checkTexts gives the rule that a text breaks, or "". That the texts are
// UTF-8 is checked on the whole encoding.
func (e *Event) checkTexts() string {
	const why = "text over its limit"
	if long(e.Source, e.Writer) {
		return why
	}
	switch {
	case e.Request != nil:
		r := e.Request
		if long(r.Call.Format, r.Call.Operation, r.Call.Model, r.Call.BodyDigest, r.Call.TraceID, r.Call.ParentID, r.Call.Workload,
			r.Caller.KeyID, r.Caller.UserRef, r.Caller.ClientAddr, r.Coverage, r.Decision.Rule, r.Decision.Why, r.Decision.Governance, r.Decision.Commit,
			r.Outcome.Code, r.Outcome.Finish, r.Outcome.Client, r.Outcome.Upstream, r.Outcome.AnswerDigest, r.Capture, r.RetentionClass) {
			return why
		}
		for _, d := range r.Attribution.All() {
			if long(d.Value, string(d.Provenance), d.Conflict) {
				return why
			}
		}
		for i := range r.Sources {
			s := &r.Sources[i]
			if long(s.Namespace, s.Name, s.Version, s.Role, s.Evidence) {
				return why
			}
		}
		for i := range r.Decision.Rejected {
			if c := &r.Decision.Rejected[i]; long(c.Endpoint, c.Why) {
				return why
			}
		}
		for i := range r.PII {
			if long(r.PII[i].Kind) {
				return why
			}
		}
		for i := range r.Attempts {
			a := &r.Attempts[i]
			if len(a.UsageRaw) > MaxUsageRaw || long(a.Endpoint, a.Provider, a.Region, a.ModelRequested, a.ModelServed, a.Error, a.ProviderID, a.Tier, string(a.UsageSource)) {
				return why
			}
		}
	case e.Lifecycle != nil:
		l := e.Lifecycle
		if long(l.Instance, l.Reason, l.By, l.Version, l.Kind) {
			return why
		}
	case e.Governance != nil:
		if long(e.Governance.Digest, e.Governance.Commit) || long(e.Governance.Changed...) {
			return why
		}
	case e.Audit != nil:
		a := e.Audit
		if long(a.Actor, a.Action, a.Object, a.Reason, a.Outcome) {
			return why
		}
	}
	return ""
}

func long(texts ...string) bool {
	for _, s := range texts {
		if len(s) > MaxText {
			return true
		}
	}
	return false
}

// maxTime is the year 2200: what is later is a broken clock, and would make a
// partition of its own.
const maxTime Micros = 7_258_118_400_000_000

// maxSkew is how many milliseconds an adjusted event can be older than its call.
const maxSkew = 24 * 60 * 60 * 1000

const maxStatus = 999
