package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/spool"
)

type apiFlags struct{ listen string }

func (f *apiFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "api-listen", "127.0.0.1:4001", "address of the API")
}

func apiCommand() *cobra.Command {
	var engines engineFlags
	var flags apiFlags
	var logs logFlags
	var instance, dir string
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Run only the API; what it records of reads goes through a spool of its own",
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
			keys, err := openAPIKeys(engines.data)
			if err != nil {
				return err
			}
			if first, err := firstAdminKey(keys); err != nil {
				return err
			} else if first != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "admin key  %s   (shown only now)\n", first)
			}
			records, err := spool.Open(spool.Options{
				Dir: filepath.Join(engines.data, "spool", instance), Instance: instance, Version: version(), Now: time.Now, Logger: log, Metrics: registry,
			})
			if err != nil {
				return err
			}
			producer, err := kafka.NewProducer(cfg, engines.topics.events())
			if err != nil {
				return err
			}
			defer producer.Close()
			draining, stop := context.WithCancel(context.WithoutCancel(cmd.Context()))
			defer stop()
			group, ctx := errgroup.WithContext(cmd.Context())
			drained := make(chan error, 1)
			go func() { drained <- drain(draining, records, producer) }()
			group.Go(func() error {
				return runAPI(ctx, flags, engines.topics.events(), db, rules, keys, records, registry, log, func(addr string) { fmt.Fprintf(cmd.OutOrStdout(), "API        http://%s\n", addr) })
			})
			group.Go(func() error {
				select {
				case <-ctx.Done():
					return nil
				case err := <-drained:
					return fmt.Errorf("publish events: %w", err)
				}
			})
			err = group.Wait()
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return errors.Join(err, records.Close(closing))
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	engines.registerClickHouse(cmd)
	flags.register(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files; without it there are no budgets")
	cmd.Flags().StringVar(&instance, "instance", "api-1", "name of this process in events; unique among running processes")
	return cmd
}

// runAPI answers until ctx ends. ready is called with the bound address.
func runAPI(ctx context.Context, f apiFlags, topic string, db *clickhouse.DB, rules *folder, keys *api.Keys, records *spool.Spool,
	metrics *prometheus.Registry, log *slog.Logger, ready func(addr string)) error {
	o := api.Options{
		DB: db, Keys: keys, Topic: topic, Recorder: records, Source: "ledgerline/api", Logger: log, Metrics: metrics, Now: time.Now,
	}
	if rules != nil {
		o.Governance = rules.snapshot
	}
	handler, err := api.New(o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(stop)
	})
	ready(listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	<-stopped
	return nil
}

func openAPIKeys(data string) (*api.Keys, error) {
	return api.OpenKeys(filepath.Join(data, "secrets", "api-keys.json"))
}

// firstAdminKey makes the admin key if there is no key at all yet; empty if there is.
func firstAdminKey(keys *api.Keys) (string, error) {
	if keys.Count() > 0 {
		return "", nil
	}
	return keys.Add("first", api.Admin)
}
