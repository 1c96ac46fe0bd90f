package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// start is what the templates of the files say.
type start struct {
	Company, UseCase                    name
	Teams                               []name
	Team, Owner, Classification, Region string
	Regulations                         []string
	Providers                           []*startProvider
	Routed                              []string // endpoints of the use case
	Budget, Slack, From, KeyID, KeyHash string
	ownModel                            string
}

// name is a value with its id.
type name struct{ ID, Name string }

// startProvider is a provider with what was agreed with it.
type startProvider struct {
	governance.Provider
	Document, Expires string
	Why               string // why none of its endpoints is in the route; empty when one is
}

// newStart reads the answers.
func newStart(a answers, now time.Time) (*start, error) {
	for _, value := range a {
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, errors.New("holds a character that is not printable")
		}
	}
	s := &start{Owner: a["owner"], Classification: a["classification"], Region: a["region"], Budget: a["budget"],
		Team: a["team"], From: fmt.Sprintf("%d-01-01", now.Year()), ownModel: a["server-model"]}
	var err error
	if s.Company, err = parseName(a["company"]); err != nil {
		return nil, err
	}
	for _, text := range commas(a["teams"]) {
		team, err := parseName(text)
		if err != nil {
			return nil, err
		}
		s.Teams = append(s.Teams, team)
	}
	if len(s.Teams) == 0 {
		return nil, errors.New("name at least one team")
	}
	if s.UseCase, err = parseName(a["use-case"]); err != nil {
		return nil, err
	}
	if a["regulations"] != none {
		s.Regulations = commas(a["regulations"])
	}
	if a["slack"] != none {
		if s.Slack = a["slack"]; !variable.MatchString(s.Slack) { // not shown: it may be the address, which is a secret
			return nil, errors.New("not the name of an environment variable, such as LEDGERLINE_SLACK; the address itself belongs in the variable")
		}
	}
	// The id of a key has only letters and digits.
	s.KeyID = notKeyID.ReplaceAllString(s.UseCase.ID, "")
	s.KeyID = (s.KeyID + strings.Repeat("0", max(0, 8-len(s.KeyID))))[:min(32, max(8, len(s.KeyID)))]
	return s, s.setProviders(a, now)
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	notKeyID = regexp.MustCompile(`[^a-z0-9]`)
	notID    = regexp.MustCompile(`[^a-z0-9]+`)
)

// parseName reads id=Name, or a name that makes its own id.
func parseName(text string) (name, error) {
	if id, rest, chosen := strings.Cut(text, "="); chosen {
		return name{strings.TrimSpace(id), strings.TrimSpace(rest)}, nil
	}
	id := strings.Trim(notID.ReplaceAllString(strings.ToLower(text), "-"), "-")
	if id == "" || strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII && unicode.IsLetter(r) }) {
		return name{}, fmt.Errorf("%q does not make an id of a-z and 0-9 by itself; write one before it, such as my-id=%s", text, text)
	}
	return name{id, text}, nil
}

// commas is the parts of a list that are not empty.
func commas(list string) []string {
	var parts []string
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// setProviders takes the providers' addresses and models from the shipped example, gives each the data that its agreement
// allows, and routes the use case to the endpoints that are in the region and may have its data.
func (s *start) setProviders(a answers, now time.Time) error {
	shipped, err := shippedGovernance()
	if err != nil {
		return err
	}
	for _, chosen := range commas(a["providers"]) {
		id := chosen
		if chosen == "self-hosted" {
			id = selfHosted
		}
		known, ok := shipped.Provider(id)
		if !ok || !slices.Contains([]string{"openai", "anthropic", "google", selfHosted}, id) {
			return fmt.Errorf("%q is not one of openai, anthropic, google, self-hosted", chosen)
		}
		p := &startProvider{Provider: *known}
		p.PermittedData = []string{"public"}
		switch text := a[id+"-dpa"]; {
		case id == selfHosted:
			p.PermittedData = []string{"public", "internal", "confidential", "restricted"}
			p.Residency = []string{s.Region}
			p.Endpoints = []*governance.Endpoint{{ID: "own-server", Region: s.Region, BaseURL: a["server"], APIPath: "/v1",
				Formats: known.Endpoints[0].Formats, Models: map[string]string{s.ownModel: s.ownModel}, IncludeUsage: true}}
		case text != none && text != "":
			if p.Document, p.Expires, err = parseAgreement(text, now); err != nil {
				return err
			}
			p.PermittedData = append(p.PermittedData, "internal", "confidential")
		}
		// An endpoint with a credential of its own is a second account, which a start does not have.
		p.Endpoints = slices.DeleteFunc(slices.Clone(p.Endpoints), func(e *governance.Endpoint) bool { return e.Credential != known.Credential && id != selfHosted })
		s.route(p)
		s.Providers = append(s.Providers, p)
	}
	if len(s.Providers) == 0 {
		return errors.New("choose at least one provider")
	}
	if len(s.Routed) == 0 {
		var why []string
		for _, p := range s.Providers {
			why = append(why, p.Name+" "+p.Why)
		}
		return fmt.Errorf("the use case would have nowhere to go: %s", strings.Join(why, "; "))
	}
	return nil
}

// selfHosted is the id of one's own machines in the shipped files.
const selfHosted = "selfhosted"

// parseAgreement reads where a data processing agreement is filed, and the day that ends it.
func parseAgreement(text string, now time.Time) (document, expires string, err error) {
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		document, expires = strings.TrimSpace(text[:i]), text[i+1:]
	}
	day, err := time.Parse(time.DateOnly, expires)
	if err != nil {
		return "", "", fmt.Errorf("%q is not where it is filed and the day it ends, such as contracts/dpa.pdf 2027-12-31; or say none", text)
	}
	if !day.After(now) {
		return "", "", fmt.Errorf("an agreement that ended on %s allows nothing; say none", expires)
	}
	return document, expires, nil
}

func (s *start) route(p *startProvider) {
	// An unknown classification is for governance.Load to refuse.
	known := slices.Contains([]string{"public", "internal", "confidential", "restricted"}, s.Classification)
	if known && !slices.Contains(p.PermittedData, s.Classification) {
		p.Why = "may not have " + s.Classification + " data"
		if s.Classification != "restricted" {
			p.Why += " without a data processing agreement"
		}
		return
	}
	var here []*governance.Endpoint
	var regions []string
	for _, e := range p.Endpoints {
		regions = append(regions, e.Region)
		if e.Region == s.Region {
			here = append(here, e)
			s.Routed = append(s.Routed, e.ID)
		}
	}
	if len(here) == 0 {
		p.Why = fmt.Sprintf("has no endpoint in %s, only in %s", s.Region, strings.Join(regions, " and "))
		return
	}
	p.Endpoints = here // nothing goes to the others
}

// shippedGovernance is the example that is built in.
func shippedGovernance() (*governance.Snapshot, error) {
	return governance.Check(example.Files())
}

//go:embed init/*.yaml.tmpl
var initFiles embed.FS

var initTemplates = template.Must(template.New("").Funcs(template.FuncMap{
	"text": yamlText, "quote": yamlQuote,
	"list": func(values []string) string {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = yamlText(v)
		}
		return strings.Join(texts, ", ")
	},
	"models": func(e *governance.Endpoint) []string { return slices.Sorted(maps.Keys(e.Models)) },
}).ParseFS(initFiles, "init/*.yaml.tmpl"))

// plainText is what YAML cannot take for anything but text, the words below aside.
var plainText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9 ._-]*$`)

func yamlText(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	return yamlQuote(s)
}

// yamlQuote writes a string that JSON and YAML read alike.
func yamlQuote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// files makes a new key and the texts of the files, which check: the snapshot is what they say.
func (s *start) files() (key string, files map[string][]byte, _ *governance.Snapshot, err error) {
	key, s.KeyHash = governance.GenerateKey(s.KeyID)
	files = map[string][]byte{}
	for _, t := range initTemplates.Templates() {
		var b bytes.Buffer
		if err := t.Execute(&b, s); err != nil {
			return "", nil, nil, fmt.Errorf("write %s: %w", t.Name(), err)
		}
		files[strings.TrimSuffix(t.Name(), ".tmpl")] = b.Bytes()
	}
	files["prices.yaml"] = s.prices()
	snapshot, err := governance.Check(files)
	return key, files, snapshot, err
}

// prices is the shipped price book with the groups of the chosen providers.
func (s *start) prices() []byte {
	head, groups, _ := strings.Cut(string(example.Files()["prices.yaml"]), "\ngroups:\n")
	var b bytes.Buffer
	b.WriteString(head + "\ngroups:\n")
	for _, p := range s.Providers {
		found := false
		for group := range strings.SplitSeq(strings.TrimSpace(groups), "\n\n") {
			if strings.Contains(group+"\n", "\n    provider: "+p.ID+"\n") && (p.ID != selfHosted || strings.Contains(group, "- model: "+s.ownModel+"\n")) {
				fmt.Fprintf(&b, "  %s\n\n", strings.TrimSpace(group))
				found = true
			}
		}
		if !found {
			fmt.Fprintf(&b, `  # A model on machines of your own has no list price. Until you say what its
  # tokens cost, its calls are counted and called free:
  # prices: [{tier: standard, usd: {input: "0.12", output: "0.55"}}]
  - source: not priced yet
    date: %s
    from: %s
    provider: %s
    models:
      - model: %s
        free: true

`, s.From, s.From, p.ID, yamlText(s.ownModel))
		}
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// vacant refuses a folder that has .yaml files: all of them are governance files.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into the governance folder: %w", err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			return thereAlready(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

func thereAlready(path string) error {
	return fmt.Errorf("%s is there already and is not overwritten; nothing was written (a start needs a folder without .yaml files)", path)
}

// writeNew writes files that are not there yet, all or none. A folder that is not there appears with all of them. In one that is,
// they are made in the order of their names, so that of two writers one fails at its first file.
func writeNew(dir string, files map[string][]byte) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return writeInto(dir, files)
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return fmt.Errorf("make the governance folder: %w", err)
	}
	whole := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"-"+rand.Text())
	if err := os.Mkdir(whole, 0o777); err != nil {
		return fmt.Errorf("make the governance folder: %w", err)
	}
	defer os.RemoveAll(whole) // nothing, once it is renamed
	if err := writeInto(whole, files); err != nil {
		return err
	}
	err := os.Rename(whole, dir)
	if errors.Is(err, fs.ErrExist) { // somebody was faster
		return cmp.Or(vacant(dir), fmt.Errorf("%s was made meanwhile; nothing was written", dir))
	}
	if err != nil {
		return fmt.Errorf("make the governance folder: %w", err)
	}
	return nil
}

func writeInto(dir string, files map[string][]byte) (err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				os.Remove(path)
			}
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			return thereAlready(path)
		}
		if err != nil {
			return fmt.Errorf("write the governance files: %w", err)
		}
		made = append(made, path)
		_, err = file.Write(files[name])
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return fmt.Errorf("write the governance files: %w", err)
		}
	}
	return nil
}

// printNext says what there is now and which commands come next. It is the only place that shows the key.
func (s *start) printNext(w io.Writer, dir string, snapshot *governance.Snapshot, key string) {
	fmt.Fprintf(w, "%s checks: snapshot %s\n", dir, snapshot.Hex())
	for _, p := range s.Providers {
		if p.Why != "" {
			fmt.Fprintf(w, "%s is registered and gets no calls: it %s\n", p.Name, p.Why)
		}
	}
	fmt.Fprintf(w, "\nThe virtual key of use case %s, shown only now (keys.yaml holds its SHA-256):\n  export LEDGERLINE_KEY=%s\n", s.UseCase.ID, key)
	fmt.Fprintf(w, "\nNext:\n")
	for _, p := range s.Providers {
		if p.Credential.Env != "" && p.Why == "" {
			fmt.Fprintf(w, "  export %s=…   # your key at %s; no file holds it\n", p.Credential.Env, p.Name)
		}
	}
	if s.Slack != "" {
		fmt.Fprintf(w, "  export %s=…   # the address of the Slack webhook\n", s.Slack)
	}
	folder := shellWord(dir)
	fmt.Fprintf(w, "  ledgerline check --governance %s\n  ledgerline up --data ledgerline-data --governance %s\n", folder, folder)
	e, _ := snapshot.Endpoint(s.Routed[0])
	model := slices.Sorted(maps.Keys(e.Models))[0]
	fmt.Fprintf(w, "\nThen a first call, from anywhere that has the key:\n")
	if slices.Contains(e.Formats, "anthropic.messages") {
		fmt.Fprintf(w, `  curl http://127.0.0.1:4000/v1/messages -H "x-api-key: $LEDGERLINE_KEY" -H "anthropic-version: 2023-06-01" -H "content-type: application/json" \
    -d %s`+"\n", shellWord(`{"model":`+yamlQuote(model)+`,"max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}`))
	} else {
		fmt.Fprintf(w, `  curl http://127.0.0.1:4000/v1/chat/completions -H "Authorization: Bearer $LEDGERLINE_KEY" -H "content-type: application/json" \
    -d %s`+"\n", shellWord(`{"model":`+yamlQuote(model)+`,"messages":[{"role":"user","content":"Hello"}]}`))
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// shellWord quotes a word for a POSIX shell.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
