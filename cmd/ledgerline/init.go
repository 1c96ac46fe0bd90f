package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func initCommand() *cobra.Command {
	var dir string
	var yes, dryRun bool
	given := make([]string, len(questions))
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Start a folder of governance files from a few answers",
		Long: `Writes a commented set of governance files that checks, from a few answers: asked on a terminal, or given as
flags. What a flag answers is not asked; --yes takes the defaults of the rest. It writes all files or none, never over a
file that is there, and prints what to do next, with the first virtual key, which is shown only then.

A name gives its id by itself ("Card support" is card-support); to choose the id, write id=Name.`,
		Example: `  ledgerline init --governance governance
  ledgerline init --yes --company "Acme Bank" --teams Cards,Lending --use-case "Card support" --owner "head of card operations" \
      --providers openai,anthropic --region us --budget 2000 --slack LEDGERLINE_SLACK`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now().UTC()
			if dir == "" {
				return usageError{errors.New("--governance: name a folder")}
			}
			if err := vacant(dir); err != nil {
				return err
			}
			i := interview{now: now, yes: yes, given: map[string]string{}, out: cmd.ErrOrStderr()}
			for n, q := range questions {
				if cmd.Flags().Changed(q.flag) {
					i.given[q.flag] = given[n]
				}
			}
			if in, isFile := cmd.InOrStdin().(*os.File); !yes && (!isFile || isTerminal(in)) {
				i.lines = lines(cmd.InOrStdin())
			}
			a, err := i.answers(cmd.Context())
			if err != nil {
				return err
			}
			s, err := newStart(a, now)
			if err != nil {
				return err
			}
			key, files, _, err := s.files()
			if err != nil {
				return err
			}
			if dryRun {
				for _, name := range slices.Sorted(maps.Keys(files)) {
					fmt.Fprintf(cmd.OutOrStdout(), "# ── %s\n%s\n", filepath.Join(dir, name), files[name])
				}
				fmt.Fprintln(cmd.OutOrStdout(), "# Nothing was written. The key of keys.yaml is made anew when it is.")
				return nil
			}
			if err := writeNew(dir, files); err != nil {
				return err
			}
			snapshot, err := governance.Load(dir)
			if err != nil {
				return err
			}
			s.printNext(cmd.OutOrStdout(), dir, snapshot, key)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "governance", "folder to write, new or without .yaml files")
	cmd.Flags().BoolVar(&yes, "yes", false, "ask nothing: take the default of what no flag answers")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the files instead of writing them")
	for n, q := range questions {
		usage := q.usage
		if otherwise := q.otherwise(answers{"region": "us"}); otherwise != "" {
			usage += " (default " + otherwise + ")"
		}
		cmd.Flags().StringVar(&given[n], q.flag, "", usage)
	}
	return cmd
}

// answers are what a person said, by the flag that says the same.
type answers map[string]string

func (a answers) chose(provider string) bool {
	return slices.Contains(commas(a["providers"]), provider)
}

// none is the answer that there is no such thing.
const none = "none"

// question is one thing that the files say and only a person knows.
type question struct {
	flag, ask, usage string
	otherwise        func(a answers) string // the default, after the answers before
	applies          func(a answers) bool   // nil: always
	asked            func(a answers) bool   // whether a person is asked and does not just get the default; nil: always
	meanwhile        string                 // stands for the answer while earlier ones are checked; empty: the default
}

var questions = []question{
	{flag: "company", ask: "Company or business unit", otherwise: fixed("My company"),
		usage: "company or business unit that costs belong to"},
	{flag: "teams", ask: "Its teams, separated by commas", otherwise: fixed("Platform"),
		usage: "its teams, separated by commas"},
	{flag: "region", ask: "Region in which data may be processed, such as eu or us", otherwise: fixed("us"),
		usage: "region in which data may be processed, such as eu or us"},
	{flag: "providers", ask: "Providers, of openai, anthropic, google, self-hosted",
		usage: "providers, of openai, anthropic, google, self-hosted, separated by commas",
		otherwise: func(a answers) string {
			if r := a["region"]; r == "us" || r == "eu" {
				return "openai"
			}
			return "self-hosted"
		}},
	{flag: "server", ask: "Address of your own server, which speaks OpenAI's format", otherwise: fixed("http://127.0.0.1:8000"),
		usage: "address of your own server, when self-hosted is a provider", applies: hosts},
	{flag: "server-model", ask: "Model that it serves", otherwise: fixed("openai/gpt-oss-120b"),
		usage: "model that your own server serves", applies: hosts},
	{flag: "use-case", ask: "First use case", otherwise: fixed("Assistant"),
		usage: "first use case of language models"},
	{flag: "team", ask: "Team that has it", usage: "team that has the use case, by id (default: the first)",
		otherwise: func(a answers) string {
			t, _ := parseName(cmp.Or(commas(a["teams"])...))
			return t.ID
		},
		asked: func(a answers) bool { return len(commas(a["teams"])) > 1 }},
	{flag: "owner", ask: "Who answers for it (a role or group, not a person's name)", otherwise: fixed("platform team"),
		usage: "role or group that answers for the use case, the budget and the providers"},
	{flag: "classification", ask: "The most sensitive data in its prompts: public, internal, confidential, restricted", otherwise: fixed("public"),
		usage: "most sensitive data of its prompts: public, internal, confidential or restricted"},
	{flag: "regulations", ask: "Laws its records answer to, such as gdpr, eu-ai-act", otherwise: fixed(none),
		usage: "laws that its records answer to, such as gdpr,eu-ai-act, or none"},
	agreement("openai", "OpenAI"), agreement("anthropic", "Anthropic"), agreement("google", "Google"),
	{flag: "budget", ask: "Budget a month, in US dollars", otherwise: fixed("1000"),
		usage: "budget a month, in US dollars"},
	{flag: "slack", ask: "Environment variable that holds the address of a Slack webhook, for alerts", otherwise: fixed(none),
		usage: "environment variable that holds the address of a Slack webhook, or none"},
}

func fixed(s string) func(answers) string { return func(answers) string { return s } }

func hosts(a answers) bool { return a.chose("self-hosted") }

// agreement asks for a provider's data processing agreement, without which it gets public data only. Earlier answers are checked as
// if there were one: it is still to be asked for.
func agreement(provider, name string) question {
	return question{
		flag: provider + "-dpa", ask: "Data processing agreement with " + name + ": where it is filed and the day it ends, such as contracts/dpa.pdf 2027-12-31",
		usage:     "data processing agreement with " + name + ", where it is filed and the day it ends, such as \"contracts/dpa.pdf 2027-12-31\", or none",
		otherwise: fixed(none),
		applies:   func(a answers) bool { return a.chose(provider) },
		asked:     func(a answers) bool { return a["classification"] != "public" && a["classification"] != "restricted" },
		meanwhile: "still asked for 9999-12-31",
	}
}

// interview gets the answers: from flags, from a person, or the defaults.
type interview struct {
	now   time.Time
	yes   bool
	given answers
	lines <-chan string // what a person types; nil when nobody is there; closed at the end
	out   io.Writer     // where questions go
}

// errNobody ends an interview in which questions are left, here as their flags, and nobody is there to answer.
type errNobody []string

func (e errNobody) Error() string {
	return fmt.Sprintf("nobody answers (no terminal, or its input ended) and nothing was written: give %s, or --yes for the defaults of those left out", strings.Join(e, ", "))
}

// answers asks one question after the other; each answer is checked as governance.Load would check it in the files.
func (i *interview) answers(ctx context.Context) (answers, error) {
	a := answers{}
	var missing errNobody
	for n, q := range questions {
		value, isGiven := i.given[q.flag]
		if q.applies != nil && !q.applies(a) {
			if isGiven {
				return nil, usageError{fmt.Errorf("--%s: not for --providers %s", q.flag, a["providers"])}
			}
			continue
		}
		otherwise := q.otherwise(a)
		ask := !isGiven && (q.asked == nil || q.asked(a))
		switch {
		case !ask && !isGiven, ask && i.yes:
			value = otherwise
		case ask && i.lines == nil:
			missing = append(missing, "--"+q.flag)
			a[q.flag] = otherwise
			continue
		}
		for {
			if ask && !i.yes {
				line, err := i.ask(ctx, fmt.Sprintf("%s [%s]: ", q.ask, otherwise))
				if err == io.EOF {
					missing, i.lines = append(missing, "--"+q.flag), nil
				} else if err != nil {
					return nil, err
				}
				value = cmp.Or(line, otherwise)
			}
			a[q.flag] = strings.TrimSpace(value)
			err := i.check(a, questions[n+1:])
			if err == nil {
				break
			}
			if !ask || i.lines == nil {
				return nil, usageError{fmt.Errorf("--%s: %w", q.flag, err)}
			}
			fmt.Fprintf(i.out, "  %v\n", err)
		}
	}
	if len(missing) > 0 {
		return nil, usageError{missing}
	}
	return a, nil
}

func (i *interview) ask(ctx context.Context, text string) (string, error) {
	fmt.Fprint(i.out, text)
	select {
	case <-ctx.Done():
		return "", errors.New("stopped; nothing was written")
	case line, ok := <-i.lines:
		if !ok {
			fmt.Fprintln(i.out)
			return "", io.EOF
		}
		return strings.TrimSpace(line), nil
	}
}

// lines reads on its own, so that waiting for a line can be ended.
func lines(r io.Reader) <-chan string {
	c := make(chan string)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(r); s.Scan(); {
			c <- s.Text()
		}
	}()
	return c
}

// check says what is wrong with the answers so far, taking the rest for the defaults.
func (i *interview) check(a answers, rest []question) error {
	all := maps.Clone(a)
	for _, q := range rest {
		if q.applies == nil || q.applies(all) {
			all[q.flag] = cmp.Or(q.meanwhile, q.otherwise(all))
		}
	}
	s, err := newStart(all, i.now)
	if err != nil {
		return err
	}
	_, _, snapshot, err := s.files()
	var problems governance.Problems
	if errors.As(err, &problems) {
		return errors.New(problems[0].Message)
	}
	if err == nil && len(snapshot.Warnings) > 0 {
		return errors.New(snapshot.Warnings[0].Message)
	}
	return err
}
