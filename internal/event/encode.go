package event

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Append appends the canonical encoding of the event to dst. It fails, leaving
// dst as it was, when the event breaks a rule of SPEC.md: a missing id, data
// that does not fit the type, a text or list over its limit, more than MaxSize.
// The error wraps ErrInvalid.
func (e *Event) Append(dst []byte) ([]byte, error) {
	why := e.check()
	if why == "" {
		why = e.checkTexts()
	}
	if why != "" {
		return dst, fmt.Errorf("event %s: %s: %w", e.ID, why, ErrInvalid)
	}
	start := len(dst)
	b := append(dst, `{"specversion":"1.0","id":"`...)
	b = e.ID.append(b)
	b = str(b, `","source":`, e.Source)
	b = str(b, `,"type":`, string(e.Type))
	if !e.Subject.IsZero() {
		b = append(b, `,"subject":"`...)
		b = append(e.Subject.append(b), '"')
	}
	b = append(b, `,"time":"`...)
	b = e.Time.Time().AppendFormat(b, timeLayout)
	b = append(b, `","datacontenttype":"application/json","writer":`...)
	b = quote(b, e.Writer)
	b = append(b, `,"seq":"`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `","data":{`...)
	switch {
	case e.Request != nil:
		b = e.Request.append(b)
	case e.Lifecycle != nil:
		b = str(b, `"instance":`, e.Lifecycle.Instance)
		b = opt(b, `,"reason":`, e.Lifecycle.Reason)
		b = opt(b, `,"by":`, e.Lifecycle.By)
		b = opt(b, `,"version":`, e.Lifecycle.Version)
		b = str(b, `,"kind":`, e.Lifecycle.Kind)
	case e.Governance != nil:
		b = str(b, `"digest":`, e.Governance.Digest)
		b = opt(b, `,"commit":`, e.Governance.Commit)
		if len(e.Governance.Changed) > 0 {
			b = append(b, `,"changed":[`...)
			for i, name := range e.Governance.Changed {
				b = quote(comma(b, i), name)
			}
			b = append(b, ']')
		}
	case e.Audit != nil:
		b = str(b, `"actor":`, e.Audit.Actor)
		b = str(b, `,"action":`, e.Audit.Action)
		b = str(b, `,"object":`, e.Audit.Object)
		b = opt(b, `,"reason":`, e.Audit.Reason)
		b = str(b, `,"outcome":`, e.Audit.Outcome)
	}
	b = append(b, `}}`...)
	if size := len(b) - start; size > MaxSize {
		return dst, fmt.Errorf("event %s: %d bytes, the limit is %d: %w", e.ID, size, MaxSize, ErrInvalid)
	}
	// What is around the texts is ASCII, so the whole is UTF-8 when each text is.
	if !utf8.Valid(b[start:]) {
		return dst, fmt.Errorf("event %s: a text is not UTF-8: %w", e.ID, ErrInvalid)
	}
	return b, nil
}

func (r *Request) append(b []byte) []byte {
	c := &r.Call
	b = str(b, `"request":{"format":`, c.Format)
	b = str(b, `,"operation":`, c.Operation)
	b = append(b, `,"stream":`...)
	b = strconv.AppendBool(b, c.Stream)
	b = opt(b, `,"model":`, c.Model)
	b = num(b, `,"body_bytes":`, c.BodyBytes)
	b = opt(b, `,"body_digest":`, c.BodyDigest)
	b = opt(b, `,"trace_id":`, c.TraceID)
	b = opt(b, `,"parent_id":`, c.ParentID)
	b = str(b, `,"workload":`, c.Workload)

	b = str(b, `},"caller":{"key_id":`, r.Caller.KeyID)
	b = opt(b, `,"user_ref":`, r.Caller.UserRef)
	b = opt(b, `,"client_addr":`, r.Caller.ClientAddr)

	b = append(b, `},"attribution":{`...)
	for i, d := range r.Attribution.All() {
		b = quote(comma(b, i), DimensionNames[i])
		b = str(b, `:{"value":`, d.Value)
		b = str(b, `,"provenance":`, string(d.Provenance))
		b = opt(b, `,"conflict":`, d.Conflict)
		b = append(b, '}')
	}

	b = append(b, `},"sources":[`...)
	for i, s := range r.Sources {
		b = str(comma(b, i), `{"namespace":`, s.Namespace)
		b = str(b, `,"name":`, s.Name)
		b = opt(b, `,"version":`, s.Version)
		b = opt(b, `,"role":`, s.Role)
		b = optNum(b, `,"rows":`, s.Rows)
		b = optNum(b, `,"chunks":`, s.Chunks)
		b = str(b, `,"evidence":`, s.Evidence)
		b = append(b, '}')
	}
	b = str(b, `],"coverage":`, r.Coverage)

	d := &r.Decision
	b = str(b, `,"decision":{"rule":`, d.Rule)
	b = str(b, `,"why":`, d.Why)
	b = append(b, `,"rejected":[`...)
	for i, c := range d.Rejected {
		b = str(comma(b, i), `{"endpoint":`, c.Endpoint)
		b = str(b, `,"why":`, c.Why)
		b = append(b, '}')
	}
	b = str(b, `],"governance":`, d.Governance)
	b = opt(b, `,"commit":`, d.Commit)

	b = append(b, `},"attempts":[`...)
	for i := range r.Attempts {
		b = r.Attempts[i].append(comma(b, i))
	}

	o := &r.Outcome
	b = num(b, `],"outcome":{"status":`, int64(o.Status))
	b = opt(b, `,"code":`, o.Code)
	b = opt(b, `,"finish":`, o.Finish)
	b = num(b, `,"served":`, int64(o.Served))
	b = num(b, `,"latency_us":`, o.Latency)
	b = optNum(b, `,"first_byte_us":`, o.FirstByte)
	b = str(b, `,"client":`, o.Client)
	b = str(b, `,"upstream":`, o.Upstream)
	b = num(b, `,"answer_bytes":`, o.AnswerBytes)
	b = opt(b, `,"answer_digest":`, o.AnswerDigest)

	b = append(b, `},"pii":[`...)
	for i, p := range r.PII {
		b = str(comma(b, i), `{"kind":`, p.Kind)
		b = num(b, `,"count":`, p.Count)
		b = append(b, '}')
	}
	b = str(b, `],"capture":`, r.Capture)
	return str(b, `,"retention_class":`, r.RetentionClass)
}

func (a *Attempt) append(b []byte) []byte {
	b = str(b, `{"endpoint":`, a.Endpoint)
	b = str(b, `,"provider":`, a.Provider)
	b = opt(b, `,"region":`, a.Region)
	b = opt(b, `,"model_requested":`, a.ModelRequested)
	b = opt(b, `,"model_served":`, a.ModelServed)
	b = optNum(b, `,"status":`, int64(a.Status))
	b = opt(b, `,"error":`, a.Error)
	b = num(b, `,"start_us":`, int64(a.Start))
	b = optNum(b, `,"first_byte_us":`, int64(a.FirstByte))
	b = optNum(b, `,"end_us":`, int64(a.End))
	b = opt(b, `,"provider_id":`, a.ProviderID)
	b = opt(b, `,"tier":`, a.Tier)
	b = opt(b, `,"usage_raw":`, a.UsageRaw)
	b = str(b, `,"usage_source":`, string(a.UsageSource))
	b = num(b, `,"chunks":`, a.Chunks)
	b = num(b, `,"bytes":`, a.Bytes)
	return append(b, '}')
}

// str appends a member that is always there; opt and optNum leave it out when
// it is empty (SPEC E8).
func str(b []byte, name, v string) []byte { return quote(append(b, name...), v) }

func opt(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return str(b, name, v)
}

func num(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(b, name...), v, 10)
}

func optNum(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	return num(b, name, v)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

// quote appends a JSON string with the fewest and shortest escapes (SPEC E7,
// RFC 8785): quotation mark, backslash and control characters only.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		i := plain(s, 0)
		b = append(b, s[:i]...)
		if i == len(s) {
			return append(b, '"')
		}
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[i+1:]
	}
}

// plain gives the index of the first byte from i on that a JSON string cannot
// hold as it is (quotation mark, backslash, control character), or len(s). It
// looks at eight bytes at once: the high bit of a byte of m is set where the
// byte is less than 0x20, or equal; a borrow can set it wrongly only above a
// right one.
func plain(s string, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^ones*'"', w^ones*'\\'
		m := (w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash
		if m &= high; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

func hexString(d [32]byte) string { return hex.EncodeToString(d[:]) }
