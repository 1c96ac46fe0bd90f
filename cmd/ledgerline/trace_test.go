package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/simulate"
)

// TestTrace sends an hour of real production traffic (the Azure LLM inference trace 2023, where it lies beside the checkout; else
// calls of the same kind made up here) through the proxy as fast as it goes, and compares six counts: the trace, the provider's,
// the events', the ledger's, the rollups' and those that the API answers with.
func TestTrace(t *testing.T) {
	type usage struct{ in, out int64 }
	var trace []usage
	for _, name := range []string{"code", "conv"} {
		file, err := os.Open("../../../shared/data/azure-llm-2023/" + name + ".csv")
		if err != nil {
			t.Logf("the trace is not here (%v): made-up usages instead", err)
			trace = nil
			for i := range int64(3000) {
				trace = append(trace, usage{1 + i*i%7919, 1 + i*31%997})
			}
			break
		}
		rows, err := csv.NewReader(file).ReadAll()
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			in, err1 := strconv.ParseInt(row[1], 10, 64)
			out, err2 := strconv.ParseInt(row[2], 10, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %v", name, row)
			}
			trace = append(trace, usage{in, out})
		}
	}
	var in, out int64
	for _, u := range trace {
		in, out = in+u.in, out+u.out
	}

	b := newBed(t)
	p := b.start(proxyServes, b.flags("proxy", false, "--governance", b.path("governance"), "--listen", "127.0.0.1:0", "--admin", "", "--log", "json")...)
	b.start("ingest", b.flags("ingest", true, "--admin", "", "--log", "json")...)
	addr := p.match(proxyServes)
	began := time.Now()
	report, err := simulate.Load(t.Context(), simulate.LoadOptions{
		Target: "http://" + addr, Key: b.keys["devtools"], Concurrency: 32, Requests: len(trace),
		Calls: []simulate.Call{
			{Format: simulate.Chat, Model: "gpt-5-mini"},
			{Format: simulate.Chat, Model: "gpt-5-mini", Stream: true},
			{Format: simulate.Messages, Model: "claude-haiku-5-5"},
			{Format: simulate.Responses, Model: "gpt-5.4", Stream: true},
		},
		Headers: func(i int, head []byte) []byte {
			head = simulate.AppendHeader(head, "Ledger-Use-Case", "code-assistant")
			return simulate.AppendHeader(head, "Simulate-Usage", fmt.Sprintf("in=%d,out=%d", trace[i].in, trace[i].out))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if report.Answered != len(trace) || report.ByStatus[200] != len(trace) {
		t.Fatalf("%d of %d calls answered: %v %v", report.Answered, len(trace), report.ByStatus, report.Errors)
	}
	p.stop()
	b.settle()

	stats := b.provider.Stats()
	if got := stats.Reported; got.Calls != int64(len(trace)) {
		t.Errorf("the provider reported %d usages, want %d", got.Calls, len(trace))
	}
	var events, requests uint64
	var ledgerIn, ledgerOut int64
	var cost string
	if err := b.db.QueryRow(t.Context(), `SELECT (SELECT count() FROM events FINAL WHERE type = 'llm.request.completed'), (SELECT count() FROM requests FINAL),
		sumIf(quantity, class != 'output'), sumIf(quantity, class = 'output'), toString(sum(cost)) FROM charges FINAL`).Scan(&events, &requests, &ledgerIn, &ledgerOut, &cost); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	from, to := now.Add(-48*time.Hour).Truncate(time.Hour), now.Add(48*time.Hour).Truncate(time.Hour)
	rolled, err := aggregate.Showback(t.Context(), b.db, aggregate.Query{From: from, To: to, GroupBy: []string{"class"}})
	if err != nil {
		t.Fatal(err)
	}
	if rolled.Source != "hours" {
		t.Errorf("showback came from %s, want the rollups", rolled.Source)
	}
	var rolledIn, rolledOut int64
	for _, row := range rolled.Rows {
		if row.Group[0] == "output" {
			rolledOut += row.Quantity
		} else {
			rolledIn += row.Quantity
		}
	}
	served := b.showback(from, to)

	t.Logf("%d requests in %.1f s (%.0f/s)", len(trace), took.Seconds(), float64(len(trace))/took.Seconds())
	t.Logf("             requests       input      output  cost USD")
	t.Logf("trace        %8d  %10d  %10d", len(trace), in, out)
	t.Logf("provider     %8d  %10d  %10d", stats.Reported.Calls, stats.Reported.Tokens.Total()-stats.Reported.Tokens.Output, stats.Reported.Tokens.Output)
	t.Logf("events       %8d", events)
	t.Logf("ledger       %8d  %10d  %10d  %s", requests, ledgerIn, ledgerOut, cost)
	t.Logf("rollups      %8d  %10d  %10d  %s", rolled.Total.Requests, rolledIn, rolledOut, rolled.Total.Cost)
	t.Logf("API          %8d  %10d  %10d  %s", served.Total.Requests, served.in, served.out, served.Total.Cost)
	ledgerCost, err := money.ParseSum(cost)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(len(trace))
	if int64(events) != n || int64(requests) != n || rolled.Total.Requests != n ||
		ledgerIn != in || ledgerOut != out || rolledIn != in || rolledOut != out ||
		served.Total.Requests != n || served.in != in || served.out != out || served.Total.Cost != rolled.Total.Cost ||
		stats.Reported.Tokens.Total() != in+out || ledgerCost != rolled.Total.Cost || ledgerCost.Sign() != 1 {
		t.Error("the counts differ")
	}
	b.verify()
}

// servedShowback is what GET /v1/showback answers, by class.
type servedShowback struct {
	Rows []struct {
		Class    string `json:"class"`
		Quantity int64  `json:"quantity"`
	} `json:"rows"`
	Total struct {
		Requests int64     `json:"requests"`
		Cost     money.Sum `json:"cost"`
	} `json:"total"`

	in, out int64
}

// showback starts an API, and asks it for the showback by class.
func (b *bed) showback(from, to time.Time) (s servedShowback) {
	b.t.Helper()
	const serves = `API +http://(\S+)`
	p := b.start(serves, b.flags("api", true, "--api-listen", "127.0.0.1:0")...)
	defer p.stop()
	query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "group_by": {"class"}}
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+p.match(serves)+"/v1/showback?"+query.Encode(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.match(`admin key +(\S+)`))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.t.Fatalf("the API answered %d %s (%v)", response.StatusCode, body, err)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		b.t.Fatalf("the API answered %s: %v", body, err)
	}
	for _, row := range s.Rows {
		if row.Class == "output" {
			s.out += row.Quantity
		} else {
			s.in += row.Quantity
		}
	}
	return s
}
