package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	check := func(dir string, args ...string) (int, string, string) {
		return command(t, append([]string{"check", "--governance", dir, "--at", "2026-11-24"}, args...)...)
	}
	undocumented := exampleWith(t, "registry.yaml", "{document: contracts/google-dpa-2026.pdf, expires: 2027-12-31}", "{expires: 2027-12-31}")
	broken := exampleWith(t, "registry.yaml", "id: google\n", "id: Google\n")
	registry, err := os.ReadFile(filepath.Join(exampleGovernance, "registry.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lineOf := func(text string) string { // which an edit of the example moves
		before, _, _ := strings.Cut(string(registry), text)
		return fmt.Sprintf("registry.yaml:%d:", 1+strings.Count(before, "\n"))
	}
	found := lineOf("{document: contracts/google") + " error: provider google is said to have a data processing agreement, and no document is named (dpa-undocumented)\n  right would be: write under document"
	for _, tt := range []struct {
		dir            string
		args           []string
		code           int
		stdout, stderr string // parts of it
	}{
		{exampleGovernance, nil, 0, "; 0 findings of the rules as of 2026-11-24\n", ""},
		{exampleGovernance, []string{"--strict"}, 0, "; 0 findings of the rules as of 2026-11-24\n", ""},
		{exampleGovernance, []string{"--strict", "--at", "2027-04-15"}, 1, "the data processing agreement with anthropic ends in 76 days, on 2027-06-30 (dpa-expiring)", ""},
		{undocumented, nil, 0, found, ""},
		{undocumented, []string{"--strict"}, 1, found, ""},
		{undocumented, []string{"--strict", "--format", "json"}, 1, `"rule": "dpa-undocumented"`, ""},
		{broken, nil, 3, "", lineOf("id: google\n")},
		{broken, []string{"--strict", "--format", "json"}, 3, `"rule": "mistake"`, lineOf("id: google\n")},
		{exampleGovernance, []string{"--format", "xml"}, 2, "", "want text, json or sarif"},
		{exampleGovernance, []string{"--at", "tomorrow"}, 2, "", "want a day"},
		{t.TempDir() + "/gone", nil, 1, "", "no such file"},
	} {
		code, stdout, stderr := check(tt.dir, tt.args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v: exit code %d, want %d\n%s%s", tt.args, code, tt.code, stdout, stderr)
		}
	}
}

// What SARIF 2.1.0 requires of a log, section by section, and of each reference inside it.
func TestCheckSARIF(t *testing.T) {
	for name, dir := range map[string]string{
		"clean":    exampleGovernance,
		"findings": exampleWith(t, "registry.yaml", "    self_hosted: true\n", ""),
		"mistakes": exampleWith(t, "registry.yaml", "id: google\n", "id: Google\n"),
		"no file":  exampleWith(t, "retention.yaml", "id: standard\n", "id: usual\n"),
	} {
		_, out, _ := command(t, "check", "--governance", dir, "--format", "sarif", "--at", "2026-11-24")
		var log map[string]any
		if err := json.Unmarshal([]byte(out), &log); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		member := func(of any, path ...string) any {
			t.Helper()
			for _, key := range path {
				object, ok := of.(map[string]any)
				if !ok || object[key] == nil {
					t.Fatalf("%s: no %v in %v", name, path, of)
				}
				of = object[key]
			}
			return of
		}
		if v := member(log, "version"); v != "2.1.0" { // 3.13.2
			t.Errorf("%s: version %v", name, v)
		}
		if runs := member(log, "runs").([]any); len(runs) != 1 { // 3.13.4
			t.Fatalf("%s: %d runs", name, len(runs))
		}
		run := member(log, "runs").([]any)[0]
		if n := member(run, "tool", "driver", "name"); n != "ledgerline" { // 3.14.6, 3.18.2, 3.19.8
			t.Errorf("%s: driver %v", name, n)
		}
		rules := member(run, "tool", "driver", "rules").([]any)
		ids := map[any]bool{}
		for _, rule := range rules {
			ids[member(rule, "id")] = true // 3.49.3
			member(rule, "shortDescription", "text")
		}
		if len(ids) != len(rules) {
			t.Errorf("%s: %d ids of %d rules", name, len(ids), len(rules))
		}
		results := member(run, "results").([]any) // 3.14.23: there also when nothing was found
		if (len(results) == 0) != (name == "clean") {
			t.Errorf("%s: %d results", name, len(results))
		}
		for _, result := range results {
			if member(result, "message", "text") == "" { // 3.27.11
				t.Errorf("%s: %v", name, result)
			}
			if level := member(result, "level"); level != "error" && level != "warning" { // 3.27.10
				t.Errorf("%s: level %v", name, level)
			}
			if at := int(member(result, "ruleIndex").(float64)); member(rules[at], "id") != member(result, "ruleId") { // 3.27.6
				t.Errorf("%s: rule %d is not %v", name, at, member(result, "ruleId"))
			}
			place := member(member(result, "locations").([]any)[0], "physicalLocation")
			if uri := member(place, "artifactLocation", "uri").(string); !strings.HasPrefix(uri, "file:///") || !strings.HasSuffix(uri, ".yaml") {
				t.Errorf("%s: uri %s", name, uri)
			}
			if region, ok := place.(map[string]any)["region"]; ok && member(region, "startLine").(float64) < 1 { // 3.30.5
				t.Errorf("%s: region %v", name, region)
			}
		}
	}
}
