package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

// Problem is an error answer, RFC 9457. Code is stable and for programs.
type Problem struct {
	Type   string `json:"type"` // always "about:blank"
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

func problem(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// invalid is a parameter that cannot be.
func invalid(parameter, detail string) *Problem {
	return problem(http.StatusBadRequest, "invalid_parameter", parameter+": "+detail)
}

// fail writes any error as a problem. What is inside goes to the log, not to the asker.
func (s *server) fail(err error, c echo.Context) {
	if c.Response().Committed { // too late for a problem
		return
	}
	var p *Problem
	var framework *echo.HTTPError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &framework):
		codes := map[int]string{http.StatusNotFound: "no_such_route", http.StatusMethodNotAllowed: "method_not_allowed"}
		code := codes[framework.Code]
		if code == "" {
			code = "bad_request"
		}
		p = problem(framework.Code, code, "")
	case errors.Is(c.Request().Context().Err(), context.Canceled): // nobody reads this; it must not look like a mistake of ours
		p = &Problem{Type: "about:blank", Title: "Client Closed Request", Status: 499, Code: "client_left"}
	case errors.Is(err, context.DeadlineExceeded):
		p = problem(http.StatusServiceUnavailable, "too_slow", "the answer took over "+timeout.String()+"; ask for less")
	case clickhouse.Temporary(err):
		p = problem(http.StatusServiceUnavailable, "store_away", "the store does not answer; try again")
	default:
		p = problem(http.StatusInternalServerError, "internal", "see the log for X-Request-Id")
	}
	if p.Status >= 500 {
		s.Logger.Error("api", "request_id", c.Response().Header().Get("X-Request-Id"), "route", c.Path(), "code", p.Code, "err", err)
	}
	if p.Status == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", "2")
	}
	if c.Get("page") != nil {
		if err := s.failPage(c, p); err != nil {
			s.Logger.Warn("api: write a problem", "err", err)
		}
		return
	}
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	if err := c.JSON(p.Status, p); err != nil {
		s.Logger.Warn("api: write a problem", "err", err)
	}
}
