package clickhouse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// fill puts data into the client's columns. The client's own Append goes
// through an interface value per cell (and a map of interfaces for
// LowCardinality); its Decode reads whole columns. So columns are written in
// the native format here and handed to Decode, which copies them in. scratch
// is memory to use; it is returned for the next time.
func fill(dst []column.Interface, src []Column, scratch []byte) ([]byte, error) {
	var bytesOf bytes.Reader
	reader := proto.NewReader(&bytesOf)
	for i, c := range src {
		kind := string(dst[i].Type())
		b, rows, err := encode(scratch[:0], c.Data, kind)
		if err != nil {
			return scratch, fmt.Errorf("column %s %s: %w", c.Name, kind, err)
		}
		scratch = b
		bytesOf.Reset(b)
		if err := dst[i].Decode(reader, rows); err != nil {
			return scratch, fmt.Errorf("column %s %s: %w", c.Name, kind, err)
		}
		if bytesOf.Len() != 0 {
			return scratch, fmt.Errorf("column %s %s: %d bytes over", c.Name, kind, bytesOf.Len())
		}
	}
	return scratch, nil
}

// check returns the rows of the columns, which must fit the client's.
func check(dst []column.Interface, src []Column) (int, error) {
	if len(dst) != len(src) {
		return 0, fmt.Errorf("%d columns given, %d expected", len(src), len(dst))
	}
	total := 0
	for i, c := range src {
		rows, ok := length(c.Data)
		switch {
		case !ok:
			return 0, fmt.Errorf("column %s: %T of no known kind, or its parts differ in length", c.Name, c.Data)
		case dst[i].Name() != c.Name:
			return 0, fmt.Errorf("column %s given, %s expected", c.Name, dst[i].Name())
		case i > 0 && rows != total:
			return 0, fmt.Errorf("column %s: %d rows, the others have %d", c.Name, rows, total)
		}
		total = rows
	}
	return total, nil
}

// encode appends the native format of the column's values and returns how many
// rows they are. It fails on a type whose bytes would be read as another one.
func encode(b []byte, data any, kind string) ([]byte, int, error) {
	mismatch := fmt.Errorf("does not take %T", data)
	switch v := data.(type) {
	case []string:
		switch kind {
		case "String":
			for _, s := range v {
				b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
			}
			return b, len(v), nil
		case "LowCardinality(String)":
			var d Dictionary
			for _, s := range v {
				d.Append(s)
			}
			return d.encode(b), len(v), nil
		}
		return b, 0, mismatch
	case [][]byte:
		size, fixed := fixedString(kind)
		if !fixed && kind != "String" {
			return b, 0, mismatch
		}
		for _, s := range v {
			if fixed && len(s) != size {
				return b, 0, fmt.Errorf("a value has %d bytes", len(s))
			}
			if !fixed {
				b = binary.AppendUvarint(b, uint64(len(s)))
			}
			b = append(b, s...)
		}
		return b, len(v), nil
	case *Dictionary:
		if kind != "LowCardinality(String)" {
			return b, 0, mismatch
		}
		return v.encode(b), len(v.rows), nil
	case [][16]byte:
		switch kind {
		case "UUID": // two integers of 64 bits, the high one first, each little-endian
			for _, id := range v {
				b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(id[:8]))
				b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(id[8:]))
			}
		case "FixedString(16)":
			for i := range v {
				b = append(b, v[i][:]...)
			}
		default:
			return b, 0, mismatch
		}
		return b, len(v), nil
	case [][32]byte:
		if kind != "FixedString(32)" {
			return b, 0, mismatch
		}
		for i := range v {
			b = append(b, v[i][:]...)
		}
		return b, len(v), nil
	case []bool:
		if kind != "Bool" {
			return b, 0, mismatch
		}
		return bools(b, v), len(v), nil
	case []uint8:
		if kind != "UInt8" {
			return b, 0, mismatch
		}
		return append(b, v...), len(v), nil
	case []int8:
		if kind != "Int8" {
			return b, 0, mismatch
		}
		for _, n := range v {
			b = append(b, byte(n))
		}
		return b, len(v), nil
	case []uint16:
		if kind != "UInt16" && kind != "Date" {
			return b, 0, mismatch
		}
		for _, n := range v {
			b = binary.LittleEndian.AppendUint16(b, n)
		}
		return b, len(v), nil
	case []uint32:
		if kind != "UInt32" && kind != "DateTime" && !strings.HasPrefix(kind, "DateTime(") {
			return b, 0, mismatch
		}
		for _, n := range v {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return b, len(v), nil
	case []uint64:
		if kind != "UInt64" {
			return b, 0, mismatch
		}
		return integers(b, v), len(v), nil
	case []int64:
		if kind != "Int64" && kind != "DateTime64(6)" && !strings.HasPrefix(kind, "DateTime64(6,") {
			return b, 0, mismatch
		}
		return integers(b, v), len(v), nil
	case NullInt64:
		if kind != "Nullable(Int64)" {
			return b, 0, mismatch
		}
		return integers(bools(b, v.Null), v.Values), len(v.Null), nil
	case NullUint64:
		if kind != "Nullable(UInt64)" {
			return b, 0, mismatch
		}
		return integers(bools(b, v.Null), v.Values), len(v.Null), nil
	case Decimals:
		switch kind {
		case "Decimal(38, 12)":
			if v.Null != nil {
				return b, 0, fmt.Errorf("takes no NULL")
			}
		case "Nullable(Decimal(38, 12))":
			if v.Null == nil {
				b = append(b, make([]byte, len(v.Pico))...)
			}
			b = bools(b, v.Null)
		default:
			return b, 0, mismatch
		}
		for _, p := range v.Pico {
			b = binary.LittleEndian.AppendUint64(b, uint64(p))
			b = binary.LittleEndian.AppendUint64(b, uint64(p>>63))
		}
		return b, len(v.Pico), nil
	case Array:
		inner, ok := strings.CutPrefix(kind, "Array(")
		if !ok {
			return b, 0, mismatch
		}
		for _, end := range v.Ends {
			b = binary.LittleEndian.AppendUint64(b, end-v.base)
		}
		b, _, err := encode(b, v.Values, inner[:len(inner)-1])
		return b, len(v.Ends), err
	case [][]string:
		return encode(b, flat(v), kind)
	}
	return b, 0, mismatch
}

// encode appends dictionary and numbers, as ClickHouse's
// SerializationLowCardinality reads them: a word with the size of the numbers
// and the two bits "keys follow" and "new dictionary", the dictionary, the numbers.
func (d *Dictionary) encode(b []byte) []byte {
	if len(d.rows) == 0 {
		return b
	}
	const keysFollow, newDictionary = 1 << 9, 1 << 10
	size := uint64(2) // of a number: 1 << size bytes
	switch {
	case len(d.values) <= 1<<8:
		size = 0
	case len(d.values) <= 1<<16:
		size = 1
	}
	b = binary.LittleEndian.AppendUint64(b, keysFollow|newDictionary|size)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(d.values)))
	for _, s := range d.values {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(d.rows)))
	switch size {
	case 0:
		for _, n := range d.rows {
			b = append(b, byte(n))
		}
	case 1:
		for _, n := range d.rows {
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		}
	default:
		for _, n := range d.rows {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	return b
}

func bools(b []byte, v []bool) []byte {
	for _, x := range v {
		if x {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

func integers[T int64 | uint64](b []byte, v []T) []byte {
	for _, n := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func fixedString(kind string) (size int, ok bool) {
	text, ok := strings.CutPrefix(kind, "FixedString(")
	if !ok {
		return 0, false
	}
	size, err := strconv.Atoi(strings.TrimSuffix(text, ")"))
	return size, err == nil
}
