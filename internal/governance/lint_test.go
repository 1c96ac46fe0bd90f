package governance

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func lintText(found []Diagnostic) string {
	var b strings.Builder
	for _, d := range found {
		fmt.Fprintf(&b, "%s:%d: %s: %s (%s)\n  %s\n", d.File, d.Line, d.Severity, d.Message, d.Rule, d.Want)
	}
	return b.String()
}

// Each rule has a folder of its name in testdata/lint that replaces files of
// testdata/lint/clean, in which no rule finds anything, and says in want what is
// found then.
func TestLint(t *testing.T) {
	at := day(t, "2026-11-24T00:00:00Z")
	clean := folder(t, "testdata/lint/clean")
	if found := mustBuild(t, clean).Lint(at); len(found) > 0 {
		t.Errorf("testdata/lint/clean:\n%s", lintText(found))
	}
	ids := map[string]bool{"clean": true}
	for _, rule := range LintRules() {
		if ids[rule.ID] {
			t.Errorf("rule %s is there twice", rule.ID)
		}
		ids[rule.ID] = true
		t.Run(rule.ID, func(t *testing.T) {
			from := filepath.Join("testdata/lint", rule.ID)
			texts := maps.Clone(clean)
			maps.Copy(texts, folder(t, from))
			found := mustBuild(t, texts).Lint(at)
			ours := 0
			for _, d := range found {
				if d.Rule == rule.ID && d.Severity == rule.Severity {
					ours++
				}
				if d.Line == 0 || d.Message == "" || d.Want == "" && d.Rule != "unintended" {
					t.Errorf("%+v", d)
				}
			}
			if ours == 0 {
				t.Error("the rule finds nothing")
			}
			compare(t, filepath.Join(from, "want"), lintText(found))
		})
	}
	dirs, err := filepath.Glob("testdata/lint/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if !ids[filepath.Base(dir)] {
			t.Errorf("%s is not the name of a rule", dir)
		}
	}
}

// The day makes the difference, and to the day.
func TestLintDays(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/lint/clean"))
	for at, want := range map[string]string{
		"2026-12-31": "",
		"2027-01-01": "registry.yaml:8 review-overdue",
		"2027-01-15": "registry.yaml:8 review-overdue, registry.yaml:19 review-overdue",
		"2027-10-01": "registry.yaml:8 review-overdue, registry.yaml:19 review-overdue",
		"2027-10-02": "registry.yaml:6 dpa-expiring, registry.yaml:8 review-overdue, registry.yaml:19 review-overdue",
		"2027-12-30": "registry.yaml:6 dpa-expiring, registry.yaml:8 review-overdue, registry.yaml:19 review-overdue",
		"2027-12-31": "registry.yaml:6 dpa-expired, registry.yaml:8 review-overdue, registry.yaml:19 review-overdue",
	} {
		var got []string
		for _, d := range s.Lint(day(t, at+"T00:00:00Z")) {
			got = append(got, fmt.Sprintf("%s:%d %s", d.File, d.Line, d.Rule))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v, want %s", at, got, want)
		}
	}
}

// The example shows what good files look like.
func TestLintExample(t *testing.T) {
	s, err := Load(exampleDir)
	if err != nil {
		t.Fatal(err)
	}
	if found := s.Lint(time.Date(2026, time.November, 24, 0, 0, 0, 0, time.UTC)); len(found) > 0 {
		t.Errorf("%s", lintText(found))
	}
}
