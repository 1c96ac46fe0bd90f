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
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/retention"
)

func jobsCommand() *cobra.Command {
	var engines engineFlags
	var admin adminFlags
	var logs logFlags
	var dir, exportTo string
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Run only the jobs: rollups, findings, budgets, alerts, exports; of several processes one is elected to do the work",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			registry := prometheus.NewRegistry()
			rules, err := openFolder(dir, log)
			if err != nil {
				return err
			}
			cfg, db, close, err := engines.open(cmd, log)
			if err != nil {
				return err
			}
			defer close()
			group, ctx := errgroup.WithContext(cmd.Context())
			group.Go(func() error { return admin.serve(ctx, engines.data, registry, log) })
			group.Go(func() error { return runJobs(ctx, engines.topics, cfg, db, rules, exportTo, registry, log) })
			return group.Wait()
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	engines.registerClickHouse(cmd)
	admin.register(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files; without it nobody is told of budgets and findings")
	registerExportTo(cmd, &exportTo)
	return cmd
}

// runJobs waits to be elected and then ticks until ctx ends or the election is lost. What is stale is decided from tables at each
// tick, so a missed tick loses nothing. Without rules nobody is told anything, and without
// a place to export to nothing is exported.
func runJobs(ctx context.Context, t topics, cfg kafka.Config, db *clickhouse.DB, rules *folder, exportTo string, registry prometheus.Registerer, log *slog.Logger) error {
	rollups, detections, exports := aggregate.NewMetrics(registry), anomaly.NewMetrics(registry), retention.NewMetrics(registry)
	alerts := newAlerts(db, rules, registry, log)
	return kafka.Consume(ctx, kafka.GroupConfig{Config: cfg, Group: t.jobs(), Topic: t.jobs(), Logger: log},
		func(ctx context.Context, g *kafka.Generation) error {
			if len(g.Partitions) == 0 {
				<-ctx.Done() // another process has the one partition
				return nil
			}
			log.Info("elected to run the jobs")
			failed := make(chan error, 1)
			ticks := cron.New(cron.WithLocation(time.UTC), cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger)))
			tick := func(every, what string, job func() error) error {
				_, err := ticks.AddFunc("@every "+every, func() {
					if err := job(); err != nil && ctx.Err() == nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
				if err != nil {
					return fmt.Errorf("schedule %s: %w", what, err)
				}
				return nil
			}
			err := errors.Join(
				tick("5s", "the rollup", func() error { return rollup(ctx, t.events(), db, rollups, log) }),
				tick("30s", "the detection", func() error { detect(ctx, db, detections, log); return nil }),
				tick("10m", "the export", func() error { return exportClosed(ctx, t.events(), exportTo, db, exports, log) }),
			)
			if err != nil {
				return err
			}
			ticks.Start()
			alerting, stop := context.WithCancel(ctx)
			defer stop()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if err := alerts.run(alerting); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}()
			select {
			case <-ctx.Done():
				err = nil
			case err = <-failed:
			}
			stop()
			<-ended
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

// detect brings the findings up to the rollups. No failure of it ends the jobs: the books do not wait for findings.
func detect(ctx context.Context, db *clickhouse.DB, metrics *anomaly.Metrics, log *slog.Logger) {
	began := time.Now()
	run, err := anomaly.Detect(ctx, db, anomaly.Options{Now: time.Now, Logger: log, Metrics: metrics})
	switch {
	case errors.Is(err, anomaly.ErrMoved), errors.Is(err, anomaly.ErrOvertaken), ctx.Err() != nil: // the next tick tries again
	case err != nil && clickhouse.Temporary(err):
		log.Warn("the detection waits for the store", "err", err)
	case err != nil:
		log.Error("the detection failed; the next tick tries again", "err", err)
	case run.Days > 0:
		log.Info("detected", "days", run.Days, "found", run.Found, "corrected", run.Corrected, "withdrawn", run.Withdrawn,
			"through_seq", run.Through, "seconds", time.Since(began).Seconds())
	}
}
