package anomaly

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ledgerline/ledgerline/internal/money"
)

func total(parts []Part) money.Sum {
	sum := money.Sum{}
	for _, p := range parts {
		sum = sum.Plus(p.Amount)
	}
	return sum
}

// Whatever changed, also to nothing and from nothing, with corrections below zero: the parts sum to the change to the last digit.
func TestReasonSumsToTheChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() *figures {
		f := newFigures()
		for range r.IntN(12) {
			p := path{r.IntN(3) == 0, []string{"a", "b"}[r.IntN(2)], []string{"m", "n", "o"}[r.IntN(3)]}
			c := class{p.provider, []string{p.model, "m"}[r.IntN(2)], []string{"input", "output", "none"}[r.IntN(3)]}
			cost := big.NewInt(r.Int64N(1<<50) - 1<<44)
			cost.Mul(cost, big.NewInt(1+r.Int64N(1<<30))) // beyond 64 bits
			f.add(p, c, r.Int64N(1000)-20, r.Int64N(1_000_000)-1000, cost)
		}
		return f
	}
	for i := range 20_000 {
		then, now := random(), random()
		parts := reason(then, now)
		if want := sumOf(new(big.Int).Sub(now.cost(), then.cost())); total(parts) != want {
			t.Fatalf("case %d: parts %v sum to %s, the change is %s", i, parts, total(parts), want)
		}
		for _, p := range reason(now, now) {
			if now.allPositive() && !p.Amount.IsZero() {
				t.Fatalf("case %d: nothing changed, but %s is %s", i, p.Name, p.Amount)
			}
		}
	}
}

// allPositive reports whether every divisor is there.
func (f *figures) allPositive() bool {
	for _, m := range f.models {
		if m.requests <= 0 {
			return false
		}
		for _, a := range m.classes {
			if a.quantity <= 0 {
				return false
			}
		}
	}
	return true
}

// What was changed is what the reason names.
func TestReasonNamesWhatChanged(t *testing.T) {
	type line struct {
		fallback                bool
		model                   string
		requests, input, output int64 // tokens
		inputPrice, outputPrice int64 // pico-dollars a token
	}
	of := func(lines ...line) *figures {
		f := newFigures()
		for _, l := range lines {
			p := path{l.fallback, "p", l.model}
			f.add(p, class{"p", l.model, "input"}, l.requests, l.input, big.NewInt(l.input*l.inputPrice))
			f.add(p, class{"p", l.model, "output"}, 0, l.output, big.NewInt(l.output*l.outputPrice))
		}
		return f
	}
	base := line{model: "m", requests: 100, input: 10_000, output: 1_000, inputPrice: 2, outputPrice: 10} // costs 30,000
	small := line{model: "s", requests: 100, input: 10_000, output: 1_000, inputPrice: 1, outputPrice: 1} // costs 11,000
	with := func(l line, change func(*line)) line {
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name      string
		then, now *figures
		want      map[string]int64
	}{
		{"twice as many requests", of(base), of(with(base, func(l *line) { l.requests, l.input, l.output = 200, 20_000, 2_000 })), map[string]int64{PartVolume: 30_000}},
		{"longer answers", of(base), of(with(base, func(l *line) { l.output = 3_000 })), map[string]int64{PartTokens: 20_000}},
		{"a price", of(base), of(with(base, func(l *line) { l.outputPrice = 15 })), map[string]int64{PartPrice: 5_000}},
		{"half of it on another model", of(base, small),
			of(with(base, func(l *line) { l.requests, l.input, l.output = 150, 15_000, 1_500 }), with(small, func(l *line) { l.requests, l.input, l.output = 50, 5_000, 500 })),
			map[string]int64{PartMix: 15_000 - 5_500}},
		{"a model that is new takes half", of(base), of(with(base, func(l *line) { l.requests, l.input, l.output = 50, 5_000, 500 }),
			with(small, func(l *line) { l.requests, l.input, l.output = 50, 5_000, 500 })), map[string]int64{PartMix: 5_500 - 15_000}},
		{"one in ten falls back to a dearer model", of(base, with(base, func(l *line) {
			l.fallback, l.model, l.requests, l.input, l.output, l.inputPrice, l.outputPrice = true, "dear", 100, 10_000, 1_000, 20, 100
		})), of(with(base, func(l *line) { l.requests, l.input, l.output = 80, 8_000, 800 }), with(base, func(l *line) {
			l.fallback, l.model, l.requests, l.input, l.output, l.inputPrice, l.outputPrice = true, "dear", 120, 12_000, 1_200, 20, 100
		})), map[string]int64{PartFallback: 20 * (3_000 - 300)}},
		{"the first fallbacks", of(base), of(with(base, func(l *line) { l.requests, l.input, l.output = 90, 9_000, 900 }), with(base, func(l *line) {
			l.fallback, l.model, l.requests, l.input, l.output, l.inputPrice, l.outputPrice = true, "dear", 10, 1_000, 100, 20, 100
		})), map[string]int64{PartFallback: 10 * (3_000 - 300)}},
		{"from nothing", of(), of(base), map[string]int64{PartVolume: 30_000}},
		{"to nothing", of(base), of(), map[string]int64{PartVolume: -30_000}},
	} {
		for _, p := range reason(tt.then, tt.now) {
			if want := sumOf(big.NewInt(tt.want[p.Name])); p.Amount != want {
				t.Errorf("%s: %s is %s, want %s", tt.name, p.Name, p.Amount, want)
			}
		}
	}
}

// A line that does not divide loses less than a pico-dollar a summand, and the next part has it.
func TestReasonRoundsDown(t *testing.T) {
	then, now := newFigures(), newFigures()
	then.add(path{model: "m"}, class{class: "input"}, 3, 3, big.NewInt(10))
	now.add(path{model: "m"}, class{class: "input"}, 1, 1, big.NewInt(4))
	got := reason(then, now)
	for i, want := range []int64{3 - 10, 0, 0, 0, 4 - 3} { // 10/3 is 3
		if got[i].Amount != sumOf(big.NewInt(want)) {
			t.Errorf("%s is %s, want %d pico", got[i].Name, got[i].Amount, want)
		}
	}
}

func TestMovers(t *testing.T) {
	then, now := newFigures(), newFigures()
	for name, costs := range map[string][2]int64{"up": {10, 50}, "more": {0, 90}, "down": {70, 20}, "same": {5, 5}, "gone": {3, 0}} {
		then.addUseCase(name, big.NewInt(costs[0]))
		now.addUseCase(name, big.NewInt(costs[1]))
	}
	want := []Mover{{"more", sumOf(big.NewInt(90))}, {"up", sumOf(big.NewInt(40))}, {"gone", sumOf(big.NewInt(-3))}, {"down", sumOf(big.NewInt(-50))}}
	got := now.movers(then)
	if len(got) != len(want) {
		t.Fatalf("movers %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("mover %d is %v, want %v", i, got[i], want[i])
		}
	}
	if got := then.movers(now); got[0] != (Mover{"more", sumOf(big.NewInt(-90))}) { // it all went down
		t.Errorf("the other way round %v moved most", got[0])
	}
}

func TestDollars(t *testing.T) {
	for text, want := range map[string]string{
		"0": "$0.00", "0.005": "$0.01", "0.0049": "$0.0049", "0.000000000001": "$0.000000000001", "1.995": "$2.00", "12.3449": "$12.34",
		"999.994": "$999.99", "1234.5": "$1,234.50", "1234567.891": "$1,234,567.89",
	} {
		s, err := money.ParseSum(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := dollars(s); got != want {
			t.Errorf("dollars(%s) = %s, want %s", text, got, want)
		}
	}
}
