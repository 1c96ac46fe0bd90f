// Package retention keeps what has to be kept: it writes closed days by retention class to Parquet files that need neither us nor
// our servers, seals them, proves them, and says what may go when.
//
// A day is closed when the watermark has passed its end and a grace. Its files hold requests, charges and daily spend as of one
// recorded_seq; they are read back from where they lie and compared with the ledger before a manifest makes them count and a row
// in the table exports seals the day. What arrives later for a sealed day goes into new files and another revision; nothing that
// was written is ever written again. So an export may be killed anywhere: the next one goes on with the first day that has no
// seal and gives the same bytes.
package retention

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

// Options of an export.
type Options struct {
	Topic   string  // whose watermark closes days
	Target  string  // what the seals call Objects
	Objects Objects // where the files go
	Scratch string  // folder for files in the making; with a Folder on its file system. Only this export may use it

	From, To time.Time     // days to look at, UTC, To excluded; zero: all
	Class    string        // retention class; empty: all
	Grace    time.Duration // a day is closed this long after its end
	DryRun   bool          // say what is to be done and do nothing

	Now      func() time.Time // of the seals
	Logger   *slog.Logger
	Metrics  *Metrics              // nil: none
	Progress func(done, total int) // told after each day; may be nil
}

// Day is a class and day of an export and what became of it.
type Day struct {
	Class    string
	Day      time.Time
	Revision uint32 // of the manifest
	// sealed | corrected | unchanged | due (a dry run would have written it) | waits
	State string
	// Of this revision.
	Requests, Entries uint64
	Cost              money.Sum
	Bytes             int64
}

// Result is what an export did.
type Result struct {
	Through uint64    // the watermark
	Closed  time.Time // days before this one are closed
	Days    []Day
}

// Store is what runs the statements of this package: a *clickhouse.DB.
type Store interface {
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
	Stream(ctx context.Context, format, query string, args ...clickhouse.Arg) (io.ReadCloser, error)
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
}

// Export writes and seals the closed days that are not sealed yet, in order, and corrects those for which something came late.
func Export(ctx context.Context, db Store, o Options) (Result, error) {
	began := o.Now()
	r, err := export(ctx, db, o)
	o.Metrics.ended(r, err, began, o.Now())
	return r, err
}

type exporter struct {
	Options
	db Store
}

func export(ctx context.Context, db Store, o Options) (Result, error) {
	e := &exporter{o, db}
	through, err := e.watermark(ctx)
	if err != nil {
		return Result{}, err
	}
	result := Result{Through: through, Closed: time.UnixMicro(int64(through)).Add(-o.Grace).UTC().Truncate(day)}
	to := result.Closed
	if !o.To.IsZero() && o.To.Before(to) {
		to = o.To
	}
	found, err := days(ctx, db, o.From, to, o.Class, through)
	if err != nil {
		return result, err
	}
	sealed, err := e.seals(ctx)
	if err != nil {
		return result, err
	}
	if !o.DryRun {
		if err := e.clear(); err != nil {
			return result, err
		}
	}
	for i, f := range found {
		d, err := e.day(ctx, f, sealed[f.key()], through)
		if err != nil {
			return result, fmt.Errorf("export class %q of %s: %w", f.Class, f.Day.Format(time.DateOnly), err)
		}
		result.Days = append(result.Days, d)
		if o.Progress != nil {
			o.Progress(i+1, len(found))
		}
	}
	return result, nil
}

const day = 24 * time.Hour

// found is a class and day that the books have something of.
type found struct {
	Class    string    `ch:"class"`
	Day      time.Time `ch:"day"`
	Requests uint64    `ch:"requests"`
	Entries  uint64    `ch:"entries"`
	Last     uint64    `ch:"last"`
}

func (f *found) key() string { return f.Day.Format(time.DateOnly) + f.Class }

func days(ctx context.Context, db Store, from, to time.Time, class string, through uint64) ([]found, error) {
	var found []found
	err := db.Select(ctx, &found, sql.Query("export_days"), clickhouse.Param("from", micros(from)), clickhouse.Param("to", micros(to)),
		clickhouse.Param("class", class), clickhouse.Param("through", through))
	return found, err
}

// micros is a time as the statements take it; the zero time is the beginning of theirs.
func micros(t time.Time) int64 { return max(0, t.UnixMicro()) }

func (e *exporter) watermark(ctx context.Context) (uint64, error) {
	var rows []struct {
		Watermark uint64 `ch:"watermark"`
	}
	if err := e.db.Select(ctx, &rows, sql.Query("watermark"), clickhouse.Param("topic", e.Topic)); err != nil {
		return 0, fmt.Errorf("read the watermark of %s: %w", e.Topic, err)
	}
	return rows[0].Watermark, nil
}

// clear removes what an export that was killed left in the scratch folder.
func (e *exporter) clear() error {
	if err := os.MkdirAll(e.Scratch, 0o700); err != nil {
		return fmt.Errorf("make the scratch folder: %w", err)
	}
	left, err := os.ReadDir(e.Scratch)
	for _, entry := range left {
		err = errors.Join(err, os.Remove(e.Scratch+"/"+entry.Name()))
	}
	if err != nil {
		return fmt.Errorf("empty the scratch folder: %w", err)
	}
	return nil
}

// day brings one class and day up to date.
func (e *exporter) day(ctx context.Context, f found, former *Seal, through uint64) (Day, error) {
	d := Day{Class: f.Class, Day: f.Day.UTC(), State: "unchanged"}
	after := uint64(0)
	if former != nil {
		d.Revision, after = former.Revision, former.Through
		if f.Last <= after {
			return d, nil
		}
		d.Revision++
	}
	for try := 0; ; try++ {
		want, err := controlOf(ctx, e.db, f.Class, d.Day, after, through)
		if err != nil {
			return d, err
		}
		if want.rows() == 0 { // only deliveries once more of what is there
			if former != nil {
				d.Revision--
			}
			return d, nil
		}
		d.Requests, d.Entries, d.Cost = want.total("requests").Rows, want.total("charges").Rows, want.total("charges").Cost
		if e.DryRun {
			d.State = "due"
			return d, nil
		}
		// A call that was restated after the watermark has no row as of it. Wait for a watermark that has passed that.
		if want.moving {
			if through, err = e.watermark(ctx); err != nil {
				return d, err
			}
			if again, err := controlOf(ctx, e.db, f.Class, d.Day, after, through); err != nil || again.moving {
				d.State = "waits"
				return d, err
			}
			continue
		}
		m, err := e.write(ctx, d, former, after, through, want)
		if errors.Is(err, errDiffers) && try < 3 { // the books may have moved meanwhile
			now, controlErr := controlOf(ctx, e.db, f.Class, d.Day, after, through)
			if controlErr == nil && !now.equal(want) {
				continue
			}
		}
		if err != nil {
			return d, err
		}
		if err := e.seal(ctx, m); err != nil {
			return d, err
		}
		d.State = "sealed"
		if former != nil {
			d.State = "corrected"
		}
		for _, t := range m.Tables {
			for _, file := range t.Files {
				d.Bytes += file.Bytes
			}
		}
		e.Logger.Debug("exported", "class", d.Class, "day", m.Day, "revision", m.Revision, "requests", d.Requests, "entries", d.Entries, "bytes", d.Bytes)
		return d, nil
	}
}

// errDiffers says that files and ledger are not the same.
var errDiffers = errors.New("the files are not what the ledger says")

// write makes the files of a revision, reads them back, and puts the manifest. If an export that was killed before its seal has put
// a manifest, that one is checked and taken.
func (e *exporter) write(ctx context.Context, d Day, former *Seal, after, through uint64, want control) (*Manifest, error) {
	m := &Manifest{
		Format: 1, Writer: Writer, Class: d.Class, Day: d.Day.Format(time.DateOnly), Revision: d.Revision, Through: max(after, want.last),
		Governance: want.governance, PriceBooks: want.priceBooks, Derivations: want.derivations,
	}
	if former != nil {
		m.Former = &File{Path: manifestPath(m.Class, m.Day, former.Revision), Bytes: int64(len(former.Manifest)), SHA256: hexSHA256([]byte(former.Manifest))}
	}
	there, err := e.adopt(ctx, m, after)
	if there != nil || err != nil {
		return there, err
	}
	for _, t := range tables {
		if len(want.sums[t.name]) == 0 {
			continue
		}
		written, err := e.file(ctx, t, m, after, through)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		if !slices.Equal(written.Sums, want.sums[t.name]) {
			return nil, fmt.Errorf("%s: %w: read back %v, the ledger has %v", t.name, errDiffers, written.Sums, want.sums[t.name])
		}
		m.Tables = append(m.Tables, written)
	}
	file, err := e.scratch(m.text())
	if err != nil {
		return nil, err
	}
	defer discard(file)
	if err := e.Objects.Put(ctx, m.Path(), file, true); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return m, nil
}

// file makes one file, puts it and reads it back from where it lies.
func (e *exporter) file(ctx context.Context, t table, m *Manifest, after, through uint64) (Table, error) {
	begin, err := dayOf(m.Day)
	if err != nil {
		return Table{}, err
	}
	rows, err := e.db.Stream(ctx, "ArrowStream", sql.Query("export_"+t.name), dayParams(m.Class, begin, after, through)...)
	if err != nil {
		return Table{}, err
	}
	defer rows.Close()
	file, err := e.scratch(nil)
	if err != nil {
		return Table{}, err
	}
	defer discard(file)
	d := newDigester(file)
	count, columns, err := encode(ctx, t.name, rows, d)
	if err != nil {
		return Table{}, err
	}
	wrote := File{Path: filePath(t.name, m.Class, m.Day, m.Revision), Rows: uint64(count), Bytes: d.bytes, SHA256: d.sum()}
	if err := e.Objects.Put(ctx, wrote.Path, file, false); err != nil {
		return Table{}, err
	}
	read, sums, err := readObject(ctx, e.Objects, wrote.Path, t, nil)
	if err != nil {
		return Table{}, fmt.Errorf("read back: %w", err)
	}
	if read != wrote {
		return Table{}, fmt.Errorf("%w: wrote %+v, read back %+v", errDiffers, wrote, read)
	}
	return Table{Name: t.name, Combine: t.combine, Rows: wrote.Rows, Sums: sums, Columns: columns, Files: []File{wrote}}, nil
}

// readObject reads a file from where it lies.
func readObject(ctx context.Context, objects Objects, path string, t table, each func(row)) (File, []Sums, error) {
	file, err := objects.Get(ctx, path)
	if err != nil {
		return File{}, nil, err
	}
	defer file.Close()
	found, sums, err := readFile(file, t, each)
	found.Path = path
	if err != nil {
		return found, nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, sums, nil
}

// scratch is a new file with a text.
func (e *exporter) scratch(text []byte) (*os.File, error) {
	file, err := os.CreateTemp(e.Scratch, "export-")
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(text); err == nil {
		err = file.Chmod(0o640)
	}
	if err != nil {
		discard(file)
		return nil, err
	}
	return file, nil
}

// discard closes a scratch file and removes it unless Put took it away.
func discard(file *os.File) {
	file.Close()
	os.Remove(file.Name())
}

// adopt is the manifest of an export that was killed before it could seal, if there is one; it has to be what the books say.
func (e *exporter) adopt(ctx context.Context, m *Manifest, after uint64) (*Manifest, error) {
	text, err := getAll(ctx, e.Objects, m.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there, err := ParseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path(), err)
	}
	foreign := func(why string) error {
		return fmt.Errorf("%s is there, unsealed, and not of these books (%s): move it away, or export to another place", m.Path(), why)
	}
	begin, err := dayOf(m.Day)
	if err != nil {
		return nil, err
	}
	switch {
	case there.Class != m.Class || there.Day != m.Day || there.Revision != m.Revision:
		return nil, foreign("it names another day")
	case (there.Former == nil) != (m.Former == nil) || m.Former != nil && *there.Former != *m.Former:
		return nil, foreign("it follows another manifest")
	case !bytes.Equal(there.text(), text):
		return nil, foreign("it was written by another program")
	}
	want, err := controlOf(ctx, e.db, m.Class, begin, after, there.Through)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		held := there.table(t.name)
		// Calls that were restated since have no row as of then; verify looks at them one by one.
		if restated := t.name == "requests" && want.moving; !restated && !slices.Equal(held.Sums, want.sums[t.name]) && len(held.Sums)+len(want.sums[t.name]) > 0 {
			return nil, foreign(fmt.Sprintf("%s: it says %v, the ledger %v", t.name, held.Sums, want.sums[t.name]))
		}
		for _, file := range held.Files {
			found, sums, err := readObject(ctx, e.Objects, file.Path, t, nil)
			if err != nil {
				return nil, err
			}
			if found != file || !slices.Equal(sums, held.Sums) {
				return nil, foreign(file.Path + " is not the file that it names")
			}
		}
	}
	return there, nil
}

// seal records a manifest. Of two that seal the same revision the first one's row enters.
func (e *exporter) seal(ctx context.Context, m *Manifest) error {
	begin, err := dayOf(m.Day)
	if err != nil {
		return err
	}
	text := m.text()
	token := fmt.Sprintf("%s %s %s %d", e.Target, m.Day, m.Class, m.Revision)
	err = e.db.Insert(ctx, "exports", token, []clickhouse.Column{
		{Name: "target", Data: []string{e.Target}}, {Name: "retention_class", Data: []string{m.Class}},
		{Name: "day", Data: []uint16{uint16(begin.Unix() / int64(day.Seconds()))}}, {Name: "revision", Data: []uint32{m.Revision}},
		{Name: "through_seq", Data: []uint64{m.Through}}, {Name: "manifest", Data: []string{string(text)}},
		{Name: "sealed_at", Data: []int64{e.Now().UnixMicro()}},
	})
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// Seal is a sealed revision of a class and day.
type Seal struct {
	Target   string    `ch:"target"`
	Class    string    `ch:"class"`
	Day      time.Time `ch:"day"`
	Revision uint32    `ch:"revision"`
	Through  uint64    `ch:"through_seq"`
	Manifest string    `ch:"manifest"`
	SealedAt time.Time `ch:"sealed_at"`
}

// Seals lists the sealed revisions of one target, or all, in order of target, day, class and revision. from and to bound the days,
// UTC, to excluded; zero: all.
func Seals(ctx context.Context, db Store, target, class string, from, to time.Time) ([]Seal, error) {
	if to.IsZero() {
		to = time.Date(2149, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	var seals []Seal
	err := db.Select(ctx, &seals, sql.Query("export_seals"), clickhouse.Param("target", target), clickhouse.Param("class", class),
		clickhouse.Param("from", time.UnixMicro(micros(from)).UTC().Format(time.DateOnly)), clickhouse.Param("to", to.UTC().Format(time.DateOnly)))
	return seals, err
}

// ListQuery says which sealed revisions.
type ListQuery struct {
	From, To         time.Time // days, UTC, To excluded
	Classes, Targets []string  // any of these; empty: all
	AsOf             time.Time // sealed then, or before
	Limit, Offset    uint64
}

// List is a page of sealed revisions: the newest day first, then by class and target, the newest revision first.
func List(ctx context.Context, db Store, q ListQuery) ([]Seal, error) {
	seals := []Seal{}
	list := func(values []string) []string { return append([]string{}, values...) }
	err := db.Select(ctx, &seals, sql.Query("export_list"), clickhouse.Param("from", q.From.UTC().Format(time.DateOnly)), clickhouse.Param("to", q.To.UTC().Format(time.DateOnly)),
		clickhouse.Param("as_of", q.AsOf.UnixMicro()), clickhouse.Param("class", list(q.Classes)), clickhouse.Param("target", list(q.Targets)),
		clickhouse.Param("limit", q.Limit), clickhouse.Param("offset", q.Offset))
	return seals, err
}

// seals is the latest seal of each class and day at the target.
func (e *exporter) seals(ctx context.Context) (map[string]*Seal, error) {
	all, err := Seals(ctx, e.db, e.Target, e.Class, e.From, e.To)
	latest := map[string]*Seal{}
	for i := range all {
		latest[all[i].Day.UTC().Format(time.DateOnly)+all[i].Class] = &all[i]
	}
	return latest, err
}
