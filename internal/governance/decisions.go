package governance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Call is what a use case may ask for: a wire format and a model. The model
// "*" stands for every model that no endpoint of the rule names.
type Call struct{ Format, Model string }

// Candidate is an endpoint of the rule that decides a call, and what keeps the
// call from it.
type Candidate struct {
	*Endpoint
	Cannot  string // why it cannot take the call: format or model; empty when it can
	MustNot string // why the provider's terms forbid it, whether or not it could; empty when they do not
	Down    bool
}

// Lost says why the candidate does not serve the call; empty when it may.
func (c *Candidate) Lost() string {
	switch {
	case c.Cannot != "":
		return c.Cannot
	case c.MustNot != "":
		return "is not qualified: " + c.MustNot
	case c.Down:
		return "is down"
	}
	return ""
}

// Decision is where a call goes while some endpoints are down.
type Decision struct {
	Rule       string
	Endpoint   *Endpoint   // the first that can take the call and is up, which is the one that the proxy calls; nil when there is none
	MustNot    string      // why the terms of that endpoint's provider forbid it; empty when it is qualified
	Candidates []Candidate // in the order of the rule
}

// Calls is everything that the use case can ask for, by format and model. It
// finds an endpoint for each as long as all are up.
func (u *UseCase) Calls() []Call {
	var calls []Call
	if u.rule != nil {
		for key := range u.rule.choices {
			calls = append(calls, Call{key.format, key.model})
		}
	}
	slices.SortFunc(calls, func(a, b Call) int {
		return cmp.Or(strings.Compare(a.Format, b.Format), strings.Compare(a.Model, b.Model))
	})
	return calls
}

// Decide says where a call of a use case goes at a time with the endpoints of
// the given ids down. It asks the same questions in the same order as Route,
// and in addition what the providers' terms allow at that time.
func (s *Snapshot) Decide(u *UseCase, call Call, at time.Time, down ...string) Decision {
	d := Decision{Rule: u.rule.id}
	for _, e := range u.rule.endpoints {
		c := Candidate{Endpoint: e, Cannot: reject(e, call.Format, call.Model), MustNot: s.unqualified(u, s.providers[e.Provider], at), Down: slices.Contains(down, e.ID)}
		if d.Endpoint == nil && c.Cannot == "" && !c.Down {
			d.Endpoint, d.MustNot = e, c.MustNot
		}
		d.Candidates = append(d.Candidates, c)
	}
	return d
}

// unqualified says why the data of a use case must not go to a provider at a
// time; empty when it may. Data that is not public needs an agreement that
// holds and is on file, unless it stays on machines of our own.
func (s *Snapshot) unqualified(u *UseCase, p *Provider, at time.Time) string {
	switch {
	case !slices.Contains(p.PermittedData, u.Classification):
		return fmt.Sprintf("provider %s is not permitted %s data", p.ID, u.Classification)
	case p.SelfHosted || u.Classification == "public":
		return ""
	case p.DPADocument == "":
		return fmt.Sprintf("provider %s has no data processing agreement on file", p.ID)
	case !at.Before(p.DPAExpires):
		return fmt.Sprintf("the data processing agreement with %s no longer holds since %s", p.ID, p.DPAExpires.Format(time.DateOnly))
	}
	return ""
}

// DecisionTable is where every call of every use case goes at a time: with all
// endpoints up, and with the one that takes it down, which is the only one
// whose failure changes anything. A call is one line; the lines are sorted, and
// each says all that it is about, so that they can be reviewed as a difference.
// failed is a sentence for each state in which a call finds no qualified
// endpoint and nobody said that this is meant.
func (s *Snapshot) DecisionTable(at time.Time) (lines, failed []string) {
	for _, u := range s.useCaseList {
		single := map[string]bool{} // models that really have one endpoint
		for _, call := range u.Calls() {
			up := s.Decide(u, call, at)
			what := fmt.Sprintf("use case %s, %s over %s", u.ID, modelName(call.Model), call.Format)
			line := fmt.Sprintf("%s %s %s: ", u.ID, call.Format, call.Model)
			if up.Endpoint == nil || up.MustNot != "" {
				lines = append(lines, line+up.place())
				failed = append(failed, fmt.Sprintf("%s, with all endpoints up, %s.", what, up.failure()))
				continue
			}
			down := s.Decide(u, call, at, up.Endpoint.ID)
			line += fmt.Sprintf("%s; when it is down: %s", up.place(), down.place())
			reason, meant := u.SingleEndpoint[call.Model]
			if down.Endpoint == nil {
				single[call.Model] = true
				if meant {
					line += ", on purpose: " + reason
				}
			}
			if (down.Endpoint == nil && !meant) || down.MustNot != "" {
				failed = append(failed, fmt.Sprintf("%s, with %s down, %s.", what, up.Endpoint.ID, down.failure()))
			}
			lines = append(lines, line)
		}
		for model := range u.SingleEndpoint {
			if !single[model] {
				failed = append(failed, fmt.Sprintf("use case %s has a single_endpoint reason for %s, which it cannot ask for or which has a second endpoint; take it out of %s.", u.ID, model, estateYAML))
			}
		}
	}
	slices.Sort(lines)
	slices.Sort(failed)
	return lines, failed
}

func modelName(model string) string {
	if model == anyModel {
		return "any other model"
	}
	return model
}

// place is where the call goes, in a word.
func (d *Decision) place() string {
	switch {
	case d.Endpoint == nil:
		return "nowhere"
	case d.MustNot != "":
		return d.Endpoint.ID + " (not qualified)"
	}
	return d.Endpoint.ID
}

// failure is why there is no qualified endpoint, as the end of a sentence.
func (d *Decision) failure() string {
	var b strings.Builder
	if d.Endpoint != nil {
		fmt.Fprintf(&b, "would go to %s, which is not qualified: %s; rule %s", d.Endpoint.ID, d.MustNot, d.Rule)
	} else {
		fmt.Fprintf(&b, "finds no endpoint in rule %s", d.Rule)
	}
	separator := ": "
	for i := range d.Candidates {
		if c := &d.Candidates[i]; c.Endpoint != d.Endpoint {
			lost := c.Lost()
			if lost == "" {
				lost = "would do but comes later"
			}
			fmt.Fprintf(&b, "%s%s %s", separator, c.ID, lost)
			separator = ", "
		}
	}
	return b.String()
}
