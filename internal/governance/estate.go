package governance

import (
	"slices"

	"github.com/ledgerline/ledgerline/internal/money"
)

// estateFile is estate.yaml: what the company uses language models for.
type estateFile struct {
	UseCases []useCaseEntry `yaml:"use_cases,required"`
}

// useCaseEntry is one use case.
type useCaseEntry struct {
	ID      at[id]     `yaml:"id,required"`
	Name    text       `yaml:"name,required"`
	Aliases []at[text] `yaml:"aliases"`
	// The role or group that answers for it; not a person's name.
	Owner text `yaml:"owner,required"`
	// What its calls are attributed to when the key does not say.
	Team        at[id] `yaml:"team"`
	Project     at[id] `yaml:"project"`
	Application at[id] `yaml:"application"`
	// The most sensitive data its prompts may hold.
	Classification text `yaml:"classification,required" oneof:"public|internal|confidential|restricted"`
	// The laws and standards its records answer to, such as gdpr, eu-ai-act;
	// an empty list says that somebody looked and there are none.
	Regulations []id `yaml:"regulations,required"`
	// What it was expected to cost a month, in US dollars, such as "1200".
	EstimateMonthlyUSD dollars `yaml:"estimate_monthly_usd,required"`
	// The datasets that may feed its prompts, named as OpenLineage does.
	Sources []struct {
		pos
		Namespace text `yaml:"namespace,required"`
		Name      text `yaml:"name,required"`
		Kind      text `yaml:"kind,required" oneof:"table|file|api|vector_index"`
	} `yaml:"sources"`
	// Whether an answer must be traceable to its sources: required (then
	// sources are listed), optional, or none (its prompts use no datasets).
	Lineage text `yaml:"lineage,required" oneof:"required|optional|none"`
	// How long its records are kept.
	RetentionClass text `yaml:"retention_class,required" oneof:"short|standard|regulated"`
	// Whether somebody waits for the answer. Default interactive.
	Workload text `yaml:"workload" oneof:"interactive|batch"`
	// The dimensions its calls must carry, instead of those that
	// dimensions.yaml requires.
	Required []text `yaml:"required_dimensions" oneof:"business_unit|team|project|user|application|use_case"`
	// What happens upstream when the client leaves: drain (the answer is read
	// to its end, so that its usage is known) or cancel. Default drain.
	Disconnect text `yaml:"disconnect" oneof:"drain|cancel"`
}

// UseCase is one use case of the estate.
type UseCase struct {
	ID, Name, Owner            string
	Team, Project, Application string // what calls are attributed to by default; empty when not fixed
	Workload                   string // "interactive" or "batch"
	RetentionClass             string // "short", "standard" or "regulated"
	Classification             string // "public", "internal", "confidential" or "restricted"
	Regulations                []string
	EstimateMonthlyUSD         money.Pico
	Endpoints                  []string // ids in the order of routing.yaml
	Required                   []string // dimensions that its calls must carry, in the order of the event
	Disconnect                 string   // "drain" or "cancel"
	Lineage                    string   // "required", "optional" or "none"
	Sources                    []Source

	rule *rule
	whys []string // sentences by choice.plan
}

// Source is a dataset that may feed a use case's prompts.
type Source struct{ Namespace, Name, Kind string }

// UseCase is the use case with the id.
func (s *Snapshot) UseCase(id string) (*UseCase, bool) {
	u, ok := s.useCases[id]
	return u, ok
}

// UseCases is all use cases in the order of the file.
func (s *Snapshot) UseCases() []*UseCase { return s.useCaseList }

func (s *Snapshot) setEstate(c *checker, f *estateFile) {
	s.useCases = make(map[string]*UseCase, len(f.UseCases))
	for i := range f.UseCases {
		e := &f.UseCases[i]
		u := &UseCase{
			ID: string(e.ID.V), Name: string(e.Name), Owner: string(e.Owner),
			Team: string(e.Team.V), Project: string(e.Project.V), Application: string(e.Application.V),
			Workload: or(string(e.Workload), "interactive"), RetentionClass: string(e.RetentionClass),
			Classification: string(e.Classification), Regulations: plain(e.Regulations),
			EstimateMonthlyUSD: money.Pico(e.EstimateMonthlyUSD), Required: s.required,
			Disconnect: or(string(e.Disconnect), "drain"), Lineage: string(e.Lineage),
		}
		s.checkValue(c, estateYAML, team, e.Team)
		s.checkValue(c, estateYAML, project, e.Project)
		s.checkValue(c, estateYAML, application, e.Application)
		s.checkParent(c, estateYAML, e.Project.Line, project, u.Project, u.Team)
		if e.Required != nil {
			u.Required = nil
			for _, name := range dimensionNames {
				if slices.Contains(e.Required, text(name)) {
					u.Required = append(u.Required, name)
				}
			}
		}
		listed := map[Source]bool{}
		for _, e := range e.Sources {
			source := Source{string(e.Namespace), string(e.Name), string(e.Kind)}
			if listed[source] {
				c.fail(estateYAML, e.Line, "use case %s: source %s %s is listed twice", u.ID, source.Namespace, source.Name)
			}
			listed[source] = true
			u.Sources = append(u.Sources, source)
		}
		switch {
		case u.Lineage == "required" && len(e.Sources) == 0 && !c.faulty[estateYAML]:
			c.fail(estateYAML, e.ID.Line, "use case %s: lineage is required, so sources must be listed", u.ID)
		case u.Lineage == "none" && len(e.Sources) > 0:
			c.fail(estateYAML, e.ID.Line, "use case %s: lineage is none, but sources are listed", u.ID)
		}
		if u.ID == "" {
			continue
		}
		s.dimensions[useCase].add(c, estateYAML, "use_case", &valueEntry{ID: e.ID, Name: e.Name, Aliases: e.Aliases})
		if s.useCases[u.ID] == nil { // a repeated id was reported by add
			s.useCases[u.ID] = u
			s.useCaseList = append(s.useCaseList, u)
		}
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func plain[T ~string](values []T) []string {
	var list []string
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}
