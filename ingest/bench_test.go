package ingest

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMessages are n calls of one hour, such as a proxy records them.
func benchMessages(b *testing.B, p *pipeline, n int, begin event.Micros) []kafka.Message {
	var seq uint64
	messages := make([]kafka.Message, n)
	for i := range messages {
		ev := callAt(p.snap, begin+event.Micros(i)*3600_000_000/event.Micros(n), chatUsage(1000+i%5000, i%900, i%700))
		r := ev.Request
		r.Call.BodyBytes, r.Call.BodyDigest = int64(1000+i%3000), fmt.Sprintf("%064x", i*7919)
		r.Call.TraceID, r.Call.ParentID = fmt.Sprintf("%032x", i*104729), fmt.Sprintf("%016x", i)
		r.Attribution.User = event.Dimension{Value: fmt.Sprintf("u_%016x", i%5000), Provenance: event.FromHeader}
		r.Attribution.Application = event.Dimension{Value: fmt.Sprint("app-", i%20), Provenance: event.FromHeader}
		r.Attempts[0].ProviderID = fmt.Sprintf("chatcmpl-%024x", i*31)
		r.Outcome.Latency, r.Outcome.AnswerBytes, r.Outcome.AnswerDigest, r.Outcome.Finish = int64(300_000+i), int64(i%4000), fmt.Sprintf("%064x", i*13), "stop"
		messages[i] = kafka.Message{Value: encode(b, "bench", &seq, ev)[0], Offset: int64(i)}
	}
	return messages
}

func BenchmarkPrepare(b *testing.B) {
	snap := loadSnapshot(b)
	p := &pipeline{t: b, snap: snap}
	messages := benchMessages(b, p, 20_000, at("2026-10-10T10:00:00Z"))
	c := &consumer{snapshots: &snapshots{}}
	c.snapshots.found.Store(snap.Digest, snap)
	batch := new(batch)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		items, err := c.prepare(b.Context(), messages, make([]item, 0, len(messages)))
		if err != nil {
			b.Fatal(err)
		}
		batch.reset("t", []int{0}, map[int]int64{0: 0}, nil)
		if err := batch.add(chunk{first: 0, next: int64(len(messages)), items: items}); err != nil {
			b.Fatal(err)
		}
		batch.settle(1, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(messages)), "ns/event")
	b.ReportMetric(float64(len(messages[0].Value)), "B/event")
}

// BenchmarkFlush takes batches of 20,000 events to a ClickHouse on the same machine.
func BenchmarkFlush(b *testing.B) {
	p := newPipeline(b, 0)
	const n = 20_000
	o := p.options(p.db)
	if err := o.setDefaults(); err != nil {
		b.Fatal(err)
	}
	c := &consumer{Options: o, metrics: newMetrics(nil), snapshots: newSnapshots(o)}
	w := &writer{consumer: c}
	batch := new(batch)
	begin := at("2026-10-10T00:00:00Z")
	batches := make([][]kafka.Message, b.N)
	for i := range batches {
		batches[i] = benchMessages(b, p, n, begin+event.Micros(i)*3600_000_000)
	}
	next := int64(0)
	b.ResetTimer()
	used := cpu()
	var prepared, stored time.Duration
	for i := range b.N {
		t0 := time.Now()
		messages := batches[i]
		for j := range messages {
			messages[j].Offset = next + int64(j)
		}
		items, err := c.prepare(b.Context(), messages, make([]item, 0, n))
		if err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		batch.reset(p.topic, []int{0}, map[int]int64{0: next}, nil)
		if err := batch.add(chunk{first: next, next: next + n, items: items}); err != nil {
			b.Fatal(err)
		}
		t2 := time.Now()
		if err := w.flush(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		prepared, stored = prepared+t1.Sub(t0), stored+time.Since(t2)
		next += n
	}
	events := float64(b.N * n)
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/events/1000, "cpu-µs/event")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(prepared.Nanoseconds())/events/1000, "prepare-µs")
	b.ReportMetric(float64(stored.Nanoseconds())/events/1000, "flush-µs")
}

// BenchmarkIngest takes 20,000 events an iteration from a broker to a ClickHouse on the same machine.
func BenchmarkIngest(b *testing.B) {
	p := newPipeline(b, 3)
	p.publishSnapshot(p.snap)
	const n = 20_000
	for i := range b.N {
		messages := benchMessages(b, p, n, at("2026-10-10T00:00:00Z")+event.Micros(i)*3600_000_000)
		for from := 0; from < n; from += 1000 {
			for j := from; j < from+1000; j++ {
				messages[j].Key = fmt.Append(nil, i, j)
			}
			if err := p.producer.Publish(b.Context(), messages[from:from+1000]); err != nil {
				b.Fatal(err)
			}
		}
	}
	o := p.options(p.db)
	o.FlushAfter, o.IdleEvery = time.Second, 5*time.Second
	joined := make(chan struct{})
	o.Logger = slog.New(notify{p.log.Handler(), "partitions assigned", joined})
	stop := p.start(o)
	<-joined
	b.ResetTimer()
	used := cpu()
	p.caughtUp()
	b.StopTimer()
	events := float64(b.N * n)
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/events/1000, "cpu-µs/event")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	if got := p.text("SELECT sum(events) FROM batches FINAL"); got != fmt.Sprint(b.N*n) {
		b.Fatalf("%s events are in the books", got)
	}
}
