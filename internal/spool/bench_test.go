package spool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/prometheus/client_golang/prometheus"
)

// One request: an intent, a 2 KB outcome, and the wait until it is durable,
// with a Drain that takes everything at once.
func BenchmarkRequest(b *testing.B) {
	for _, d := range []struct {
		name string
		d    Durability
	}{{"write", Write}, {"fsync", Fsync}} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", d.name, callers), func(b *testing.B) {
				metrics := prometheus.NewRegistry()
				s, err := Open(Options{Dir: b.TempDir(), Instance: "bench", Durability: d.d, Metrics: metrics})
				if err != nil {
					b.Fatal(err)
				}
				go s.Drain(b.Context(), func(context.Context, []Entry) error { return nil })
				b.ReportAllocs()
				b.ResetTimer()
				cpu := cpuTime()
				var left atomic.Int64
				left.Store(int64(b.N))
				done := make(chan error)
				for range callers {
					go func() {
						in, ev := sampleIntent(), sampleEvent()
						for left.Add(-1) >= 0 {
							in.ID = event.NewID(in.Time)
							ev.ID = in.ID
							if err := s.Begin(in); err != nil {
								done <- err
								return
							}
							r, err := s.Finish(ev)
							if err == nil {
								err = s.Wait(r, time.Minute)
							}
							if err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range callers {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(syncs(b, metrics)/float64(b.N), "syncs/op")
				if err := s.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// What handing one event to publish costs when they wait in the spool.
func BenchmarkDrain(b *testing.B) {
	s, err := Open(Options{Dir: b.TempDir(), Instance: "bench", Durability: Write})
	if err != nil {
		b.Fatal(err)
	}
	ev := sampleEvent()
	var gate sync.Mutex // held while the spool fills
	go s.Drain(b.Context(), func(context.Context, []Entry) error {
		gate.Lock()
		defer gate.Unlock()
		return nil
	})
	b.ReportAllocs()
	for left := b.N; left > 0; left -= 50_000 {
		b.StopTimer()
		gate.Lock()
		for range min(left, 50_000) {
			ev.ID = event.NewID(ev.Time)
			if _, err := s.Record(ev); err != nil {
				b.Fatal(err)
			}
		}
		gate.Unlock()
		b.StartTimer()
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := s.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// The encoding alone, which is part of every Finish.
func BenchmarkEncode(b *testing.B) {
	ev := sampleEvent()
	ev.Writer, ev.Seq = "bench.0123456789abcdef", 1
	var buf []byte
	b.ReportAllocs()
	cpu := cpuTime()
	for range b.N {
		out, err := ev.Append(buf[:0])
		if err != nil {
			b.Fatal(err)
		}
		buf = out
	}
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(len(buf)), "bytes")
}

// cpuTime is that of the process. Unlike the wall clock it can be trusted on a
// machine that is busy with something else.
func cpuTime() time.Duration {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func syncs(b *testing.B, metrics *prometheus.Registry) float64 {
	families, err := metrics.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ledgerline_spool_fsync_seconds" {
			return float64(f.Metric[0].GetHistogram().GetSampleCount())
		}
	}
	b.Fatal("no figure for syncs")
	return 0
}
