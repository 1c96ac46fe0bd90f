package main

import (
	"fmt"
	"slices"
	"time"

	"maps"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/ingest"
)

func replayCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var dry bool
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Try again what is in quarantine; what decodes and derives now enters the books",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			cfg, db, close, err := engines.open(cmd, log)
			if err != nil {
				return err
			}
			defer close()
			r, err := ingest.Replay(cmd.Context(), ingest.ReplayOptions{
				DB: db, Topic: engines.topics.events(), Kafka: cfg, GovernanceTopic: engines.topics.governance(), DryRun: dry, Now: time.Now, Logger: log,
			})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			verb := "entered the books"
			if dry {
				verb = "would enter the books"
			}
			fmt.Fprintf(out, "%s in quarantine, %s %s, %s duplicates\n", thousands(r.Tried), thousands(r.Entered), verb, thousands(r.Duplicates))
			for _, reason := range slices.Sorted(maps.Keys(r.Left)) {
				fmt.Fprintf(out, "  %s left: %s\n", thousands(r.Left[reason]), reason)
			}
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "tell what would enter and change nothing")
	return cmd
}
