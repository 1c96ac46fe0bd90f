package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const exampleGovernance = "../../deploy/example/governance"

// command runs the binary's main in this process: its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// exampleWith is a copy of the example folder with a text replaced in one file.
func exampleWith(t *testing.T, file, old, new string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(exampleGovernance)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not have %q once", file, old)
	}
	if err := os.WriteFile(name, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The example decides every call, as its golden file says.
func TestTestGovernance(t *testing.T) {
	golden := filepath.Join(exampleGovernance, "decisions.golden")
	test := func(dir string, args ...string) (int, string, string) {
		return command(t, append([]string{"test", "governance", "--governance", dir, "--at", "2026-11-24"}, args...)...)
	}
	if code, out, errs := test(exampleGovernance, "--golden", golden); code != 0 || !strings.HasSuffix(out, ": 0 without a qualified endpoint, 0 lines differ from "+golden+"\n") {
		t.Errorf("the example: %d\n%s%s", code, out, errs)
	}

	// Without its second endpoint a use case fails by name, and the golden file shows what changed.
	dir := exampleWith(t, "routing.yaml", "[openai-eu, openai-us, anthropic-main, anthropic-reserve]\n", "[openai-eu, anthropic-main, anthropic-reserve]\n")
	code, out, _ := test(dir, "--golden", golden)
	for _, want := range []string{
		"use case kyc-review, gpt-5-mini over openai.chat, with openai-eu down, finds no endpoint in rule kyc-primary: openai-eu is down, anthropic-main does not speak openai.chat, anthropic-reserve does not speak openai.chat.\n",
		"- kyc-review openai.chat gpt-5-mini: openai-eu; when it is down: openai-us\n",
		"+ kyc-review openai.chat gpt-5-mini: openai-eu; when it is down: nowhere\n",
		"144 calls of 12 use cases on 2026-11-24: 9 without a qualified endpoint, 18 lines differ",
	} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("%d; %q is not in\n%s", code, want, out)
		}
	}

	// A change that loses nothing is still a change.
	dir = exampleWith(t, "routing.yaml", "[openai-eu, openai-us, anthropic-main, anthropic-reserve]\n", "[openai-us, openai-eu, anthropic-main, anthropic-reserve]\n")
	if code, out, _ := test(dir, "--golden", golden); code != 1 || !strings.Contains(out, ": 0 without a qualified endpoint, 18 lines differ") {
		t.Errorf("other order: %d\n%s", code, out)
	}
	if code, out, _ := test(dir); code != 0 {
		t.Errorf("other order, no golden file: %d\n%s", code, out)
	}
	mine := filepath.Join(dir, "mine.golden")
	if code, _, errs := test(dir, "--golden", mine); code != 1 || !strings.Contains(errs, "--update writes it") {
		t.Errorf("no golden file there: %d %s", code, errs)
	}
	for _, args := range [][]string{{"--golden", mine, "--update"}, {"--golden", mine}} {
		if code, out, errs := test(dir, args...); code != 0 {
			t.Errorf("%v: %d\n%s%s", args, code, out, errs)
		}
	}

	// What the agreements allow depends on the day.
	if code, out, _ := command(t, "test", "governance", "--governance", exampleGovernance, "--at", "2027-06-30"); code != 1 ||
		!strings.Contains(out, "would go to anthropic-main, which is not qualified: the data processing agreement with anthropic no longer holds since 2027-06-30") {
		t.Errorf("after an agreement ended: %d\n%s", code, out)
	}

	for code, args := range map[int][]string{
		2: {"test", "governance", "--governance", exampleGovernance, "--update"},
		3: {"test", "governance", "--governance", exampleWith(t, "routing.yaml", "id: kyc-primary", "id: KYC")},
	} {
		if got, out, errs := command(t, args...); got != code {
			t.Errorf("%v: exit code %d, want %d\n%s%s", args, got, code, out, errs)
		}
	}
}
