package governance

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

// pricesFile is prices.yaml, the price book.
type pricesFile struct {
	Groups []priceGroup `yaml:"groups,required"`
}

// priceGroup is prices of one provider that come from one source and hold from
// one day. A later day's prices of a model, region and tier replace the earlier
// ones as a whole; the earlier ones stay in the book, as calls of their time do.
type priceGroup struct {
	// Where the prices were read, and when.
	Source text   `yaml:"source,required"`
	Date   readOn `yaml:"date,required"`
	// The day from which they hold, from midnight UTC.
	From     at[date]      `yaml:"from,required"`
	Provider at[id]        `yaml:"provider,required"`
	Models   []pricedModel `yaml:"models,required"`
}

// pricedModel is the prices of one model.
type pricedModel struct {
	Model at[model] `yaml:"model,required"`
	// Other names under which the provider reports the same model as served,
	// such as a dated one. There is no matching by similarity.
	ServedAs []at[model] `yaml:"served_as"`
	// Whether calls cost nothing per token, whatever the class: they count as
	// free, which is not the same as a price that is not known.
	Free   bool         `yaml:"free"`
	Prices []priceEntry `yaml:"prices"`
}

// priceEntry is the prices of one tier and band of request sizes.
type priceEntry struct {
	pos
	// The endpoint's region that they are for. Default: every region that has
	// no prices of its own.
	Region id `yaml:"region"`
	// standard, batch, flex, priority, … as served.
	Tier id `yaml:"tier,required"`
	// The prices are for requests with more input tokens than this, cached
	// ones included, and then for the whole request. Default 0.
	Above int64 `yaml:"above"`
	// US dollars per million tokens by token class, quoted: {input: "0.25"}.
	// A class that is not here is not priced.
	USD map[string]at[perMillion] `yaml:"usd,required"`
}

// PriceKey is what a price depends on.
type PriceKey struct {
	Provider      string
	Model         string // as served
	Region        string // of the endpoint
	Tier          string // as served; empty and "default" (OpenAI's word) are the standard tier
	Class         string // token class
	ContextTokens int64  // input tokens of the request, cached ones included
	At            time.Time
}

// Price is the price of a token.
type Price struct {
	ID     string     // provider/model/region/tier/above/class@from; the same as long as the book says the same
	Rate   money.Rate // 0: free
	Source string
}

type cardKey struct{ provider, model, region, tier string }

// card is the prices of a cardKey from one day on.
type card struct {
	from  time.Time
	until time.Time // of a free model; zero = open
	free  bool
	bands []band // highest bound first
}

type band struct {
	above  int64
	prices []classPrice
}

type classPrice struct {
	class string
	price Price
}

// standardTier is the tier of calls that name none.
const standardTier = "standard"

// Price is the price of a token class, see [Snapshot.Rates].
func (s *Snapshot) Price(k PriceKey) (Price, bool) { return s.Rates(k).Price(k.Class) }

// Rates are the prices of one request's token classes. The zero value has none.
type Rates struct {
	prices []classPrice
	free   bool
}

// Rates are the prices that hold for a request, whatever the class, exactly as
// the book has them: nothing is borrowed from another model, tier, region, band
// or day. Prices for the region go before prices for every region.
func (s *Snapshot) Rates(k PriceKey) Rates {
	tier := k.Tier
	if tier == "" || tier == "default" {
		tier = standardTier
	}
	cards := s.prices[cardKey{k.Provider, k.Model, k.Region, tier}]
	c := cardAt(cards, k.At)
	if c == nil && k.Region != "" {
		c = cardAt(s.prices[cardKey{k.Provider, k.Model, "", tier}], k.At)
	}
	if c == nil { // a free model is free in every tier
		if c = cardAt(s.prices[cardKey{k.Provider, k.Model, "", ""}], k.At); c == nil {
			return Rates{}
		}
	}
	for i := range c.bands {
		if b := &c.bands[i]; k.ContextTokens > b.above || b.above <= 0 {
			return Rates{b.prices, c.free}
		}
	}
	return Rates{}
}

// Price is the price of a token of a class; false when it is not known.
func (r Rates) Price(class string) (Price, bool) {
	for i := range r.prices {
		if r.free || r.prices[i].class == class {
			return r.prices[i].price, true
		}
	}
	return Price{}, false
}

// Cost is what so many tokens of a class cost, and the price it was reckoned
// with; known is false when there is no price. Nothing costs nothing, whatever
// the price. The error is [money.ErrOverflow].
func (r Rates) Cost(class string, tokens int64) (cost money.Pico, price Price, known bool, err error) {
	if price, known = r.Price(class); !known {
		return 0, Price{}, tokens == 0, nil
	}
	cost, err = price.Rate.Cost(tokens)
	return cost, price, true, err
}

// Estimate is what a request costs that has k.ContextTokens of input, none of
// them cached, and the given tokens of output: all of them plain text. It is
// false when the book cannot tell, because a price is missing or the amount is
// beyond all bounds. k.Class is not looked at.
func (s *Snapshot) Estimate(k PriceKey, output int64) (money.Pico, bool) {
	rates := s.Rates(k)
	in, _, known, err := rates.Cost("input", k.ContextTokens)
	if !known || err != nil {
		return 0, false
	}
	out, _, known, err := rates.Cost("output", output)
	if !known || err != nil || in < 0 || out < 0 || in+out < in {
		return 0, false
	}
	return in + out, true
}

// cardAt is the card that holds at a time; cards are by day, the latest first.
func cardAt(cards []card, at time.Time) *card {
	for i := range cards {
		if c := &cards[i]; !c.from.After(at) {
			if !c.until.IsZero() && !at.Before(c.until) {
				return nil
			}
			return c
		}
	}
	return nil
}

// unlikely is the price per million tokens, in dollars, from which we ask
// whether the unit is right.
const unlikely = 2000

func (s *Snapshot) setPrices(c *checker, f *pricesFile) {
	b := &bookBuilder{checker: c, prices: map[cardKey][]card{}, lines: map[string]mark{}, heads: map[[2]string]string{}}
	for i := range f.Groups {
		g := &f.Groups[i]
		if g.Provider.V != "" && s.providers[string(g.Provider.V)] == nil && !c.unread[registryYAML] {
			c.fail(pricesYAML, g.Provider.Mark, "provider %q is not in %s%s", g.Provider.V, registryYAML, near(c, string(g.Provider.V), s.providers))
		}
		for j := range g.Models {
			b.add(g, &g.Models[j])
		}
	}
	b.spreadFree()
	for key, cards := range b.prices {
		sort.Slice(cards, func(i, j int) bool { return cards[i].from.After(cards[j].from) })
		for i := range cards {
			bands := cards[i].bands
			sort.Slice(bands, func(i, j int) bool { return bands[i].above > bands[j].above })
			if lowest := bands[len(bands)-1].above; lowest > 0 {
				line, head := b.lines[priceID(key, lowest, "", cards[i].from)]
				if !head { // another name of a model that is reported
					continue
				}
				c.fail(pricesYAML, line, "%s, tier %s: has prices above %d tokens and none up to there", key.model, key.tier, lowest)
			}
		}
	}
	s.prices = b.prices
}

// bookBuilder collects the cards of the book.
type bookBuilder struct {
	*checker
	prices map[cardKey][]card
	lines  map[string]mark      // where a band of prices is, by its id
	heads  map[[2]string]string // provider and served name to the model it is listed under
}

func (b *bookBuilder) add(g *priceGroup, m *pricedModel) {
	provider := string(g.Provider.V)
	names := append([]at[model]{m.Model}, m.ServedAs...)
	for _, name := range names {
		key := [2]string{provider, string(name.V)}
		if head, known := b.heads[key]; known && head != string(m.Model.V) {
			b.fail(pricesYAML, name.Mark, "%s: %s is already priced as %s", provider, name.V, head)
			return
		}
		b.heads[key] = string(m.Model.V)
	}
	if m.Free {
		if len(m.Prices) > 0 {
			b.fail(pricesYAML, m.Prices[0].Mark, "%s: a free model has no prices", m.Model.V)
			return
		}
		b.addBand(g, names, &priceEntry{pos: pos{m.Model.Mark}}, true)
		return
	}
	if len(m.Prices) == 0 && !b.faulty[pricesYAML] {
		b.fail(pricesYAML, m.Model.Mark, "%s: has no prices; write free: true if calls cost nothing", m.Model.V)
	}
	for i := range m.Prices {
		e := &m.Prices[i]
		for class, rate := range e.USD {
			if err := new(id).parse(class); err != nil {
				b.fail(pricesYAML, rate.Mark, "token class: %v", err)
			}
			if rate.V > unlikely*1e6 {
				b.warn(pricesYAML, rate.Mark, "%s: %s dollars per million tokens of %s: is the unit right?", m.Model.V, money.Rate(rate.V).PerMillion(), class)
			}
		}
		if len(e.USD) == 0 && e.USD != nil {
			b.fail(pricesYAML, e.Mark, "%s: no prices in usd", m.Model.V)
		}
		b.addBand(g, names, e, false)
	}
}

func (b *bookBuilder) addBand(g *priceGroup, names []at[model], e *priceEntry, free bool) {
	head := cardKey{string(g.Provider.V), string(names[0].V), string(e.Region), string(e.Tier)}
	place := priceID(head, e.Above, "", g.From.V.Time)
	if line, twice := b.lines[place]; twice {
		b.fail(pricesYAML, e.Mark, "%s: the same tier, region, band and day are already priced in line %d", head.model, line.line())
		return
	}
	b.lines[place] = e.Mark
	prices := []classPrice{}
	if free {
		prices = append(prices, classPrice{"", Price{ID: priceID(head, 0, "free", g.From.V.Time), Source: string(g.Source)}})
	}
	for class, rate := range e.USD {
		prices = append(prices, classPrice{class, Price{ID: priceID(head, e.Above, class, g.From.V.Time), Rate: money.Rate(rate.V), Source: string(g.Source)}})
	}
	sort.Slice(prices, func(i, j int) bool { return prices[i].class < prices[j].class })
	for _, name := range names {
		key := head
		key.model = string(name.V)
		cards := b.prices[key]
		i := slices.IndexFunc(cards, func(c card) bool { return c.from.Equal(g.From.V.Time) })
		if i < 0 {
			i, cards = len(cards), append(cards, card{from: g.From.V.Time, free: free})
		}
		cards[i].bands = append(cards[i].bands, band{e.Above, prices})
		b.prices[key] = cards
	}
}

// spreadFree makes free cards, which are for every region and tier, take turns
// by day with the other cards of their model: they replace the priced ones
// before them and end with the first one after them.
func (b *bookBuilder) spreadFree() {
	free := map[cardKey][]card{} // by provider and model
	for key, cards := range b.prices {
		if key.tier == "" {
			free[key] = cards
		}
	}
	if len(free) == 0 {
		return
	}
	of := func(key cardKey) []card { return free[cardKey{provider: key.provider, model: key.model}] }
	for key, cards := range b.prices {
		for _, priced := range cards {
			for i, f := range of(key) {
				if key.tier != "" && priced.from.After(f.from) && (f.until.IsZero() || priced.from.Before(f.until)) {
					of(key)[i].until = priced.from
				}
			}
		}
	}
	for key, cards := range b.prices {
		if key.tier != "" {
			b.prices[key] = append(cards, of(key)...)
		}
	}
}

// priceID names a price. Model names may hold any of the separators; the id is
// for people and for equality, not for taking apart.
func priceID(k cardKey, above int64, class string, from time.Time) string {
	return fmt.Sprintf("%s/%s/%s/%s/%d/%s@%s", k.provider, k.model, k.region, k.tier, above, class, from.Format(time.DateOnly))
}

// warnUnpriced lists the models that endpoints serve and the book does not
// have: their calls will be unpriced until it does.
func (s *Snapshot) warnUnpriced(c *checker, f *registryFile) {
	for _, p := range f.Providers {
		for _, e := range p.Endpoints {
			named := slices.Clone(e.Models)
			for _, to := range e.Renames {
				named = append(named, to)
			}
			for _, m := range named {
				if m.V == anyModel {
					continue
				}
				priced := s.prices[cardKey{string(p.ID.V), string(m.V), string(e.Region), standardTier}] != nil ||
					s.prices[cardKey{string(p.ID.V), string(m.V), "", standardTier}] != nil ||
					s.prices[cardKey{string(p.ID.V), string(m.V), "", ""}] != nil
				if !priced {
					c.warn(registryYAML, m.Mark, "endpoint %s serves %s, which has no price in %s: its calls will be unpriced", e.ID.V, m.V, pricesYAML)
				}
			}
		}
	}
}
