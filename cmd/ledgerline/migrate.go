package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

func migrateCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of ClickHouse up to date (every other command does it at its start)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			cfg, store, err := engines.startClickHouse(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			defer store.Close()
			db, err := clickhouse.Open(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			defer db.Close()
			applied, err := db.Migrate(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d migrations applied\n", applied)
			return nil
		},
	}
	engines.registerData(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	return cmd
}
