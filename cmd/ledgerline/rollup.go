package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
)

func rollupCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var from, to string
	cmd := &cobra.Command{
		Use:   "rollup",
		Short: "Bring the rollups up to the watermark now, or make the days of a period again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			o := aggregate.Options{Topic: engines.topics.events(), Now: time.Now, Logger: log}
			if from != "" || to != "" {
				var err error
				if o.From, err = parseDay("--from", from); err != nil {
					return err
				}
				if o.To, err = parseDay("--to", to); err != nil {
					return err
				}
			}
			db, store, err := engines.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			defer db.Close()
			run, err := aggregate.Rollup(cmd.Context(), db, o)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d days made again; complete through %s\n", len(run.Days), aggregate.Complete(run.Through).Format(time.RFC3339))
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "first day to make again although nothing changed in it, UTC")
	cmd.Flags().StringVar(&to, "to", "", "day after the last, UTC")
	cmd.MarkFlagsRequiredTogether("from", "to")
	return cmd
}
