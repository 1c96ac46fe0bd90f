package event

// Intent is the small record that the spool keeps from before the first byte
// goes upstream until the outcome is known. After a crash an intent without an
// outcome becomes a recovered event, so it names who pays and where the call
// was going.
type Intent struct {
	ID             ID
	Time           Micros
	Call           Call // BodyDigest, TraceID and ParentID are not kept
	KeyID          string
	Attribution    Attribution
	Rule           string
	Governance     [32]byte // digest of the snapshot that decided
	Endpoint       string   // of the first attempt
	Provider       string
	Model          string // as sent to the first endpoint
	RetentionClass string
}

// Recovered is the event of an intent whose outcome was lost. Status, usage and
// everything after the intent are unknown, and said to be.
func (in *Intent) Recovered(source string) *Event {
	return &Event{
		ID: in.ID, Source: source, Type: RequestRecovered, Time: in.Time,
		Request: &Request{
			Call:        in.Call,
			Caller:      Caller{KeyID: in.KeyID, UserRef: in.Attribution.User.Value},
			Attribution: in.Attribution,
			Coverage:    "none",
			Decision: Decision{
				Rule: in.Rule, Why: "The outcome was lost in a crash; the intent was found in the spool.",
				Governance: hexString(in.Governance),
			},
			Attempts: []Attempt{{
				Endpoint: in.Endpoint, Provider: in.Provider, ModelRequested: in.Model,
				Error: "lost", Start: in.Time, UsageSource: UsageMissing,
			}},
			Outcome:        Outcome{Served: -1, Client: "unknown", Upstream: "unknown"},
			Capture:        "none",
			RetentionClass: in.RetentionClass,
		},
	}
}
