package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/governance"
)

func demoGovernanceCommand() *cobra.Command {
	var provider string
	cmd := &cobra.Command{
		Use:   "governance FOLDER",
		Short: "Write the example governance files with new keys, for a provider that `ledgerline simulate` plays",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := writeDemoGovernance(args[0], provider)
			if err != nil {
				return err
			}
			if _, err := governance.Load(args[0]); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), keys)
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "http://127.0.0.1:4010", "address of the simulated provider")
	return cmd
}

// writeDemoGovernance writes the example's files to dir with every endpoint at the simulated provider and every key made anew,
// and returns the keys by id. They are not kept anywhere else.
func writeDemoGovernance(dir, provider string) (keys map[string]string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the demo's governance folder: %w", err)
	}
	credential, err := filepath.Abs(filepath.Join(dir, "simulated-provider.credential"))
	if err == nil {
		err = os.WriteFile(credential, []byte("simulated\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write the demo's credential: %w", err)
	}
	for name, text := range example.Files() {
		var err error
		switch name {
		case "keys.yaml":
			text, keys, err = governance.Rekey(text)
		case "registry.yaml":
			text = atProvider(text, provider, credential)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("write the demo's %s: %w", name, err)
		}
	}
	return keys, nil
}

// setDemoFigures sets a member of the entries of a file, by their ids.
func setDemoFigures(dir, file, member string, figures map[string]string) error {
	name := filepath.Join(dir, file)
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read the demo's %s: %w", file, err)
	}
	line := regexp.MustCompile(`^(\s*` + member + `:).*`)
	lines := strings.Split(string(text), "\n")
	id := ""
	for i := range lines {
		if m := idLine.FindStringSubmatch(lines[i]); m != nil {
			id = m[1]
		}
		if figure := figures[id]; figure != "" {
			lines[i] = line.ReplaceAllString(lines[i], fmt.Sprintf("${1} %q", figure))
		}
	}
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return fmt.Errorf("write the demo's %s: %w", file, err)
	}
	return nil
}

var (
	idLine         = regexp.MustCompile(`^\s*- id:\s*(\S+)`)
	baseURLLine    = regexp.MustCompile(`^(\s*base_url:).*`)
	credentialLine = regexp.MustCompile(`credential: \{env: \w+`)
)

// atProvider points every endpoint of a registry at the simulated provider, where its id stands before the path, with a
// credential that opens nothing: no real key of the user's environment is read.
func atProvider(registry []byte, provider, credentialFile string) []byte {
	lines := strings.Split(string(registry), "\n")
	endpoint := ""
	for i, line := range lines {
		if m := idLine.FindStringSubmatch(line); m != nil {
			endpoint = m[1]
		}
		line = baseURLLine.ReplaceAllString(line, "${1} "+provider+"/"+endpoint)
		lines[i] = credentialLine.ReplaceAllString(line, fmt.Sprintf("credential: {file: %q", credentialFile))
	}
	return []byte(strings.Join(lines, "\n"))
}

// isEmbedding tells the embedding models of the example by their names.
func isEmbedding(model string) bool {
	return strings.Contains(model, "embed") || model == "bge-m3"
}
