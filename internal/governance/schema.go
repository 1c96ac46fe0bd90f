package governance

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// schema is the part of JSON Schema (draft 2020-12) that the files need.
type schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type"`
	Enum        []string           `json:"enum,omitempty"`
	Format      string             `json:"format,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	MaxLength   int                `json:"maxLength,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Additional  any                `json:"additionalProperties,omitempty"` // false, or the schema of a map's values
}

// shaped is a scalar of which a schema can say more than that it is a string
// of at least one character. It must accept whatever parse does.
type shaped interface{ shape() schema }

// SchemaNames is the files that have a schema, without their ending: keys for
// keys.yaml.
func SchemaNames() []string {
	names := make([]string, len(fileNames))
	for i, name := range fileNames {
		names[i] = strings.TrimSuffix(name, ".yaml")
	}
	return names
}

// Schema is the JSON Schema (draft 2020-12) of one file, named as in
// [SchemaNames] or with its ending. It is made of the struct that the file is
// decoded into, so it accepts all that [Load] accepts and refuses the same
// keys, types, choices and gaps. It cannot say: keys told twice, references
// between entries and files, lengths in bytes (maxLength counts characters).
func Schema(name string) ([]byte, error) {
	name = strings.TrimSuffix(name, ".yaml")
	if !slices.Contains(SchemaNames(), name) {
		return nil, fmt.Errorf("no governance file is named %q; known are %s%s", clip(name), strings.Join(SchemaNames(), ", "), didYouMean(name, SchemaNames()))
	}
	field, ok := reflect.TypeFor[files]().FieldByName(name)
	if !ok {
		return nil, fmt.Errorf("no struct is decoded from %s.yaml", name)
	}
	declared, err := declarations()
	if err != nil {
		return nil, err
	}
	root := declared.schema(field.Type, nil, "")
	maps.Copy(root.Properties, declared.schema(reflect.TypeFor[header](), nil, "").Properties)
	root.Dialect, root.ID, root.Title = "https://json-schema.org/draft/2020-12/schema", "urn:ledgerline:governance:1:"+name, name+".yaml"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("encode the schema of %s.yaml: %w", name, err)
	}
	return b.Bytes(), nil
}

// sources is this package: the comments on the structs are the documentation
// of the files, for readers of the code and of the schema alike. A pattern
// cannot leave out the tests.
//
//go:embed *.go
var sources embed.FS

// declaration is a struct as the source has it.
type declaration struct {
	doc    string
	fields *ast.StructType
}

// structs is the structs of this package by name.
type structs map[string]declaration

func declarations() (structs, error) {
	entries, err := sources.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("read the sources of the schema: %w", err)
	}
	all := structs{}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		text, err := sources.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read the sources of the schema: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read the sources of the schema: %w", err)
		}
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok {
					if fields, ok := t.Type.(*ast.StructType); ok {
						all[t.Name.Name] = declaration{group.Doc.Text() + t.Doc.Text(), fields}
					}
				}
			}
		}
	}
	return all, nil
}

// schema is the schema of values that the decoder reads into t. source is how
// the code writes t, which leads to the comments in structs without a name.
func (all structs) schema(t reflect.Type, source ast.Expr, oneof string) *schema {
	v := reflect.New(t)
	if p, ok := v.Interface().(placed); ok {
		return all.schema(reflect.TypeOf(p.place(0)).Elem(), source.(*ast.IndexExpr).Index, oneof)
	}
	if _, ok := v.Interface().(scalar); ok {
		s := schema{MinLength: 1}
		if shaped, ok := v.Interface().(shaped); ok {
			s = shaped.shape()
		}
		s.Type = "string"
		if oneof != "" {
			s = schema{Type: "string", Enum: strings.Split(oneof, "|")}
		}
		return &s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return all.schema(t.Elem(), source.(*ast.StarExpr).X, oneof)
	case reflect.Slice:
		return &schema{Type: "array", Items: all.schema(t.Elem(), source.(*ast.ArrayType).Elt, oneof)}
	case reflect.Map:
		return &schema{Type: "object", Additional: all.schema(t.Elem(), source.(*ast.MapType).Value, "")}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int64:
		return &schema{Type: "integer", Minimum: new(int)}
	case reflect.Struct:
		return all.object(t, source)
	}
	panic("governance: no rule to describe " + t.String())
}

func (all structs) object(t reflect.Type, source ast.Expr) *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}, Additional: false}
	fields, _ := source.(*ast.StructType)
	if t.Name() != "" {
		declared := all[t.Name()]
		fields, s.Description = declared.fields, sentence(strings.TrimPrefix(declared.doc, t.Name()+" is "))
	}
	for _, field := range fields.Fields.List {
		for _, name := range field.Names {
			f, _ := t.FieldByName(name.Name)
			key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			property := all.schema(f.Type, field.Type, f.Tag.Get("oneof"))
			if text := sentence(field.Doc.Text() + field.Comment.Text()); text != "" {
				property.Description = text
			}
			s.Properties[key] = property
			if option == "required" {
				s.Required = append(s.Required, key)
			}
		}
	}
	return s
}

// sentence is a comment as a line of text.
func sentence(comment string) string { return strings.Join(strings.Fields(comment), " ") }
