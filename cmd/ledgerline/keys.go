package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/internal/governance"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Aliases: []string{"key"},
		Short:   "Make, rotate and revoke keys: virtual keys for callers, API keys for finance, compliance and operators",
		Long: `Virtual keys are what a client sends instead of a provider's key. They stand in keys.yaml of the governance folder, with the
hash of their secret, never the secret itself. These commands change that file in place: comments and layout stay, and it
is written only when the whole folder checks. A running proxy follows within seconds; commit the file as any other change.

A secret is replaced without a gap in three steps: rotate, hand out the new one, finish.

API keys open the API and its pages; they stand in the data folder (see: ledgerline keys api --help).`,
		Example: `  ledgerline keys create mydesk01 --governance rules --team cards --use-case card-support >mydesk01.key
  ledgerline keys rotate mydesk01 --governance rules --overlap 72h >mydesk01.key
  ledgerline keys rotate mydesk01 --governance rules --finish
  ledgerline keys revoke mydesk01 --governance rules
  ledgerline keys list --governance rules`,
	}
	cmd.AddCommand(keysCreateCommand(), keysRotateCommand(), keysRevokeCommand(), keysListCommand(), keysAPICommand())
	return cmd
}

// keysEdit are the flags of the commands that change keys.yaml.
type keysEdit struct {
	dir    string
	dryRun bool
}

func (e *keysEdit) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.dir, "governance", "", "folder of governance files")
	cmd.Flags().BoolVar(&e.dryRun, "dry-run", false, "print what would change and write nothing; no secret is handed out")
	cmd.MarkFlagRequired("governance")
}

// run makes the change, prints the secret that it brings on the standard output and everything else on the standard error. A dry
// run prints the difference and no secret.
func (e *keysEdit) run(cmd *cobra.Command, now time.Time, secret string, said string, change func(*governance.KeysFile) error) error {
	before, after, err := governance.EditKeys(e.dir, now, e.dryRun, change)
	if err != nil {
		return err
	}
	out, notes := cmd.OutOrStdout(), cmd.ErrOrStderr()
	switch {
	case string(before) == string(after):
		fmt.Fprintln(notes, "nothing to change")
	case e.dryRun:
		printDiff(out, "keys.yaml", string(before), string(after))
		fmt.Fprintln(notes, "dry run: nothing was written")
	default:
		if secret != "" {
			fmt.Fprintln(out, secret)
			fmt.Fprintln(notes, "the key is shown only now; hand it over by a safe way")
		}
		fmt.Fprintln(notes, said)
	}
	return nil
}

func keysCreateCommand() *cobra.Command {
	var e keysEdit
	var k governance.Key
	var addresses []string
	var expires string
	cmd := &cobra.Command{
		Use:   "create ID",
		Short: "Make a virtual key: its entry and hash go into keys.yaml, the key itself is shown once",
		Long: `Makes a virtual key and appends its entry to keys.yaml. The key is the only line on the standard output.
ID is its public part, 8 to 32 of a-z and 0-9; events and reports name it, so it is never used again.
What a key fixes (business unit, team, project, application, user) beats what the client says.`,
		Example: `  ledgerline keys create mydesk01 --governance rules --name "My Desk" --team cards --use-case card-support,card-dispute \
      --model gpt-5-mini --address 10.20.0.0/16 --expires 2027-06-30 >mydesk01.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k.ID = args[0]
			for _, text := range addresses {
				address, err := netip.ParsePrefix(text)
				if err != nil {
					return usageError{fmt.Errorf("--address %s: want a network such as 10.20.0.0/16, or 10.20.0.7/32", text)}
				}
				k.Addresses = append(k.Addresses, address)
			}
			if expires != "" {
				var err error
				if k.Expires, err = parseDay("--expires", expires); err != nil {
					return err
				}
			}
			text, hash := governance.GenerateKey(k.ID)
			return e.run(cmd, time.Now().UTC(), text, "key "+k.ID+" is in keys.yaml", func(f *governance.KeysFile) error { return f.Add(k, hash) })
		},
	}
	e.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&k.Name, "name", "", "what it is for")
	flags.StringVar(&k.BusinessUnit, "business-unit", "", "business unit that the key fixes")
	flags.StringVar(&k.Team, "team", "", "team that it fixes")
	flags.StringVar(&k.Project, "project", "", "project that it fixes")
	flags.StringVar(&k.Application, "application", "", "application that it fixes")
	flags.StringVar(&k.User, "user", "", "account that it fixes: a directory id, not a person's name")
	flags.StringSliceVar(&k.UseCases, "use-case", nil, "use cases that it may serve; the first is that of calls that name none")
	flags.StringSliceVar(&k.Models, "model", nil, "models that its calls may ask for, by the clients' names (default: all that the route serves)")
	flags.StringSliceVar(&addresses, "address", nil, "networks from which it may be used, such as 10.20.0.0/16 (default: all)")
	flags.StringVar(&expires, "expires", "", "first day, UTC, on which it is no longer accepted (default: never)")
	flags.Int64Var(&k.MaxBody, "max-body-bytes", 0, "largest request body (default: the proxy's own limit)")
	cmd.MarkFlagRequired("use-case")
	return cmd
}

func keysRotateCommand() *cobra.Command {
	var e keysEdit
	var overlap time.Duration
	var finish bool
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Give a virtual key a new secret; the old one is good for a while longer",
		Long: `Makes a new secret for a key and shows it once, alone on the standard output. Until the overlap ends both secrets open
the key; then the old one does not, whether or not the rotation is finished. --finish takes it out of keys.yaml, at once.
--overlap 0 replaces a secret that leaked: the old one is refused as soon as the proxy has read the file.`,
		Example: `  ledgerline keys rotate mydesk01 --governance rules --overlap 72h >mydesk01.key
  ledgerline keys rotate mydesk01 --governance rules --finish`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, now := args[0], time.Now().UTC()
			if finish {
				if cmd.Flags().Changed("overlap") {
					return usageError{errors.New("--finish ends the overlap; give one of --finish and --overlap")}
				}
				return e.run(cmd, now, "", "key "+id+" has only its new secret", func(f *governance.KeysFile) error { return f.Finish(id) })
			}
			if overlap < 0 || overlap%time.Second != 0 {
				return usageError{fmt.Errorf("--overlap %s: want whole seconds, at least 0", overlap)}
			}
			until := now.Add(overlap).Truncate(time.Second)
			text, hash := governance.GenerateKey(id)
			said := "the old secret of key " + id + " is no longer good"
			if overlap > 0 {
				said = "the old secret of key " + id + " is good until " + until.Format(time.RFC3339) + "; end it before with --finish"
			}
			return e.run(cmd, now, text, said, func(f *governance.KeysFile) error { return f.Rotate(id, hash, until) })
		},
	}
	e.register(cmd)
	cmd.Flags().DurationVar(&overlap, "overlap", 168*time.Hour, "how long the old secret is good")
	cmd.Flags().BoolVar(&finish, "finish", false, "drop the old secret instead")
	return cmd
}

func keysRevokeCommand() *cobra.Command {
	var e keysEdit
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "Disable a virtual key; its entry stays, because the books name it",
		Example: "  ledgerline keys revoke mydesk01 --governance rules",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.run(cmd, time.Now().UTC(), "", "key "+args[0]+" is disabled", func(f *governance.KeysFile) error { return f.Revoke(args[0]) })
		},
	}
	e.register(cmd)
	return cmd
}

// listedKey is a virtual key as `keys list` tells of it: nothing that opens anything, nor its hash.
type listedKey struct {
	ID            string            `json:"id"`
	Name          string            `json:"name,omitempty"`
	State         string            `json:"state"`   // active, expired or disabled
	Secrets       int               `json:"secrets"` // that open it now
	PreviousUntil string            `json:"previous_until,omitempty"`
	Expires       string            `json:"expires,omitempty"` // first day, UTC, on which it is not accepted
	Dimensions    map[string]string `json:"dimensions"`
	UseCases      []string          `json:"use_cases"`
	Models        []string          `json:"models,omitempty"`    // none: all
	Addresses     []string          `json:"addresses,omitempty"` // none: all
	MaxBody       int64             `json:"max_body_bytes,omitempty"`

	fixed []string
}

func listed(k *governance.Key, now time.Time) listedKey {
	l := listedKey{ID: k.ID, Name: k.Name, State: "active", Secrets: 1, Dimensions: map[string]string{}, UseCases: k.UseCases, Models: k.Models, MaxBody: k.MaxBody}
	for _, d := range []struct{ name, value string }{
		{"business_unit", k.BusinessUnit}, {"team", k.Team}, {"project", k.Project}, {"application", k.Application}, {"user", k.User},
	} {
		if d.value != "" {
			l.Dimensions[d.name] = d.value
			l.fixed = append(l.fixed, d.name+"="+d.value)
		}
	}
	for _, a := range k.Addresses {
		l.Addresses = append(l.Addresses, a.String())
	}
	if !k.PreviousUntil.IsZero() {
		l.PreviousUntil = k.PreviousUntil.Format(time.RFC3339)
		if now.Before(k.PreviousUntil) {
			l.Secrets = 2
		}
	}
	if !k.Expires.IsZero() {
		l.Expires = k.Expires.Format(time.DateOnly)
		if !now.Before(k.Expires) {
			l.State, l.Secrets = "expired", 0
		}
	}
	if k.Disabled {
		l.State, l.Secrets = "disabled", 0
	}
	return l
}

func keysListCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the virtual keys: what they fix and allow, until when, and how many secrets open them",
		Example: "  ledgerline keys list --governance rules",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			keys := []listedKey{}
			for _, k := range s.Keys() {
				keys = append(keys, listed(k, now))
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), keys)
			}
			var rows [][]string
			for _, k := range keys {
				secrets := fmt.Sprint(k.Secrets)
				switch {
				case k.Secrets == 2:
					secrets += ", the old one until " + k.PreviousUntil
				case k.Secrets == 1 && k.PreviousUntil != "":
					secrets += "; the old one ended " + k.PreviousUntil
				}
				rows = append(rows, []string{k.ID, k.Name, k.State, cmp.Or(k.Expires, "never"), secrets, strings.Join(k.fixed, " "), strings.Join(k.UseCases, " "),
					cmp.Or(strings.Join(k.Models, " "), "all"), cmp.Or(strings.Join(k.Addresses, " "), "all")})
			}
			printTable(cmd.OutOrStdout(), []string{"id", "name", "state", "expires", "secrets", "dimensions", "use cases", "models", "addresses"}, rows)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagRequired("governance")
	return cmd
}

func keysAPICommand() *cobra.Command {
	var engines engineFlags
	var scope, name string
	cmd := &cobra.Command{
		Use:     "api",
		Short:   "Make an API key of one scope; only its hash is kept in the data folder",
		Example: `  ledgerline keys api --scope finance --name "controlling"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := openAPIKeys(engines.data)
			if err != nil {
				return err
			}
			text, err := keys.Add(name, api.Scope(scope))
			if err != nil {
				return usageError{err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s key  %s   (shown only now)\n", scope, text)
			return nil
		},
	}
	engines.registerData(cmd)
	cmd.Flags().StringVar(&scope, "scope", "", "finance, compliance, operator or admin")
	cmd.Flags().StringVar(&name, "name", "", "who it is for")
	cmd.MarkFlagRequired("scope")
	cmd.MarkFlagRequired("name")
	return cmd
}

// printDiff writes the lines in which two texts differ, from the first to the last of them, as one hunk of a unified diff.
func printDiff(w io.Writer, name, before, after string) {
	const around = 3
	old, now := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	head := 0
	for head < len(old) && head < len(now) && old[head] == now[head] {
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(now)-head && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	from, above, below := max(head-around, 0), min(head, around), min(tail, around)
	if below > 0 && old[len(old)-tail+below-1] == "" { // behind the last line break there is no line
		below--
	}
	removed, added := old[head:len(old)-tail], now[head:len(now)-tail]
	fmt.Fprintf(w, "--- a/%s\n+++ b/%s\n@@ -%d,%d +%d,%d @@\n", name, name, from+1, above+len(removed)+below, from+1, above+len(added)+below)
	write := func(sign string, lines []string) {
		for _, line := range lines {
			fmt.Fprint(w, sign, line)
			if !strings.HasSuffix(line, "\n") {
				fmt.Fprint(w, "\n\\ No newline at end of file\n")
			}
		}
	}
	write(" ", old[from:head])
	write("-", removed)
	write("+", added)
	write(" ", old[len(old)-tail:len(old)-tail+below])
}
