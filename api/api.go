// Package api answers finance and compliance over HTTP: showback, calls, what is
// unpriced. Money is a decimal string, time is RFC 3339 in UTC, every figure
// says as of which recorded_seq it is and through when it is complete.
//
// Pages for a browser show the same answers; a login with a key opens a session.
//
// There is no anonymous access but to /healthz, /readyz and the login. Who reads a single
// call in full is recorded, durably, before the answer: no entry, no act.
package api

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/lineage"
)

// Recorder keeps the events of who read what; *spool.Spool is one.
type Recorder interface {
	Record(ev *event.Event) (spool.Receipt, error)
	Wait(r spool.Receipt, timeout time.Duration) error
}

// Options of an API. All but Governance must be given.
type Options struct {
	DB       *clickhouse.DB
	Keys     *Keys
	Topic    string // of the events, whose watermark answers are complete through
	Recorder Recorder
	Source   string // of the audit events
	Logger   *slog.Logger
	Metrics  *prometheus.Registry
	Now      func() time.Time

	Governance func() *governance.Snapshot // the rules as they are now; nil: the process follows none
}

const (
	maxQuery = 8 << 10 // bytes of a query string
	timeout  = 30 * time.Second
)

//go:embed openapi.json
var openAPI []byte

// route is one route and who may use it.
type route struct {
	path    string
	scopes  []Scope
	handler func(*server, echo.Context) error
	audited bool // it reads one thing, :id: each reading is recorded, a refused one too
}

var routes = []route{
	{"/v1/showback", []Scope{Finance}, (*server).showback, false},
	{"/v1/unpriced", []Scope{Finance}, (*server).unpriced, false},
	{"/v1/budgets", []Scope{Finance}, (*server).budgets, false},
	{"/v1/alerts", []Scope{Finance, Operator}, (*server).alerts, false},
	{"/v1/findings", []Scope{Finance, Compliance, Operator}, (*server).findings, false},
	{"/v1/requests", []Scope{Finance, Compliance}, (*server).requests, false},
	{"/v1/requests/:id", []Scope{Compliance}, (*server).request, true},
	{"/v1/trace/:id", []Scope{Compliance}, (*server).trace, true},
	{"/v1/sources/:id/outputs", []Scope{Compliance}, (*server).outputs, true},
	{"/v1/exports", []Scope{Finance, Compliance, Operator}, (*server).exports, false},
	{"/v1/openapi.json", []Scope{Finance, Compliance, Operator}, (*server).openAPI, false},
	{"/metrics", []Scope{Operator}, (*server).metricsText, false},
}

type server struct {
	Options
	metrics  metrics
	prom     http.Handler
	tracer   *lineage.Tracer
	sessions *sessions
	handler  http.Handler // all of it, for the pages to ask
}

// New is the API as a handler.
func New(o Options) (http.Handler, error) {
	if o.DB == nil || o.Keys == nil || o.Recorder == nil || o.Topic == "" || o.Logger == nil || o.Metrics == nil || o.Now == nil {
		return nil, errors.New("api: every option must be given, the recorder too: what is not recorded is not answered")
	}
	s := &server{Options: o, metrics: newMetrics(o.Metrics), prom: promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}), tracer: lineage.New(o.DB), sessions: newSessions(o.Keys, o.Now)}
	e := echo.New()
	s.handler = e
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	e.Use(s.frame)
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	for _, r := range routes {
		e.GET(r.path, func(c echo.Context) error { return r.handler(s, c) }, s.admit(r))
	}
	s.addPages(e)
	return e, nil
}

// frame is around every call: headers, limits, a time limit, and the count.
func (s *server) frame(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		id := event.NewID(event.At(s.Now())).String()
		h := c.Response().Header()
		h.Set("X-Request-Id", id)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		ctx, cancel := context.WithTimeout(c.Request().Context(), timeout)
		defer cancel()
		c.SetRequest(c.Request().WithContext(ctx))
		err := s.caught(c, next)
		if err != nil {
			c.Error(err)
		}
		route := c.Path()
		if route == "" {
			route = "none"
		}
		s.metrics.answered(route, c.Response().Status, time.Since(began))
		if errors.Is(err, http.ErrAbortHandler) {
			panic(http.ErrAbortHandler) // cuts the connection: half an answer must not look like a whole one
		}
		return nil
	}
}

// caught keeps a mistake in one answer from ending more than that. The log gets where it happened and of which type it is, but not what
// it says, which may hold anything that was read.
func (s *server) caught(c echo.Context, next echo.HandlerFunc) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		s.metrics.panics.Inc()
		what := fmt.Sprintf("%T", v)
		if mistake, ok := v.(runtime.Error); ok { // says types and indices only
			what = mistake.Error()
		}
		s.Logger.Error("api: a handler panicked", "request_id", c.Response().Header().Get("X-Request-Id"), "route", c.Path(), "panic", what, "at", callers())
		err = problem(http.StatusInternalServerError, "internal", "see the log for X-Request-Id")
		if c.Response().Committed {
			err = http.ErrAbortHandler
		}
	}()
	return s.guarded(c, next)
}

// callers is where a panic that is being recovered came from, the innermost function first. A stack as the runtime prints it would also
// hold the words that functions were called with.
func callers() []string {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // without Callers, this function and the deferred one
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return at
		}
	}
}

// guarded refuses what no handler should see: a query that is too long, or that would be read in part only.
func (s *server) guarded(c echo.Context, next echo.HandlerFunc) error {
	if c.Request().Method == http.MethodOptions { // echo would answer anybody
		c.Response().Header().Set(echo.HeaderAllow, http.MethodGet)
		return echo.ErrMethodNotAllowed
	}
	query := c.Request().URL.RawQuery
	if len(query) > maxQuery {
		return problem(http.StatusRequestURITooLong, "query_too_long", fmt.Sprintf("the query is over %d bytes", maxQuery))
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalid("query", "not name=value pairs joined by &, percent-encoded")
	}
	for name, all := range values {
		for _, text := range append(all, name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return invalid(printable(name), "not UTF-8 text")
			}
		}
	}
	return next(c)
}

// caller is the key that a call comes with: as a bearer, or without that header through the session of a browser. The cookie of a
// session is good for reading only; a browser does not send it from other sites.
func (s *server) caller(c echo.Context) (Key, bool) {
	authorization := c.Request().Header.Get("Authorization")
	if authorization == "" && c.Request().Method == http.MethodGet {
		return s.sessions.find(cookie(c))
	}
	scheme, text, _ := strings.Cut(authorization, " ")
	key, ok := s.Keys.Find(text)
	return key, ok && strings.EqualFold(scheme, "Bearer")
}

// admit lets keys with one of the route's scopes in.
func (s *server) admit(r route) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			key, ok := s.caller(c)
			if !ok {
				c.Response().Header().Set("WWW-Authenticate", `Bearer realm="ledgerline"`)
				return problem(http.StatusUnauthorized, "key_missing", "an API key is needed: Authorization: Bearer lk_…")
			}
			for _, scope := range r.scopes {
				if key.Has(scope) {
					c.Set("key", key)
					return next(c)
				}
			}
			if r.audited {
				object := "" // of a path that names nothing
				if id, err := event.ParseID(c.Param("id")); err == nil {
					object = id.String()
				} else if id, ok := datasetOf(c); ok {
					object = id.String()
				}
				if err := s.recordRead(event.Audit{Actor: key.ID, Action: action(r.path), Object: object, Reason: "scope_missing", Outcome: "refused"}); err != nil {
					return err
				}
			}
			return problem(http.StatusForbidden, "scope_missing", fmt.Sprintf("this needs a key of scope %v", r.scopes))
		}
	}
}

// action is how an audit event names the reading of a route.
func action(path string) string { return "GET " + strings.Replace(path, ":id", "{id}", 1) }

// recordRead makes a reading, or its refusal, a durable event. It fails when that cannot be, and then nothing may be answered.
func (s *server) recordRead(audit event.Audit) error {
	now := event.At(s.Now())
	receipt, err := s.Recorder.Record(&event.Event{ID: event.NewID(now), Source: s.Source, Type: event.AuditRead, Time: now, Audit: &audit})
	if err == nil {
		err = s.Recorder.Wait(receipt, 5*time.Second)
	}
	if err != nil {
		s.Logger.Error("api: a read could not be recorded and is not answered", "err", err)
		return problem(http.StatusServiceUnavailable, "not_recorded", "the read could not be recorded, so it is not answered; try again")
	}
	return nil
}

func (s *server) ready(c echo.Context) error {
	if _, err := s.watermark(c.Request().Context()); err != nil {
		return err
	}
	return c.String(http.StatusOK, "ready\n")
}

func (s *server) openAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, openAPI)
}

func (s *server) metricsText(c echo.Context) error {
	s.prom.ServeHTTP(c.Response(), c.Request())
	return nil
}
