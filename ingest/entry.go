package ingest

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
)

// Entry is one line of the money ledger: what one attempt of one event bought
// of one token class. An entry is never changed; a restatement reverses it and
// enters it anew. Entries compare with ==.
type Entry struct {
	ID          [16]byte // see entryID
	Event       event.ID
	Attempt     uint8
	Class       string // token class, a counter's name, "none" or "unknown"
	Restatement uint32 // 0: first entry
	Sign        int8   // +1, or -1 for a reversal

	Time           event.Micros // of the event: admission
	Period         uint32       // yyyymm that it is posted in
	RetentionClass string

	BusinessUnit, Team, Project, User, Application, UseCase string
	Provider, Endpoint, Region, Model, Tier, Workload       string
	UsageSource                                             string

	Calls    int8   // 1 on the first entry of an event; signed as the entry, like Quantity and Cost
	Quantity Amount // tokens, or what a counter counts; not known: the usage is missing
	Rate     Amount // pico-dollars per token; not known: unpriced or missing
	PriceID  string
	Cost     Amount // pico-dollars; not known: unpriced or missing
	Status   string // Exact …

	PriceBook  string
	Governance [32]byte // digest of the snapshot that derived it
	Derivation uint16
}

// Amount is a number that may not be known, which is not zero.
type Amount struct {
	Value int64
	Known bool
}

func known(v int64) Amount { return Amount{v, true} }

func (a Amount) neg() Amount { return Amount{-a.Value, a.Known} }

// Derivation is the version of the rules in this package that make entries of
// an event and a snapshot. It counts up when they change.
const Derivation = 1

// Cost statuses, from the best to the worst.
const (
	Free      = "free"      // costs nothing: the rate is zero, or nothing was bought
	Exact     = "exact"     // tokens as the provider said, times the list price
	Estimated = "estimated" // tokens as someone else said
	Partial   = "partial"   // tokens as the provider had said before the answer broke off
	Unpriced  = "unpriced"  // tokens without a price
	Missing   = "missing"   // tokens not known
)

var severity = map[string]int{Free: 0, Exact: 1, Estimated: 2, Partial: 3, Unpriced: 4, Missing: 5}

// Classes of entries that have no token class.
const (
	ClassNone    = "none"    // nothing was bought
	ClassUnknown = "unknown" // what was bought is not known
)

// entryID is the first 16 bytes of the SHA-256 of event id (16 bytes), attempt
// (1), restatement (4, big endian), sign (1: 0x01 or 0xff), class (the rest):
// the same entry has the same id wherever it is made again.
func entryID(e *Entry) (id [16]byte) {
	var b [64]byte
	copy(b[:], e.Event[:])
	b[16] = e.Attempt
	binary.BigEndian.PutUint32(b[17:], e.Restatement)
	b[21] = byte(e.Sign)
	sum := sha256.Sum256(append(b[:22], e.Class...))
	copy(id[:], sum[:])
	return id
}

// posting is the period yyyymm of a time.
func posting(t event.Micros) uint32 {
	y, m, _ := t.Time().Date()
	return uint32(y)*100 + uint32(m)
}

// correct is the entries that turn the current entries of one event into next
// ones under restatement r, posted in period: a reversal of each current entry
// that is not the same any more and a re-entry of each that is not the same
// yet. Both sides hold first entries or re-entries only, at most one for each
// attempt and class. What did not change gives nothing.
func correct(current, next []Entry, r, period uint32) []Entry {
	var out []Entry
	for i := range current {
		if c := &current[i]; !hasSame(next, c) {
			e := *c
			e.Restatement, e.Sign, e.Period = r, -1, period
			e.Calls, e.Quantity, e.Cost = -c.Calls, c.Quantity.neg(), c.Cost.neg()
			e.ID = entryID(&e)
			out = append(out, e)
		}
	}
	for i := range next {
		if n := &next[i]; !hasSame(current, n) {
			e := *n
			e.Restatement, e.Sign, e.Period = r, 1, period
			e.ID = entryID(&e)
			out = append(out, e)
		}
	}
	return out
}

func hasSame(entries []Entry, e *Entry) bool {
	for i := range entries {
		if entries[i].Attempt == e.Attempt && entries[i].Class == e.Class {
			return entries[i].same(e)
		}
	}
	return false
}

// same reports whether two entries say the same, whichever rules said it.
func (e *Entry) same(o *Entry) bool {
	a, b := *e, *o
	for _, x := range []*Entry{&a, &b} {
		x.ID, x.Restatement, x.Period, x.PriceBook, x.Governance, x.Derivation = [16]byte{}, 0, 0, "", [32]byte{}, 0
	}
	return a == b
}

// pico is an amount in dollars as people read it.
func pico(a Amount) string {
	if !a.Known {
		return "unknown"
	}
	return "$" + money.Pico(a.Value).String()
}
