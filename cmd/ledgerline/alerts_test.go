package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// From the ledger to the message: a budget that crosses a percentage is told once, with the reason, whichever jobs process looks, also
// after entries that come late took the spend below it and above it again.
func TestBudgetAlertsAreToldOnce(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	var mu sync.Mutex
	var told []string
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		told = append(told, string(body))
		io.WriteString(w, "ok")
	}))
	t.Cleanup(slack.Close)
	dir := t.TempDir()
	if _, err := writeDemoGovernance(dir, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("slack.address", slack.URL)
	write("alerts.yaml", fmt.Sprintf("channels: [{id: ops, kind: slack, url: {file: %q}}]\npublic_url: https://ledgerline.example.com\n", filepath.Join(dir, "slack.address")))
	write("budgets.yaml", `budgets:
  - {id: cards-month, name: Cards, owner: head of cards, for: {team: [cards]}, period: month, amount_usd: "100", channel: ops}
  - {id: lending-month, name: Lending, owner: head of lending, for: {team: [lending]}, period: month, amount_usd: "100", channel: ops}
`)
	// Long after the beginning of the month, so that the month before is no longer watched.
	now := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	clock := now // of the outbox
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	start := func() *alerts {
		f, err := openFolder(dir, log)
		if err != nil {
			t.Fatal(err)
		}
		a := newAlerts(db, f, prometheus.NewRegistry(), log)
		a.outbox.Now = func() time.Time { return clock }
		return a
	}
	jobs := []*alerts{start(), start()}
	seq := uint64(now.UnixMicro())
	const dollar = 1_000_000_000_000
	entry := func(at time.Time, useCase string, dollars int64) ledgertest.Entry {
		return ledgertest.Entry{Event: event.NewID(event.At(at)), Class: "input", Sign: 1, Time: at, Team: "cards", UseCase: useCase, Model: "gpt-5.4", Provider: "openai",
			Calls: 1, Quantity: 1, Rate: money.Rate(dollars * dollar)}
	}
	post := func(entries ...ledgertest.Entry) {
		t.Helper()
		seq++
		ledgertest.Post(t, db, seq, entries...)
		if _, err := aggregate.Rollup(t.Context(), db, aggregate.Options{Topic: ledgertest.Topic, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Exclusive: true}); err != nil {
			t.Fatal(err)
		}
		for _, a := range jobs {
			if err := a.raise(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			for {
				next, err := a.outbox.Deliver(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if next.IsZero() {
					break
				}
				clock = next
			}
		}
	}
	expect := func(when string, titles ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != len(titles) {
			t.Fatalf("%s: %d messages, want %d:\n%s", when, len(told), len(titles), strings.Join(told, "\n"))
		}
		for i, title := range titles {
			if !strings.Contains(told[i], title) {
				t.Errorf("%s: message %d is not %q:\n%s", when, i, title, told[i])
			}
		}
	}
	before := entry(now.AddDate(0, -1, -1), "card-support", 10)
	post(before, entry(now.AddDate(0, -1, 3), "card-support", 99)) // the second lies behind the same point of October
	expect("October")
	post(entry(now.Add(-3*time.Hour), "card-support", 15), entry(now.Add(-3*time.Hour), "disputes", 34))
	expect("49 %")
	spike := entry(now.Add(-2*time.Hour), "disputes", 33)
	post(spike)
	const first = "Cards: 80 % of the budget for November 2026 is spent"
	expect("82 %", first)
	for _, part := range []string{"USD 82.00 of USD 100.00", "82.0 %", "head of cards", "team cards", "USD 18.00", "+USD 72.00 against the same point of October 2026", "(1 before, 3 now)", "disputes +USD 67.00", "card-support +USD 5.00",
		"The next warning comes at 100 %", "https://ledgerline.example.com/showback?from=2026-11-01"} {
		if !strings.Contains(told[0], part) {
			t.Errorf("the message does not say %q:\n%s", part, told[0])
		}
	}
	if strings.Contains(told[0], "By model") { // there is one
		t.Errorf("the message says what is no reason:\n%s", told[0])
	}
	post(spike.Reverse(1))
	expect("below again", first)
	again := spike
	again.Restatement = 1
	post(again)
	expect("above again", first)
	jobs = append(jobs, start()) // a restart
	post(entry(now.Add(-time.Hour), "disputes", 18))
	const second = "Cards: the budget for November 2026 is spent"
	expect("100 %", first, second)
	write("budgets.yaml", `budgets:
  - {id: cards-month, name: Cards, owner: head of cards, for: {team: [cards]}, period: month, amount_usd: "180", channel: ops}
`)
	post()
	expect("a raised budget warns again", first, second, "Cards: 50 % of the budget for November 2026 is spent")
	// An hour into December, what comes late for November still counts there.
	now = time.Date(2026, 12, 1, 1, 0, 0, 0, time.UTC)
	seq = uint64(now.UnixMicro())
	post(entry(now.Add(-2*time.Hour), "disputes", 80))
	expect("late", first, second, "Cards: 50 %", second)
	if !strings.Contains(told[3], "USD 180.00 of USD 180.00 is spent in November 2026 (100.0 %)") {
		t.Errorf("late: %s", told[3])
	}
}

// Amounts as people read them: parts that sum to an amount exactly still do, and nothing shows as more than it is.
func TestShownAmountsSum(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	units := func(text string) *big.Int {
		text = strings.NewReplacer("USD ", "", ",", "").Replace(text)
		whole, decimals, _ := strings.Cut(text, ".")
		v, ok := new(big.Int).SetString(whole+decimals+strings.Repeat("0", 6-len(decimals)), 10)
		if !ok {
			t.Fatalf("%q", text)
		}
		return v
	}
	for range 2000 {
		var total money.Sum
		parts := make([]money.Sum, 1+r.IntN(5))
		for i := range parts {
			parts[i] = money.Sum{}.Add(money.Pico(r.Int64N(1<<(20+r.IntN(40))) - r.Int64N(1<<(20+r.IntN(40)))))
			total = total.Plus(parts[i])
		}
		d := decimalsOf(total)
		text, texts := d.text(total), d.parts(parts)
		sum := new(big.Int)
		for _, p := range texts {
			sum.Add(sum, units(p))
		}
		if left := d.less(total, parts[0]); units(left).Cmp(new(big.Int).Sub(units(text), units(d.text(parts[0])))) != 0 {
			t.Fatalf("%s less %s shows as %s", total, parts[0], left)
		}
		if sum.Cmp(units(text)) != 0 {
			t.Fatalf("%s of %v shows as %s of %v", total, parts, text, texts)
		}
	}
	for in, want := range map[string]string{"1234567.999999999999": "USD 1,234,567.99", "0.000001999999": "USD 0.000001", "-12.001": "-USD 12.01", "-0.000000000001": "-USD 0.000001", "10": "USD 10.00", "9.5": "USD 9.500000", "0": "USD 0.000000"} {
		s, err := money.ParseSum(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := decimalsOf(s).text(s); got != want {
			t.Errorf("%s shows as %s, want %s", in, got, want)
		}
	}
}

// A folder is read anew when it changed, and what does not check changes nothing.
func TestFolderFollowsTheFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := writeDemoGovernance(dir, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	f, err := openFolder(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := f.snapshot()
	write := func(text string) *governance.Snapshot {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "budgets.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f.snapshot()
	}
	if s := write("budgets: nonsense\n"); s != first {
		t.Error("a folder that does not check was taken")
	}
	if s := write("budgets: []\n"); len(s.Budgets()) != 0 || s == first {
		t.Error("a changed folder was not taken")
	}
	if _, err := openFolder(t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an empty folder checks")
	}
}

// A finding is told in its own words, with its reason in amounts that sum, the owner and the calls that cost most; once, whatever its
// revision.
func TestFindingAlert(t *testing.T) {
	rules, err := governance.Load("../../deploy/example/governance")
	if err != nil {
		t.Fatal(err)
	}
	sum := func(text string) money.Sum {
		s, err := money.ParseSum(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	day := anomaly.DayOf(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	f := anomaly.Finding{
		ID: strings.Repeat("ab", 16), Revision: 1, Kind: anomaly.Anomaly, Dimension: "use_case", Value: "kyc-review", Day: day, Through: day, Began: day, Basis: "weekday",
		Cost: sum("30.005"), Baseline: sum("10"), Change: sum("20.005"), Owner: "head of financial crime", Sentence: "It cost three times as much.",
		Reason: []anomaly.Part{{Name: "volume", Amount: sum("5.0025")}, {Name: "tokens_per_request", Amount: sum("15.0025")}},
		Top:    []anomaly.Request{{ID: "0192", Cost: sum("1.5")}},
	}
	a := findingAlert(&f, rules)
	if a.Kind != "finding" || a.Subject != f.ID || a.Channel != "finops" || a.Owner != f.Owner || a.Text != f.Sentence || !strings.Contains(a.Title, "use case kyc-review") {
		t.Errorf("%+v", a)
	}
	if got := strings.Join(a.Why, "; "); got != "volume: +USD 5.00; tokens per request: +USD 15.00; request 0192: USD 1.500000" {
		t.Errorf("why: %s", got)
	}
	if a.Facts[0].Value != "USD 30.00" || a.Facts[1].Value != "USD 10.00" || a.Facts[2].Value != "+USD 20.00" {
		t.Errorf("facts: %+v", a.Facts)
	}
	f.Revision, f.Cost = 2, sum("31")
	if later := findingAlert(&f, rules); anomaly.AlertID(later.Kind, later.Subject) != anomaly.AlertID(a.Kind, a.Subject) {
		t.Error("a corrected finding is another alert")
	}
}
