package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

func restateCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var dir, from, to, reason string
	var dry, yes bool
	cmd := &cobra.Command{
		Use:   "restate",
		Short: "Post changed prices or rules to past calls, as reversals and re-entries",
		Long: `Derives the calls of a period again under the governance folder of now and posts the difference to the ledger:
a reversal of each entry that is not right any more, and a re-entry. Nothing is edited, and what the books said
before stays readable (as_of). It first shows the effect per team; without --yes it stops there.`,
		Example: "  ledgerline restate --governance governance --from 2026-10-01 --to 2026-11-01 --reason 'corrected cache price' --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin, err := parseDay("--from", from)
			if err != nil {
				return err
			}
			end, err := parseDay("--to", to)
			if err != nil {
				return err
			}
			snapshot, err := governance.Load(dir)
			if err != nil {
				return err
			}
			log := logs.logger(cmd.ErrOrStderr())
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			o := ingest.RestateOptions{
				DB: db, Topic: engines.topics.events(), From: begin, To: end, Snapshot: snapshot, Reason: reason, DryRun: true, Now: time.Now, Logger: log,
			}
			effect, err := ingest.Restate(cmd.Context(), o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			printEffect(out, effect)
			switch {
			case dry || effect.Changed == 0:
				return nil
			case !yes:
				return usageError{fmt.Errorf("nothing was posted; add --yes to post it")}
			}
			o.DryRun = false
			if effect, err = ingest.Restate(cmd.Context(), o); err != nil {
				return err
			}
			fmt.Fprintf(out, "posted as restatement %d: %s entries\n", effect.Number, thousands(effect.Entries))
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files to apply")
	cmd.Flags().StringVar(&from, "from", "", "first day, UTC, such as 2026-10-01")
	cmd.Flags().StringVar(&to, "to", "", "day after the last, UTC")
	cmd.Flags().StringVar(&reason, "reason", "", "why, in words; kept with the restatement")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show the effect and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "post it")
	for _, name := range []string{"governance", "from", "to", "reason"} {
		cmd.MarkFlagRequired(name)
	}
	return cmd
}

func parseDay(flag, text string) (time.Time, error) {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return day, usageError{fmt.Errorf("%s %s: want a day such as 2026-10-01", flag, text)}
	}
	return day, nil
}

func printEffect(out interface{ Write([]byte) (int, error) }, e ingest.Effect) {
	var rows [][]string
	var before, after, difference money.Sum
	for _, t := range e.Teams {
		rows = append(rows, []string{t.BusinessUnit, t.Team, t.Before.String(), t.After.String(), t.Difference.String(),
			fmt.Sprintf("%d → %d", t.UnpricedBefore, t.UnpricedAfter)})
		before, after, difference = before.Plus(t.Before), after.Plus(t.After), difference.Plus(t.Difference)
	}
	rows = append(rows, []string{"", "total", before.String(), after.String(), difference.String(), ""})
	printTable(out, []string{"business unit", "team", "before USD", "after USD", "difference", "unpriced"}, rows, 2, 3, 4, 5)
	fmt.Fprintf(out, "  %s of %s calls change, %s entries\n", thousands(e.Changed), thousands(e.Events), thousands(e.Entries))
}
