package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
)

func showbackCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var from, to, zone, format string
	var groupBy, filters []string
	var asOf uint64
	cmd := &cobra.Command{
		Use:   "showback",
		Short: "Who spent what, exact to the last digit",
		Example: `  ledgerline showback --group-by team
  ledgerline showback --group-by month,use_case --filter team=cards --from 2026-10-01 --to 2026-12-01 --tz Europe/Zurich`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tz, err := time.LoadLocation(zone)
			if err != nil {
				return usageError{fmt.Errorf("--tz %s: not a time zone such as Europe/Zurich", zone)}
			}
			now := time.Now().In(tz)
			q := aggregate.Query{
				From: time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, tz), To: now.AddDate(0, 0, 1),
				TZ: tz, GroupBy: groupBy, AsOf: asOf, Filters: map[string][]string{},
			}
			for _, bound := range []struct {
				flag, text string
				to         *time.Time
			}{{"--from", from, &q.From}, {"--to", to, &q.To}} {
				if bound.text == "" {
					continue
				}
				if *bound.to, err = time.ParseInLocation(time.DateOnly, bound.text, tz); err != nil {
					return usageError{fmt.Errorf("%s %s: want a day such as 2026-10-01", bound.flag, bound.text)}
				}
			}
			for _, f := range filters {
				name, value, ok := strings.Cut(f, "=")
				if !ok {
					return usageError{fmt.Errorf("--filter %s: want dimension=value", f)}
				}
				q.Filters[name] = append(q.Filters[name], value)
			}
			log := logs.logger(cmd.ErrOrStderr())
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			report, err := aggregate.Showback(cmd.Context(), db, q)
			if errors.Is(err, aggregate.ErrQuery) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return printShowback(cmd.OutOrStdout(), format, report)
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "first day in the time zone (default: the first of this month)")
	cmd.Flags().StringVar(&to, "to", "", "day after the last (default: tomorrow)")
	cmd.Flags().StringVar(&zone, "tz", "UTC", "time zone of days and months")
	cmd.Flags().StringSliceVar(&groupBy, "group-by", []string{"team"}, strings.Join(append(append([]string{}, aggregate.Dimensions...), aggregate.Periods...), ", "))
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "dimension=value; several of one dimension: any of them")
	cmd.Flags().Uint64Var(&asOf, "as-of", 0, "recorded_seq of an earlier answer: what the books said then")
	cmd.Flags().StringVar(&format, "format", "table", "table, csv or json")
	return cmd
}

func printShowback(out io.Writer, format string, r aggregate.Report) error {
	header := append(append([]string{}, r.GroupBy...), "requests", "tokens", "cost USD", "unpriced", "unmeasured")
	row := func(group []string, f aggregate.Figures) []string {
		return append(append([]string{}, group...), fmt.Sprint(f.Requests), fmt.Sprint(f.Quantity), f.Cost.String(), fmt.Sprint(f.Unpriced), fmt.Sprint(f.Unmeasured))
	}
	total := make([]string, len(r.GroupBy))
	if len(total) > 0 {
		total[0] = "total"
	}
	switch format {
	case "json":
		return printJSON(out, r)
	case "csv":
		w := csv.NewWriter(out)
		w.Write(header)
		for _, g := range r.Rows {
			w.Write(row(g.Group, g.Figures))
		}
		w.Flush()
		return w.Error()
	case "table":
		var rows [][]string
		for _, g := range append(append([]aggregate.Row{}, r.Rows...), aggregate.Row{Group: total, Figures: r.Total}) {
			cells := row(g.Group, g.Figures)
			for i, v := range g.Group {
				if v == "" && i < len(r.GroupBy) && g.Figures != r.Total {
					cells[i] = "(missing)"
				}
			}
			n := len(r.GroupBy)
			cells[n], cells[n+1] = thousands(g.Requests), thousands(g.Quantity)
			rows = append(rows, cells)
		}
		n := len(r.GroupBy)
		printTable(out, header, rows, n, n+1, n+2, n+3, n+4)
		fmt.Fprintf(out, "  complete through %s (as of %d)\n", r.CompleteThrough.Format(time.RFC3339), r.AsOf)
		return nil
	}
	return usageError{fmt.Errorf("--format %s: want table, csv or json", format)}
}
