package retention

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go"
)

// A file's columns are those of its query: names, order and types come from the Arrow schema that ClickHouse sends, so what a
// file holds is said once, in sql/queries/export_*.sql.
//
//	LowCardinality(String)   STRING, dictionary
//	String                   STRING
//	Int32, Int64, Bool       the same
//	DateTime64(6, 'UTC')     TIMESTAMP, microseconds, adjusted to UTC
//	Date32                   DATE
//	Decimal(38, 12)          DECIMAL(38, 12), 16 bytes, without statistics
//	Array, Map, Tuple        LIST, MAP, a group
//	Nullable                 optional; nothing else is

// emitter appends the values of element i of an array to the column of one leaf; an i below 0 says that there is none. rep and
// def are the levels at which the element begins.
type emitter func(dst []parquet.Value, i, rep, def int) []parquet.Value

// reader appends the values of elements from to (excluded) of an array, without levels.
type reader func(dst []parquet.Value, from, to int) []parquet.Value

// leaf is one column of a Parquet file. rows binds it to an array of the top-level column that it belongs to; the values that its
// reader appends have levels.
type leaf struct {
	column int // top-level column
	rows   func(arrow.Array) reader
}

// layout is the Parquet side of an Arrow schema.
type layout struct {
	schema  *parquet.Schema
	columns []Column
	leaves  []leaf
	// Paths of the columns that are written without a minimum and maximum: of wide decimals the writer's are wrong where there are
	// negative ones (parquet-go 0.32.0), and of texts they cost much and rule out nothing, since rows are in order of time.
	unbounded [][]string
}

// Column is a column of a file as a manifest names it.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func newLayout(name string, s *arrow.Schema) (*layout, error) {
	l := &layout{}
	var root group
	for i, f := range s.Fields() {
		node, err := l.add(i, f, []string{f.Name}, 0, func(a arrow.Array) arrow.Array { return a }, nil)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		root.add(f.Name, node)
		l.columns = append(l.columns, Column{f.Name, describe(node)})
	}
	l.schema = parquet.NewSchema(name, &root)
	return l, nil
}

// add makes the node of a field and its leaves. of picks the field's array out of the one that around hands on.
func (l *layout) add(column int, f arrow.Field, path []string, depth int, of func(arrow.Array) arrow.Array, around func(func(arrow.Array) emitter) func(arrow.Array) emitter) (parquet.Node, error) {
	within := func(inner func(arrow.Array) emitter) func(arrow.Array) emitter {
		from := func(a arrow.Array) emitter { return inner(of(a)) }
		if around == nil {
			return from
		}
		return around(from)
	}
	self := func(a arrow.Array) arrow.Array { return a }
	switch t := f.Type.(type) {
	case *arrow.ListType:
		element, err := l.add(column, t.ElemField(), append(path, "list", "element"), depth+1, self, func(inner func(arrow.Array) emitter) func(arrow.Array) emitter {
			return within(func(a arrow.Array) emitter {
				list := a.(*array.List)
				return repeated(list, depth+1, inner(list.ListValues()))
			})
		})
		if err != nil {
			return nil, err
		}
		return parquet.List(element), nil
	case *arrow.MapType:
		var pair [2]parquet.Node
		for k, side := range []arrow.Field{t.KeyField(), t.ItemField()} {
			var err error
			pair[k], err = l.add(column, side, append(path, "key_value", []string{"key", "value"}[k]), depth+1, self, func(inner func(arrow.Array) emitter) func(arrow.Array) emitter {
				return within(func(a arrow.Array) emitter {
					m := a.(*array.Map)
					return repeated(m, depth+1, inner([]arrow.Array{m.Keys(), m.Items()}[k]))
				})
			})
			if err != nil {
				return nil, err
			}
		}
		return parquet.Map(pair[0], pair[1]), nil
	case *arrow.StructType:
		g := &group{}
		for k, child := range t.Fields() {
			node, err := l.add(column, child, append(path, child.Name), depth, func(a arrow.Array) arrow.Array { return a.(*array.Struct).Field(k) }, within)
			if err != nil {
				return nil, err
			}
			g.add(child.Name, node)
		}
		return g, nil
	}
	node, values, err := scalar(f.Type)
	if err != nil {
		return nil, err
	}
	index, present := len(l.leaves), 0
	if f.Nullable {
		node, present = parquet.Optional(node), 1
	}
	switch f.Type.(type) {
	case *arrow.Decimal128Type, *arrow.DictionaryType, *arrow.StringType:
		if f.Name != "event_id" { // which is in order of time, too
			l.unbounded = append(l.unbounded, slices.Clone(path))
		}
	}
	if around == nil { // most columns: there are no lists to walk
		l.leaves = append(l.leaves, leaf{column, func(a arrow.Array) reader {
			read := values(a)
			if !f.Nullable {
				return read
			}
			return func(dst []parquet.Value, from, to int) []parquet.Value {
				begin := len(dst)
				dst = read(dst, from, to)
				for i := from; i < to; i++ {
					v := &dst[begin+i-from]
					if a.IsNull(i) {
						*v = parquet.NullValue().Level(0, 0, index)
					} else {
						*v = v.Level(0, 1, index)
					}
				}
				return dst
			}
		}})
		return node, nil
	}
	emit := within(func(a arrow.Array) emitter {
		read := values(a)
		return func(dst []parquet.Value, i, rep, def int) []parquet.Value {
			if i < 0 || present == 1 && a.IsNull(i) {
				return append(dst, parquet.NullValue().Level(rep, def, index))
			}
			dst = read(dst, i, i+1)
			last := &dst[len(dst)-1]
			*last = last.Level(rep, def+present, index)
			return dst
		}
	})
	l.leaves = append(l.leaves, leaf{column, func(a arrow.Array) reader {
		each := emit(a)
		return func(dst []parquet.Value, from, to int) []parquet.Value {
			for i := from; i < to; i++ {
				dst = each(dst, i, 0, 0)
			}
			return dst
		}
	}})
	return node, nil
}

// repeated emits the elements of a list: the first at the list's own repetition level, the others at depth. A list without
// elements is one value that is not there.
func repeated(list array.ListLike, depth int, element emitter) emitter {
	return func(dst []parquet.Value, i, rep, def int) []parquet.Value {
		if i < 0 {
			return element(dst, i, rep, def)
		}
		start, end := list.ValueOffsets(i)
		if start == end {
			return element(dst, -1, rep, def)
		}
		for j := start; j < end; j++ {
			dst = element(dst, int(j), rep, def+1)
			rep = depth
		}
		return dst
	}
}

// scalar is the node of a type without parts, and what reads values out of its arrays.
func scalar(t arrow.DataType) (parquet.Node, func(arrow.Array) reader, error) {
	switch t := t.(type) {
	case *arrow.StringType:
		return parquet.String(), func(a arrow.Array) reader { return texts(a.(*array.String)) }, nil
	case *arrow.DictionaryType:
		if t.ValueType.ID() == arrow.STRING && t.IndexType.ID() == arrow.INT32 {
			return parquet.Encoded(parquet.String(), &parquet.RLEDictionary), func(a arrow.Array) reader {
				d := a.(*array.Dictionary)
				values := d.Dictionary().(*array.String)
				known := texts(values)(make([]parquet.Value, 0, values.Len()), 0, values.Len())
				return read(d.Indices().(*array.Int32).Int32Values(), func(i int32) parquet.Value { return known[i] })
			}, nil
		}
	case *arrow.Int32Type:
		return parquet.Int(32), func(a arrow.Array) reader { return read(a.(*array.Int32).Int32Values(), parquet.Int32Value) }, nil
	case *arrow.Int64Type:
		return parquet.Int(64), func(a arrow.Array) reader { return read(a.(*array.Int64).Int64Values(), parquet.Int64Value) }, nil
	case *arrow.BooleanType:
		return parquet.Leaf(parquet.BooleanType), func(a arrow.Array) reader {
			b := a.(*array.Boolean)
			return func(dst []parquet.Value, from, to int) []parquet.Value {
				for i := from; i < to; i++ {
					dst = append(dst, parquet.BooleanValue(b.Value(i)))
				}
				return dst
			}
		}, nil
	case *arrow.Date32Type:
		return parquet.Date(), func(a arrow.Array) reader {
			return read(a.(*array.Date32).Date32Values(), func(d arrow.Date32) parquet.Value { return parquet.Int32Value(int32(d)) })
		}, nil
	case *arrow.TimestampType:
		if t.Unit == arrow.Microsecond && t.TimeZone == "UTC" {
			return parquet.Timestamp(parquet.Microsecond), func(a arrow.Array) reader {
				return read(a.(*array.Timestamp).TimestampValues(), func(t arrow.Timestamp) parquet.Value { return parquet.Int64Value(int64(t)) })
			}, nil
		}
	case *arrow.Decimal128Type:
		return parquet.Decimal(int(t.Scale), int(t.Precision), parquet.FixedLenByteArrayType(16)), func(a arrow.Array) reader {
			values := a.(*array.Decimal128).Values()
			return func(dst []parquet.Value, from, to int) []parquet.Value {
				bytes := make([]byte, 16*(to-from))
				for _, v := range values[from:to] {
					binary.BigEndian.PutUint64(bytes, uint64(v.HighBits()))
					binary.BigEndian.PutUint64(bytes[8:], v.LowBits())
					dst = append(dst, parquet.FixedLenByteArrayValue(bytes[:16:16]))
					bytes = bytes[16:]
				}
				return dst
			}
		}, nil
	}
	return nil, nil, fmt.Errorf("no Parquet type for %s", t)
}

func read[T any](values []T, value func(T) parquet.Value) reader {
	return func(dst []parquet.Value, from, to int) []parquet.Value {
		for _, v := range values[from:to] {
			dst = append(dst, value(v))
		}
		return dst
	}
}

func texts(a *array.String) reader {
	bytes, offsets := a.ValueBytes(), a.ValueOffsets()
	return func(dst []parquet.Value, from, to int) []parquet.Value {
		for i := from; i < to; i++ {
			dst = append(dst, parquet.ByteArrayValue(bytes[offsets[i]-offsets[0]:offsets[i+1]-offsets[0]]))
		}
		return dst
	}
}

// describe names a column's type in a manifest.
func describe(n parquet.Node) string {
	name := ""
	switch {
	case n.Leaf():
		name = n.Type().String()
	case n.Type().String() == "LIST":
		name = "LIST<" + describe(n.Fields()[0].Fields()[0]) + ">"
	case n.Type().String() == "MAP":
		pair := n.Fields()[0].Fields()
		name = "MAP<" + describe(pair[0]) + ", " + describe(pair[1]) + ">"
	default:
		for i, f := range n.Fields() {
			if i > 0 {
				name += ", "
			}
			name += f.Name() + " " + describe(f)
		}
		name = "GROUP<" + name + ">"
	}
	if n.Optional() {
		name += " NULL"
	}
	return name
}

// group is a parquet.Group that keeps its fields in order.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func (g *group) add(name string, n parquet.Node) {
	if g.Group == nil {
		g.Group = parquet.Group{}
	}
	g.Group[name] = n
	g.fields = append(g.fields, field{n, name})
}

func (g *group) Fields() []parquet.Field { return g.fields }

type field struct {
	parquet.Node
	name string
}

func (f field) Name() string { return f.name }

func (f field) Value(base reflect.Value) reflect.Value { return base.MapIndex(reflect.ValueOf(f.name)) }
