package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/anomaly"
)

func findingsCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var from, to string
	var asJSON, now bool
	q := anomaly.Query{State: []string{anomaly.Open}, Limit: 1 << 40}
	cmd := &cobra.Command{
		Use:   "findings",
		Short: "What is unusual or over its estimate, and why",
		Long: `Lists findings: days on which a value of a dimension cost much more or less than it usually does (anomaly), and use cases
that cost over 20 % more or less than estate.yaml estimates (drift). The jobs look for them as days become complete.`,
		Example: `  ledgerline findings --from 2026-11-01
  ledgerline findings --detect --dimension use_case --kind drift --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			today := time.Now().UTC()
			q.From, q.To = anomaly.DayOf(today.AddDate(0, -3, 0)), anomaly.DayOf(today)+1
			for _, bound := range []struct {
				flag, text string
				day        *anomaly.Day
			}{{"--from", from, &q.From}, {"--to", to, &q.To}} {
				if bound.text == "" {
					continue
				}
				day, err := parseDay(bound.flag, bound.text)
				if err != nil {
					return err
				}
				*bound.day = anomaly.DayOf(day)
			}
			log := logs.logger(cmd.ErrOrStderr())
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			if now {
				_, err := anomaly.Detect(cmd.Context(), db, anomaly.Options{Now: time.Now, Logger: log})
				if err != nil && !errors.Is(err, anomaly.ErrOvertaken) {
					return err
				}
			}
			if q.AsOf, err = anomaly.Latest(cmd.Context(), db); err != nil {
				return err
			}
			findings, err := anomaly.List(cmd.Context(), db, q)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), findings)
			}
			printFindings(cmd.OutOrStdout(), findings, aggregate.Complete(q.AsOf))
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "first day, UTC; of a drift the first of its month counts (default: three months ago)")
	cmd.Flags().StringVar(&to, "to", "", "day after the last, UTC (default: tomorrow)")
	cmd.Flags().StringSliceVar(&q.Kind, "kind", nil, "anomaly, drift")
	cmd.Flags().StringSliceVar(&q.Dimension, "dimension", nil, strings.Join(anomaly.Dimensions, ", "))
	cmd.Flags().StringArrayVar(&q.Value, "value", nil, "of the dimension")
	cmd.Flags().StringSliceVar(&q.State, "state", q.State, "open, withdrawn")
	cmd.Flags().BoolVar(&q.First, "first", false, "of days in a row only the first, and of one cause only the use case")
	cmd.Flags().BoolVar(&now, "detect", false, "look for findings first, instead of waiting for the jobs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printFindings is a line of figures a finding, and under it what it says.
func printFindings(out io.Writer, findings []anomaly.Finding, through time.Time) {
	for i := range findings {
		f := &findings[i]
		fmt.Fprintf(out, "%s  %s %s=%s  %s USD  %s", f.Day, f.Kind, f.Dimension, f.Value, f.Change, f.ID)
		if f.Revision > 1 {
			fmt.Fprintf(out, " revision %d", f.Revision)
		}
		if f.PartOf != "" {
			fmt.Fprintf(out, " part of %s", f.PartOf)
		}
		fmt.Fprintf(out, "\n  %s\n", f.Sentence)
		for _, p := range f.Reason {
			fmt.Fprintf(out, "    %-8s %24s\n", p.Name, p.Amount)
		}
		for _, r := range f.Top {
			fmt.Fprintf(out, "    request  %24s  %s\n", r.Cost, r.ID)
		}
		fmt.Fprintln(out)
	}
	if through.IsZero() {
		fmt.Fprintln(out, "no detection has run yet; the jobs do it, or --detect")
		return
	}
	fmt.Fprintf(out, "%d findings, complete through %s\n", len(findings), through.Format(time.RFC3339))
}
