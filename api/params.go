package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
)

const (
	maxPage   = 1000
	maxFile   = 100_000 // rows of a file without pages
	maxPeriod = 5 * 366 * 24 * time.Hour
	maxValues = 100 // of one filter
	maxText   = 512 // bytes of one value
)

// params reads the parameters of a query string; every one must be known and valid. The first mistake stays in err.
type params struct {
	values url.Values
	known  []string
	err    error
}

func (p *params) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// all is the values of a parameter that may be repeated.
func (p *params) all(name string) []string {
	p.known = append(p.known, name)
	values := p.values[name]
	if len(values) > maxValues {
		p.fail(invalid(name, fmt.Sprintf("at most %d values", maxValues)))
		return nil
	}
	for _, v := range values {
		if len(v) > maxText {
			p.fail(invalid(name, fmt.Sprintf("at most %d bytes", maxText)))
		}
	}
	return values
}

// one is the value of a parameter that stands once at most, and is not empty then; empty when it is not there.
func (p *params) one(name string) string {
	values := p.all(name)
	if len(values) > 1 {
		p.fail(invalid(name, "only once"))
	}
	if len(values) == 0 {
		return ""
	}
	if values[0] == "" {
		p.fail(invalid(name, "empty"))
	}
	return values[0]
}

func (p *params) number(name string, low, high, otherwise uint64) uint64 {
	text := p.one(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		p.fail(invalid(name, fmt.Sprintf("a number from %d to %d", low, high)))
	}
	return n
}

// groupBy is the dimensions and the period of showback's rows.
func (p *params) groupBy() []string {
	text := p.one("group_by")
	if text == "" {
		return []string{}
	}
	groups := strings.Split(text, ",")
	periods := 0
	for i, g := range groups {
		switch {
		case slices.Contains(groups[:i], g):
			p.fail(invalid("group_by", printable(g)+" twice"))
		case slices.Contains(aggregate.Periods, g):
			periods++
		case !slices.Contains(aggregate.Dimensions, g):
			p.fail(invalid("group_by", fmt.Sprintf("%s; known are %v and %v", printable(g), aggregate.Dimensions, aggregate.Periods)))
		}
	}
	if periods > 1 {
		p.fail(invalid("group_by", fmt.Sprintf("at most one of %v", aggregate.Periods)))
	}
	return groups
}

// asOf is the recorded_seq to answer as of; 0: the newest that is complete.
func (p *params) asOf() uint64 { return p.number("as_of", 0, 1<<62, 0) }

// limit is the page size.
func (p *params) limit() int { return int(p.number("limit", 1, maxPage, 100)) }

// zone is the time zone of days and months.
func (p *params) zone() *time.Location {
	name := p.one("tz")
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		p.fail(invalid("tz", "a time zone such as Europe/Zurich"))
		return time.UTC
	}
	return zone
}

// period is [from, to): instants in RFC 3339 or days of the zone; by default the zone's current month.
func (p *params) period(now time.Time, zone *time.Location) (from, to time.Time) {
	now = now.In(zone)
	from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, zone)
	to = time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, zone)
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"from", &from}, {"to", &to}} {
		text := p.one(bound.name)
		if text == "" {
			continue
		}
		t, err := time.ParseInLocation(time.DateOnly, text, zone)
		if err != nil {
			t, err = time.Parse(time.RFC3339, text)
		}
		if err != nil || t.Year() < 2000 || t.Year() > 2199 {
			p.fail(invalid(bound.name, "a day such as 2026-11-01 or an instant such as 2026-11-01T00:00:00Z, from 2000 to 2199"))
		}
		*bound.at = t
	}
	if !from.Before(to) {
		p.fail(invalid("from", "must be before to"))
	} else if to.Sub(from) > maxPeriod {
		p.fail(invalid("from", "at most five years before to"))
	}
	return from, to
}

// filters are the parameters named like dimensions.
func (p *params) filters() map[string][]string {
	filters := map[string][]string{}
	for _, d := range aggregate.Dimensions {
		if values := p.all(d); len(values) > 0 {
			filters[d] = values
		}
	}
	return filters
}

// done is the first mistake; a parameter that nobody read is one.
func (p *params) done() error {
	for name := range p.values {
		if !slices.Contains(p.known, name) {
			p.fail(invalid(printable(name), fmt.Sprintf("no such parameter; known are %v", p.known)))
		}
	}
	return p.err
}

// printable is a parameter's name as it may stand in an error.
func printable(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return strconv.QuoteToASCII(name)
}
