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
	// is blocked by these. Default 50, 80, 100.
	Soft []at[int64] `yaml:"soft"`
	// Where that goes: a channel of alerts.yaml.
	Channel at[id] `yaml:"channel,required"`
	// A limit that the proxy keeps. Without it nothing is refused.
	Hard *hardEntry `yaml:"hard"`
}

// hardEntry is what happens when a budget is used up. Before a call goes out,
// what it may cost is reserved: a token of input for 3 bytes of its body and
// the output that it allows itself (4,096 tokens when it does not say, 32,768
// at most), at the price of the dearest endpoint it may reach. When it ends,
// what the provider told counts instead, by the prices of this book; what was
// reserved stays where nobody told. Each proxy counts for itself and from its
// start on: what others spend, or was spent before, is in the warnings and not
// in this limit. N proxies can so spend N times the limit, and what calls cost
// beyond their reservation.
type hardEntry struct {
	pos
	// The limit in percent of the amount. Default 100.
	Percent at[int64] `yaml:"percent"`
	// block: calls beyond it are refused. alert: they pass, and their record
	// says so.
	Action text `yaml:"action,required" oneof:"block|alert"`
	// US dollars beyond the limit up to which calls still pass, and their
	// record says so. Default none.
	GraceUSD at[dollars] `yaml:"grace_usd"`
	// Calls whose price is not in the book. Default block.
	Unknown text `yaml:"unknown" oneof:"block|allow"`
	// More money for a while, and who allowed it.
	Override *overrideEntry `yaml:"override"`
}

// overrideEntry raises a limit until a day.
type overrideEntry struct {
	// US dollars more in every period that it holds in.
	ExtraUSD at[dollars] `yaml:"extra_usd,required"`
	// The last day, in the budget's time zone.
	Until at[date] `yaml:"until,required"`
	// The role that allowed it.
	By text `yaml:"by,required"`
	// Why.
	Reason text `yaml:"reason,required"`
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
	Hard            *Hard               // nil: nothing is refused
}

// Hard is a limit that the proxy keeps.
type Hard struct {
	Limit        money.Pico // above zero
	Grace        money.Pico // beyond Limit; calls still pass
	Block        bool       // calls beyond Limit and Grace are refused
	AllowUnknown bool       // calls pass whose price is not known
	Override     Override
}

// Override is more money for a while; the zero value is none.
type Override struct {
	Extra      money.Pico
	Until      time.Time // the first moment at which it does not hold any more
	By, Reason string
}

// LimitAt is what may be spent in the period that a time is in, without the
// grace: with an override that holds then.
func (h *Hard) LimitAt(at time.Time) money.Pico {
	if at.Before(h.Override.Until) {
		return h.Limit + h.Override.Extra
	}
	return h.Limit
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
		b.Hard = hard(c, b, e)
		s.budgets = append(s.budgets, b)
	}
}

// Sums of a limit, its grace and an override, and what is reserved beside
// them, stay within a [money.Pico].
const (
	maxHardDollars = 1_000_000
	maxHardPercent = 200
)

// hard is the limit of a budget that the proxy keeps, or nil.
func hard(c *checker, b *Budget, e *budgetEntry) *Hard {
	if e.Hard == nil {
		return nil
	}
	h := &Hard{Block: e.Hard.Action != "alert", Grace: money.Pico(e.Hard.GraceUSD.V), AllowUnknown: e.Hard.Unknown == "allow"}
	percent := int64(100)
	if e.Hard.Percent.Mark != 0 {
		if percent = e.Hard.Percent.V; percent < 1 || percent > maxHardPercent {
			c.fail(budgetsYAML, e.Hard.Percent.Mark, "budget %s: hard: %d is not a percentage from 1 to %d", b.ID, percent, maxHardPercent)
			percent = 1
		}
	}
	const most = maxHardDollars * 1_000_000_000_000
	amounts := []at[dollars]{e.AmountUSD, e.Hard.GraceUSD}
	if o := e.Hard.Override; o != nil {
		amounts = append(amounts, o.ExtraUSD)
		y, m, d := o.Until.V.Date()
		h.Override = Override{Extra: money.Pico(o.ExtraUSD.V), Until: time.Date(y, m, d+1, 0, 0, 0, 0, b.TimeZone), By: string(o.By), Reason: string(o.Reason)}
	}
	for _, a := range amounts {
		if a.V > most {
			c.fail(budgetsYAML, a.Mark, "budget %s: amounts of a hard budget are at most %d dollars; split it", b.ID, maxHardDollars)
			return h
		}
	}
	h.Limit = b.Amount/100*money.Pico(percent) + b.Amount%100*money.Pico(percent)/100
	if h.Limit == 0 && b.Amount > 0 {
		c.fail(budgetsYAML, e.Hard.Mark, "budget %s: hard: a limit of nothing", b.ID)
	}
	return h
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
