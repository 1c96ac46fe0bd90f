package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

type requestsView struct {
	page
	Period     periodForm
	Dimensions []string
	Filters    []chip
	Hidden     []hidden
	Problem    *Problem
	MayOpen    bool // the key may see a single call

	Rows     []callRow
	Complete completeness
	Next     string
	First    string
	JSON     string
}

type callRow struct {
	requestRow
	Local string
}

func (s *server) requestsPage(c echo.Context) error {
	if id := strings.TrimSpace(c.QueryParam("id")); id != "" { // of the form that opens one
		return c.Redirect(http.StatusSeeOther, "/requests/"+url.PathEscape(id))
	}
	query, form := canonical(with(c.QueryParams(), "id"))
	if form {
		return c.Redirect(http.StatusSeeOther, link("/requests", query))
	}
	p := &params{values: query}
	zone := p.zone()
	from, to := p.period(s.Now(), zone)
	from, to = from.In(zone), to.In(zone)
	query = with(with(query, "from", bound(from)), "to", bound(to))
	names := append(slices.Clone(requestFilters), "status")
	key := c.Get("key").(Key)
	v := requestsView{
		page: s.page(c, "Requests"), Period: newPeriodForm("/requests", query, from, to, s.Now(), zone),
		Dimensions: names, Filters: chips("/requests", query, names), Hidden: hand(query, names), MayOpen: maySee(key, "/requests/:id"),
	}
	var a requestsAnswer
	err := p.err
	if err == nil {
		err = s.ask(c, "/v1/requests", query, &a)
	}
	if v.Problem = mistake(err); v.Problem != nil {
		return s.render(c, http.StatusBadRequest, "requests", v)
	}
	if err != nil {
		return err
	}
	if v.Complete, err = s.completeness(a.stamp, zone); err != nil {
		return err
	}
	for _, r := range a.Requests {
		at, err := time.Parse(time.RFC3339Nano, r.Time)
		if err != nil {
			return err
		}
		v.Rows = append(v.Rows, callRow{r, at.In(zone).Format("2006-01-02 15:04:05")})
	}
	if a.NextCursor != "" {
		v.Next = link("/requests", with(query, "cursor", a.NextCursor))
	}
	if query.Has("cursor") {
		v.First = link("/requests", with(query, "cursor"))
	}
	v.JSON = link("/v1/requests", with(with(query, "cursor"), "as_of", a.AsOf))
	return s.render(c, http.StatusOK, "requests", v)
}
