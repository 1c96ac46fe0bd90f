package event

import (
	"errors"
	"fmt"
	"slices"
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
	d := decoder{parser: parser{s: string(raw), at: "event"}, later: -1}
	e := new(Event)
	d.event(e)
	if d.err != nil {
		return nil, d.err
	}
	switch why := e.check(); {
	case why != "" && why != whyType:
		return nil, fmt.Errorf("%s: %w", why, ErrInvalid)
	case why == whyType:
		return e, ErrUnknownType
	}
	return e, nil
}

// decoder puts the members of an event where they belong.
type decoder struct {
	parser
	later int // where data began when it came before type; else -1
}

// member is a member that an object may or must have, and where its value
// goes: into what value knows how to read.
type member struct {
	name   string
	always bool
	into   any
}

func must(name string, into any) member { return member{name, true, into} }
func may(name string, into any) member  { return member{name, false, into} }

// Forms of a value that its Go type does not tell.
type (
	timeText Micros // a time as text
	rawText  string // a text with the limit of usage_raw
	exact    string // a text that can be no other
	data     Event  // the data of the event, as its type demands
)

// value reads the value of a known member. It is one switch, and not a func
// per member, so that decoding allocates nothing but the event.
func (d *decoder) value(into any) {
	switch v := into.(type) {
	case *string:
		*v = d.text(MaxText)
	case *int64:
		*v = d.integer()
	case *Micros:
		*v = Micros(d.integer())
	case *int:
		n := d.integer()
		if int64(int(n)) != n {
			d.fail("out of range")
		}
		*v = int(n)
	case *bool:
		*v = d.bool()
	case *rawText:
		*v = rawText(d.text(MaxUsageRaw))
	case *Dimension:
		d.dimension(v)

	case *ID:
		id, err := ParseID(d.text(36))
		if err != nil {
			d.fail(errID.Error())
		}
		*v = id
	case *uint64:
		*v = d.sequence()
	case *timeText:
		*v = timeText(d.time())
	case exact:
		if d.text(MaxText) != string(v) {
			d.fail("want " + string(v))
		}
	case *data:
		d.data((*Event)(v))

	case *Call:
		d.call(v)
	case *Caller:
		d.caller(v)
	case *Attribution:
		d.attribution(v)
	case *[]Source:
		for n := 0; d.element(n, MaxSources); n++ {
			*v = append(*v, Source{})
			d.source(&(*v)[n])
		}
	case *Decision:
		d.decision(v)
	case *[]Rejected:
		for n := 0; d.element(n, MaxRejected); n++ {
			*v = append(*v, Rejected{})
			d.rejected(&(*v)[n])
		}
	case *[]Attempt:
		for n := 0; d.element(n, MaxAttempts); n++ {
			*v = append(*v, Attempt{})
			d.attempt(&(*v)[n])
		}
	case *Outcome:
		d.outcome(v)
	case *[]Count:
		for n := 0; d.element(n, MaxPII); n++ {
			*v = append(*v, Count{})
			d.count(&(*v)[n])
		}
	case *[]string:
		for n := 0; d.element(n, MaxChanged); n++ {
			*v = append(*v, d.text(MaxText))
		}
	default:
		panic("event: no reader for a member")
	}
}

// object reads an object with at most 64 known members. Unknown ones are
// checked and skipped.
func (d *decoder) object(known ...member) {
	if !d.open('{') {
		return
	}
	var seen uint64
	var others []string
	next := 0 // members mostly come in canonical order
	for n := 0; d.more(n, '}'); n++ {
		i := d.expected(known, next)
		if i < 0 {
			name := d.name()
			if i = find(known, name); i < 0 {
				others = d.once(others, name)
				d.skip()
				continue
			}
		}
		next = i + 1
		d.at = known[i].name
		if seen&(1<<i) != 0 {
			d.fail("told twice")
			return
		}
		seen |= 1 << i
		d.value(known[i].into)
	}
	for i := range known {
		if d.err == nil && known[i].always && seen&(1<<i) == 0 {
			d.at = known[i].name
			d.fail("missing in the object that ends")
		}
	}
}

// expected reads the name of the next member when it is one of the next few
// in canonical order and is written as Append writes it; else it gives -1 and
// reads nothing.
func (d *decoder) expected(known []member, next int) int {
	rest := d.s[d.i:]
	for i := next; i < min(next+4, len(known)); i++ {
		name := known[i].name
		if n := len(name); len(rest) > n+2 && rest[n+1] == '"' && rest[n+2] == ':' && rest[0] == '"' && rest[1:n+1] == name {
			d.i += n + 3
			return i
		}
	}
	return -1
}

func find(known []member, name string) int {
	return slices.IndexFunc(known, func(m member) bool { return m.name == name })
}

// element goes to the nth element of an array, and reports whether there is
// one.
func (d *decoder) element(n, limit int) bool {
	if n == 0 && !d.open('[') || !d.more(n, ']') {
		return false
	}
	if n == limit {
		d.fail("list over its limit")
		return false
	}
	return true
}

func (d *decoder) event(e *Event) {
	d.object(
		must("specversion", exact("1.0")),
		must("id", &e.ID),
		must("source", &e.Source),
		must("type", (*string)(&e.Type)),
		may("subject", &e.Subject),
		must("time", (*timeText)(&e.Time)),
		must("datacontenttype", exact("application/json")),
		must("writer", &e.Writer),
		must("seq", &e.Seq),
		must("data", (*data)(e)),
	)
	if d.peek(); d.err == nil && d.i < len(d.s) {
		d.fail("bytes after the event")
	}
	if d.err == nil && d.later >= 0 {
		d.i, d.depth = d.later, 1
		d.data(e)
	}
}

// data reads the data of an event. When the type has not come yet, its place
// is kept for when it has.
func (d *decoder) data(e *Event) {
	switch e.Type {
	case RequestCompleted, RequestDenied, RequestRecovered, RequestAdjusted:
		// A call has one attempt as a rule: one allocation for all of it.
		r := new(struct {
			Request
			first [1]Attempt
		})
		e.Request = &r.Request
		r.Attempts = r.first[:0]
		d.request(e.Request)
		if len(r.Attempts) == 0 {
			r.Attempts = nil
		}
	case WriterOpened, WriterHeartbeat, WriterClosed:
		e.Lifecycle = new(Lifecycle)
		d.lifecycle(e.Lifecycle)
	case GovernanceLoaded:
		e.Governance = new(Governance)
		d.governance(e.Governance)
	case AuditRead, AuditExport, AuditDeletion, AuditHold, AuditErasure, AuditBypass, AuditGovernance:
		e.Audit = new(Audit)
		d.audit(e.Audit)
	case "":
		d.later = d.i
		d.skip()
	default:
		d.skip()
	}
}

func (d *decoder) request(r *Request) {
	d.object(
		must("request", &r.Call),
		must("caller", &r.Caller),
		must("attribution", &r.Attribution),
		must("sources", &r.Sources),
		must("coverage", &r.Coverage),
		must("decision", &r.Decision),
		must("attempts", &r.Attempts),
		must("outcome", &r.Outcome),
		must("pii", &r.PII),
		must("capture", &r.Capture),
		must("retention_class", &r.RetentionClass),
	)
}

func (d *decoder) call(c *Call) {
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
}

func (d *decoder) caller(c *Caller) {
	d.object(
		must("key_id", &c.KeyID),
		may("user_ref", &c.UserRef),
		may("client_addr", &c.ClientAddr),
	)
}

func (d *decoder) attribution(a *Attribution) {
	all := a.All()
	d.object(
		must(DimensionNames[0], all[0]),
		must(DimensionNames[1], all[1]),
		must(DimensionNames[2], all[2]),
		must(DimensionNames[3], all[3]),
		must(DimensionNames[4], all[4]),
		must(DimensionNames[5], all[5]),
	)
}

func (d *decoder) dimension(v *Dimension) {
	d.object(
		must("value", &v.Value),
		must("provenance", (*string)(&v.Provenance)),
		may("conflict", &v.Conflict),
	)
}

func (d *decoder) source(s *Source) {
	d.object(
		must("namespace", &s.Namespace),
		must("name", &s.Name),
		may("version", &s.Version),
		may("role", &s.Role),
		may("rows", &s.Rows),
		may("chunks", &s.Chunks),
		must("evidence", &s.Evidence),
	)
}

func (d *decoder) decision(v *Decision) {
	d.object(
		must("rule", &v.Rule),
		must("why", &v.Why),
		must("rejected", &v.Rejected),
		must("governance", &v.Governance),
		may("commit", &v.Commit),
	)
}

func (d *decoder) rejected(r *Rejected) {
	d.object(
		must("endpoint", &r.Endpoint),
		must("why", &r.Why),
	)
}

func (d *decoder) count(c *Count) {
	d.object(
		must("kind", &c.Kind),
		must("count", &c.Count),
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
		may("changed", &g.Changed),
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
