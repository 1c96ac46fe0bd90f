package proxy

import (
	"errors"
	"fmt"

	"github.com/ledgerline/ledgerline/internal/governance"
)

// plan is a snapshot made ready for calls: every endpoint with its credential
// and connections. A call uses one plan from its admission to its end.
type plan struct {
	snapshot  *governance.Snapshot
	hex       string
	upstreams map[*governance.Endpoint]*upstream
	mapped    map[*governance.UseCase]mapped
	budgets   hardBudgets
}

// newPlan reads the credentials. It fails, naming every endpoint that cannot
// be called, rather than finding out call by call.
func newPlan(s *governance.Snapshot, m *metrics, known *circuits) (*plan, error) {
	p := &plan{snapshot: s, hex: s.Hex(), upstreams: map[*governance.Endpoint]*upstream{}, mapped: map[*governance.UseCase]mapped{}, budgets: newHardBudgets(s)}
	var failed []error
	for _, provider := range s.Providers() {
		for _, e := range provider.Endpoints {
			u, err := newUpstream(e)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			u.metrics, u.circuit = m.endpoint(e.ID), known.circuit(e.ID)
			p.upstreams[e] = u
		}
	}
	for _, u := range s.UseCases() {
		p.mapped[u] = mapOf(u)
	}
	if len(failed) > 0 {
		return nil, fmt.Errorf("snapshot %.12s: %w", p.hex, errors.Join(failed...))
	}
	return p, nil
}

// closeIdle closes the connections that rest. Those of calls that go on are
// closed by their pool when they have rested for idleUpstream.
func (p *plan) closeIdle() {
	for _, u := range p.upstreams {
		u.pool.CloseIdleConnections()
	}
}
