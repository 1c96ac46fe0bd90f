package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/retention"
)

func retentionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "retention", Short: "What is kept how long, and why"}
	var engines engineFlags
	var logs logFlags
	var dir, day string
	plan := &cobra.Command{
		Use:   "plan",
		Short: "Say what would go when, and why; nothing is deleted",
		Long: `Lists the days of each retention class that the books have, with what a retention run would do with them:
  keep    nothing
  export  nothing yet: the store is to let them go, but no sealed file has all of them
  cool    let the store's rows go; the files stay
  delete  let rows and files go
and the dates of the first of the days: when only files have it, when it may go, when it must.`,
		Example: "  ledgerline retention plan --governance governance\n  ledgerline retention plan --governance governance --on 2027-06-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := retention.PlanOptions{Today: time.Now().UTC().Truncate(24 * time.Hour)}
			var err error
			if day != "" {
				if o.Today, err = parseDay("--on", day); err != nil {
					return err
				}
			}
			if o.Snapshot, err = governance.Load(dir); err != nil {
				return err
			}
			db, store, err := engines.openStore(cmd.Context(), logs.logger(cmd.ErrOrStderr()), fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			steps, err := retention.Plan(cmd.Context(), db, o)
			if err != nil {
				return err
			}
			printPlan(cmd.OutOrStdout(), o, steps)
			return nil
		},
	}
	engines.registerData(plan)
	engines.registerClickHouse(plan)
	logs.register(plan)
	plan.Flags().StringVar(&dir, "governance", "", "folder of governance files, with retention.yaml")
	plan.Flags().StringVar(&day, "on", "", "day of the plan, UTC (default: today)")
	plan.MarkFlagRequired("governance")
	cmd.AddCommand(plan)
	return cmd
}

func printPlan(out io.Writer, o retention.PlanOptions, steps []retention.Step) {
	var rows [][]string
	for _, c := range o.Snapshot.RetentionClasses() {
		if c.MaxDays > 0 {
			rows = append(rows, []string{c.ID, fmt.Sprint(c.MinDays), fmt.Sprint(c.MaxDays), fmt.Sprint(c.HotDays), c.Owner, strings.Join(c.Basis, ", ")})
		}
	}
	printTable(out, []string{"class", "min days", "max days", "hot days", "owner", "basis"}, rows, 1, 2, 3)
	fmt.Fprintf(out, "\non %s a retention run would:\n", o.Today.Format(time.DateOnly))
	date := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.Format(time.DateOnly)
	}
	rows = nil
	for _, s := range steps {
		sealed := "no"
		if s.Sealed {
			sealed = "yes"
		}
		rows = append(rows, []string{s.Action, s.Class, s.From.Format(time.DateOnly), s.To.Format(time.DateOnly), thousands(s.Days), thousands(s.Requests), thousands(s.Entries),
			sealed, thousands(s.Bytes), date(s.Cool), date(s.May), date(s.Must), s.Why})
	}
	printTable(out, []string{"what", "class", "from", "to", "days", "requests", "entries", "sealed", "file bytes", "cool from", "may go from", "gone by", "why"}, rows, 4, 5, 6, 8)
	fmt.Fprintln(out, "nothing was deleted")
}
