// Package governance reads the governance files: who may call, what a use case
// is, where its calls go and what a token costs.
//
// A folder of files is one [Snapshot]: immutable, safe for concurrent use and
// named by the digest of the exact bytes. [Load] reads a folder, [Parse] the
// archive of a snapshot as it was published; both refuse the whole set when
// anything in it is wrong and report every mistake at once, as [Problems]. The
// documentation of a key is the comment on its field in the file's struct
// (dimensions.go, keys.go, estate.go, registry.go, routing.go, prices.go,
// budgets.go, limits.go, alerts.go, findings.go).
package governance

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Snapshot is one checked set of governance files. Nothing in it, nor anything
// its methods return, may be changed.
type Snapshot struct {
	Digest    [32]byte // SHA-256 of Archive
	Commit    string   // git commit whose tree holds exactly these files; empty when there is none, and after Parse
	Archive   []byte   // the files' exact bytes, see archive.go; contains no secret
	PriceBook string   // version of the price book: "sha256:" and 16 hex digits of prices.yaml
	Warnings  Problems // what is allowed and probably not meant

	mode       string
	dimensions [len(dimensionNames)]dimension
	required   []string
	keys       map[string]*Key
	useCases   map[string]*UseCase
	datasets   map[DatasetID]*Dataset
	providers  map[string]*Provider
	endpoints  map[string]*Endpoint
	prices     map[cardKey][]card
	fallback   *rule // the default route; nil when there is none
	channels   map[string]*Channel
	findings   string // channel
	publicURL  string
	detection  Detection
	noUseCase  []string // sentences of the default route for calls without a use case

	digests map[string][sha256.Size]byte // of each file

	// The same in the order of the files.
	keyList          []*Key
	useCaseList      []*UseCase
	datasetList      []*Dataset
	providerList     []*Provider
	channelList      []*Channel
	budgets          []*Budget
	limits           []*Limit
	retentionClasses []*RetentionClass
}

// Hex is the digest as events name it.
func (s *Snapshot) Hex() string { return hex.EncodeToString(s.Digest[:]) }

// Changed is the names of the files that differ from those of an earlier
// snapshot, in order; all of them when that is nil.
func (s *Snapshot) Changed(since *Snapshot) []string {
	var names []string
	for _, name := range fileNames {
		if since == nil || since.digests[name] != s.digests[name] {
			names = append(names, name)
		}
	}
	return names
}

// Problem is one mistake in one file.
type Problem struct {
	File    string
	Line    int // from 1; 0 when it is about the whole file
	Column  int // from 1, in characters; 0 when it is not known
	Message string
}

func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return p.File + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

func problemAt(file string, m mark, format string, args ...any) Problem {
	return Problem{file, m.line(), m.column(), fmt.Sprintf(format, args...)}
}

// Problems is every mistake of a set of files, by file and place.
type Problems []Problem

// Error lists all mistakes, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortFunc(p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Message, b.Message))
	})
}

// Reasons why a virtual key is not accepted. A caller tells the client no more
// than that the key is not valid.
var (
	ErrNoKey       = errors.New("unknown key")
	ErrKeyExpired  = errors.New("the key has expired")
	ErrKeyDisabled = errors.New("the key is disabled")
)

// Reasons why a call has no route.
var (
	ErrUnknownModel = errors.New("no endpoint serves the model") // nobody could call it
	ErrNoRoute      = errors.New("no route")                     // this use case cannot
)

// The files of a snapshot.
const (
	dimensionsYAML = "dimensions.yaml"
	keysYAML       = "keys.yaml"
	estateYAML     = "estate.yaml"
	registryYAML   = "registry.yaml"
	routingYAML    = "routing.yaml"
	pricesYAML     = "prices.yaml"
	budgetsYAML    = "budgets.yaml"
	alertsYAML     = "alerts.yaml"
	retentionYAML  = "retention.yaml"
	findingsYAML   = "findings.yaml"
	limitsYAML     = "limits.yaml"
)

var fileNames = []string{alertsYAML, budgetsYAML, dimensionsYAML, estateYAML, findingsYAML, keysYAML, limitsYAML, pricesYAML, registryYAML, retentionYAML, routingYAML}

// optional files say nothing when they are missing, as they are in snapshots from before there were any.
var optional = []string{alertsYAML, budgetsYAML, findingsYAML, limitsYAML, retentionYAML}

// files is a decoded set, before the checks between files.
type files struct {
	dimensions dimensionsFile
	keys       keysFile
	estate     estateFile
	registry   registryFile
	routing    routingFile
	prices     pricesFile
	budgets    budgetsFile
	alerts     alertsFile
	retention  retentionFile
	findings   findingsFile
	limits     limitsFile
}

// checker collects mistakes while a snapshot is built. A reference into a file
// that could not be read is not reported: the file itself is.
type checker struct {
	problems, warnings Problems
	unread             map[string]bool // files of which nothing is known
	faulty             map[string]bool // files with a mistake that may hide what they say
	choices            int             // combinations that the routing rules can be asked for
}

func (c *checker) fail(file string, m mark, format string, args ...any) {
	c.problems = append(c.problems, problemAt(file, m, format, args...))
}

func (c *checker) warn(file string, m mark, format string, args ...any) {
	c.warnings = append(c.warnings, problemAt(file, m, format, args...))
}

// build checks the files and makes the snapshot of them.
func build(texts map[string][]byte) (*Snapshot, error) {
	c := &checker{unread: map[string]bool{}, faulty: map[string]bool{}}
	var f files
	for name, into := range map[string]any{
		dimensionsYAML: &f.dimensions, keysYAML: &f.keys, estateYAML: &f.estate,
		registryYAML: &f.registry, routingYAML: &f.routing, pricesYAML: &f.prices,
		budgetsYAML: &f.budgets, alertsYAML: &f.alerts, retentionYAML: &f.retention,
		findingsYAML: &f.findings, limitsYAML: &f.limits,
	} {
		text, ok := texts[name]
		if !ok && slices.Contains(optional, name) {
			c.unread[name] = false
			continue
		}
		if !ok {
			c.fail(name, 0, "the file is missing")
			c.unread[name] = true
			continue
		}
		problems, read := decode(name, text, into)
		c.problems = append(c.problems, problems...)
		c.unread[name], c.faulty[name] = !read, len(problems) > 0
	}
	for name := range texts {
		if _, known := c.unread[name]; !known {
			c.fail(name, 0, "unknown file; known are %s%s", strings.Join(fileNames, ", "), didYouMean(name, fileNames))
		}
	}

	s := &Snapshot{}
	// The order matters: each step refers to what earlier ones put into s.
	s.setRegistry(c, &f.registry)
	s.setDimensions(c, &f.dimensions)
	_, given := texts[retentionYAML]
	s.setRetention(c, &f.retention, given)
	s.setEstate(c, &f.estate)
	s.checkUseCaseDefault(c, &f.dimensions)
	s.setKeys(c, &f.keys)
	s.setLimits(c, &f.limits)
	s.setRouting(c, &f.routing)
	s.setPrices(c, &f.prices)
	s.setAlerts(c, &f.alerts)
	s.setBudgets(c, &f.budgets)
	s.setDetection(c, &f.findings)
	if len(c.problems) > 0 {
		c.problems.sort()
		return nil, c.problems
	}
	s.warnUnpriced(c, &f.registry)
	c.warnings.sort()
	s.Warnings = c.warnings
	s.Archive, s.Digest = archive(texts)
	s.digests = make(map[string][sha256.Size]byte, len(texts))
	for name, text := range texts {
		s.digests[name] = sha256.Sum256(text)
	}
	book := s.digests[pricesYAML]
	s.PriceBook = "sha256:" + hex.EncodeToString(book[:8])
	return s, nil
}
