package retention

import (
	"encoding/binary"
	"fmt"
	"reflect"

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

// leaf is one column of a Parquet file. emit binds it to an array of the top-level column that it belongs to.
type leaf struct {
	column int // top-level column
	emit   func(arrow.Array) emitter
}

// layout is the Parquet side of an Arrow schema.
type layout struct {
	schema  *parquet.Schema
	columns []Column
	leaves  []leaf
	decimal [][]string // paths of the columns that are written without statistics
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

// nesting turns an array into an emitter of its elements, given that of what they consist of.
type nesting func(a arrow.Array, inner func(arrow.Array) emitter) emitter

// add makes the node of a field and its leaves. of picks the field's array out of the one that around hands on.
func (l *layout) add(column int, f arrow.Field, path []string, depth int, of func(arrow.Array) arrow.Array, around func(func(arrow.Array) emitter) func(arrow.Array) emitter) (parquet.Node, error) {
	if around == nil {
		around = func(inner func(arrow.Array) emitter) func(arrow.Array) emitter { return inner }
	}
	within := func(inner func(arrow.Array) emitter) func(arrow.Array) emitter {
		return around(func(a arrow.Array) emitter { return inner(of(a)) })
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
	inner := func(a arrow.Array) emitter {
		value := values(a)
		return func(dst []parquet.Value, i, rep, def int) []parquet.Value {
			if i < 0 || present == 1 && a.IsNull(i) {
				return append(dst, parquet.NullValue().Level(rep, def, index))
			}
			return append(dst, value(i).Level(rep, def+present, index))
		}
	}
	if _, ok := f.Type.(*arrow.Decimal128Type); ok {
		l.decimal = append(l.decimal, append([]string(nil), path...))
	}
	l.leaves = append(l.leaves, leaf{column, within(inner)})
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
func scalar(t arrow.DataType) (parquet.Node, func(arrow.Array) func(int) parquet.Value, error) {
	switch t := t.(type) {
	case *arrow.StringType:
		return parquet.String(), func(a arrow.Array) func(int) parquet.Value { return text(a.(*array.String)) }, nil
	case *arrow.DictionaryType:
		if t.ValueType.ID() == arrow.STRING {
			return parquet.Encoded(parquet.String(), &parquet.RLEDictionary), func(a arrow.Array) func(int) parquet.Value {
				d := a.(*array.Dictionary)
				value := text(d.Dictionary().(*array.String))
				return func(i int) parquet.Value { return value(d.GetValueIndex(i)) }
			}, nil
		}
	case *arrow.Int32Type:
		return parquet.Int(32), func(a arrow.Array) func(int) parquet.Value {
			values := a.(*array.Int32).Int32Values()
			return func(i int) parquet.Value { return parquet.Int32Value(values[i]) }
		}, nil
	case *arrow.Int64Type:
		return parquet.Int(64), func(a arrow.Array) func(int) parquet.Value {
			values := a.(*array.Int64).Int64Values()
			return func(i int) parquet.Value { return parquet.Int64Value(values[i]) }
		}, nil
	case *arrow.BooleanType:
		return parquet.Leaf(parquet.BooleanType), func(a arrow.Array) func(int) parquet.Value {
			b := a.(*array.Boolean)
			return func(i int) parquet.Value { return parquet.BooleanValue(b.Value(i)) }
		}, nil
	case *arrow.Date32Type:
		return parquet.Date(), func(a arrow.Array) func(int) parquet.Value {
			values := a.(*array.Date32).Date32Values()
			return func(i int) parquet.Value { return parquet.Int32Value(int32(values[i])) }
		}, nil
	case *arrow.TimestampType:
		if t.Unit == arrow.Microsecond && t.TimeZone == "UTC" {
			return parquet.Timestamp(parquet.Microsecond), func(a arrow.Array) func(int) parquet.Value {
				values := a.(*array.Timestamp).TimestampValues()
				return func(i int) parquet.Value { return parquet.Int64Value(int64(values[i])) }
			}, nil
		}
	case *arrow.Decimal128Type:
		return parquet.Decimal(int(t.Scale), int(t.Precision), parquet.FixedLenByteArrayType(16)), func(a arrow.Array) func(int) parquet.Value {
			values := a.(*array.Decimal128).Values()
			bytes := make([]byte, 16*len(values))
			return func(i int) parquet.Value {
				b := bytes[16*i : 16*i+16]
				binary.BigEndian.PutUint64(b, uint64(values[i].HighBits()))
				binary.BigEndian.PutUint64(b[8:], values[i].LowBits())
				return parquet.FixedLenByteArrayValue(b)
			}
		}, nil
	}
	return nil, nil, fmt.Errorf("no Parquet type for %s", t)
}

func text(a *array.String) func(int) parquet.Value {
	bytes, offsets := a.ValueBytes(), a.ValueOffsets()
	if len(offsets) == 0 {
		return func(int) parquet.Value { return parquet.ByteArrayValue(nil) }
	}
	first := offsets[0]
	return func(i int) parquet.Value { return parquet.ByteArrayValue(bytes[offsets[i]-first : offsets[i+1]-first]) }
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
