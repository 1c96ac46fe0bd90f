package main

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The architecture as data. It is a statement of policy: do not change it to
// make a build pass.

const module = "github.com/ledgerline/ledgerline"

// mayImport is which of our packages a package's code may import; tests may
// add the engines and the simulated provider. A trailing /... takes the packages below.
var mayImport = map[string][]string{
	"internal/event":                 {},
	"internal/money":                 {},
	"internal/budget":                {"internal/money"},
	"internal/usage":                 {},
	"sql":                            {},
	"deploy/example":                 {},
	"internal/simulate":              {},
	"internal/kafka":                 {},
	"internal/embedded":              {},
	"internal/embedded/embeddedtest": {"internal/embedded"},
	"internal/embedded/engined":      {"internal/embedded"},
	"internal/spool":                 {"internal/event"},
	"internal/governance":            {"internal/money"},
	"internal/clickhouse":            {"sql"},
	"proxy/wire":                     {"internal/event", "internal/usage"},
	"proxy":                          {"proxy/wire", "internal/budget", "internal/event", "internal/usage", "internal/money", "internal/spool", "internal/governance"},
	"ingest":                         {"sql", "internal/..."},
	"lineage":                        {"sql", "internal/..."},
	"aggregate":                      {"sql", "internal/..."},
	"aggregate/ledgertest":           {"aggregate", "internal/..."},
	"anomaly":                        {"sql", "internal/..."},
	"retention":                      {"sql", "internal/..."},
	"api":                            {"sql", "aggregate", "anomaly", "ingest", "lineage", "retention", "internal/..."},
	"cmd/ledgerline":                 {"..."},
}

// homeOf is the one place of each dependency; a package's tests may read metrics.
var homeOf = map[string][]string{
	"github.com/segmentio/kafka-go":         {"internal/kafka"},
	"github.com/ClickHouse/":                {"internal/clickhouse"},
	"database/sql":                          {"internal/clickhouse"}, // only for the sentinel that its driver returns
	"github.com/robfig/cron":                {"cmd/ledgerline"},
	"github.com/labstack/echo":              {"api"},
	"github.com/valyala/fasthttp":           {"proxy"},
	"github.com/tidwall/":                   {"proxy", "proxy/wire"},
	"github.com/twmb/franz-go":              {"internal/embedded"},
	"github.com/ebitengine/purego":          {"internal/embedded"},
	"github.com/prometheus/client_golang":   {"proxy", "ingest", "aggregate", "anomaly", "api", "internal/spool", "retention", "cmd/ledgerline"},
	"github.com/spf13/cobra":                {"cmd/ledgerline"},
	"github.com/schollz/progressbar":        {"cmd/ledgerline"},
	"go.yaml.in/yaml":                       {"internal/governance"},
	"github.com/santhosh-tekuri/jsonschema": {"internal/event", "internal/governance", "api"}, // tests
	"golang.org/x/sync":                     {"cmd/ledgerline", "ingest"},
	"github.com/apache/arrow/go":            {"api", "retention"},
	"github.com/parquet-go/parquet-go":      {"retention"},
	"github.com/minio/minio-go":             {"retention"},
	"github.com/cespare/xxhash":             {"retention"},
	"golang.org/x/mod/sumdb":                {"internal/tlog"},
}

var testMayAdd = []string{"aggregate/ledgertest", "internal/money", "internal/event", "internal/embedded", "internal/embedded/embeddedtest", "internal/simulate", "internal/kafka", "deploy/example", "sql"}

// topLevel is everything that may stand in the root of the repository.
var topLevel = strings.Fields(`cmd ingest proxy lineage aggregate anomaly retention api sql deploy internal
	go.mod go.sum README.md LICENSE CHANGELOG.md .ci .git .gitignore .gitattributes .dockerignore`)

func TestHouse(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s stands at the top level; the house has no room for it", e.Name())
		}
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "testdata" || strings.HasPrefix(name, ".") && path != root {
			return filepath.SkipDir
		}
		pkg, err := build.ImportDir(path, 0)
		if _, none := err.(*build.NoGoError); none {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		name := filepath.ToSlash(rel)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("%s: a package that the house does not know", name)
			return nil
		}
		check(t, name, pkg.Imports, allowed)
		check(t, name+" (tests)", append(pkg.TestImports, pkg.XTestImports...), append(append(slices.Clone(allowed), testMayAdd...), name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, importer string, imports, allowed []string) {
	name, _, testing := strings.Cut(importer, " ")
	for _, path := range imports {
		if ours, ok := strings.CutPrefix(path, module+"/"); ok {
			if !slices.ContainsFunc(allowed, func(a string) bool {
				prefix, tree := strings.CutSuffix(a, "...")
				return a == ours || tree && strings.HasPrefix(ours, prefix)
			}) {
				t.Errorf("%s imports %s: not allowed", importer, ours)
			}
			continue
		}
		homes, longest := []string(nil), ""
		for prefix, h := range homeOf {
			if strings.HasPrefix(path, prefix) && len(prefix) > len(longest) {
				homes, longest = h, prefix
			}
		}
		switch {
		case longest == "" && strings.Contains(strings.Split(path, "/")[0], "."):
			t.Errorf("%s imports %s: a dependency without a home", importer, path)
		case longest != "" && !slices.Contains(homes, name) && !(testing && longest == "github.com/prometheus/client_golang"):
			t.Errorf("%s imports %s: its home is %v", importer, path, homes)
		}
	}
}
