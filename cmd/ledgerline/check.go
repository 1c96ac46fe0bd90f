package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func checkCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a folder of governance files: all mistakes at once, with file, line and column",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s checks: snapshot %s, price book %s\n", dir, s.Hex(), s.PriceBook)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.MarkFlagRequired("governance")
	return cmd
}
