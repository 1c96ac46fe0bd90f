// Command ledgerline is the whole line in one binary: the proxy that records,
// the ingest that derives, the jobs that roll up, the API that answers, and the
// commands that prove it. The file of a command is the architecture of its
// process, top to bottom.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/governance"
)

func main() {
	embedded.RunChildIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errRed ends a command whose printed answer already says what is wrong.
var errRed = errors.New("")

// usageError is a mistake in the command line itself.
type usageError struct{ error }

// run is main without the process: exit code 0, 1 for a failure, 2 for a mistake in the command line, 3 for mistakes in the
// governance files.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "ledgerline",
		Short: "An exact ledger and audit trail for LLM traffic",
		Long: `Ledgerline records every LLM call as an immutable event and derives the books from it:
who pays, what it cost to the last digit, and the proof.

  ledgerline demo                    see all of it on made-up traffic, nothing to install
  ledgerline up --governance DIR     put it in front of your providers
  ledgerline verify books            prove that every total is the sum of its events`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		demoCommand(), initCommand(), upCommand(),
		proxyCommand(), ingestCommand(), jobsCommand(), apiCommand(),
		migrateCommand(), checkCommand(), schemaCommand(), testCommand(), explainCommand(), preflightCommand(),
		showbackCommand(), budgetsCommand(), alertsCommand(), findingsCommand(), traceCommand(), restateCommand(), rollupCommand(), verifyCommand(), replayCommand(),
		exportCommand(), retentionCommand(),
		keysCommand(), simulateCommand(), benchCommand(), versionCommand(),
	)
	err := root.ExecuteContext(ctx)
	switch usage := (usageError{}); {
	case err == nil:
		return 0
	case errors.Is(err, errRed):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "ledgerline:", err)
		return 2
	case errors.As(err, new(governance.Problems)):
		fmt.Fprintln(stderr, "ledgerline:", err)
		return 3
	default:
		fmt.Fprintln(stderr, "ledgerline:", err)
		return 1
	}
}
