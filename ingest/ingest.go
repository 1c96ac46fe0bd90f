// Package ingest takes events from the log to the store: topic, decode,
// derive, columns, ClickHouse.
//
// A flush is one batch of all partitions that this process owns. It has one
// recorded_seq (microseconds, never twice, never back), and writes events,
// requests, charges and quarantine first and the rows of batches last: a batch
// counts for readers when its rows are there. Every partition gets a row with
// every flush, an empty range too, so the watermark (the smallest last
// recorded_seq of all partitions) moves also where nothing happens.
//
// Positions come from batches, never from the consumer group. After a crash
// between the inserts the same offsets are read again and get a new
// recorded_seq; the tables keep the first record of each key, so nothing
// counts twice. A second delivery of an event is left out and counted; one
// with other bytes than the first goes to quarantine.
//
// Corrections ([Restate], adjusted events) and what quarantine gives back
// ([Replay]) enter under a number in the table restatements with a
// recorded_seq of their own. While its row is open the watermark stays below
// that recorded_seq. What adjusted events say is posted by the process that
// owns partition 0.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

// Store is what ingest needs of a ClickHouse; *clickhouse.DB is one.
type Store interface {
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
	Query(ctx context.Context, query string, args ...clickhouse.Arg) (clickhouse.Rows, error)
}

// Options say from where to where, and how large batches are.
type Options struct {
	Kafka           kafka.Config
	Topic           string // of the events
	GovernanceTopic string // compacted, digest → archive; empty: snapshots come from the table alone
	Group           string
	DB              Store
	Logger          *slog.Logger
	Metrics         prometheus.Registerer // nil: none
	Now             func() time.Time      // nil: time.Now

	MaxEvents  int           // of a batch; 0: 30,000
	MaxBytes   int           // of a batch's events as received; 0: 48 MiB
	FlushAfter time.Duration // from the first event of a batch; 0: 1 s
	IdleEvery  time.Duration // an empty flush when nothing comes; 0: 5 s

	AdjustEvery time.Duration // a look for adjusted events to post; 0: 10 s
}

func (o *Options) setDefaults() error {
	if o.DB == nil || o.Topic == "" || o.Group == "" {
		return errors.New("ingest needs a store, a topic and a group")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxEvents == 0 {
		o.MaxEvents = 30_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 48 << 20
	}
	if o.FlushAfter == 0 {
		o.FlushAfter = time.Second
	}
	if o.IdleEvery == 0 {
		o.IdleEvery = 5 * time.Second
	}
	if o.AdjustEvery == 0 {
		o.AdjustEvery = 10 * time.Second
	}
	return nil
}

// Run ingests until ctx ends, then returns nil. A store or brokers that are
// away delay it. It returns an error for what waiting cannot cure: a schema
// that does not fit, offsets that the topic no longer has, a partition that
// somebody else writes too. The process should end then and be started again.
func Run(ctx context.Context, o Options) error {
	if err := o.setDefaults(); err != nil {
		return err
	}
	c := &consumer{Options: o, metrics: newMetrics(o.Metrics), snapshots: newSnapshots(o)}
	err := kafka.Consume(ctx, kafka.GroupConfig{Config: o.Kafka, Group: o.Group, Topic: o.Topic, Logger: o.Logger}, c.generation)
	if err != nil {
		return fmt.Errorf("ingest of topic %s: %w", o.Topic, err)
	}
	return nil
}
