package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/internal/governance"
)

var keyID = regexp.MustCompile(`^[a-z0-9]{8,32}$`)

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make keys: virtual keys for callers, API keys for finance, compliance and operators"}
	var id string
	virtual := &cobra.Command{
		Use:   "virtual",
		Short: "Make a virtual key for callers; its hash goes into keys.yaml, the key itself is shown once",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !keyID.MatchString(id) {
				return usageError{fmt.Errorf("--id %s: want 8 to 32 of a-z and 0-9", id)}
			}
			text, sum := governance.GenerateKey(id)
			fmt.Fprintf(cmd.OutOrStdout(), "key     %s   (shown only now)\nid      %s\nsha256  %s   (for keys.yaml)\n", text, id, sum)
			return nil
		},
	}
	virtual.Flags().StringVar(&id, "id", "", "id of the key: 8 or more of a-z and 0-9")
	virtual.MarkFlagRequired("id")

	var engines engineFlags
	var scope, name string
	forAPI := &cobra.Command{
		Use:   "api",
		Short: "Make an API key of one scope; only its hash is kept in the data folder",
		Args:  cobra.NoArgs,
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
	engines.registerData(forAPI)
	forAPI.Flags().StringVar(&scope, "scope", "", "finance, compliance, operator or admin")
	forAPI.Flags().StringVar(&name, "name", "", "who it is for")
	forAPI.MarkFlagRequired("scope")
	forAPI.MarkFlagRequired("name")
	cmd.AddCommand(virtual, forAPI)
	return cmd
}
