package event

// Request is the data of the llm.request.* events: one call by a client, with
// one or more attempts at providers. It holds no prompt, no answer, no header
// and no secret, and neither token counts nor money: those are derived from
// UsageRaw.
type Request struct {
	Call           Call
	Caller         Caller
	Attribution    Attribution
	Sources        []Source // at most MaxSources
	Coverage       string   // how much Sources says: "none", "mapped", "declared", "observed", "malformed", "partial"
	Decision       Decision
	Attempts       []Attempt // in the order they were made, at most MaxAttempts
	Outcome        Outcome
	PII            []Count // findings by kind; none when nothing was looked for
	Capture        string  // whether content was stored: "none" or "sealed"
	RetentionClass string
}

// Limits of lists and texts, in items and bytes. Append refuses what exceeds
// them; Clip shortens a text from outside.
const (
	MaxAttempts = 16
	MaxSources  = 64
	MaxRejected = 16
	MaxPII      = 16
	MaxChanged  = 64 // file names of governance.loaded
	MaxText     = 512
	MaxUsageRaw = 8 << 10
)

// Call is what the client asked for.
type Call struct {
	Format     string // wire format: "openai.chat", "anthropic.messages", … or "passthrough"
	Operation  string // method and path below the provider, such as "POST /v1/chat/completions"
	Stream     bool
	Model      string // as the client named it
	BodyBytes  int64
	BodyDigest string // keyed HMAC-SHA256 of the body, hex; the key can be destroyed
	TraceID    string // W3C trace id, 32 hex
	ParentID   string // W3C parent span id, 16 hex
	Workload   string // "interactive" or "batch"
}

// Caller is who asked.
type Caller struct {
	KeyID      string // public id of the virtual key, never the secret
	UserRef    string // keyed reference of the user, "u_" and 16 hex
	ClientAddr string // only where the operator asked for it
}

// Provenance says where an attribution value comes from. What the credential
// says beats what the client says.
type Provenance string

const (
	FromKey       Provenance = "key"
	FromJWT       Provenance = "jwt"
	FromHeader    Provenance = "header"
	FromHierarchy Provenance = "hierarchy" // what another dimension's value belongs to
	FromDefault   Provenance = "default"
	Missing       Provenance = "missing"
)

// Dimension is the value of one attribution dimension and where it came from.
type Dimension struct {
	Value      string
	Provenance Provenance
	Conflict   string // what the client claimed and the credential overruled
}

// Attribution is the six dimensions that a cost belongs to.
type Attribution struct {
	BusinessUnit, Team, Project, User, Application, UseCase Dimension
}

// DimensionNames are the six dimensions in the order of [Attribution.All].
var DimensionNames = [6]string{"business_unit", "team", "project", "user", "application", "use_case"}

// All is the dimensions in the order of DimensionNames.
func (a *Attribution) All() [6]*Dimension {
	return [6]*Dimension{&a.BusinessUnit, &a.Team, &a.Project, &a.User, &a.Application, &a.UseCase}
}

// Source is a dataset that fed the prompt, named as OpenLineage does.
type Source struct {
	Namespace, Name, Version string
	Role                     string // such as "context" or "tool"
	Rows                     int64  // of it that were used; 0 when not told
	Chunks                   int64  // of it that were put into the prompt; 0 when not told
	Evidence                 string // observed | declared | traced | mapped
}

// Decision is why the call went where it went.
type Decision struct {
	Rule       string // the rule that chose the route
	Why        string // one plain sentence
	Rejected   []Rejected
	Governance string // digest of the snapshot that decided, hex
	Commit     string
}

// Rejected is an endpoint that was considered and not chosen.
type Rejected struct{ Endpoint, Why string }

// UsageSource says how good the usage of an attempt is. Missing is not zero.
type UsageSource string

const (
	UsageProvider  UsageSource = "provider"         // the provider's final usage object
	UsagePartial   UsageSource = "provider_partial" // what the provider had said before the stream broke off
	UsageGateway   UsageSource = "gateway"
	UsageEstimated UsageSource = "estimated"
	UsageMissing   UsageSource = "missing"
)

// Attempt is one call upstream, also a failed or abandoned one.
type Attempt struct {
	Endpoint       string // id in the registry
	Provider       string
	Region         string
	ModelRequested string // as sent upstream
	ModelServed    string // as the answer named it; empty when it did not
	Status         int    // HTTP status; 0 when there was no answer
	Error          string // class: "", "http", "connect", "timeout", "reset", "cut", "protocol", "too_large", "cancelled", "lost" (recovered)
	Start          Micros
	FirstByte      Micros // of the answer's body; 0 when none came
	End            Micros
	ProviderID     string // the provider's request id
	Tier           string // service tier served
	UsageRaw       string // exact bytes of the provider's usage object; several objects of one stream are put into one JSON array
	UsageSource    UsageSource
	Chunks         int64 // stream events seen
	Bytes          int64 // body bytes seen
}

// Outcome is how the call ended.
type Outcome struct {
	Status       int    // HTTP status to the client; 0 when unknown (recovered)
	Code         string // our error code, such as "ledgerline_attribution_missing"; empty when the provider's answer was passed on
	Finish       string // the provider's finish reason
	Served       int    // index of the attempt that served; -1 when none did
	Latency      int64  // µs from admission to the end of the answer
	FirstByte    int64  // µs from admission to the first byte of the answer; 0 when none
	Client       string // completed | left | cut | withheld | unknown
	Upstream     string // completed | drained | cancelled | cut | none | unknown
	AnswerBytes  int64
	AnswerDigest string // keyed HMAC-SHA256 of the answer's body, hex
}

// Count is a number of findings of one kind.
type Count struct {
	Kind  string
	Count int64
}
