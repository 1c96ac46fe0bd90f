package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/anomaly"
)

type findingsAnswer struct {
	Findings []anomaly.Finding `json:"findings"`
	stamp
	NextCursor string `json:"next_cursor"`
}

// findings is as of a recorded_seq of the detectors' runs, of which the rollups had all.
func (s *server) findings(c echo.Context) error {
	query := c.QueryParams()
	p := &params{values: query}
	from, to := p.period(s.Now(), time.UTC)
	limit := p.limit()
	q := anomaly.Query{
		Kind: p.choice("kind", anomaly.Anomaly, anomaly.Drift), Dimension: p.choice("dimension", anomaly.Dimensions...), Value: p.all("value"),
		State: p.choice("state", anomaly.Open, anomaly.Withdrawn), Owners: p.all("owner"), First: p.flag("first"),
		From: firstDay(from), To: firstDay(to), Limit: uint64(limit) + 1, AsOf: p.asOf(),
	}
	if !query.Has("state") {
		q.State = []string{anomaly.Open}
	}
	asked := question{c.Path(), from, to, query}
	if text := p.one("cursor"); text != "" {
		at, err := parseCursor(text, asked)
		if err != nil {
			p.fail(err)
		}
		q.AsOf, q.Offset = at.asOf, at.position
	}
	if err := p.done(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	latest, err := anomaly.Latest(ctx, s.DB)
	if err != nil {
		return err
	}
	if q.AsOf, err = within(q.AsOf, latest); err != nil {
		return err
	}
	findings, err := anomaly.List(ctx, s.DB, q)
	if err != nil {
		return err
	}
	answer := findingsAnswer{Findings: findings, stamp: stampOf(q.AsOf)}
	if len(findings) > limit {
		answer.Findings = findings[:limit]
		answer.NextCursor = cursor{asOf: q.AsOf, position: q.Offset + uint64(limit)}.text(asked)
	}
	return c.JSON(http.StatusOK, answer)
}

// firstDay is the first day that begins at an instant or later; the days that there are end in 2149.
func firstDay(t time.Time) anomaly.Day {
	t = t.UTC().Add(24*time.Hour - time.Nanosecond)
	if last := anomaly.Day(1<<16 - 1); t.After(last.Time()) {
		return last
	}
	return anomaly.DayOf(t)
}

// choice is the values of a parameter that may be repeated, each one of those known.
func (p *params) choice(name string, known ...string) []string {
	values := p.all(name)
	for _, v := range values {
		if !slices.Contains(known, v) {
			p.fail(invalid(name, fmt.Sprintf("one of %v", known)))
		}
	}
	return values
}

// flag is a parameter that is true or false, by default false.
func (p *params) flag(name string) bool {
	text := p.one(name)
	if text != "" && text != "true" && text != "false" {
		p.fail(invalid(name, "true or false"))
	}
	return text == "true"
}
