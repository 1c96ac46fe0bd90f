package api

import (
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/retention"
)

// Exports are the sealed days with their files and sums, by class, target and day, in pages that stay as they were when the first
// one was asked for.
func TestExports(t *testing.T) {
	b := newBed(t)
	if none := ask[exportsAnswer](b, Compliance, "/v1/exports"); len(none.Exports) != 0 || none.NextCursor != "" {
		t.Fatalf("%+v", none)
	}
	db, err := clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{b.target.Addr}, HTTPAddr: []string{b.target.HTTPAddr}, Database: b.target.Database, User: b.target.User, Password: b.target.Password,
	}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer db.Close()
	sealed := 0
	seal := func(at time.Time) (dir string) {
		t.Helper()
		dir = t.TempDir()
		folder, err := retention.OpenFolder(dir)
		must(t, err)
		defer folder.Close()
		r, err := retention.Export(t.Context(), db, retention.Options{Topic: b.topic, Target: dir, Objects: folder, Scratch: filepath.Join(dir, ".scratch"),
			Now: func() time.Time { return at }, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		if sealed = len(r.Days); sealed == 0 {
			t.Fatal("nothing was sealed")
		}
		return dir
	}
	first, another := seal(now.Add(-time.Hour)), seal(now.Add(-time.Hour))
	days := 2 * sealed
	all := ask[exportsAnswer](b, Finance, "/v1/exports?from=2025-01-01&to=2027-01-01")
	if len(all.Exports) != days || all.NextCursor != "" {
		t.Fatalf("%d listed, %d were sealed", len(all.Exports), days)
	}
	e := all.Exports[0]
	if e.Target != first && e.Target != another || e.Revision != 0 || e.SealedAt != now.Add(-time.Hour).Format(time.RFC3339Nano) || e.Former != nil || len(e.Manifest.SHA256) != 64 || len(e.Tables) == 0 {
		t.Errorf("%+v", e)
	}
	if table := e.Tables[len(e.Tables)-1]; table.Rows == 0 || len(table.Sums) == 0 || len(table.Files) != 1 || len(table.Files[0].SHA256) != 64 {
		t.Errorf("%+v", table)
	}
	for _, x := range all.Exports {
		if x.Day > e.Day {
			t.Errorf("%s stands after %s", x.Day, e.Day)
		}
	}
	if some := ask[exportsAnswer](b, Operator, "/v1/exports?from="+e.Day+"&to=2027-01-01&class="+e.Class); len(some.Exports) == 0 || some.Exports[0].Class != e.Class {
		t.Errorf("of one class: %+v", some)
	}
	if some := ask[exportsAnswer](b, Operator, "/v1/exports?from=2025-01-01&to=2027-01-01&target="+url.QueryEscape(another)); len(some.Exports) != sealed || some.Exports[0].Target != another {
		t.Errorf("in one place: %+v", some)
	}
	// What is sealed between two pages is in neither.
	page := ask[exportsAnswer](b, Admin, "/v1/exports?from=2025-01-01&to=2027-01-01&limit=1")
	second := seal(now.Add(time.Second))
	listed := len(page.Exports)
	for page.NextCursor != "" {
		page = ask[exportsAnswer](b, Admin, "/v1/exports?from=2025-01-01&to=2027-01-01&limit=1&cursor="+page.NextCursor)
		listed += len(page.Exports)
		for _, x := range page.Exports {
			if x.Target == second {
				t.Error("a page lists what was sealed after the first one")
			}
		}
	}
	if listed != days {
		t.Errorf("pages list %d of %d", listed, days)
	}
	if other := ask[exportsAnswer](b, Admin, "/v1/exports?from=2025-01-01&to=2027-01-01&target="+url.QueryEscape(second)); len(other.Exports) != 0 {
		t.Errorf("what is sealed in the future is listed: %+v", other)
	}
}
