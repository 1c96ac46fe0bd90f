package governance

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

// listPrices is the table that the shipped price book was made of. It is not
// part of the repository.
const listPrices = "../../../shared/data/prices/list-prices-2026-11.csv"

type cell struct{ provider, model, tier, class, above string }

// shippedCells is the shipped price book, one entry per name, tier, band and
// class, for the providers that have list prices.
func shippedCells(t *testing.T) map[cell]string {
	var f pricesFile
	if problems, _ := decode("prices.yaml", folder(t, exampleDir)["prices.yaml"], &f); len(problems) > 0 {
		t.Fatal(problems)
	}
	cells := map[cell]string{}
	for _, g := range f.Groups {
		if g.Provider.V == "selfhosted" {
			continue
		}
		if g.Source != "price map of the Python package litellm 1.109.1 (MIT)" || g.Date != "2026-11" {
			t.Errorf("%s: source %q of %s", g.Provider.V, g.Source, g.Date)
		}
		for _, m := range g.Models {
			for _, name := range append([]at[model]{m.Model}, m.ServedAs...) {
				for _, e := range m.Prices {
					for class, rate := range e.USD {
						c := cell{string(g.Provider.V), string(name.V), string(e.Tier), class, ""}
						if e.Above > 0 {
							c.above = ">" + strconv.FormatInt(e.Above, 10)
						}
						cells[c] = moneyText(rate.V)
					}
				}
			}
		}
	}
	return cells
}

// Every shipped price is in the list and every listed price of a shipped model
// is shipped, cell by cell.
func TestShippedPricesAreTheListed(t *testing.T) {
	file, err := os.Open(listPrices)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the list prices are not beside this checkout (%s), so the shipped book is checked only against itself", listPrices)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{"openai": "openai", "anthropic": "anthropic", "gemini": "google", "bedrock_converse": "bedrock"}
	shipped := shippedCells(t)
	models := map[[2]string]bool{}
	for c := range shipped {
		models[[2]string{c.provider, c.model}] = true
	}
	compared := len(shipped)
	reasoning := map[cell]string{}
	for _, row := range rows[1:] {
		c := cell{ours[row[0]], row[1], row[2], row[4], row[3]}
		if !models[[2]string{c.provider, c.model}] {
			continue
		}
		switch {
		case c.provider == "openai" && c.class == "cache_write_5m":
			c.class = "cache_write" // one price, no time to live told
		case c.class == "output_reasoning": // reasoning is part of our output
			c.class = "output"
			reasoning[c] = row[5]
			continue
		}
		if got, ok := shipped[c]; !ok || got != row[5] {
			t.Errorf("%+v: listed %s, shipped %q", c, row[5], got)
		}
		delete(shipped, c)
	}
	for c, price := range shipped {
		t.Errorf("%+v: shipped %s, not listed", c, price)
	}
	for c, price := range reasoning {
		if got := shippedCells(t)[c]; got != price {
			t.Errorf("%+v: reasoning is listed at %s and output shipped at %s", c, price, got)
		}
	}
	t.Logf("%d prices of %d model names compared", compared, len(models))
}

// The shipped book against itself: what must hold without the list.
func TestShippedPricesAreConsistent(t *testing.T) {
	s := mustBuild(t, folder(t, exampleDir))
	cells := shippedCells(t)
	for c := range cells {
		if c.class != "input" {
			continue
		}
		for _, class := range []string{"output", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write"} {
			other := c
			other.class = class
			input, price := number(t, cells[c]), 0.0
			if text, ok := cells[other]; ok {
				price = number(t, text)
			} else if class == "output" {
				t.Errorf("%+v: no price of output", c)
			} else {
				continue
			}
			switch {
			case class == "output" && price < input && !strings.Contains(c.model, "embedding"), class == "cache_read" && price > input, strings.HasPrefix(class, "cache_write") && price < input:
				t.Errorf("%+v: input %v, %s %v", c, input, class, price)
			}
		}
		if c.above != "" {
			below := c
			below.above = ""
			if number(t, cells[below]) > number(t, cells[c]) {
				t.Errorf("%+v: a large request is cheaper", c)
			}
		}
	}
	// Every model that an endpoint serves has a price today and through the
	// 60 days before, in the tier and the classes of an ordinary call.
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, p := range s.Providers() {
		for _, e := range p.Endpoints {
			for _, upstream := range e.Models {
				for _, at := range []time.Time{now, now.AddDate(0, 0, -60)} {
					for _, class := range []string{"input", "output"} {
						if price, ok := s.Price(PriceKey{p.ID, upstream, e.Region, "", class, 100, at}); !ok || price.Rate == 0 && !strings.Contains(price.ID, "/free@") && !strings.Contains(upstream, "embedding") {
							t.Errorf("%s: %s of %s at %s: %+v, %v", e.ID, class, upstream, at, price, ok)
						}
					}
				}
			}
		}
	}
}

func moneyText(rate perMillion) string { return money.Rate(rate).PerMillion() }

// number is for comparing sizes only.
func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
