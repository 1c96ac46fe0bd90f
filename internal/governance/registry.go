package governance

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// registryFile is registry.yaml: the providers that were looked at, and what
// they may be used for.
type registryFile struct {
	Providers []providerEntry `yaml:"providers,required"`
}

// providerEntry is one provider. One without endpoints takes no calls through
// the proxy; it is there for its terms and its prices.
type providerEntry struct {
	// Also the first part of the path /<id>/… at the proxy.
	ID   at[id] `yaml:"id,required"`
	Name text   `yaml:"name,required"`
	// The role or group that reviews it.
	Owner text `yaml:"owner,required"`
	// Where it processes data, such as eu, us.
	Residency []id `yaml:"residency,required"`
	// Whether it runs on machines of our own, so that no data leaves and no
	// data processing agreement is needed.
	SelfHosted bool `yaml:"self_hosted"`
	// The data processing agreement; left out when there is none. Without a
	// document it is only claimed, and counts as none.
	DPA *dpaEntry `yaml:"dpa"`
	// How often its terms and models are looked at again, such as P3M for
	// every three months, and when that was done last.
	ReviewEvery text     `yaml:"review_every" oneof:"P1M|P3M|P6M|P1Y"`
	LastReview  at[date] `yaml:"last_review"`
	// The classifications of data that may be sent to it.
	PermittedData []text `yaml:"permitted_data,required" oneof:"public|internal|confidential|restricted"`
	// The credential of endpoints that have none of their own.
	Credential *credentialEntry `yaml:"credential"`
	Endpoints  []endpointEntry  `yaml:"endpoints,required"`
}

// dpaEntry is a data processing agreement.
type dpaEntry struct {
	pos
	Document text     `yaml:"document"`         // where it is filed
	Expires  at[date] `yaml:"expires,required"` // the first day on which it no longer holds
}

// credentialEntry says where the proxy finds a credential. The credential
// itself is never in these files.
type credentialEntry struct {
	pos
	Env  text `yaml:"env"`  // name of an environment variable; this or file
	File text `yaml:"file"` // path of a file that holds nothing else; this or env
	// authorization sends "Authorization: Bearer …", the others send it bare.
	Header text `yaml:"header,required" oneof:"authorization|x-api-key|api-key"`
}

// endpointEntry is one address of a provider.
type endpointEntry struct {
	ID     at[id] `yaml:"id,required"`
	Region id     `yaml:"region"`
	// The address, such as https://api.openai.com, to which the client's path
	// /v1/… is appended. Plain http is for networks of your own.
	BaseURL at[text] `yaml:"base_url,required"`
	// What stands in for the client's leading /v1, where that is not what the
	// provider calls it. Default /v1.
	APIPath at[text] `yaml:"api_path"`
	// The wire formats it speaks.
	Formats []text `yaml:"formats,required" oneof:"openai.chat|openai.responses|openai.embeddings|anthropic.messages"`
	// The models it serves under the name that clients use; "*" serves any.
	Models []at[model] `yaml:"models"`
	// Models it serves under another name: client's name to provider's name.
	Renames map[string]at[model] `yaml:"renames"`
	// Its own credential, instead of the provider's.
	Credential *credentialEntry `yaml:"credential"`
	// Whether to ask for the usage in OpenAI streams, which carry none unless
	// asked. Without it a streamed answer has no usage and no cost.
	IncludeUsage bool `yaml:"include_usage"`
	Timeout      struct {
		Connect   duration `yaml:"connect"`    // default 5s
		FirstByte duration `yaml:"first_byte"` // default 120s
		Total     duration `yaml:"total"`      // default 15m
	} `yaml:"timeout"`
	CAFile      text     `yaml:"ca_file"`         // PEM file of the authorities to trust, instead of the system's
	EgressProxy at[text] `yaml:"egress_proxy"`    // URL of an HTTP proxy on the way out
	MaxConns    int64    `yaml:"max_connections"` // default: the proxy's own limit
}

// Provider is one provider of the registry.
type Provider struct {
	ID, Name, Owner string
	Residency       []string
	SelfHosted      bool   // on machines of our own: it needs no agreement
	DPADocument     string // empty when there is no agreement on file
	DPAExpires      time.Time
	PermittedData   []string
	Credential      Credential  // of endpoints without one of their own
	Endpoints       []*Endpoint // in the order of the file; none for a provider that the proxy does not call
}

// Endpoint is one address of a provider.
type Endpoint struct {
	ID, Provider, Region string
	BaseURL              string            // without a trailing slash
	APIPath              string            // stands in for the client's leading /v1; "/v1" unless the provider differs
	Formats              []string          // wire formats it speaks
	Models               map[string]string // client's name of a model to provider's; "*" = any other name, unchanged
	Credential           Credential
	IncludeUsage         bool
	Timeout              Timeouts
	CAFile, EgressProxy  string
	MaxConns             int // 0 = the proxy's own limit
}

// Credential says where the proxy finds a credential; all empty means none.
type Credential struct {
	Env, File string // exactly one of them
	Header    string // "authorization" (as a bearer token), "x-api-key" or "api-key"
}

// Timeouts bound one attempt: to connect, from then to the first byte of the
// answer, and in total.
type Timeouts struct{ Connect, FirstByte, Total time.Duration }

// Upstream is the name by which the endpoint's provider knows a model that a
// client names; ok is false when the endpoint does not serve it.
func (e *Endpoint) Upstream(model string) (name string, ok bool) {
	if name, ok = e.Models[model]; ok {
		return name, true
	}
	_, ok = e.Models[anyModel]
	return model, ok
}

// anyModel stands for every model that is not named.
const anyModel = "*"

// Endpoint is the endpoint with the id.
func (s *Snapshot) Endpoint(id string) (*Endpoint, bool) {
	e, ok := s.endpoints[id]
	return e, ok
}

// Provider is the provider with the id.
func (s *Snapshot) Provider(id string) (*Provider, bool) {
	p, ok := s.providers[id]
	return p, ok
}

// Providers is all providers in the order of the file, also those without
// endpoints.
func (s *Snapshot) Providers() []*Provider { return s.providerList }

// reserved are the first parts of the proxy's own paths.
var reserved = []string{"v1", "healthz", "readyz", "metrics"}

func (s *Snapshot) setRegistry(c *checker, f *registryFile) {
	s.providers, s.endpoints = map[string]*Provider{}, map[string]*Endpoint{}
	for i := range f.Providers {
		e := &f.Providers[i]
		p := &Provider{ID: string(e.ID.V), Name: string(e.Name), Owner: string(e.Owner), Residency: plain(e.Residency),
			SelfHosted: e.SelfHosted, PermittedData: plain(e.PermittedData), Credential: credential(c, e.Credential)}
		if e.DPA != nil {
			p.DPADocument, p.DPAExpires = string(e.DPA.Document), e.DPA.Expires.V.Time
		}
		for j := range e.Endpoints {
			s.addEndpoint(c, p, &e.Endpoints[j])
		}
		switch {
		case p.ID == "":
		case slices.Contains(reserved, p.ID):
			c.fail(registryYAML, e.ID.Mark, "provider %s: the proxy uses the path /%s itself", p.ID, p.ID)
		case s.providers[p.ID] != nil:
			c.fail(registryYAML, e.ID.Mark, "provider %s is defined twice", p.ID)
		default:
			s.providers[p.ID] = p
			s.providerList = append(s.providerList, p)
		}
	}
}

func (s *Snapshot) addEndpoint(c *checker, p *Provider, e *endpointEntry) {
	ep := &Endpoint{
		ID: string(e.ID.V), Provider: p.ID, Region: string(e.Region), BaseURL: string(e.BaseURL.V), APIPath: or(string(e.APIPath.V), "/v1"),
		Formats: plain(e.Formats), Models: map[string]string{}, Credential: p.Credential, IncludeUsage: e.IncludeUsage,
		Timeout: Timeouts{within(e.Timeout.Connect, 5*time.Second), within(e.Timeout.FirstByte, 120*time.Second), within(e.Timeout.Total, 15*time.Minute)},
		CAFile:  string(e.CAFile), EgressProxy: string(e.EgressProxy.V), MaxConns: int(e.MaxConns),
	}
	if e.Credential != nil {
		ep.Credential = credential(c, e.Credential)
	}
	checkURL(c, "base_url", e.BaseURL)
	checkURL(c, "egress_proxy", e.EgressProxy)
	if path := string(e.APIPath.V); path != "" && !cleanPath(path) {
		c.fail(registryYAML, e.APIPath.Mark, "api_path: %q is not a path such as /v1beta/openai", path)
	}
	switch {
	case e.Formats != nil && len(e.Formats) == 0:
		c.fail(registryYAML, e.ID.Mark, "endpoint %s speaks no format", ep.ID)
	case len(slices.Compact(slices.Sorted(slices.Values(e.Formats)))) < len(e.Formats):
		c.fail(registryYAML, e.ID.Mark, "endpoint %s: a format is listed twice", ep.ID)
	}
	for _, m := range e.Models {
		if _, twice := ep.Models[string(m.V)]; twice {
			c.fail(registryYAML, m.Mark, "endpoint %s: model %s is listed twice", ep.ID, m.V)
		}
		ep.Models[string(m.V)] = string(m.V)
	}
	for from, to := range e.Renames {
		if _, twice := ep.Models[from]; twice || from == anyModel {
			c.fail(registryYAML, to.Mark, "endpoint %s: model %s cannot be renamed: it is served under its own name", ep.ID, from)
		} else if err := new(model).parse(from); err != nil {
			c.fail(registryYAML, to.Mark, "endpoint %s: renames: %v", ep.ID, err)
		}
		ep.Models[from] = string(to.V)
	}
	if slices.Contains(ep.Formats, "openai.chat") && !ep.IncludeUsage {
		c.warn(registryYAML, e.ID.Mark, "endpoint %s speaks openai.chat without include_usage: its streamed answers will have no usage and no cost", ep.ID)
	}
	switch {
	case ep.ID == "":
		return
	case len(ep.Models) == 0 && !c.faulty[registryYAML]:
		c.fail(registryYAML, e.ID.Mark, "endpoint %s serves no model; name them, or \"*\" for any", ep.ID)
	case s.endpoints[ep.ID] != nil:
		c.fail(registryYAML, e.ID.Mark, "endpoint %s is defined twice", ep.ID)
		return
	}
	s.endpoints[ep.ID] = ep
	p.Endpoints = append(p.Endpoints, ep)
}

func credential(c *checker, e *credentialEntry) Credential {
	if e == nil {
		return Credential{}
	}
	if (e.Env == "") == (e.File == "") {
		c.fail(registryYAML, e.Mark, "credential: want either env or file")
	}
	return Credential{string(e.Env), string(e.File), string(e.Header)}
}

// checkURL refuses what is not the address of a server: also user names and
// passwords, which must not be in these files.
func checkURL(c *checker, key string, value at[text]) {
	if value.V == "" {
		return
	}
	u, err := url.Parse(string(value.V))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		c.fail(registryYAML, value.Mark, "%s: %q is not an address such as https://api.example.com", key, value.V)
	case u.User != nil:
		c.fail(registryYAML, value.Mark, "%s: an address here has no user name or password", key)
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(string(value.V), "?") || strings.HasSuffix(string(value.V), "#"):
		c.fail(registryYAML, value.Mark, "%s: %q has a query or fragment", key, value.V)
	case u.Path != "" && !cleanPath(u.Path):
		c.fail(registryYAML, value.Mark, "%s: the path of %q must not end in a slash or hold empty or dot segments", key, value.V)
	}
}

func cleanPath(path string) bool {
	segments := strings.Split(path, "/")
	if segments[0] != "" || len(segments) < 2 {
		return false
	}
	for _, segment := range segments[1:] {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "?# %") {
			return false
		}
	}
	return true
}

func within(d duration, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return time.Duration(d)
}
