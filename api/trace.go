package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/lineage"
)

type traceAnswer struct {
	*lineage.Trace
	stamp
}

// trace answers with where the answer to a call came from.
func (s *server) trace(c echo.Context) error {
	id, err := event.ParseID(c.Param("id"))
	if err != nil {
		return invalid("id", "a request id, as in the answer's header Ledger-Request-Id")
	}
	p := &params{values: c.QueryParams()}
	limits := lineage.DefaultLimits
	limits.Depth = int(p.number("depth", 1, uint64(limits.Depth), uint64(limits.Depth)))
	limits.Nodes = int(p.number("max_nodes", 1, uint64(limits.Nodes), uint64(limits.Nodes)))
	if err := p.done(); err != nil {
		return err
	}
	asOf, err := s.watermark(c.Request().Context())
	if err != nil {
		return err
	}
	trace, err := s.tracer.Trace(c.Request().Context(), id, asOf, limits)
	if errors.Is(err, lineage.ErrNotFound) {
		err = problem(http.StatusNotFound, "no_such_request", err.Error()+"; one that has just ended is in them within seconds")
	}
	return s.answerRead(c, id.String(), traceAnswer{trace, stampOf(asOf)}, err)
}

// answerRead answers with a thing that was asked for by its id, or with the problem that there is in its place, after that reading is
// a durable event.
func (s *server) answerRead(c echo.Context, object string, answer any, err error) error {
	var p *Problem
	if err != nil && !errors.As(err, &p) {
		return err
	}
	result := "done"
	if err != nil {
		result = "refused"
	}
	if err := s.recordRead(event.Audit{Actor: c.Get("key").(Key).ID, Action: action(c.Path()), Object: object, Outcome: result}); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answer)
}

type outputsAnswer struct {
	Dataset string           `json:"dataset"`
	Outputs []lineage.Output `json:"outputs"`
	stamp
	NextCursor string `json:"next_cursor"`
}

// datasetOf is the dataset that a path names as namespace|name, percent-encoded.
func datasetOf(c echo.Context) (governance.DatasetID, bool) {
	text, err := url.PathUnescape(c.Param("id"))
	if err != nil || len(text) > event.MaxText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return governance.DatasetID{}, false
	}
	return governance.ParseDatasetID(text)
}

// outputs answers with the answers that a dataset fed.
func (s *server) outputs(c echo.Context) error {
	id, ok := datasetOf(c)
	if !ok {
		return invalid("id", "a dataset as namespace|name, percent-encoded, of at most 512 bytes")
	}
	query := c.QueryParams()
	p := &params{values: query}
	from, to := p.period(s.Now(), p.zone())
	limit := p.limit()
	asked := question{c.Path() + " " + id.String(), from, to, query}
	at := cursor{asOf: p.asOf()}
	if text := p.one("cursor"); text != "" {
		var err error
		if at, err = parseCursor(text, asked); err != nil {
			p.fail(err)
		}
	}
	if err := p.done(); err != nil {
		return err
	}
	latest, err := s.watermark(c.Request().Context())
	if err != nil {
		return err
	}
	if at.asOf, err = within(at.asOf, latest); err != nil {
		return err
	}
	list, more, err := s.tracer.Outputs(c.Request().Context(), id, from, to, lineage.Place{At: event.Micros(at.position), ID: at.id}, limit, at.asOf)
	answer := outputsAnswer{Dataset: id.String(), Outputs: append([]lineage.Output{}, list...), stamp: stampOf(at.asOf)}
	if more {
		last := list[len(list)-1].Place()
		answer.NextCursor = cursor{asOf: at.asOf, position: uint64(last.At), id: last.ID}.text(asked)
	}
	return s.answerRead(c, id.String(), answer, err)
}
