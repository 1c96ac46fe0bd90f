package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/proxy"
)

// proxyFlags are the settings of the recording proxy.
type proxyFlags struct {
	governance string
	listen     string
	instance   string
	durability string
	spoolSize  int64
	grace      time.Duration
	bypass     bool
}

func (f *proxyFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.governance, "governance", "", "folder of governance files (see deploy/example/governance)")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:4000", "address for clients: set it as their base URL")
	cmd.Flags().StringVar(&f.instance, "instance", "proxy-1", "name of this process in events; unique among running proxies")
	cmd.Flags().StringVar(&f.durability, "durability", "fsync", "an answer ends when its event has survived: write (a crash of the process) or fsync (a crash of the machine)")
	cmd.Flags().Int64Var(&f.spoolSize, "spool-size", 4096, "largest spool in MiB; a full one refuses new requests with 503")
	cmd.Flags().DurationVar(&f.grace, "grace", 30*time.Second, "how long streams in flight may run on when the process is stopped")
	cmd.Flags().BoolVar(&f.bypass, "bypass", false, "emergency: let calls pass unrecorded while the spool is full or failing (is itself recorded)")
	cmd.MarkFlagRequired("governance")
}

func (f *proxyFlags) openSpool(data, kind string, log *slog.Logger, metrics prometheus.Registerer) (*spool.Spool, error) {
	durability := spool.Fsync
	switch f.durability {
	case "fsync":
	case "write":
		durability = spool.Write
	default:
		return nil, usageError{fmt.Errorf("--durability %s: want write or fsync", f.durability)}
	}
	return spool.Open(spool.Options{
		Dir: filepath.Join(data, "spool", f.instance), Instance: f.instance, Source: "ledgerline/" + f.instance,
		Version: version(), Kind: kind, Durability: durability, MaxBytes: f.spoolSize << 20,
		Now: time.Now, Logger: log, Metrics: metrics,
	})
}

func proxyCommand() *cobra.Command {
	var engines engineFlags
	var flags proxyFlags
	var admin adminFlags
	var logs logFlags
	var profile string
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Run only the proxy: record every call and publish the events to Kafka",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			if profile != "" {
				file, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer file.Close()
				if err := pprof.StartCPUProfile(file); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			// The proxy hardly allocates, so collecting often costs nothing, and the heap stays near what is in use.
			debug.SetGCPercent(25)
			registry := prometheus.NewRegistry()
			cfg, broker, err := engines.startKafka(cmd.Context(), log)
			if err != nil {
				return err
			}
			defer broker.Close()
			records, err := flags.openSpool(engines.data, "live", log, registry)
			if err != nil {
				return err
			}
			if err := releaseStartup(); err != nil {
				log.Warn("memory of start-up is kept", "error", err)
			}
			group, ctx := errgroup.WithContext(cmd.Context())
			group.Go(func() error { return admin.serve(ctx, engines.data, registry, log) })
			group.Go(func() error { return runProxy(ctx, flags, &engines, cfg, records, registry, log, nil) })
			return group.Wait()
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	flags.register(cmd)
	admin.register(cmd)
	logs.register(cmd)
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write a CPU profile of the whole run to this file")
	return cmd
}

// runProxy serves clients until ctx ends: receive, decide, forward, record; the spool drains to the log beside it. ready is
// called with the bound address. The spool is closed when runProxy returns; what is not published by then stays in it.
func runProxy(ctx context.Context, f proxyFlags, engines *engineFlags, cfg kafka.Config, records *spool.Spool,
	metrics prometheus.Registerer, log *slog.Logger, ready func(addr string)) error {
	secret, err := referenceKey(engines.data)
	if err != nil {
		return err
	}
	rules, err := openRules(ctx, f.governance, "ledgerline/"+f.instance, engines, cfg, records, metrics, log)
	if err != nil {
		return err
	}
	server, err := proxy.New(proxy.Options{
		Spool: records, Snapshot: rules.current, Secret: secret, Source: "ledgerline/" + f.instance, Logger: log, Metrics: metrics,
		Now: time.Now, Grace: f.grace, Bypass: f.bypass,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	producer, err := kafka.NewProducer(cfg, engines.topics.events())
	if err != nil {
		return err
	}
	defer producer.Close()

	// The drain outlives the serving: what the last calls recorded is published before the process ends, if the broker is there.
	drainCtx, stopDrain := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDrain()
	drained := make(chan error, 1)
	go func() { drained <- drain(drainCtx, records, producer) }()

	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error { return rules.watch(serving, server) })
	group.Go(func() error {
		select {
		case <-serving.Done():
		case err := <-drained:
			return fmt.Errorf("publish events: %w", err)
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.grace+10*time.Second)
		defer cancel()
		return server.Shutdown(stop)
	})
	if ready != nil {
		ready(listener.Addr().String())
	}
	log.Info("proxy is serving", "addr", listener.Addr().String(), "governance", rules.current.Hex(), "writer", records.Writer())
	err = group.Wait()

	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if closeErr := records.Close(closing); closeErr != nil && err == nil {
		err = closeErr
	}
	return err
}

// drain publishes what the spool holds until ctx ends.
func drain(ctx context.Context, records *spool.Spool, producer *kafka.Producer) error {
	var messages []kafka.Message
	var keys []byte
	return records.Drain(ctx, func(ctx context.Context, batch []spool.Entry) error {
		messages, keys = messages[:0], keys[:0]
		for _, e := range batch {
			at := len(keys)
			keys = append(keys, e.ID.String()...)
			messages = append(messages, kafka.Message{Key: keys[at:len(keys):len(keys)], Value: e.Bytes})
		}
		return producer.Publish(ctx, messages)
	})
}
