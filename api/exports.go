package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ledgerline/ledgerline/retention"
)

// export is a sealed revision of a retention class and day. The columns of its files are in its manifest alone.
type export struct {
	Target   string          `json:"target"`
	Class    string          `json:"class"`
	Day      string          `json:"day"` // UTC
	Revision uint32          `json:"revision"`
	SealedAt string          `json:"sealed_at"`
	Through  string          `json:"through"` // recorded_seq
	Manifest retention.File  `json:"manifest"`
	Former   *retention.File `json:"former"` // manifest that it corrects
	Tables   []exportTable   `json:"tables"`
}

type exportTable struct {
	Name    string           `json:"name"`
	Combine string           `json:"combine"`
	Rows    uint64           `json:"rows"`
	Sums    []retention.Sums `json:"sums"`
	Files   []retention.File `json:"files"`
}

type exportsAnswer struct {
	Exports    []export `json:"exports"`
	NextCursor string   `json:"next_cursor"`
}

// exports lists what was sealed when its first page was asked for.
func (s *server) exports(c echo.Context) error {
	query := c.QueryParams()
	p := &params{values: query}
	from, to := p.period(s.Now(), time.UTC)
	limit := p.limit()
	asked := question{c.Path(), from, to, query}
	at := cursor{asOf: uint64(s.Now().UnixMicro())}
	if text := p.one("cursor"); text != "" {
		var err error
		if at, err = parseCursor(text, asked); err != nil {
			p.fail(err)
		}
	}
	q := retention.ListQuery{From: firstDay(from).Time(), To: firstDay(to).Time(), Classes: p.all("class"), Targets: p.all("target"),
		AsOf: time.UnixMicro(int64(at.asOf)), Limit: uint64(limit) + 1, Offset: at.position}
	if err := p.done(); err != nil {
		return err
	}
	seals, err := retention.List(c.Request().Context(), s.DB, q)
	if err != nil {
		return fmt.Errorf("list exports: %w", err)
	}
	answer := exportsAnswer{Exports: []export{}}
	if len(seals) > limit {
		seals = seals[:limit]
		answer.NextCursor = cursor{asOf: at.asOf, position: at.position + uint64(limit)}.text(asked)
	}
	for i := range seals {
		e, err := exportOf(&seals[i])
		if err != nil {
			return err
		}
		answer.Exports = append(answer.Exports, e)
	}
	return c.JSON(http.StatusOK, answer)
}

func exportOf(s *retention.Seal) (export, error) {
	m, err := retention.ParseManifest([]byte(s.Manifest))
	if err != nil {
		return export{}, fmt.Errorf("class %q of %s in %s: %w", s.Class, s.Day.Format(time.DateOnly), s.Target, err)
	}
	sum := sha256.Sum256([]byte(s.Manifest))
	e := export{
		Target: s.Target, Class: s.Class, Day: m.Day, Revision: s.Revision, SealedAt: s.SealedAt.UTC().Format(time.RFC3339Nano),
		Through: strconv.FormatUint(s.Through, 10), Former: m.Former, Tables: []exportTable{},
		Manifest: retention.File{Path: m.Path(), Bytes: int64(len(s.Manifest)), SHA256: hex.EncodeToString(sum[:])},
	}
	for _, t := range m.Tables {
		e.Tables = append(e.Tables, exportTable{t.Name, t.Combine, t.Rows, t.Sums, t.Files})
	}
	return e, nil
}
