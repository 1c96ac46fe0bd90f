package clickhouse

// length is the number of rows of a column's data; not ok when it is of no
// known kind or its parts are not of one length.
func length(data any) (rows int, ok bool) {
	switch v := data.(type) {
	case []string:
		return len(v), true
	case [][]byte:
		return len(v), true
	case *Dictionary:
		return len(v.rows), true
	case [][16]byte:
		return len(v), true
	case [][32]byte:
		return len(v), true
	case []bool:
		return len(v), true
	case []uint8:
		return len(v), true
	case []int8:
		return len(v), true
	case []uint16:
		return len(v), true
	case []uint32:
		return len(v), true
	case []uint64:
		return len(v), true
	case []int64:
		return len(v), true
	case NullInt64:
		return len(v.Values), len(v.Values) == len(v.Null)
	case NullUint64:
		return len(v.Values), len(v.Values) == len(v.Null)
	case Decimals:
		return len(v.Pico), v.Null == nil || len(v.Pico) == len(v.Null)
	case Array:
		values, ok := length(v.Values)
		last := v.base
		for _, end := range v.Ends {
			ok = ok && end >= last
			last = end
		}
		return len(v.Ends), ok && last-v.base == uint64(values)
	case [][]string:
		return len(v), true
	}
	return 0, false
}

// slice is the rows [from, to) of a column's data.
func slice(data any, from, to int) any {
	switch v := data.(type) {
	case []string:
		return v[from:to]
	case [][]byte:
		return v[from:to]
	case *Dictionary:
		return &Dictionary{values: v.values, rows: v.rows[from:to]}
	case [][16]byte:
		return v[from:to]
	case [][32]byte:
		return v[from:to]
	case []bool:
		return v[from:to]
	case []uint8:
		return v[from:to]
	case []int8:
		return v[from:to]
	case []uint16:
		return v[from:to]
	case []uint32:
		return v[from:to]
	case []uint64:
		return v[from:to]
	case []int64:
		return v[from:to]
	case NullInt64:
		return NullInt64{v.Values[from:to], v.Null[from:to]}
	case NullUint64:
		return NullUint64{v.Values[from:to], v.Null[from:to]}
	case Decimals:
		d := Decimals{Pico: v.Pico[from:to]}
		if v.Null != nil {
			d.Null = v.Null[from:to]
		}
		return d
	case Array:
		begin, end := v.base, v.base
		if from > 0 {
			begin = v.Ends[from-1]
		}
		if to > 0 {
			end = v.Ends[to-1]
		}
		return Array{Ends: v.Ends[from:to], Values: slice(v.Values, int(begin-v.base), int(end-v.base)), base: begin}
	case [][]string:
		return v[from:to]
	}
	return data
}
