package spool

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// meters are the metrics of one opening, labelled with its instance. What the
// hot path counts is in plain integers under Spool.mu and read at a scrape.
type meters struct {
	fsync         prometheus.Histogram
	publishErrors prometheus.Counter
	intents       uint64 // begun; guarded by Spool.mu
	collector     *collector
}

func newMeters() *meters {
	return &meters{
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ledgerline_spool_fsync_seconds", Help: "Time of one sync of a segment.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 17), // to 3.3 s
		}),
		publishErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ledgerline_spool_publish_errors_total", Help: "Batches that could not be published and are tried again.",
		}),
	}
}

func (m *meters) register(to prometheus.Registerer, s *Spool) error {
	if to == nil {
		return nil
	}
	m.collector = &collector{s}
	if err := labelled(to, s.o.Instance).Register(m.collector); err != nil {
		return fmt.Errorf("register metrics of spool %s: %w", s.o.Instance, err)
	}
	return nil
}

func (m *meters) unregister(from prometheus.Registerer) {
	if m.collector != nil {
		labelled(from, m.collector.s.o.Instance).Unregister(m.collector)
	}
}

func labelled(r prometheus.Registerer, instance string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"spool": instance}, r)
}

// collector reads the figures of a spool.
type collector struct{ s *Spool }

var (
	descIntents  = prometheus.NewDesc("ledgerline_spool_intents_total", "Intents begun.", nil, nil)
	descOpen     = prometheus.NewDesc("ledgerline_spool_open_intents", "Intents without outcome.", nil, nil)
	descEvents   = prometheus.NewDesc("ledgerline_spool_events_total", "Events recorded, those found at the opening included.", nil, nil)
	descAppended = prometheus.NewDesc("ledgerline_spool_position_bytes", "Position of the end: rises by every byte appended.", nil, nil)
	descPending  = prometheus.NewDesc("ledgerline_spool_pending_events", "Events not yet published.", nil, nil)
	descAge      = prometheus.NewDesc("ledgerline_spool_oldest_pending_seconds", "Age of the oldest event being published, since its admission; 0 when none is.", nil, nil)
	descBytes    = prometheus.NewDesc("ledgerline_spool_bytes", "Bytes of all files.", nil, nil)
	descLimit    = prometheus.NewDesc("ledgerline_spool_limit_bytes", "Most that the files may take.", nil, nil)
	descFull     = prometheus.NewDesc("ledgerline_spool_full", "1 while admission is stopped for lack of room.", nil, nil)
	descFailed   = prometheus.NewDesc("ledgerline_spool_failed", "1 after the disk failed.", nil, nil)
)

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descIntents, descOpen, descEvents, descAppended, descPending, descAge, descBytes, descLimit, descFull, descFailed} {
		out <- d
	}
	c.s.meters.fsync.Describe(out)
	c.s.meters.publishErrors.Describe(out)
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.s
	s.mu.Lock()
	age := 0.0
	if s.head > 0 {
		age = max(0, s.o.Now().Sub(s.head.Time()).Seconds())
	}
	flag := func(set bool) float64 {
		if set {
			return 1
		}
		return 0
	}
	figures := []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value float64
	}{
		{descIntents, prometheus.CounterValue, float64(s.meters.intents)},
		{descOpen, prometheus.GaugeValue, float64(len(s.intents))},
		{descEvents, prometheus.CounterValue, float64(s.events)},
		{descAppended, prometheus.CounterValue, float64(s.end)},
		{descPending, prometheus.GaugeValue, float64(s.events - s.left)},
		{descAge, prometheus.GaugeValue, age},
		{descBytes, prometheus.GaugeValue, float64(s.total)},
		{descLimit, prometheus.GaugeValue, float64(s.o.MaxBytes)},
		{descFull, prometheus.GaugeValue, flag(s.full != nil && s.free() < beginRoom)},
		{descFailed, prometheus.GaugeValue, flag(s.failed != nil)},
	}
	s.mu.Unlock()
	for _, f := range figures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value)
	}
	s.meters.fsync.Collect(out)
	s.meters.publishErrors.Collect(out)
}
