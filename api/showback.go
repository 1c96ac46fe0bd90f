package api

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
)

// figures are a group's or a total's sums.
type figures struct {
	Requests   int64     `json:"requests"`
	Quantity   int64     `json:"quantity"`   // tokens
	Cost       money.Sum `json:"cost"`       // dollars, twelve decimals
	Unpriced   int64     `json:"unpriced"`   // entries without a price: not in cost
	Unmeasured int64     `json:"unmeasured"` // entries without a quantity: in neither
}

func figuresOf(f aggregate.Figures) figures { return figures(f) }

// stamp says what a figure holds.
type stamp struct {
	AsOf            string  `json:"as_of"`            // recorded_seq
	CompleteThrough *string `json:"complete_through"` // everything recorded until then is in; null: nothing is
}

func stampOf(asOf uint64) stamp {
	s := stamp{AsOf: strconv.FormatUint(asOf, 10)}
	if asOf > 0 {
		text := aggregate.Complete(asOf).Format(time.RFC3339Nano)
		s.CompleteThrough = &text
	}
	return s
}

type showbackAnswer struct {
	GroupBy []string          `json:"group_by"`
	Rows    []json.RawMessage `json:"rows"`
	Total   figures           `json:"total"`
	stamp
	NextCursor string `json:"next_cursor"`
}

func (s *server) showback(c echo.Context) error {
	query := c.QueryParams()
	p := &params{values: query}
	zone := p.zone()
	q := aggregate.Query{TZ: zone, GroupBy: p.groupBy(), Filters: p.filters(), AsOf: p.asOf(), Limit: p.limit()}
	q.From, q.To = p.period(s.Now(), zone)
	asked := question{c.Path(), q.From, q.To, query}
	format := p.one("format")
	if format == "" {
		format = accepted(c.Request().Header.Get("Accept"))
	}
	if format != "json" && format != "csv" && format != "arrow" {
		p.fail(invalid("format", "json, csv or arrow"))
	}
	if text := p.one("cursor"); text != "" {
		at, err := parseCursor(text, asked)
		if err != nil {
			p.fail(err)
		}
		q.AsOf, q.Offset = at.asOf, int(at.position)
	}
	if err := p.done(); err != nil {
		return err
	}
	if format != "json" && !query.Has("limit") && !query.Has("cursor") {
		q.Limit = maxFile
	}
	r, err := aggregate.Showback(c.Request().Context(), s.DB, q)
	switch {
	case errors.Is(err, aggregate.ErrQuery): // all else was checked above
		return invalid("tz", strings.TrimPrefix(err.Error(), aggregate.ErrQuery.Error()+": "))
	case errors.Is(err, aggregate.ErrAsOf):
		return invalid("as_of", "lies after what is complete; leave it out for the newest")
	case err != nil:
		return err
	}
	if q.Limit == maxFile && r.More { // a file that stopped at a page would not say so
		return invalid("format", fmt.Sprintf("the file has over %d rows; group by less, or take pages with limit and cursor", maxFile))
	}
	next := ""
	if r.More {
		next = cursor{asOf: r.AsOf, position: uint64(q.Offset + len(r.Rows))}.text(asked)
	}
	switch format {
	case "csv":
		return s.showbackCSV(c, r, next)
	case "arrow":
		return s.showbackArrow(c, r, next)
	}
	answer := showbackAnswer{GroupBy: q.GroupBy, Rows: []json.RawMessage{}, Total: figuresOf(r.Total), stamp: stampOf(r.AsOf), NextCursor: next}
	for _, row := range r.Rows {
		text, err := rowJSON(q.GroupBy, row)
		if err != nil {
			return err
		}
		answer.Rows = append(answer.Rows, text)
	}
	return c.JSON(http.StatusOK, answer)
}

// rowJSON is a row with its groups as members, in the order asked for, before its figures.
func rowJSON(groupBy []string, row aggregate.Row) (json.RawMessage, error) {
	sums, err := json.Marshal(figuresOf(row.Figures))
	if err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, name := range groupBy {
		value, err := json.Marshal(row.Group[i])
		if err != nil {
			return nil, err
		}
		b = append(strconv.AppendQuote(b, name), ':')
		b = append(append(b, value...), ',')
	}
	return append(b, sums[1:]...), nil
}

// accepted is the format that an Accept header asks for.
func accepted(accept string) string {
	for _, f := range []struct{ media, format string }{{mediaArrow, "arrow"}, {"text/csv", "csv"}} {
		if strings.Contains(accept, f.media) {
			return f.format
		}
	}
	return "json"
}

// showbackHeader says in headers what JSON says beside the rows.
func showbackHeader(h http.Header, r aggregate.Report, next string) {
	at := stampOf(r.AsOf)
	h.Set("Ledger-As-Of", at.AsOf)
	if at.CompleteThrough != nil {
		h.Set("Ledger-Complete-Through", *at.CompleteThrough)
	}
	h.Set("Ledger-Next-Cursor", next)
	for i, text := range figureTexts(r.Total) {
		h.Set("Ledger-Total-"+figureNames[i], text)
	}
}

// showbackCSV writes the rows of a page.
func (s *server) showbackCSV(c echo.Context, r aggregate.Report, next string) error {
	showbackHeader(c.Response().Header(), r, next)
	c.Response().Header().Set(echo.HeaderContentType, "text/csv; charset=utf-8")
	c.Response().WriteHeader(http.StatusOK)
	w := csv.NewWriter(c.Response())
	w.Write(append(append([]string{}, r.GroupBy...), figureNames...))
	for _, row := range r.Rows {
		line := make([]string, 0, len(row.Group)+5)
		for _, v := range row.Group {
			line = append(line, formulaSafe(v))
		}
		w.Write(append(line, figureTexts(row.Figures)...))
	}
	w.Flush()
	return w.Error()
}

var figureNames = []string{"requests", "quantity", "cost", "unpriced", "unmeasured"}

func figureTexts(f aggregate.Figures) []string {
	return []string{fmt.Sprint(f.Requests), fmt.Sprint(f.Quantity), f.Cost.String(), fmt.Sprint(f.Unpriced), fmt.Sprint(f.Unmeasured)}
}

// formulaSafe is a text that no spreadsheet takes for a formula (OWASP, CSV injection; full-width forms count in some locales).
func formulaSafe(s string) string {
	if first, _ := utf8.DecodeRuneInString(s); s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}
