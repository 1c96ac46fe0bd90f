package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestSchemaCommand(t *testing.T) {
	schema := func(args ...string) (code int, stdout, stderr string) {
		var out, failure bytes.Buffer
		code = run(t.Context(), append([]string{"schema"}, args...), &out, &failure)
		return code, out.String(), failure.String()
	}
	_, names, _ := schema()
	for _, name := range strings.Fields(names) {
		code, text, _ := schema(name)
		var document struct{ Title string }
		if err := json.Unmarshal([]byte(text), &document); err != nil || code != 0 || document.Title != name+".yaml" {
			t.Errorf("schema %s: exit code %d, title %q, %v", name, code, document.Title, err)
		}
	}
	if len(strings.Fields(names)) < 10 {
		t.Errorf("the names are only %q", names)
	}
	if code, text, failure := schema("budget"); code != 2 || text != "" || !strings.Contains(failure, "did you mean budgets?") {
		t.Errorf("an unknown name: exit code %d, %q, %q", code, text, failure)
	}
	if _, help, _ := schema("--help"); !strings.Contains(help, "yaml-language-server: $schema=") {
		t.Errorf("the help does not say how to use it:\n%s", help)
	}
}
