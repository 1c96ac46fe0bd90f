// Package api answers finance and compliance over HTTP: showback, calls, what is
// unpriced. Money is a decimal string, time is RFC 3339 in UTC, every figure
// says as of which recorded_seq it is and through when it is complete.
//
// There is no anonymous access but to /healthz and /readyz. Who reads a single
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
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// Recorder keeps the events of who read what; *spool.Spool is one.
type Recorder interface {
	Record(ev *event.Event) (spool.Receipt, error)
	Wait(r spool.Receipt, timeout time.Duration) error
}

// Options of an API. All must be given.
type Options struct {
	DB       *clickhouse.DB
	Keys     *Keys
	Topic    string // of the events, whose watermark answers are complete through
	Recorder Recorder
	Source   string // of the audit events
	Logger   *slog.Logger
	Metrics  *prometheus.Registry
	Now      func() time.Time
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
}

var routes = []route{
	{"/v1/showback", []Scope{Finance}, (*server).showback},
	{"/v1/unpriced", []Scope{Finance}, (*server).unpriced},
	{"/v1/requests", []Scope{Finance, Compliance}, (*server).requests},
	{"/v1/requests/:id", []Scope{Compliance}, (*server).request},
	{"/v1/openapi.json", []Scope{Finance, Compliance, Operator}, (*server).openAPI},
	{"/metrics", []Scope{Operator}, (*server).metricsText},
}

type server struct {
	Options
	metrics metrics
	prom    http.Handler
}

// New is the API as a handler.
func New(o Options) (http.Handler, error) {
	if o.DB == nil || o.Keys == nil || o.Recorder == nil || o.Topic == "" || o.Logger == nil || o.Metrics == nil || o.Now == nil {
		return nil, errors.New("api: every option must be given, the recorder too: what is not recorded is not answered")
	}
	s := &server{Options: o, metrics: newMetrics(o.Metrics), prom: promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.fail
	e.Use(s.frame)
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	for _, r := range routes {
		e.GET(r.path, func(c echo.Context) error { return r.handler(s, c) }, s.admit(r.scopes))
	}
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
		if err := s.guarded(c, next); err != nil {
			c.Error(err)
		}
		route := c.Path()
		if route == "" {
			route = "none"
		}
		s.metrics.answered(route, c.Response().Status, time.Since(began))
		return nil
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

// admit lets keys with one of the scopes in.
func (s *server) admit(scopes []Scope) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			scheme, text, _ := strings.Cut(c.Request().Header.Get("Authorization"), " ")
			key, ok := s.Keys.Find(text)
			if !strings.EqualFold(scheme, "Bearer") || !ok {
				c.Response().Header().Set("WWW-Authenticate", `Bearer realm="ledgerline"`)
				return problem(http.StatusUnauthorized, "key_missing", "an API key is needed: Authorization: Bearer lk_…")
			}
			for _, scope := range scopes {
				if key.Has(scope) {
					c.Set("key", key)
					return next(c)
				}
			}
			return problem(http.StatusForbidden, "scope_missing", fmt.Sprintf("this needs a key of scope %v", scopes))
		}
	}
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
