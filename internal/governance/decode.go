package governance

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// decoder reads one YAML document into a struct and reports every difference:
// unknown, repeated and missing keys, wrong types, values that their type
// refuses. Anchors, aliases, merge keys and explicit tags are not part of the
// governance files, so nothing expands.
//
// Struct tags: `yaml:"name"` or `yaml:"name,required"`; `oneof:"a|b"` lists the
// allowed values of a text. Fields of type pos and at receive their place.
type decoder struct {
	file     string
	problems Problems
}

// mark is a place in a file: its line, with the column in the low bits, both
// from 1. 0 is no place, which is also that of a key that was left out. Rules
// hand marks on to fail and warn and need not know what is in them.
type mark int

const columnBits = 23 // more than MaxFile has bytes

func markOf(n *yaml.Node) mark { return newMark(n.Line, n.Column) }

func newMark(line, column int) mark { return mark(line<<columnBits | column) }

func (m mark) line() int { return int(m >> columnBits) }

// column is counted in characters; 0 when it is not known.
func (m mark) column() int { return int(m & (1<<columnBits - 1)) }

// header is the keys that every file may have beside its own.
type header struct {
	// The version of the language that the file is written in. Left out, it is
	// ledgerline/v1, as files were before they could say it.
	APIVersion version `yaml:"apiVersion"`
}

// pos is embedded in structs that need the place they start at.
type pos struct{ Mark mark }

// at is a value with its place.
type at[T any] struct {
	V    T
	Mark mark
}

func (a *at[T]) place(m mark) any {
	a.Mark = m
	return &a.V
}

type placed interface{ place(m mark) any }

// scalar is a value that is read from a YAML string.
type scalar interface{ parse(s string) error }

// maxProblems ends the decoding of a file that is wrong throughout.
const maxProblems = 200

// decode reads text into the struct that into points to. read is false when
// the text is not YAML at all or in a language that is not known here, so that
// nothing in it can be referred to.
func decode(file string, text []byte, into any) (problems Problems, read bool) {
	d := &decoder{file: file}
	if i := invalidUTF8(text); i >= 0 {
		line := 1 + bytes.Count(text[:i], []byte("\n"))
		column := 1 + utf8.RuneCount(text[1+bytes.LastIndexByte(text[:i], '\n'):i])
		d.fail(newMark(line, column), "not valid UTF-8")
		return d.problems, false
	}
	lines := 1 + bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))
	reader := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := reader.Decode(&document); {
	case errors.Is(err, io.EOF):
		d.fail(newMark(1, 1), "the file is empty")
		return d.problems, false
	case err != nil:
		d.syntax(err, lines)
		return d.problems, false
	}
	if err := reader.Decode(&second); err == nil {
		d.fail(markOf(&second), "a second document; a file holds one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err, lines)
		return d.problems, false
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		d.fail(newMark(1, 1), "want a mapping of keys to values")
		return d.problems, false
	}
	root := document.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 { // first: in another language other rules hold
		if v := root.Content[i+1]; root.Content[i].Value == "apiVersion" && v.Kind == yaml.ScalarNode {
			if err := new(version).parse(v.Value); err != nil {
				d.fail(markOf(v), "apiVersion: %v", err)
				return d.problems, false
			}
		}
	}
	if d.plain(root) {
		d.mapping(root, reflect.ValueOf(new(header)).Elem(), reflect.ValueOf(into).Elem())
	}
	return d.problems, true
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// The library counts lines from 0 in errors of its parser, from 1 in those
	// of its scanner, and puts what it missed at the end behind the last line.
	yamlParser = regexp.MustCompile(`^did not find expected (',' or|key$|'-' indicator|node content|<document start>)`)
)

func (d *decoder) syntax(err error, lines int) {
	line, message := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
			if yamlParser.MatchString(message) {
				line = n + 1
			}
		}
	}
	d.fail(newMark(min(line, lines), 0), "not YAML: %s", message)
}

func (d *decoder) fail(m mark, format string, args ...any) {
	if len(d.problems) == maxProblems {
		format, args = "too many mistakes; the rest of the file was not looked at", nil
	}
	if len(d.problems) <= maxProblems {
		d.problems = append(d.problems, problemAt(d.file, m, format, args...))
	}
}

// value decodes n into v. key names the value in messages, oneof its choices.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key, oneof string) {
	if len(d.problems) > maxProblems || !d.plain(n) {
		return
	}
	if p, ok := v.Addr().Interface().(placed); ok {
		d.value(n, reflect.ValueOf(p.place(markOf(n))).Elem(), key, oneof)
		return
	}
	if s, ok := v.Addr().Interface().(scalar); ok {
		d.scalar(n, s, key, oneof)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), key, oneof)
	case reflect.Struct:
		if d.want(n, yaml.MappingNode, key, "a mapping") {
			d.mapping(n, v)
		}
	case reflect.Map:
		if !d.want(n, yaml.MappingNode, key, "a mapping") {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		d.pairs(n, func(name string, _, child *yaml.Node) {
			element := reflect.New(v.Type().Elem()).Elem()
			d.value(child, element, name, "")
			v.SetMapIndex(reflect.ValueOf(name), element)
		})
	case reflect.Slice:
		if !d.want(n, yaml.SequenceNode, key, "a list") {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, len(n.Content))) // given and empty is not left out
		for _, child := range n.Content {
			element := reflect.New(v.Type().Elem()).Elem()
			d.value(child, element, key, oneof)
			v.Set(reflect.Append(v, element))
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			d.fail(markOf(n), "%s: want true or false, got %s", key, describe(n))
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || i < 0 {
			d.fail(markOf(n), "%s: want a whole number of at least 0, got %s", key, describe(n))
			return
		}
		v.SetInt(i)
	default:
		panic("governance: no rule to decode " + v.Type().String())
	}
}

// plain refuses what the governance files do not use.
func (d *decoder) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(markOf(n), "aliases are not allowed; write the value out")
	case n.Anchor != "":
		d.fail(markOf(n), "anchors are not allowed; write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(markOf(n), "tags such as %s are not allowed", n.Tag)
	default:
		return true
	}
	return false
}

func (d *decoder) want(n *yaml.Node, kind yaml.Kind, key, what string) bool {
	if n.Kind == kind {
		return true
	}
	d.fail(markOf(n), "%s: want %s, got %s", key, what, describe(n))
	return false
}

func (d *decoder) scalar(n *yaml.Node, s scalar, key, oneof string) {
	_, isDate := s.(interface{ timestamp() }) // YAML takes an unquoted date for one
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag != "!!str" && !(isDate && tag == "!!timestamp") {
		hint := ""
		if tag == "!!int" || tag == "!!float" || tag == "!!bool" || tag == "!!timestamp" {
			hint = "; write it in quotes: " + strconv.Quote(clip(n.Value))
		}
		d.fail(markOf(n), "%s: want a string, got %s%s", key, describe(n), hint)
		return
	}
	if oneof != "" && !slices.Contains(strings.Split(oneof, "|"), n.Value) {
		choices := strings.Split(oneof, "|")
		d.fail(markOf(n), "%s: %q is not one of %s%s", key, clip(n.Value), strings.Join(choices, ", "), didYouMean(n.Value, choices))
		return
	}
	if err := s.parse(n.Value); err != nil {
		d.fail(markOf(n), "%s: %v", key, err)
	}
}

// pairs calls f for each key of a mapping that is a string and not repeated.
func (d *decoder) pairs(n *yaml.Node, f func(name string, key, child *yaml.Node)) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		if !d.plain(key) {
			continue
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			d.fail(markOf(key), "a key must be a string, got %s", describe(key))
			continue
		}
		if line, repeated := seen[key.Value]; repeated {
			d.fail(markOf(key), "key %q is already set in line %d; a key stands once in a mapping", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(key.Value, key, child)
	}
}

// mapping decodes n into structs that share its keys.
func (d *decoder) mapping(n *yaml.Node, structs ...reflect.Value) {
	type field struct {
		name  string
		value reflect.Value
		oneof string
	}
	var fields []field
	required := map[string]bool{}
	for _, v := range structs {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Anonymous {
				v.Field(i).FieldByName("Mark").SetInt(int64(markOf(n)))
				continue
			}
			name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			fields = append(fields, field{name, v.Field(i), f.Tag.Get("oneof")})
			if option == "required" {
				required[name] = true
			}
		}
	}
	d.pairs(n, func(name string, key, child *yaml.Node) {
		delete(required, name)
		for _, f := range fields {
			if f.name == name {
				d.value(child, f.value, name, f.oneof)
				return
			}
		}
		known := make([]string, len(fields))
		for i, f := range fields {
			known[i] = f.name
		}
		d.fail(markOf(key), "unknown key %q; known here: %s%s", clip(name), strings.Join(known, ", "), didYouMean(name, known))
	})
	for _, f := range fields {
		if required[f.name] {
			d.fail(markOf(n), "%s is missing: want %s", f.name, wanted(f.value.Type(), f.oneof))
		}
	}
}

// wanted says what a value of the type looks like.
func wanted(t reflect.Type, oneof string) string {
	v := reflect.New(t)
	if p, ok := v.Interface().(placed); ok {
		v = reflect.ValueOf(p.place(0))
	}
	_, text := v.Interface().(scalar)
	switch kind := v.Elem().Kind(); {
	case text && oneof != "":
		return "one of " + strings.ReplaceAll(oneof, "|", ", ")
	case text:
		return "a string"
	case kind == reflect.Slice:
		return "a list"
	case kind == reflect.Bool:
		return "true or false"
	case kind == reflect.Int64:
		return "a whole number"
	}
	return "a mapping"
}

// didYouMean ends a message about an unknown name with the known one that it
// looks like; empty when there is none.
func didYouMean(name string, known []string) string {
	best, nearest := 1+len(name)/4, ""
	if len(name) > 64 {
		return ""
	}
	for _, candidate := range known {
		if len(name)-len(candidate) > best || len(candidate)-len(name) > best {
			continue
		}
		if d := edits(name, candidate); d <= best && (d < best || nearest == "") {
			best, nearest = d, candidate
		}
	}
	if nearest == "" || best >= len(nearest) {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// near is didYouMean for a reference to something of a snapshot. A set of files
// that is wrong throughout gets no more of them: each looks at all that is known.
func near[T any](c *checker, name string, known map[string]T) string {
	if len(c.problems) >= maxProblems {
		return ""
	}
	return didYouMean(name, slices.Sorted(maps.Keys(known)))
}

// edits is how many letters must be put in, left out, replaced or swapped with
// the next one to make b of a; case and the kind of separator do not count.
func edits(a, b string) int {
	plain := strings.NewReplacer("_", "-", ".", "-", " ", "-")
	a, b = plain.Replace(strings.ToLower(a)), plain.Replace(strings.ToLower(b))
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	value := n.Value
	if len(value) > 60 {
		value = strings.ToValidUTF8(value[:60], "") + "…"
	}
	if kind, ok := map[string]string{"!!int": "the number", "!!float": "the number", "!!bool": "the truth value", "!!timestamp": "the date"}[n.ShortTag()]; ok {
		return kind + " " + value
	}
	return strconv.Quote(value)
}
