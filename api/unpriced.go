package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/sql"
)

// unpricedRow is what no price is known for under one key of the price book, but for the region and the size of the context.
type unpricedRow struct {
	Provider      string `json:"provider" ch:"provider"`
	Model         string `json:"model" ch:"model"`
	Class         string `json:"class" ch:"class"`
	Tier          string `json:"tier" ch:"tier"`
	Entries       uint64 `json:"entries" ch:"entries"`
	Quantity      int64  `json:"quantity" ch:"quantity"` // tokens
	First         string `json:"first" ch:"first"`
	Last          string `json:"last" ch:"last"`
	TotalEntries  uint64 `json:"-" ch:"total_entries"`
	TotalQuantity int64  `json:"-" ch:"total_quantity"`
}

type unpricedTotal struct {
	Entries  uint64 `json:"entries"`
	Quantity int64  `json:"quantity"` // tokens
}

type unpricedAnswer struct {
	Unpriced []unpricedRow `json:"unpriced"`
	Total    unpricedTotal `json:"total"` // of all pages
	stamp
	NextCursor string `json:"next_cursor"`
}

// unpriced is as of a recorded_seq of the rollups, as showback is: what it counts is what showback counts.
func (s *server) unpriced(c echo.Context) error {
	query := c.QueryParams()
	p := &params{values: query}
	from, to := p.period(s.Now(), p.zone())
	limit := p.limit()
	asked := question{c.Path(), from, to, query}
	at := cursor{asOf: p.asOf()}
	if text := p.one("cursor"); text != "" {
		var err error
		if at, err = parseCursor(text, asked); err != nil {
			p.fail(err)
		}
	}
	if err := p.done(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	latest, err := aggregate.Latest(ctx, s.DB)
	if err != nil {
		return err
	}
	if at.asOf, err = within(at.asOf, latest); err != nil {
		return err
	}
	rows, err := s.suspense(ctx, from, to, at.asOf, uint64(limit)+1, at.position)
	total := rows
	if err == nil && len(rows) == 0 && at.position > 0 { // past the last row the total is still the total
		total, err = s.suspense(ctx, from, to, at.asOf, 1, 0)
	}
	if err != nil {
		return fmt.Errorf("list what is unpriced: %w", err)
	}
	answer := unpricedAnswer{Unpriced: []unpricedRow{}, stamp: stampOf(at.asOf)}
	if len(total) > 0 {
		answer.Total = unpricedTotal{total[0].TotalEntries, total[0].TotalQuantity}
	}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.NextCursor = cursor{asOf: at.asOf, position: at.position + uint64(limit)}.text(asked)
	}
	answer.Unpriced = append(answer.Unpriced, rows...)
	return c.JSON(http.StatusOK, answer)
}

func (s *server) suspense(ctx context.Context, from, to time.Time, asOf, limit, offset uint64) ([]unpricedRow, error) {
	var rows []unpricedRow
	err := s.DB.Select(ctx, &rows, sql.Query("unpriced"), clickhouse.Param("from", from.UnixMicro()), clickhouse.Param("to", to.UnixMicro()),
		clickhouse.Param("as_of", asOf), clickhouse.Param("limit", limit), clickhouse.Param("offset", offset))
	return rows, err
}
