package aggregate_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
)

// Operators see how long rollups take, what they made, when the last one went well, and days that wait for one that fails.
func TestMetrics(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	registry := prometheus.NewRegistry()
	now := time.Date(2100, 1, 2, 12, 0, 0, 0, time.UTC)
	o := options()
	o.Exclusive, o.Metrics = true, aggregate.NewMetrics(registry)
	o.Now = func() time.Time {
		now = now.Add(time.Second)
		return now
	}
	count := func(table string) float64 {
		t.Helper()
		var n uint64
		if err := db.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return float64(n)
	}
	want := func(when string, want map[string]float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				if h := m.GetHistogram(); h.GetSampleCount() > 0 && h.GetSampleSum() < float64(h.GetSampleCount()) { // the clock goes a second a look
					t.Errorf("%s: %d runs took %v s", when, h.GetSampleCount(), h.GetSampleSum())
				}
			}
		}
		for name, v := range want {
			if got["ledgerline_rollup_"+name] != v {
				t.Errorf("%s: %s is %v, want %v", when, name, got["ledgerline_rollup_"+name], v)
			}
		}
		if len(got) != 6 {
			t.Errorf("%s: %v", when, got)
		}
	}
	want("at first", map[string]float64{"seconds": 0, "days_total": 0, "cells_total cells": 0, "cells_total user_days": 0, "stale_days": 0, "success_seconds": 0})

	entries := ledgertest.Make(rand.New(rand.NewPCG(6, 1)), 60, start, end)
	ledgertest.Post(t, db, 1000, entries...)
	if _, err := aggregate.Rollup(t.Context(), &crashing{DB: db, at: 5}, o); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	want("failed", map[string]float64{"seconds": 1, "days_total": 0, "cells_total cells": 0, "stale_days": 3, "success_seconds": 0})

	if _, err := aggregate.Rollup(t.Context(), db, o); err != nil {
		t.Fatal(err)
	}
	cells, users := count("cells"), count("user_days")
	want("made", map[string]float64{"seconds": 2, "days_total": 3, "cells_total cells": cells, "cells_total user_days": users, "stale_days": 0, "success_seconds": float64(now.Unix())})

	if _, err := aggregate.Rollup(t.Context(), db, o); err != nil {
		t.Fatal(err)
	}
	want("nothing to do", map[string]float64{"seconds": 2, "days_total": 3, "cells_total cells": cells, "stale_days": 0, "success_seconds": float64(now.Unix())})
}
