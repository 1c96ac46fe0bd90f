package governance

import (
	"fmt"
	"regexp"
	"time"
	"unicode"

	"github.com/ledgerline/ledgerline/internal/money"
)

// id is a name that we give: of a dimension value, an endpoint, a rule, ….
type id string

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func (v *id) parse(s string) error {
	if !idForm.MatchString(s) {
		return fmt.Errorf("%q is not an id: 1 to 64 of a-z, 0-9, dot, underscore and hyphen, the first a letter or digit", clip(s))
	}
	*v = id(s)
	return nil
}

func (*id) shape() schema { return schema{Pattern: idForm.String()} }

// version is the language of a file.
type version string

const apiVersion = "ledgerline/v1"

func (v *version) parse(s string) error {
	if s != apiVersion {
		return fmt.Errorf("%q is not known here; this program reads %s", clip(s), apiVersion)
	}
	*v = version(s)
	return nil
}

func (*version) shape() schema { return schema{Enum: []string{apiVersion}} }

// model is a model's name as a provider or a client writes it.
type model string

func (v *model) parse(s string) error {
	if err := printable(s, 256); err != nil {
		return err
	}
	for _, r := range s {
		if unicode.IsSpace(r) {
			return fmt.Errorf("%q: a model's name has no spaces", clip(s))
		}
	}
	*v = model(s)
	return nil
}

func (*model) shape() schema { return schema{Pattern: `^\S+$`, MaxLength: 256} }

// text is one line for people, or a value with rules of its own.
type text string

func (v *text) parse(s string) error {
	*v = text(s)
	return printable(s, 512)
}

func (*text) shape() schema { return schema{MinLength: 1, MaxLength: 512} }

func printable(s string, limit int) error {
	switch {
	case s == "":
		return fmt.Errorf("must not be empty")
	case len(s) > limit:
		return fmt.Errorf("longer than %d bytes", limit)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%q contains a character that is not printable", clip(s))
		}
	}
	return nil
}

// date is a day; what is valid from it begins at midnight UTC.
type date struct{ time.Time }

func (v *date) parse(s string) (err error) {
	if v.Time, err = time.ParseInLocation(time.DateOnly, s, time.UTC); err != nil {
		return fmt.Errorf("%q is not a date such as 2026-11-24", clip(s))
	}
	return nil
}

func (*date) timestamp() {}

func (*date) shape() schema { return schema{Format: "date", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`} }

// readOn is the day, or only the month, on which a source was read.
type readOn string

func (v *readOn) parse(s string) error {
	if _, err := time.Parse("2006-01", s); err != nil && new(date).parse(s) != nil {
		return fmt.Errorf("%q is not a date such as 2026-11-24 or 2026-11", clip(s))
	}
	*v = readOn(s)
	return nil
}

func (*readOn) timestamp() {}

func (*readOn) shape() schema { return schema{Pattern: `^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$`} }

// duration is a positive time span such as 90s.
type duration time.Duration

func (v *duration) parse(s string) error {
	span, err := time.ParseDuration(s)
	if err != nil || span <= 0 {
		return fmt.Errorf("%q is not a positive duration such as 90s or 5m", clip(s))
	}
	*v = duration(span)
	return nil
}

func (*duration) shape() schema {
	return schema{Pattern: `^\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`}
}

// perMillion is a price in US dollars per million tokens, at most six decimals.
type perMillion money.Rate

func (v *perMillion) parse(s string) error {
	rate, err := money.ParsePerMillion(s)
	if err == nil && s[0] == '-' { // -0
		err = fmt.Errorf("price %q per million tokens: negative", s)
	}
	*v = perMillion(rate)
	return err
}

func (*perMillion) shape() schema { return schema{Pattern: `^[0-9]+(\.[0-9]{1,6}0*)?$`} }

// dollars is an amount of US dollars that is not negative.
type dollars money.Pico

func (v *dollars) parse(s string) error {
	amount, err := money.Parse(s)
	if err == nil && s[0] == '-' { // also -0
		err = fmt.Errorf("amount %q: negative", s)
	}
	*v = dollars(amount)
	return err
}

func (*dollars) shape() schema { return schema{Pattern: `^[0-9]+(\.[0-9]{1,12}0*)?$`} }

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
