package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the JSON Schema of a governance file, for editors; without a name, list the files",
		Long: `Schema prints the JSON Schema (draft 2020-12) of one governance file. Without a name it lists the names.

An editor that knows the schema completes keys, shows what they mean and marks mistakes while you type.
It says what one file may hold; what holds between files only "ledgerline check" can say.`,
		Example: `  # once, and after every update of this program: one schema file for each governance file
  cd governance && mkdir -p .schema
  for name in $(ledgerline schema); do ledgerline schema $name > .schema/$name.json; done

  # then either: the first line of keys.yaml, for editors with yaml-language-server
  # (VS Code with the YAML extension, Neovim, Helix, Zed, Emacs)
  # yaml-language-server: $schema=.schema/keys.json

  # or: the settings of the editor, here of VS Code
  "yaml.schemas": {"governance/.schema/keys.json": "governance/keys.yaml"}`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: governance.SchemaNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, name := range governance.SchemaNames() {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return nil
			}
			text, err := governance.Schema(args[0])
			if err != nil {
				return usageError{err}
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
