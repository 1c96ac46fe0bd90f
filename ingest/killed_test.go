package ingest

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
)

// The store is killed with -9 three times while batches are written. The same
// process goes on when it is back, and every event is in the books once.
func TestStoreKilled(t *testing.T) {
	t.Parallel()
	command, err := embeddedtest.Command()
	if err != nil {
		t.Fatal(err)
	}
	store, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Command: command, MemoryLimit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	p := &pipeline{t: t, snap: loadSnapshot(t), log: slog.New(slog.DiscardHandler), topic: "events"}
	p.db, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{store.Addr()}, Database: store.Database(), User: store.User(), Password: store.Password()}, p.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.db.Close() })
	if _, err := p.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := newSnapshots(p.options(p.db)).insert(t.Context(), p.snap, ""); err != nil {
		t.Fatal(err)
	}
	o := p.options(p.db)
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	c := &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
	var seq uint64
	begin := at("2026-10-10T10:00:00Z")
	const flushes, size = 30, 50
	for f := range flushes {
		var events []*event.Event
		for i := range size {
			events = append(events, callAt(p.snap, begin+event.Micros(f*size+i)*1000, chatUsage(1000, 0, 10)))
		}
		if f%10 == 5 {
			pid := store.Pid()
			go syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := p.flushOne(c, 0, int64(f*size), encode(t, "w", &seq, events...)); err != nil {
			t.Fatal(err)
		}
	}
	if n := store.Restarts(); n < 3 {
		t.Fatalf("the store was started again %d times, want 3", n)
	}
	if got := p.text("SELECT (SELECT count() FROM events FINAL), (SELECT sum(calls) FROM charges FINAL), (SELECT sum(events) FROM batches FINAL)"); got != "1500\t1500\t1500" {
		t.Errorf("events, calls, events of batches: %s", got)
	}
	p.wantGreen(begin.Time().Add(flushes * size * time.Millisecond))
}
