package governance

import (
	"slices"
	"strings"
)

// retentionFile is retention.yaml: how long records are kept, and why.
type retentionFile struct {
	// One of them is standard: calls whose use case is not known are kept as it says.
	Classes []retentionEntry `yaml:"classes,required"`
}

// retentionEntry is one class. Days are counted from the end of the record's day, UTC.
type retentionEntry struct {
	ID at[id] `yaml:"id,required"`
	// The role or group that answers for it; not a person's name.
	Owner text `yaml:"owner,required"`
	// The laws, standards or decisions that say how long, such as "AI Act 26(6)".
	Basis []text `yaml:"basis,required"`
	// Nothing is deleted before; 0 when nothing has to be kept.
	MinDays at[int64] `yaml:"min_days,required"`
	// Nothing is kept longer, unless a hold says so.
	MaxDays at[int64] `yaml:"max_days,required"`
	// How long records stay in the store; after that they are in exported files alone.
	HotDays at[int64] `yaml:"hot_days,required"`
}

// RetentionClass says how long records are kept. Its days are 0 in a snapshot without retention.yaml.
type RetentionClass struct {
	ID, Owner string
	Basis     []string // laws, standards or decisions
	MinDays   int      // nothing is deleted before, from the end of the record's day
	MaxDays   int      // nothing is kept longer
	HotDays   int      // how long records stay in the store
}

// RetentionClass is the class with the id.
func (s *Snapshot) RetentionClass(id string) (*RetentionClass, bool) {
	i := slices.IndexFunc(s.retentionClasses, func(c *RetentionClass) bool { return c.ID == id })
	if i < 0 {
		return nil, false
	}
	return s.retentionClasses[i], true
}

// RetentionClasses is all classes in the order of the file.
func (s *Snapshot) RetentionClasses() []*RetentionClass { return s.retentionClasses }

// standardClass keeps calls whose use case is not known.
const standardClass = "standard"

// longestDays is a hundred years: more is a slip.
const longestDays = 36_525

func (s *Snapshot) setRetention(c *checker, f *retentionFile, given bool) {
	if !given {
		for _, id := range []string{"short", standardClass, "regulated"} {
			s.retentionClasses = append(s.retentionClasses, &RetentionClass{ID: id})
		}
		return
	}
	for i := range f.Classes {
		e := &f.Classes[i]
		class := &RetentionClass{ID: string(e.ID.V), Owner: string(e.Owner), Basis: plain(e.Basis),
			MinDays: int(e.MinDays.V), MaxDays: int(e.MaxDays.V), HotDays: int(e.HotDays.V)}
		if _, listed := s.RetentionClass(class.ID); listed {
			c.fail(retentionYAML, e.ID.Mark, "class %s is listed twice", class.ID)
		}
		s.retentionClasses = append(s.retentionClasses, class)
		if e.Basis != nil && len(e.Basis) == 0 {
			c.fail(retentionYAML, e.ID.Mark, "class %s: a period without a basis is nobody's decision; name one", class.ID)
		}
		if e.MaxDays.Mark == 0 {
			continue // reported as missing
		}
		switch {
		case e.MaxDays.V == 0 || e.MaxDays.V > longestDays:
			c.fail(retentionYAML, e.MaxDays.Mark, "class %s: max_days is from 1 to %d", class.ID, longestDays)
		case e.MinDays.V > e.MaxDays.V:
			c.fail(retentionYAML, e.MinDays.Mark, "class %s: min_days %d is over max_days %d", class.ID, e.MinDays.V, e.MaxDays.V)
		case e.HotDays.V > e.MaxDays.V:
			c.fail(retentionYAML, e.HotDays.Mark, "class %s: hot_days %d is over max_days %d", class.ID, e.HotDays.V, e.MaxDays.V)
		}
		if e.HotDays.Mark > 0 && e.HotDays.V == 0 {
			c.fail(retentionYAML, e.HotDays.Mark, "class %s: hot_days is at least 1: a day is exported after its end", class.ID)
		}
	}
	if _, listed := s.RetentionClass(standardClass); !listed && !c.unread[retentionYAML] && !c.faulty[retentionYAML] {
		c.fail(retentionYAML, 0, "class %s is missing: calls whose use case is not known are kept as it says", standardClass)
	}
}

// checkRetentionClass reports a class that there is not.
func (s *Snapshot) checkRetentionClass(c *checker, class at[id]) {
	if _, listed := s.RetentionClass(string(class.V)); class.V == "" || listed || c.unread[retentionYAML] {
		return
	}
	var ids []string
	for _, known := range s.retentionClasses {
		ids = append(ids, known.ID)
	}
	c.fail(estateYAML, class.Mark, "retention_class: %q is not one of %s", class.V, strings.Join(ids, ", "))
}
