package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/governance"
)

func explainCommand() *cobra.Command {
	var dir, useCase, format, model string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say where a request would go, and why, in one sentence",
		Example: `  ledgerline explain --governance deploy/example/governance --use-case support-chat \
      --format openai.chat --model gpt-5-mini`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := governance.Load(dir)
			if err != nil {
				return err
			}
			u, ok := s.UseCase(useCase)
			if !ok {
				return usageError{fmt.Errorf("--use-case %s: estate.yaml does not name it", useCase)}
			}
			route, err := s.Route(u, format, model)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, route.Why)
			for i, e := range route.Endpoints {
				fmt.Fprintf(out, "  %d. %s (%s, %s)\n", i+1, e.ID, e.Provider, e.Region)
			}
			for _, r := range route.Rejected {
				fmt.Fprintf(out, "  not %s: it %s\n", r.Endpoint, r.Why)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "governance", "", "folder of governance files")
	cmd.Flags().StringVar(&useCase, "use-case", "", "use case of the request")
	cmd.Flags().StringVar(&format, "format", "openai.chat", "wire format: openai.chat, openai.responses, openai.embeddings or anthropic.messages")
	cmd.Flags().StringVar(&model, "model", "", "model that the client names")
	for _, name := range []string{"governance", "use-case", "model"} {
		cmd.MarkFlagRequired(name)
	}
	return cmd
}
