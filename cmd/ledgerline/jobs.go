package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

func jobsCommand() *cobra.Command {
	var engines engineFlags
	var admin adminFlags
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Run only the jobs: rollups now; of several processes one is elected to do the work",
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
			group.Go(func() error { return runJobs(ctx, engines.topics, cfg, db, registry, log) })
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

// runJobs waits to be elected and then ticks until ctx ends or the election is lost. What is stale is decided from tables at each
// tick, so a missed tick loses nothing.
func runJobs(ctx context.Context, t topics, cfg kafka.Config, db *clickhouse.DB, registry prometheus.Registerer, log *slog.Logger) error {
	metrics := aggregate.NewMetrics(registry)
	return kafka.Consume(ctx, kafka.GroupConfig{Config: cfg, Group: t.jobs(), Topic: t.jobs(), Logger: log},
		func(ctx context.Context, g *kafka.Generation) error {
			if len(g.Partitions) == 0 {
				<-ctx.Done() // another process has the one partition
				return nil
			}
			log.Info("elected to run the jobs")
			failed := make(chan error, 1)
			ticks := cron.New(cron.WithLocation(time.UTC), cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger)))
			_, err := ticks.AddFunc("@every 5s", func() {
				if err := rollup(ctx, t.events(), db, metrics, log); err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
			if err != nil {
				return fmt.Errorf("schedule the rollup: %w", err)
			}
			ticks.Start()
			select {
			case <-ctx.Done():
				err = nil
			case err = <-failed:
			}
			<-ticks.Stop().Done()
			return err
		})
}

// rollup brings the rollups up to the watermark.
func rollup(ctx context.Context, topic string, db *clickhouse.DB, metrics *aggregate.Metrics, log *slog.Logger) error {
	began := time.Now()
	run, err := aggregate.Rollup(ctx, db, aggregate.Options{Topic: topic, Now: time.Now, Logger: log, Metrics: metrics})
	switch {
	case errors.Is(err, aggregate.ErrRunning):
		return nil // the next tick tries again
	case err != nil && clickhouse.Temporary(err):
		log.Warn("the rollup waits for the store", "err", err)
		return nil
	case err != nil:
		return err
	}
	if len(run.Days) > 0 {
		log.Info("rolled up", "days", len(run.Days), "through_seq", run.Through, "seconds", time.Since(began).Seconds())
	}
	return nil
}
