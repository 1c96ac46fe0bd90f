package anomaly

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// OutboxMetrics count what an outbox did since its process started, and show
// what waits in it. A nil *OutboxMetrics counts nothing.
type OutboxMetrics struct {
	alerts   *prometheus.CounterVec // by kind
	sendings *prometheus.CounterVec // by the state that they led to
	waiting  prometheus.Gauge
	oldest   prometheus.Gauge
	dead     prometheus.Gauge
}

// NewOutboxMetrics makes the metrics and registers them.
func NewOutboxMetrics(r prometheus.Registerer) *OutboxMetrics {
	m := &OutboxMetrics{
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_alerts_total", Help: "Alerts raised, by kind; those covered by a graver one are not counted.",
		}, []string{"kind"}),
		sendings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ledgerline_alert_sendings_total", Help: "Sendings of alerts by what became of the alert: delivered, pending (it is tried again) or dead.",
		}, []string{"state"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_alerts_waiting", Help: "Alerts that are not delivered yet, as of the last look.",
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_alerts_oldest_waiting_seconds", Help: "For how long the oldest of them is being tried; rising: a channel does not take them.",
		}),
		dead: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ledgerline_alerts_dead", Help: "Alerts that were given up and not revived; not zero: see ledgerline alerts.",
		}),
	}
	r.MustRegister(m.alerts, m.sendings, m.waiting, m.oldest, m.dead)
	for _, kind := range []string{"budget", "finding"} {
		m.alerts.WithLabelValues(kind)
	}
	for _, state := range []string{Delivered, Pending, Dead} {
		m.sendings.WithLabelValues(state)
	}
	return m
}

func (m *OutboxMetrics) raised(kind, state string) {
	if m != nil && state == Pending {
		m.alerts.WithLabelValues(kind).Inc()
	}
}

func (m *OutboxMetrics) sent(state string) {
	if m != nil {
		m.sendings.WithLabelValues(state).Inc()
	}
}

// found is told what a look at the outbox found.
func (m *OutboxMetrics) found(waiting, dead uint64, since, now time.Time) {
	if m == nil {
		return
	}
	m.waiting.Set(float64(waiting))
	m.dead.Set(float64(dead))
	m.oldest.Set(0)
	if waiting > 0 {
		m.oldest.Set(max(now.Sub(since).Seconds(), 0))
	}
}
