package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/sql"
)

// consumer is one run of ingest, over all generations of its group.
type consumer struct {
	Options
	metrics   *metrics
	snapshots *snapshots
	last      uint64 // the last recorded_seq given out
}

// generation ingests the partitions of one generation until its ctx ends. One
// goroutine per partition fetches, decodes and derives; this one collects
// batches; a third writes them, so that the next batch is made while the last
// one is being stored. All of them wait when the store is away.
func (c *consumer) generation(ctx context.Context, g *kafka.Generation) error {
	c.metrics.lag.Reset() // partitions that went to others are not this process's to tell of
	if len(g.Partitions) == 0 {
		<-ctx.Done()
		return nil
	}
	positions, err := c.positions(ctx, g)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunks := make(chan chunk)
	full, free := make(chan *batch), make(chan *batch, 2)
	var workers sync.WaitGroup
	defer workers.Wait() // after cancel
	defer cancel(nil)
	start := func(work func() error) {
		workers.Go(func() {
			if err := work(); err != nil {
				cancel(err)
			}
		})
	}
	for _, partition := range g.Partitions {
		reader, err := g.Open(ctx, partition, positions[partition])
		if err != nil {
			return err
		}
		start(func() error { return c.read(ctx, partition, reader, chunks) })
	}
	w := &writer{consumer: c, commit: g.Commit}
	start(func() error { return w.run(ctx, full, free) })
	if slices.Contains(g.Partitions, 0) { // the group makes one process of all do it
		start(func() error { return c.adjust(ctx) })
	}
	free <- new(batch)
	free <- new(batch)

	end := map[int]int64{}
	for first := true; ; first = false {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.reset(c.Topic, g.Partitions, positions, end)
		// The first flush is empty: from then on every partition has its row,
		// and the watermark waits for it.
		if !first {
			if err := c.collect(ctx, b, chunks); err != nil {
				return err
			}
		}
		for _, p := range b.parts {
			positions[p.partition], end[p.partition] = p.next, p.end
		}
		select {
		case full <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// adjust posts what adjusted events say, until ctx ends. No failure of it keeps events from the books.
func (c *consumer) adjust(ctx context.Context) error {
	a := &adjuster{store: c.DB, topic: c.Topic, snapshots: c.snapshots, now: c.Now}
	tick := time.NewTicker(c.AdjustEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		run, done := finishing(ctx)
		effect, err := a.run(run)
		done()
		switch {
		case errors.Is(err, ErrOpen):
			c.Logger.Info("adjusted events wait for another correction to end", "error", err)
		case err != nil && ctx.Err() == nil && !clickhouse.Temporary(err): // the writer tells when the store is away
			c.Logger.Error("adjusted events could not be posted; trying again", "error", err)
		case effect.Number > 0:
			c.Logger.Info("adjusted events were posted", "restatement", effect.Number, "calls", effect.Events, "entries", effect.Entries)
		}
	}
}

// collect fills a batch until it is large or old enough, or nothing has come for a while.
func (c *consumer) collect(ctx context.Context, b *batch, chunks <-chan chunk) error {
	deadline := time.NewTimer(c.IdleEvery)
	defer deadline.Stop()
	for begun := false; len(b.items) < c.MaxEvents && b.bytes < c.MaxBytes; {
		select {
		case ch := <-chunks:
			if err := b.add(ch); err != nil {
				return err
			}
			if !begun && len(b.items) > 0 {
				begun = true
				deadline.Reset(c.FlushAfter)
			}
		case <-deadline.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// read takes one partition's messages through decoding and derivation.
func (c *consumer) read(ctx context.Context, partition int, reader *kafka.PartitionReader, chunks chan<- chunk) error {
	for {
		first := reader.Offset()
		messages, err := reader.Fetch(ctx)
		if err != nil {
			return err
		}
		ch := chunk{partition: partition, first: first, next: reader.Offset(), end: reader.End()}
		if ch.next == ch.first {
			continue
		}
		if ch.items, err = c.prepare(ctx, messages, make([]item, 0, len(messages))); err != nil {
			return err
		}
		select {
		case chunks <- ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress is how far a partition has been taken.
type progress struct {
	Partition uint32 `ch:"partition"`
	Next      uint64 `ch:"next_offset"`
	Last      uint64 `ch:"last"` // recorded_seq
}

func readProgress(ctx context.Context, store Store, topic string) ([]progress, error) {
	var all []progress
	err := store.Select(ctx, &all, sql.Query("ingest_progress"), clickhouse.Param("topic", topic))
	return all, err
}

// positions is where each partition goes on: behind the last batch, or at the
// first offset there is for a partition that was never read. It moves last
// beyond every recorded_seq that was given out for the topic, by whomever.
func (c *consumer) positions(ctx context.Context, g *kafka.Generation) (map[int]int64, error) {
	var all []progress
	err := retry(ctx, c.Logger, "read the positions", func() (err error) {
		all, err = readProgress(ctx, c.DB, c.Topic)
		return err
	})
	if err != nil {
		return nil, err
	}
	next := map[int]int64{}
	for _, p := range all {
		c.last = max(c.last, p.Last)
		next[int(p.Partition)] = int64(p.Next)
	}
	var first map[int]int64
	positions := map[int]int64{}
	for _, p := range g.Partitions {
		if at, ok := next[p]; ok {
			positions[p] = at
			continue
		}
		if first == nil {
			if first, _, err = g.Offsets(ctx); err != nil {
				return nil, fmt.Errorf("read the offsets of topic %s: %w", c.Topic, err)
			}
		}
		if positions[p] = first[p]; first[p] > 0 {
			c.Logger.Warn("the partition was never read and its first messages are gone", "partition", p, "first_offset", first[p])
		}
	}
	return positions, nil
}
