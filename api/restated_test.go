package api

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// restate prices the calls of the bed under prices where a text stands for another.
func (b *bed) restate(old, new string) {
	b.t.Helper()
	dir := b.t.TempDir()
	must(b.t, os.CopyFS(dir, os.DirFS("../deploy/example/governance")))
	path := filepath.Join(dir, "prices.yaml")
	text, err := os.ReadFile(path)
	must(b.t, err)
	changed := strings.Replace(string(text), old, new, 1)
	if changed == string(text) {
		b.t.Fatalf("prices.yaml has no %q", old)
	}
	must(b.t, os.WriteFile(path, []byte(changed), 0o600))
	snap, err := governance.Load(dir)
	must(b.t, err)
	effect, err := ingest.Restate(b.t.Context(), ingest.RestateOptions{
		DB: b.db, Topic: b.topic, From: now.AddDate(0, 0, -1), To: now.AddDate(0, 0, 1), Snapshot: snap, Reason: "test", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	must(b.t, err)
	if effect.Changed == 0 {
		b.t.Fatal("nothing was restated")
	}
	b.publish(b.call(now.Add(-100*time.Minute-30*time.Second), 1)) // and more arrives, for a later page
	var posted uint64
	must(b.t, b.db.QueryRow(b.t.Context(), "SELECT max(recorded_seq) FROM restatements").Scan(&posted))
	for seq := uint64(0); seq < posted; { // a correction counts from a little later than it was made
		seq, err = ingest.Watermark(b.t.Context(), b.db, b.topic)
		must(b.t, err)
	}
	b.rollup()
}

// A restatement between two pages takes no call out of the list and gives none twice; what has a price now is in suspense no more;
// what was said as of an earlier recorded_seq is said again.
func TestRestatedBetweenPages(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const figures = "/v1/showback?group_by=model,class"
	before := ask[showbackRows](b, Finance, figures)
	page := ask[requestsAnswer](b, Finance, "/v1/requests?limit=20")
	var got []string
	unpriced := ask[requestsAnswer](b, Finance, "/v1/requests?cost_status=unpriced")

	b.restate("served_as: [gpt-5-mini-2025-08-07]", "served_as: [gpt-5-mini-2025-08-07, gpt-nobody-knows]")

	for {
		for _, r := range page.Requests {
			got = append(got, r.ID)
		}
		if page.NextCursor == "" {
			break
		}
		page = ask[requestsAnswer](b, Finance, "/v1/requests?limit=20&cursor="+page.NextCursor)
	}
	var want []string
	for _, id := range slices.Backward(b.ids) {
		want = append(want, id.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %d calls, want %d, each once:\n%v\n%v", len(got), len(want), got, want)
	}
	if again := ask[showbackRows](b, Finance, figures+"&as_of="+before.AsOf); again.Total != before.Total || before.Total.Unpriced != 12 {
		t.Errorf("as of %s: %+v, was %+v", before.AsOf, again.Total, before.Total)
	}
	if after := ask[showbackRows](b, Finance, figures); after.Total.Unpriced != 0 || after.Total.Cost.Minus(before.Total.Cost).Sign() <= 0 {
		t.Errorf("afterwards %+v", after.Total)
	}
	if u := ask[unpricedAnswer](b, Finance, "/v1/unpriced"); len(u.Unpriced) != 0 || u.Total.Entries != 0 {
		t.Errorf("still in suspense: %+v", u)
	}
	if u := ask[unpricedAnswer](b, Finance, "/v1/unpriced?as_of="+before.AsOf); len(u.Unpriced) != 2 || u.Total.Entries != 12 {
		t.Errorf("in suspense as of %s: %+v", before.AsOf, u)
	}
	if again := ask[requestsAnswer](b, Finance, "/v1/requests?cost_status=unpriced"); len(again.Requests) != 0 || len(unpriced.Requests) != 6 {
		t.Errorf("%d calls are unpriced, %d were; want 0 and 6", len(again.Requests), len(unpriced.Requests))
	}
	one := ask[requestAnswer](b, Compliance, "/v1/requests/"+unpriced.Requests[0].ID)
	if one.Cost == nil || one.CostStatus != "exact" || len(one.Entries) != 6 {
		t.Errorf("restated: cost %v, %s, %d entries; want a cost, and entries, reversals and re-entries", one.Cost, one.CostStatus, len(one.Entries))
	}
}
