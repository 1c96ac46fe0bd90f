package governance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// compiled is every schema by file name.
func compiled(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	all := map[string]*jsonschema.Schema{}
	for _, name := range SchemaNames() {
		text, err := Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("schema.json", document); err != nil {
			t.Fatal(err)
		}
		if all[name+".yaml"], err = c.Compile("schema.json"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return all
}

// asJSON is a YAML node as an editor sees it. Dates are strings, as in YAML 1.2.
func asJSON(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return asJSON(n.Content[0])
	case yaml.SequenceNode:
		list := []any{}
		for _, child := range n.Content {
			list = append(list, asJSON(child))
		}
		return list
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			object[n.Content[i].Value] = asJSON(n.Content[i+1])
		}
		return object
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		return json.Number(n.Value)
	}
	return n.Value
}

// verdicts is what the decoder and the schema say about a text.
func verdicts(t testing.TB, schemas map[string]*jsonschema.Schema, name string, text []byte) (decoded Problems, refused error) {
	t.Helper()
	var f files
	into := reflect.ValueOf(&f).Elem().FieldByName(strings.TrimSuffix(name, ".yaml"))
	decoded, _ = decode(name, text, reflect.New(into.Type()).Interface())
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil || len(document.Content) == 0 {
		return decoded, fmt.Errorf("not YAML: %w", err)
	}
	return decoded, schemas[name].Validate(asJSON(&document))
}

func TestSchemaAcceptsTheFiles(t *testing.T) {
	schemas := compiled(t)
	for _, dir := range []string{exampleDir, "testdata/base", "../../proxy/testdata/governance", "../../ingest/testdata/governance"} {
		for name, text := range folder(t, dir) {
			if decoded, refused := verdicts(t, schemas, name, text); len(decoded) > 0 || refused != nil {
				t.Errorf("%s/%s: decoder %v, schema %v", dir, name, decoded, refused)
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	schemas := compiled(t)
	for _, tt := range []struct{ name, file, old, new string }{
		{"an unknown key", "registry.yaml", "owner: ", "ownr: "},
		{"an unknown key inside", "keys.yaml", "use_cases: ", "use_case: "},
		{"a missing key", "prices.yaml", "provider: openai", "# provider: openai"},
		{"a number for a text", "estate.yaml", `estimate_monthly_usd: "1200.50"`, "estimate_monthly_usd: 1200.50"},
		{"a text for a list", "routing.yaml", "endpoints: [", "endpoints: eu # ["},
		{"a list for a mapping", "dimensions.yaml", "  team:", "  team: []\n  x:"},
		{"nothing for a list", "routing.yaml", "rules:", "rules:\nnothing:"},
		{"an unknown choice", "estate.yaml", "lineage: required", "lineage: sometimes"},
		{"an id with a space", "keys.yaml", "id: riskdesk", "id: risk desk"},
		{"a date that is none", "prices.yaml", "from: 2026-01-01", "from: 2026-13-01"},
		{"a price with an exponent", "prices.yaml", `input: "9.123456"`, `input: "1e3"`},
		{"a negative amount", "budgets.yaml", `amount_usd: "`, `amount_usd: "-`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := folder(t, "testdata/base")[tt.file]
			if !bytes.Contains(good, []byte(tt.old)) {
				t.Fatalf("%s does not have %q", tt.file, tt.old)
			}
			decoded, refused := verdicts(t, schemas, tt.file, bytes.Replace(good, []byte(tt.old), []byte(tt.new), 1))
			if len(decoded) == 0 || refused == nil {
				t.Errorf("decoder %v, schema %v; want both to refuse it", decoded, refused)
			}
		})
	}
}

// whole is a value of the type with every key that there is.
func whole(t testing.TB, of reflect.Type, oneof string) any {
	v := reflect.New(of)
	if p, ok := v.Interface().(placed); ok {
		return whole(t, reflect.TypeOf(p.place(0)).Elem(), oneof)
	}
	if s, ok := v.Interface().(scalar); ok {
		for _, sample := range []string{strings.Split(oneof, "|")[0], "a", "1", "2026-01-01", "5m", "UTC", "2026-01-01T00:00:00Z", "10.0.0.0/8"} {
			if s.parse(sample) == nil {
				return sample
			}
		}
		t.Fatalf("no sample is a %v", of)
	}
	switch of.Kind() {
	case reflect.Pointer:
		return whole(t, of.Elem(), oneof)
	case reflect.Slice:
		return []any{whole(t, of.Elem(), oneof)}
	case reflect.Map:
		return map[string]any{"a": whole(t, of.Elem(), "")}
	case reflect.Bool:
		return true
	case reflect.Int64:
		return 1
	}
	object := map[string]any{}
	if strings.HasSuffix(of.Name(), "File") {
		object["apiVersion"] = apiVersion
	}
	for _, f := range reflect.VisibleFields(of) {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" {
			object[key] = whole(t, f.Type, f.Tag.Get("oneof"))
		}
	}
	return object
}

// mutate calls f while each value of a document in turn is another one, and
// each mapping has a key less or more.
func mutate(value any, set func(any), path string, f func(path string)) {
	for _, other := range []any{nil, true, 7, -7, 1.5, "", []any{}, []any{[]any{}}, map[string]any{}, map[string]any{"a": []any{}}} {
		set(other)
		f(fmt.Sprintf("%s = %v", path, other))
	}
	set(value)
	switch value := value.(type) {
	case []any:
		mutate(value[0], func(v any) { value[0] = v }, path+"[0]", f)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			child := value[key]
			mutate(child, func(v any) { value[key] = v }, path+"."+key, f)
			delete(value, key)
			f(path + " without " + key)
			value[key+"x"] = child
			f(path + " with " + key + "x")
			delete(value, key+"x")
			value[key] = child
		}
	}
}

// The decoder and the schema agree about every key of every file: left out,
// misspelt, of another type, empty.
func TestSchemaAgrees(t *testing.T) {
	schemas := compiled(t)
	tried := 0
	for name := range schemas {
		field, _ := reflect.TypeFor[files]().FieldByName(strings.TrimSuffix(name, ".yaml"))
		root := whole(t, field.Type, "")
		agree := func(path string) {
			tried++
			text, err := json.Marshal(root) // JSON is YAML
			if err != nil {
				t.Fatal(err)
			}
			decoded, refused := verdicts(t, schemas, name, text)
			if (len(decoded) == 0) != (refused == nil) {
				t.Errorf("%s%s: decoder %v, schema %v", name, path, decoded, refused)
			}
		}
		agree(" whole")
		if decoded, _ := verdicts(t, schemas, name, must(json.Marshal(root))); len(decoded) > 0 {
			t.Errorf("%s: the whole document does not decode: %v", name, decoded)
		}
		mutate(root, func(v any) { root = v }, "", agree)

		// Random sets of keys.
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 300 {
			root = thin(whole(t, field.Type, ""), random)
			agree(fmt.Sprintf(" random %d: %v", i, root))
		}
	}
	if tried < 5000 {
		t.Errorf("only %d documents were tried", tried)
	}
}

// thin leaves out some keys, and misspells one now and then.
func thin(value any, random *rand.Rand) any {
	switch value := value.(type) {
	case []any:
		value[0] = thin(value[0], random)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			child := value[key]
			switch random.IntN(20) {
			case 0:
				delete(value, key)
			case 1:
				delete(value, key)
				value[strings.ToUpper(key)] = child
			default:
				value[key] = thin(child, random)
			}
		}
	}
	return value
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// FuzzSchema feeds both any text: what the decoder accepts, the schema does.
func FuzzSchema(f *testing.F) {
	schemas := compiled(f)
	for _, dir := range []string{"testdata/base", exampleDir} {
		for name, text := range folder(f, dir) {
			f.Add(name, text)
		}
	}
	paths, err := filepath.Glob("testdata/mistakes/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(path), text)
	}
	f.Add("registry.yaml", []byte(`providers: []`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		if schemas[name] == nil {
			return
		}
		if decoded, refused := verdicts(t, schemas, name, text); len(decoded) == 0 && refused != nil {
			t.Errorf("%s: decoded, but the schema says %v\n%s", name, refused, text)
		}
	})
}

// Every key is explained, or its name and type say it.
func TestSchemaDescriptions(t *testing.T) {
	text, err := Schema("keys.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"description": "keys.yaml: the virtual keys, by hash."`,
		`"description": "one virtual key. What it fixes beats what the client says."`,
		`"description": "The use cases it may serve; the first is the one of calls that name none."`,
		`"$schema": "https://json-schema.org/draft/2020-12/schema"`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the schema does not have %s", want)
		}
	}
	if _, err := Schema("key"); err == nil || !strings.Contains(err.Error(), "did you mean keys?") {
		t.Errorf("Schema(key): %v", err)
	}
}

// A pattern accepts what parse does, and here also refuses what it refuses.
func TestShapes(t *testing.T) {
	for _, tt := range []struct {
		scalar interface {
			scalar
			shaped
		}
		good, bad []string
	}{
		{new(id), []string{"a", "0", "a.b_c-d", strings.Repeat("a", 64)}, []string{"", "A", "-a", "a b", "ä", strings.Repeat("a", 65)}},
		{new(model), []string{"*", "meta/llama-3:70b", "Modèle"}, []string{"", "a b", "a\tb"}},
		{new(date), []string{"2026-11-24"}, []string{"", "2026-11", "2026-1-2", "26-11-24", "2026-11-24T00:00:00Z"}},
		{new(readOn), []string{"2026-11-24", "2026-11"}, []string{"", "2026", "2026-11-", "2026-11-24-1"}},
		{new(instant), []string{"2026-12-01T12:00:00Z", "2026-12-01T1:00:00.5Z"}, []string{"", "2026-12-01", "2026-12-01T12:00:00+01:00", "2026-12-01 12:00:00Z"}},
		{new(network), []string{"10.20.0.0/16", "2001:DB8::/32", "::/0"}, []string{"", "10.20.0.0", "10.20.0.0/", "a host/8"}},
		{new(duration), []string{"5s", "1h30m", "+1.5s", ".5s", "1.s", "3µs", "3μs", "7ns"}, []string{"", "5", "s", "-1s", "1 s", "1d", ".s"}},
		{new(perMillion), []string{"0", "0.25", "15", "1.2345670", "1.234567000"}, []string{"", "-1", "-0", "1.", ".5", "1e3", "1.2345678", "+1", "1,5"}},
		{new(dollars), []string{"0", "1200", "0.000000000001", "0.0000000000010"}, []string{"", "-1", "-0", "1.", ".5", "1e3", "0.0000000000001"}},
	} {
		pattern := regexp.MustCompile(tt.scalar.shape().Pattern)
		for _, s := range tt.good {
			if err := tt.scalar.parse(s); err != nil || !pattern.MatchString(s) {
				t.Errorf("%T %q: parse %v, pattern %t; want both to accept it", tt.scalar, s, err, pattern.MatchString(s))
			}
		}
		for _, s := range tt.bad {
			if err := tt.scalar.parse(s); err == nil || pattern.MatchString(s) {
				t.Errorf("%T %q: parse %v, pattern %t; want both to refuse it", tt.scalar, s, err, pattern.MatchString(s))
			}
		}
	}
}
