package governance

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/ledgerline/ledgerline/internal/money"
)

func TestBudgets(t *testing.T) {
	s := mustBuild(t, folder(t, "testdata/base"))
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	want := []*Budget{
		{ID: "all-day", Name: "All", Owner: "finance", For: map[string][]string{}, Period: "day", TimeZone: time.UTC,
			Amount: 500_000_000_000, Soft: []int{50, 80, 100}, Channel: "log"},
		{ID: "risk-month", Name: "Risk", Owner: "head of risk", For: map[string][]string{"team": {"risk"}, "use_case": {"kyc", "chat"}}, Period: "month",
			TimeZone: zurich, Amount: money.Pico(1_200_500_000_000_000), Soft: []int{80, 120}, Channel: "ops"},
	}
	if got := s.Budgets(); !reflect.DeepEqual(got, want) {
		t.Errorf("budgets %+v, want %+v", got, want)
	}
	if s.PublicURL() != "https://ledgerline.example.com" || len(s.Channels()) != 3 || s.FindingsChannel() != "hook" {
		t.Errorf("public address %q, %d channels", s.PublicURL(), len(s.Channels()))
	}
}

func TestHardBudgets(t *testing.T) {
	texts := folder(t, "testdata/base")
	texts["budgets.yaml"] = []byte(`budgets:
  - {id: a, name: A, owner: o, for: {}, period: month, time_zone: Europe/Zurich, amount_usd: "10", channel: log, hard: {action: block}}
  - {id: b, name: B, owner: o, for: {}, period: day, time_zone: Europe/Zurich, amount_usd: "0.5", channel: log,
     hard: {percent: 120, action: alert, grace_usd: "2", unknown: allow, override: {extra_usd: "5", until: 2026-11-30, by: finance, reason: year end}}}
`)
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	const dollar = money.Pico(1_000_000_000_000)
	want := []*Hard{
		{Limit: 10 * dollar, Block: true},
		{Limit: 6 * dollar / 10, Grace: 2 * dollar, AllowUnknown: true,
			Override: Override{Extra: 5 * dollar, Until: time.Date(2026, 12, 1, 0, 0, 0, 0, zurich), By: "finance", Reason: "year end"}},
	}
	for i, b := range mustBuild(t, texts).Budgets() {
		if !reflect.DeepEqual(b.Hard, want[i]) {
			t.Errorf("budget %s: %+v, want %+v", b.ID, b.Hard, want[i])
		}
	}
	for at, limit := range map[string]money.Pico{"2026-11-30T22:59:59Z": 56 * dollar / 10, "2026-11-30T23:00:00Z": 6 * dollar / 10} {
		if got := want[1].LimitAt(day(t, at)); got != limit {
			t.Errorf("at %s: %s, want %s", at, got, limit)
		}
	}
}

// A snapshot from before there were budgets still reads, and has none.
func TestBudgetsAreOptional(t *testing.T) {
	texts := folder(t, "testdata/base")
	delete(texts, "budgets.yaml")
	delete(texts, "alerts.yaml")
	if s := mustBuild(t, texts); len(s.Budgets()) != 0 || len(s.Channels()) != 0 || s.PublicURL() != "" {
		t.Error("budgets from nowhere")
	}
	texts = folder(t, "testdata/base")
	delete(texts, "alerts.yaml")
	if _, err := build(texts); err == nil || !strings.Contains(err.Error(), `budgets.yaml:2:96: budget all-day: channel "log" is not in alerts.yaml`) {
		t.Errorf("budgets without channels: %v", err)
	}
}

// Periods are those of the calendar on the wall there, also where clocks change in them.
func TestBudgetBounds(t *testing.T) {
	for _, tt := range []struct{ period, zone, at, from, to string }{
		{"day", "UTC", "2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"},
		{"day", "Europe/Zurich", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // 25 hours
		{"day", "Europe/Zurich", "2026-11-24T23:30:00Z", "2026-11-24T23:00:00Z", "2026-11-25T23:00:00Z"},
		{"week", "UTC", "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"}, // a Sunday
		{"week", "UTC", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"}, // a Monday
		{"month", "America/New_York", "2026-11-01T03:00:00Z", "2026-10-01T04:00:00Z", "2026-11-01T04:00:00Z"},
		{"month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"quarter", "Asia/Kolkata", "2026-12-31T19:00:00Z", "2026-12-31T18:30:00Z", "2027-03-31T18:30:00Z"},
		{"quarter", "UTC", "2026-11-24T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		b := Budget{Period: tt.period, TimeZone: zone}
		from, to := b.Bounds(day(t, tt.at))
		if !from.Equal(day(t, tt.from)) || !to.Equal(day(t, tt.to)) {
			t.Errorf("%s %s at %s: %s to %s, want %s to %s", tt.period, tt.zone, tt.at, from.UTC(), to.UTC(), tt.from, tt.to)
		}
	}
}

// An address comes from where the channel says, anew each time, and never shows in an error.
func TestChannelAddress(t *testing.T) {
	const secret = "https://hooks.example.com/services/T0/B0/Zq7secret"
	file := filepath.Join(t.TempDir(), "slack")
	for _, tt := range []struct{ name, text, want string }{
		{"good", secret + "\n", secret},
		{"changed", "http://127.0.0.1:9/x", "http://127.0.0.1:9/x"},
		{"empty", "\n", ""},
		{"no scheme", "hooks.example.com/services/T0/B0/Zq7secret", ""},
		{"another scheme", "ftp://hooks.example.com/Zq7secret", ""},
		{"not an address", "https://hooks.example.com/\x7fZq7secret", ""},
		{"no host", "https:///Zq7secret", ""},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("LEDGERLINE_TEST_HOOK", tt.text)
		for _, c := range []*Channel{{ID: "ops", Kind: "slack", File: file}, {ID: "hook", Kind: "webhook", Env: "LEDGERLINE_TEST_HOOK"}} {
			u, err := c.Address()
			if tt.want != "" && (err != nil || u.String() != tt.want) || tt.want == "" && err == nil {
				t.Errorf("%s, %s: %v, %v", tt.name, c.ID, u, err)
			}
			if err != nil && strings.Contains(err.Error(), "Zq7secret") {
				t.Errorf("%s, %s: the address is in %q", tt.name, c.ID, err)
			}
		}
	}
	if _, err := (&Channel{ID: "ops", File: file + ".gone"}).Address(); err == nil {
		t.Error("a file that is not there has an address")
	}
}
