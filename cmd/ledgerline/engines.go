package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

// topics is what the names of the line's topics and groups begin with, so that several lines can share a broker.
type topics string

func (t topics) events() string     { return string(t) + ".events" }
func (t topics) governance() string { return string(t) + ".governance" }

// jobs has one partition and no messages: its consumer group elects the process that runs the jobs.
func (t topics) jobs() string { return string(t) + ".jobs" }

const eventsRetention = 14 * 24 * time.Hour

// engineFlags name the log and the store of a command: outside ones, or else the embedded ones in the data folder.
type engineFlags struct {
	data             string
	kafka            string
	kafkaTLS         bool
	kafkaCA          string
	kafkaSASL        string
	topics           topics
	partitions       int
	replication      int
	clickhouse       string
	clickhouseCA     string
	clickhouseBinary string
	memory           int64
}

func (f *engineFlags) registerData(cmd *cobra.Command) {
	f.topics = "llm"
	cmd.Flags().StringVar((*string)(&f.topics), "topics", "llm", "what the names of the Kafka topics begin with")
	cmd.Flags().StringVar(&f.data, "data", "ledgerline-data", "data folder: spool, secrets, API keys and the embedded engines")
}

func (f *engineFlags) registerKafka(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kafka, "kafka", "", "outside Kafka brokers, host:port[,host:port…] (default: the embedded broker in the data folder)")
	cmd.Flags().BoolVar(&f.kafkaTLS, "kafka-tls", false, "TLS to the brokers")
	cmd.Flags().StringVar(&f.kafkaCA, "kafka-ca", "", "file with the CA certificates of the brokers (implies --kafka-tls)")
	cmd.Flags().StringVar(&f.kafkaSASL, "kafka-sasl", "", "plain, scram-sha-256 or scram-sha-512; user and password come from LEDGERLINE_KAFKA_USER and LEDGERLINE_KAFKA_PASSWORD")
	cmd.Flags().IntVar(&f.partitions, "partitions", 3, "partitions of the events topic when it is made")
	cmd.Flags().IntVar(&f.replication, "replication", 0, "replicas of the topics when they are made (default: the broker's)")
}

func (f *engineFlags) registerClickHouse(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.clickhouse, "clickhouse", "", "outside ClickHouse, clickhouse://user@host:port/database[?secure=true][&http=port]; the password comes from LEDGERLINE_CLICKHOUSE_PASSWORD (default: the embedded one in the data folder)")
	cmd.Flags().StringVar(&f.clickhouseCA, "clickhouse-ca", "", "file with the CA certificates of the outside ClickHouse")
	cmd.Flags().StringVar(&f.clickhouseBinary, "clickhouse-binary", "", "an installed clickhouse to run embedded, instead of the library that is fetched with npm")
	cmd.Flags().Int64Var(&f.memory, "clickhouse-memory", 0, "memory limit of the embedded ClickHouse in MiB (default: ClickHouse's own)")
}

// engine is a running embedded engine, or nothing to close for an outside one.
type engine interface {
	Close() error
	Done() <-chan struct{}
	Err() error
}

type outside struct{}

func (outside) Close() error          { return nil }
func (outside) Done() <-chan struct{} { return nil }
func (outside) Err() error            { return nil }

// startKafka gives the settings of the log: the outside brokers, or the embedded broker, started unless it runs already.
func (f *engineFlags) startKafka(ctx context.Context, log *slog.Logger) (kafka.Config, engine, error) {
	if f.kafka != "" {
		cfg := kafka.Config{Brokers: strings.Split(f.kafka, ","), ClientID: "ledgerline"}
		if f.kafkaTLS || f.kafkaCA != "" {
			cfg.TLS = &kafka.TLS{CAFile: f.kafkaCA}
		}
		if f.kafkaSASL != "" {
			cfg.SASL = &kafka.SASL{Mechanism: f.kafkaSASL, User: os.Getenv("LEDGERLINE_KAFKA_USER"), Password: os.Getenv("LEDGERLINE_KAFKA_PASSWORD")}
		}
		return cfg, outside{}, cfg.Validate()
	}
	broker, err := embedded.StartKafka(ctx, embedded.KafkaOptions{Dir: filepath.Join(f.data, "kafka"), Logger: log})
	if errors.Is(err, embedded.ErrInUse) {
		running, attachErr := embedded.AttachKafka(filepath.Join(f.data, "kafka"))
		if attachErr != nil {
			return kafka.Config{}, nil, errors.Join(err, attachErr)
		}
		return embeddedKafka(running), outside{}, nil
	}
	if err != nil {
		return kafka.Config{}, nil, err
	}
	return embeddedKafka(broker), broker, nil
}

func embeddedKafka(b *embedded.Kafka) kafka.Config {
	return kafka.Config{
		Brokers: b.Brokers(), ClientID: "ledgerline",
		SASL: &kafka.SASL{Mechanism: b.Mechanism(), User: b.User(), Password: b.Password()},
	}
}

// ensureTopics makes the topics of the line where they are missing.
func (f *engineFlags) ensureTopics(ctx context.Context, cfg kafka.Config, log *slog.Logger) error {
	return kafka.EnsureTopics(ctx, cfg, log,
		kafka.Topic{Name: f.topics.events(), Partitions: f.partitions, Replication: f.replication, Retention: eventsRetention},
		kafka.Topic{Name: f.topics.governance(), Partitions: 1, Replication: f.replication, Compacted: true, MaxMessageBytes: 16 << 20},
		kafka.Topic{Name: f.topics.jobs(), Partitions: 1, Replication: f.replication, Retention: eventsRetention},
	)
}

// open gives log and store to a command that needs both, topics and tables up to date. close ends what was started.
func (f *engineFlags) open(cmd *cobra.Command, log *slog.Logger) (cfg kafka.Config, db *clickhouse.DB, close func(), err error) {
	cfg, broker, err := f.startKafka(cmd.Context(), log)
	if err != nil {
		return cfg, nil, nil, err
	}
	db, store, err := f.openStore(cmd.Context(), log, fetchProgress(cmd.ErrOrStderr()))
	if err != nil {
		broker.Close()
		return cfg, nil, nil, err
	}
	close = func() {
		db.Close()
		store.Close()
		broker.Close()
	}
	if err := f.ensureTopics(cmd.Context(), cfg, log); err != nil {
		close()
		return cfg, nil, nil, err
	}
	return cfg, db, close, nil
}

// openStore opens the store, outside or embedded (started unless it runs already), and brings its tables up to date.
func (f *engineFlags) openStore(ctx context.Context, log *slog.Logger, progress embedded.Progress) (*clickhouse.DB, engine, error) {
	cfg, running, err := f.startClickHouse(ctx, log, progress)
	if err != nil {
		return nil, nil, err
	}
	// A store that is being restarted delays the start; one that stays away ends it with the reason.
	for began := time.Now(); ; {
		db, err := clickhouse.Open(ctx, cfg, log)
		if err == nil {
			if _, err = db.Migrate(ctx); err == nil {
				return db, running, nil
			}
			db.Close()
		}
		if !clickhouse.Temporary(err) || time.Since(began) > 30*time.Second || ctx.Err() != nil {
			running.Close()
			return nil, nil, err
		}
		log.Warn("waiting for the store", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (f *engineFlags) startClickHouse(ctx context.Context, log *slog.Logger, progress embedded.Progress) (clickhouse.Config, engine, error) {
	if f.clickhouse != "" {
		cfg, err := parseClickHouse(f.clickhouse, f.clickhouseCA)
		cfg.Password = os.Getenv("LEDGERLINE_CLICKHOUSE_PASSWORD")
		return cfg, outside{}, err
	}
	dir := filepath.Join(f.data, "clickhouse")
	store, err := embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{
		Dir: dir, Binary: f.clickhouseBinary, MemoryLimit: f.memory << 20, Progress: progress, Logger: log,
	})
	if errors.Is(err, embedded.ErrInUse) {
		running, attachErr := embedded.AttachClickHouse(dir)
		if attachErr != nil {
			return clickhouse.Config{}, nil, errors.Join(err, attachErr)
		}
		return embeddedClickHouse(running), outside{}, nil
	}
	if err != nil {
		return clickhouse.Config{}, nil, err
	}
	return embeddedClickHouse(store), store, nil
}

func embeddedClickHouse(c *embedded.ClickHouse) clickhouse.Config {
	return clickhouse.Config{Addr: []string{c.Addr()}, HTTPAddr: []string{c.HTTPAddr()}, Database: c.Database(), User: c.User(), Password: c.Password()}
}

// parseClickHouse reads clickhouse://user@host:port[,host:port]/database?secure=true&http=8443. Exports read over HTTP, from the
// same hosts.
func parseClickHouse(text, caFile string) (clickhouse.Config, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "clickhouse" || u.Host == "" {
		return clickhouse.Config{}, usageError{fmt.Errorf("--clickhouse: want clickhouse://user@host:port/database")}
	}
	if _, has := u.User.Password(); has {
		return clickhouse.Config{}, usageError{errors.New("--clickhouse: no password on the command line; set LEDGERLINE_CLICKHOUSE_PASSWORD")}
	}
	database := strings.Trim(u.Path, "/")
	if database == "" {
		database = "ledgerline"
	}
	cfg := clickhouse.Config{Addr: strings.Split(u.Host, ","), Database: database, User: u.User.Username()}
	httpPort := "8123"
	if caFile != "" || u.Query().Get("secure") == "true" {
		cfg.TLS, httpPort = &clickhouse.TLS{CAFile: caFile}, "8443"
	}
	if port := u.Query().Get("http"); port != "" {
		httpPort = port
	}
	for _, addr := range cfg.Addr {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		cfg.HTTPAddr = append(cfg.HTTPAddr, net.JoinHostPort(host, httpPort))
	}
	return cfg, nil
}
