package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/sql"
)

// bed is books of made-up calls and a folder to export them to.
type bed struct {
	*testing.T
	db     *clickhouse.DB
	target embeddedtest.ClickHouseTarget
	dir    string
	now    time.Time
}

var monday = time.Date(2026, 11, 16, 0, 0, 0, 0, time.UTC)

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, target: embeddedtest.ClickHouse(t), dir: t.TempDir(), now: monday.AddDate(0, 0, 30)}
	var err error
	b.db, err = clickhouse.Open(t.Context(), clickhouse.Config{
		Addr: []string{b.target.Addr}, HTTPAddr: []string{b.target.HTTPAddr}, Database: b.target.Database, User: b.target.User, Password: b.target.Password,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	if _, err := b.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// post writes entries and the requests that they are of as one batch.
func (b *bed) post(seq uint64, entries ...ledgertest.Entry) {
	b.Helper()
	b.requests(seq, 0, entries...)
	ledgertest.Post(b, b.db, seq, entries...)
}

// requests writes the current view of the calls of entries.
func (b *bed) requests(seq uint64, restatement uint32, entries ...ledgertest.Entry) {
	b.Helper()
	type call struct {
		ledgertest.Entry
		cost  int64
		known bool
	}
	var calls []*call
	byID := map[event.ID]*call{}
	for _, e := range entries {
		c := byID[e.Event]
		if c == nil {
			c = &call{e, 0, true}
			byID[e.Event] = c
			calls = append(calls, c)
		}
		cost, known := e.Cost()
		c.cost, c.known = c.cost+int64(cost), c.known && known
	}
	var (
		ids                                        [][16]byte
		times                                      []int64
		class, kind, team, user, useCase, status   []string
		provenance, conflict, endpoint, provider   [][]string
		cost                                       clickhouse.Decimals
		input                                      clickhouse.NullUint64
		restatements                               []uint32
		seqs                                       []uint64
		codes                                      clickhouse.Array
		starts                                     clickhouse.Array
		firsts, latencies, chunks, sizes           clickhouse.Array
		region, asked, served, errs, ids2, tier, u [][]string
	)
	for i, c := range calls {
		n := i % 3 // attempts
		ids, times = append(ids, c.Event), append(times, c.Time.UnixMicro())
		class, kind, status = append(class, "standard"), append(kind, "llm.request.completed"), append(status, c.Status())
		team, user, useCase = append(team, c.Team), append(user, c.User), append(useCase, c.UseCase)
		provenance = append(provenance, []string{"key", "key", "default", "header", "key", "header"})
		conflict = append(conflict, [][]string{nil, {"", "risk", "", "", "", ""}}[i%2])
		list := func(text string) []string { return slices.Repeat([]string{text}, n) }
		endpoint, provider, region = append(endpoint, list("main")), append(provider, list(c.Provider)), append(region, list("eu"))
		asked, served, errs = append(asked, list(c.Model)), append(served, list(c.Model)), append(errs, list(""))
		ids2, tier, u = append(ids2, list(fmt.Sprint("p", i))), append(tier, list("standard")), append(u, list("provider"))
		end := uint64(0)
		if i > 0 {
			end = codes.Ends[i-1]
		}
		codes.Ends = append(codes.Ends, end+uint64(n))
		cost.Pico, cost.Null = append(cost.Pico, c.cost), append(cost.Null, !c.known)
		input.Values, input.Null = append(input.Values, uint64(i)), append(input.Null, i%4 == 0)
		restatements, seqs = append(restatements, restatement), append(seqs, seq)
	}
	total := codes.Ends[len(codes.Ends)-1]
	codes.Values = slices.Repeat([]uint16{200}, int(total))
	starts = clickhouse.Array{Ends: codes.Ends, Values: slices.Repeat([]int64{monday.UnixMicro()}, int(total))}
	firsts = clickhouse.Array{Ends: codes.Ends, Values: make([]uint64, total)}
	latencies, sizes = firsts, firsts
	chunks = clickhouse.Array{Ends: codes.Ends, Values: make([]uint32, total)}
	err := b.db.Insert(b.Context(), "requests", "", []clickhouse.Column{
		{Name: "event_id", Data: ids}, {Name: "type", Data: kind}, {Name: "time", Data: times}, {Name: "retention_class", Data: class},
		{Name: "team", Data: team}, {Name: "user", Data: user}, {Name: "use_case", Data: useCase}, {Name: "provenance", Data: provenance}, {Name: "conflict", Data: conflict},
		{Name: "attempt_endpoint", Data: endpoint}, {Name: "attempt_provider", Data: provider}, {Name: "attempt_region", Data: region},
		{Name: "attempt_model_requested", Data: asked}, {Name: "attempt_model_served", Data: served}, {Name: "attempt_status", Data: codes}, {Name: "attempt_error", Data: errs},
		{Name: "attempt_start", Data: starts}, {Name: "attempt_first_byte_us", Data: firsts}, {Name: "attempt_latency_us", Data: latencies}, {Name: "attempt_provider_id", Data: ids2},
		{Name: "attempt_tier", Data: tier}, {Name: "attempt_usage_source", Data: u}, {Name: "attempt_chunks", Data: chunks}, {Name: "attempt_bytes", Data: sizes},
		{Name: "input_tokens", Data: input}, {Name: "cost", Data: cost}, {Name: "cost_status", Data: status},
		{Name: "restatement", Data: restatements}, {Name: "recorded_seq", Data: seqs},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// at is the recorded_seq of a batch that was recorded at a time.
func at(t time.Time) uint64 { return uint64(t.UnixMicro()) }

func (b *bed) options(dir string) Options {
	b.Helper()
	folder, err := OpenFolder(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { folder.Close() })
	return Options{
		Topic: ledgertest.Topic, Target: dir, Objects: folder, Scratch: filepath.Join(dir, ".scratch"), Grace: time.Hour,
		Now: func() time.Time { return b.now }, Logger: slog.New(slog.DiscardHandler),
	}
}

func (b *bed) export(o Options) Result {
	b.Helper()
	r, err := Export(b.Context(), b.db, o)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// states is what became of each day.
func states(r Result) (out []string) {
	for _, d := range r.Days {
		out = append(out, d.Day.Format("01-02 ")+d.State+fmt.Sprint(" ", d.Revision))
	}
	return out
}

// files is every file below a folder by its path.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ask gives the one value of a statement.
func (b *bed) ask(query string) (answer string) {
	b.Helper()
	if err := b.db.QueryRow(b.Context(), query).Scan(&answer); err != nil {
		b.Fatal(err)
	}
	return answer
}

// same compares Parquet files, as ClickHouse reads them, with what the ledger says of a table and day, all columns of it.
func (b *bed) same(table string, begin time.Time, paths ...string) {
	b.Helper()
	want, got := "want_"+table+begin.Format("0102"), "got_"+table+begin.Format("0102")
	for _, name := range []string{want, got} {
		if err := b.db.Exec(b.Context(), "DROP TABLE IF EXISTS "+name); err != nil {
			b.Fatal(err)
		}
	}
	err := b.db.Exec(b.Context(), "CREATE TABLE "+want+" ENGINE = Memory AS "+sql.Query("export_"+table), dayParams("standard", begin, 0, 1<<63)...)
	if err == nil {
		err = b.db.Exec(b.Context(), "CREATE TABLE "+got+" AS "+want)
	}
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(b.dir, path))
		if err != nil {
			b.Fatal(err)
		}
		query := url.Values{"database": {b.target.Database}, "query": {"INSERT INTO " + got + " FORMAT Parquet"}}
		request, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+b.target.HTTPAddr+"/?"+query.Encode(), bytes.NewReader(text))
		request.SetBasicAuth(b.target.User, b.target.Password)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		answer, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Fatalf("ClickHouse reads %s: %s", path, answer)
		}
	}
	answer := b.ask("SELECT concat(toString((SELECT count() FROM " + want + ")), ' ', toString((SELECT count() FROM " + got + ")), ' ', " +
		"toString((SELECT count() FROM (SELECT * FROM " + want + " EXCEPT ALL SELECT * FROM " + got + "))), ' ', " +
		"toString((SELECT count() FROM (SELECT * FROM " + got + " EXCEPT ALL SELECT * FROM " + want + "))))")
	if f := strings.Fields(answer); f[0] == "0" || f[0] != f[1] || f[2] != "0" || f[3] != "0" {
		b.Errorf("%s of %s: rows of the ledger, of the files, only in one, only in the other: %s", table, begin.Format(time.DateOnly), answer)
	}
}

// twoDays posts two days of calls, the second with reversals, and moves the watermark past both.
func (b *bed) twoDays(calls int) (entries []ledgertest.Entry) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for d := range 2 {
		begin := monday.AddDate(0, 0, d)
		made := ledgertest.Make(r, calls, begin, begin.Add(day))
		b.post(at(begin.Add(day)), made...)
		entries = append(entries, made...)
	}
	var back []ledgertest.Entry
	for _, e := range entries[len(entries)-30:] {
		back = append(back, e.Reverse(1))
	}
	ledgertest.Post(b, b.db, at(monday.AddDate(0, 0, 2))+1, back...)
	ledgertest.Batch(b, b.db, at(monday.AddDate(0, 0, 2).Add(2*time.Hour)))
	return entries
}

func TestExport(t *testing.T) {
	b := newBed(t)
	b.twoDays(3000)
	r := b.export(b.options(b.dir))
	if got := states(r); !slices.Equal(got, []string{"11-16 sealed 0", "11-17 sealed 0"}) {
		t.Fatalf("exported %v", got)
	}
	var found []string
	for path := range files(t, b.dir) {
		found = append(found, path)
	}
	slices.Sort(found)
	if want := strings.Fields(`charges/class=standard/day=2026-11-16/part-00000.parquet charges/class=standard/day=2026-11-17/part-00000.parquet
		daily_spend/class=standard/day=2026-11-16/part-00000.parquet daily_spend/class=standard/day=2026-11-17/part-00000.parquet
		manifests/class=standard/day=2026-11-16/revision-00000.json manifests/class=standard/day=2026-11-17/revision-00000.json
		requests/class=standard/day=2026-11-16/part-00000.parquet requests/class=standard/day=2026-11-17/part-00000.parquet`); !slices.Equal(found, want) {
		t.Fatalf("the folder holds %v", found)
	}
	before := files(t, b.dir)
	for d := range 2 {
		begin := monday.AddDate(0, 0, d)
		for _, table := range tables {
			b.same(table.name, begin, filePath(table.name, "standard", begin.Format(time.DateOnly), 0))
		}
	}
	// The same books give the same bytes, in another place, at another time, however the rows lie.
	for _, table := range []string{"requests", "charges"} {
		if err := b.db.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	b.now = b.now.AddDate(0, 0, 1)
	ledgertest.Batch(t, b.db, at(monday.AddDate(0, 0, 2).Add(3*time.Hour)))
	other := t.TempDir()
	b.export(b.options(other))
	if again := files(t, other); !maps.Equal(before, again) {
		t.Error("another export gives other bytes")
	}
	if got := states(b.export(b.options(b.dir))); !slices.Equal(got, []string{"11-16 unchanged 0", "11-17 unchanged 0"}) {
		t.Errorf("a second export gives %v", got)
	}
	if again := files(t, b.dir); !maps.Equal(before, again) {
		t.Error("a second export changed the folder")
	}
}

// A day is open until the watermark has passed its end and the grace; a dry run and a class or days that do not match write nothing.
func TestOnlyClosedDays(t *testing.T) {
	b := newBed(t)
	r := rand.New(rand.NewPCG(3, 4))
	b.post(at(monday.Add(day))+5, ledgertest.Make(r, 50, monday, monday.Add(day))...)
	b.post(at(monday.Add(day))+6, ledgertest.Make(r, 50, monday.Add(day), monday.Add(2*day))...)
	o := b.options(b.dir)
	if got := states(b.export(o)); got != nil {
		t.Fatalf("before the grace: %v", got)
	}
	ledgertest.Batch(t, b.db, at(monday.Add(day).Add(time.Hour)))
	for name, change := range map[string]func(*Options){
		"another class": func(o *Options) { o.Class = "short" },
		"from":          func(o *Options) { o.From = monday.Add(day) },
		"to":            func(o *Options) { o.To = monday },
	} {
		narrow := o
		change(&narrow)
		if got := states(b.export(narrow)); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	dry := o
	dry.DryRun = true
	if got := states(b.export(dry)); !slices.Equal(got, []string{"11-16 due 0"}) {
		t.Fatalf("a dry run: %v", got)
	}
	if got := files(t, b.dir); len(got) != 0 {
		t.Fatalf("files %v", got)
	}
	if got := states(b.export(o)); !slices.Equal(got, []string{"11-16 sealed 0"}) {
		t.Fatalf("after the grace: %v", got)
	}
}

// What comes late for a sealed day goes into files of its own and a manifest that names the one before.
func TestCorrection(t *testing.T) {
	b := newBed(t)
	entries := b.twoDays(300)
	b.export(b.options(b.dir))
	before := files(t, b.dir)

	late := ledgertest.Make(rand.New(rand.NewPCG(5, 6)), 20, monday, monday.Add(day))
	restated := entries[:6]
	var posted []ledgertest.Entry
	for _, e := range restated {
		again := e
		again.Restatement, again.Rate = 2, e.Rate*2+1
		posted = append(posted, e.Reverse(2), again)
	}
	seq := at(monday.AddDate(0, 0, 3))
	b.post(seq, late...)
	b.requests(seq+1, 2, posted...)
	ledgertest.Post(t, b.db, seq+1, posted...)
	if got := states(b.export(b.options(b.dir))); !slices.Equal(got, []string{"11-16 corrected 1", "11-17 unchanged 0"}) {
		t.Fatalf("%v", got)
	}
	after := files(t, b.dir)
	for path, text := range before {
		if after[path] != text {
			t.Errorf("%s was changed", path)
		}
	}
	path := manifestPath("standard", "2026-11-16", 1)
	m, err := ParseManifest([]byte(after[path]))
	if err != nil {
		t.Fatal(err)
	}
	former := before[manifestPath("standard", "2026-11-16", 0)]
	if m.Former == nil || m.Former.SHA256 != hexSHA256([]byte(former)) || m.Former.Path != manifestPath("standard", "2026-11-16", 0) || m.Through != seq+1 {
		t.Errorf("the correction follows %+v through %d", m.Former, m.Through)
	}
	b.same("charges", monday, filePath("charges", "standard", "2026-11-16", 0), filePath("charges", "standard", "2026-11-16", 1))
	if got := states(b.export(b.options(b.dir))); !slices.Equal(got, []string{"11-16 unchanged 1", "11-17 unchanged 0"}) {
		t.Errorf("again: %v", got)
	}
	if got := files(t, b.dir); !maps.Equal(got, after) {
		t.Error("another export changed the folder")
	}
}

// faulty are objects whose functions a test replaces.
type faulty struct {
	Objects
	put func(name string) error
	get func(name string, file *os.File) (*os.File, error)
}

func (f *faulty) Put(ctx context.Context, name string, file *os.File, once bool) error {
	if f.put != nil {
		if err := f.put(name); err != nil {
			return err
		}
	}
	return f.Objects.Put(ctx, name, file, once)
}

func (f *faulty) Get(ctx context.Context, name string) (*os.File, error) {
	file, err := f.Objects.Get(ctx, name)
	if err == nil && f.get != nil {
		return f.get(name, file)
	}
	return file, err
}

// unsealed is books that cannot seal.
type unsealed struct{ *clickhouse.DB }

func (unsealed) Insert(context.Context, string, string, []clickhouse.Column) error {
	return errors.New("no seal")
}

// Wherever an export stops, the next one ends with the folder that one without a stop has.
func TestStopped(t *testing.T) {
	b := newBed(t)
	b.twoDays(200)
	whole := t.TempDir()
	b.export(b.options(whole))
	want := files(t, whole)
	stop := errors.New("stop")
	for name, fault := range map[string]func(*Options) Store{
		"before the second file": func(o *Options) Store {
			o.Objects = &faulty{Objects: o.Objects, put: func(name string) error {
				if strings.HasPrefix(name, "charges") {
					return stop
				}
				return nil
			}}
			return b.db
		},
		"before the manifest": func(o *Options) Store {
			o.Objects = &faulty{Objects: o.Objects, put: func(name string) error {
				if strings.HasPrefix(name, "manifests") {
					return stop
				}
				return nil
			}}
			return b.db
		},
		"before the seal": func(*Options) Store { return unsealed{b.db} },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := b.options(dir)
			if _, err := Export(t.Context(), fault(&o), o); err == nil {
				t.Fatal("no error")
			}
			if err := os.WriteFile(filepath.Join(o.Scratch, "export-left"), []byte("left"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := states(b.export(b.options(dir))); !slices.Equal(got, []string{"11-16 sealed 0", "11-17 sealed 0"}) {
				t.Fatalf("%v", got)
			}
			if got := files(t, dir); !maps.Equal(got, want) {
				t.Errorf("the folder holds %v", slices.Sorted(maps.Keys(got)))
			}
		})
	}
}

// A file that is not what was written gets no manifest, also when it reads well.
func TestReadBack(t *testing.T) {
	b := newBed(t)
	b.twoDays(100)
	for _, table := range tables {
		for what, change := range map[string]func(text []byte){
			"a bit":         func(text []byte) { text[len(text)/2] ^= 1 },
			"who wrote it":  func(text []byte) { text[bytes.Index(text, []byte("ledgerline version"))]++ },
			"its last part": func(text []byte) { clear(text[len(text)-8:]) },
		} {
			dir := t.TempDir()
			o := b.options(dir)
			o.Objects = &faulty{Objects: o.Objects, get: func(name string, file *os.File) (*os.File, error) {
				if !strings.HasPrefix(name, table.name) {
					return file, nil
				}
				defer file.Close()
				text, err := io.ReadAll(file)
				if err != nil {
					return nil, err
				}
				change(text)
				other, err := os.Create(filepath.Join(t.TempDir(), "other"))
				if err == nil {
					_, err = other.Write(text)
				}
				return other, err
			}}
			if _, err := Export(t.Context(), b.db, o); err == nil {
				t.Errorf("%s, %s: no error", table.name, what)
			}
			for path := range files(t, dir) {
				if strings.HasPrefix(path, "manifests") {
					t.Errorf("%s, %s: %s was written", table.name, what, path)
				}
			}
		}
	}
}

// forgetful is books that leave out the charges that were recorded last.
type forgetful struct{ *clickhouse.DB }

func (f forgetful) Stream(ctx context.Context, format, query string, args ...clickhouse.Arg) (io.ReadCloser, error) {
	if query == sql.Query("export_charges") {
		args = dayParams("standard", monday.Add(day), 0, at(monday.AddDate(0, 0, 2)))
	}
	return f.DB.Stream(ctx, format, query, args...)
}

// Files that are whole and not the ledger get no manifest.
func TestNotTheLedger(t *testing.T) {
	b := newBed(t)
	b.twoDays(100)
	o := b.options(b.dir)
	o.From = monday.Add(day)
	_, err := Export(t.Context(), forgetful{b.db}, o)
	if !errors.Is(err, errDiffers) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "manifests")); err == nil {
		t.Error("there is a manifest")
	}
	if got := states(b.export(o)); !slices.Equal(got, []string{"11-17 sealed 0"}) {
		t.Errorf("%v", got)
	}
}

// A manifest of other books is not taken for one's own.
func TestForeignManifest(t *testing.T) {
	b := newBed(t)
	b.twoDays(100)
	other := newBed(t)
	r := rand.New(rand.NewPCG(7, 8))
	other.post(at(monday.Add(day)), ledgertest.Make(r, 20, monday, monday.Add(day))...)
	ledgertest.Batch(t, other.db, at(monday.Add(2*day)))
	other.export(other.options(b.dir))
	before := files(t, b.dir)
	_, err := Export(t.Context(), b.db, b.options(b.dir))
	if err == nil || !strings.Contains(err.Error(), "not of these books") {
		t.Fatalf("got %v", err)
	}
	if got := files(t, b.dir); !maps.Equal(got, before) {
		t.Error("the other books' folder was changed")
	}
}

// A request that was restated past the watermark has no row as of it: its day waits, and is sealed when the watermark has passed.
func TestWaitsForRestatement(t *testing.T) {
	b := newBed(t)
	entries := b.twoDays(50)
	seq := at(monday.AddDate(0, 0, 2).Add(4 * time.Hour))
	b.requests(seq, 1, entries[0])
	if got := states(b.export(b.options(b.dir))); !slices.Equal(got, []string{"11-16 waits 0", "11-17 sealed 0"}) {
		t.Fatalf("%v", got)
	}
	ledgertest.Batch(t, b.db, seq)
	if got := states(b.export(b.options(b.dir))); !slices.Equal(got, []string{"11-16 sealed 0", "11-17 unchanged 0"}) {
		t.Fatalf("%v", got)
	}
	b.same("requests", monday, filePath("requests", "standard", "2026-11-16", 0))
}
