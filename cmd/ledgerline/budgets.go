package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

func budgetsCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var dir, on string
	cmd := &cobra.Command{
		Use:   "budgets [ID]",
		Short: "What is spent of each budget; of one, why",
		Example: `  ledgerline budgets --governance /etc/ledgerline/governance
  ledgerline budgets cards-month --on 2026-10-31`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := time.Now()
			if on != "" {
				day, err := parseDay("--on", on)
				if err != nil {
					return err
				}
				at = day.Add(12 * time.Hour) // on that day also east and west of Greenwich
			}
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			budgets := s.Budgets()
			if len(args) > 0 {
				if budgets = budgetsNamed(budgets, args[0]); len(budgets) == 0 {
					return usageError{fmt.Errorf("%s has no budget %s", dir, args[0])}
				}
			}
			log := logs.logger(cmd.ErrOrStderr())
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			r, err := aggregate.Budgets(cmd.Context(), db, budgets, at)
			if err != nil {
				return err
			}
			printBudgets(cmd.OutOrStdout(), r)
			if len(args) > 0 {
				printBudget(cmd.OutOrStdout(), &r.States[0])
			}
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().StringVar(&on, "on", "", "a day of the periods to show, such as 2026-10-31 (default: today)")
	cmd.MarkFlagRequired("governance")
	return cmd
}

func budgetsNamed(budgets []*governance.Budget, id string) []*governance.Budget {
	for _, b := range budgets {
		if b.ID == id {
			return []*governance.Budget{b}
		}
	}
	return nil
}

// printBudgets is a line for each budget.
func printBudgets(out io.Writer, r aggregate.BudgetReport) {
	var rows [][]string
	for i := range r.States {
		s := &r.States[i]
		forecast := "-"
		if s.Forecast != nil {
			forecast = s.Forecast.Amount.String()
		}
		rows = append(rows, []string{
			s.Budget.ID, s.Budget.Owner, periodName(s.Budget, s.From), s.Amount().String(), s.Spent.Cost.String(), s.Percent(), forecast, fmt.Sprint(s.Spent.Unpriced),
		})
	}
	printTable(out, []string{"budget", "owner", "period", "amount USD", "spent USD", "%", "by its end (estimate)", "unpriced"}, rows, 3, 4, 5, 6, 7)
	fmt.Fprintf(out, "  complete through %s (as of %d)\n", r.CompleteThrough.Format(time.RFC3339), r.AsOf)
}

// printBudget is why a budget's spend moved.
func printBudget(out io.Writer, s *aggregate.BudgetState) {
	calls, each := s.Causes()
	fmt.Fprintf(out, "\n  %s against the same point of %s: number of calls %s, cost of each call %s\n",
		signed(s.Change()), periodName(s.Budget, s.BeforeFrom), signed(calls), signed(each))
	for _, m := range s.Movements {
		fmt.Fprintln(out)
		var rows [][]string
		for _, mover := range m.Top(5) {
			rows = append(rows, []string{moverName(&mover), mover.Before.Cost.String(), mover.Now.Cost.String(), signed(mover.Change())})
		}
		printTable(out, []string{strings.ReplaceAll(m.Dimension, "_", " "), "before USD", "now USD", "change USD"}, rows, 1, 2, 3)
	}
}

func signed(s money.Sum) string {
	if s.Sign() > 0 {
		return "+" + s.String()
	}
	return s.String()
}

// moverName is what people read for a value of a dimension.
func moverName(m *aggregate.Mover) string {
	switch {
	case m.Others > 0:
		return fmt.Sprintf("%d others", m.Others)
	case m.Value == "":
		return "(missing)"
	}
	return m.Value
}

// periodName is what people call the period of a budget that begins at a time.
func periodName(b *governance.Budget, from time.Time) string {
	from = from.In(b.TimeZone)
	switch b.Period {
	case "day":
		return from.Format("2 January 2006")
	case "week":
		year, week := from.ISOWeek()
		return fmt.Sprintf("week %d of %d", week, year)
	case "quarter":
		return fmt.Sprintf("Q%d %d", (from.Month()+2)/3, from.Year())
	}
	return from.Format("January 2006")
}
