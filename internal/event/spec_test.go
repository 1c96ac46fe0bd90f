package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// specification is what the tables of SPEC.md say.
type specification struct {
	types   map[string]string            // type to shape of its data
	members map[string]map[string]string // shape, such as "request.attempts[]", to member to "always" or "if known"
	order   map[string][]string          // shape to members in the order of the table
}

func readSpec(t *testing.T) specification {
	t.Helper()
	text, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	s := specification{map[string]string{}, map[string]map[string]string{}, map[string][]string{}}
	shape := ""
	row := regexp.MustCompile("^\\| `([a-z0-9_.]+)` \\| (\\w+) \\| (always|if known)?")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			shape = strings.TrimSpace(name)
			s.members[shape] = map[string]string{}
		}
		m := row.FindStringSubmatch(line)
		switch {
		case m == nil:
		case shape == "":
			s.types[m[1]] = m[2]
		default:
			s.members[shape][m[1]] = m[3]
			s.order[shape] = append(s.order[shape], m[1])
		}
	}
	// The dimensions share one table.
	for _, name := range DimensionNames {
		s.members["request.attribution."+name] = s.members["request.attribution.team"]
		s.order["request.attribution."+name] = s.order["request.attribution.team"]
	}
	return s
}

// samples are events that together have every member.
func samples() []*Event {
	return []*Event{
		full(),
		other(WriterClosed, func(e *Event) {
			e.Lifecycle = &Lifecycle{Instance: "proxy-1", Reason: "recovered", By: "proxy-1.77aa01de", Version: "0.1.0", Kind: "live"}
		}),
		other(GovernanceLoaded, func(e *Event) {
			e.Governance = &Governance{Digest: "d", Commit: "c", Changed: []string{"prices.yaml"}}
		}),
		other(AuditRead, func(e *Event) {
			e.Audit = &Audit{Actor: "a", Action: "b", Object: "c", Reason: "d", Outcome: "done"}
		}),
	}
}

// walk calls f for every object of an event with the name of its shape.
func walk(shape string, value any, f func(shape string, object map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		f(shape, v)
		for name, value := range v {
			walk(strings.TrimPrefix(shape+"."+name, "."), value, f)
		}
	case []any:
		for _, element := range v {
			walk(shape+"[]", element, f)
		}
	}
}

// shapes calls f for every object of the events, with the names of SPEC.md.
func shapes(t *testing.T, f func(raw []byte, shape string, object map[string]any)) {
	t.Helper()
	spec := readSpec(t)
	for _, e := range samples() {
		raw := canonical(t, e)
		var envelope map[string]any
		if err := json.Unmarshal(raw, &envelope); err != nil {
			t.Fatal(err)
		}
		data := envelope["data"]
		delete(envelope, "data")
		envelope["data"] = "below"
		f(raw, "event", envelope)
		walk(spec.types[string(e.Type)], data, func(shape string, object map[string]any) { f(raw, shape, object) })
	}
}

// Every member that the encoder writes is in SPEC.md, and the other way round.
func TestSpecHasTheMembersOfTheEncoder(t *testing.T) {
	spec := readSpec(t)
	written := map[string]map[string]bool{}
	shapes(t, func(_ []byte, shape string, object map[string]any) {
		if written[shape] == nil {
			written[shape] = map[string]bool{}
		}
		for name := range object {
			written[shape][name] = true
		}
	})
	for shape, members := range spec.members {
		for name := range members {
			if !written[shape][name] && !(shape == "event" && name == "subject") {
				t.Errorf("SPEC.md has %s of %s, the encoder does not write it", name, shape)
			}
		}
	}
	for shape, members := range written {
		for name := range members {
			if spec.members[shape][name] == "" {
				t.Errorf("the encoder writes %s of %s, SPEC.md does not have it", name, shape)
			}
		}
	}
}

// The decoder reads every member of SPEC.md: without an "always" one it
// refuses the event and names the member, without an "if known" one it decodes
// another event.
func TestSpecHasTheMembersOfTheDecoder(t *testing.T) {
	spec := readSpec(t)
	seen := map[string]bool{}
	shapes(t, func(raw []byte, shape string, object map[string]any) {
		whole, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		for name, there := range spec.members[shape] {
			if _, ok := object[name]; !ok || seen[shape+"."+name] {
				continue
			}
			seen[shape+"."+name] = true
			// Spoil the name where it stands in this shape: the name occurs
			// elsewhere too, so find the place by position in a second walk.
			spoilt := spoil(t, raw, shape, name)
			e, err := Decode(spoilt)
			switch {
			case there == "always":
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name+":") {
					t.Errorf("without %s of %s: %v", name, shape, err)
				}
			case shape == "event" && name == "subject": // required by the type of this sample
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("adjusted without subject: %v", err)
				}
			case err != nil:
				t.Errorf("without %s of %s: %v", name, shape, err)
			case reflect.DeepEqual(e, whole):
				t.Errorf("the decoder does not read %s of %s", name, shape)
			}
		}
	})
	if len(seen) < 80 {
		t.Errorf("only %d members were tried", len(seen))
	}
}

// spoil renames a member of the first object of a shape.
func spoil(t *testing.T, raw []byte, shape, name string) []byte {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	type level struct {
		shape string
		list  bool
		key   string
		isKey bool
	}
	spec := readSpec(t)
	var head struct{ Type string }
	if err := json.Unmarshal(raw, &head); err != nil {
		t.Fatal(err)
	}
	var stack []level
	child := func() string {
		if len(stack) == 0 {
			return "event"
		}
		top := stack[len(stack)-1]
		switch {
		case top.list:
			return top.shape
		case top.shape == "event" && top.key == "data":
			return spec.types[head.Type]
		}
		return top.shape + "." + top.key
	}
	done := func() {
		if n := len(stack); n > 0 && !stack[n-1].list {
			stack[n-1].isKey = true
		}
	}
	for {
		token, err := dec.Token()
		if err != nil {
			t.Fatalf("%s of %s not found: %v", name, shape, err)
		}
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{':
				stack = append(stack, level{shape: child(), isKey: true})
			case '[':
				stack = append(stack, level{shape: child() + "[]", list: true})
			default:
				stack = stack[:len(stack)-1]
				done()
			}
			continue
		case string:
			if n := len(stack) - 1; n >= 0 && !stack[n].list && stack[n].isKey {
				if stack[n].shape == shape && v == name {
					end := int(dec.InputOffset()) - 1
					out := bytes.Clone(raw)
					copy(out[end-len(name):end], bytes.Repeat([]byte("z"), len(name)))
					return out
				}
				stack[n].key, stack[n].isKey = v, false
				continue
			}
		}
		done()
	}
}

// The encoder writes members in the order of the tables.
func TestSpecHasTheOrderOfTheEncoder(t *testing.T) {
	spec := readSpec(t)
	for _, e := range samples() {
		raw := canonical(t, e)
		at := 0
		for _, name := range spec.order["event"] {
			i := bytes.Index(raw, []byte(`"`+name+`":`))
			if i < 0 && name == "subject" {
				continue
			}
			if i < at {
				t.Errorf("%s: %s is at byte %d, after it comes a member at %d", e.Type, name, i, at)
			}
			at = i
		}
	}
	raw := canonical(t, full())
	for shape, order := range spec.order {
		if !strings.HasPrefix(shape, "request.") {
			continue
		}
		// The members of one object, in their order, found in the bytes from
		// the first of them on.
		parts := strings.Split(strings.ReplaceAll(shape, "[]", ""), ".")
		at := 0
		for _, part := range parts {
			at += bytes.Index(raw[at:], []byte(`"`+part+`":`))
		}
		for _, name := range order {
			i := bytes.Index(raw[at:], []byte(`"`+name+`":`))
			if i < 0 {
				t.Errorf("%s of %s does not come in the order of SPEC.md", name, shape)
				break
			}
			at += i
		}
	}
}

// The types of SPEC.md are those of the code, and each has a vector.
func TestSpecHasTheTypes(t *testing.T) {
	spec := slices.Sorted(maps.Keys(readSpec(t).types))
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	var code []string
	for _, m := range regexp.MustCompile(`(?m)^\t\w+\s+Type = "([a-z.]+)"`).FindAllStringSubmatch(string(source), -1) {
		code = append(code, m[1])
	}
	shown := map[string]bool{}
	for _, v := range readVectors(t) {
		if e, err := Decode(v.raw); err == nil {
			shown[string(e.Type)] = true
		}
	}
	slices.Sort(code)
	if !slices.Equal(spec, code) {
		t.Errorf("SPEC.md has %q\nthe code has %q", spec, code)
	}
	if vectors := slices.Sorted(maps.Keys(shown)); !slices.Equal(spec, vectors) {
		t.Errorf("SPEC.md has %q\nvectors show %q", spec, vectors)
	}
}

// The schema has the members of SPEC.md, required where they are always there.
func TestSchemaHasTheMembersOfSpec(t *testing.T) {
	text, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Required   []string
		Properties map[string]any
	}
	var schema struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	schema.Defs["event"] = schema.object
	for shape, members := range readSpec(t).members {
		name := strings.TrimSuffix(shape[strings.LastIndex(shape, ".")+1:], "[]")
		switch {
		case shape == "request.request":
			name = "call"
		case strings.HasPrefix(shape, "request.attribution."):
			name = "dimension"
		}
		var always []string
		for member, there := range members {
			if there == "always" {
				always = append(always, member)
			}
		}
		slices.Sort(always)
		required := slices.Sorted(slices.Values(schema.Defs[name].Required))
		if !slices.Equal(always, required) {
			t.Errorf("%s: SPEC.md always has %q, the schema requires %q", shape, always, required)
		}
		if got, want := slices.Sorted(maps.Keys(schema.Defs[name].Properties)), slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
			t.Errorf("%s: SPEC.md has %q, the schema %q", shape, want, got)
		}
	}
}
