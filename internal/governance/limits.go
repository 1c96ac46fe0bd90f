package governance

import "slices"

// limitsFile is limits.yaml: how fast calls may come, so that one caller
// cannot use up what others need.
type limitsFile struct {
	Limits []limitEntry `yaml:"limits,required"`
}

// limitEntry is one limit. At least one of the three numbers must be there.
// Each proxy counts for itself: with three of them, a third each.
type limitEntry struct {
	ID at[id] `yaml:"id,required"`
	// The calls that it counts: those that have, in everything named here, one
	// of the listed values. {} counts all.
	For struct {
		Key          []at[id] `yaml:"key"`
		BusinessUnit []at[id] `yaml:"business_unit"`
		Team         []at[id] `yaml:"team"`
		Project      []at[id] `yaml:"project"`
		Application  []at[id] `yaml:"application"`
		UseCase      []at[id] `yaml:"use_case"`
		Workload     []text   `yaml:"workload" oneof:"interactive|batch"`
	} `yaml:"for,required"`
	// Each value of these, such as each team, has the numbers for itself.
	// Empty: all these calls share them.
	Each []text `yaml:"each" oneof:"key|business_unit|team|project|application|use_case|workload"`
	// A minute's worth can be used at once and comes back evenly.
	RequestsPerMinute at[int64] `yaml:"requests_per_minute"`
	// Input and output. A call is let in by an estimate, a token for 4 bytes of
	// its body; what it really used counts when it has ended.
	TokensPerMinute at[int64] `yaml:"tokens_per_minute"`
	// Calls at a time.
	Concurrent at[int64] `yaml:"concurrent"`
}

// Limit is how many calls may come.
type Limit struct {
	ID   string
	For  map[string][]string // by "key", a dimension or "workload": one of these values; empty: all calls
	Each []string            // what each value of has the numbers for itself, of the same names

	RequestsPerMinute, TokensPerMinute, Concurrent int64 // 0: no such limit
}

// Limits is all limits in the order of the file.
func (s *Snapshot) Limits() []*Limit { return s.limits }

const (
	maxLimits     = 100 // every call looks at all of them
	maxLimitValue = 1_000_000_000
)

func (s *Snapshot) setLimits(c *checker, f *limitsFile) {
	if len(f.Limits) > maxLimits {
		c.fail(limitsYAML, 0, "more than %d limits; one with each: [team] is a limit for every team", maxLimits)
		return
	}
	listed := map[id]bool{}
	for i := range f.Limits {
		e := &f.Limits[i]
		if e.ID.V != "" && listed[e.ID.V] {
			c.fail(limitsYAML, e.ID.Mark, "limit %s is listed twice", e.ID.V)
		}
		listed[e.ID.V] = true
		l := &Limit{ID: string(e.ID.V), For: map[string][]string{}, Each: plain(e.Each)}
		for _, v := range e.For.Key {
			if _, ok := s.keys[string(v.V)]; !ok && v.V != "" && !c.unread[keysYAML] && !c.faulty[keysYAML] {
				c.fail(limitsYAML, v.Mark, "limit %s: keys.yaml does not name key %s", l.ID, v.V)
			}
			l.For["key"] = append(l.For["key"], string(v.V))
		}
		for i, values := range [6][]at[id]{e.For.BusinessUnit, e.For.Team, e.For.Project, nil, e.For.Application, e.For.UseCase} {
			for _, v := range values {
				s.checkValue(c, limitsYAML, i, v)
				l.For[dimensionNames[i]] = append(l.For[dimensionNames[i]], string(v.V))
			}
		}
		if e.For.Workload != nil {
			l.For["workload"] = plain(e.For.Workload)
		}
		for i, name := range l.Each {
			if slices.Contains(l.Each[:i], name) {
				c.fail(limitsYAML, e.ID.Mark, "limit %s: each names %s twice", l.ID, name)
			}
		}
		given := false
		for _, n := range []struct {
			name string
			from at[int64]
			to   *int64
		}{
			{"requests_per_minute", e.RequestsPerMinute, &l.RequestsPerMinute},
			{"tokens_per_minute", e.TokensPerMinute, &l.TokensPerMinute},
			{"concurrent", e.Concurrent, &l.Concurrent},
		} {
			if n.from.Mark == 0 {
				continue
			}
			given = true
			if *n.to = n.from.V; *n.to < 1 || *n.to > maxLimitValue {
				c.fail(limitsYAML, n.from.Mark, "limit %s: %s must be from 1 to %d; to refuse all calls, disable the key", l.ID, n.name, maxLimitValue)
			}
		}
		if !given {
			c.fail(limitsYAML, e.ID.Mark, "limit %s limits nothing: say requests_per_minute, tokens_per_minute or concurrent", l.ID)
		}
		s.limits = append(s.limits, l)
	}
}
