package retention

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// control is what the ledger says that the files of a class and day have to hold.
type control struct {
	sums   map[string][]Sums // by table
	last   uint64            // highest recorded_seq of the rows
	moving bool              // there is something recorded later: a request that was restated then has no row in sums

	governance, priceBooks []string
	derivations            []uint16
}

// controlOf asks the ledger for what was recorded after one recorded_seq and through another.
func controlOf(ctx context.Context, db Store, class string, begin time.Time, after, through uint64) (control, error) {
	c := control{sums: map[string][]Sums{}, governance: []string{}, priceBooks: []string{}, derivations: []uint16{}}
	for _, t := range tables {
		var rows []struct {
			Currency    string    `ch:"currency"`
			TokenClass  string    `ch:"token_class"`
			Rows        uint64    `ch:"rows"`
			Quantity    int64     `ch:"quantity"`
			Cost        money.Sum `ch:"cost"`
			Hash        uint64    `ch:"hash"`
			Later       uint64    `ch:"later"`
			Last        uint64    `ch:"last"`
			Governance  []string  `ch:"governance"`
			PriceBooks  []string  `ch:"price_books"`
			Derivations []uint16  `ch:"derivations"`
		}
		err := db.Select(ctx, &rows, sql.Query("export_control_"+t.name), dayParams(class, begin, after, through)...)
		if err != nil {
			return c, err
		}
		for _, r := range rows {
			c.moving = c.moving || r.Later > 0
			c.last = max(c.last, r.Last)
			if r.Rows > 0 {
				c.sums[t.name] = append(c.sums[t.name], Sums{r.Currency, r.TokenClass, r.Rows, r.Quantity, r.Cost, r.Hash})
			}
			c.governance, c.priceBooks, c.derivations = append(c.governance, r.Governance...), append(c.priceBooks, r.PriceBooks...), append(c.derivations, r.Derivations...)
		}
	}
	c.governance, c.priceBooks, c.derivations = distinct(c.governance), distinct(c.priceBooks), distinct(c.derivations)
	return c, nil
}

func distinct[T string | uint16](values []T) []T {
	slices.Sort(values)
	return slices.Compact(values)
}

func dayParams(class string, begin time.Time, after, through uint64) []clickhouse.Arg {
	return []clickhouse.Arg{
		clickhouse.Param("class", class), clickhouse.Param("from", begin.UnixMicro()), clickhouse.Param("to", begin.Add(day).UnixMicro()),
		clickhouse.Param("after", after), clickhouse.Param("through", through),
	}
}

func (c control) rows() (n uint64) {
	for name := range c.sums {
		n += c.total(name).Rows
	}
	return n
}

// total is the sums of a table, its token classes together.
func (c control) total(table string) (total Sums) {
	for _, s := range c.sums[table] {
		total.add(s)
	}
	return total
}

func (c control) equal(o control) bool {
	return maps.EqualFunc(c.sums, o.sums, func(a, b []Sums) bool { return slices.Equal(a, b) })
}
