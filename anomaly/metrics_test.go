package anomaly

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	began := time.Unix(1_000_000, 0)
	m.ended(Run{Days: 3, Found: 4, Corrected: 2, Withdrawn: 1}, nil, began, began.Add(2*time.Second))
	m.ended(Run{}, nil, began, began.Add(time.Minute))                      // nothing to look at: no duration
	m.ended(Run{Days: 1, Found: 1}, errors.New("away"), began, time.Time{}) // what was done until then counts
	(*Metrics)(nil).ended(Run{Days: 1}, nil, began, began)

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, x := range f.Metric {
			name := f.GetName()
			for _, l := range x.Label {
				name += " " + l.GetValue()
			}
			got[name] = x.GetCounter().GetValue() + x.GetGauge().GetValue() + float64(x.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"ledgerline_detection_seconds": 2, "ledgerline_detection_days_total": 4, "ledgerline_detection_success_seconds": 1_000_060,
		"ledgerline_findings_total found": 5, "ledgerline_findings_total corrected": 2, "ledgerline_findings_total withdrawn": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
