package governance

import (
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // the machine may have no time zones

	"github.com/ledgerline/ledgerline/internal/money"
)

// budgetsFile is budgets.yaml: how much may be spent before somebody is told.
type budgetsFile struct {
	Budgets []budgetEntry `yaml:"budgets,required"`
}

// budgetEntry is one budget.
type budgetEntry struct {
	ID   at[id] `yaml:"id,required"`
	Name text   `yaml:"name,required"`
	// The role or group that answers for it; not a person's name.
	Owner text `yaml:"owner,required"`
	// The spend that counts: of calls that have, in each dimension named
	// here, one of the listed values. {} counts all spend.
	For struct {
		BusinessUnit []at[id] `yaml:"business_unit"`
		Team         []at[id] `yaml:"team"`
		Project      []at[id] `yaml:"project"`
		User         []at[id] `yaml:"user"`
		Application  []at[id] `yaml:"application"`
		UseCase      []at[id] `yaml:"use_case"`
	} `yaml:"for,required"`
	// A calendar period; a week begins on Monday.
	Period text `yaml:"period,required" oneof:"day|week|month|quarter"`
	// The time zone that days begin in, such as Europe/Zurich. Default UTC.
	TimeZone zone `yaml:"time_zone"`
	// US dollars a period, such as "1200".
	AmountUSD at[dollars] `yaml:"amount_usd,required"`
	// Percentages of the amount at which somebody is told, ascending. Nothing
	// is blocked. Default 50, 80, 100.
	Soft []at[int64] `yaml:"soft"`
	// Where that goes: a channel of alerts.yaml.
	Channel at[id] `yaml:"channel,required"`
}

// zone is a time zone of the IANA database.
type zone struct{ *time.Location }

func (v *zone) parse(s string) (err error) {
	if v.Location, err = time.LoadLocation(s); err != nil || s == "" || s == "Local" {
		return fmt.Errorf("%q is not a time zone such as Europe/Zurich", clip(s))
	}
	return nil
}

// Budget is an amount that may be spent a period before somebody is told.
type Budget struct {
	ID, Name, Owner string
	For             map[string][]string // by dimension: one of these values; empty: all spend
	Period          string              // "day", "week", "month" or "quarter"
	TimeZone        *time.Location      // that days begin in
	Amount          money.Pico          // of a period; above zero
	Soft            []int               // percentages of Amount at which somebody is told, ascending
	Channel         string              // of alerts.yaml
}

// Bounds is the period that a time is in: its beginning, and that of the next.
func (b *Budget) Bounds(at time.Time) (from, to time.Time) {
	y, m, d := at.In(b.TimeZone).Date()
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, b.TimeZone) }
	switch b.Period {
	case "day":
		return day(y, m, d), day(y, m, d+1)
	case "week":
		monday := d - (int(at.In(b.TimeZone).Weekday())+6)%7
		return day(y, m, monday), day(y, m, monday+7)
	case "quarter":
		first := m - (m-1)%3
		return day(y, first, 1), day(y, first+3, 1)
	}
	return day(y, m, 1), day(y, m+1, 1)
}

// Budgets is all budgets in the order of the file.
func (s *Snapshot) Budgets() []*Budget { return s.budgets }

const (
	maxBudgets   = 10_000
	maxSoft      = 10
	maxSoftValue = 1000 // percent
)

func (s *Snapshot) setBudgets(c *checker, f *budgetsFile) {
	if len(f.Budgets) > maxBudgets {
		c.fail(budgetsYAML, 0, "more than %d budgets", maxBudgets)
		return
	}
	listed := map[id]bool{}
	for i := range f.Budgets {
		e := &f.Budgets[i]
		if e.ID.V != "" && listed[e.ID.V] {
			c.fail(budgetsYAML, e.ID.Mark, "budget %s is listed twice", e.ID.V)
		}
		listed[e.ID.V] = true
		b := &Budget{ID: string(e.ID.V), Name: string(e.Name), Owner: string(e.Owner), For: map[string][]string{}, Period: string(e.Period),
			TimeZone: e.TimeZone.Location, Amount: money.Pico(e.AmountUSD.V), Channel: string(e.Channel.V)}
		if b.TimeZone == nil {
			b.TimeZone = time.UTC
		}
		for i, values := range [6][]at[id]{e.For.BusinessUnit, e.For.Team, e.For.Project, e.For.User, e.For.Application, e.For.UseCase} {
			for _, v := range values {
				s.checkValue(c, budgetsYAML, i, v)
				if v.V != "" && slices.Contains(b.For[dimensionNames[i]], string(v.V)) {
					c.fail(budgetsYAML, v.Mark, "budget %s: %s %s is listed twice", b.ID, dimensionNames[i], v.V)
				}
				b.For[dimensionNames[i]] = append(b.For[dimensionNames[i]], string(v.V))
			}
			if values != nil && len(values) == 0 {
				c.fail(budgetsYAML, e.ID.Mark, "budget %s: no value of %s can be one of none; leave it out", b.ID, dimensionNames[i])
			}
		}
		if e.AmountUSD.Mark != 0 && b.Amount == 0 && !c.faulty[budgetsYAML] {
			c.fail(budgetsYAML, e.AmountUSD.Mark, "budget %s: an amount of nothing", b.ID)
		}
		b.Soft = soft(c, b.ID, e)
		if e.Channel.V != "" && s.channels[b.Channel] == nil && !c.unread[alertsYAML] {
			c.fail(budgetsYAML, e.Channel.Mark, "budget %s: channel %q is not in %s%s", b.ID, e.Channel.V, alertsYAML, near(c, b.Channel, s.channels))
		}
		s.budgets = append(s.budgets, b)
	}
}

// soft is the percentages of a budget.
func soft(c *checker, budget string, e *budgetEntry) []int {
	if e.Soft == nil {
		return []int{50, 80, 100}
	}
	if len(e.Soft) == 0 || len(e.Soft) > maxSoft {
		c.fail(budgetsYAML, e.ID.Mark, "budget %s: soft: want 1 to %d percentages", budget, maxSoft)
	}
	var percent []int
	for i, p := range e.Soft {
		switch {
		case p.V < 1 || p.V > maxSoftValue:
			c.fail(budgetsYAML, p.Mark, "budget %s: soft: %d is not a percentage from 1 to %d", budget, p.V, maxSoftValue)
		case i > 0 && p.V <= e.Soft[i-1].V:
			c.fail(budgetsYAML, p.Mark, "budget %s: the percentages of soft must ascend", budget)
		}
		percent = append(percent, int(p.V))
	}
	return percent
}
