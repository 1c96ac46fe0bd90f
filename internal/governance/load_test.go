package governance

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write what the mistakes in testdata give into their want")

const exampleDir = "../../deploy/example/governance"

func folder(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	texts, err := readFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func mustBuild(t testing.TB, texts map[string][]byte) *Snapshot {
	t.Helper()
	s, err := build(texts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// changed is the base folder with texts replaced in one file.
func changed(t testing.TB, file string, oldnew ...string) map[string][]byte {
	t.Helper()
	texts := folder(t, "testdata/base")
	for i := 0; i < len(oldnew); i += 2 {
		if strings.Count(string(texts[file]), oldnew[i]) != 1 {
			t.Fatalf("%s does not have %q once", file, oldnew[i])
		}
		texts[file] = []byte(strings.Replace(string(texts[file]), oldnew[i], oldnew[i+1], 1))
	}
	return texts
}

// Each folder of testdata/mistakes replaces files of testdata/base and says in
// want what must be reported: everything, and little that only follows from it.
func TestMistakes(t *testing.T) {
	dirs, err := filepath.Glob("testdata/mistakes/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no testdata/mistakes", err)
	}
	for _, from := range dirs {
		t.Run(filepath.Base(from), func(t *testing.T) {
			texts := folder(t, "testdata/base")
			maps.Copy(texts, folder(t, from))
			s, err := build(texts)
			problems, ok := errors.AsType[Problems](err)
			if !ok || s != nil {
				t.Fatalf("%v, %v; want problems", s, err)
			}
			got := problems.Error() + "\n"
			if *update {
				if err := os.WriteFile(filepath.Join(from, "want"), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(filepath.Join(from, "want"))
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("reported:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBase(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	if len(s.Warnings) > 0 {
		t.Error(s.Warnings)
	}
}

func TestExample(t *testing.T) {
	s, err := Load(exampleDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("warnings:\n%v", s.Warnings)
	}
	called, models := 0, map[string]bool{}
	for _, p := range s.Providers() {
		if len(p.Endpoints) > 0 {
			called++
		}
		for _, e := range p.Endpoints {
			for m := range e.Models {
				models[m] = true
			}
		}
	}
	got := []int{len(s.Values("business_unit")), len(s.Values("team")), len(s.UseCases()), called, len(models)}
	if want := []int{3, 6, 12, 4, 9}; !reflect.DeepEqual(got, want) {
		t.Errorf("business units, teams, use cases, providers, models: %v, want %v", got, want)
	}
	for _, u := range s.UseCases() {
		served := false
		for _, k := range s.Keys() {
			for _, name := range k.UseCases {
				served = served || name == u.ID && k.Team == u.Team && !k.Disabled
			}
		}
		if !served {
			t.Errorf("no key of team %s may serve use case %s", u.Team, u.ID)
		}
	}
	for name, text := range folder(t, exampleDir) {
		if !strings.Contains(string(text), "\napiVersion: "+apiVersion+"\n") {
			t.Errorf("%s does not say its apiVersion", name)
		}
	}
	registry := string(folder(t, exampleDir)["registry.yaml"])
	if lines := strings.Count(registry, "\n        base_url: "); lines != len(s.endpoints) {
		t.Errorf("%d base_url lines for %d endpoints; the demo replaces them by line", lines, len(s.endpoints))
	}
}

func TestLoadReadsOnlyTheFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.yaml")
	if err := os.WriteFile(outside, []byte("groups: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, prices string) error // prices is where the file goes
		want string                                  // in the error; empty: loads
	}{
		{"a symlink inside the folder, as in a mounted ConfigMap", func(t *testing.T, prices string) error {
			dir := filepath.Join(filepath.Dir(prices), "..data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			text, err := os.ReadFile("testdata/base/prices.yaml")
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "prices.yaml"), text, 0o600); err != nil {
				return err
			}
			return os.Symlink("..data/prices.yaml", prices)
		}, ""},
		{"a symlink that leaves the folder", func(t *testing.T, prices string) error { return os.Symlink(outside, prices) }, "escapes"},
		{"a relative symlink that leaves the folder", func(t *testing.T, prices string) error { return os.Symlink("../outside.yaml", prices) }, "escapes"},
		{"a symlink to nothing", func(t *testing.T, prices string) error { return os.Symlink("gone", prices) }, "no such file"},
		{"a pipe", func(t *testing.T, prices string) error { return syscall.Mkfifo(prices, 0o600) }, "not a regular file"},
		{"a folder", func(t *testing.T, prices string) error { return os.Mkdir(prices, 0o700) }, "not a regular file"},
		{"a file over the limit", func(t *testing.T, prices string) error {
			return os.WriteFile(prices, []byte(strings.Repeat("#", MaxFile+1)), 0o600)
		}, "prices.yaml: larger than 4 MiB"},
		{"files over the limit together", func(t *testing.T, prices string) error {
			for _, name := range []string{"a.yaml", "b.yaml", "c.yaml", "d.yaml", "prices.yaml"} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(prices), name), []byte(strings.Repeat("#", MaxFile)), 0o600); err != nil {
					return err
				}
			}
			return nil
		}, "together are larger than 16 MiB"},
		{"bytes that are not text", func(t *testing.T, prices string) error {
			return os.WriteFile(prices, []byte("groups:\n  - source: \xff\n"), 0o600)
		}, "prices.yaml:2:13: not valid UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata/base")); err != nil {
				t.Fatal(err)
			}
			prices := filepath.Join(dir, "prices.yaml")
			if err := os.Remove(prices); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(t, prices); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"README.md", ".hidden.yaml"} { // not ours
				if err := os.WriteFile(filepath.Join(dir, name), []byte("\xff: ["), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(dir)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Load: %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a folder that is not there was loaded")
	}
}

// An event names the commit, so it must be one that holds exactly these files.
func TestCommit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed, so commits cannot be tried:", err)
	}
	top := t.TempDir()
	dir := filepath.Join(top, "config", "governance")
	if err := os.CopyFS(dir, os.DirFS("testdata/base")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", top, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := os.ReadFile(filepath.Join(dir, "keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when, want string) {
		t.Helper()
		s, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if s.Commit != want {
			t.Errorf("%s: commit %q, want %q", when, s.Commit, want)
		}
	}
	expect("no repository", "")
	run("init", "-q")
	expect("no commit", "")
	run("add", ".")
	run("commit", "-q", "-m", "files")
	head := run("rev-parse", "HEAD")
	expect("clean", head)
	write("README.md", "not ours")
	expect("another file", head)
	write("keys.yaml", string(keys)+"# changed\n")
	expect("changed", "")
	write("keys.yaml", string(keys))
	expect("changed back", head)
	write("old.yaml", "a: b\n")
	run("add", ".")
	run("commit", "-q", "-m", "a file more")
	if err := os.Remove(filepath.Join(dir, "old.yaml")); err != nil {
		t.Fatal(err)
	}
	expect("without a file of the commit", "")
	run("rm", "-q", "--cached", "config/governance/old.yaml")
	run("commit", "-q", "-m", "a file less")
	expect("committed", run("rev-parse", "HEAD"))
	write("../../.gitignore", "keys.yaml\n")
	run("rm", "-q", "--cached", "config/governance/keys.yaml")
	run("commit", "-q", "-m", "without keys")
	expect("a file that git ignores", "")
}

func TestArchive(t *testing.T) {
	for _, dir := range []string{"testdata/base", exampleDir} {
		texts := folder(t, dir)
		s := mustBuild(t, texts)
		again, err := Parse(s.Archive)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s, again) {
			t.Errorf("%s: Parse(Archive) is not the snapshot", dir)
		}
		for name, text := range texts {
			changed := maps.Clone(texts)
			changed[name] = append([]byte("# a comment is part of the bytes\n"), text...)
			c := mustBuild(t, changed)
			if c.Digest == s.Digest || (c.PriceBook == s.PriceBook) == (name == "prices.yaml") {
				t.Errorf("%s changed: digest %s → %s, price book %s → %s", name, s.Hex(), c.Hex(), s.PriceBook, c.PriceBook)
			}
			if got := c.Changed(s); !reflect.DeepEqual(got, []string{name}) {
				t.Errorf("%s changed: Changed = %v", name, got)
			}
		}
	}
	// The form itself, which others must be able to make again.
	bytes, digest := archive(map[string][]byte{"b.yaml": []byte("x: \"<é>\"\n"), "a.yaml": []byte("\t\\")})
	if got, want := string(bytes), `{"a.yaml":"\t\\","b.yaml":"x: \"<é>\"\n"}`; got != want {
		t.Errorf("archive %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(digest[:]), "6e8e8554a5f7faaa6cffcc2b6432ad0a51f2536c1d21990f5be21ae6dc0a7fe6"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(mustBuild(t, folder(t, "testdata/base")).Archive)
	for name, data := range map[string]string{
		"nothing":          "",
		"another type":     "[]",
		"no files":         "{}",
		"a space":          strings.Replace(good, ":", ": ", 1),
		"a newline":        good + "\n",
		"a repeated file":  strings.Replace(good, "{", `{"dimensions.yaml":"",`, 1),
		"another escape":   strings.Replace(good, "attribution", `\u0061ttribution`, 1),
		"a file too many":  strings.Replace(good, "{", `{"a.yaml":"",`, 1),
		"bytes not UTF-8":  strings.Replace(good, "attribution", "attribution\xff", 1),
		"cut":              good[:len(good)-1],
		"a value not text": strings.Replace(good, "{", `{"a.yaml":1,`, 1),
	} {
		if good == data {
			t.Fatal(name, "does not change the archive")
		}
		if _, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

// What was published stays readable: events of that time are derived with it.
// A change that breaks this needs a new reader for the old files, not a new
// testdata/published.
func TestPublishedArchives(t *testing.T) {
	names, err := filepath.Glob("testdata/published/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no testdata/published", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := strings.TrimSuffix(filepath.Base(name), ".json"); s.Hex() != want {
			t.Errorf("%s: digest %s", name, s.Hex())
		}
	}
}

// A file that is wrong throughout does not bury the rest, and rules whose
// combinations would fill the memory are refused.
func TestLimits(t *testing.T) {
	var wrong strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&wrong, "k%d: v\n", i)
	}
	texts := folder(t, "testdata/base")
	texts[pricesYAML] = []byte(wrong.String())
	texts[routingYAML] = []byte("rules: 1\n")
	_, err := build(texts)
	problems, _ := errors.AsType[Problems](err)
	if len(problems) != maxProblems+2 || !strings.Contains(err.Error(), "too many mistakes") || !strings.Contains(err.Error(), "routing.yaml:1:8: ") {
		t.Errorf("%d problems", len(problems))
	}

	var models, rules strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&models, "m%d, ", i)
	}
	for i := range 7 {
		fmt.Fprintf(&rules, "  - {id: r%d, use_cases: [kyc], endpoints: [eu]}\n", i)
	}
	texts = changed(t, "registry.yaml", "models: [small, large]", "models: ["+models.String()+"]")
	texts[routingYAML] = []byte("default: {id: default, endpoints: [us]}\nrules:\n" + rules.String())
	if _, err := build(texts); err == nil || !strings.Contains(err.Error(), "routing.yaml:9:10: rule r6: all rules up to here have over 250000 combinations of format and model") {
		t.Errorf("%.300v", err)
	}
}
