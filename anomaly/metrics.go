package anomaly

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what the detections of a process did since it started. A nil *Metrics counts nothing.
type Metrics struct {
	seconds  prometheus.Histogram
	days     prometheus.Counter
	findings *prometheus.CounterVec // by what a revision is: found, corrected or withdrawn
	success  prometheus.Gauge
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerline_detection_seconds", Help: "Duration of a detection that had days to look at, also of one that failed.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}),
		days: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledgerline_detection_days_total", Help: "Days that the detectors looked at.",
		}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_findings_total", Help: "Revisions of findings recorded: found, corrected or withdrawn.",
		}, []string{"revision"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_detection_success_seconds", Help: "Unix time of the last detection that ended well, also with nothing to do; 0: none in this process.",
		}),
	}
	r.MustRegister(m.seconds, m.days, m.findings, m.success)
	m.count(Run{})
	return m
}

func (m *Metrics) count(run Run) {
	m.findings.WithLabelValues("found").Add(float64(run.Found))
	m.findings.WithLabelValues("corrected").Add(float64(run.Corrected))
	m.findings.WithLabelValues("withdrawn").Add(float64(run.Withdrawn))
}

// ended is told how a detection went.
func (m *Metrics) ended(run Run, err error, began, now time.Time) {
	if m == nil {
		return
	}
	if err != nil || run.Days > 0 {
		m.seconds.Observe(now.Sub(began).Seconds())
	}
	m.days.Add(float64(run.Days))
	m.count(run)
	if err == nil {
		m.success.Set(float64(now.UnixMicro()) / 1e6)
	}
}
