package ingest

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/kafka"
)

// A process does not go on telling the lag of partitions that it lost.
func TestLagOfLostPartitions(t *testing.T) {
	c := &consumer{metrics: newMetrics(nil)}
	c.metrics.lag.WithLabelValues("2").Set(7)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.generation(ctx, &kafka.Generation{}); err != nil {
		t.Fatal(err)
	}
	told := make(chan prometheus.Metric, 2)
	c.metrics.lag.Collect(told)
	if len(told) != 0 {
		t.Errorf("%d partitions are told of", len(told))
	}
}
