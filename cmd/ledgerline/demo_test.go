package main

import (
	"os/exec"
	"regexp"
	"testing"
)

// TestDemo runs the demo twice on one folder and once with another seed: the second run goes on with the data, another seed makes
// other data, and each proves its books.
func TestDemo(t *testing.T) {
	total := regexp.MustCompile(`(?m)^  total .*`)
	run := func(data string, more ...string) (table, out string) {
		t.Helper()
		argv := append([]string{"demo", "--exit", "--data", data, "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"}, more...)
		text, err := exec.Command(binary, argv...).CombinedOutput()
		if err != nil {
			t.Fatalf("demo: %v\n%s", err, text)
		}
		row := total.FindString(string(text))
		if row == "" || !regexp.MustCompile(`the books agree`).Match(text) {
			t.Fatalf("no total or no verdict:\n%s", text)
		}
		return row, string(text)
	}
	story := []*regexp.Regexp{
		regexp.MustCompile(`(?m)^  ├─ \S+ KYC\.MART\.CUSTOMER_FILE @\S+ · declared · `),
		regexp.MustCompile(`(?m)^\S+  anomaly use_case=\S+  [0-9.]+ USD  `),
		regexp.MustCompile(`(?m)^\S+  drift use_case=\S+  [0-9.]+ USD  `),
		regexp.MustCompile(`(?m)^  │ Lending: 80 % of the budget .* is spent$|^  none: the period of \S+ has just begun$`),
		regexp.MustCompile(`(?m)^  [1-9][0-9]* days of a retention class sealed in `),
		regexp.MustCompile(`(?m)^  entries = sealed files +[1-9][0-9,]* +0  ok$`),
	}
	whole := func(out string) {
		t.Helper()
		for _, part := range story {
			if !part.MatchString(out) {
				t.Errorf("nothing in it matches %s:\n%s", part, out)
			}
		}
	}
	data := t.TempDir()
	first, out := run(data)
	t.Log("\n" + out)
	whole(out)
	again, out := run(data)
	if again == first {
		t.Errorf("the live calls of the second run are not in its total: %s", again)
	}
	if regexp.MustCompile(`history: [0-9]{2},`).MatchString(out) {
		t.Errorf("the second run made the history again:\n%s", out)
	}
	if !regexp.MustCompile(`(?m)^  none: .* was told at `).MatchString(out) {
		t.Errorf("the second run told the alert again:\n%s", out)
	}
	other, out := run(t.TempDir(), "--seed", "2")
	if other == first {
		t.Errorf("another seed gave the same total: %s", other)
	}
	whole(out)
}
