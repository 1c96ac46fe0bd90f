package clickhouse

// Column is one column of an insert or of a [Table]. Data is one of
//
//	[]string         String, LowCardinality(String)
//	[][]byte         String, FixedString(n)
//	*Dictionary      LowCardinality(String)
//	[][16]byte       UUID, FixedString(16)
//	[][32]byte       FixedString(32)
//	[]bool           Bool
//	[]uint8 … []int64  the integer of that size
//	[]int64          also DateTime64(6): microseconds since 1970
//	[]uint16         also Date: days since 1970
//	[]uint32         also DateTime: seconds since 1970
//	Decimals         Decimal(38, 12), Nullable(Decimal(38, 12))
//	NullInt64        Nullable(Int64)
//	NullUint64       Nullable(UInt64)
//	Array            Array of any of these
//	[][]string       Array(String), Array(LowCardinality(String))
//
// Anything else, or a type that is not the table's, is an error.
type Column struct {
	Name string
	Type string // of a Table's column, in ClickHouse's words; of an insert the server knows it
	Data any
}

// Decimals are amounts in units of 1e-12. Null is as long as Pico, or nil when
// none is NULL.
type Decimals struct {
	Pico []int64
	Null []bool
}

// NullInt64 are integers that may be missing. Null is as long as Values.
type NullInt64 struct {
	Values []int64
	Null   []bool
}

// NullUint64 are integers that may be missing. Null is as long as Values.
type NullUint64 struct {
	Values []uint64
	Null   []bool
}

// Array is rows of lists, flattened: row i holds Values[Ends[i-1]:Ends[i]].
type Array struct {
	Ends   []uint64
	Values any
	base   uint64 // of Ends: where the first row begins
}

func flat(lists [][]string) Array {
	a := Array{Ends: make([]uint64, len(lists))}
	var values []string
	for i, list := range lists {
		values = append(values, list...)
		a.Ends[i] = uint64(len(values))
	}
	a.Values = values
	return a
}

// Dictionary is a LowCardinality(String) column in the making: distinct values
// once, rows as their numbers. The zero value is ready; Reset keeps its memory.
type Dictionary struct {
	numbers map[string]uint32
	values  []string
	rows    []uint32
	last    string // the value of lastRow: repeats need no look-up
	lastRow uint32
}

// Append adds a row.
func (d *Dictionary) Append(value string) {
	if d.numbers == nil {
		d.numbers = map[string]uint32{"": 0}
		d.values = append(d.values, "")
	}
	if value != d.last {
		number, ok := d.numbers[value]
		if !ok {
			number = uint32(len(d.values))
			d.numbers[value] = number
			d.values = append(d.values, value)
		}
		d.last, d.lastRow = value, number
	}
	d.rows = append(d.rows, d.lastRow)
}

// Len is the number of rows.
func (d *Dictionary) Len() int { return len(d.rows) }

// Reset empties the column.
func (d *Dictionary) Reset() {
	clear(d.numbers)
	clear(d.values)
	d.values, d.rows, d.last, d.lastRow = d.values[:0], d.rows[:0], "", 0
	if d.numbers != nil {
		d.numbers[""] = 0
		d.values = append(d.values, "")
	}
}
