package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func checkCommand() *cobra.Command {
	var dir, format, day string
	var strict bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a folder of governance files: all mistakes at once, and what should not stay as it is",
		Long: `Reports every mistake in the files with file and line: with one, nothing can load the folder. When there is none, rules look for
what is allowed and should not stay, as of a day:

` + ruleList() + `
An error stands in the way of what the files promise; a warning will sooner or later. --format sarif is for code scanning in a pull
request.

Exit codes: 0 the files can be loaded, with --strict also no rule finds anything; 1 a rule finds something and --strict is given;
2 a mistake in the command line; 3 a mistake in the files.`,
		Example: `  ledgerline check --governance deploy/example/governance --strict
  ledgerline check --governance deploy/example/governance --strict --format sarif > check.sarif`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"text", "json", "sarif"}, format) {
				return usageError{fmt.Errorf("--format %s: want text, json or sarif", format)}
			}
			at, err := dayOrToday("--at", day)
			if err != nil {
				return err
			}
			r := report{At: at.Format(time.DateOnly), Diagnostics: []governance.Diagnostic{}}
			s, loadErr := governance.Load(dir)
			mistakes, atFault := errors.AsType[governance.Problems](loadErr)
			switch {
			case loadErr == nil:
				r.Snapshot, r.PriceBook = s.Hex(), s.PriceBook
				r.Diagnostics = append(r.Diagnostics, s.Lint(at)...)
			case !atFault || format == "text": // the caller prints mistakes
				return loadErr
			}
			for _, m := range mistakes {
				r.Diagnostics = append(r.Diagnostics, governance.Diagnostic{Rule: mistakeRule.ID, Severity: mistakeRule.Severity, File: m.File, Line: m.Line, Message: m.Message})
			}
			out := cmd.OutOrStdout()
			switch format {
			case "json":
				err = printJSON(out, r)
			case "sarif":
				err = printJSON(out, r.sarif(dir))
			default:
				r.print(out, dir)
			}
			switch {
			case err != nil:
				return err
			case loadErr != nil:
				return loadErr
			case strict && len(r.Diagnostics) > 0:
				return errRed
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail when a rule finds anything")
	cmd.Flags().StringVar(&format, "format", "text", "text, json or sarif (2.1.0)")
	cmd.Flags().StringVar(&day, "at", "", "day as of which the rules look, UTC, such as 2026-11-24 (default: today)")
	cmd.MarkFlagRequired("governance")
	return cmd
}

func ruleList() (list string) {
	for _, rule := range governance.LintRules() {
		list += fmt.Sprintf("  %-26s %-8s %s\n", rule.ID, rule.Severity, rule.About)
	}
	return list
}

// mistakeRule stands for all mistakes in the formats for machines.
var mistakeRule = governance.LintRule{ID: "mistake", Severity: "error", About: "a mistake in the files, with which they cannot be loaded"}

// report is what check says in JSON.
type report struct {
	At          string                  `json:"at"`
	Snapshot    string                  `json:"snapshot,omitempty"`
	PriceBook   string                  `json:"price_book,omitempty"`
	Diagnostics []governance.Diagnostic `json:"diagnostics"`
}

func (r *report) print(out io.Writer, dir string) {
	for _, d := range r.Diagnostics {
		fmt.Fprintf(out, "%s:%d: %s: %s (%s)\n", d.File, d.Line, d.Severity, d.Message, d.Rule)
		if d.Want != "" {
			fmt.Fprintf(out, "  right would be: %s\n", d.Want)
		}
	}
	fmt.Fprintf(out, "%s checks: snapshot %s, price book %s; %d findings of the rules as of %s\n", dir, r.Snapshot, r.PriceBook, len(r.Diagnostics), r.At)
}

// The part of SARIF 2.1.0 (OASIS) that code scanning reads.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver struct {
				Name    string      `json:"name"`
				Version string      `json:"version"`
				Rules   []sarifRule `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		Default          struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"`
		} `json:"physicalLocation"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

// sarif is the report with the files' paths as they are reached from here, which in CI is the root of the repository.
func (r *report) sarif(dir string) sarifLog {
	var run sarifRun
	run.Tool.Driver.Name, run.Tool.Driver.Version = "ledgerline", version()
	run.Results = []sarifResult{}
	index := map[string]int{}
	for i, rule := range append(governance.LintRules(), mistakeRule) {
		index[rule.ID] = i
		described := sarifRule{ID: rule.ID, ShortDescription: sarifMessage{rule.About}}
		described.Default.Level = rule.Severity
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, described)
	}
	for _, d := range r.Diagnostics {
		result := sarifResult{RuleID: d.Rule, RuleIndex: index[d.Rule], Level: d.Severity, Message: sarifMessage{d.Message + "."}}
		if d.Want != "" {
			result.Message.Text += " Right would be: " + d.Want + "."
		}
		path := url.URL{Path: filepath.ToSlash(filepath.Join(dir, d.File))}
		if filepath.IsAbs(path.Path) {
			path.Scheme = "file"
		}
		var place sarifLocation
		place.Physical.Artifact.URI = path.String()
		if d.Line > 0 {
			place.Physical.Region = &sarifRegion{d.Line}
		}
		result.Locations = []sarifLocation{place}
		run.Results = append(run.Results, result)
	}
	return sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}}
}
