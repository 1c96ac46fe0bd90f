package governance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
// allowed values of a text. Fields of type pos and at receive the line.
type decoder struct {
	file     string
	problems Problems
}

// pos is embedded in structs that need the line they start at.
type pos struct{ Line int }

// at is a value with its line.
type at[T any] struct {
	V    T
	Line int
}

func (a *at[T]) place(line int) any {
	a.Line = line
	return &a.V
}

type placed interface{ place(line int) any }

// scalar is a value that is read from a YAML string.
type scalar interface{ parse(s string) error }

// maxProblems ends the decoding of a file that is wrong throughout.
const maxProblems = 200

// decode reads text into the struct that into points to. read is false when
// the text is not YAML at all, so that nothing in it can be referred to.
func decode(file string, text []byte, into any) (problems Problems, read bool) {
	d := &decoder{file: file}
	if i := invalidUTF8(text); i >= 0 {
		d.fail(1+bytes.Count(text[:i], []byte("\n")), "not valid UTF-8")
		return d.problems, false
	}
	lines := 1 + bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))
	reader := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := reader.Decode(&document); {
	case errors.Is(err, io.EOF):
		d.fail(1, "the file is empty")
		return d.problems, false
	case err != nil:
		d.syntax(err, lines)
		return d.problems, false
	}
	if err := reader.Decode(&second); err == nil {
		d.fail(second.Line, "a second document; a file holds one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err, lines)
		return d.problems, false
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		d.fail(1, "want a mapping of keys to values")
		return d.problems, false
	}
	d.value(document.Content[0], reflect.ValueOf(into).Elem(), "", "")
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
	d.fail(min(line, lines), "not YAML: %s", message)
}

func (d *decoder) fail(line int, format string, args ...any) {
	if len(d.problems) == maxProblems {
		format, args = "too many mistakes; the rest of the file was not looked at", nil
	}
	if len(d.problems) <= maxProblems {
		d.problems = append(d.problems, Problem{d.file, line, fmt.Sprintf(format, args...)})
	}
}

// value decodes n into v. key names the value in messages, oneof its choices.
func (d *decoder) value(n *yaml.Node, v reflect.Value, key, oneof string) {
	if len(d.problems) > maxProblems || !d.plain(n) {
		return
	}
	if p, ok := v.Addr().Interface().(placed); ok {
		d.value(n, reflect.ValueOf(p.place(n.Line)).Elem(), key, oneof)
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
			d.fail(n.Line, "%s: want true or false, got %s", key, describe(n))
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || i < 0 {
			d.fail(n.Line, "%s: want a whole number of at least 0, got %s", key, describe(n))
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
		d.fail(n.Line, "aliases are not allowed; write the value out")
	case n.Anchor != "":
		d.fail(n.Line, "anchors are not allowed; write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n.Line, "tags such as %s are not allowed", n.Tag)
	default:
		return true
	}
	return false
}

func (d *decoder) want(n *yaml.Node, kind yaml.Kind, key, what string) bool {
	if n.Kind == kind {
		return true
	}
	d.fail(n.Line, "%s: want %s, got %s", key, what, describe(n))
	return false
}

func (d *decoder) scalar(n *yaml.Node, s scalar, key, oneof string) {
	_, isDate := s.(interface{ timestamp() }) // YAML takes an unquoted date for one
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag != "!!str" && !(isDate && tag == "!!timestamp") {
		hint := ""
		if tag == "!!int" || tag == "!!float" || tag == "!!bool" || tag == "!!timestamp" {
			hint = "; quote it if it is meant as text"
		}
		d.fail(n.Line, "%s: want a string, got %s%s", key, describe(n), hint)
		return
	}
	if oneof != "" && !slices.Contains(strings.Split(oneof, "|"), n.Value) {
		d.fail(n.Line, "%s: %q is not one of %s", key, n.Value, strings.ReplaceAll(oneof, "|", ", "))
		return
	}
	if err := s.parse(n.Value); err != nil {
		d.fail(n.Line, "%s: %v", key, err)
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
			d.fail(key.Line, "a key must be a string, got %s", describe(key))
			continue
		}
		if line, repeated := seen[key.Value]; repeated {
			d.fail(key.Line, "key %q is already set in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(key.Value, key, child)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value) {
	type field struct {
		name  string
		value reflect.Value
		oneof string
	}
	var fields []field
	required := map[string]bool{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			v.Field(i).FieldByName("Line").SetInt(int64(n.Line))
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		fields = append(fields, field{name, v.Field(i), f.Tag.Get("oneof")})
		if option == "required" {
			required[name] = true
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
		d.fail(key.Line, "unknown key %q; known here: %s", name, strings.Join(known, ", "))
	})
	for _, f := range fields {
		if required[f.name] {
			d.fail(n.Line, "%s is missing", f.name)
		}
	}
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
