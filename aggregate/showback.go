package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// Dimensions are what showback groups and filters by, in the order in which
// rows are sorted. An empty value means that the call has none.
var Dimensions = []string{
	"business_unit", "team", "project", "user", "application", "use_case",
	"provider", "model", "class", "cost_status",
}

// Periods group by local time, at most one of them in a query.
var Periods = []string{"hour", "day", "month"}

// Query asks for figures of the entries charged in [From, To).
type Query struct {
	From, To time.Time
	TZ       *time.Location      // whose hours, days and months; nil: UTC
	GroupBy  []string            // of Dimensions and Periods, each once; none: one row
	Filters  map[string][]string // by dimension: one of these values
	AsOf     uint64              // recorded_seq; 0: the newest that is complete
	Limit    int                 // rows at most; 0: all
	Offset   int                 // rows to leave out
}

// Figures are exact sums over ledger entries, corrections included.
type Figures struct {
	Requests   int64     // calls; each is counted at its first entry, so by class it stands at one class only
	Quantity   int64     // tokens that are known
	Cost       money.Sum // dollars that are known
	Unpriced   int64     // entries whose tokens have no price: not in Cost
	Unmeasured int64     // entries whose tokens are not known: neither in Quantity nor in Cost
}

// Row is the figures of one group.
type Row struct {
	Group []string // values in the order of Query.GroupBy
	Figures
}

// Report answers a Query.
type Report struct {
	GroupBy         []string
	Rows            []Row   // by period, then dimension by dimension in the order of Dimensions
	Total           Figures // of all rows, also those outside the page
	More            bool    // rows follow this page
	AsOf            uint64
	CompleteThrough time.Time // of AsOf; zero: nothing is complete yet
	Source          string    // hours | cells | user_days | ledger
}

// Complete is the time that a recorded_seq stands for: everything recorded
// until then is in the figures as of it.
func Complete(seq uint64) time.Time {
	if seq == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(seq)).UTC()
}

var (
	// ErrQuery marks a query that can never be answered; its text is for the asker.
	ErrQuery = errors.New("query")
	// ErrAsOf says that AsOf lies after what is complete; later it may not.
	ErrAsOf = errors.New("as_of lies after what is complete")
)

// Latest is the recorded_seq that a query without AsOf is answered as of; 0
// when nothing is complete yet.
func Latest(ctx context.Context, db Store) (uint64, error) { return finished(ctx, db) }

// Showback answers a query exactly, as of one recorded_seq. It reads the
// rollups where they can tell, and the ledger itself where they cannot: from a
// bound inside a cell, users in another zone than UTC or with projects or
// applications, and days that changed since AsOf.
func Showback(ctx context.Context, db Store, q Query) (Report, error) {
	if err := q.check(); err != nil {
		return Report{}, err
	}
	if zone := q.zone(); zone != time.UTC {
		var known bool
		if err := db.QueryRow(ctx, sql.Query("showback_zone"), clickhouse.Param("tz", zone.String())).Scan(&known); err != nil {
			return Report{}, fmt.Errorf("look up time zone %s: %w", zone, err)
		}
		if !known {
			return Report{}, fmt.Errorf("%w: the store knows no time zone %q", ErrQuery, zone)
		}
	}
	for wait := 0; ; wait++ {
		asOf, err := finished(ctx, db)
		if err != nil {
			return Report{}, err
		}
		if q.AsOf > asOf {
			return Report{}, fmt.Errorf("as_of %d: %w, %d", q.AsOf, ErrAsOf, asOf)
		}
		if q.AsOf != 0 {
			asOf = q.AsOf
		}
		if asOf == 0 {
			return Report{GroupBy: q.GroupBy, Source: "ledger"}, nil
		}
		source := q.rollup()
		if source == "" {
			return q.read(ctx, db, "ledger", asOf)
		}
		// A run past asOf names its days before it swaps the first, so days
		// that none has named by the end of the reading held asOf throughout.
		// Asked before the reading too where the answer may well be yes.
		moved := false
		if q.AsOf != 0 || wait > 0 {
			if moved, err = touched(ctx, db, asOf, q.From, q.To); err != nil {
				return Report{}, err
			}
		}
		if !moved {
			report, err := q.read(ctx, db, source, asOf)
			if err != nil {
				return Report{}, err
			}
			if moved, err = touched(ctx, db, asOf, q.From, q.To); err != nil || !moved {
				return report, err
			}
		}
		// Swaps take milliseconds a day; only a run that was killed in them is
		// not worth waiting for. With AsOf given the days will not move back.
		if q.AsOf != 0 || wait == 20 {
			return q.read(ctx, db, "ledger", asOf)
		}
		select {
		case <-ctx.Done():
			return Report{}, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (q *Query) check() error {
	if !q.From.Before(q.To) {
		return fmt.Errorf("%w: from must be before to", ErrQuery)
	}
	if q.Limit < 0 || q.Offset < 0 {
		return fmt.Errorf("%w: limit and offset cannot be negative", ErrQuery)
	}
	periods := 0
	for i, g := range q.GroupBy {
		switch {
		case slices.Contains(q.GroupBy[:i], g):
			return fmt.Errorf("%w: group by %q twice", ErrQuery, g)
		case slices.Contains(Periods, g):
			periods++
		case !slices.Contains(Dimensions, g):
			return fmt.Errorf("%w: group by %q, known are %v and %v", ErrQuery, g, Dimensions, Periods)
		}
	}
	if periods > 1 {
		return fmt.Errorf("%w: group by more than one of %v", ErrQuery, Periods)
	}
	for d := range q.Filters {
		if !slices.Contains(Dimensions, d) {
			return fmt.Errorf("%w: filter by %q, known are %v", ErrQuery, d, Dimensions)
		}
	}
	return nil
}

// uses reports whether the query groups or filters by a dimension.
func (q *Query) uses(dimension string) bool {
	return slices.Contains(q.GroupBy, dimension) || len(q.Filters[dimension]) > 0
}

func (q *Query) period() string {
	for _, g := range q.GroupBy {
		if slices.Contains(Periods, g) {
			return g
		}
	}
	return ""
}

func (q *Query) zone() *time.Location {
	if q.TZ == nil {
		return time.UTC
	}
	return q.TZ
}

// rollup is the table that can answer the query, or "". Offsets of all zones
// have been multiples of 15 minutes since before there was anything to record,
// so cells can be cut at any local hour, day or month.
func (q *Query) rollup() string {
	aligned := func(d time.Duration) bool {
		return q.From.Equal(q.From.Truncate(d)) && q.To.Equal(q.To.Truncate(d))
	}
	switch {
	case !q.uses("user") && aligned(time.Hour) && (q.period() == "" || wholeHours(q.zone(), q.From, q.To)):
		return "hours"
	case !q.uses("user") && aligned(15*time.Minute):
		return "cells"
	case q.uses("user") && !q.uses("project") && !q.uses("application") && aligned(day) &&
		(q.period() == "" || q.period() != "hour" && q.zone() == time.UTC):
		return "user_days"
	}
	return ""
}

// wholeHours reports whether a zone's clocks are whole hours from UTC in all of [from, to), so that its hours are hours of UTC.
func wholeHours(zone *time.Location, from, to time.Time) bool {
	for at := from; at.Before(to); {
		_, offset := at.In(zone).Zone()
		_, next := at.In(zone).ZoneBounds()
		if offset%3600 != 0 || !next.Equal(next.Truncate(time.Hour)) {
			return false
		}
		if next.IsZero() { // for good
			return true
		}
		at = next
	}
	return true
}

// read runs the query on one source.
func (q *Query) read(ctx context.Context, db Store, source string, asOf uint64) (Report, error) {
	limit := uint64(1) << 62
	if q.Limit > 0 {
		limit = uint64(q.Limit) + 1 // one more tells whether rows follow
	}
	rows, err := q.rows(ctx, db, source, asOf, limit, uint64(q.Offset))
	if err == nil && len(rows) == 0 && q.Offset > 0 { // past the last row the total is still the total
		var first []row
		first, err = q.rows(ctx, db, source, asOf, 1, 0)
		if err == nil && len(first) > 0 {
			return q.report(nil, first[0], source, asOf)
		}
	}
	if err != nil {
		return Report{}, fmt.Errorf("showback from %s as of %d: %w", source, asOf, err)
	}
	if len(rows) == 0 {
		return q.report(nil, row{TotalCost: "0"}, source, asOf)
	}
	return q.report(rows, rows[0], source, asOf)
}

// row is a row of the showback statements.
type row struct {
	Period          int64  `ch:"period"`
	BusinessUnit    string `ch:"business_unit"`
	Team            string `ch:"team"`
	Project         string `ch:"project"`
	User            string `ch:"user"`
	Application     string `ch:"application"`
	UseCase         string `ch:"use_case"`
	Provider        string `ch:"provider"`
	Model           string `ch:"model"`
	Class           string `ch:"class"`
	CostStatus      string `ch:"cost_status"`
	Requests        int64  `ch:"requests"`
	Quantity        int64  `ch:"quantity"`
	Cost            string `ch:"cost"`
	Unpriced        int64  `ch:"unpriced"`
	Unmeasured      int64  `ch:"unmeasured"`
	TotalRequests   int64  `ch:"total_requests"`
	TotalQuantity   int64  `ch:"total_quantity"`
	TotalCost       string `ch:"total_cost"`
	TotalUnpriced   int64  `ch:"total_unpriced"`
	TotalUnmeasured int64  `ch:"total_unmeasured"`
}

func (q *Query) rows(ctx context.Context, db Store, source string, asOf, limit, offset uint64) ([]row, error) {
	args := append(ledgerParams(asOf, q.From, q.To),
		clickhouse.Param("period", q.period()), clickhouse.Param("tz", q.zone().String()),
		clickhouse.Param("by", append([]string{}, q.GroupBy...)),
		clickhouse.Param("limit", limit), clickhouse.Param("offset", offset))
	for _, d := range Dimensions {
		args = append(args, clickhouse.Param(d, append([]string{}, q.Filters[d]...)))
	}
	var rows []row
	err := db.Select(ctx, &rows, sql.Query("showback_"+source), args...)
	return rows, err
}

func (q *Query) report(rows []row, total row, source string, asOf uint64) (Report, error) {
	r := Report{GroupBy: q.GroupBy, AsOf: asOf, CompleteThrough: Complete(asOf), Source: source}
	if q.Limit > 0 && len(rows) > q.Limit {
		rows, r.More = rows[:q.Limit], true
	}
	var err error
	r.Total = Figures{Requests: total.TotalRequests, Quantity: total.TotalQuantity, Unpriced: total.TotalUnpriced, Unmeasured: total.TotalUnmeasured}
	if r.Total.Cost, err = money.ParseSum(total.TotalCost); err != nil {
		return Report{}, err
	}
	for i := range rows {
		line := Row{
			Group:   q.group(&rows[i]),
			Figures: Figures{Requests: rows[i].Requests, Quantity: rows[i].Quantity, Unpriced: rows[i].Unpriced, Unmeasured: rows[i].Unmeasured},
		}
		if line.Cost, err = money.ParseSum(rows[i].Cost); err != nil {
			return Report{}, err
		}
		r.Rows = append(r.Rows, line)
	}
	return r, nil
}

// group is the values of a row in the order of GroupBy.
func (q *Query) group(r *row) []string {
	values := map[string]string{
		"business_unit": r.BusinessUnit, "team": r.Team, "project": r.Project, "user": r.User, "application": r.Application,
		"use_case": r.UseCase, "provider": r.Provider, "model": r.Model, "class": r.Class, "cost_status": r.CostStatus,
	}
	group := make([]string, len(q.GroupBy))
	for i, g := range q.GroupBy {
		switch g {
		case "month":
			group[i] = fmt.Sprintf("%04d-%02d", r.Period/100, r.Period%100)
		case "day":
			group[i] = time.Unix(r.Period*86400, 0).UTC().Format(time.DateOnly)
		case "hour": // with its offset, since an hour comes twice when a zone sets its clocks back
			group[i] = time.Unix(r.Period, 0).In(q.zone()).Format(time.RFC3339)
		default:
			group[i] = values[g]
		}
	}
	return group
}
