package api

import (
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
)

const showbackPageRows = "200"

type showbackView struct {
	page
	Period     periodForm
	Groups     []string
	By, Then   string
	Choices    []string // what to group by
	Dimensions []string // what to filter by
	Filters    []chip
	Hidden     []hidden
	Problem    *Problem

	Rows       []showbackRow
	Total      figures
	Share      bool // rows have bars
	Complete   completeness
	Next       string
	First      string // of the pages; empty on it
	Unpriced   string // the calls without a price
	Unmeasured string // the calls without a quantity
	Calls      string // where all of them are listed; empty: nowhere
	Files      []namedLink
}

type showbackRow struct {
	Cells []cell
	figures
	Bar   int    // of a thousand: its share of the largest cost
	Calls string // where the calls are listed that it is made of; empty: nowhere
}

// cell is a value and where it leads.
type cell struct{ Name, Value, URL string }

func (s *server) showbackPage(c echo.Context) error {
	query, form := canonical(c.QueryParams())
	if form {
		return c.Redirect(http.StatusSeeOther, link("/showback", query))
	}
	if !query.Has("group_by") {
		query = with(query, "group_by", "team")
	}
	p := &params{values: query} // what is wrong with it is for the API to say
	zone := p.zone()
	groups := p.groupBy()
	from, to := p.period(s.Now(), zone)
	from, to = from.In(zone), to.In(zone)
	query = with(with(query, "from", bound(from)), "to", bound(to))
	v := showbackView{
		page: s.page(c, "Showback"), Period: newPeriodForm("/showback", query, from, to, s.Now(), zone),
		Groups: groups, Choices: append(slices.Clone(aggregate.Dimensions), aggregate.Periods...), Dimensions: aggregate.Dimensions,
		Filters: chips("/showback", query, aggregate.Dimensions), Hidden: hand(query, aggregate.Dimensions),
	}
	for i, group := range []*string{&v.By, &v.Then} {
		if i < len(groups) {
			*group = groups[i]
		}
	}
	var a showbackAnswer
	err := p.err
	if err == nil {
		err = s.ask(c, "/v1/showback", with(query, "limit", showbackPageRows), &a)
	}
	if v.Problem = mistake(err); v.Problem != nil {
		return s.render(c, http.StatusBadRequest, "showback", v)
	}
	if err != nil {
		return err
	}
	if v.Complete, err = s.completeness(a.stamp, zone); err != nil {
		return err
	}
	v.Total = a.Total
	pinned := with(query, "as_of", a.AsOf) // the same figures whenever they are asked for
	if v.Rows, err = rowsOf(query, pinned, groups, a.Rows, from, to, zone); err != nil {
		return err
	}
	v.Share = len(v.Rows) > 1
	if a.NextCursor != "" {
		v.Next = link("/showback", with(query, "cursor", a.NextCursor))
	}
	if query.Has("cursor") {
		v.First = link("/showback", with(query, "cursor"))
	}
	v.Calls = callsOf(pinned, nil, nil, from, to)
	v.Unpriced = callsWith(with(pinned, "cost_status", "unpriced", "missing"), nil, nil, from, to) // missing is worse, and hides it
	v.Unmeasured = callsWith(with(pinned, "cost_status", "missing"), nil, nil, from, to)
	for _, format := range []string{"csv", "arrow", "json"} {
		v.Files = append(v.Files, namedLink{Name: format, URL: link("/v1/showback", with(with(pinned, "cursor"), "format", format))})
	}
	return s.render(c, http.StatusOK, "showback", v)
}

// rowsOf is the rows of an answer, each with where its values lead, and a bar as long as its cost is of the largest.
func rowsOf(query, pinned url.Values, groups []string, raw []json.RawMessage, from, to time.Time, zone *time.Location) ([]showbackRow, error) {
	var rows []showbackRow
	largest := new(big.Int)
	for _, text := range raw {
		var row showbackRow
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &row.figures); err != nil {
			return nil, err
		}
		values := make([]string, len(groups))
		for i, name := range groups {
			values[i], _ = members[name].(string)
		}
		rowFrom, rowTo := from, to
		for i, name := range groups {
			narrow := with(with(query, "cursor"), "as_of")
			if isPeriod(name) {
				start, end, err := periodOf(name, values[i], zone)
				if err != nil {
					return nil, err
				}
				rowFrom, rowTo = later(from, start), sooner(to, end)
				narrow = between(narrow, rowFrom, rowTo)
			} else {
				narrow = with(narrow, name, values[i])
			}
			row.Cells = append(row.Cells, cell{name, values[i], link("/showback", with(narrow, "group_by", finer(groups, i, narrow)))})
		}
		row.Calls = callsOf(pinned, groups, values, rowFrom, rowTo)
		rows = append(rows, row)
		if cost := pico(row.Cost); cost.Cmp(largest) > 0 {
			largest = cost
		}
	}
	for i := range rows {
		if cost := pico(rows[i].Cost); cost.Sign() > 0 {
			rows[i].Bar = int(cost.Mul(cost, big.NewInt(1000)).Quo(cost, largest).Int64())
		}
	}
	return rows, nil
}

// finer is the group_by of the view that a value leads to: the group that it is of gives way to the next one that still tells something.
func finer(groups []string, i int, query url.Values) string {
	next := slices.Clone(groups)
	order := []string{"business_unit", "team", "use_case", "model", "user", "day", "class", "cost_status"}
	switch groups[i] {
	case "month":
		order = append([]string{"day"}, order...)
	case "day":
		order = append([]string{"hour"}, order...)
	}
	for _, name := range order {
		periods := isPeriod(name) && slices.ContainsFunc(groups, func(g string) bool { return g != groups[i] && isPeriod(g) })
		if !slices.Contains(groups, name) && !query.Has(name) && !periods {
			next[i] = name
			break
		}
	}
	return strings.Join(next, ",")
}

// callsOf is the page of the calls behind a row, as of the same recorded_seq. There is none for a token class or a cost status, which are
// of a call's entries: a call has several.
func callsOf(query url.Values, groups, values []string, from, to time.Time) string {
	for _, name := range []string{"class", "cost_status"} {
		if slices.Contains(groups, name) || query.Has(name) {
			return ""
		}
	}
	return callsWith(query, groups, values, from, to)
}

// callsWith is the page of the calls of a query and of a row's values.
func callsWith(query url.Values, groups, values []string, from, to time.Time) string {
	q := between(url.Values{}, from, to)
	for name, all := range query {
		if name == "tz" || name == "as_of" || slices.Contains(requestFilters, name) {
			q[name] = all
		}
	}
	for i, name := range groups {
		if slices.Contains(requestFilters, name) {
			q[name] = values[i : i+1]
		}
	}
	return link("/requests", q)
}

// pico is an amount as an integer, to draw with.
func pico(sum money.Sum) *big.Int {
	n, _ := new(big.Int).SetString(strings.Replace(sum.String(), ".", "", 1), 10)
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
