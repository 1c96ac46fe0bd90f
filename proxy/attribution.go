package proxy

import (
	"net"
	"net/netip"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// The dimensions in the order of event.DimensionNames.
const (
	businessUnit = iota
	team
	project
	user
	application
	useCase
)

// maxClaim is the most bytes kept of what a client claimed and was overruled.
const maxClaim = 96

// chooseUseCase finds the use case that the client names, or the key's first.
// It reports false when the key may not be used for it, or nobody knows it.
func (c *call) chooseUseCase() bool {
	d := &c.data.Attribution.UseCase
	claim := c.head.claims[useCase]
	name := ""
	if len(claim) > 0 {
		name, _ = c.plan.snapshot.Canonical("use_case", wire.String(claim))
		d.Provenance = event.FromHeader
		for _, allowed := range c.key.UseCases {
			if allowed == name {
				d.Value = allowed
			}
		}
		if d.Value == "" {
			d.Conflict = c.keep(claim, maxClaim)
		}
	}
	if d.Value == "" && len(c.key.UseCases) > 0 {
		d.Value, d.Provenance = c.key.UseCases[0], event.FromKey
	}
	c.useCase, _ = c.plan.snapshot.UseCase(d.Value)
	return d.Conflict == "" && c.useCase != nil
}

// addressAllowed says whether the key may be used from where the connection
// comes from. What headers say of addresses is not believed.
func (c *call) addressAllowed() bool {
	if len(c.key.Addresses) == 0 {
		return true
	}
	var from netip.Addr
	if c.conn != nil {
		if tcp, ok := c.conn.RemoteAddr().(*net.TCPAddr); ok {
			from = tcp.AddrPort().Addr()
		}
	}
	return c.key.AllowsAddress(from)
}

const addressNotAllowed = "The key may not be used from this address."

// attribute fills the dimensions: what the key says beats what the client
// says, which beats what the use case says; a team's business unit and a
// project's team follow from the hierarchy; the dimension's default is last.
// What a client claimed in vain is recorded.
func (c *call) attribute() {
	a := &c.data.Attribution
	snapshot := c.plan.snapshot
	u := c.useCase
	if u == nil {
		u = &nobody
	}
	now := c.started
	c.dimension(&a.Application, application, c.key.Application, u.Application, event.FromDefault)
	c.dimension(&a.Project, project, c.key.Project, u.Project, event.FromDefault)
	above, from := u.Team, event.FromDefault
	if above == "" && a.Project.Value != "" {
		above, _ = snapshot.Parent("project", a.Project.Value, now)
		from = event.FromHierarchy
	}
	c.dimension(&a.Team, team, c.key.Team, above, from)
	above = ""
	if a.Team.Value != "" {
		above, _ = snapshot.Parent("team", a.Team.Value, now)
	}
	c.dimension(&a.BusinessUnit, businessUnit, c.key.BusinessUnit, above, event.FromHierarchy)

	name, provenance := c.head.claims[user], event.FromHeader
	if len(name) == 0 {
		name = []byte(c.request.User)
	}
	d := &a.User
	if c.key.User != "" {
		if len(name) > 0 && string(name) != c.key.User {
			d.Conflict = c.userRef(name)
		}
		name, provenance = []byte(c.key.User), event.FromKey
	}
	switch {
	case len(name) > 0:
		d.Value, d.Provenance = c.userRef(name), provenance
		c.data.Caller.UserRef = d.Value
	case snapshot.Default("user") != "":
		d.Value, d.Provenance = c.userRef([]byte(snapshot.Default("user"))), event.FromDefault
	default:
		d.Provenance = event.Missing
	}
}

var nobody governance.UseCase

// dimension fills one dimension: with what the key fixes, what the client
// claims, otherwise with a value that comes from elsewhere, or the default.
func (c *call) dimension(d *event.Dimension, i int, fixed, otherwise string, from event.Provenance) {
	name := event.DimensionNames[i]
	claim := c.head.claims[i]
	if fixed != "" {
		d.Value, d.Provenance = fixed, event.FromKey
	}
	if len(claim) > 0 {
		value, known := c.plan.snapshot.Canonical(name, wire.String(claim))
		switch {
		case d.Value == "" && known:
			d.Value, d.Provenance = c.keepText(value, 256), event.FromHeader
		case d.Value != value:
			d.Conflict = c.keep(claim, maxClaim)
		}
	}
	if d.Value == "" {
		if d.Value, d.Provenance = otherwise, from; d.Value == "" {
			d.Value, d.Provenance = c.plan.snapshot.Default(name), event.FromDefault
		}
		if d.Value == "" {
			d.Provenance = event.Missing
		}
	}
}

// missing names the first dimension that the call must carry and does not.
func (c *call) missing() string {
	required := c.plan.snapshot.Required()
	if c.useCase != nil {
		required = c.useCase.Required
	}
	for _, name := range required {
		for i, d := range c.data.Attribution.All() {
			if event.DimensionNames[i] == name && d.Provenance == event.Missing {
				return name
			}
		}
	}
	return ""
}

func (c *call) userRef(name []byte) string {
	n := len(c.arena)
	c.arena = c.digest.appendUser(c.arena, name)
	return wire.String(c.arena[n:])
}
