package governance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Diagnostic is one thing in the files that is allowed and should not stay.
type Diagnostic struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error" or "warning"
	File     string `json:"file"`
	Line     int    `json:"line"`           // from 1; 0 when it is about the whole file
	Message  string `json:"message"`        // what is wrong
	Want     string `json:"want,omitempty"` // what would be right
}

// LintRule is one rule of Lint.
type LintRule struct {
	ID, Severity string
	About        string // what it finds

	find func(*linter)
}

// The severities of a rule: an error stands in the way of what the files
// promise, a warning will sooner or later.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// expiringDays is how long before its end an agreement has to be renewed.
const expiringDays = 90

// LintRules is every rule, in the order of its findings' first step: the estate,
// the dimensions, the registry, the routes, the keys.
func LintRules() []LintRule {
	return []LintRule{
		{"regulated-without-sources", severityError, "a use case answers to regulations and lists no sources, so that no answer of it can be traced", (*linter).regulatedWithoutSources},
		{"estimate-missing", severityWarning, "a use case is expected to cost nothing, so that nothing tells when it costs too much", (*linter).estimateMissing},
		{"ambiguous-value", severityError, "a name stands for values of two dimensions", (*linter).ambiguousValues},
		{"team-project-overlap", severityError, "a team and a project have the same name, so that one of the two dimensions says nothing", (*linter).teamProjectOverlap},
		{"budget-missing", severityWarning, "a business unit or team has no budget of its own", (*linter).budgetMissing},
		{"dpa-missing", severityError, "a provider may receive data that is not public and has no data processing agreement", (*linter).dpaMissing},
		{"dpa-undocumented", severityError, "a data processing agreement is claimed and no document is named", (*linter).dpaUndocumented},
		{"dpa-expired", severityError, "a data processing agreement no longer holds", (*linter).dpaExpired},
		{"dpa-expiring", severityWarning, fmt.Sprintf("a data processing agreement ends within %d days", expiringDays), (*linter).dpaExpiring},
		{"review-overdue", severityWarning, "a provider was not reviewed when it was due", (*linter).reviewOverdue},
		{"route-contradiction", severityError, "a route leads data to a provider that is not permitted such data", (*linter).routeContradiction},
		{"route-unreachable", severityWarning, "a rule or an endpoint that no call can reach", (*linter).routeUnreachable},
		{"key-mixed-workloads", severityWarning, "one key serves batch and interactive use cases, so that one can use up the limits of the other", (*linter).keyMixedWorkloads},
		{"unintended", severityWarning, "something else that is allowed and probably not meant", (*linter).unintended},
	}
}

// Lint is what the rules find in the files as of a time, by file and line.
func (s *Snapshot) Lint(at time.Time) []Diagnostic {
	l := &linter{s: s, at: at}
	texts, err := unpack(s.Archive)
	if err != nil {
		panic("governance: the archive of a snapshot cannot be read: " + err.Error()) // we wrote it
	}
	for name, into := range map[string]any{dimensionsYAML: &l.f.dimensions, keysYAML: &l.f.keys, estateYAML: &l.f.estate, registryYAML: &l.f.registry, routingYAML: &l.f.routing} {
		decode(name, texts[name], into) // it decoded before
	}
	for _, rule := range LintRules() {
		l.rule = rule
		rule.find(l)
	}
	slices.SortFunc(l.found, func(a, b Diagnostic) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
	})
	return l.found
}

// linter goes through the files again, because a snapshot does not keep where
// things stand in them.
type linter struct {
	s     *Snapshot
	f     files
	at    time.Time
	rule  LintRule
	found []Diagnostic
}

func (l *linter) report(file string, place mark, want, format string, args ...any) {
	l.found = append(l.found, Diagnostic{l.rule.ID, l.rule.Severity, file, place.line(), fmt.Sprintf(format, args...), want})
}

func (l *linter) regulatedWithoutSources() {
	for i := range l.f.estate.UseCases {
		if e := &l.f.estate.UseCases[i]; len(e.Regulations) > 0 && len(e.Sources) == 0 {
			l.report(estateYAML, e.ID.Mark, "list the datasets that may feed its prompts under sources, and lineage required or optional",
				"use case %s answers to %s and lists no sources", e.ID.V, strings.Join(plain(e.Regulations), ", "))
		}
	}
}

func (l *linter) estimateMissing() {
	for i := range l.f.estate.UseCases {
		if e := &l.f.estate.UseCases[i]; e.EstimateMonthlyUSD == 0 {
			l.report(estateYAML, e.ID.Mark, "write in estimate_monthly_usd what it is expected to cost a month, roughly if need be", "use case %s has no estimate", e.ID.V)
		}
	}
}

// spelling is a name that stands for a value of a dimension.
type spelling struct {
	text, value string
	dimension   int
	file        string
	line        mark
}

func (l *linter) spellings() (list []spelling) {
	add := func(dimension int, file string, value, name string, aliases []at[text], place mark) {
		list = append(list, spelling{value, value, dimension, file, place})
		if name != "" {
			list = append(list, spelling{name, value, dimension, file, place})
		}
		for _, alias := range aliases {
			list = append(list, spelling{string(alias.V), value, dimension, file, alias.Mark})
		}
	}
	d := &l.f.dimensions.Dimensions
	for i, entry := range [6]*dimensionEntry{&d.BusinessUnit, &d.Team, &d.Project, &d.User, &d.Application, &d.UseCase} {
		for _, v := range entry.Values {
			add(i, dimensionsYAML, string(v.ID.V), string(v.Name), v.Aliases, v.ID.Mark)
		}
	}
	for i := range l.f.estate.UseCases {
		e := &l.f.estate.UseCases[i]
		add(useCase, estateYAML, string(e.ID.V), string(e.Name), e.Aliases, e.ID.Mark)
	}
	return list
}

// folded is a name as people hear it: letters and digits only, no case, no
// plural, and without the given words.
func folded(s string, without ...string) string {
	s = strings.ToLower(s)
	for _, word := range without {
		s = strings.ReplaceAll(s, word, "")
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
	return strings.TrimSuffix(s, "s")
}

// clashes reports pairs of values of two dimensions that one name stands for,
// each pair once, where the second stands.
func (l *linter) clashes(fold func(string) string, concerns func(a, b int) bool, want string) {
	first := map[string][]spelling{}
	reported := map[[4]string]bool{}
	for _, here := range l.spellings() {
		key := fold(here.text)
		if key == "" {
			continue
		}
		for _, there := range first[key] {
			pair := [4]string{dimensionNames[there.dimension], there.value, dimensionNames[here.dimension], here.value}
			if here.dimension == there.dimension || !concerns(there.dimension, here.dimension) || reported[pair] {
				continue
			}
			reported[pair] = true
			l.report(here.file, here.line, want, "%q of %s %s is also %q of %s %s", here.text, pair[2], pair[3], there.text, pair[0], pair[1])
		}
		first[key] = append(first[key], here)
	}
}

func teamAndProject(a, b int) bool { return a == team && b == project }

func (l *linter) ambiguousValues() {
	l.clashes(func(s string) string { return folded(s) }, func(a, b int) bool { return !teamAndProject(a, b) },
		"give one of the two another name; a name stands for one value of one dimension")
}

func (l *linter) teamProjectOverlap() {
	l.clashes(func(s string) string { return folded(s, "team", "project", "programme", "program") }, teamAndProject,
		"name the project after what it delivers and ends with, and the team after who does it")
}

func (l *linter) budgetMissing() {
	d := &l.f.dimensions.Dimensions
	for i, entry := range []*dimensionEntry{businessUnit: &d.BusinessUnit, team: &d.Team} {
		for _, v := range entry.Values {
			own := slices.ContainsFunc(l.s.budgets, func(b *Budget) bool {
				return len(b.For) == 1 && slices.Contains(b.For[dimensionNames[i]], string(v.ID.V))
			})
			if !own {
				l.report(dimensionsYAML, v.ID.Mark, fmt.Sprintf("add one to %s with for: {%s: [%s]}", budgetsYAML, dimensionNames[i], v.ID.V),
					"%s %s has no budget of its own", dimensionNames[i], v.ID.V)
			}
		}
	}
}

// foreign calls f for each provider that needs an agreement: it is not our
// own, and may receive what is not public.
func (l *linter) foreign(f func(*providerEntry)) {
	for i := range l.f.registry.Providers {
		e := &l.f.registry.Providers[i]
		if !e.SelfHosted && slices.ContainsFunc(e.PermittedData, func(data text) bool { return data != "public" }) {
			f(e)
		}
	}
}

func (l *linter) dpaMissing() {
	l.foreign(func(e *providerEntry) {
		if e.DPA == nil {
			l.report(registryYAML, e.ID.Mark, "name the agreement under dpa, permit it public data only, or write self_hosted: true if the machines are our own",
				"provider %s may receive %s data and has no data processing agreement", e.ID.V, strings.Join(plain(e.PermittedData), ", "))
		}
	})
}

func (l *linter) dpaUndocumented() {
	for _, e := range l.f.registry.Providers {
		if e.DPA != nil && e.DPA.Document == "" {
			l.report(registryYAML, e.DPA.Mark, "write under document where the signed agreement is filed; until then it counts as none",
				"provider %s is said to have a data processing agreement, and no document is named", e.ID.V)
		}
	}
}

func (l *linter) dpaExpired() {
	for _, e := range l.f.registry.Providers {
		if e.DPA != nil && !l.at.Before(e.DPA.Expires.V.Time) {
			l.report(registryYAML, e.DPA.Expires.Mark, "renew it and write the new document and date, or take the provider out of the routes",
				"the data processing agreement with %s no longer holds since %s", e.ID.V, e.DPA.Expires.V.Format(time.DateOnly))
		}
	}
}

func (l *linter) dpaExpiring() {
	for _, e := range l.f.registry.Providers {
		if e.DPA == nil || !l.at.Before(e.DPA.Expires.V.Time) {
			continue
		}
		if days := int(e.DPA.Expires.V.Sub(l.at).Hours() / 24); days <= expiringDays {
			l.report(registryYAML, e.DPA.Expires.Mark, "renew it before that day",
				"the data processing agreement with %s ends in %d days, on %s", e.ID.V, days, e.DPA.Expires.V.Format(time.DateOnly))
		}
	}
}

// reviewMonths is what the values of review_every mean.
var reviewMonths = map[text]int{"P1M": 1, "P3M": 3, "P6M": 6, "P1Y": 12}

func (l *linter) reviewOverdue() {
	for _, e := range l.f.registry.Providers {
		const want = "let the owner review it, and write the day as last_review"
		due := e.LastReview.V.AddDate(0, reviewMonths[e.ReviewEvery], 0)
		switch {
		case e.ReviewEvery == "":
			l.report(registryYAML, e.ID.Mark, "say in review_every how often it is reviewed, such as P3M, and in last_review when it was",
				"nobody said how often provider %s is reviewed", e.ID.V)
		case e.LastReview.Mark == 0:
			l.report(registryYAML, e.ID.Mark, want, "provider %s of %s was never reviewed", e.ID.V, e.Owner)
		case !l.at.Before(due):
			l.report(registryYAML, e.LastReview.Mark, want, "the review of provider %s by %s was due on %s", e.ID.V, e.Owner, due.Format(time.DateOnly))
		}
	}
}

// rules calls f for each rule with the use cases that it decides.
func (l *linter) rules(f func(*ruleEntry, []*UseCase)) {
	all := l.f.routing.Rules
	if l.f.routing.Default != nil {
		all = append(slices.Clip(all), *l.f.routing.Default)
	}
	for i := range all {
		var decided []*UseCase
		for _, u := range l.s.useCaseList {
			if u.rule.id == string(all[i].ID.V) {
				decided = append(decided, u)
			}
		}
		f(&all[i], decided)
	}
}

func (l *linter) routeContradiction() {
	l.rules(func(e *ruleEntry, decided []*UseCase) {
		for _, name := range e.Endpoints {
			p := l.s.providers[l.s.endpoints[string(name.V)].Provider]
			for _, u := range decided {
				if !slices.Contains(p.PermittedData, u.Classification) {
					l.report(routingYAML, name.Mark, "take the endpoint out of the rule, or the use case into a rule of its own; permitted_data in "+registryYAML+" is for whoever signed the terms",
						"rule %s may send the %s data of use case %s to %s, but provider %s is not permitted such data", e.ID.V, u.Classification, u.ID, name.V, p.ID)
				}
			}
		}
	})
}

// usable is whether a key is accepted.
func (l *linter) usable(k *Key) bool {
	return k != nil && !k.Disabled && (k.Expires.IsZero() || l.at.Before(k.Expires))
}

func (l *linter) routeUnreachable() {
	served := map[string]bool{}
	for _, k := range l.s.keyList {
		for _, u := range k.UseCases {
			served[u] = served[u] || l.usable(k)
		}
	}
	listed := map[id]bool{}
	l.rules(func(e *ruleEntry, decided []*UseCase) {
		for _, name := range e.Endpoints {
			listed[name.V] = true
		}
		// The default rule is for what is not there yet.
		if len(e.UseCases) > 0 && !slices.ContainsFunc(decided, func(u *UseCase) bool { return served[u.ID] }) {
			l.report(routingYAML, e.ID.Mark, "give a key one of its use cases, or take the rule out", "rule %s is for use cases that no valid key may serve", e.ID.V)
		}
	})
	for _, p := range l.f.registry.Providers {
		for _, e := range p.Endpoints {
			if !listed[e.ID.V] {
				l.report(registryYAML, e.ID.Mark, "list it in a rule of "+routingYAML+", or take it out", "endpoint %s is in no rule", e.ID.V)
			}
		}
	}
}

func (l *linter) keyMixedWorkloads() {
	for i := range l.f.keys.Keys {
		e := &l.f.keys.Keys[i]
		if !l.usable(l.s.keys[string(e.ID.V)]) {
			continue
		}
		by := map[string][]string{}
		for _, name := range e.UseCases {
			u := l.s.useCases[string(name.V)]
			by[u.Workload] = append(by[u.Workload], u.ID)
		}
		if len(by) > 1 {
			l.report(keysYAML, e.ID.Mark, "make a key for each", "key %s serves batch (%s) and interactive (%s) use cases", e.ID.V,
				strings.Join(by["batch"], ", "), strings.Join(by["interactive"], ", "))
		}
	}
}

// unintended is what Load warns of. What it says of routes, route-contradiction
// says with its place.
func (l *linter) unintended() {
	for _, w := range l.s.Warnings {
		if w.File != routingYAML {
			l.found = append(l.found, Diagnostic{l.rule.ID, l.rule.Severity, w.File, w.Line, w.Message, ""})
		}
	}
}
