package api

import (
	"fmt"
	"html/template"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/internal/money"
)

// The address of a page has the parameters of the API's answer that it shows. Its form has fields of its own, which people fill in more
// easily; an address with such fields is led on to the one that says the same in the API's parameters.

// canonical is a form's query in the API's parameters, and whether it had any field of a form.
//
//	through        the last day, to is the day after it
//	by, then       one dimension or two, group_by
//	filter, value  one more filter
func canonical(query url.Values) (url.Values, bool) {
	q := url.Values{}
	form := false
	for name, values := range query {
		switch name {
		case "through", "by", "then", "filter", "value":
			form = true
		case "from", "to", "tz":
			if values[0] != "" {
				q[name] = values
			}
		default:
			q[name] = slices.Clone(values)
		}
	}
	if !form {
		return query, false
	}
	if text := query.Get("through"); text != "" {
		q.Set("to", text) // the API says what is wrong with one that is no day
		if day, err := time.Parse(time.DateOnly, text); err == nil {
			q.Set("to", day.AddDate(0, 0, 1).Format(time.DateOnly))
		}
	}
	if by, then := query.Get("by"), query.Get("then"); by != "" {
		if then != "" && then != by {
			by += "," + then
		}
		q.Set("group_by", by)
	}
	if name, value := query.Get("filter"), query.Get("value"); name != "" && value != "" && !slices.Contains(q[name], value) {
		q.Add(name, value)
	}
	return q, true
}

// with is the query with a parameter of these values alone; without any it is taken away.
func with(query url.Values, name string, values ...string) url.Values {
	q := url.Values{}
	for n, v := range query {
		q[n] = v
	}
	delete(q, name)
	if len(values) > 0 {
		q[name] = values
	}
	return q
}

// between is the query of another period. A page of the old one is none of the new one.
func between(query url.Values, from, to time.Time) url.Values {
	return with(with(with(query, "from", bound(from)), "to", bound(to)), "cursor")
}

// bound is a bound of a period as a parameter: a day, where it is the beginning of one.
func bound(t time.Time) string {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339)
}

func link(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// periodForm is the fields of a form that say which time is meant.
type periodForm struct {
	From, Through string // days
	TZ            string
	Presets       []namedLink
	Words         string
}

type namedLink struct {
	Name, URL string
	Here      bool
}

// newPeriodForm is for a page at path whose query means [from, to) of the zone.
func newPeriodForm(path string, query url.Values, from, to, now time.Time, zone *time.Location) periodForm {
	from, to, now = from.In(zone), to.In(zone), now.In(zone)
	last := to.Add(-time.Microsecond)
	f := periodForm{From: from.Format(time.DateOnly), Through: last.Format(time.DateOnly), TZ: zone.String()}
	day := func(months, days int) time.Time {
		return time.Date(now.Year(), now.Month()+time.Month(months), days, 0, 0, 0, 0, zone)
	}
	for _, p := range []struct {
		name     string
		from, to time.Time
	}{
		{"this month", day(0, 1), day(1, 1)},
		{"last month", day(-1, 1), day(0, 1)},
		{"last 7 days", day(0, now.Day()-6), day(0, now.Day()+1)},
		{"last 90 days", day(0, now.Day()-89), day(0, now.Day()+1)},
	} {
		f.Presets = append(f.Presets, namedLink{p.name, link(path, between(with(query, "as_of"), p.from, p.to)), p.from.Equal(from) && p.to.Equal(to)})
	}
	const days, instant = "2 January 2006", "2 January 2006, 15:04"
	switch {
	case bound(from) != f.From || bound(to) != to.Format(time.DateOnly):
		f.Words = from.Format(instant) + " to " + to.Format(instant)
	case f.From == f.Through:
		f.Words = from.Format(days)
	default:
		f.Words = from.Format(days) + " to " + last.Format(days)
	}
	return f
}

// chip is a filter that is on, and the address without it.
type chip struct{ Name, Value, Without string }

func chips(path string, query url.Values, names []string) []chip {
	var on []chip
	for _, name := range names {
		for i, value := range query[name] {
			rest := slices.Delete(slices.Clone(query[name]), i, i+1)
			on = append(on, chip{name, value, link(path, with(with(query, name, rest...), "cursor"))})
		}
	}
	return on
}

// hidden is a parameter that a form hands on.
type hidden struct{ Name, Value string }

func hand(query url.Values, names []string) []hidden {
	var fields []hidden
	for _, name := range names {
		for _, value := range query[name] {
			fields = append(fields, hidden{name, value})
		}
	}
	return fields
}

// periodOf is the local time that a value of a period, as showback writes it, stands for.
func periodOf(name, value string, zone *time.Location) (from, to time.Time, err error) {
	switch name {
	case "month":
		if from, err = time.ParseInLocation("2006-01", value, zone); err == nil {
			to = time.Date(from.Year(), from.Month()+1, 1, 0, 0, 0, 0, zone)
		}
	case "day":
		if from, err = time.ParseInLocation(time.DateOnly, value, zone); err == nil {
			to = time.Date(from.Year(), from.Month(), from.Day()+1, 0, 0, 0, 0, zone)
		}
	default:
		if from, err = time.Parse(time.RFC3339, value); err == nil {
			to = from.Add(time.Hour)
		}
	}
	return from, to, err
}

func isPeriod(name string) bool { return slices.Contains(aggregate.Periods, name) }

// dimensionTitle is a parameter's name for people.
func dimensionTitle(name string) string {
	text := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(text[:1]) + text[1:]
}

// moneyText is an amount with all of its digits. Paler are those after the cents, or of less than a dollar the zeros at the end.
func moneyText(amount any) (template.HTML, error) {
	if text, ok := amount.(*string); ok {
		if text == nil {
			return `<span class="unknown">not known</span>`, nil
		}
		amount = *text
	}
	sum, err := money.ParseSum(fmt.Sprint(amount))
	if err != nil {
		return "", err
	}
	text := sum.String()
	sign := ""
	if text[0] == '-' {
		sign, text = "−", text[1:]
	}
	whole, rest, _ := strings.Cut(text, ".")
	told := 2
	if whole == "0" {
		told = max(told, len(strings.TrimRight(rest, "0")))
	}
	return template.HTML(`<span class="money">` + sign + grouped(whole) + "." + rest[:told] + "<i>" + rest[told:] + "</i></span>"), nil
}

// thousands is a whole number with its digits in groups.
func thousands(n any) string {
	if v := reflect.ValueOf(n); v.Kind() == reflect.Pointer {
		n = v.Elem().Interface()
	}
	text := fmt.Sprint(n)
	if sign, ok := strings.CutPrefix(text, "-"); ok {
		return "−" + grouped(sign)
	}
	return grouped(text)
}

func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// micros is a time in µs as people say it.
func micros(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d µs", n)
	case n < 10_000:
		return fmt.Sprintf("%.2f ms", f/1e3)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f ms", f/1e3)
	case n < 10_000_000:
		return fmt.Sprintf("%.2f s", f/1e6)
	default:
		return fmt.Sprintf("%.1f s", f/1e6)
	}
}

func words(t time.Time) string { return t.Format("2 January 2006, 15:04:05 MST") }

// age is how long ago something was.
func age(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int(d / unit.of); n > 0 {
			if n > 1 {
				unit.name += "s"
			}
			return strconv.Itoa(n) + " " + unit.name + " ago"
		}
	}
	return "a moment ago"
}
