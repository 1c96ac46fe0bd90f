package aggregate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what the rollups of a process did since it started. A nil *Metrics counts nothing.
type Metrics struct {
	seconds prometheus.Histogram
	days    prometheus.Counter
	cells   *prometheus.CounterVec // by rollup: cells or user_days
	stale   prometheus.Gauge
	success prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerline_rollup_seconds", Help: "Duration of a rollup that had days to make, also of one that failed.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}),
		days: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledgerline_rollup_days_total", Help: "Days made again and swapped in, all rollups of a day as one.",
		}),
		cells: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_rollup_cells_total", Help: "Cells swapped in, by rollup.",
		}, []string{"rollup"}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_rollup_stale_days", Help: "Days whose entries the rollups do not hold yet, as of the last look; not zero for long: rollups fail.",
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_rollup_success_seconds", Help: "Unix time of the last rollup that ended well, also with nothing to do; 0: none in this process.",
		}),
	}
	r.MustRegister(m.seconds, m.days, m.cells, m.stale, m.success)
	for _, rollup := range rollups {
		m.cells.WithLabelValues(rollup)
	}
	return m
}

// found is told how many days a run has to make.
func (m *Metrics) found(days int) {
	if m != nil {
		m.stale.Set(float64(days))
	}
}

// swapped is told of each rollup of each day that was swapped in.
func (m *Metrics) swapped(rollup string, cells uint64) {
	if m != nil {
		m.cells.WithLabelValues(rollup).Add(float64(cells))
	}
}

// ended is told how a run went. One that did not get the lock is none.
func (m *Metrics) ended(run Run, err error, began, now time.Time) {
	if m == nil {
		return
	}
	if err != nil || len(run.Days) > 0 {
		m.seconds.Observe(now.Sub(began).Seconds())
	}
	if err == nil {
		m.days.Add(float64(len(run.Days)))
		m.stale.Set(0)
		m.success.Set(float64(now.UnixMicro()) / 1e6)
	}
}
