package retention

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// terms is the example's governance with another retention.yaml.
func terms(t *testing.T, text string) *governance.Snapshot {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, example.Governance()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "retention.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := governance.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlan(t *testing.T) {
	b := newBed(t)
	b.twoDays(40)                                                                                                                              // Monday and Tuesday
	b.post(at(monday.AddDate(0, 0, 5)), ledgertest.Make(rand.New(rand.NewPCG(1, 1)), 10, monday.AddDate(0, 0, 4), monday.AddDate(0, 0, 5))...) // Friday
	b.exec("INSERT INTO requests (event_id, time, retention_class, recorded_seq) SELECT generateUUIDv4(), min(time), 'forgotten', 1 FROM requests")
	snapshot := terms(t, `classes:
  - {id: standard, owner: privacy, basis: [law], min_days: 10, max_days: 20, hot_days: 5}
  - {id: short, owner: privacy, basis: [law], min_days: 0, max_days: 20, hot_days: 5}
  - {id: regulated, owner: privacy, basis: [law], min_days: 0, max_days: 20, hot_days: 5}
`)
	on := func(days int) (out []string) {
		t.Helper()
		steps, err := Plan(t.Context(), b.db, PlanOptions{Snapshot: snapshot, Today: monday.AddDate(0, 0, days)})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if s.Sealed && s.Bytes == 0 {
				t.Error("sealed without a byte")
			}
			reason, _, _ := strings.Cut(s.Why, " (")
			out = append(out, fmt.Sprint(s.Class, " ", s.From.Format("2"), "-", s.To.Format("2"), " ", s.Action, ": ", reason))
		}
		return out
	}
	forgotten := `forgotten 16-16 keep: class "forgotten" has no terms in retention.yaml, so nothing of it goes`
	for days, want := range map[int][]string{
		5:  {forgotten, "standard 16-20 keep: min_days 10"},
		6:  {forgotten, "standard 16-16 export: older than hot_days 5, but no sealed file has all of it: ledgerline export first", "standard 17-20 keep: min_days 10"},
		21: {forgotten, "standard 16-16 delete: older than max_days 20", "standard 17-20 export: older than hot_days 5, but no sealed file has all of it: ledgerline export first"},
	} {
		if got := on(days); !slices.Equal(got, want) {
			t.Errorf("unsealed, day %d: %q", days, got)
		}
	}
	o := b.options(b.dir)
	o.To = monday.AddDate(0, 0, 2)
	o.Class = "standard"
	ledgertest.Batch(t, b.db, at(monday.AddDate(0, 0, 7)))
	b.export(o)
	cool := "cool: older than hot_days 5 and sealed; the files stay until max_days 20"
	for days, want := range map[int][]string{
		6:  {forgotten, "standard 16-16 " + cool, "standard 17-17 keep: min_days 10", "standard 20-20 keep: min_days 10"},
		10: {forgotten, "standard 16-17 " + cool, "standard 20-20 export: older than hot_days 5, but no sealed file has all of it: ledgerline export first"},
		22: {forgotten, "standard 16-17 delete: older than max_days 20", "standard 20-20 export: older than hot_days 5, but no sealed file has all of it: ledgerline export first"},
	} {
		if got := on(days); !slices.Equal(got, want) {
			t.Errorf("sealed, day %d: %q", days, got)
		}
	}
	// What was delivered once more is nothing new.
	b.exec("INSERT INTO charges SELECT * REPLACE (recorded_seq + 1000000000000 AS recorded_seq) FROM charges")
	if got := on(6); len(got) < 2 || got[1] != "standard 16-16 "+cool {
		t.Errorf("delivered once more: %q", got)
	}
	// A day for which something came late is not sealed until that is in a file, too.
	b.post(at(monday.AddDate(0, 0, 8)), ledgertest.Make(rand.New(rand.NewPCG(2, 2)), 5, monday, monday.Add(day))...)
	if got := on(6); len(got) < 2 || !strings.HasPrefix(got[1], "standard 16-16 export") {
		t.Errorf("with late entries: %q", got)
	}
	steps, err := Plan(t.Context(), b.db, PlanOptions{Snapshot: snapshot, Today: monday})
	if err != nil {
		t.Fatal(err)
	}
	tuesday := monday.Add(day)
	if s := steps[1]; !s.Cool.Equal(tuesday.AddDate(0, 0, 5)) || !s.May.Equal(tuesday.AddDate(0, 0, 10)) || !s.Must.Equal(tuesday.AddDate(0, 0, 20)) || !s.Must.After(time.Time{}) {
		t.Errorf("the dates are %v, %v, %v", s.Cool, s.May, s.Must)
	}
}
