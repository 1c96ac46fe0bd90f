package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func testCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "test", Short: "Test what the files decide, without a proxy"}
	cmd.AddCommand(testGovernanceCommand())
	return cmd
}

// decisionsHead is the first lines of a golden file.
const decisionsHead = `# Where the calls of each use case go: use case, wire format, model, endpoint. "*" is any model that is not named.
# Written by ledgerline test governance --golden FILE --update; a change of it is a change of behaviour.
`

func testGovernanceCommand() *cobra.Command {
	var dir, day, golden string
	var write bool
	cmd := &cobra.Command{
		Use:   "governance",
		Short: "Find a qualified endpoint for every call of every use case, also while any one endpoint is down",
		Long: `Decides every call that a use case can ask for (wire format and model), once with all endpoints up and once for each endpoint
that may be down. Each time it must find an endpoint that is qualified: its provider is permitted the use case's data and, unless it
is self-hosted or the data is public, has a data processing agreement on file that holds on the day. A model that only one endpoint
serves fails, unless the use case gives a reason for it under single_endpoint in estate.yaml.

With --golden all decisions are compared with a file, so that a pull request shows what it changes; --update writes the file.

Exit codes: 0 all is decided and as the golden file says; 1 a call finds no qualified endpoint, or a decision differs from the golden
file; 2 a mistake in the command line; 3 a mistake in the files.`,
		Example: `  ledgerline test governance --governance deploy/example/governance --golden deploy/example/governance/decisions.golden`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := dayOrToday("--at", day)
			if err != nil {
				return err
			}
			if write && golden == "" {
				return usageError{fmt.Errorf("--update: name the file with --golden")}
			}
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			lines, failed := s.DecisionTable(at)
			for _, sentence := range failed {
				fmt.Fprintln(out, sentence)
			}
			differ := 0
			if golden != "" {
				if differ, err = compareDecisions(out, golden, lines, write); err != nil {
					return err
				}
			}
			fmt.Fprintf(out, "%d calls of %d use cases on %s: %d without a qualified endpoint", len(lines), len(s.UseCases()), at.Format(time.DateOnly), len(failed))
			switch {
			case write:
				fmt.Fprintf(out, "; written to %s", golden)
			case golden != "":
				fmt.Fprintf(out, ", %d lines differ from %s", differ, golden)
			}
			fmt.Fprintln(out)
			if len(failed) > 0 || differ > 0 {
				return errRed
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().StringVar(&day, "at", "", "day on which it is asked, UTC, such as 2026-11-24 (default: today)")
	cmd.Flags().StringVar(&golden, "golden", "", "file that says what is decided; it must say the same")
	cmd.Flags().BoolVar(&write, "update", false, "write the golden file")
	cmd.MarkFlagRequired("governance")
	return cmd
}

// compareDecisions prints the lines that only one of the golden file and the decisions has, and counts them; or writes the file.
func compareDecisions(out io.Writer, golden string, lines []string, write bool) (differ int, err error) {
	if write {
		if err := os.WriteFile(golden, []byte(decisionsHead+strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return 0, fmt.Errorf("write the golden file: %w", err)
		}
		return 0, nil
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		return 0, fmt.Errorf("read the golden file (--update writes it): %w", err)
	}
	var before []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && line[0] != '#' {
			before = append(before, line)
		}
	}
	only := func(sign string, lines, others []string) {
		known := map[string]bool{}
		for _, line := range others {
			known[line] = true
		}
		for _, line := range lines {
			if !known[line] {
				fmt.Fprintln(out, sign, line)
				differ++
			}
		}
	}
	only("-", before, lines)
	only("+", lines, before)
	return differ, nil
}

// dayOrToday is the day that a flag names, or today.
func dayOrToday(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Now().UTC().Truncate(24 * time.Hour), nil
	}
	return parseDay(flag, text)
}
