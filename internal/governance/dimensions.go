package governance

import (
	"time"
)

// dimensionsFile is dimensions.yaml: what costs are attributed to.
type dimensionsFile struct {
	// enforce refuses a call that lacks a required dimension; observe lets it
	// through and records the dimension as missing.
	Attribution text `yaml:"attribution,required" oneof:"enforce|observe"`
	// All six dimensions.
	Dimensions struct {
		BusinessUnit dimensionEntry `yaml:"business_unit,required"`
		Team         dimensionEntry `yaml:"team,required"`
		Project      dimensionEntry `yaml:"project,required"`
		User         dimensionEntry `yaml:"user,required"`
		Application  dimensionEntry `yaml:"application,required"`
		UseCase      dimensionEntry `yaml:"use_case,required"`
	} `yaml:"dimensions,required"`
}

// dimensionEntry is one dimension.
type dimensionEntry struct {
	pos
	// Whether a call must carry the dimension. A use case may ask for others.
	Required bool `yaml:"required"`
	// The value of calls that nothing else gives one; recorded as such.
	Default at[id] `yaml:"default"`
	// Whether values that are not listed are accepted as they are.
	Open bool `yaml:"open"`
	// The known values. Users are never listed: they are always open and
	// arrive as keyed references. The use cases are those of estate.yaml.
	Values []valueEntry `yaml:"values"`
}

// valueEntry is one value of a dimension.
type valueEntry struct {
	// What events, keys and reports call it.
	ID at[id] `yaml:"id,required"`
	// What people call it.
	Name text `yaml:"name"`
	// Other spellings that clients send; they are recorded as the id.
	Aliases []at[text] `yaml:"aliases"`
	// Where it belongs: a team to a business unit, a project to a team. Each
	// line holds from its date until the next; other dimensions have none.
	Parents []struct {
		ID   at[id]   `yaml:"id,required"`
		From at[date] `yaml:"from,required"`
	} `yaml:"parents"`
}

// dimensionNames are the six dimensions, as in the event.
var dimensionNames = [6]string{"business_unit", "team", "project", "user", "application", "use_case"}

const (
	businessUnit = iota
	team
	project
	user
	application
	useCase
)

// parentOf is the dimension that a value's parent belongs to, or -1.
var parentOf = [6]int{-1, businessUnit, team, -1, -1, -1}

// Value is one listed value of a dimension.
type Value struct{ ID, Name string }

type dimension struct {
	open, required bool
	fallback       string
	canonical      map[string]string // ids and aliases to ids
	parents        map[string][]parent
	values         []Value
}

type parent struct {
	from time.Time
	id   string
}

func dimensionIndex(name string) int {
	for i, known := range dimensionNames {
		if name == known {
			return i
		}
	}
	return -1
}

// Mode is what happens to a call that lacks a required dimension: "enforce" or
// "observe".
func (s *Snapshot) Mode() string { return s.mode }

// Required is the dimensions that a call must carry, in the order of the event.
func (s *Snapshot) Required() []string { return s.required }

// Default is the value of a dimension for calls that nothing else gives one;
// empty when there is none.
func (s *Snapshot) Default(dimension string) string {
	if i := dimensionIndex(dimension); i >= 0 {
		return s.dimensions[i].fallback
	}
	return ""
}

// Canonical is the id of a value given as id or alias. known is false for a
// value that is not listed; then canonical is the value as it came. In an open
// dimension every value is known.
func (s *Snapshot) Canonical(dimension, value string) (canonical string, known bool) {
	i := dimensionIndex(dimension)
	if i < 0 {
		return value, false
	}
	d := &s.dimensions[i]
	if id, ok := d.canonical[value]; ok {
		return id, true
	}
	return value, d.open
}

// Parent is the value that a value (an id, not an alias) belonged to at a
// time: the business unit of a team, the team of a project.
func (s *Snapshot) Parent(dimension, value string, at time.Time) (string, bool) {
	i := dimensionIndex(dimension)
	if i < 0 {
		return "", false
	}
	parents := s.dimensions[i].parents[value]
	for j := len(parents) - 1; j >= 0; j-- {
		if !parents[j].from.After(at) {
			return parents[j].id, true
		}
	}
	return "", false
}

// Values is the listed values of a dimension in the order of the file.
func (s *Snapshot) Values(dimension string) []Value {
	if i := dimensionIndex(dimension); i >= 0 {
		return s.dimensions[i].values
	}
	return nil
}

func (s *Snapshot) setDimensions(c *checker, f *dimensionsFile) {
	s.mode = string(f.Attribution)
	d := &f.Dimensions
	entries := [6]*dimensionEntry{&d.BusinessUnit, &d.Team, &d.Project, &d.User, &d.Application, &d.UseCase}
	for i, entry := range entries {
		s.dimensions[i] = dimension{open: entry.Open || i == user, required: entry.Required, fallback: string(entry.Default.V),
			canonical: map[string]string{}, parents: map[string][]parent{}}
		if entry.Required {
			s.required = append(s.required, dimensionNames[i])
		}
		if i == useCase && entry.Open {
			c.fail(dimensionsYAML, entry.Mark, "use_case: cannot be open; the use cases are those of estate.yaml")
		}
		if (i == user || i == useCase) && len(entry.Values) > 0 {
			c.fail(dimensionsYAML, entry.Values[0].ID.Mark, "%s: values are not listed here; %s", dimensionNames[i],
				map[int]string{user: "users arrive as keyed references", useCase: "the use cases are those of estate.yaml"}[i])
			continue
		}
		for j := range entry.Values {
			s.dimensions[i].add(c, dimensionsYAML, dimensionNames[i], &entry.Values[j])
		}
	}
	for i, entry := range entries {
		for j := range entry.Values {
			s.setParents(c, i, &entry.Values[j])
		}
		if i != useCase && entry.Default.V != "" {
			s.checkValue(c, dimensionsYAML, i, entry.Default)
		}
	}
}

// add registers a value and its aliases.
func (d *dimension) add(c *checker, file, name string, v *valueEntry) {
	if v.ID.V == "" {
		return
	}
	value := string(v.ID.V)
	d.values = append(d.values, Value{value, string(v.Name)})
	register := func(spelling string, line mark) {
		switch owner, taken := d.canonical[spelling]; {
		case taken && owner == spelling && value == spelling:
			c.fail(file, line, "%s %s is listed twice", name, value)
		case taken:
			c.fail(file, line, "%s: %q already stands for %s", name, spelling, owner)
		default:
			d.canonical[spelling] = value
		}
	}
	register(value, v.ID.Mark)
	for _, alias := range v.Aliases {
		if alias.V != "" {
			register(string(alias.V), alias.Mark)
		}
	}
}

func (s *Snapshot) setParents(c *checker, i int, v *valueEntry) {
	value, above := string(v.ID.V), parentOf[i]
	for j, p := range v.Parents {
		if above < 0 {
			c.fail(dimensionsYAML, p.ID.Mark, "%s %s: a value of this dimension has no parents", dimensionNames[i], value)
			return
		}
		if j > 0 && !p.From.V.After(v.Parents[j-1].From.V.Time) {
			c.fail(dimensionsYAML, p.From.Mark, "%s %s: the from dates of parents must ascend", dimensionNames[i], value)
		}
		s.checkValue(c, dimensionsYAML, above, p.ID)
		s.dimensions[i].parents[value] = append(s.dimensions[i].parents[value], parent{p.From.V.Time, string(p.ID.V)})
	}
}

// checkValue reports a value that the dimension does not list. The value must
// be the id: an alias in our own files would only hide what is meant.
func (s *Snapshot) checkValue(c *checker, file string, i int, value at[id]) {
	home := dimensionsYAML
	if i == useCase {
		home = estateYAML
	}
	d := &s.dimensions[i]
	if value.V == "" || c.unread[home] {
		return
	}
	switch canonical, known := d.canonical[string(value.V)]; {
	case !known && !d.open:
		c.fail(file, value.Mark, "%s %q is not in %s%s", dimensionNames[i], value.V, home, near(c, string(value.V), d.canonical))
	case known && canonical != string(value.V):
		c.fail(file, value.Mark, "%s %q is an alias; write %s", dimensionNames[i], value.V, canonical)
	}
}

// checkParent reports a pair of values of which the second never was the
// parent of the first.
func (s *Snapshot) checkParent(c *checker, file string, line mark, i int, value, above string) {
	parents := s.dimensions[i].parents[value]
	if value == "" || above == "" || len(parents) == 0 || s.dimensions[parentOf[i]].canonical[above] != above { // reported, or open
		return
	}
	for _, p := range parents {
		if p.id == above {
			return
		}
	}
	c.fail(file, line, "%s %s does not belong to %s %s in %s", dimensionNames[i], value, dimensionNames[parentOf[i]], above, dimensionsYAML)
}

func (s *Snapshot) checkUseCaseDefault(c *checker, f *dimensionsFile) {
	s.checkValue(c, dimensionsYAML, useCase, f.Dimensions.UseCase.Default)
}
