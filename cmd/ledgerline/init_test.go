package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/governance"
)

var printedKey = regexp.MustCompile(`LEDGERLINE_KEY=(ll_\w+)`)

// startWith runs init with flags and nobody to ask.
func startWith(t *testing.T, dir string, flags ...string) (code int, out, complaint string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"init", "--governance", dir}, flags...), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// folderDigest names what is in a folder, hidden files too.
func folderDigest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		io.WriteString(h, path+"\x00"+string(text)+"\x00")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// said is what a folder says, as its snapshot has it.
type said struct {
	company, useCase, owner, classification, team, budget, channel string
	teams, regulations, providers, endpoints                       []string
}

func whatItSays(t *testing.T, s *governance.Snapshot) said {
	t.Helper()
	if len(s.Warnings) > 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}
	if len(s.UseCases()) != 1 || len(s.Budgets()) != 1 || len(s.Channels()) != 1 || len(s.Values("business_unit")) != 1 {
		t.Fatalf("%d use cases, %d budgets, %d channels, %d business units; want one of each", len(s.UseCases()), len(s.Budgets()), len(s.Channels()), len(s.Values("business_unit")))
	}
	u, b, c := s.UseCases()[0], s.Budgets()[0], s.Channels()[0]
	w := said{company: s.Values("business_unit")[0].ID + "=" + s.Values("business_unit")[0].Name, useCase: u.ID + "=" + u.Name, owner: u.Owner, classification: u.Classification,
		team: u.Team, budget: b.Amount.String() + " a " + b.Period, channel: strings.TrimSpace(c.Kind + " " + c.Env), regulations: u.Regulations, endpoints: u.Endpoints}
	if b.Channel != c.ID || s.FindingsChannel() != c.ID || b.Owner != u.Owner || u.EstimateMonthlyUSD != b.Amount || !slices.Equal(b.For["business_unit"], []string{s.Values("business_unit")[0].ID}) {
		t.Errorf("budget %+v, findings to %s, estimate %s", b, s.FindingsChannel(), u.EstimateMonthlyUSD)
	}
	for _, v := range s.Values("team") {
		w.teams = append(w.teams, v.ID+"="+v.Name)
		if above, ok := s.Parent("team", v.ID, time.Now()); !ok || above != s.Values("business_unit")[0].ID {
			t.Errorf("team %s belongs to %q", v.ID, above)
		}
	}
	for _, p := range s.Providers() {
		w.providers = append(w.providers, strings.TrimSpace(p.ID+" "+strings.Join(p.PermittedData, "|")+" "+p.DPADocument))
	}
	return w
}

func TestInitFlags(t *testing.T) {
	const vendor, all = " public", "selfhosted public|internal|confidential|restricted"
	defaults := said{company: "my-company=My company", useCase: "assistant=Assistant", owner: "platform team", classification: "public", team: "platform", budget: "1000.000000000000 a month",
		channel: "log", teams: []string{"platform=Platform"}, providers: []string{"openai" + vendor}, endpoints: []string{"openai-us"}}
	with := func(change func(*said)) said {
		w := defaults
		change(&w)
		return w
	}
	for _, c := range []struct {
		what  string
		flags []string
		want  said
	}{
		{"defaults", nil, defaults},
		{"everything", []string{"--company", "Acme Bank", "--teams", "Cards, loans=Kreditabteilung Zürich,Trade & Finance", "--team", "loans", "--use-case", "Explain: loan decisions", "--owner", "head of credit risk <risk@acme.example>",
			"--classification", "confidential", "--regulations", "gdpr,eu-ai-act", "--providers", "openai,anthropic,google,self-hosted", "--openai-dpa", "contracts/a dpa.pdf 9999-12-31", "--region", "eu",
			"--server", "https://models.acme.example:8443", "--server-model", "qwen3:32b", "--budget", "2500.50", "--slack", "ACME_SLACK"},
			said{company: "acme-bank=Acme Bank", useCase: "explain-loan-decisions=Explain: loan decisions", owner: "head of credit risk <risk@acme.example>", classification: "confidential", team: "loans", budget: "2500.500000000000 a month",
				channel: "slack ACME_SLACK", teams: []string{"cards=Cards", "loans=Kreditabteilung Zürich", "trade-finance=Trade & Finance"}, regulations: []string{"gdpr", "eu-ai-act"},
				providers: []string{"openai public|internal|confidential contracts/a dpa.pdf", "anthropic" + vendor, "google" + vendor, all}, endpoints: []string{"openai-eu", "own-server"}}},
		{"an order of providers", []string{"--providers", "google,anthropic"},
			with(func(w *said) {
				w.providers, w.endpoints = []string{"google" + vendor, "anthropic" + vendor}, []string{"google-us", "anthropic-main"}
			})},
		{"a region of nobody else", []string{"--region", "ch"},
			with(func(w *said) { w.providers, w.endpoints = []string{all}, []string{"own-server"} })},
		{"restricted data", []string{"--classification", "restricted", "--providers", "openai,self-hosted", "--openai-dpa", "dpa.pdf 9999-12-31"},
			with(func(w *said) {
				w.classification, w.providers, w.endpoints = "restricted", []string{"openai public|internal|confidential dpa.pdf", all}, []string{"own-server"}
			})},
		{"words that YAML takes for others", []string{"--company", "no=Yes", "--teams", "1=2026-11-24,null=~,true=#x,x={a: [b}", "--use-case", "1.5=\"quoted\" \\ 'too'", "--owner", "- : *a &b !c %d @e `f"},
			with(func(w *said) {
				w.company, w.teams, w.team = "no=Yes", []string{"1=2026-11-24", "null=~", "true=#x", "x={a: [b}"}, "1"
				w.useCase, w.owner = "1.5=\"quoted\" \\ 'too'", "- : *a &b !c %d @e `f"
			})},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "governance")
			code, out, complaint := startWith(t, dir, append(c.flags, "--yes")...)
			if code != 0 {
				t.Fatalf("exit %d: %s", code, complaint)
			}
			s, err := governance.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := whatItSays(t, s); !equalSaid(got, c.want) {
				t.Errorf("the files say\n%+v\nwant\n%+v", got, c.want)
			}
			// The key is shown once, opens its use case and team, and is not in the files.
			keys := printedKey.FindAllStringSubmatch(out, -1)
			if len(keys) != 1 {
				t.Fatalf("%d keys printed:\n%s", len(keys), out)
			}
			key, err := s.Key(keys[0][1], time.Now())
			if err != nil || key.Team != c.want.team || !slices.Equal(key.UseCases, []string{s.UseCases()[0].ID}) {
				t.Errorf("the printed key: %v, %+v", err, key)
			}
			text, err := os.ReadFile(filepath.Join(dir, "keys.yaml"))
			if err != nil || strings.Contains(string(text), keys[0][1]) || len(s.Keys()) != 1 {
				t.Errorf("keys.yaml: %v\n%s", err, text)
			}
			for _, path := range []string{"alerts", "budgets", "dimensions", "estate", "keys", "prices", "registry", "routing"} {
				if text, err := os.ReadFile(filepath.Join(dir, path+".yaml")); err != nil || !strings.Contains(string(text), "\napiVersion: ledgerline/v1\n") {
					t.Errorf("%s says no version: %v", path, err)
				}
			}
			// What rules find is only what nobody was asked for.
			for _, d := range s.Lint(time.Now()) {
				if !slices.Contains([]string{"budget-missing", "review-overdue", "regulated-without-sources", "route-unreachable"}, d.Rule) || d.Severity == "error" && d.Rule != "regulated-without-sources" {
					t.Errorf("a rule finds %+v", d)
				}
			}
			assertNext(t, s, out, dir)
			assertPrices(t, s)
		})
	}
}

func equalSaid(a, b said) bool {
	lists := func(s said) [][]string { return [][]string{s.teams, s.regulations, s.providers, s.endpoints} }
	texts := func(s said) []string {
		return []string{s.company, s.useCase, s.owner, s.classification, s.team, s.budget, s.channel}
	}
	return slices.Equal(texts(a), texts(b)) && slices.EqualFunc(lists(a), lists(b), slices.Equal)
}

// assertNext looks for the commands that come next, each credential that the route needs among them.
func assertNext(t *testing.T, s *governance.Snapshot, out, dir string) {
	t.Helper()
	want := []string{"ledgerline check --governance " + shellWord(dir) + "\n", "ledgerline up --data ledgerline-data --governance " + shellWord(dir) + "\n"}
	for _, id := range s.UseCases()[0].Endpoints {
		if e, _ := s.Endpoint(id); e.Credential.Env != "" {
			want = append(want, "export "+e.Credential.Env+"=")
		}
	}
	if c := s.Channels()[0]; c.Env != "" {
		want = append(want, "export "+c.Env+"=")
	}
	for _, line := range want {
		if strings.Count(out, line) != 1 {
			t.Errorf("%q is not printed once:\n%s", line, out)
		}
	}
	first, _ := s.Endpoint(s.UseCases()[0].Endpoints[0])
	model := regexp.MustCompile(`"model":"([^"]+)"`).FindStringSubmatch(out)
	if model == nil {
		t.Fatalf("no call is shown:\n%s", out)
	}
	route, err := s.Route(s.UseCases()[0], first.Formats[0], model[1])
	if err != nil || route.Endpoints[0] != first {
		t.Errorf("the call that is shown goes to %v: %v", route.Endpoints, err)
	}
}

// assertPrices compares the price of all models that are served with the shipped book, which has no others' prices in it.
func assertPrices(t *testing.T, s *governance.Snapshot) {
	t.Helper()
	shipped, err := shippedGovernance()
	if err != nil {
		t.Fatal(err)
	}
	ours, compared := map[string]bool{}, 0
	price := func(s *governance.Snapshot, provider, model, class, tier string) governance.Price {
		p, _ := s.Price(governance.PriceKey{Provider: provider, Model: model, Tier: tier, Class: class, At: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)})
		return p
	}
	for _, p := range s.Providers() {
		ours[p.ID] = true
		for _, e := range p.Endpoints {
			for model := range maps.Keys(e.Models) {
				for _, tier := range []string{"standard", "batch", "flex"} {
					for _, class := range []string{"input", "output", "cache_read", "cache_write_5m"} {
						got, want := price(s, p.ID, model, class, tier), price(shipped, p.ID, model, class, tier)
						if model == "qwen3:32b" { // not in the shipped book: free until somebody says what it costs
							want = governance.Price{ID: got.ID, Source: "not priced yet"}
						}
						if got != want || tier == "standard" && class == "input" && got.ID == "" {
							t.Errorf("%s %s %s %s: %+v, want %+v", p.ID, model, tier, class, got, want)
						}
						compared++
					}
				}
			}
		}
	}
	if compared == 0 {
		t.Error("no price was compared")
	}
	for _, p := range shipped.Providers() {
		for _, e := range p.Endpoints {
			for _, upstream := range e.Models {
				if got := price(s, p.ID, upstream, "input", "standard"); !ours[p.ID] && got.ID != "" {
					t.Errorf("the book has %s", got.ID)
				}
			}
		}
	}
}

// TestInitRefuses gives what the loader or init itself refuses: one line that names the flag, and nothing written.
func TestInitRefuses(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"--company|", "--company: "},
		{"--company|Zürich", `--company: "Zürich" does not make an id`},
		{"--company|日本", "does not make an id"},
		{"--company|a\x00b", "--company: holds a character that is not printable"},
		{"--company|a\xffb", "--company: holds a character that is not printable"},
		{"--company|a\u200bb", "--company: "},
		{"--company|a=", "--company: "},
		{"--company|A B=x", `--company: id: "A B" is not an id`},
		{"--company|" + strings.Repeat("a", 65), "--company: id: "},
		{"--teams|,,", "--teams: name at least one team"},
		{"--teams|Cards,cards", "--teams: team cards is listed twice"},
		{"--teams|Cards|--team|lending", `--team: team "lending" is not in dimensions.yaml`},
		{"--owner|" + strings.Repeat("x", 513), "--owner: owner: longer than 512 bytes"},
		{"--owner|a\nb: c", "--owner: holds a character that is not printable"},
		{"--classification|secret", `--classification: classification: "secret" is not one of public, internal, confidential, restricted`},
		{"--classification|confidential", "--openai-dpa: the use case would have nowhere to go: OpenAI may not have confidential data without a data processing agreement"},
		{"--classification|internal", "--openai-dpa: the use case would have nowhere to go: OpenAI may not have internal data without a data processing agreement"},
		{"--classification|restricted", "--classification: the use case would have nowhere to go: OpenAI may not have restricted data"},
		{"--openai-dpa|dpa.pdf", `--openai-dpa: "dpa.pdf" is not where it is filed`},
		{"--openai-dpa|dpa.pdf 2027-02-30", "--openai-dpa: "},
		{"--openai-dpa|dpa.pdf 2026-01-01", "--openai-dpa: an agreement that ended on 2026-01-01"},
		{"--google-dpa|dpa.pdf 9999-12-31", "--google-dpa: not for --providers openai"},
		{"--server|http://localhost", "--server: not for --providers openai"},
		{"--regulations|GDPR", `--regulations: regulations: "GDPR" is not an id`},
		{"--providers|openai,openai", "--providers: "},
		{"--providers|mistral", `--providers: "mistral" is not one of openai, anthropic, google, self-hosted`},
		{"--providers|bedrock", `--providers: "bedrock" is not one of`},
		{"--providers|none", "--providers: "},
		{"--region|eu|--providers|anthropic,google", "--providers: the use case would have nowhere to go: Anthropic has no endpoint in eu, only in us; Google"},
		{"--region|e u", `--region: residency: "e u" is not an id`},
		{"--providers|self-hosted|--server|localhost:8000", "--server: base_url: "},
		{"--providers|self-hosted|--server|http://u:secret@localhost", "--server: base_url: an address here has no user name or password"},
		{"--providers|self-hosted|--server-model|a b", "--server-model: "},
		{"--budget|0", "--budget: "},
		{"--budget|-5", "--budget: "},
		{"--budget|1,000", "--budget: "},
		{"--budget|1e3", "--budget: "},
		{"--budget|NaN", "--budget: "},
		{"--budget|99999999999999999999", "--budget: "},
		{"--slack|https://hooks.example.com/services/T0/B0/secret", "--slack: not the name of an environment variable"},
		{"--slack|A B", "--slack: not the name"},
		{"--slack|", "--slack: not the name"},
		{"--governance|", "--governance: name a folder"},
	} {
		t.Run(c.flags[:min(len(c.flags), 50)], func(t *testing.T) {
			parent := t.TempDir()
			code, out, complaint := startWith(t, filepath.Join(parent, "governance"), append([]string{"--yes"}, strings.Split(c.flags, "|")...)...)
			if code != 2 || out != "" || !strings.Contains(complaint, c.want) || strings.Count(complaint, "\n") != 1 || strings.Contains(complaint, "secret@") || strings.Contains(complaint, "hooks.") {
				t.Errorf("exit %d, printed %q, complaint %q, want one line with %q", code, out, complaint, c.want)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

// interviewed runs init with somebody who types.
func interviewed(ctx context.Context, in io.Reader, flags ...string) (out, asked string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := initCommand()
	cmd.SetIn(in)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(flags)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(ctx)
	return stdout.String(), stderr.String(), err
}

// TestInitAsks answers on a terminal: nonsense is told and asked again, an empty line takes the default, a flag is not asked.
func TestInitAsks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "governance")
	typed := []string{
		"Zürich", "  acme=Acme Zürich  ", // company
		"", // its teams: the default
		"eu",
		"\x1b[A", "openai, anthropic",
		"Support chat",
		"head of support",
		"top secret", "confidential",
		"gdpr",
		"yes", "contracts/openai.pdf 9999-12-31", // OpenAI's agreement
		"none", // Anthropic's
		"lots", "-1", "750",
		"https://hooks.example.com/x", "SUPPORT_SLACK",
	}
	out, asked, err := interviewed(t.Context(), strings.NewReader(strings.Join(typed, "\n")+"\n"), "--governance", dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, asked)
	}
	s, err := governance.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := said{company: "acme=Acme Zürich", useCase: "support-chat=Support chat", owner: "head of support", classification: "confidential", team: "platform", budget: "750.000000000000 a month",
		channel: "slack SUPPORT_SLACK", teams: []string{"platform=Platform"}, regulations: []string{"gdpr"},
		providers: []string{"openai public|internal|confidential contracts/openai.pdf", "anthropic public"}, endpoints: []string{"openai-eu"}}
	if got := whatItSays(t, s); !equalSaid(got, want) {
		t.Errorf("the files say\n%+v\nwant\n%+v", got, want)
	}
	if n := strings.Count(asked, "\n"); n != 7 || strings.Count(asked, "]: ") != len(typed) {
		t.Errorf("%d complaints and %d questions, want 7 and %d:\n%s", n, strings.Count(asked, "]: "), len(typed), asked)
	}
	for _, line := range []string{"does not make an id", "is not printable", `"top secret" is not one of public, internal, confidential, restricted`, "where it is filed", "negative", "the address itself belongs in the variable"} {
		if !strings.Contains(asked, line) {
			t.Errorf("%q is not said:\n%s", line, asked)
		}
	}
	if strings.Contains(asked, "hooks.example.com") || strings.Contains(asked, "Team that has it") {
		t.Errorf("asked or said too much:\n%s", asked)
	}
	if !strings.Contains(out, "Anthropic is registered and gets no calls: it may not have confidential data without a data processing agreement") {
		t.Errorf("what gets no calls is not said:\n%s", out)
	}
	if _, asked, err = interviewed(t.Context(), strings.NewReader(strings.Repeat("\n", 9)), "--governance", dir+"2", "--teams", "A,B", "--budget", "5"); err != nil || strings.Contains(asked, "Its teams") || !strings.Contains(asked, "Team that has it [a]: ") {
		t.Errorf("%v\n%s", err, asked)
	}
}

// TestInitWithoutAnswers ends with nothing written: nobody there, the input at its end, an interrupt.
func TestInitWithoutAnswers(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "governance")
	nothing, err := os.Open(os.DevNull) // it looks like a terminal
	if err != nil {
		t.Fatal(err)
	}
	defer nothing.Close()
	silent, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	defer writer.Close()
	for what, in := range map[string]io.Reader{"no terminal": silent, "nothing": nothing} {
		_, asked, err := interviewed(t.Context(), in, "--governance", dir, "--company", "Acme", "--providers", "self-hosted")
		want := "give --teams, --region, --server, --server-model, --use-case, --owner, --classification, --regulations, --budget, --slack, or --yes for"
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(asked, "]: ") > 1 {
			t.Errorf("%s: %v\n%s", what, err, asked)
		}
	}
	_, _, err = interviewed(t.Context(), strings.NewReader("Acme\nCards\n"), "--governance", dir)
	if err == nil || !strings.Contains(err.Error(), "give --region, --providers, --use-case,") {
		t.Errorf("an end after two answers: %v", err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	waits, typist := io.Pipe()
	defer typist.Close()
	go func() {
		io.WriteString(typist, "Acme\n") // read, so the next question is waited at
		interrupt()
	}()
	if _, _, err = interviewed(interrupted, waits, "--governance", dir); err == nil || !strings.Contains(err.Error(), "stopped; nothing was written") {
		t.Errorf("an interrupt: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestInitAgain starts where something is: nothing changes, and the file in the way is named.
func TestInitAgain(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "governance")
	if code, _, complaint := startWith(t, dir, "--yes"); code != 0 {
		t.Fatal(complaint)
	}
	before := folderDigest(t, parent)
	for _, flags := range [][]string{{"--yes"}, {"--yes", "--company", "Other"}, {"--dry-run", "--yes"}, nil} {
		code, out, complaint := startWith(t, dir, flags...)
		if code != 1 || out != "" || !strings.Contains(complaint, filepath.Join(dir, "alerts.yaml")+" is there already and is not overwritten") {
			t.Errorf("%v: exit %d, printed %q, complaint %q", flags, code, out, complaint)
		}
	}
	if folderDigest(t, parent) != before {
		t.Error("a second run changed something")
	}

	// A folder that is there without .yaml files, such as a new repository, takes the files beside what it has.
	repository := filepath.Join(parent, "repository")
	if err := os.MkdirAll(filepath.Join(repository, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repository, "README.md"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, complaint := startWith(t, repository, "--yes"); code != 0 {
		t.Fatal(complaint)
	}
	if text, err := os.ReadFile(filepath.Join(repository, "README.md")); err != nil || string(text) != "mine" {
		t.Errorf("README.md: %q %v", text, err)
	}

	// One that has another .yaml file would not check.
	other := filepath.Join(parent, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "zebra.yml"), []byte("mine: 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, complaint := startWith(t, other, "--yes"); code != 1 || !strings.Contains(complaint, "zebra.yml is there already") {
		t.Errorf("exit %d: %s", code, complaint)
	}
	if code, _, complaint := startWith(t, filepath.Join(other, "zebra.yml"), "--yes"); code != 1 || !strings.Contains(complaint, "not a directory") {
		t.Errorf("a file as the folder: exit %d: %s", code, complaint)
	}

	// A file that appears while the others are written takes all of them back.
	late := filepath.Join(parent, "late")
	if err := os.MkdirAll(filepath.Join(late, "routing.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := writeNew(late, map[string][]byte{"alerts.yaml": []byte("a"), "routing.yaml": []byte("r")})
	if left, _ := os.ReadDir(late); err == nil || !strings.Contains(err.Error(), "routing.yaml is there already") || len(left) != 1 {
		t.Errorf("%v; the folder holds %v", err, left)
	}
}

// TestInitDryRun prints the files that it would write and writes none.
func TestInitDryRun(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "governance")
	code, out, complaint := startWith(t, dir, "--yes", "--dry-run", "--company", "Acme")
	if code != 0 || printedKey.MatchString(out) {
		t.Fatalf("exit %d: %s\n%s", code, complaint, out)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("written: %v %v", left, err)
	}
	if code, _, complaint := startWith(t, dir, "--yes", "--company", "Acme"); code != 0 {
		t.Fatal(complaint)
	}
	written, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(written) != 8 {
		t.Fatalf("%v %v", written, err)
	}
	hash := regexp.MustCompile(`sha256: "[0-9a-f]{64}"`)
	for _, path := range written {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := "# ── " + path + "\n" + hash.ReplaceAllString(string(text), "sha256") + "\n"
		if !strings.Contains(hash.ReplaceAllString(out, "sha256"), want) {
			t.Errorf("%s was not printed as it is written", path)
		}
	}
}

// TestInitInParallel has two start the same folder, new or there: one of them does, whole, and its key opens; the other says why not.
func TestInitInParallel(t *testing.T) {
	for round := range 20 {
		parent := t.TempDir()
		dir := filepath.Join(parent, "governance")
		if round%2 == 1 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		type end struct {
			code           int
			out, complaint string
		}
		ends, begin := make(chan end), make(chan struct{})
		for _, company := range []string{"One", "Two"} {
			go func() {
				<-begin
				code, out, complaint := startWith(t, dir, "--yes", "--company", company)
				ends <- end{code, out, complaint}
			}()
		}
		close(begin)
		won, lost := <-ends, <-ends
		if won.code != 0 {
			won, lost = lost, won
		}
		if won.code != 0 || lost.code != 1 || !strings.Contains(lost.complaint, "alerts.yaml is there already") {
			t.Fatalf("round %d: exits %d and %d: %s%s", round, won.code, lost.code, won.complaint, lost.complaint)
		}
		s, err := governance.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Key(printedKey.FindStringSubmatch(won.out)[1], time.Now()); err != nil {
			t.Errorf("round %d: the winner's key: %v", round, err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
			t.Errorf("round %d: left behind: %v %v", round, left, err)
		}
	}
}
