package ingest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/sql"
)

// grace is how long work that has begun may take to end after its partitions were called back.
const grace = 15 * time.Second

// finishing is a context that ends that long after ctx.
func finishing(ctx context.Context) (context.Context, func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return work, func() {
		stop()
		cancel()
	}
}

// writer stores batches, one after the other.
type writer struct {
	*consumer
	commit func(context.Context, map[int]int64) error
}

func (w *writer) run(ctx context.Context, full <-chan *batch, free chan<- *batch) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-full:
			if err := w.store(ctx, b); err != nil {
				return err
			}
			free <- b
		}
	}
}

// store is one flush, finished also when ctx ends meanwhile.
func (w *writer) store(ctx context.Context, b *batch) error {
	flush, done := finishing(ctx)
	defer done()
	began := w.Now()
	if err := w.flush(flush, b); err != nil {
		return err
	}
	w.metrics.flushed(b, w.Now().Sub(began).Seconds())
	next := map[int]int64{}
	for _, p := range b.parts {
		next[p.partition] = p.next
	}
	if ctx.Err() != nil {
		return nil
	}
	return w.commit(ctx, next)
}

// flush writes a batch: its rows, then the rows of batches. Every insert is
// repeated with the same rows until it has worked.
func (w *writer) flush(ctx context.Context, b *batch) error {
	before, err := w.stored(ctx, b)
	if err != nil {
		return err
	}
	w.last = max(uint64(w.Now().UnixMicro()), w.last+1)
	b.settle(w.last, before)

	group, all := errgroup.WithContext(ctx)
	insert := func(table string, rows int, columns []clickhouse.Column) {
		if rows > 0 {
			group.Go(func() error { return w.insert(all, table, b.token(table), columns) })
		}
	}
	insert("events", len(b.events.id), b.events.columns())
	insert("requests", len(b.requests.id), b.requests.columns())
	insert("charges", len(b.charges.id), b.charges.columns())
	insert("quarantine", len(b.bad), quarantineColumns(b.bad))
	if err := group.Wait(); err != nil {
		return err
	}
	after, err := w.fence(ctx, b)
	if err != nil {
		return err
	}
	// One insert for each partition: its token is what tells two processes
	// apart that own the same partition for a moment. None is broken off when
	// another one fails: what is under way could still enter later.
	var rows errgroup.Group
	for i := range b.parts {
		p := b.parts[i].partition
		rows.Go(func() error {
			return w.insert(ctx, "batches", fmt.Sprintf("batch %s %d after %d", b.topic, p, after[p]), b.batchColumns(i))
		})
	}
	return rows.Wait()
}

func (w *writer) insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	return retry(ctx, w.Logger, "insert into "+table, func() error { return w.DB.Insert(ctx, table, token, columns) })
}

// token names the content of one table's rows of the batch. recorded_seq is in
// it: a batch that is made again after a crash has other rows and must go in,
// only the retry of this very batch is to be dropped.
func (b *batch) token(table string) string {
	t := table + " " + b.topic + " " + strconv.FormatUint(b.seq, 10)
	for _, p := range b.parts {
		t += fmt.Sprintf(" %d:%d-%d", p.partition, p.first, p.next)
	}
	return t
}

// stored looks up which events of the batch the store has, committed or not.
func (w *writer) stored(ctx context.Context, b *batch) (map[event.ID]stored, error) {
	if len(b.byID) == 0 {
		return nil, nil
	}
	times, ids := make([]int64, 0, len(b.byID)), make([][16]byte, 0, len(b.byID))
	for i := range b.items {
		if it := &b.items[i]; it.reason == "" {
			times, ids = append(times, int64(it.ev.Time)), append(ids, it.ev.ID)
		}
	}
	var found map[event.ID]stored
	err := retry(ctx, w.Logger, "look for events that are stored already", func() (err error) {
		found, err = lookUp(ctx, w.DB, times, ids)
		return err
	})
	return found, err
}

// lookUp finds the first record of each of the events that is stored.
func lookUp(ctx context.Context, store Store, times []int64, ids [][16]byte) (map[event.ID]stored, error) {
	var rows []struct {
		ID        string `ch:"id"`
		Topic     string `ch:"topic"`
		Partition uint32 `ch:"partition"`
		Offset    uint64 `ch:"offset"`
		Digest    string `ch:"digest"`
	}
	err := store.Select(ctx, &rows, sql.Query("ingest_stored"), clickhouse.Table("sent", []clickhouse.Column{
		{Name: "time", Type: "DateTime64(6, 'UTC')", Data: times}, {Name: "event_id", Type: "UUID", Data: ids},
	}))
	if err != nil {
		return nil, err
	}
	found := make(map[event.ID]stored, len(rows))
	for _, r := range rows { // the first record comes last
		found[event.ID([]byte(r.ID))] = stored{r.Topic, int(r.Partition), int64(r.Offset), [32]byte([]byte(r.Digest))}
	}
	return found, nil
}

// fence makes sure that nobody else has written these partitions since the
// last batch: two processes that own the same partition must not go on. It
// gives each partition's last recorded_seq, which the new batch follows. When
// another process lets its batch follow the same one between this look and the
// insert, the store drops the later row by its token, so no offset is in two
// batches; its writer finds out here with its next flush. The store remembers
// the last 10,000 tokens: a process that stands still between the two for
// longer than that, about an hour at three partitions and a flush a second, is
// not held back.
func (w *writer) fence(ctx context.Context, b *batch) (after map[int]uint64, err error) {
	var all []progress
	err = retry(ctx, w.Logger, "check the positions", func() (err error) {
		all, err = readProgress(ctx, w.DB, b.topic)
		return err
	})
	if err != nil {
		return nil, err
	}
	after = map[int]uint64{}
	for _, p := range b.parts {
		for _, at := range all {
			if int(at.Partition) != p.partition {
				continue
			}
			after[p.partition] = at.Last
			if int64(at.Next) != p.first || at.Last >= b.seq {
				return nil, fmt.Errorf("partition %d: this batch goes on at offset %d (recorded_seq %d), the store is at %d (%d): another process writes it",
					p.partition, p.first, b.seq, at.Next, at.Last)
			}
		}
	}
	return after, nil
}
