package retention

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
)

func (b *bed) verify(busy bool) Verification {
	b.Helper()
	v, err := Verify(b.Context(), b.db, VerifyOptions{Open: func(target string) (Objects, bool, func() error, error) {
		folder, err := OpenFolder(target)
		if err != nil {
			return nil, false, nil, err
		}
		return folder, busy, folder.Close, nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (b *bed) exec(statement string) {
	b.Helper()
	if err := b.db.Exec(b.Context(), statement); err != nil {
		b.Fatal(err)
	}
}

// corrected is two sealed days, the first with two corrections: new calls, restated calls and one that was restated twice.
func corrected(t *testing.T) (b *bed, entries []ledgertest.Entry) {
	b = newBed(t)
	entries = b.twoDays(200)
	b.export(b.options(b.dir))
	for n := range uint32(2) {
		seq := at(monday.AddDate(0, 0, 3+int(n)))
		late := ledgertest.Make(rand.New(rand.NewPCG(5, uint64(n))), 10, monday, monday.Add(day))
		var posted []ledgertest.Entry
		for _, e := range entries[:6] {
			again := e
			again.Restatement, again.Rate = 2+n, e.Rate*2+1
			posted = append(posted, e.Reverse(2+n), again)
		}
		b.post(seq, late...)
		b.requests(seq+1, 2+n, posted...)
		ledgertest.Post(b, b.db, seq+1, posted...)
		b.export(b.options(b.dir))
	}
	return b, entries
}

func TestVerify(t *testing.T) {
	b, entries := corrected(t)
	if v := b.verify(false); !v.OK() || v.Days != 2 || v.Rows == 0 || len(v.Notes) > 0 {
		t.Fatalf("%+v", v)
	}
	// Late entries wait for the next export; that is said and no mistake.
	again := ledgertest.Make(rand.New(rand.NewPCG(9, 9)), 3, monday, monday.Add(day))
	b.post(at(monday.AddDate(0, 0, 6)), again...)
	b.requests(at(monday.AddDate(0, 0, 6))+1, 9, entries[3], entries[9])
	if v := b.verify(false); !v.OK() || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "1 sealed days have something") {
		t.Fatalf("with late entries: %+v", v)
	}

	charges := filePath("charges", "standard", "2026-11-16", 0)
	requests := filePath("requests", "standard", "2026-11-16", 1)
	manifest := manifestPath("standard", "2026-11-17", 0)
	added := filePath("daily_spend", "standard", "2026-11-16", 7)
	other := filePath("charges", "long", "2026-11-16", 0)
	for name, tt := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"a bit of a file":       {func(dir string) error { return flip(dir, charges) }, charges + " was changed"},
		"a bit of a correction": {func(dir string) error { return flip(dir, requests) }, requests + " was changed"},
		"a bit of a manifest":   {func(dir string) error { return flip(dir, manifest) }, manifest + " was changed"},
		"a file is gone":        {func(dir string) error { return os.Remove(filepath.Join(dir, requests)) }, requests + " is missing"},
		"a manifest is gone":    {func(dir string) error { return os.Remove(filepath.Join(dir, manifest)) }, manifest + " is missing"},
		"a file too much":       {func(dir string) error { return copyTo(dir, charges, added) }, added + " was added"},
		"a folder too much":     {func(dir string) error { return copyTo(dir, charges, other) }, other + " was added"},
		"a file for another":    {func(dir string) error { return copyTo(dir, filePath("charges", "standard", "2026-11-17", 0), charges) }, charges + " was changed"},
		"everything":            {os.RemoveAll, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			kept := t.TempDir()
			if err := os.CopyFS(filepath.Join(kept, "copy"), os.DirFS(b.dir)); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.RemoveAll(b.dir); err != nil {
					t.Fatal(err)
				}
				if err := os.CopyFS(b.dir, os.DirFS(filepath.Join(kept, "copy"))); err != nil {
					t.Fatal(err)
				}
			}()
			if err := tt.damage(b.dir); err != nil {
				t.Fatal(err)
			}
			v := b.verify(false)
			if v.OK() || !slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, tt.want) }) {
				t.Errorf("want %q in %q", tt.want, v.Problems)
			}
			if v := b.verify(true); strings.Contains(tt.want, "added") && (!v.OK() || len(v.Notes) == 0) {
				t.Errorf("while an export runs: %+v", v)
			}
		})
	}
	if v := b.verify(false); !v.OK() {
		t.Fatalf("put back: %+v", v)
	}
}

// What changes in the ledger behind sealed files shows, too: an entry, a request, a row less, a row more, a seal less.
func TestVerifyLedger(t *testing.T) {
	for name, tt := range map[string]struct{ damage, want string }{
		"an entry's cost":   {"ALTER TABLE charges UPDATE cost = cost + toDecimal128('0.000000000001', 12) WHERE class = 'input' AND charge_time IN (SELECT max(charge_time) FROM charges WHERE class = 'input' AND isNotNull(cost)) SETTINGS mutations_sync = 1", "charges is not the ledger"},
		"an entry less":     {"ALTER TABLE charges DELETE WHERE entry_id IN (SELECT min(entry_id) FROM charges) SETTINGS mutations_sync = 1", "charges is not the ledger"},
		"a request's cost":  {"ALTER TABLE requests UPDATE cost_status = 'other' WHERE event_id IN (SELECT max(event_id) FROM requests) SETTINGS mutations_sync = 1", "requests are not the ledger's"},
		"a request less":    {"ALTER TABLE requests DELETE WHERE event_id IN (SELECT min(event_id) FROM requests) SETTINGS mutations_sync = 1", "requests are not the ledger's"},
		"a request more":    {"INSERT INTO requests (event_id, time, retention_class, recorded_seq) SELECT generateUUIDv4(), min(time), 'standard', 1 FROM requests", "requests are not the ledger's"},
		"a seal less":       {"ALTER TABLE exports DELETE WHERE revision = 1 SETTINGS mutations_sync = 1", "does not follow the manifest before it"},
		"a former manifest": {"ALTER TABLE exports UPDATE manifest = replaceOne(manifest, '\"writer\": \"1\"', '\"writer\": \"2\"') WHERE revision = 0 SETTINGS mutations_sync = 1", "was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := corrected(t)
			b.exec(tt.damage)
			v := b.verify(false)
			if v.OK() || !slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, tt.want) }) {
				t.Errorf("want %q in %q", tt.want, v.Problems)
			}
		})
	}
}

func flip(dir, path string) error {
	path = filepath.Join(dir, path)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text[len(text)/2] ^= 1
	return os.WriteFile(path, text, 0o600)
}

func copyTo(dir, from, to string) error {
	text, err := os.ReadFile(filepath.Join(dir, from))
	if err != nil {
		return err
	}
	to = filepath.Join(dir, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, text, fs.FileMode(0o600))
}
