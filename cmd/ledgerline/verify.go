package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/retention"
)

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "verify", Short: "Prove what the books say"}
	var engines engineFlags
	var logs logFlags
	books := &cobra.Command{
		Use:   "books",
		Short: "Prove that every total is the sum of its events, to the last digit",
		Long: `Six proofs, each in both directions and exact, up to the watermark:
  offsets   every offset of the topic is in exactly one batch, and its rows are there
  writers   the sequence of every recorder is there without a gap, and none fell silent
  entries   every event, derived again, gives the entries of the ledger, and there are no others
  cells     every rollup cell is the sum of its entries, count, tokens, cost and hash
  users     the same for the daily rollup by user
  files     every exported file is the one that was sealed, and the files of a day are its entries and requests
Exit code 0: all green. 1: something is red, or could not be proved.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logs.logger(cmd.ErrOrStderr())
			cfg, db, close, err := engines.open(cmd, log)
			if err != nil {
				return err
			}
			defer close()
			return verifyBooks(cmd.Context(), engines.topics, cfg, db, log, cmd.OutOrStdout())
		},
	}
	engines.registerData(books)
	engines.registerKafka(books)
	engines.registerClickHouse(books)
	logs.register(books)
	cmd.AddCommand(books)
	return cmd
}

// proof is one line of the verdict.
type proof struct {
	name     string
	checked  int
	found    int
	problems []string
	notes    []string
	ok       bool
}

// verifyBooks runs all proofs, prints the verdict, and returns errRed if any is red.
func verifyBooks(ctx context.Context, t topics, cfg kafka.Config, db *clickhouse.DB, log *slog.Logger, out io.Writer) error {
	_, end, err := kafka.Offsets(ctx, cfg, t.events())
	if err != nil {
		return fmt.Errorf("ask the broker for the topic's end: %w", err)
	}
	// The proofs go up to the watermark; whether that is all that the topic holds is said with the verdict.
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	behind := ingest.WaitFor(wait, db, t.events(), end) != nil
	cancel()
	o := ingest.VerifyOptions{DB: db, Topic: t.events(), Kafka: cfg, GovernanceTopic: t.governance(), Now: time.Now, Logger: log}
	var proofs []proof
	for _, verify := range []func(context.Context, ingest.VerifyOptions) (ingest.Report, error){ingest.VerifyOffsets, ingest.VerifyWriters, ingest.VerifyEntries} {
		r, err := verify(ctx, o)
		if err != nil {
			return err
		}
		proofs = append(proofs, proof{r.Name, r.Checked, r.Found, r.Problems, r.Notes, r.OK})
	}
	rollups, err := aggregate.VerifyRollups(ctx, db)
	if err != nil {
		return err
	}
	for i := range rollups {
		r := &rollups[i]
		proofs = append(proofs, proof{name: r.Name, checked: int(r.Checked), found: int(r.Different), problems: r.Problems, ok: r.OK()})
	}
	files, err := retention.Verify(ctx, db, retention.VerifyOptions{Open: openSealed})
	if err != nil {
		return err
	}
	proofs = append(proofs, proof{"entries = sealed files", int(files.Rows), files.Found, files.Problems, files.Notes, files.OK()})
	red := false
	var rows [][]string
	for _, p := range proofs {
		verdict := "ok"
		if !p.ok {
			verdict, red = "RED", true
		}
		rows = append(rows, []string{p.name, thousands(p.checked), thousands(p.found), verdict})
	}
	printTable(out, []string{"proof", "checked", "problems", "verdict"}, rows, 1, 2)
	for _, p := range proofs {
		for _, text := range p.problems {
			fmt.Fprintf(out, "  %s: %s\n", p.name, text)
		}
		for _, text := range p.notes {
			fmt.Fprintf(out, "  note, %s: %s\n", p.name, text)
		}
	}
	if red {
		fmt.Fprintln(out, "the books are RED")
		return errRed
	}
	if behind {
		fmt.Fprintln(out, "the books agree up to the watermark; the topic holds messages that the ingest has not taken yet")
		return nil
	}
	messages := int64(0)
	for _, n := range end {
		messages += n
	}
	fmt.Fprintf(out, "the books agree: %s messages in the topic\n", thousands(messages))
	return nil
}

// openSealed opens a target by its name in the seals and finds out whether an export is at work there.
func openSealed(name string) (retention.Objects, bool, func() error, error) {
	t, err := openTarget(name, false)
	if err != nil {
		return nil, false, nil, err
	}
	unlock, err := t.lock()
	if err == nil {
		unlock()
	}
	return t.Objects, errors.Is(err, errExporting), t.Close, nil
}
