package anomaly

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/sql"
)

const (
	maxMovers = 3
	maxTop    = 5
)

// explain completes drafts: cost, reason, movers, top requests, owner, sentence. A few queries a dimension, however many drafts.
func (d *detector) explain(ctx context.Context, drafts []*draft) error {
	of := map[string][]*draft{}
	for _, draft := range drafts {
		of[draft.Dimension] = append(of[draft.Dimension], draft)
	}
	for _, dimension := range Dimensions {
		if len(of[dimension]) == 0 {
			continue
		}
		if err := d.explainDimension(ctx, dimension, of[dimension]); err != nil {
			return fmt.Errorf("explain findings by %s: %w", dimension, err)
		}
	}
	return nil
}

func (d *detector) explainDimension(ctx context.Context, dimension string, drafts []*draft) error {
	numbers := map[span]uint32{}
	var spans, nows []span // nows: of what is found
	number := func(s span) {
		if _, ok := numbers[s]; !ok {
			numbers[s] = uint32(len(spans))
			spans = append(spans, s)
		}
	}
	for _, draft := range drafts {
		number(draft.span)
	}
	nows = slices.Clone(spans)
	for _, draft := range drafts {
		number(draft.before)
	}
	figures, err := d.figures(ctx, dimension, spans)
	if err != nil {
		return err
	}
	top, err := d.top(ctx, dimension, nows)
	if err != nil {
		return err
	}
	for _, f := range drafts {
		now, then := figures[numbers[f.span]], figures[numbers[f.before]]
		f.Cost, f.Top = sumOf(now.cost()), top[numbers[f.span]]
		if f.Cost != f.expected { // the two were read one after the other
			return ErrMoved
		}
		f.Change = f.Cost.Minus(f.Baseline)
		switch {
		case f.Kind == Anomaly:
			f.Reason = reason(then, now)
		case len(then.models) > 0:
			f.Reference = f.before.from
			f.Reason = append([]Part{{PartEstimate, sumOf(then.cost()).Minus(f.Baseline)}}, reason(then, now)...)
		default:
			f.Reason = []Part{{PartEstimate, f.Change}}
		}
		f.Movers = now.movers(then)
		f.Movers = f.Movers[:min(len(f.Movers), maxMovers)]
		f.Governance = f.rules.digest
		f.Owner = f.owner()
		f.Sentence = f.sentence()
	}
	return nil
}

// table is spans as the statements of reasons read them, a row a day, and the days that they lie in.
func table(spans []span) (rows clickhouse.Arg, from, to Day) {
	var value []string
	var day []uint16
	var number []uint32
	from = 1<<16 - 1
	for n, s := range spans {
		for d := s.from; d < s.to; d++ {
			value, day, number = append(value, s.value), append(day, uint16(d)), append(number, uint32(n))
			from, to = min(from, d), max(to, d+1)
		}
	}
	return clickhouse.Table("spans", []clickhouse.Column{
		{Name: "value", Type: "String", Data: value}, {Name: "day", Type: "Date", Data: day}, {Name: "span", Type: "UInt32", Data: number},
	}), from, to
}

func (d *detector) params(dimension string, spans []span) []clickhouse.Arg {
	rows, from, to := table(spans)
	return []clickhouse.Arg{
		rows, clickhouse.Param("dimension", dimension), clickhouse.Param("as_of", d.asOf),
		clickhouse.Param("from", from.Time().Format(time.DateOnly)), clickhouse.Param("to", to.Time().Format(time.DateOnly)),
	}
}

// figures reads what spans consist of: all of it from the rollups, and from the ledger the calls with more than one attempt, which
// are then moved to their path.
func (d *detector) figures(ctx context.Context, dimension string, spans []span) ([]*figures, error) {
	statement := "anomaly_reason_cells"
	if dimension == "user" {
		statement = "anomaly_reason_users"
	}
	args := d.params(dimension, spans)
	var rows []struct {
		Span     uint32 `ch:"span"`
		UseCase  string `ch:"use_case"`
		Provider string `ch:"provider"`
		Model    string `ch:"model"`
		Class    string `ch:"class"`
		Requests int64  `ch:"requests"`
		Quantity int64  `ch:"quantity"`
		Cost     string `ch:"cost"`
	}
	if err := d.store.Select(ctx, &rows, sql.Query(statement), args...); err != nil {
		return nil, err
	}
	all := make([]*figures, len(spans))
	for i := range all {
		all[i] = newFigures()
	}
	for _, r := range rows {
		cost, err := parsePico(r.Cost)
		if err != nil {
			return nil, err
		}
		f := all[r.Span]
		f.add(path{false, r.Provider, r.Model}, class{r.Provider, r.Model, r.Class}, r.Requests, r.Quantity, cost)
		f.addUseCase(r.UseCase, cost)
	}
	var fallbacks []struct {
		Span           uint32 `ch:"span"`
		ServedProvider string `ch:"served_provider"`
		ServedModel    string `ch:"served_model"`
		Provider       string `ch:"provider"`
		Model          string `ch:"model"`
		Class          string `ch:"class"`
		Requests       int64  `ch:"requests"`
		Calls          int64  `ch:"calls"`
		Quantity       int64  `ch:"quantity"`
		Cost           string `ch:"cost"`
	}
	if err := d.store.Select(ctx, &fallbacks, sql.Query("anomaly_reason_fallback"), args...); err != nil {
		return nil, err
	}
	for _, r := range fallbacks {
		cost, err := parsePico(r.Cost)
		if err != nil {
			return nil, err
		}
		c := class{r.Provider, r.Model, r.Class}
		all[r.Span].add(path{false, r.Provider, r.Model}, c, -r.Calls, -r.Quantity, new(big.Int).Neg(cost))
		all[r.Span].add(path{true, r.ServedProvider, r.ServedModel}, c, r.Requests, r.Quantity, cost)
	}
	return all, nil
}

// top is the requests that cost most, by number of span.
func (d *detector) top(ctx context.Context, dimension string, spans []span) ([][]Request, error) {
	var rows []struct {
		Span uint32 `ch:"span"`
		ID   string `ch:"id"`
		Cost string `ch:"cost"`
	}
	err := d.store.Select(ctx, &rows, sql.Query("anomaly_top"), append(d.params(dimension, spans), clickhouse.Param("limit", uint64(maxTop)))...)
	if err != nil {
		return nil, err
	}
	top := make([][]Request, len(spans))
	for i := range top {
		top[i] = []Request{}
	}
	for _, r := range rows {
		cost, err := money.ParseSum(r.Cost)
		if err != nil {
			return nil, err
		}
		top[r.Span] = append(top[r.Span], Request{r.ID, cost})
	}
	return top, nil
}

func parsePico(text string) (*big.Int, error) {
	s, err := money.ParseSum(text)
	if err != nil {
		return nil, err
	}
	return picoOf(s), nil
}

// owner is who answers for the use case that the finding is about, or else for the one that changed most.
func (f *draft) owner() string {
	useCase := f.Value
	if f.Dimension != "use_case" {
		if len(f.Movers) == 0 {
			return ""
		}
		useCase = f.Movers[0].UseCase
	}
	if f.rules.snapshot == nil {
		return ""
	}
	if u, ok := f.rules.snapshot.UseCase(useCase); ok {
		return u.Owner
	}
	return ""
}

// sentence is the finding for people. Amounts in it are rounded; those beside it are not.
func (f *draft) sentence() string {
	var b strings.Builder
	subject := strings.ReplaceAll(f.Dimension, "_", " ") + " " + f.Value
	if f.Value == "" {
		subject = "calls without a " + strings.ReplaceAll(f.Dimension, "_", " ")
	}
	b.WriteString(strings.ToUpper(subject[:1]) + subject[1:])
	much := func(up, down string) string {
		amount, word := f.Change, up
		if amount.Sign() < 0 {
			amount, word = amount.Neg(), down
		}
		return dollars(amount) + " " + word
	}
	const long = "Monday 2 January 2006"
	if f.Kind == Anomaly {
		day, reference := f.Day.Time(), f.Reference.Time()
		fmt.Fprintf(&b, " cost %s on %s, %s than the %s of %s, the middle one of the last %d ",
			dollars(f.Cost), day.Format(long), much("more", "less"), dollars(f.Baseline), reference.Format(long), f.compared)
		if f.Basis == Weekday {
			b.WriteString(day.Weekday().String() + "s")
		} else {
			b.WriteString("days")
		}
		if n := f.Day - f.Began + 1; n > 1 {
			fmt.Fprintf(&b, "; it is so for %d days in a row", n)
		}
	} else {
		fmt.Fprintf(&b, " cost %s %s, ", dollars(f.Cost), days(f.Day, f.Through))
		if f.Baseline.Sign() > 0 {
			percent := new(big.Int).Mul(picoOf(f.Change), big.NewInt(100))
			percent.Quo(percent, picoOf(f.Baseline))
			fmt.Fprintf(&b, "%s %% (%s) than the estimate of ", new(big.Int).Abs(percent), much("more", "less"))
		} else {
			fmt.Fprintf(&b, "%s than the estimate of ", much("more", "less"))
		}
		b.WriteString(dollars(f.Baseline))
		if f.Through+1 < f.Day.next() {
			fmt.Fprintf(&b, " for these days, of %s a month", dollars(f.estimate))
		}
	}
	b.WriteString(". ")
	if f.Kind == Drift && f.Reference != 0 {
		fmt.Fprintf(&b, "Against %s: ", days(f.before.from, f.before.to-1))
	} else if f.Kind == Drift {
		b.WriteString("There is no month before to compare with: ")
	} else {
		b.WriteString("Why: ")
	}
	parts := slices.Clone(f.Reason)
	slices.SortStableFunc(parts, func(a, c Part) int {
		return new(big.Int).Abs(picoOf(c.Amount)).Cmp(new(big.Int).Abs(picoOf(a.Amount)))
	})
	said := 0
	for _, p := range parts {
		if p.Amount.IsZero() {
			continue
		}
		if said > 0 {
			b.WriteString(", ")
		}
		said++
		fmt.Fprintf(&b, "%s %s", phrases[p.Name], signed(p.Amount))
	}
	if said == 0 {
		b.WriteString("nothing changed")
	}
	b.WriteString(".")
	if f.Dimension != "use_case" && len(f.Movers) > 0 {
		name := "Use case " + f.Movers[0].UseCase
		if f.Movers[0].UseCase == "" {
			name = "What has no use case"
		}
		fmt.Fprintf(&b, " %s changed most: %s.", name, signed(f.Movers[0].Amount))
	}
	if f.Owner != "" {
		fmt.Fprintf(&b, " Owner: %s.", f.Owner)
	}
	return b.String()
}

// phrases are the parts of a reason in words.
var phrases = map[string]string{
	PartEstimate: "off the estimate before",
	PartVolume:   "number of requests",
	PartFallback: "fallback share",
	PartMix:      "choice of models",
	PartTokens:   "tokens per request",
	PartPrice:    "prices",
}

func days(from, to Day) string {
	const short = "2 January 2006"
	switch f, t := from.Time(), to.Time(); {
	case to+1 == from.next() && f.Day() == 1:
		return "in " + f.Format("January 2006")
	case from == to:
		return "on " + f.Format(short)
	default:
		return "from " + f.Format("2 January") + " to " + t.Format(short)
	}
}

func signed(s money.Sum) string {
	if s.Sign() < 0 {
		return "-" + dollars(s.Neg())
	}
	return "+" + dollars(s)
}

// dollars is an amount that is not negative for people: to the cent, halves up, or with all its digits below half a cent.
func dollars(s money.Sum) string {
	const cent = 10_000_000_000
	n := picoOf(s)
	cents := new(big.Int).Add(n, big.NewInt(cent/2))
	cents.Div(cents, big.NewInt(cent))
	if cents.Sign() == 0 && n.Sign() != 0 {
		return "$" + strings.TrimRight(s.String(), "0")
	}
	text := cents.String()
	if len(text) < 3 {
		text = strings.Repeat("0", 3-len(text)) + text
	}
	whole := text[:len(text)-2]
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return "$" + whole + "." + text[len(text)-2:]
}
