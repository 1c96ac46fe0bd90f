package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

func ingestCommand() *cobra.Command {
	var engines engineFlags
	var admin adminFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "Run only the ingest: derive charges from events and write them to ClickHouse",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			registry := prometheus.NewRegistry()
			cfg, db, close, err := engines.open(cmd, log)
			if err != nil {
				return err
			}
			defer close()
			group, ctx := errgroup.WithContext(cmd.Context())
			group.Go(func() error { return admin.serve(ctx, engines.data, registry, log) })
			group.Go(func() error { return runIngest(ctx, engines.topics, cfg, db, registry, log) })
			return group.Wait()
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	engines.registerClickHouse(cmd)
	admin.register(cmd)
	logs.register(cmd)
	return cmd
}

// runIngest takes events from the topic to the store until ctx ends.
func runIngest(ctx context.Context, t topics, cfg kafka.Config, db *clickhouse.DB, metrics prometheus.Registerer, log *slog.Logger) error {
	return ingest.Run(ctx, ingest.Options{
		Kafka: cfg, DB: db, Topic: t.events(), GovernanceTopic: t.governance(), Group: string(t) + ".ingest",
		Logger: log, Metrics: metrics,
	})
}
