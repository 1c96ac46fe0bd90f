package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/governance"
)

// Step is consecutive days of a retention class that have the same to come. Its dates are those of its first day; each later day
// follows as many days after.
type Step struct {
	Class    string
	From, To time.Time // first and last day, UTC
	Days     int       // that have anything
	Requests uint64    // rows in the store, deliveries once more included
	Entries  uint64
	Sealed   bool  // each of the days, somewhere
	Bytes    int64 // of files, all targets together
	// What a retention run on the day of the plan would do:
	//
	//	keep    nothing
	//	export  nothing yet: the store is to let the days go, but no file has them
	//	cool    let the store's rows go; the files stay
	//	delete  let rows and files go
	Action string
	Cool   time.Time // day from which files alone hold it; zero: never
	May    time.Time // day from which it may be deleted; zero: never
	Must   time.Time // day from which it must be gone; zero: never
	Why    string
}

// PlanOptions of a plan.
type PlanOptions struct {
	Snapshot *governance.Snapshot
	Today    time.Time // UTC
}

// Plan says what would go when and why, by class and day. It changes nothing.
func Plan(ctx context.Context, db Store, o PlanOptions) ([]Step, error) {
	const everything = ^uint64(0)
	all, err := days(ctx, db, time.Time{}, o.Today.Add(day), "", everything)
	if err != nil {
		return nil, err
	}
	seals, err := Seals(ctx, db, "", "", time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	type files struct {
		bytes   int64
		through uint64
	}
	sealed := map[string]files{}
	for _, s := range seals {
		var m Manifest
		if err := json.Unmarshal([]byte(s.Manifest), &m); err != nil {
			return nil, fmt.Errorf("manifest of class %q of %s in %s: %w", s.Class, s.Day.Format(time.DateOnly), s.Target, err)
		}
		key := s.Day.UTC().Format(time.DateOnly) + s.Class
		f := sealed[key]
		f.through = max(f.through, s.Through)
		for _, t := range m.Tables {
			for _, file := range t.Files {
				f.bytes += file.Bytes
			}
		}
		sealed[key] = f
	}
	slices.SortFunc(all, func(a, b found) int {
		if c := strings.Compare(a.Class, b.Class); c != 0 {
			return c
		}
		return a.Day.Compare(b.Day)
	})
	var steps []Step
	for _, f := range all {
		held, ok := sealed[f.key()]
		if ok && held.through < f.Last { // late entries, or only deliveries once more
			late, err := controlOf(ctx, db, f.Class, f.Day.UTC(), held.through, everything)
			if err != nil {
				return nil, err
			}
			ok = late.rows() == 0
		}
		s := step(f, ok, o)
		s.Bytes = held.bytes
		if n := len(steps) - 1; n >= 0 && steps[n].Class == s.Class && steps[n].Action == s.Action && steps[n].Sealed == s.Sealed && steps[n].Why == s.Why {
			l := &steps[n]
			l.To, l.Days = s.To, l.Days+1
			l.Requests, l.Entries, l.Bytes = l.Requests+s.Requests, l.Entries+s.Entries, l.Bytes+s.Bytes
			continue
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// step is what is to come for one day.
func step(f found, sealed bool, o PlanOptions) Step {
	begin := f.Day.UTC()
	s := Step{Class: f.Class, From: begin, To: begin, Days: 1, Requests: f.Requests, Entries: f.Entries, Sealed: sealed, Action: "keep"}
	class, ok := o.Snapshot.RetentionClass(f.Class)
	if !ok || class.MaxDays == 0 {
		s.Why = fmt.Sprintf("class %q has no terms in retention.yaml, so nothing of it goes", f.Class)
		return s
	}
	end := begin.Add(day)
	s.Cool, s.May, s.Must = end.AddDate(0, 0, class.HotDays), end.AddDate(0, 0, class.MinDays), end.AddDate(0, 0, class.MaxDays)
	basis := strings.Join(class.Basis, ", ")
	switch today := o.Today; {
	case !today.Before(s.Must):
		s.Action = "delete"
		s.Why = fmt.Sprintf("older than max_days %d (%s)", class.MaxDays, basis)
		if !sealed {
			s.Why += "; no file has all of it"
		}
	case !today.Before(s.Cool) && !sealed:
		s.Action = "export"
		s.Why = fmt.Sprintf("older than hot_days %d, but no sealed file has all of it: ledgerline export first", class.HotDays)
	case !today.Before(s.Cool):
		s.Action = "cool"
		s.Why = fmt.Sprintf("older than hot_days %d and sealed; the files stay until max_days %d", class.HotDays, class.MaxDays)
	case today.Before(s.May):
		s.Why = fmt.Sprintf("min_days %d (%s)", class.MinDays, basis)
	default:
		s.Why = fmt.Sprintf("min_days %d are over, max_days %d are not (%s)", class.MinDays, class.MaxDays, basis)
	}
	return s
}
