package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func upCommand() *cobra.Command {
	var l line
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole line: proxy, ingest, jobs and API, on embedded or outside engines",
		Long: `Runs everything in one process. Without --kafka and --clickhouse the engines are embedded: a broker and a
ClickHouse in the data folder, on loopback, with credentials of their own. The first start fetches the ClickHouse
library once, through npm, and prints the admin key of the API once.

Point clients at the proxy by their base URL and a virtual key:
  OPENAI_BASE_URL=http://127.0.0.1:4000/v1   ANTHROPIC_BASE_URL=http://127.0.0.1:4000`,
		Example: "  ledgerline up --data /var/lib/ledgerline --governance /etc/ledgerline/governance",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			return l.run(cmd.Context(), logs.logger(cmd.ErrOrStderr()), fetchProgress(cmd.ErrOrStderr()), cmd.ErrOrStderr(), func(ctx context.Context) error {
				fmt.Fprintf(out, "proxy      http://%s\n", l.proxyAddr)
				fmt.Fprintf(out, "API        http://%s\n", l.apiAddr)
				if first, err := firstAdminKey(l.keys); err != nil {
					return err
				} else if first != "" {
					fmt.Fprintf(out, "admin key  %s   (shown only now; make others with: ledgerline keys api)\n", first)
				}
				fmt.Fprintf(out, "ready; Ctrl-C stops it\n")
				return nil
			})
		},
	}
	l.engines.registerData(cmd)
	l.engines.registerKafka(cmd)
	l.engines.registerClickHouse(cmd)
	l.proxy.register(cmd)
	l.api.register(cmd)
	registerExportTo(cmd, &l.exportTo)
	logs.register(cmd)
	return cmd
}
