package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// bare is an API on books that a test fills entry by entry.
func bare(t *testing.T) *bed {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bed{t: t, db: ledgertest.Open(t), keys: map[Scope]string{}}
	var err error
	b.records, err = spool.Open(spool.Options{Dir: t.TempDir(), Instance: "api", Heartbeat: -1, Now: time.Now, Logger: log})
	must(t, err)
	t.Cleanup(func() { b.records.Close(context.Background()) })
	keys, err := OpenKeys(filepath.Join(t.TempDir(), "secrets", "api-keys.json"))
	must(t, err)
	for _, scope := range Scopes {
		b.keys[scope], err = keys.Add("test", scope)
		must(t, err)
	}
	b.options = Options{DB: b.db, Keys: keys, Topic: ledgertest.Topic, Recorder: b.records, Source: "ledgerline/api", Logger: log, Metrics: prometheus.NewRegistry(), Now: func() time.Time { return now }}
	handler, err := New(b.options)
	must(t, err)
	b.server = httptest.NewServer(handler)
	t.Cleanup(b.server.Close)
	return b
}

// Findings are listed to all scopes, by page and as of a recorded_seq, as the detectors recorded them.
func TestFindings(t *testing.T) {
	t.Parallel()
	b := bare(t)
	if none := ask[findingsAnswer](b, Finance, "/v1/findings"); len(none.Findings) != 0 || none.AsOf != "0" || none.CompleteThrough != nil {
		t.Errorf("before the first detection: %+v", none)
	}
	call := func(day, n int) (entries []ledgertest.Entry) {
		for i := range n {
			at := now.Truncate(24*time.Hour).AddDate(0, 0, day-30).Add(time.Duration(i) * time.Minute)
			entries = append(entries, ledgertest.Entry{
				Event: event.NewID(event.At(at)), Class: "input", Sign: 1, Time: at, BusinessUnit: "retail", Team: "cards", Application: "app", UseCase: "chat",
				Provider: "openai", Model: "gpt", Calls: 1, Quantity: 2_000_000, Rate: 10_000_000,
			})
		}
		return entries
	}
	var entries []ledgertest.Entry
	for day := range 30 { // the last one costs ten times as much
		n := 1
		if day == 29 {
			n = 10
		}
		entries = append(entries, call(day, n)...)
	}
	seq := uint64(now.UnixMicro())
	detect := func() {
		t.Helper()
		ledgertest.Rollup(t, b.db)
		_, err := anomaly.Detect(t.Context(), b.db, anomaly.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
	}
	ledgertest.Post(t, b.db, seq, entries...)
	detect()

	whole := ask[findingsAnswer](b, Finance, "/v1/findings")
	if len(whole.Findings) != 7 || whole.NextCursor != "" || *whole.CompleteThrough != now.Format(time.RFC3339Nano) { // of each dimension but users, project is missing
		t.Fatalf("%d findings, complete through %s", len(whole.Findings), *whole.CompleteThrough)
	}
	for _, scope := range []Scope{Compliance, Operator, Admin} {
		if got := ask[findingsAnswer](b, scope, "/v1/findings"); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s sees other findings", scope)
		}
	}
	var pages []anomaly.Finding
	for next := ""; ; {
		page := ask[findingsAnswer](b, Finance, "/v1/findings?limit=3"+next)
		pages = append(pages, page.Findings...)
		if page.NextCursor == "" || len(pages) > 7 {
			break
		}
		next = "&cursor=" + page.NextCursor
	}
	if !reflect.DeepEqual(pages, whole.Findings) {
		t.Error("the pages are not the whole")
	}
	for query, want := range map[string]int{
		"dimension=team": 1, "dimension=team&dimension=model&dimension=user": 2, "dimension=project&value=": 1, "dimension=team&value=lending": 0, "kind=drift": 0, "kind=anomaly": 7,
		"first=true": 1, "first=false": 7, "state=withdrawn": 0, "state=open&state=withdrawn": 7, "owner=nobody": 0, "owner=": 7,
		"from=2026-11-20": 0, "to=2026-11-19": 0, "from=2026-11-19&to=2026-11-20": 7, "from=2026-11-19T00:00:01Z": 0, "from=2150-01-01&to=2151-01-01": 0,
	} {
		if got := ask[findingsAnswer](b, Finance, "/v1/findings?"+query); len(got.Findings) != want {
			t.Errorf("%s: %d findings, want %d", query, len(got.Findings), want)
		}
	}
	for query, parameter := range map[string]string{
		"kind=spike": "kind", "dimension=class": "dimension", "state=closed": "state", "first=1": "first", "first=true&first=true": "first",
		"as_of=" + whole.AsOf + "0": "as_of", "team=cards": "team", "tz=UTC": "tz", "cursor=xyz": "cursor",
	} {
		status, _, body := b.get(b.keys[Admin], "/v1/findings?"+query)
		var p Problem
		must(t, json.Unmarshal(body, &p))
		if status != http.StatusBadRequest || !strings.HasPrefix(p.Detail, parameter) && !strings.HasPrefix(p.Detail, `"`+parameter) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}

	var back []ledgertest.Entry // nine of the ten calls are taken back
	for _, e := range entries[30:] {
		back = append(back, e.Reverse(1))
	}
	ledgertest.Post(t, b.db, seq+1, back...)
	detect()
	if got := ask[findingsAnswer](b, Finance, "/v1/findings"); len(got.Findings) != 0 {
		t.Errorf("%d findings after the correction", len(got.Findings))
	}
	if got := ask[findingsAnswer](b, Finance, "/v1/findings?state=withdrawn&dimension=team").Findings; len(got) != 1 || got[0].Revision != 2 || got[0].ID == "" {
		t.Errorf("withdrawn: %+v", got)
	}
	if was := ask[findingsAnswer](b, Finance, "/v1/findings?as_of="+whole.AsOf); !reflect.DeepEqual(was.Findings, whole.Findings) {
		t.Error("as of before the correction other findings are told")
	}
}
