package retention

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ledgerline/ledgerline/sql"
)

// VerifyOptions say where the files are.
type VerifyOptions struct {
	// Open opens a target by the name that its seals have. busy says that an export is writing there now. close may be nil.
	Open func(target string) (objects Objects, busy bool, close func() error, err error)
}

// Verification is the proof of the sealed days and how it ended.
type Verification struct {
	Days     int      // classes and days, of all targets
	Rows     uint64   // of files that were read
	Found    int      // problems, also those that Problems leaves out
	Problems []string // the first of them
	Notes    []string // what is right and should be known
}

// OK reports whether the files are the ledger.
func (v *Verification) OK() bool { return v.Found == 0 }

const maxProblems = 20

func (v *Verification) problem(format string, args ...any) {
	if v.Found++; len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify reads every file of every sealed day from its first byte to its last and proves, in both directions, that it is the one
// that was sealed and that the files of a day are the ledger: rows, sums and hashes of charges and daily spend for each revision,
// of requests as their revisions together give them. A file that was changed, is missing or was added is named.
func Verify(ctx context.Context, db Store, o VerifyOptions) (Verification, error) {
	v := Verification{}
	all, err := Seals(ctx, db, "", "", time.Time{}, time.Time{})
	if err != nil {
		return v, err
	}
	var names []string
	for _, s := range all {
		if !slices.Contains(names, s.Target) {
			names = append(names, s.Target)
		}
	}
	for _, name := range names {
		if err := v.target(ctx, db, o, name); err != nil {
			return v, fmt.Errorf("verify the exports in %s: %w", name, err)
		}
	}
	return v, nil
}

func (v *Verification) target(ctx context.Context, db Store, o VerifyOptions, name string) error {
	objects, busy, close, err := o.Open(name)
	if err != nil {
		v.problem("%s cannot be read: %v", name, err)
		return nil
	}
	if close != nil {
		defer close()
	}
	var listed []string
	for _, prefix := range []string{"manifests/", "requests/", "charges/", "daily_spend/"} {
		part, err := objects.List(ctx, prefix)
		if err != nil {
			v.problem("%s cannot be listed: %v", name, err)
			return nil
		}
		listed = append(listed, part...)
	}
	// Read after the list, so that what is sealed meanwhile does not look added.
	seals, err := Seals(ctx, db, name, "", time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	late := 0
	for len(seals) > 0 {
		n := slices.IndexFunc(seals, func(s Seal) bool { return s.Class != seals[0].Class || !s.Day.Equal(seals[0].Day) })
		if n < 0 {
			n = len(seals)
		}
		waits, err := v.day(ctx, db, objects, name, seals[:n], known)
		if err != nil {
			return err
		}
		if waits {
			late++
		}
		seals = seals[n:]
	}
	for _, path := range listed {
		switch {
		case known[path]:
		case busy:
			v.Notes = append(v.Notes, fmt.Sprintf("%s/%s: in no sealed manifest; an export is writing there now", name, path))
		default:
			v.problem("%s/%s was added: no sealed manifest names it (what an export left that was stopped, the next one puts right)", name, path)
		}
	}
	if late > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("%s: %d sealed days have something in the books that came later; the next export writes the corrections", name, late))
	}
	return nil
}

// day proves one class and day. waits says that the ledger has more of it than was exported.
func (v *Verification) day(ctx context.Context, db Store, objects Objects, target string, seals []Seal, known map[string]bool) (waits bool, err error) {
	v.Days++
	begin := seals[0].Day.UTC()
	broken := false
	problem := func(format string, args ...any) {
		broken = true
		v.problem("%s/"+format, append([]any{target}, args...)...)
	}
	latest := map[string]row{} // requests by event id, of corrections
	var oldest Sums            // of requests of revision 0 that no correction has
	all, err := controlOf(ctx, db, seals[0].Class, begin, 0, seals[len(seals)-1].Through)
	if err != nil {
		return false, err
	}
	later, err := lateOf(ctx, db, seals[0].Class, begin, seals[len(seals)-1].Through)
	if err != nil {
		return false, err
	}
	for i := len(seals) - 1; i >= 0; i-- { // a later revision says which rows of the former ones hold
		s := seals[i]
		path := manifestPath(s.Class, begin.Format(time.DateOnly), s.Revision)
		known[path] = true
		text, err := getAll(ctx, objects, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem("%s is missing", path)
		case err != nil:
			problem("%s cannot be read: %v", path, err)
		case string(text) != s.Manifest:
			problem("%s was changed: SHA-256 %s, %s was sealed", path, hexSHA256(text), hexSHA256([]byte(s.Manifest)))
		}
		m, err := ParseManifest([]byte(s.Manifest))
		if err != nil {
			problem("%s as it was sealed: %v", path, err)
			continue
		}
		after := uint64(0)
		if i > 0 {
			after = seals[i-1].Through
			if m.Former == nil || m.Former.SHA256 != hexSHA256([]byte(seals[i-1].Manifest)) {
				problem("%s does not follow the manifest before it", path)
			}
		}
		if s.Revision != uint32(i) {
			problem("%s: the seal of a revision before it is missing", path)
		}
		want := all
		if len(seals) > 1 {
			if want, err = controlOf(ctx, db, s.Class, begin, after, s.Through); err != nil {
				return false, err
			}
		}
		for _, t := range tables {
			held := m.table(t.name)
			each := func(row) {}
			if t.combine == "last" {
				each = func(r row) {
					switch _, corrected := latest[r.event]; {
					case corrected || later[r.event]:
					case i > 0:
						latest[r.event] = r
					default:
						oldest.add(r.sums)
					}
				}
			}
			for _, file := range held.Files {
				known[file.Path] = true
				found, sums, err := readObject(ctx, objects, file.Path, t, each)
				v.Rows += found.Rows
				switch {
				case errors.Is(err, fs.ErrNotExist):
					problem("%s is missing", file.Path)
				case found.SHA256 != "" && found.SHA256 != file.SHA256:
					problem("%s was changed: SHA-256 %s, %s was sealed", file.Path, found.SHA256, file.SHA256)
				case err != nil:
					problem("%s cannot be read: %v", file.Path, err)
				case found != file || !slices.Equal(sums, held.Sums):
					problem("%s is not what its manifest says: %+v, %v", file.Path, found, sums)
				}
			}
			if t.combine == "sum" && !slices.Equal(held.Sums, want.sums[t.name]) {
				problem("%s: %s is not the ledger: files %v, ledger %v", path, t.name, held.Sums, want.sums[t.name])
			}
		}
	}
	for _, r := range latest {
		oldest.add(r.sums)
	}
	if total := all.total("requests"); !broken && oldest != total {
		problem("%s: requests are not the ledger's: files %v, ledger %v", folder("requests", seals[0].Class, begin.Format(time.DateOnly)), oldest, total)
	}
	return all.moving, nil
}

// lateOf is the calls whose row was recorded after a recorded_seq. They are few: what comes after a day was sealed.
func lateOf(ctx context.Context, db Store, class string, begin time.Time, through uint64) (map[string]bool, error) {
	var rows []struct {
		Event string `ch:"event_id"`
	}
	err := db.Select(ctx, &rows, sql.Query("export_late"), dayParams(class, begin, 0, through)...)
	late := map[string]bool{}
	for _, r := range rows {
		late[r.Event] = true
	}
	return late, err
}
