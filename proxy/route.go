package proxy

import (
	"errors"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// choose finds the endpoints that may serve the call.
func (c *call) choose() (code string, status int, message string) {
	d := &c.data.Decision
	if c.format == wire.Passthrough {
		for _, e := range c.from.Endpoints {
			for _, id := range c.useCase.Endpoints {
				if id == e.ID {
					c.route = governance.Route{Rule: "passthrough", Endpoints: []*governance.Endpoint{e},
						Why: "A path that is no known operation goes to " + e.ID + ", the first endpoint of " + c.from.ID + " that use case " + c.useCase.ID + " may use."}
					d.Rule, d.Why = c.route.Rule, c.route.Why
					return "", 0, ""
				}
			}
		}
		d.Rule = "passthrough"
		return "ledgerline_no_route", 403, "The use case may not use this provider."
	}
	route, err := c.plan.snapshot.Route(c.useCase, c.format.Name, c.request.Model)
	d.Rule = route.Rule
	for _, r := range route.Rejected {
		d.Rejected = append(d.Rejected, event.Rejected(r))
	}
	switch {
	case errors.Is(err, governance.ErrUnknownModel):
		d.Why = c.keepText(err.Error(), event.MaxText)
		return "ledgerline_unknown_model", 404, "No endpoint serves this model."
	case err != nil:
		d.Why = c.keepText(err.Error(), event.MaxText)
		return "ledgerline_no_route", 403, "The use case may not use this model."
	}
	if c.from != nil {
		var of []*governance.Endpoint
		for _, e := range route.Endpoints {
			if e.Provider == c.from.ID {
				of = append(of, e)
			} else if len(d.Rejected) < event.MaxAttempts {
				d.Rejected = append(d.Rejected, event.Rejected{Endpoint: e.ID, Why: "is not of the provider that the path names"})
			}
		}
		if route.Endpoints = of; len(of) == 0 {
			d.Why = "No endpoint of the provider that the path names may serve the call."
			return "ledgerline_no_route", 403, "The use case may not use this provider for this model."
		}
	}
	c.route, d.Why = route, route.Why
	return "", 0, ""
}
