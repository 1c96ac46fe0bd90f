package api

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/lineage"
)

// requestView is a call in full. Whoever is shown it has been recorded as having read it.
type requestView struct {
	page
	*requestAnswer
	At       time.Time
	Who      []namedDimension
	Answered string // the model; empty: none did, or it was not told
	Served   *attempt
	Lines    []entry
	Sum      money.Sum // of the lines whose cost is known
	Trace    *lineage.Trace
	Covered  string
	Sources  []branch
	Unknown  []string
	Complete completeness
	TookUS   int64 // to find all this
	JSON     []namedLink
}

// maxTree is how many datasets a page shows; the API gives more.
const maxTree = "300"

type namedDimension struct {
	Name string
	dimension
}

func (s *server) requestPage(c echo.Context) error {
	began := time.Now()
	id := url.PathEscape(c.Param("id"))
	var a requestAnswer
	if err := s.ask(c, "/v1/requests/"+id, nil, &a); err != nil {
		return err
	}
	var t traceAnswer
	if err := s.ask(c, "/v1/trace/"+id, url.Values{"max_nodes": {maxTree}}, &t); err != nil {
		return err
	}
	v := requestView{
		page: s.page(c, "Request "+a.ID), requestAnswer: &a, Lines: a.Entries, Trace: t.Trace, Covered: coverages[t.Completeness.Coverage], Sources: tree(t.Trace),
		JSON: []namedLink{{Name: "call", URL: "/v1/requests/" + id}, {Name: "trace", URL: "/v1/trace/" + id}},
	}
	var err error
	if v.At, err = time.Parse(time.RFC3339Nano, a.Time); err != nil {
		return err
	}
	if v.Complete, err = s.completeness(a.stamp, time.UTC); err != nil {
		return err
	}
	for _, name := range event.DimensionNames {
		v.Who = append(v.Who, namedDimension{name, a.Attribution[name]})
	}
	if i := a.Outcome.Served; i >= 0 && i < len(a.Attempts) {
		v.Served = &a.Attempts[i]
		v.Answered = v.Served.ModelServed
	}
	for _, e := range a.Entries {
		if e.Cost != nil {
			line, err := money.ParseSum(*e.Cost)
			if err != nil {
				return err
			}
			v.Sum = v.Sum.Plus(line)
		}
	}
	v.Unknown = append(unknown(&a, v.Served), untraced(t.Completeness)...)
	v.TookUS = time.Since(began).Microseconds()
	return s.render(c, http.StatusOK, "request", v)
}

// unknown is what the books do not say of a call, in sentences.
func unknown(a *requestAnswer, served *attempt) []string {
	var list []string
	for _, name := range event.DimensionNames {
		if d := a.Attribution[name]; d.Value == "" {
			list = append(list, dimensionTitle(name)+": neither the key nor the call named one, and there is no default.")
		}
	}
	if a.Type == string(event.RequestRecovered) {
		list = append(list, "The outcome: the process ended in the middle of the call. What it cost, if it did, is not known.")
	}
	if served != nil && served.ModelServed == "" {
		list = append(list, "Which model answered: the provider's answer named none.")
	}
	for i, x := range a.Attempts {
		if x.UsageSource == string(event.UsageMissing) && x.Status >= 200 && x.Status < 300 {
			list = append(list, fmt.Sprintf("The tokens of attempt %d: the provider told none.", i))
		}
	}
	for _, e := range a.Entries {
		if e.CostStatus == "unpriced" && e.Sign > 0 {
			list = append(list, fmt.Sprintf("What the %s tokens of attempt %d cost: no price is known for %s.", e.Class, e.Attempt, e.Model))
		}
	}
	return list
}

// untraced is what the trace of a call does not know, in sentences.
func untraced(c lineage.Completeness) []string {
	list := append([]string{}, c.Notes...)
	for _, id := range c.UnknownSources {
		list = append(list, "Who owns "+id+", which fed the prompt, and what it was made from: the estate did not list it then.")
	}
	for _, id := range c.UnknownUpstream {
		list = append(list, "Who owns "+id+", and what it was made from: the estate did not list it then.")
	}
	if c.Truncated {
		list = append(list, "More datasets than are shown here: the trace has them all.")
	}
	return list
}
