package api

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// Budgets are what showback says of the same spend, their parts sum, and alerts are listed as they go.
func TestBudgetsAndAlerts(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	serve := func(rules func() *governance.Snapshot) {
		o := b.options
		o.Metrics, o.Governance = prometheus.NewRegistry(), rules
		handler, err := New(o)
		must(t, err)
		b.server = httptest.NewServer(handler)
		t.Cleanup(b.server.Close)
	}
	serve(nil)
	if status, _, body := b.get(b.keys[Finance], "/v1/budgets"); status != http.StatusNotFound || !strings.Contains(string(body), "no_governance") {
		t.Errorf("without a governance folder: %d %s", status, body)
	}
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("../deploy/example/governance")))
	must(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte("channels: [{id: log, kind: log}]\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "budgets.yaml"), []byte(`budgets:
  - {id: all, name: All, owner: finance, for: {}, period: month, amount_usd: "0.001", channel: log, soft: [1, 90, 1000]}
  - {id: cards, name: Cards, owner: cards, for: {team: [cards]}, period: day, time_zone: Europe/Zurich, amount_usd: "1000", channel: log}
`), 0o600))
	rules, err := governance.Load(dir)
	must(t, err)
	serve(func() *governance.Snapshot { return rules })
	all := ask[budgetsAnswer](b, Finance, "/v1/budgets")
	if len(all.Budgets) != 2 || all.AsOf == "0" {
		t.Fatalf("%+v", all)
	}
	one := all.Budgets[0]
	total := ask[showbackRows](b, Finance, "/v1/showback?from=2026-11-01&to=2026-12-01").Total
	if one.Spent.Cost != total.Cost || one.Spent.Requests != 60 || one.Spent.Unpriced == 0 || one.Amount.Minus(one.Spent.Cost) != one.Remaining {
		t.Errorf("spent %+v, showback says %+v", one.Spent, total)
	}
	var crossed []int
	for _, s := range one.Soft {
		if s.Crossed {
			crossed = append(crossed, s.Percent)
		}
	}
	if !slices.Equal(crossed, []int{1, 90}) {
		t.Errorf("%s %% spent, crossed %v", one.Percent, crossed)
	}
	for _, m := range one.Movements {
		var sum money.Sum
		for _, mover := range m.Movers {
			sum = sum.Plus(mover.Change)
		}
		if sum != one.Change || one.Causes.Calls.Plus(one.Causes.Each) != one.Change {
			t.Errorf("by %s the changes sum to %s, want %s", m.Dimension, sum, one.Change)
		}
	}
	if cards := ask[budgetsAnswer](b, Admin, "/v1/budgets?id=cards&on=2026-11-19"); len(cards.Budgets) != 1 || cards.Budgets[0].From != "2026-11-18T23:00:00Z" || cards.Budgets[0].Spent.Requests != 0 {
		t.Errorf("%+v", cards)
	}
	for path, status := range map[string]int{"/v1/budgets?on=yesterday": 400, "/v1/budgets?on=1999-12-31": 400, "/v1/budgets?team=cards": 400, "/v1/alerts?state=lost": 400, "/v1/alerts?limit=0": 400} {
		if got, _, body := b.get(b.keys[Admin], path); got != status {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	if got, _, _ := b.get(b.keys[Compliance], "/v1/budgets"); got != http.StatusForbidden {
		t.Errorf("compliance reads budgets: %d", got)
	}

	if none := ask[alertsAnswer](b, Operator, "/v1/alerts"); len(none.Alerts) != 0 || none.More {
		t.Errorf("%+v", none)
	}
	outbox := anomaly.NewOutbox(anomaly.OutboxOptions{Store: b.db, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Channel: func(id string) (*governance.Channel, bool) { return rules.Channel(id) }})
	must(t, outbox.Raise(t.Context(), anomaly.Alert{Kind: "budget", Subject: "a", Channel: "log", Title: "A"}, anomaly.Alert{Kind: "budget", Subject: "b", Channel: "log", Title: "B"}))
	must(t, outbox.Raise(t.Context(), anomaly.Alert{Kind: "finding", Subject: "c", Channel: "nowhere", Title: "C", Facts: []anomaly.Fact{{Name: "n", Value: "v"}}}))
	if _, err := outbox.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range ask[alertsAnswer](b, Finance, "/v1/alerts").Alerts {
		got[a.Title] = a.State
	}
	if want := map[string]string{"A": "delivered", "B": "covered", "C": "pending"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if page := ask[alertsAnswer](b, Operator, "/v1/alerts?state=pending&state=dead&limit=1"); len(page.Alerts) != 1 || page.Alerts[0].Outcome != "no channel" || page.More {
		t.Errorf("%+v", page)
	}
	if page := ask[alertsAnswer](b, Operator, "/v1/alerts?limit=2"); len(page.Alerts) != 2 || !page.More {
		t.Errorf("%+v", page)
	}
}
