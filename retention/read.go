package retention

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/parquet-go/parquet-go"

	"github.com/ledgerline/ledgerline/internal/money"
)

// table is one of the tables that are exported.
type table struct {
	name    string
	combine string
	// Columns whose texts, with | between them, are a row's fingerprint: text as it is, numbers in decimal, money in units of 1e-12,
	// nothing for NULL. The statement export_control_<name> makes the same of the ledger.
	fingerprint []string
}

var tables = []table{
	{"requests", "last", []string{"event_id", "restatement", "cost_status", "input_tokens", "output_tokens", "cost"}},
	{"charges", "sum", []string{"event_id", "attempt", "token_class", "restatement", "sign", "calls", "quantity", "cost"}},
	{"daily_spend", "sum", []string{"business_unit", "team", "project", "application", "use_case", "provider", "region", "model", "tier", "token_class",
		"cost_status", "requests", "entries", "quantity", "cost"}},
}

// row is what [readFile] tells of a row.
type row struct {
	event string // of requests and charges
	sums  Sums   // of this row alone
}

// readFile reads a Parquet file from its first byte to its last: every page of every column is decoded. It returns the file's
// digest and rows, and its sums by currency and token class. each, if any, is told of every row.
func readFile(file *os.File, t table, each func(row)) (File, []Sums, error) {
	found := File{}
	d := newDigester(io.Discard)
	if _, err := io.Copy(d, io.NewSectionReader(file, 0, 1<<62)); err != nil {
		return found, nil, err
	}
	found.Bytes, found.SHA256 = d.bytes, d.sum()
	f, err := parquet.OpenFile(file, found.Bytes, parquet.SkipBloomFilters(true))
	if err != nil {
		return found, nil, fmt.Errorf("not a whole Parquet file: %w", err)
	}
	c, err := columnsOf(f.Schema(), t)
	if err != nil {
		return found, nil, err
	}
	totals := map[string]*Sums{}
	for _, group := range f.RowGroups() {
		if err := c.group(group, totals, each); err != nil {
			return found, nil, err
		}
		found.Rows += uint64(group.NumRows())
	}
	if rows := uint64(f.NumRows()); rows != found.Rows {
		return found, nil, fmt.Errorf("the footer says %d rows, the row groups have %d", rows, found.Rows)
	}
	return found, sortSums(totals), nil
}

func sortSums(totals map[string]*Sums) []Sums {
	sums := []Sums{}
	for _, s := range totals {
		sums = append(sums, *s)
	}
	slices.SortFunc(sums, func(a, b Sums) int {
		return cmp.Or(cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.TokenClass, b.TokenClass))
	})
	return sums
}

func (s *Sums) add(o Sums) {
	s.Rows += o.Rows
	s.Quantity += o.Quantity
	s.Cost = s.Cost.Plus(o.Cost)
	s.Hash += o.Hash
}

// columns are the leaves of a file that are looked into, by number; -1: there is none.
type columns struct {
	fingerprint                                 []int
	event, currency, tokenClass, quantity, cost int
	wanted                                      []bool            // by number
	values                                      [][]parquet.Value // of the row group, by number
	text                                        []byte
}

func columnsOf(s *parquet.Schema, t table) (*columns, error) {
	at := func(name string) int {
		if leaf, ok := s.Lookup(name); ok {
			return leaf.ColumnIndex
		}
		return -1
	}
	n := len(s.Columns())
	c := &columns{event: at("event_id"), currency: at("currency"), tokenClass: at("token_class"), quantity: at("quantity"), cost: at("cost"),
		wanted: make([]bool, n), values: make([][]parquet.Value, n)}
	for _, name := range t.fingerprint {
		c.fingerprint = append(c.fingerprint, at(name))
	}
	if slices.Contains(c.fingerprint, -1) || c.currency < 0 || c.cost < 0 {
		return nil, fmt.Errorf("not a file of %s: columns are missing", t.name)
	}
	for _, n := range append([]int{c.event, c.currency, c.tokenClass, c.quantity, c.cost}, c.fingerprint...) {
		if n >= 0 {
			c.wanted[n] = true
		}
	}
	return c, nil
}

// group reads one row group.
func (c *columns) group(g parquet.RowGroup, totals map[string]*Sums, each func(row)) error {
	for n, chunk := range g.ColumnChunks() {
		rows, err := readColumn(chunk, &c.values[n], c.wanted[n])
		if err != nil {
			return fmt.Errorf("column %d: %w", n, err)
		}
		if rows != g.NumRows() || c.wanted[n] && int64(len(c.values[n])) != rows {
			return fmt.Errorf("column %d has %d rows, its row group %d", n, rows, g.NumRows())
		}
	}
	for i := range int(g.NumRows()) {
		r := row{sums: Sums{Rows: 1}}
		if c.event >= 0 && each != nil {
			r.event = string(c.values[c.event][i].ByteArray())
		}
		if c.quantity >= 0 && !c.values[c.quantity][i].IsNull() {
			r.sums.Quantity = c.values[c.quantity][i].Int64()
		}
		c.text = c.text[:0]
		for k, n := range c.fingerprint {
			if k > 0 {
				c.text = append(c.text, '|')
			}
			c.text = appendText(c.text, c.values[n][i], n == c.cost)
		}
		r.sums.Hash = xxhash.Sum64(c.text)
		if v := c.values[c.cost][i]; !v.IsNull() {
			var err error
			if r.sums.Cost, err = amount(v.ByteArray()); err != nil {
				return err
			}
		}
		currency, class := c.values[c.currency][i].ByteArray(), []byte(nil)
		if c.tokenClass >= 0 {
			class = c.values[c.tokenClass][i].ByteArray()
		}
		c.text = append(append(append(c.text[:0], currency...), 0), class...)
		total := totals[string(c.text)]
		if total == nil {
			total = &Sums{Currency: string(currency), TokenClass: string(class)}
			totals[string(c.text)] = total
		}
		total.add(r.sums)
		if each != nil {
			each(r)
		}
	}
	return nil
}

// readColumn decodes all pages of a column and returns how many rows they have; the values, too, if they are wanted.
func readColumn(chunk parquet.ColumnChunk, into *[]parquet.Value, wanted bool) (rows int64, err error) {
	pages := chunk.Pages()
	defer pages.Close()
	values := (*into)[:0]
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			*into = values
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows += page.NumRows()
		if !wanted {
			parquet.Release(page)
			continue
		}
		from := len(values)
		values = slices.Grow(values, int(page.NumValues()))[:from+int(page.NumValues())]
		n, err := page.Values().ReadValues(values[from:])
		if values = values[:from+n]; err != nil && !errors.Is(err, io.EOF) {
			return rows, err
		}
	}
}

// appendText writes a value as a fingerprint has it.
func appendText(b []byte, v parquet.Value, decimal bool) []byte {
	switch {
	case v.IsNull():
		return b
	case decimal:
		raw := v.ByteArray()
		if pico, ok := small(raw); ok {
			return strconv.AppendInt(b, pico, 10)
		}
		return append(b, wide(raw).String()...)
	case v.Kind() == parquet.ByteArray:
		return append(b, v.ByteArray()...)
	case v.Kind() == parquet.Int32:
		return strconv.AppendInt(b, int64(v.Int32()), 10)
	}
	return strconv.AppendInt(b, v.Int64(), 10)
}

// small is a 16-byte big-endian integer that fits 64 bits.
func small(b []byte) (int64, bool) {
	if len(b) != 16 {
		return 0, false
	}
	var hi, lo uint64
	for i := range 8 {
		hi, lo = hi<<8|uint64(b[i]), lo<<8|uint64(b[8+i])
	}
	return int64(lo), int64(hi) == int64(lo)>>63
}

func wide(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return v
}

// amount is a DECIMAL(38, 12) of a file.
func amount(b []byte) (money.Sum, error) {
	if pico, ok := small(b); ok {
		return money.Sum{}.Add(money.Pico(pico)), nil
	}
	v := wide(b)
	whole, rest := new(big.Int).QuoRem(v, big.NewInt(1_000_000_000_000), new(big.Int))
	sign := ""
	if v.Sign() < 0 {
		sign = "-"
	}
	return money.ParseSum(fmt.Sprintf("%s%s.%012d", sign, whole.Abs(whole), rest.Abs(rest)))
}
