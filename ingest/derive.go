package ingest

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/usage"
)

// Derived is what follows from one event and the snapshot it names.
type Derived struct {
	Entries []Entry

	// The dimensions of the event, canonical, parents filled in; empty: missing.
	BusinessUnit, Team, Project, User, Application, UseCase string

	// Of all attempts together.
	Input, Output, Reasoning Amount // tokens
	Cost                     Amount // pico-dollars
	Status                   string // the worst of the entries
}

// ErrDigest says that an event does not name a snapshot by its digest.
var ErrDigest = errors.New("governance is not the hex digest of a snapshot")

// digestOf is the snapshot that the event names: of a call the one that
// decided it, of governance.loaded the one it is about, of others none.
func digestOf(ev *event.Event) (digest [32]byte, err error) {
	var text string
	switch {
	case ev.Request != nil:
		text = ev.Request.Decision.Governance
	case ev.Governance != nil:
		text = ev.Governance.Digest
	default:
		return digest, nil
	}
	if len(text) != 64 {
		return digest, ErrDigest
	}
	if _, err := hex.Decode(digest[:], []byte(text)); err != nil {
		return digest, ErrDigest
	}
	return digest, nil
}

// isCall reports whether the event is a call: it has a row in requests.
func isCall(ev *event.Event) bool {
	return ev.Type == event.RequestCompleted || ev.Type == event.RequestRecovered || ev.Type == event.RequestDenied
}

// isPriced reports whether rules are needed to take the event in: calls, and
// adjusted events that say what their call bought.
func isPriced(ev *event.Event) bool {
	return isCall(ev) || ev.Type == event.RequestAdjusted && len(ev.Request.Attempts) > 0
}

// Derive makes the entries and the view of an event under a snapshot. It
// depends on nothing else. An adjusted event has no entries of its own, see
// [Adjust]. It fails when an amount overflows; the error names no content of
// the event.
func Derive(ev *event.Event, snap *governance.Snapshot) (Derived, error) {
	var d Derived
	err := d.derive(ev, snap)
	return d, err
}

// derive is Derive into d, whose Entries are appended to.
func (d *Derived) derive(ev *event.Event, snap *governance.Snapshot) error {
	if !isPriced(ev) {
		return nil
	}
	if ev.Type == event.RequestAdjusted { // tried, so that its call can be derived with it
		call := *ev
		call.Type = event.RequestCompleted
		return new(Derived).derive(&call, snap)
	}
	d.attribute(ev, snap)
	d.Status = Free
	d.Input, d.Output, d.Reasoning, d.Cost = known(0), known(0), known(0), known(0)
	if ev.Type == event.RequestDenied && len(ev.Request.Attempts) == 0 {
		return nil
	}
	first := len(d.Entries)
	for i := range ev.Request.Attempts {
		if err := d.attempt(ev, snap, i); err != nil {
			return fmt.Errorf("attempt %d: %w", i, err)
		}
	}
	if len(d.Entries) == first { // a call without an attempt is not known to have cost nothing
		d.entry(d.base(ev, snap, &event.Attempt{}, 0), ClassUnknown, Missing)
	}
	d.Entries[first].Calls = 1
	for i := first; i < len(d.Entries); i++ {
		e := &d.Entries[i]
		e.ID = entryID(e)
		if severity[e.Status] > severity[d.Status] {
			d.Status = e.Status
		}
		var err error
		if d.Cost, err = plus(d.Cost, e.Cost); err != nil {
			return err
		}
	}
	return nil
}

// attribute fills the dimensions: aliases become their value, and a missing
// project's or team's parent follows from what is there.
func (d *Derived) attribute(ev *event.Event, snap *governance.Snapshot) {
	a := &ev.Request.Attribution
	canonical := func(dimension, value string) string {
		if value != "" {
			value, _ = snap.Canonical(dimension, value)
		}
		return value
	}
	d.BusinessUnit = canonical("business_unit", a.BusinessUnit.Value)
	d.Team = canonical("team", a.Team.Value)
	d.Project = canonical("project", a.Project.Value)
	d.User = a.User.Value
	d.Application = canonical("application", a.Application.Value)
	d.UseCase = canonical("use_case", a.UseCase.Value)
	at := ev.Time.Time()
	if d.Team == "" && d.Project != "" {
		d.Team, _ = snap.Parent("project", d.Project, at)
	}
	if d.BusinessUnit == "" && d.Team != "" {
		d.BusinessUnit, _ = snap.Parent("team", d.Team, at)
	}
}

// base is an entry of the attempt with all that does not depend on its class.
func (d *Derived) base(ev *event.Event, snap *governance.Snapshot, a *event.Attempt, i int) Entry {
	return Entry{
		Event: ev.ID, Attempt: uint8(i), Sign: 1,
		Time: ev.Time, Period: posting(ev.Time), RetentionClass: ev.Request.RetentionClass,
		BusinessUnit: d.BusinessUnit, Team: d.Team, Project: d.Project, User: d.User, Application: d.Application, UseCase: d.UseCase,
		Provider: a.Provider, Endpoint: a.Endpoint, Region: a.Region, Model: cmp.Or(a.ModelServed, a.ModelRequested), Tier: tier(a.Tier),
		Workload: ev.Request.Call.Workload, UsageSource: string(a.UsageSource),
		PriceBook: snap.PriceBook, Governance: snap.Digest, Derivation: Derivation,
	}
}

// entry adds an entry without tokens.
func (d *Derived) entry(e Entry, class, status string) {
	e.Class, e.Status = class, status
	if status == Free {
		e.Quantity, e.Rate, e.Cost = known(0), known(0), known(0)
	}
	d.Entries = append(d.Entries, e)
}

func (d *Derived) attempt(ev *event.Event, snap *governance.Snapshot, i int) error {
	a := &ev.Request.Attempts[i]
	base := d.base(ev, snap, a, i)
	if a.UsageRaw == "" && (a.Status >= 400 || a.Error == "connect") {
		d.entry(base, ClassNone, Free) // the provider refused or was never reached
		return nil
	}
	u, err := usage.Parse(ev.Request.Call.Format, []byte(a.UsageRaw))
	if a.UsageRaw == "" || err != nil || u.Inconsistent != "" {
		d.Input, d.Output, d.Reasoning = Amount{}, Amount{}, Amount{}
		d.entry(base, ClassUnknown, Missing)
		return nil
	}
	d.Input, d.Output, d.Reasoning = told(d.Input, u.Input), told(d.Output, u.Output), told(d.Reasoning, u.Reasoning)
	base.Tier = tier(cmp.Or(u.Tier, a.Tier)) // the usage object is the nearest to the bill
	rates := snap.Rates(governance.PriceKey{
		Provider: base.Provider, Model: base.Model, Region: base.Region, Tier: base.Tier, ContextTokens: max(u.Input, 0),
		At: priceTime(ev, a),
	})
	first := len(d.Entries)
	for _, line := range u.Lines {
		// A class told as zero bought nothing; the event keeps the fact. Input and output stay, so that a call that was told to
		// have used nothing shows it.
		if line.Tokens == 0 && line.Class != usage.Input && line.Class != usage.Output {
			continue
		}
		if err := d.line(base, rates, string(line.Class), line.Tokens); err != nil {
			return err
		}
	}
	for _, c := range u.Counters {
		for j := range d.Entries {
			if e := &d.Entries[j]; e.Event == ev.ID && int(e.Attempt) == i && e.Class == c.Name {
				return errors.New("a counter has the name of a token class")
			}
		}
		if err := d.line(base, rates, c.Name, c.Count); err != nil {
			return err
		}
	}
	if len(d.Entries) == first {
		d.entry(base, ClassNone, Free)
	}
	return nil
}

// line adds the entry of a quantity that was told.
func (d *Derived) line(e Entry, rates governance.Rates, class string, quantity int64) error {
	e.Class, e.Quantity, e.Status = class, known(quantity), Unpriced
	cost, price, priced, err := rates.Cost(class, quantity)
	if err != nil {
		return fmt.Errorf("class %s: %w", class, err)
	}
	if priced {
		e.Cost, e.Status = known(int64(cost)), Exact
		if price.ID != "" { // not there: nothing was bought, at whatever price
			e.Rate, e.PriceID = known(int64(price.Rate)), price.ID
		}
		switch {
		case price.Rate == 0:
			e.Status = Free
		case e.UsageSource == string(event.UsagePartial):
			e.Status = Partial
		case e.UsageSource != string(event.UsageProvider):
			e.Status = Estimated
		}
	}
	d.Entries = append(d.Entries, e)
	return nil
}

// priceTime is when the attempt began: the price of that moment holds.
func priceTime(ev *event.Event, a *event.Attempt) time.Time {
	return cmp.Or(a.Start, ev.Time).Time()
}

// tier is the name under which the price book has a service tier.
func tier(served string) string {
	if served == "" || served == "default" {
		return "standard"
	}
	return served
}

// plus adds what may not be known.
func plus(a, b Amount) (Amount, error) {
	if !a.Known || !b.Known {
		return Amount{}, nil
	}
	sum := a.Value + b.Value
	if (sum > a.Value) != (b.Value > 0) && b.Value != 0 {
		return Amount{}, money.ErrOverflow
	}
	return known(sum), nil
}

// told adds a count that is -1 when it was not told; counts are below 2^53.
func told(a Amount, count int64) Amount {
	if !a.Known || count < 0 {
		return Amount{}
	}
	return known(a.Value + count)
}
