package retention

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what the exports of a process did since it started. A nil *Metrics counts nothing.
type Metrics struct {
	seconds prometheus.Histogram
	days    *prometheus.CounterVec // by state
	rows    *prometheus.CounterVec // by table
	bytes   prometheus.Counter
	success prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerline_export_seconds", Help: "Duration of an export, also of one that failed.",
			Buckets: []float64{.1, .5, 1, 5, 10, 30, 60, 300, 1800, 7200},
		}),
		days: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_export_days_total", Help: "Classes and days that exports looked at, by what became of them.",
		}, []string{"state"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_export_rows_total", Help: "Rows that were written and read back, by table.",
		}, []string{"table"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledgerline_export_bytes_total", Help: "Bytes of the files that were sealed.",
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_export_success_seconds", Help: "Unix time of the last export that ended well; 0: none in this process.",
		}),
	}
	r.MustRegister(m.seconds, m.days, m.rows, m.bytes, m.success)
	for _, state := range []string{"sealed", "corrected", "unchanged", "waits"} {
		m.days.WithLabelValues(state)
	}
	for _, table := range []string{"requests", "charges"} {
		m.rows.WithLabelValues(table)
	}
	return m
}

// ended is told how an export went. A dry run is none.
func (m *Metrics) ended(r Result, err error, began, now time.Time) {
	if m == nil {
		return
	}
	m.seconds.Observe(now.Sub(began).Seconds())
	for _, d := range r.Days {
		m.days.WithLabelValues(d.State).Inc()
		m.bytes.Add(float64(d.Bytes))
		if d.State == "sealed" || d.State == "corrected" {
			m.rows.WithLabelValues("requests").Add(float64(d.Requests))
			m.rows.WithLabelValues("charges").Add(float64(d.Entries))
		}
	}
	if err == nil {
		m.success.Set(float64(now.UnixMicro()) / 1e6)
	}
}
