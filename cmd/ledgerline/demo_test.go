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
	data := t.TempDir()
	first, out := run(data)
	t.Log("\n" + out)
	again, out := run(data)
	if again == first {
		t.Errorf("the live calls of the second run are not in its total: %s", again)
	}
	if regexp.MustCompile(`history: [0-9]{2},`).MatchString(out) {
		t.Errorf("the second run made the history again:\n%s", out)
	}
	if other, _ := run(t.TempDir(), "--seed", "2"); other == first {
		t.Errorf("another seed gave the same total: %s", other)
	}
}
