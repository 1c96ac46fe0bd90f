package ingest

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what a process did since it started.
type metrics struct {
	events, duplicates, quarantined prometheus.Counter
	entries                         *prometheus.CounterVec // by cost status
	lag                             *prometheus.GaugeVec   // by partition
	flush                           prometheus.Histogram
	recorded                        prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "ledgerline_ingest_" + name, Help: help})
	}
	m := &metrics{
		events:      counter("events_total", "Events written to the store."),
		duplicates:  counter("duplicates_total", "Events that were delivered again and left out."),
		quarantined: counter("quarantined_total", "Messages put into quarantine."),
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_ingest_entries_total", Help: "Ledger entries written, by cost status; unpriced ones need a price.",
		}, []string{"cost_status"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ledgerline_ingest_lag_messages", Help: "Messages of the partition that are not in the store yet.",
		}, []string{"partition"}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerline_ingest_flush_seconds", Help: "Duration of a flush.", Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		recorded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_ingest_recorded_seconds", Help: "Unix time of the last flush's recorded_seq; its age is the age of the watermark.",
		}),
	}
	if r != nil {
		r.MustRegister(m.events, m.duplicates, m.quarantined, m.entries, m.lag, m.flush, m.recorded)
	}
	return m
}

func (m *metrics) flushed(b *batch, seconds float64) {
	m.events.Add(float64(len(b.events.id)))
	m.quarantined.Add(float64(len(b.bad)))
	for _, p := range b.parts {
		m.duplicates.Add(float64(p.duplicates))
		m.lag.WithLabelValues(strconv.Itoa(p.partition)).Set(float64(max(p.end-p.next, 0)))
	}
	for status, n := range b.statuses {
		m.entries.WithLabelValues(status).Add(float64(n))
	}
	m.flush.Observe(seconds)
	m.recorded.Set(float64(b.seq) / 1e6)
}
