package kafka

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// cpu is what this process has used: the embedded broker is another one.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func sized(n, size int) []Message {
	messages := make([]Message, n)
	for i := range messages {
		messages[i] = Message{Key: fmt.Appendf(nil, "0193b2f0-0000-7000-8000-%012x", i*2654435761), Value: bytes.Repeat([]byte("abcdefghi\n"), size/10)}
	}
	return messages
}

// BenchmarkPublish measures one publish to three partitions; cpu-ns/msg is this process's.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1000, 2000} {
		for _, batch := range []int{20, 200, 1000} {
			b.Run(fmt.Sprintf("%dB/batch%d", size, batch), func(b *testing.B) {
				c := target(b)
				p := newProducer(b, c, newTopic(b, c, Topic{Partitions: 3}))
				messages := sized(batch, size)
				if err := p.Publish(b.Context(), messages); err != nil {
					b.Fatal(err)
				}
				used := cpu(b)
				for b.Loop() {
					if err := p.Publish(b.Context(), messages); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpu(b)-used)/float64(b.N*batch), "cpu-ns/msg")
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

// BenchmarkFetch measures reading one partition from its start, message by message.
func BenchmarkFetch(b *testing.B) {
	for _, size := range []int{1000, 2000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			c := target(b)
			topic := newTopic(b, c, Topic{})
			p := newProducer(b, c, topic)
			for range 100 {
				if err := p.Publish(b.Context(), sized(400, size)); err != nil {
					b.Fatal(err)
				}
			}
			client, transport, err := c.client(topic)
			if err != nil {
				b.Fatal(err)
			}
			defer transport.CloseIdleConnections()
			var n int
			used := cpu(b)
			for b.Loop() {
				reader, err := openPartition(b.Context(), client, quiet, topic, 0, 0)
				if err != nil {
					b.Fatal(err)
				}
				for reader.Offset() < reader.End() {
					messages, err := reader.Fetch(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					n += len(messages)
				}
			}
			b.ReportMetric(float64(cpu(b)-used)/float64(n), "cpu-ns/msg")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
