package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// snippets are the console blocks of the README: a command after "$ " and what it prints, where "…" stands for lines left out.
var snippets = regexp.MustCompile("(?s)```console\n\\$ ([^\n]+)\n(.*?)```")

// TestReadme runs the README's commands and finds the printed output again, digits aside.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := snippets.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d console blocks in the README, want the demo and the proof", len(blocks))
	}
	data := t.TempDir()
	for _, block := range blocks {
		command, want := block[1], block[2]
		if strings.HasPrefix(command, "go test") {
			continue // this very run
		}
		args, ours := strings.CutPrefix(command, "go run ./cmd/ledgerline ")
		if !ours {
			if args, ours = strings.CutPrefix(command, "ledgerline "); !ours {
				t.Errorf("%s: neither go test nor ledgerline", command)
				continue
			}
		}
		argv := strings.Fields(args)
		switch argv[0] {
		case "demo":
			argv = append(argv, "--exit", "--data", data, "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
		case "verify", "showback":
			argv = append(argv, "--data", data)
		}
		t.Run(command, func(t *testing.T) {
			cmd := exec.Command(binary, argv...)
			cmd.Dir = "../.."
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			printed := map[string]bool{}
			for line := range strings.Lines(string(out)) {
				printed[masked(line)] = true
			}
			for line := range strings.Lines(want) {
				if s := masked(line); s != "" && !strings.Contains(line, "…") && !printed[s] {
					t.Errorf("the README shows %q\nwhich is not printed:\n%s", line, out)
				}
			}
		})
	}
}

var (
	hexIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	keys   = regexp.MustCompile(`\bl[lk]_[A-Za-z0-9_]+`)
	hexes  = regexp.MustCompile(`\b(u_)?[0-9a-f]{12,64}\b`)
	digits = regexp.MustCompile(`[+-]?[0-9][0-9,.]*`)
	spaces = regexp.MustCompile(`[ ─]+`)
)

// masked is a line without what differs from run to run.
func masked(line string) string {
	line = hexIDs.ReplaceAllString(line, "ID")
	line = keys.ReplaceAllString(line, "KEY")
	line = hexes.ReplaceAllString(line, "HEX")
	line = digits.ReplaceAllString(line, "N")
	return strings.TrimSpace(spaces.ReplaceAllString(line, " "))
}
