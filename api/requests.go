package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// watermark is the recorded_seq through which calls are complete.
func (s *server) watermark(ctx context.Context) (uint64, error) {
	return ingest.Watermark(ctx, s.DB, s.Topic)
}

// requestFilters are the parameters that narrow a list of calls, each with values any of which fits.
var requestFilters = []string{"business_unit", "team", "project", "user", "application", "use_case", "format", "type", "cost_status", "provider", "model", "key_id"}

// requestRow is a call in a list.
type requestRow struct {
	ID           string  `json:"id" ch:"id"`
	At           int64   `json:"-" ch:"at"` // µs since 1970
	Time         string  `json:"time" ch:"time_text"`
	Type         string  `json:"type" ch:"type"`
	Format       string  `json:"format" ch:"format"`
	Operation    string  `json:"operation" ch:"operation"`
	Stream       bool    `json:"stream" ch:"stream"`
	ModelAsked   string  `json:"model_asked" ch:"model_asked"`
	Model        string  `json:"model" ch:"model"`
	Provider     string  `json:"provider" ch:"provider"`
	Endpoint     string  `json:"endpoint" ch:"endpoint"`
	Attempts     uint64  `json:"attempts" ch:"attempts"`
	KeyID        string  `json:"key_id" ch:"key_id"`
	BusinessUnit string  `json:"business_unit" ch:"business_unit"`
	Team         string  `json:"team" ch:"team"`
	Project      string  `json:"project" ch:"project"`
	User         string  `json:"user" ch:"user"`
	Application  string  `json:"application" ch:"application"`
	UseCase      string  `json:"use_case" ch:"use_case"`
	Status       uint16  `json:"status" ch:"status"`
	Code         string  `json:"code" ch:"code"`
	Client       string  `json:"client" ch:"client"`
	LatencyUS    uint64  `json:"latency_us" ch:"latency_us"`
	FirstByteUS  uint64  `json:"first_byte_us" ch:"first_byte_us"`
	InputTokens  *uint64 `json:"input_tokens" ch:"input_tokens"`   // null: not told
	OutputTokens *uint64 `json:"output_tokens" ch:"output_tokens"` // null: not told
	Cost         *string `json:"cost" ch:"cost_text"`              // null: not known
	CostStatus   string  `json:"cost_status" ch:"cost_status"`
	Restatement  uint32  `json:"restatement" ch:"restatement"`
}

type requestsAnswer struct {
	Requests []requestRow `json:"requests"`
	stamp
	NextCursor string `json:"next_cursor"`
}

func (s *server) requests(c echo.Context) error {
	query := c.QueryParams()
	p := &params{values: query}
	from, to := p.period(s.Now(), p.zone())
	limit := p.limit()
	status := int64(p.number("status", 0, 999, 0))
	if !query.Has("status") {
		status = -1 // any
	}
	filters := []clickhouse.Arg{clickhouse.Param("status", status)}
	for _, name := range requestFilters {
		filters = append(filters, clickhouse.Param(name, append([]string{}, p.all(name)...)))
	}
	asked := question{c.Path(), from, to, query}
	at := cursor{asOf: p.asOf(), position: uint64(to.UnixMicro())}
	if text := p.one("cursor"); text != "" {
		var err error
		if at, err = parseCursor(text, asked); err != nil {
			p.fail(err)
		} else if t := int64(at.position); t < from.UnixMicro() || t > to.UnixMicro() { // made up
			p.fail(errCursor)
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
	filters = append(filters, clickhouse.Param("as_of", at.asOf))
	rows, err := s.newest(c.Request().Context(), limit+1, from, requestKey{int64(at.position), event.ID(at.id).String()}, filters)
	if err != nil {
		return fmt.Errorf("list requests: %w", err)
	}
	answer := requestsAnswer{Requests: []requestRow{}, stamp: stampOf(at.asOf)}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		id, err := event.ParseID(last.ID)
		if err != nil {
			return err
		}
		answer.NextCursor = cursor{asOf: at.asOf, position: uint64(last.At), id: id}.text(asked)
	}
	answer.Requests = append(answer.Requests, rows...)
	return c.JSON(http.StatusOK, answer)
}

// within is the recorded_seq to answer as of: the one asked for, which must be complete, or for 0 the latest that is.
func within(asOf, latest uint64) (uint64, error) {
	if asOf > latest {
		return 0, invalid("as_of", "lies after what is complete; leave it out for the newest")
	}
	if asOf == 0 {
		return latest, nil
	}
	return asOf, nil
}

// requestKey is where a call stands in the order of lists: the newest first, of one microsecond the greatest id.
type requestKey struct {
	At int64  `ch:"at"` // µs since 1970
	ID string `ch:"id"`
}

// A list walks back in windows of time, so that what it costs depends on the calls of the page and not on those of the period. The first
// window serves a busy store in one step; each further one is so many times as wide, so the emptiest period takes a few.
const (
	firstWindow  = 15 * time.Minute
	windowGrowth = 8
)

// newest is the first n calls before a place in the order, none before from. Two steps a window: the keys of calls that may be meant,
// read in order from narrow columns of all rows; then what counts of just these keys, which may be less.
func (s *server) newest(ctx context.Context, n int, from time.Time, before requestKey, filters []clickhouse.Arg) ([]requestRow, error) {
	var rows []requestRow
	width := firstWindow.Microseconds()
	// What lies ahead of the clock belongs to the first window.
	for low := max(from.UnixMicro(), min(before.At, s.Now().UnixMicro())-width); ; {
		ask := max(n-len(rows), 16) // some of them may not count, or stand here twice
		var keys []requestKey
		args := append([]clickhouse.Arg{
			clickhouse.Param("from", low), clickhouse.Param("before", before.At), clickhouse.Param("before_id", before.ID), clickhouse.Param("limit", uint64(ask)),
		}, filters...)
		if err := s.DB.Select(ctx, &keys, sql.Query("requests_page"), args...); err != nil {
			return nil, err
		}
		more, err := s.standing(ctx, keys, filters)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
		switch {
		case len(rows) >= n:
			return rows[:n], nil
		case len(keys) == ask: // there may be more in this window
			before = keys[ask-1]
		case low == from.UnixMicro():
			return rows, nil
		default:
			before = requestKey{low, event.ID{}.String()} // no call has an id below this one
			width *= windowGrowth
			low = max(from.UnixMicro(), low-width)
		}
	}
}

// standing is the calls of the keys as they stand, but for those that the filters leave out then.
func (s *server) standing(ctx context.Context, keys []requestKey, filters []clickhouse.Arg) ([]requestRow, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	times, ids := make([]int64, len(keys)), make([][16]byte, len(keys))
	for i, k := range keys {
		id, err := event.ParseID(k.ID)
		if err != nil {
			return nil, err
		}
		times[i], ids[i] = k.At, id
	}
	page := clickhouse.Table("page", []clickhouse.Column{{Name: "time", Type: "DateTime64(6, 'UTC')", Data: times}, {Name: "event_id", Type: "UUID", Data: ids}})
	var rows []requestRow
	err := s.DB.Select(ctx, &rows, sql.Query("requests_rows"), append([]clickhouse.Arg{page}, filters...)...)
	return rows, err
}

// entry is a line of the ledger.
type entry struct {
	Attempt     uint8   `json:"attempt" ch:"attempt"`
	Class       string  `json:"class" ch:"class"`
	Restatement uint32  `json:"restatement" ch:"restatement"`
	Sign        int8    `json:"sign" ch:"sign"`
	Provider    string  `json:"provider" ch:"provider"`
	Model       string  `json:"model" ch:"model"`
	Region      string  `json:"region" ch:"region"`
	Tier        string  `json:"tier" ch:"tier"`
	Quantity    *int64  `json:"quantity" ch:"quantity"` // null: not known
	Rate        *int64  `json:"-" ch:"rate"`
	PerMillion  *string `json:"usd_per_million" ch:"-"` // null: no price
	PriceID     string  `json:"price_id" ch:"price_id"`
	Cost        *string `json:"cost" ch:"cost_text"` // null: not known
	CostStatus  string  `json:"cost_status" ch:"cost_status"`
	PriceBook   string  `json:"price_book" ch:"price_book"`
	Derivation  uint16  `json:"derivation" ch:"derivation"`
}

type dimension struct {
	Value      string `json:"value"`
	Provenance string `json:"provenance"`
	Conflict   string `json:"conflict,omitempty"`
}

type attempt struct {
	Endpoint       string `json:"endpoint"`
	Provider       string `json:"provider"`
	Region         string `json:"region"`
	ModelRequested string `json:"model_requested"`
	ModelServed    string `json:"model_served"`
	Status         int    `json:"status"`
	Error          string `json:"error"`
	Start          string `json:"start"`
	FirstByteUS    int64  `json:"first_byte_us"` // from the start; 0: none came
	LatencyUS      int64  `json:"latency_us"`
	ProviderID     string `json:"provider_request_id"`
	Tier           string `json:"tier"`
	UsageSource    string `json:"usage_source"`
	Chunks         int64  `json:"chunks"`
	Bytes          int64  `json:"bytes"`
}

type rejected struct {
	Endpoint string `json:"endpoint"`
	Why      string `json:"why"`
}

type decision struct {
	Rule       string     `json:"rule"`
	Why        string     `json:"why"`
	Rejected   []rejected `json:"rejected"`
	Governance string     `json:"governance"`
	Commit     string     `json:"commit"`
}

type outcome struct {
	Status      int    `json:"status"`
	Code        string `json:"code"`
	Finish      string `json:"finish"`
	Served      int    `json:"served"`
	LatencyUS   int64  `json:"latency_us"`
	FirstByteUS int64  `json:"first_byte_us"`
	Client      string `json:"client"`
	Upstream    string `json:"upstream"`
	AnswerBytes int64  `json:"answer_bytes"`
}

// origin is where the event stands, so that anybody can find its exact bytes.
type origin struct {
	Digest    string `json:"digest" ch:"digest_hex"`
	Writer    string `json:"writer" ch:"writer"`
	Seq       string `json:"seq" ch:"seq_text"`
	Topic     string `json:"topic" ch:"topic"`
	Partition uint32 `json:"partition" ch:"partition"`
	Offset    uint64 `json:"offset" ch:"offset"`
	Raw       string `json:"-" ch:"raw"`
}

type adjustment struct {
	ID      string  `json:"id"`
	Time    string  `json:"time"`
	Outcome outcome `json:"outcome"`
}

type requestAnswer struct {
	ID          string               `json:"id"`
	Time        string               `json:"time"`
	Type        string               `json:"type"`
	Format      string               `json:"format"`
	Operation   string               `json:"operation"`
	Stream      bool                 `json:"stream"`
	ModelAsked  string               `json:"model_asked"`
	Workload    string               `json:"workload"`
	KeyID       string               `json:"key_id"`
	TraceID     string               `json:"trace_id"`
	Attribution map[string]dimension `json:"attribution"`
	Decision    decision             `json:"decision"`
	Attempts    []attempt            `json:"attempts"`
	Outcome     outcome              `json:"outcome"`
	Cost        *string              `json:"cost"`
	CostStatus  string               `json:"cost_status"`
	Entries     []entry              `json:"entries"`
	Adjustments []adjustment         `json:"adjustments"`
	Event       origin               `json:"event"`
	stamp
}

// request answers with one call in full. Reading it is an event of its own, which is durable before anything is answered.
func (s *server) request(c echo.Context) error {
	id, err := event.ParseID(c.Param("id"))
	if err != nil {
		return invalid("id", "a request id, as in the answer's header Ledger-Request-Id")
	}
	if err := (&params{values: c.QueryParams()}).done(); err != nil {
		return err
	}
	answer, err := s.find(c.Request().Context(), id)
	return s.answerRead(c, id.String(), answer, err)
}

func (s *server) find(ctx context.Context, id event.ID) (*requestAnswer, error) {
	asOf, err := s.watermark(ctx)
	if err != nil {
		return nil, err
	}
	// The id tells its millisecond, which is where the tables are sorted.
	args := []clickhouse.Arg{
		clickhouse.Param("id", id.String()), clickhouse.Param("as_of", asOf),
		clickhouse.Param("from", id.Milli()*1000), clickhouse.Param("to", id.Milli()*1000+1000),
	}
	var origins []origin
	if err := s.DB.Select(ctx, &origins, sql.Query("requests_event"), args...); err != nil {
		return nil, fmt.Errorf("find the event of a request: %w", err)
	}
	if len(origins) == 0 {
		return nil, problem(http.StatusNotFound, "no_such_request", "no such request in the books; one that has just ended is in them within seconds")
	}
	ev, err := event.Decode([]byte(origins[0].Raw))
	if err != nil {
		return nil, fmt.Errorf("decode a stored event: %w", err)
	}
	if ev.Request == nil {
		return nil, problem(http.StatusNotFound, "no_such_request", "this is the id of another kind of event")
	}
	a := view(ev)
	a.Event, a.stamp = origins[0], stampOf(asOf)
	var entries []entry
	if err := s.DB.Select(ctx, &entries, sql.Query("requests_entries"), args...); err != nil {
		return nil, fmt.Errorf("find the entries of a request: %w", err)
	}
	var total money.Sum
	unknown, standing := 0, map[string]int{}
	for i := range entries {
		e := &entries[i]
		standing[e.CostStatus] += int(e.Sign)
		if e.Rate != nil {
			text := money.Rate(*e.Rate).PerMillion()
			e.PerMillion = &text
		}
		if e.Cost == nil {
			unknown += int(e.Sign)
			continue
		}
		line, err := money.ParseSum(*e.Cost)
		if err != nil {
			return nil, err
		}
		text := line.String()
		e.Cost, total = &text, total.Plus(line)
	}
	if unknown == 0 {
		text := total.String()
		a.Cost = &text
	}
	a.Entries = append([]entry{}, entries...)
	for _, status := range costStatuses {
		if standing[status] > 0 {
			a.CostStatus = status
		}
	}
	var later []struct {
		Raw string `ch:"raw"`
	}
	if err := s.DB.Select(ctx, &later, sql.Query("requests_adjustments"), args...); err != nil {
		return nil, fmt.Errorf("find the adjustments of a request: %w", err)
	}
	for _, l := range later {
		adjusted, err := event.Decode([]byte(l.Raw))
		if err != nil {
			return nil, fmt.Errorf("decode a stored event: %w", err)
		}
		v := view(adjusted)
		a.Adjustments = append(a.Adjustments, adjustment{v.ID, v.Time, v.Outcome})
	}
	return a, nil
}

// costStatuses are all, from the best to the worst.
var costStatuses = []string{ingest.Free, ingest.Exact, ingest.Estimated, ingest.Partial, ingest.Unpriced, ingest.Missing}

// view is what an event says of its call, which has bought nothing until its entries say so.
func view(ev *event.Event) *requestAnswer {
	r := ev.Request
	a := &requestAnswer{
		ID: ev.ID.String(), Time: ev.Time.Time().Format(time.RFC3339Nano), Type: string(ev.Type), Format: r.Call.Format, Operation: r.Call.Operation,
		Stream: r.Call.Stream, ModelAsked: r.Call.Model, Workload: r.Call.Workload, KeyID: r.Caller.KeyID, TraceID: r.Call.TraceID,
		Attribution: map[string]dimension{},
		Decision:    decision{r.Decision.Rule, r.Decision.Why, []rejected{}, r.Decision.Governance, r.Decision.Commit},
		CostStatus:  ingest.Free,
		Attempts:    []attempt{}, Adjustments: []adjustment{},
		Outcome: outcome{r.Outcome.Status, r.Outcome.Code, r.Outcome.Finish, r.Outcome.Served, r.Outcome.Latency, r.Outcome.FirstByte,
			r.Outcome.Client, r.Outcome.Upstream, r.Outcome.AnswerBytes},
	}
	for i, d := range r.Attribution.All() {
		a.Attribution[event.DimensionNames[i]] = dimension{d.Value, string(d.Provenance), d.Conflict}
	}
	for _, x := range r.Decision.Rejected {
		a.Decision.Rejected = append(a.Decision.Rejected, rejected{x.Endpoint, x.Why})
	}
	for _, x := range r.Attempts {
		since := func(m event.Micros) int64 {
			if m == 0 {
				return 0
			}
			return max(int64(m-x.Start), 0)
		}
		a.Attempts = append(a.Attempts, attempt{
			x.Endpoint, x.Provider, x.Region, x.ModelRequested, x.ModelServed, x.Status, x.Error, x.Start.Time().Format(time.RFC3339Nano),
			since(x.FirstByte), since(x.End), x.ProviderID, x.Tier, string(x.UsageSource), x.Chunks, x.Bytes,
		})
	}
	return a
}
