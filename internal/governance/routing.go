package governance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// routingFile is routing.yaml: which endpoints serve a use case, in order.
type routingFile struct {
	// The rule of use cases that no other rule names, and of calls that have
	// no use case. Without it every use case needs a rule.
	Default *ruleEntry  `yaml:"default"`
	Rules   []ruleEntry `yaml:"rules,required"`
}

// ruleEntry is one rule.
type ruleEntry struct {
	ID at[id] `yaml:"id,required"`
	// The use cases it decides; empty in the default rule, not elsewhere.
	UseCases []at[id] `yaml:"use_cases"`
	// At most 16, the first tried first.
	Endpoints []at[id] `yaml:"endpoints,required"`
}

const (
	maxEndpoints = 16      // of a rule; the most that an event can hold as rejected
	maxChoices   = 250_000 // of all rules together; some hundred bytes each
)

// Route is where a call may go. It is shared between calls.
type Route struct {
	Rule      string
	Why       string      // one sentence, at most 512 bytes
	Endpoints []*Endpoint // in the order to try
	Rejected  []Rejection // endpoints of the rule that cannot take the call
}

// Rejection is an endpoint that cannot take a call, and why.
type Rejection struct{ Endpoint, Why string }

// rule is a rule with its answers worked out.
type rule struct {
	id        string
	endpoints []*Endpoint
	choices   map[choiceKey]choice
	plans     []string // ends of sentences; the same for many choices
}

type choiceKey struct{ format, model string }

type choice struct {
	endpoints []*Endpoint
	rejected  []Rejection
	plan      int // index into plans, and into the sentences of a use case
}

// Route gives the endpoints of the use case's rule that speak the format and
// serve the model, and the sentence why. A call without a use case (nil) takes
// the default rule. The error is ErrUnknownModel or ErrNoRoute, wrapped in a
// sentence for the client; Rule and Rejected are set also then.
func (s *Snapshot) Route(useCase *UseCase, format, model string) (Route, error) {
	r, whys := s.fallback, s.noUseCase
	if useCase != nil {
		r, whys = useCase.rule, useCase.whys
	}
	if r == nil {
		return Route{}, fmt.Errorf("%w: the call has no use case and there is no default rule", ErrNoRoute)
	}
	c, ok := r.choices[choiceKey{format, model}]
	if !ok {
		c, ok = r.choices[choiceKey{format, anyModel}]
	}
	if !ok {
		return s.noRoute(r, useCase, format, model)
	}
	return Route{Rule: r.id, Why: whys[c.plan], Endpoints: c.endpoints, Rejected: c.rejected}, nil
}

func (s *Snapshot) noRoute(r *rule, useCase *UseCase, format, model string) (Route, error) {
	_, rejected := r.choose(format, model)
	route := Route{Rule: r.id, Rejected: rejected}
	for _, e := range s.endpoints {
		if reject(e, format, model) == "" {
			if useCase == nil {
				return route, fmt.Errorf("%w: rule %s, for calls without a use case, lists no endpoint that speaks %s and serves %q", ErrNoRoute, r.id, format, clip(model))
			}
			return route, fmt.Errorf("%w: rule %s, for use case %s, lists no endpoint that speaks %s and serves %q", ErrNoRoute, r.id, useCase.ID, format, clip(model))
		}
	}
	return route, fmt.Errorf("%w %q in the format %s", ErrUnknownModel, clip(model), format)
}

// reject says why an endpoint cannot take a call; empty when it can.
func reject(e *Endpoint, format, model string) string {
	if !slices.Contains(e.Formats, format) {
		return "does not speak " + format
	}
	if _, ok := e.Upstream(model); ok {
		return ""
	}
	if model == anyModel {
		return "serves only the models it lists"
	}
	return "does not serve " + clip(model)
}

func (r *rule) choose(format, model string) (chosen []*Endpoint, rejected []Rejection) {
	for _, e := range r.endpoints {
		if why := reject(e, format, model); why != "" {
			rejected = append(rejected, Rejection{e.ID, why})
		} else {
			chosen = append(chosen, e)
		}
	}
	return chosen, rejected
}

// workOut fills the choices: for every format and every model that the rule's
// endpoints name, and for any other model.
func (r *rule) workOut() {
	r.choices = map[choiceKey]choice{}
	plans := map[string]int{}
	for _, speaker := range r.endpoints {
		for _, format := range speaker.Formats {
			for _, server := range r.endpoints {
				for _, model := range slices.Sorted(maps.Keys(server.Models)) { // the same snapshot, the same plans
					key := choiceKey{format, model}
					if _, done := r.choices[key]; done {
						continue
					}
					chosen, rejected := r.choose(format, model)
					if len(chosen) == 0 {
						continue
					}
					sentence := r.sentence(chosen, format)
					plan, known := plans[sentence]
					if !known {
						plan = len(r.plans)
						plans[sentence], r.plans = plan, append(r.plans, sentence)
					}
					r.choices[key] = choice{chosen, rejected, plan}
				}
			}
		}
	}
}

// sentence is how a route's sentence ends, after who the call is from.
func (r *rule) sentence(chosen []*Endpoint, format string) string {
	var b strings.Builder
	if chosen[0] == r.endpoints[0] {
		fmt.Fprintf(&b, " goes to %s first, as rule %s lists it", chosen[0].ID, r.id)
	} else {
		fmt.Fprintf(&b, " goes to %s, the first of rule %s that speaks %s and serves the model", chosen[0].ID, r.id, format)
	}
	switch others := chosen[1:]; len(others) {
	case 0:
		b.WriteString("; there is no fallback.")
	case 1:
		fmt.Fprintf(&b, "; %s is the fallback.", others[0].ID)
	case 2:
		fmt.Fprintf(&b, "; %s and %s are the fallbacks.", others[0].ID, others[1].ID)
	default:
		fmt.Fprintf(&b, "; %s and %d more are the fallbacks.", others[0].ID, len(others)-1)
	}
	return b.String()
}

func (r *rule) sentences(who string) []string {
	whys := make([]string, len(r.plans))
	for i, plan := range r.plans {
		whys[i] = who + plan
	}
	return whys
}

func (s *Snapshot) setRouting(c *checker, f *routingFile) {
	ids := map[id]bool{}
	if f.Default != nil {
		s.fallback = s.newRule(c, f.Default, ids)
		s.noUseCase = s.fallback.sentences("A call without a use case")
		if len(f.Default.UseCases) > 0 {
			c.fail(routingYAML, f.Default.UseCases[0].Mark, "the default rule names no use cases")
		}
	}
	for i := range f.Rules {
		e := &f.Rules[i]
		r := s.newRule(c, e, ids)
		if len(e.UseCases) == 0 && !c.faulty[routingYAML] {
			c.fail(routingYAML, e.ID.Mark, "rule %s names no use case", e.ID.V)
		}
		for _, name := range e.UseCases {
			s.checkValue(c, routingYAML, useCase, name)
			u := s.useCases[string(name.V)]
			if u == nil {
				continue
			}
			if u.rule != nil {
				c.fail(routingYAML, name.Mark, "use case %s is already decided by rule %s", u.ID, u.rule.id)
				continue
			}
			u.rule = r
		}
	}
	for _, u := range s.useCaseList {
		if u.rule == nil {
			u.rule = s.fallback
		}
		if u.rule == nil {
			if !c.unread[routingYAML] && !c.faulty[routingYAML] {
				c.fail(routingYAML, 0, "use case %s has no rule and there is no default", u.ID)
			}
			continue
		}
		u.whys = u.rule.sentences("Use case " + u.ID)
		for _, e := range u.rule.endpoints {
			u.Endpoints = append(u.Endpoints, e.ID)
			if p := s.providers[e.Provider]; p != nil && u.Classification != "" && !slices.Contains(p.PermittedData, u.Classification) {
				c.warn(routingYAML, 0, "use case %s holds %s data and may go to %s, but provider %s is not permitted such data", u.ID, u.Classification, e.ID, p.ID)
			}
		}
	}
}

func (s *Snapshot) newRule(c *checker, e *ruleEntry, ids map[id]bool) *rule {
	r := &rule{id: string(e.ID.V)}
	if e.ID.V != "" && ids[e.ID.V] {
		c.fail(routingYAML, e.ID.Mark, "rule %s is defined twice", r.id)
	}
	ids[e.ID.V] = true
	switch {
	case e.Endpoints != nil && len(e.Endpoints) == 0:
		c.fail(routingYAML, e.ID.Mark, "rule %s lists no endpoint", r.id)
	case len(e.Endpoints) > maxEndpoints:
		c.fail(routingYAML, e.ID.Mark, "rule %s lists %d endpoints; at most %d", r.id, len(e.Endpoints), maxEndpoints)
		return r
	}
	for _, name := range e.Endpoints {
		endpoint, ok := s.endpoints[string(name.V)]
		switch {
		case name.V == "" || !ok && c.unread[registryYAML]:
		case !ok:
			c.fail(routingYAML, name.Mark, "endpoint %q is not in %s%s", name.V, registryYAML, near(c, string(name.V), s.endpoints))
		case slices.Contains(r.endpoints, endpoint):
			c.fail(routingYAML, name.Mark, "rule %s lists endpoint %s twice", r.id, name.V)
		default:
			r.endpoints = append(r.endpoints, endpoint)
		}
	}
	for _, endpoint := range r.endpoints {
		c.choices += 4 * len(endpoint.Models) // formats
	}
	if c.choices > maxChoices {
		c.fail(routingYAML, e.ID.Mark, "rule %s: all rules up to here have over %d combinations of format and model", r.id, maxChoices)
		return r
	}
	r.workOut()
	return r
}
