package governance

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse feeds one file of a good folder anything. Nothing panics; what is
// refused is refused with places that exist; what is accepted comes back equal
// from its archive and answers every lookup.
func FuzzParse(f *testing.F) {
	base := folder(f, "testdata/base")
	for _, dir := range []string{"testdata/base", exampleDir} {
		for name, text := range folder(f, dir) {
			f.Add(name, text)
		}
	}
	files, err := filepath.Glob("testdata/mistakes/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(path), text)
	}
	f.Add(routingYAML, []byte("default: {id: default, endpoints: [us]}\nrules: []\n"+strings.Repeat("[", 20000)))
	f.Add(pricesYAML, []byte("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\ngroups: []\n"))
	f.Add(keysYAML, []byte("keys: []\r\n"))
	f.Add(keysYAML, []byte("\ufeffkeys: []\n"))
	f.Add(keysYAML, []byte("%YAML 1.2\n---\nkeys: []\n...\n"))
	f.Add(keysYAML, []byte("? {a: b}\n: c\n? [d]\n: e\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		texts := map[string][]byte{}
		for file, good := range base {
			texts[file] = good
		}
		texts[name] = text
		s, err := build(texts)
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok || s != nil || len(problems) == 0 {
				t.Fatalf("%v, %v", s, err)
			}
			for _, p := range problems {
				if lines := 1 + bytes.Count(texts[p.File], []byte("\n")) + bytes.Count(texts[p.File], []byte("\r")); p.Line < 0 || p.Line > lines || !columnExists(texts[p.File], p) || strings.ContainsAny(p.Message, "\n\x00") {
					t.Fatalf("%q: %d lines", p, lines)
				}
			}
			return
		}
		again, err := Parse(s.Archive)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("the archive does not give the snapshot: %v", err)
		}
		lookUp(s)
	})
}

// columnExists reports whether the place of a problem is in the text, or just
// behind the end of its line. Texts with line breaks other than a newline are
// not looked at.
func columnExists(text []byte, p Problem) bool {
	if p.Column == 0 || p.Line == 0 || bytes.ContainsAny(text, "\r\u0085\u2028\u2029") {
		return p.Column == 0 || p.Line > 0
	}
	line := bytes.Split(text, []byte("\n"))[p.Line-1]
	return p.Column >= 1 && p.Column <= 1+utf8.RuneCount(line)
}

// FuzzArchive feeds Parse any bytes: it refuses them, or they are the archive
// of the snapshot it gives.
func FuzzArchive(f *testing.F) {
	for _, dir := range []string{"testdata/base", exampleDir} {
		f.Add(mustBuild(f, folder(f, dir)).Archive)
	}
	f.Add([]byte(`{"keys.yaml":"keys: []\n"}`))
	f.Add([]byte(`{"keys.yaml":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err == nil && !bytes.Equal(s.Archive, data) {
			t.Fatal("the archive is not what was parsed")
		}
	})
}

func lookUp(s *Snapshot) {
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, u := range append([]*UseCase{nil}, s.UseCases()...) {
		for _, format := range []string{"openai.chat", "anthropic.messages", "passthrough"} {
			for _, model := range []string{"small", "fast", "*", ""} {
				if r, err := s.Route(u, format, model); err == nil && (r.Why == "" || len(r.Why) > 512 || len(r.Endpoints) == 0) {
					panic("a route without a sentence or an endpoint: " + r.Why)
				}
			}
		}
	}
	for _, k := range s.Keys() {
		if _, err := s.Key("ll_"+k.ID+"_x", at); err == nil {
			panic("a key that is one byte long")
		}
	}
	for _, d := range dimensionNames {
		for _, v := range s.Values(d) {
			s.Parent(d, v.ID, at)
			if id, known := s.Canonical(d, v.ID); id != v.ID || !known {
				panic("an id that is not known: " + v.ID)
			}
		}
	}
	for _, b := range s.Budgets() {
		if from, to := b.Bounds(at); from.After(at) || !to.After(at) || s.channels[b.Channel] == nil || len(b.Soft) == 0 {
			panic("a budget without its period, channel or percentages: " + b.ID)
		}
	}
	for key := range s.prices {
		s.Price(PriceKey{Provider: key.provider, Model: key.model, Region: key.region, Tier: key.tier, Class: "input", At: at})
	}
}
