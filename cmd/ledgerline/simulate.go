package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/simulate"
)

func simulateCommand() *cobra.Command {
	var listen, scenario, keys string
	var keep int
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a simulated provider (OpenAI and Anthropic wire formats) for tests and drills",
		Long: `A provider of our own making: what it answers is dictated per request by Simulate-* headers or by a
scenario file, and it counts what it served (GET /__simulate/stats), so that both sides can be compared.

  Simulate-Usage: in=4808,out=10,cache_read=0     Simulate-Latency: first=20ms,chunk=5ms
  Simulate-Fault: status=429,retry_after=1        Simulate-Chunks: 50
  Simulate-Answer-Bytes: 1500                     Simulate-Tier: flex
  Simulate-Model: gpt-5-mini-2025-08-07           Simulate-Omit-Usage: 1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := simulate.Options{Keep: keep, Logger: logs.logger(cmd.ErrOrStderr())}
			if scenario != "" {
				file, err := os.Open(scenario)
				if err != nil {
					return err
				}
				defer file.Close()
				if o.Scenario, err = simulate.ReadScenario(file); err != nil {
					return fmt.Errorf("read %s: %w", scenario, err)
				}
			}
			if keys != "" {
				text, err := os.ReadFile(keys)
				if err != nil {
					return fmt.Errorf("read the accepted credentials: %w", err)
				}
				o.APIKeys = strings.Fields(string(text))
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "simulated provider  http://%s\n", listener.Addr())
			provider := simulate.New(o)
			err = provider.Serve(cmd.Context(), listener)
			text, _ := json.MarshalIndent(provider.Stats(), "", "  ")
			fmt.Fprintln(cmd.OutOrStdout(), string(text))
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:4010", "address to serve")
	cmd.Flags().StringVar(&scenario, "scenario", "", "scenario file (JSON): what to answer to which requests")
	cmd.Flags().StringVar(&keys, "accept-keys", "", "file with the only credentials accepted, separated by blanks (default: all are)")
	cmd.Flags().IntVar(&keep, "keep", 0, "requests to keep for GET /__simulate/requests")
	logs.register(cmd)
	return cmd
}
