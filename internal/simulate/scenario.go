package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
)

// A Scenario dictates answers by rules. Every rule that matches a request
// fills in what its headers and the rules before it left unsaid.
//
//	{"seed": 7,
//	 "models": {"gpt-5-mini": "gpt-5-mini-2025-08-07"},
//	 "rules": [
//	  {"match": {"endpoint": "primary", "probability": 0.3}, "then": {"fault": "status=429,retry_after=1"}},
//	  {"match": {"path": "/v1/messages", "nth": 10},         "then": {"fault": "cut_after=5"}},
//	  {"match": {},                                          "then": {"latency": "first=20ms"}}]}
type Scenario struct {
	// Seed makes the choices of probability. The same seed gives the same
	// choice to a rule's first, second, … match, whatever the timing.
	Seed uint64 `json:"seed"`
	// Models maps the model asked for to the model served.
	Models map[string]string `json:"models"`
	Rules  []Rule            `json:"rules"`
}

// Rule joins a condition and what it dictates.
type Rule struct {
	Match Match `json:"match"`
	Then  Then  `json:"then"`
}

// Match is a condition; an empty field is no condition. Patterns are those of
// path.Match.
type Match struct {
	Path        string  `json:"path"`        // the path's end, whole segments: "/chat/completions"
	Model       string  `json:"model"`       // pattern of the model asked for: "gpt-*"
	Endpoint    string  `json:"endpoint"`    // pattern of the endpoint's name
	Nth         int64   `json:"nth"`         // every nth request that fits the fields above
	Probability float64 `json:"probability"` // this share of those that fit the fields above; above 0, at most 1
}

// Then dictates, in the same words as the headers do.
type Then struct {
	Usage       string `json:"usage"`
	OmitUsage   bool   `json:"omit_usage"`
	Fault       string `json:"fault"`
	Latency     string `json:"latency"`
	Chunks      int    `json:"chunks"`
	AnswerBytes int    `json:"answer_bytes"`
	Write       int    `json:"write"`
	Tier        string `json:"tier"`
	Model       string `json:"model"`
}

// ReadScenario reads a scenario from JSON; unknown members are an error.
func ReadScenario(r io.Reader) (*Scenario, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	s := new(Scenario)
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("read scenario: more follows after its end")
	}
	if _, err := s.compile(); err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	return s, nil
}

func (s *Scenario) compile() (*script, error) {
	sc := &script{seed: s.Seed, models: s.Models}
	for name, served := range s.Models {
		if _, err := plainText(served); err != nil {
			return nil, fmt.Errorf("models: %s: %w", name, err)
		}
	}
	for i, r := range s.Rules {
		c := &compiled{match: r.Match}
		if err := c.compile(r); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		sc.rules = append(sc.rules, c)
	}
	return sc, nil
}

// A script is a scenario at work, with the count of each rule's matches.
type script struct {
	seed   uint64
	models map[string]string
	rules  []*compiled
}

type compiled struct {
	match Match
	then  dictation
	fits  atomic.Int64 // requests that fit path, model and endpoint
}

func (c *compiled) compile(r Rule) error {
	if r.Match.Nth < 0 || r.Match.Probability < 0 || r.Match.Probability > 1 {
		return fmt.Errorf("nth must be positive and probability between 0 and 1")
	}
	for _, pattern := range []string{r.Match.Model, r.Match.Endpoint} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	say := func(name, value string) error {
		if value == "" || value == "0" {
			return nil
		}
		return c.then.put(name, value)
	}
	omit := ""
	if r.Then.OmitUsage {
		omit = "1"
	}
	for _, x := range [...][2]string{
		{"usage", r.Then.Usage}, {"omit-usage", omit}, {"fault", r.Then.Fault}, {"latency", r.Then.Latency},
		{"chunks", strconv.Itoa(r.Then.Chunks)}, {"answer-bytes", strconv.Itoa(r.Then.AnswerBytes)},
		{"write", strconv.Itoa(r.Then.Write)}, {"tier", r.Then.Tier}, {"model", r.Then.Model},
	} {
		if err := say(x[0], x[1]); err != nil {
			return err
		}
	}
	if c.then.set == 0 {
		return fmt.Errorf("then says nothing")
	}
	return nil
}

// direct lets every rule that matches fill d.
func (sc *script) direct(d *dictation, p, model []byte, endpoint string) {
	for i, c := range sc.rules {
		if !c.match.fits(p, model, endpoint) {
			continue
		}
		n := c.fits.Add(1)
		if c.match.Nth > 0 && n%c.match.Nth != 0 {
			continue
		}
		if c.match.Probability > 0 && chance(sc.seed, uint64(i), uint64(n)) >= c.match.Probability {
			continue
		}
		d.fill(&c.then)
	}
}

func (m *Match) fits(p, model []byte, endpoint string) bool {
	if m.Path != "" && !bytes.HasSuffix(p, []byte("/"+strings.TrimPrefix(m.Path, "/"))) {
		return false
	}
	if m.Model != "" {
		if ok, _ := path.Match(m.Model, string(model)); !ok {
			return false
		}
	}
	if m.Endpoint != "" {
		if ok, _ := path.Match(m.Endpoint, endpoint); !ok {
			return false
		}
	}
	return true
}

// chance is a number in [0,1) that depends on its arguments only (the finisher
// of splitmix64).
func chance(seed, rule, n uint64) float64 {
	x := seed + rule*0xbf58476d1ce4e5b9 + n*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
