package event

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

var (
	// ErrInvalid says that bytes, or an event to be written, break a rule of
	// SPEC.md. The errors that wrap it say which member and at which byte,
	// never a value.
	ErrInvalid = errors.New("invalid event")
	// ErrUnknownType wraps ErrInvalid for an event whose envelope is right and
	// whose type this version does not know: keep the bytes, a newer version
	// can read them.
	ErrUnknownType = fmt.Errorf("unknown type: %w", ErrInvalid)
)

// Decode reads an event. It accepts members in any order, white space and
// escapes, ignores unknown members, and refuses everything else that Append
// would not write. The texts of the event share one copy of raw; who keeps one
// for long clones it.
//
// With ErrUnknownType the event is returned without data, so that its place in
// the writer's sequence can be counted.
func Decode(raw []byte) (*Event, error) {
	switch {
	case len(raw) > MaxSize:
		return nil, fmt.Errorf("%d bytes, the limit is %d: %w", len(raw), MaxSize, ErrInvalid)
	case !utf8.Valid(raw):
		return nil, fmt.Errorf("not UTF-8: %w", ErrInvalid)
	}
	d := decoder{parser: parser{s: string(raw), at: "event"}, e: new(Event)}
	d.event()
	if d.err != nil {
		return nil, d.err
	}
	switch why := d.e.check(); {
	case why != "" && why != whyType:
		return nil, fmt.Errorf("%s: %w", why, ErrInvalid)
	case why == whyType:
		return d.e, ErrUnknownType
	}
	return d.e, nil
}

type decoder struct {
	parser
	e *Event
}

func (d *decoder) event() {
	e := d.e
	var version, content string
	typed, later := false, -1
	d.object(
		must("specversion", &version),
		must("id", &e.ID),
		must("source", &e.Source),
		must("type", func() { e.Type, typed = Type(d.text(MaxText)), true }),
		may("subject", &e.Subject),
		must("time", func() { e.Time = d.time() }),
		must("datacontenttype", &content),
		must("writer", &e.Writer),
		must("seq", &e.Seq),
		must("data", func() {
			if !typed {
				later = d.i
				d.skip()
				return
			}
			d.data()
		}),
	)
	if d.peek(); d.err == nil && d.i < len(d.s) {
		d.fail("bytes after the event")
	}
	if d.err == nil && later >= 0 {
		d.i, d.depth = later, 1
		d.data()
	}
	if d.err == nil && (version != "1.0" || content != "application/json") {
		d.at = "specversion"
		d.fail("want specversion 1.0 and datacontenttype application/json")
	}
}

func (d *decoder) data() {
	switch e := d.e; e.Type {
	case RequestCompleted, RequestDenied, RequestRecovered, RequestAdjusted:
		// A call has one attempt as a rule: one allocation for all of it.
		var request struct {
			Request
			first [1]Attempt
		}
		r := &request
		e.Request = &r.Request
		e.Request.Attempts = r.first[:0]
		d.request(e.Request)
	case WriterOpened, WriterHeartbeat, WriterClosed:
		e.Lifecycle = new(Lifecycle)
		d.lifecycle(e.Lifecycle)
	case GovernanceLoaded:
		e.Governance = new(Governance)
		d.governance(e.Governance)
	case AuditRead, AuditExport, AuditDeletion, AuditHold, AuditErasure, AuditBypass:
		e.Audit = new(Audit)
		d.audit(e.Audit)
	default:
		d.skip()
	}
}

func (d *decoder) request(r *Request) {
	d.object(
		must("request", func() {
			c := &r.Call
			d.object(
				must("format", &c.Format),
				must("operation", &c.Operation),
				must("stream", &c.Stream),
				may("model", &c.Model),
				must("body_bytes", &c.BodyBytes),
				may("body_digest", &c.BodyDigest),
				may("trace_id", &c.TraceID),
				may("parent_id", &c.ParentID),
				must("workload", &c.Workload),
			)
		}),
		must("caller", func() {
			d.object(
				must("key_id", &r.Caller.KeyID),
				may("user_ref", &r.Caller.UserRef),
				may("client_addr", &r.Caller.ClientAddr),
			)
		}),
		must("attribution", func() { d.attribution(&r.Attribution) }),
		must("sources", func() {
			d.list(MaxSources, func() {
				r.Sources = append(r.Sources, Source{})
				s := &r.Sources[len(r.Sources)-1]
				d.object(
					must("namespace", &s.Namespace),
					must("name", &s.Name),
					may("version", &s.Version),
					may("role", &s.Role),
					must("evidence", &s.Evidence),
				)
			})
		}),
		must("coverage", &r.Coverage),
		must("decision", func() { d.decision(&r.Decision) }),
		must("attempts", func() {
			d.list(MaxAttempts, func() {
				r.Attempts = append(r.Attempts, Attempt{})
				d.attempt(&r.Attempts[len(r.Attempts)-1])
			})
		}),
		must("outcome", func() { d.outcome(&r.Outcome) }),
		must("pii", func() {
			d.list(MaxPII, func() {
				r.PII = append(r.PII, Count{})
				c := &r.PII[len(r.PII)-1]
				d.object(
					must("kind", &c.Kind),
					must("count", &c.Count),
				)
			})
		}),
		must("capture", &r.Capture),
		must("retention_class", &r.RetentionClass),
	)
}

func (d *decoder) attribution(a *Attribution) {
	dimension := func(v *Dimension) func() {
		return func() {
			d.object(
				must("value", &v.Value),
				must("provenance", (*string)(&v.Provenance)),
				may("conflict", &v.Conflict),
			)
		}
	}
	all := a.All()
	d.object(
		must(DimensionNames[0], dimension(all[0])),
		must(DimensionNames[1], dimension(all[1])),
		must(DimensionNames[2], dimension(all[2])),
		must(DimensionNames[3], dimension(all[3])),
		must(DimensionNames[4], dimension(all[4])),
		must(DimensionNames[5], dimension(all[5])),
	)
}

func (d *decoder) decision(v *Decision) {
	d.object(
		must("rule", &v.Rule),
		must("why", &v.Why),
		must("rejected", func() {
			d.list(MaxRejected, func() {
				v.Rejected = append(v.Rejected, Rejected{})
				r := &v.Rejected[len(v.Rejected)-1]
				d.object(
					must("endpoint", &r.Endpoint),
					must("why", &r.Why),
				)
			})
		}),
		must("governance", &v.Governance),
		may("commit", &v.Commit),
	)
}

func (d *decoder) attempt(a *Attempt) {
	d.object(
		must("endpoint", &a.Endpoint),
		must("provider", &a.Provider),
		may("region", &a.Region),
		may("model_requested", &a.ModelRequested),
		may("model_served", &a.ModelServed),
		may("status", &a.Status),
		may("error", &a.Error),
		must("start_us", &a.Start),
		may("first_byte_us", &a.FirstByte),
		may("end_us", &a.End),
		may("provider_id", &a.ProviderID),
		may("tier", &a.Tier),
		may("usage_raw", (*rawText)(&a.UsageRaw)),
		must("usage_source", (*string)(&a.UsageSource)),
		must("chunks", &a.Chunks),
		must("bytes", &a.Bytes),
	)
}

func (d *decoder) outcome(o *Outcome) {
	d.object(
		must("status", &o.Status),
		may("code", &o.Code),
		may("finish", &o.Finish),
		must("served", &o.Served),
		must("latency_us", &o.Latency),
		may("first_byte_us", &o.FirstByte),
		must("client", &o.Client),
		must("upstream", &o.Upstream),
		must("answer_bytes", &o.AnswerBytes),
		may("answer_digest", &o.AnswerDigest),
	)
}

func (d *decoder) lifecycle(l *Lifecycle) {
	d.object(
		must("instance", &l.Instance),
		may("reason", &l.Reason),
		may("by", &l.By),
		may("version", &l.Version),
		must("kind", &l.Kind),
	)
}

func (d *decoder) governance(g *Governance) {
	d.object(
		must("digest", &g.Digest),
		may("commit", &g.Commit),
		may("changed", func() {
			d.list(MaxChanged, func() { g.Changed = append(g.Changed, d.text(MaxText)) })
		}),
	)
}

func (d *decoder) audit(a *Audit) {
	d.object(
		must("actor", &a.Actor),
		must("action", &a.Action),
		must("object", &a.Object),
		may("reason", &a.Reason),
		must("outcome", &a.Outcome),
	)
}
