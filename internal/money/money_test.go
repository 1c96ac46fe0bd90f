package money

import (
	"errors"
	"math"
	"math/big"
	"testing"
)

func TestCostIsExact(t *testing.T) {
	for _, tt := range []struct {
		price  string
		tokens int64
		want   string
	}{
		{"1.25", 4808, "0.006010000000"},
		{"0.000001", 1, "0.000000000001"},
		{"0", 1 << 40, "0.000000000000"},
		{"15", -3, "-0.000045000000"},
		{"75.00", 1_000_000, "75.000000000000"},
		{"0.0125000", 7, "0.000000087500"},
	} {
		rate, err := ParsePerMillion(tt.price)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rate.Cost(tt.tokens)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s × %d = %s, %v; want %s", tt.price, tt.tokens, got, err, tt.want)
		}
	}
}

func TestCostOverflow(t *testing.T) {
	for _, tt := range []struct {
		rate   Rate
		tokens int64
		ok     bool
	}{
		{math.MaxInt64, 1, true}, {math.MaxInt64, 2, false}, {1 << 32, 1 << 31, false},
		{1 << 32, -(1 << 31), true}, {math.MinInt64, 1, true}, {math.MinInt64, -1, false},
	} {
		got, err := tt.rate.Cost(tt.tokens)
		if tt.ok != (err == nil) || err != nil && !errors.Is(err, ErrOverflow) {
			t.Errorf("Rate(%d).Cost(%d) = %d, %v", tt.rate, tt.tokens, got, err)
		}
		if want := new(big.Int).Mul(big.NewInt(int64(tt.rate)), big.NewInt(tt.tokens)); tt.ok && want.Int64() != int64(got) {
			t.Errorf("Rate(%d).Cost(%d) = %d, want %s", tt.rate, tt.tokens, got, want)
		}
	}
}

func TestParsePerMillionRefuses(t *testing.T) {
	for _, s := range []string{"", ".", "1.", ".5", "-1", "1e3", "0.0000001", "1,25", " 1", "99999999999999999999", "0x1"} {
		if r, err := ParsePerMillion(s); err == nil {
			t.Errorf("ParsePerMillion(%q) = %d, want an error", s, r)
		}
	}
}

func TestSum(t *testing.T) {
	var s Sum
	want := new(big.Int)
	for _, p := range []Pico{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MinInt64, -1, 7, math.MinInt64, math.MinInt64, math.MinInt64} {
		s = s.Add(p)
		want.Add(want, big.NewInt(int64(p)))
		back, err := ParseSum(s.String())
		if err != nil || back != s {
			t.Fatalf("ParseSum(%s) = %v, %v", s, back, err)
		}
		if diff := s.Minus(back); !diff.IsZero() || s.Sign() != want.Sign() {
			t.Fatalf("%s: difference %s, sign %d", s, diff, s.Sign())
		}
	}
	if got := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(s.hi), 64), new(big.Int).SetUint64(s.lo)); got.Cmp(want) != 0 {
		t.Fatalf("sum %s, want %s", got, want)
	}
	for _, bad := range []string{"", "1.1234567890123", "170141183460469231731687303715884105728", "1.-5", "--1", "nan"} {
		if v, err := ParseSum(bad); err == nil {
			t.Errorf("ParseSum(%q) = %s, want an error", bad, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "-0", "1.000000000001", "9223372.036854775807", "9223372.036854775808", "0.0000000000010", "-5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if r, ok := new(big.Rat).SetString(s); !ok || r.Cmp(big.NewRat(int64(p), 1_000_000_000_000)) != 0 {
			t.Fatalf("Parse(%q) = %s", s, p)
		}
	})
}
