package money

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strings"
)

// Sum is a 128-bit amount in pico-dollars: the exact total of lines. The zero
// value is zero, and Sums compare with ==.
type Sum struct {
	hi int64
	lo uint64
}

// Add is the sum with a line added. Lines are 64 bits, so it would take 2^64
// of them to overflow.
func (s Sum) Add(p Pico) Sum { return s.Plus(Sum{hi: int64(p) >> 63, lo: uint64(p)}) }

// Plus is the total of two sums.
func (s Sum) Plus(o Sum) Sum {
	lo, carry := bits.Add64(s.lo, o.lo, 0)
	hi, _ := bits.Add64(uint64(s.hi), uint64(o.hi), carry)
	return Sum{hi: int64(hi), lo: lo}
}

// Neg is the sum with the other sign.
func (s Sum) Neg() Sum {
	lo, borrow := bits.Sub64(0, s.lo, 0)
	hi, _ := bits.Sub64(0, uint64(s.hi), borrow)
	return Sum{hi: int64(hi), lo: lo}
}

// Minus is s less o.
func (s Sum) Minus(o Sum) Sum { return s.Plus(o.Neg()) }

// IsZero reports whether the sum is exactly zero.
func (s Sum) IsZero() bool { return s == Sum{} }

// Sign is -1, 0 or +1.
func (s Sum) Sign() int {
	switch {
	case s.hi < 0:
		return -1
	case s.IsZero():
		return 0
	}
	return 1
}

// String is the sum in dollars with all twelve decimals.
func (s Sum) String() string {
	if s.hi < 0 {
		n := s.Neg()
		return format(uint64(n.hi), n.lo, true, Scale)
	}
	return format(uint64(s.hi), s.lo, false, Scale)
}

// MarshalText makes a Sum a decimal string in JSON.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSum(string(text))
	return err
}

// ParseSum reads a decimal dollar amount with at most twelve decimals, such as
// ClickHouse prints a Decimal(38,12).
func ParseSum(s string) (Sum, error) {
	text, negative := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(text, ".")
	if whole == "" || point && frac == "" || len(frac) > Scale {
		return Sum{}, fmt.Errorf("amount %q: not a decimal number with at most %d decimals", s, Scale)
	}
	digits := whole + frac + strings.Repeat("0", Scale-len(frac))
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return Sum{}, fmt.Errorf("amount %q: not a decimal number", s)
		}
	}
	v, _ := new(big.Int).SetString(digits, 10)
	if v.BitLen() > 127 {
		return Sum{}, fmt.Errorf("amount %q: %w", s, ErrOverflow)
	}
	sum := Sum{hi: new(big.Int).Rsh(v, 64).Int64(), lo: new(big.Int).And(v, new(big.Int).SetUint64(^uint64(0))).Uint64()}
	if negative {
		sum = sum.Neg()
	}
	return sum, nil
}

// Pico is the sum as a line amount, or ErrOverflow.
func (s Sum) Pico() (Pico, error) {
	p := Pico(s.lo)
	if (Sum{}).Add(p) != s {
		return 0, ErrOverflow
	}
	return p, nil
}

var errScan = errors.New("a Sum scans from a decimal string")

// Scan reads a Sum from a database value that was selected as a string.
func (s *Sum) Scan(v any) (err error) {
	text, ok := v.(string)
	if !ok {
		return errScan
	}
	*s, err = ParseSum(text)
	return err
}

// format writes hi:lo units of 10^-scale.
func format(hi, lo uint64, negative bool, scale int) string {
	v := new(big.Int).SetUint64(hi)
	v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(lo))
	digits := v.String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	text := digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	if negative {
		return "-" + text
	}
	return text
}

func trim(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }
