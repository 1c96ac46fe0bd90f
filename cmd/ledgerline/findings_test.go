package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindings runs the command on books without any entry, and with mistakes in its flags.
func TestFindings(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, tt := range []struct{ args, want string }{
		{"", "no detection has run yet; the jobs do it, or --detect\n"},
		{"--detect --json --first --kind drift", "[]\n"},
		{"--from yesterday", "--from yesterday: want a day such as 2026-10-01"},
	} {
		out, err := exec.Command(binary, append([]string{"findings", "--data", data}, strings.Fields(tt.args)...)...).CombinedOutput()
		if refused := strings.HasPrefix(tt.want, "--"); (err != nil) != refused || !strings.Contains(string(out), tt.want) {
			t.Errorf("findings %s: %v\n%s", tt.args, err, out)
		}
	}
}
