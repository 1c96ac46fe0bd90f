package proxy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// outcome is how a call ended, for the record.
type outcome struct {
	status    int
	code      string // ours; empty when the provider's answer was passed on
	client    string
	upstream  string
	served    int
	bytes     int64
	digest    bool  // of the answer, which has been hashed
	firstByte int64 // µs since admission
}

// begin records the intent, before the first byte goes upstream. It reports
// false when the call was refused because the spool takes none.
func (c *call) begin() bool {
	first := c.route.Endpoints[0]
	model, _ := first.Upstream(c.request.Model)
	d := &c.data
	c.intent = event.Intent{
		ID: c.ev.ID, Time: c.at, Call: d.Call, KeyID: c.key.ID, Attribution: d.Attribution, Rule: d.Decision.Rule,
		Governance: c.plan.snapshot.Digest, Endpoint: first.ID, Provider: first.Provider, Model: model, RetentionClass: d.RetentionClass,
	}
	err := c.s.spool.Begin(&c.intent)
	switch {
	case err == nil:
		c.begun = true
		c.s.bypass.end(c.s)
		return true
	case c.s.o.Bypass:
		c.unrecorded = true
		c.s.bypass.start(c.s, err)
		return true
	}
	c.refuseForSpool(err)
	return false
}

func (c *call) refuseForSpool(err error) {
	code, message := "ledgerline_spool_failed", "Calls cannot be recorded at the moment."
	if errors.Is(err, spool.ErrFull) {
		code = "ledgerline_spool_full"
	}
	c.ctx.Response.Header.Set("Retry-After", "5")
	c.turnAway(503, code, message, c.s.metrics.spoolRefused)
}

// record makes the event of the call and waits until it is durable. It reports
// false when it is not, within Options.Hold; then the end of the answer must
// not reach the client.
func (c *call) record(o outcome) bool {
	c.settleLimits()
	if c.unrecorded {
		c.recorded = true
		return true
	}
	d := &c.data
	d.Outcome = event.Outcome{
		Status: o.status, Code: o.code, Finish: c.keep(c.answer.Finish, 64), Served: o.served, Latency: max(c.elapsed(), 0), FirstByte: max(o.firstByte, 0),
		Client: o.client, Upstream: o.upstream, AnswerBytes: o.bytes,
	}
	if o.served < 0 {
		d.Outcome.Finish = ""
	}
	if o.digest {
		from := len(c.arena)
		c.arena = c.digest.appendHex(c.arena, c.digest.answer)
		d.Outcome.AnswerDigest = wire.String(c.arena[from:])
	}
	write := c.s.spool.Finish
	c.ev.Type = event.RequestCompleted
	if !c.begun {
		write = c.s.spool.Record
		c.ev.Type = event.RequestDenied
	}
	receipt, err := write(&c.ev)
	if err != nil && c.s.spool.Err() == nil {
		// The event itself was refused: too much usage in too many attempts.
		// The one that served keeps its own. The sources go too, which shows.
		c.s.log.Error("an event was refused, recorded without the usage of failed attempts", "event", wire.String(c.id[:]), "error", err)
		for i := range d.Attempts {
			if i != o.served {
				d.Attempts[i].UsageRaw, d.Attempts[i].UsageSource = "", event.UsageMissing
			}
		}
		if len(d.Sources) > 0 {
			d.Sources, d.Coverage = d.Sources[:0], "partial"
		}
		receipt, err = write(&c.ev)
	}
	if err != nil {
		c.s.log.Error("an outcome could not be recorded", "event", wire.String(c.id[:]), "error", err)
		c.s.metrics.lost.Inc()
		return false
	}
	if err := c.s.spool.Wait(receipt, c.s.o.Hold); err != nil {
		c.s.metrics.withheld.Inc()
		c.s.log.Warn("an answer was withheld: its record is not durable", "event", wire.String(c.id[:]), "error", err)
		return false
	}
	c.recorded = true
	return true
}

// withhold breaks the client's connection without the end of the answer. The
// event, which says that the client got it, may still become durable, so what
// really happened is recorded behind it.
func (c *call) withhold() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.s.metrics.ended(c, "withheld")
	if !c.begun {
		return
	}
	now := c.s.o.Now()
	ev := &event.Event{ID: event.NewID(event.At(now)), Source: c.ev.Source, Type: event.RequestAdjusted, Subject: c.ev.ID, Time: event.At(now)}
	r := c.data
	r.Attempts, r.Sources = nil, nil
	r.Decision.Rejected = nil
	r.Coverage = "none"
	r.Outcome.Client, r.Outcome.Served, r.Outcome.Code = "withheld", -1, "ledgerline_withheld"
	own(&r)
	ev.Request = &r
	select {
	case c.s.adjust <- struct{}{}:
		go c.s.adjustLater(ev)
	default:
		c.s.metrics.lost.Inc()
	}
}

// own gives a record texts of its own: those of a call live in its arena.
func own(r *event.Request) {
	texts := []*string{&r.Call.Operation, &r.Call.Model, &r.Call.BodyDigest, &r.Call.TraceID, &r.Call.ParentID,
		&r.Caller.UserRef, &r.Decision.Why, &r.Outcome.Finish, &r.Outcome.AnswerDigest}
	for _, d := range r.Attribution.All() {
		texts = append(texts, &d.Value, &d.Conflict)
	}
	for _, t := range texts {
		*t = strings.Clone(*t)
	}
}

// adjustLater records an adjusted event as soon as the spool takes it, for a
// few minutes at most.
func (s *Server) adjustLater(ev *event.Event) {
	defer func() { <-s.adjust }()
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for range 1500 {
		_, err := s.spool.Record(ev)
		if err == nil {
			return
		}
		if errors.Is(err, spool.ErrClosed) {
			break
		}
		select {
		case <-retry.C:
			continue
		case <-s.gone:
			if _, err := s.spool.Record(ev); err == nil {
				return
			}
		}
		break
	}
	s.metrics.lost.Inc()
	s.log.Error("a withheld answer could not be recorded as such", "event", ev.Subject.String())
}

// bypass is the operator's emergency: calls pass unrecorded while the spool
// takes none. Its start and end are audit events, written once the spool takes
// events again.
type bypass struct {
	mu     sync.Mutex
	on     bool
	since  event.Micros
	reason string
	calls  int64
}

func (b *bypass) start(s *Server, why error) {
	s.metrics.bypassed.Inc()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.on {
		return
	}
	b.on, b.since, b.reason = true, event.At(s.o.Now()), why.Error()
	s.metrics.bypass.Set(1)
	s.log.Error("calls pass unrecorded: bypass is allowed and the spool takes no events", "error", why)
}

func (b *bypass) end(s *Server) {
	if !s.o.Bypass {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on {
		return
	}
	now := event.At(s.o.Now())
	started := s.audit(b.since, "bypass.start", b.reason)
	ended := s.audit(now, "bypass.end", fmt.Sprintf("%d calls passed unrecorded", b.calls))
	for _, ev := range []*event.Event{started, ended} {
		if _, err := s.spool.Record(ev); err != nil {
			return // tried again with the next call
		}
	}
	b.on, b.calls = false, 0
	s.metrics.bypass.Set(0)
	s.log.Warn("calls are recorded again")
}

func (s *Server) audit(at event.Micros, action, reason string) *event.Event {
	return &event.Event{ID: event.NewID(at), Source: s.o.Source, Type: event.AuditBypass, Time: at,
		Audit: &event.Audit{Actor: "operator", Action: action, Object: s.spool.Writer(), Reason: event.Clip(reason, event.MaxText), Outcome: "done"}}
}
