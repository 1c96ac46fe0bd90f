package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/proxy/wire"
)

// The metrics, all with the prefix ledgerline_proxy_:
//
//	requests_total{format,outcome}   calls by their end: completed, left, cut, withheld, failed, denied
//	refused_total{reason}            requests that make no event: unauthenticated, not_found, malformed, stopping, spool
//	attempts_total{endpoint,class}   calls upstream: ok, client_error, rate_limited, server_error, and the error classes
//	                                 connect, timeout, reset, cut, protocol, too_large, cancelled
//	usage_missing_total{endpoint}    answers with status 2xx that told no usage
//	sources_flagged_total{reason}    calls let through without the sources that they must declare: missing, malformed; or whose
//	                                 sources were more than an event takes: partial
//	first_byte_seconds{format}       from admission to the answer's first byte, attempts included
//	in_flight                        calls
//	circuits_open                    endpoints that rest after failures, or because they asked for it
//	drains                           answers read on for clients that left
//	withheld_total                   answers cut because their record was not durable in time
//	lost_total                       outcomes that could not be recorded: 0, or the disk has failed
//	bypassed_total, bypass           calls that passed unrecorded; 1 while they do
//
// Endpoints are those of the registry, formats those of package wire.
type metrics struct {
	requests  *prometheus.CounterVec
	attempts  *prometheus.CounterVec
	missing   *prometheus.CounterVec
	firstByte *prometheus.HistogramVec
	byFormat  map[*wire.Format]*formatMetrics

	unauthenticated, notFound, malformed, stopping, spoolRefused prometheus.Counter
	withheld, lost, bypassed                                     prometheus.Counter
	sourcesMissing, sourcesMalformed, sourcesCut                 prometheus.Counter
	bypass                                                       prometheus.Gauge
}

type formatMetrics struct {
	completed prometheus.Counter // the usual outcome, bound
	firstByte prometheus.Observer
}

type endpointMetrics struct {
	ok, missing prometheus.Counter // the usual ends, bound
	others      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, s *Server) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "ledgerline_proxy_" + name, Help: help})
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ledgerline_proxy_" + name, Help: help}, f)
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ledgerline_proxy_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests: vec("requests_total", "Calls by their end.", "format", "outcome"),
		attempts: vec("attempts_total", "Calls upstream by their end.", "endpoint", "class"),
		missing:  vec("usage_missing_total", "Answers with status 2xx that told no usage.", "endpoint"),
		firstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ledgerline_proxy_first_byte_seconds",
			Help: "From admission to the answer's first byte.", Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 100}}, []string{"format"}),
		withheld: counter("withheld_total", "Answers cut because their record was not durable in time."),
		lost:     counter("lost_total", "Outcomes that could not be recorded."),
		bypassed: counter("bypassed_total", "Calls that passed unrecorded."),
		bypass:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "ledgerline_proxy_bypass", Help: "1 while calls pass unrecorded."}),
		byFormat: map[*wire.Format]*formatMetrics{},
	}
	refused := vec("refused_total", "Requests that make no event.", "reason")
	for reason, c := range map[string]*prometheus.Counter{
		"unauthenticated": &m.unauthenticated, "not_found": &m.notFound, "malformed": &m.malformed, "stopping": &m.stopping, "spool": &m.spoolRefused,
	} {
		*c = refused.WithLabelValues(reason)
	}
	flagged := vec("sources_flagged_total", "Calls whose sources are missing, malformed or partial in the record.", "reason")
	m.sourcesMissing, m.sourcesMalformed, m.sourcesCut = flagged.WithLabelValues("missing"), flagged.WithLabelValues("malformed"), flagged.WithLabelValues("partial")
	for _, f := range append(wire.All[:], wire.Passthrough) {
		m.byFormat[f] = &formatMetrics{m.requests.WithLabelValues(f.Name, "completed"), m.firstByte.WithLabelValues(f.Name)}
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.attempts, m.missing, m.firstByte, m.withheld, m.lost, m.bypassed, m.bypass, refused, flagged,
		gauge("in_flight", "Calls in flight.", func() float64 { return float64(s.flight.len()) }),
		gauge("circuits_open", "Endpoints that rest after failures, or because they asked for it.", func() float64 { return float64(s.circuits.open(s.o.Now().UnixNano())) }),
		gauge("drains", "Answers read on for clients that left.", func() float64 { return float64(len(s.drains)) }),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) endpoint(id string) endpointMetrics {
	return endpointMetrics{ok: m.attempts.WithLabelValues(id, "ok"), missing: m.missing.WithLabelValues(id), others: m.attempts.MustCurryWith(prometheus.Labels{"endpoint": id})}
}

// attempt counts an attempt that ended.
func (e *endpointMetrics) attempt(a *event.Attempt) {
	class := a.Error
	switch {
	case class == "" && a.Status < 300:
		e.ok.Inc()
		if a.UsageSource == event.UsageMissing {
			e.missing.Inc()
		}
		return
	case class == "" || class == "http":
		switch class = "client_error"; {
		case a.Status == 429:
			class = "rate_limited"
		case a.Status >= 500:
			class = "server_error"
		case a.Status < 400:
			class = "ok" // a redirect, or an error event in a stream
		}
	}
	e.others.WithLabelValues(class).Inc()
}

// ended counts a call.
func (m *metrics) ended(c *call, outcome string) {
	f := m.byFormat[c.format]
	if outcome == "completed" {
		f.completed.Inc()
	} else {
		m.requests.WithLabelValues(c.format.Name, outcome).Inc()
	}
	if first := c.data.Outcome.FirstByte; first > 0 {
		f.firstByte.Observe(float64(first) / 1e6)
	}
}
