package anomaly

import (
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/ledgerline/ledgerline/internal/money"
)

// Names of the parts of a reason, in their order.
const (
	PartEstimate = "estimate" // of a drift: what the reference month was off the estimate already
	PartVolume   = "volume"   // more or fewer requests
	PartFallback = "fallback" // another share of requests that took more than one attempt
	PartMix      = "mix"      // other models
	PartTokens   = "tokens"   // more or fewer tokens per request, or of other classes
	PartPrice    = "price"    // other prices of the same tokens
)

// reason is cost(now) - cost(then) in the parts that [Part] tells of, but for PartEstimate.
func reason(then, now *figures) []Part {
	before := then.cost()
	parts := make([]Part, 0, 5)
	for i, cost := range now.steps(then) {
		parts = append(parts, Part{[...]string{PartVolume, PartFallback, PartMix, PartTokens, PartPrice}[i], sumOf(new(big.Int).Sub(cost, before))})
		before = cost
	}
	return parts
}

// figures are requests, tokens and cost of some days of a value, by path, model and class.
type figures struct {
	models   map[path]*model
	useCases map[string]*big.Int // cost
}

// path is how a request went and where it ended.
type path struct {
	fallback        bool
	provider, model string
}

type model struct {
	requests int64
	classes  map[class]*amount
}

// class is tokens of one price; those of earlier attempts of a fallback keep their own provider and model.
type class struct{ provider, model, class string }

type amount struct {
	quantity int64
	cost     *big.Int // pico-dollars
}

func newFigures() *figures {
	return &figures{models: map[path]*model{}, useCases: map[string]*big.Int{}}
}

// add adds requests, tokens and cost; all may be negative, to move them.
func (f *figures) add(p path, c class, requests, quantity int64, cost *big.Int) {
	m := f.models[p]
	if m == nil {
		m = &model{classes: map[class]*amount{}}
		f.models[p] = m
	}
	m.requests += requests
	a := m.classes[c]
	if a == nil {
		a = &amount{cost: new(big.Int)}
		m.classes[c] = a
	}
	a.quantity += quantity
	a.cost.Add(a.cost, cost)
}

// addUseCase adds to what a use case cost.
func (f *figures) addUseCase(name string, cost *big.Int) {
	if f.useCases[name] == nil {
		f.useCases[name] = new(big.Int)
	}
	f.useCases[name].Add(f.useCases[name], cost)
}

func (m *model) cost() *big.Int {
	sum := new(big.Int)
	for _, a := range m.classes {
		sum.Add(sum, a.cost)
	}
	return sum
}

// of is requests and cost of the models that a path leads to.
func (f *figures) of(in func(path) bool) (requests int64, cost *big.Int) {
	cost = new(big.Int)
	for p, m := range f.models {
		if in(p) {
			requests += m.requests
			cost.Add(cost, m.cost())
		}
	}
	return requests, cost
}

func all(path) bool { return true }

func (f *figures) cost() *big.Int {
	_, cost := f.of(all)
	return cost
}

// steps are the five costs of [Part] after the first.
func (f *figures) steps(then *figures) [5]*big.Int {
	var volume, fallback, mix, tokens, price big.Int
	for _, way := range []bool{false, true} {
		var wayMix big.Int // what the models of this path cost in the line mix
		for p, m := range f.models {
			if p.fallback != way {
				continue
			}
			old := then.models[p]
			if old == nil {
				old = &model{}
			}
			var modelTokens big.Int
			for c, a := range m.classes {
				was := old.classes[c]
				if was == nil {
					was = &amount{}
				}
				modelTokens.Add(&modelTokens, scaled(was.cost, a.quantity, was.quantity, a.cost))
				price.Add(&price, a.cost)
			}
			tokens.Add(&tokens, &modelTokens)
			wayMix.Add(&wayMix, scaled(old.cost(), m.requests, old.requests, &modelTokens))
		}
		mix.Add(&mix, &wayMix)
		inWay := func(p path) bool { return p.fallback == way }
		requests, _ := f.of(inWay)
		oldRequests, oldCost := then.of(inWay)
		fallback.Add(&fallback, scaled(oldCost, requests, oldRequests, &wayMix))
	}
	requests, _ := f.of(all)
	oldRequests, oldCost := then.of(all)
	volume.Set(scaled(oldCost, requests, oldRequests, &fallback))
	return [5]*big.Int{&volume, &fallback, &mix, &tokens, &price}
}

// scaled is cost × now / then rounded down, or otherwise when there was nothing then.
func scaled(cost *big.Int, now, then int64, otherwise *big.Int) *big.Int {
	if then <= 0 {
		return otherwise
	}
	product := new(big.Int).Mul(cost, big.NewInt(now))
	return product.Div(product, big.NewInt(then)) // Euclidean: down, the divisor being positive
}

// movers are the use cases that cost more or less than then: those that went the way of the whole first, the most money first.
func (f *figures) movers(then *figures) []Mover {
	change := map[string]*big.Int{}
	total := new(big.Int)
	for _, side := range []struct {
		useCases map[string]*big.Int
		add      func(z, x, y *big.Int) *big.Int
	}{{f.useCases, (*big.Int).Add}, {then.useCases, (*big.Int).Sub}} {
		for name, cost := range side.useCases {
			if change[name] == nil {
				change[name] = new(big.Int)
			}
			side.add(change[name], change[name], cost)
			side.add(total, total, cost)
		}
	}
	names := slices.SortedFunc(maps.Keys(change), func(a, b string) int {
		if c := change[b].Cmp(change[a]) * total.Sign(); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	movers := []Mover{}
	for _, name := range names {
		if change[name].Sign() != 0 {
			movers = append(movers, Mover{name, sumOf(change[name])})
		}
	}
	return movers
}

// picoOf is a sum as a whole number of pico-dollars.
func picoOf(s money.Sum) *big.Int {
	n, _ := new(big.Int).SetString(strings.Replace(s.String(), ".", "", 1), 10)
	return n
}

// sumOf is a whole number of pico-dollars as a sum. What is more than 127 bits cannot come of sums that are not.
func sumOf(n *big.Int) money.Sum {
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= money.Scale {
		digits = strings.Repeat("0", money.Scale+1-len(digits)) + digits
	}
	text := digits[:len(digits)-money.Scale] + "." + digits[len(digits)-money.Scale:]
	if n.Sign() < 0 {
		text = "-" + text
	}
	s, err := money.ParseSum(text)
	if err != nil {
		panic(err)
	}
	return s
}
