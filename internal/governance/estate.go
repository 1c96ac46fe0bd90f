package governance

import (
	"slices"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/internal/money"
)

// estateFile is estate.yaml: what the company uses language models for, with
// which data.
type estateFile struct {
	UseCases []useCaseEntry `yaml:"use_cases,required"`
	// The datasets that are known. One that is used and not listed is recorded
	// all the same; a trace says that nobody is known to own it.
	Datasets []datasetEntry `yaml:"datasets"`
}

// datasetEntry is one dataset: a table, files, an index or an API.
type datasetEntry struct {
	pos
	// As OpenLineage names it. A namespace has no vertical bar: a request names
	// a dataset as namespace|name.
	Namespace text `yaml:"namespace,required"`
	Name      text `yaml:"name,required"`
	Kind      text `yaml:"kind,required" oneof:"table|file|api|vector_index"`
	// The role or group that answers for it; not a person's name.
	Owner text `yaml:"owner,required"`
	// The most sensitive data in it.
	Classification text `yaml:"classification,required" oneof:"public|internal|confidential|restricted"`
	// What it is made from, listed or not, each from a day (default: ever
	// since) and before a day (default: until now), UTC. Two datasets may feed
	// each other.
	Upstream []struct {
		pos
		Namespace text     `yaml:"namespace,required"`
		Name      text     `yaml:"name,required"`
		From      at[date] `yaml:"from"`
		To        at[date] `yaml:"to"`
	} `yaml:"upstream"`
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
	// The datasets that may feed its prompts, named as OpenLineage does. The
	// kind may be left out where datasets says it.
	Sources []struct {
		pos
		Namespace text `yaml:"namespace,required"`
		Name      text `yaml:"name,required"`
		Kind      text `yaml:"kind" oneof:"table|file|api|vector_index"`
	} `yaml:"sources"`
	// Whether an answer must be traceable to its sources: required (then
	// sources are listed here, and calls say which ones they used), optional,
	// or none (its prompts use no datasets).
	Lineage text `yaml:"lineage,required" oneof:"required|optional|none"`
	// What happens to a call that must say its sources and does not, or says
	// them so that they cannot be read: reject it, or flag it in the record.
	// Default flag.
	OnMissingSources text `yaml:"on_missing_sources" oneof:"reject|flag"`
	// How long its records are kept: a class of retention.yaml, or short,
	// standard or regulated where there is no such file.
	RetentionClass at[id] `yaml:"retention_class,required"`
	// Whether somebody waits for the answer. Default interactive.
	Workload text `yaml:"workload" oneof:"interactive|batch"`
	// Models that it may ask for and that only one endpoint of its rule serves,
	// on purpose: model to the reason. Without one, a model with no second
	// place fails `ledgerline test governance`.
	SingleEndpoint map[string]at[text] `yaml:"single_endpoint"`
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
	RetentionClass             string // id of a class
	Classification             string // "public", "internal", "confidential" or "restricted"
	Regulations                []string
	EstimateMonthlyUSD         money.Pico
	Endpoints                  []string // ids in the order of routing.yaml
	Required                   []string // dimensions that its calls must carry, in the order of the event
	Disconnect                 string   // "drain" or "cancel"
	Lineage                    string   // "required", "optional" or "none"
	OnMissingSources           string   // "reject" or "flag"
	Sources                    []Source
	SingleEndpoint             map[string]string // models that only one endpoint serves, and why that is meant

	rule *rule
	whys []string // sentences by choice.plan
}

// Source is a dataset that may feed a use case's prompts.
type Source struct{ Namespace, Name, Kind string }

// DatasetID is a dataset's name as OpenLineage splits it.
type DatasetID struct{ Namespace, Name string }

func (d DatasetID) String() string { return d.Namespace + "|" + d.Name }

// ParseDatasetID reads namespace|name; both are not empty, and the first bar
// ends the namespace.
func ParseDatasetID(s string) (DatasetID, bool) {
	namespace, name, _ := strings.Cut(s, "|")
	return DatasetID{namespace, name}, namespace != "" && name != ""
}

// Dataset is a dataset that the estate lists.
type Dataset struct {
	DatasetID
	Kind           string // "table", "file", "api" or "vector_index"
	Owner          string
	Classification string // "public", "internal", "confidential" or "restricted"
	Upstream       []Upstream
}

// Upstream is what a dataset is made from during a time.
type Upstream struct {
	DatasetID
	From, To time.Time // UTC; To is exclusive; zero: open on that side
}

// Holds reports whether it is so at a time.
func (u *Upstream) Holds(at time.Time) bool {
	return !at.Before(u.From) && (u.To.IsZero() || at.Before(u.To))
}

// Dataset is the listed dataset of that name.
func (s *Snapshot) Dataset(id DatasetID) (*Dataset, bool) {
	d, ok := s.datasets[id]
	return d, ok
}

// Datasets is all listed datasets in the order of the file.
func (s *Snapshot) Datasets() []*Dataset { return s.datasetList }

// UseCase is the use case with the id.
func (s *Snapshot) UseCase(id string) (*UseCase, bool) {
	u, ok := s.useCases[id]
	return u, ok
}

// UseCases is all use cases in the order of the file.
func (s *Snapshot) UseCases() []*UseCase { return s.useCaseList }

func (s *Snapshot) setEstate(c *checker, f *estateFile) {
	s.setDatasets(c, f.Datasets)
	s.useCases = make(map[string]*UseCase, len(f.UseCases))
	for i := range f.UseCases {
		e := &f.UseCases[i]
		u := &UseCase{
			ID: string(e.ID.V), Name: string(e.Name), Owner: string(e.Owner),
			Team: string(e.Team.V), Project: string(e.Project.V), Application: string(e.Application.V),
			Workload: or(string(e.Workload), "interactive"), RetentionClass: string(e.RetentionClass.V),
			Classification: string(e.Classification), Regulations: plain(e.Regulations),
			EstimateMonthlyUSD: money.Pico(e.EstimateMonthlyUSD), Required: s.required,
			Disconnect: or(string(e.Disconnect), "drain"), Lineage: string(e.Lineage),
			OnMissingSources: or(string(e.OnMissingSources), "flag"),
		}
		s.checkRetentionClass(c, e.RetentionClass)
		s.checkValue(c, estateYAML, team, e.Team)
		s.checkValue(c, estateYAML, project, e.Project)
		s.checkValue(c, estateYAML, application, e.Application)
		s.checkParent(c, estateYAML, e.Project.Mark, project, u.Project, u.Team)
		if e.Required != nil {
			u.Required = nil
			for _, name := range dimensionNames {
				if slices.Contains(e.Required, text(name)) {
					u.Required = append(u.Required, name)
				}
			}
		}
		for name, reason := range e.SingleEndpoint {
			if err := new(model).parse(name); err != nil {
				c.fail(estateYAML, reason.Mark, "use case %s: single_endpoint: %v", u.ID, err)
			}
			if u.SingleEndpoint == nil {
				u.SingleEndpoint = map[string]string{}
			}
			u.SingleEndpoint[name] = string(reason.V)
		}
		listed := map[Source]bool{}
		for _, e := range e.Sources {
			source := Source{string(e.Namespace), string(e.Name), string(e.Kind)}
			d := s.datasets[DatasetID{source.Namespace, source.Name}]
			switch {
			case d == nil && source.Kind == "" && !c.faulty[estateYAML]:
				c.fail(estateYAML, e.Mark, "use case %s: source %s %s: kind is missing, and datasets does not say it", u.ID, source.Namespace, source.Name)
			case d != nil && source.Kind != "" && source.Kind != d.Kind:
				c.fail(estateYAML, e.Mark, "use case %s: source %s %s is a %s, but datasets says %s", u.ID, source.Namespace, source.Name, source.Kind, d.Kind)
			}
			if d != nil {
				source.Kind = d.Kind
				if slices.Index(classifications, u.Classification) < slices.Index(classifications, d.Classification) {
					c.warn(estateYAML, e.Mark, "use case %s is for %s data, but its source %s %s is %s", u.ID, u.Classification, source.Namespace, source.Name, d.Classification)
				}
			}
			if listed[source] {
				c.fail(estateYAML, e.Mark, "use case %s: source %s %s is listed twice", u.ID, source.Namespace, source.Name)
			}
			listed[source] = true
			u.Sources = append(u.Sources, source)
		}
		switch {
		case u.Lineage == "required" && len(e.Sources) == 0 && !c.faulty[estateYAML]:
			c.fail(estateYAML, e.ID.Mark, "use case %s: lineage is required, so sources must be listed", u.ID)
		case u.Lineage == "none" && len(e.Sources) > 0:
			c.fail(estateYAML, e.ID.Mark, "use case %s: lineage is none, but sources are listed", u.ID)
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

// classifications are all, from the least sensitive.
var classifications = []string{"public", "internal", "confidential", "restricted"}

func (s *Snapshot) setDatasets(c *checker, entries []datasetEntry) {
	s.datasets = make(map[DatasetID]*Dataset, len(entries))
	for i := range entries {
		e := &entries[i]
		d := &Dataset{DatasetID: DatasetID{string(e.Namespace), string(e.Name)}, Kind: string(e.Kind), Owner: string(e.Owner), Classification: string(e.Classification)}
		if strings.Contains(d.Namespace, "|") {
			c.fail(estateYAML, e.Mark, "dataset %s %s: a namespace has no |", d.Namespace, d.Name)
		}
		same := map[DatasetID][]Upstream{}
		for _, e := range e.Upstream {
			u := Upstream{DatasetID{string(e.Namespace), string(e.Name)}, e.From.V.Time, e.To.V.Time}
			switch {
			case strings.Contains(u.Namespace, "|"):
				c.fail(estateYAML, e.Mark, "dataset %s %s: a namespace has no |", u.Namespace, u.Name)
			case u.DatasetID == d.DatasetID && u.Name != "":
				c.fail(estateYAML, e.Mark, "dataset %s %s is listed as its own upstream", d.Namespace, d.Name)
			case !u.To.IsZero() && !u.To.After(u.From):
				c.fail(estateYAML, e.Mark, "dataset %s %s: upstream %s %s: to must be after from", d.Namespace, d.Name, u.Namespace, u.Name)
			}
			for _, other := range same[u.DatasetID] {
				if (other.To.IsZero() || u.From.Before(other.To)) && (u.To.IsZero() || other.From.Before(u.To)) {
					c.fail(estateYAML, e.Mark, "dataset %s %s: upstream %s %s is listed twice for the same days", d.Namespace, d.Name, u.Namespace, u.Name)
					break
				}
			}
			same[u.DatasetID] = append(same[u.DatasetID], u)
			d.Upstream = append(d.Upstream, u)
		}
		switch {
		case d.Namespace == "" || d.Name == "": // reported
		case s.datasets[d.DatasetID] != nil:
			c.fail(estateYAML, e.Mark, "dataset %s %s is listed twice", d.Namespace, d.Name)
		default:
			s.datasets[d.DatasetID] = d
			s.datasetList = append(s.datasetList, d)
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
