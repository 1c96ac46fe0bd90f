// Package event is the fact that everything else is derived from: what a
// proxy, or another recorder, saw happen, as an immutable CloudEvents 1.0 JSON
// document. SPEC.md is its contract; the rules are numbered there.
//
// Writers build an [Event] and call [Event.Append]; readers call [Decode]. The
// encoding is canonical, but nobody encodes a received event again: the
// SHA-256 of its exact bytes, [Digest], is its identity everywhere.
package event

import "crypto/sha256"

// MaxSize is the largest event in bytes (SPEC E4).
const MaxSize = 64 << 10

// Type says what happened.
type Type string

const (
	RequestCompleted Type = "llm.request.completed" // a call with at least one attempt, however it ended
	RequestDenied    Type = "llm.request.denied"    // an authenticated call that policy refused before any attempt
	RequestRecovered Type = "llm.request.recovered" // an intent whose outcome was lost in a crash
	RequestAdjusted  Type = "llm.request.adjusted"  // what became known of a call after its event: Subject names it
	WriterOpened     Type = "writer.opened"
	WriterHeartbeat  Type = "writer.heartbeat"
	WriterClosed     Type = "writer.closed"
	GovernanceLoaded Type = "governance.loaded"
	AuditRead        Type = "audit.read"
	AuditExport      Type = "audit.export"
	AuditDeletion    Type = "audit.deletion"
	AuditHold        Type = "audit.hold"
	AuditErasure     Type = "audit.erasure"
	AuditBypass      Type = "audit.bypass"     // an operator let calls pass unrecorded, or ended that
	AuditGovernance  Type = "audit.governance" // a changed folder of governance files was refused
)

// Event is one CloudEvents envelope and its data. Exactly one of Request,
// Lifecycle, Governance and Audit is set, as Type demands.
type Event struct {
	ID      ID     // of a recovered event: the intent's
	Source  string // the instance that saw it, such as "ledgerline/proxy-1"
	Type    Type
	Subject ID     // adjusted events: the request adjusted; else zero
	Time    Micros // admission of the request, or when it happened
	Writer  string // one opening of one spool: instance and a random part
	Seq     uint64 // from 1, gapless per writer, set when the outcome is known

	Request    *Request
	Lifecycle  *Lifecycle
	Governance *Governance
	Audit      *Audit
}

// Digest is the identity of an event: the SHA-256 of its exact bytes.
func Digest(raw []byte) [32]byte { return sha256.Sum256(raw) }

// Lifecycle is the data of writer.* events. The event's own Seq is the last
// sequence number of the writer so far, so a lost tail shows.
type Lifecycle struct {
	Instance string // the configured name of the process
	Reason   string // closed: "stopped", or "recovered" when a later opening of the spool closed it
	By       string // closed by recovery: the writer that did it
	Version  string // of the binary
	Kind     string // "live", or "synthetic" for writers of made-up history
}

// Governance is the data of governance.loaded: from now on the writer's events
// name this snapshot.
type Governance struct {
	Digest  string // SHA-256 of the snapshot's archive, hex
	Commit  string // git commit of the folder; empty when it is not a repository
	Changed []string
}

// Audit is the data of audit.* events: who did what to which object.
type Audit struct {
	Actor   string // API key id or command-line user
	Action  string
	Object  string
	Reason  string
	Outcome string // "done" or "refused"
}
