// Package money holds exact amounts and rates of US dollars.
//
// List prices per million tokens have at most six decimals, so a price per
// token is an integer number of pico-dollars (1e-12 USD) and tokens × rate is
// exact. Lines are int64 pico-dollars (at most 9.2 million dollars), sums are
// 128 bits. Nothing here is a float and nothing here rounds.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Scale is the number of decimals of every amount.
const Scale = 12

// ErrOverflow reports an amount outside its range. The caller must not go on
// with the computation: the line is wrong, not zero.
var ErrOverflow = errors.New("amount overflows")

// Pico is an amount in pico-dollars.
type Pico int64

// Rate is a price in pico-dollars per token.
type Rate int64

// Cost is the exact cost of tokens at the rate, or ErrOverflow.
func (r Rate) Cost(tokens int64) (Pico, error) {
	hi, lo := bits.Mul64(magnitude(int64(r)), magnitude(tokens))
	negative := (r < 0) != (tokens < 0)
	switch {
	case hi != 0, lo > math.MaxInt64+1, lo == math.MaxInt64+1 && !negative:
		return 0, fmt.Errorf("%d tokens at %s per million: %w", tokens, r.PerMillion(), ErrOverflow)
	case negative:
		return Pico(-lo), nil
	}
	return Pico(lo), nil
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// ParsePerMillion reads a list price in dollars per million tokens, such as
// "1.25". More than six decimals cannot be a whole number of pico-dollars per
// token and is refused; so are signs, exponents and empty parts.
func ParsePerMillion(s string) (Rate, error) {
	v, err := parse(s, 6)
	if err != nil {
		return 0, fmt.Errorf("price %q per million tokens: %w", s, err)
	}
	if v < 0 {
		return 0, fmt.Errorf("price %q per million tokens: negative", s)
	}
	return Rate(v), nil
}

// PerMillion is the rate as dollars per million tokens, shortest form.
func (r Rate) PerMillion() string { return trim(format(0, magnitude(int64(r)), r < 0, 6)) }

// Parse reads a decimal dollar amount with at most twelve decimals.
func Parse(s string) (Pico, error) {
	v, err := parse(s, Scale)
	if err != nil {
		return 0, fmt.Errorf("amount %q: %w", s, err)
	}
	return Pico(v), nil
}

// String is the amount in dollars with all twelve decimals.
func (p Pico) String() string { return format(0, magnitude(int64(p)), p < 0, Scale) }

// parse reads digits[.digits] with at most scale decimals into units of 10^-scale.
func parse(s string, scale int) (int64, error) {
	text, negative := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(text, ".")
	if whole == "" || point && frac == "" {
		return 0, errors.New("not a decimal number")
	}
	if len(frac) > scale {
		if strings.Trim(frac[scale:], "0") != "" {
			return 0, fmt.Errorf("more than %d decimals", scale)
		}
		frac = frac[:scale]
	}
	var v uint64
	for _, c := range []byte(whole + frac + strings.Repeat("0", scale-len(frac))) {
		if c < '0' || c > '9' {
			return 0, errors.New("not a decimal number")
		}
		if v > (math.MaxInt64-uint64(c-'0'))/10 {
			return 0, ErrOverflow
		}
		v = v*10 + uint64(c-'0')
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}
