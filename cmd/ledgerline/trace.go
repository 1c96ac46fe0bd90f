package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/lineage"
)

func traceCommand() *cobra.Command {
	var engines engineFlags
	var logs logFlags
	var asJSON bool
	var reason string
	limits := lineage.DefaultLimits
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Say where an answer came from: who asked, which model answered and why, which tables fed it",
		Long: `Traces the answer with the id of its header Ledger-Request-Id to the datasets that fed its prompt, and these to the
first tables, with owners and versions, as the governance files of that moment say. What is not known is told.
The reading is recorded as an event, durably, before anything is printed.`,
		Example: "  ledgerline trace 01a20d01-d92e-7e2e-a651-a44aaf867a38 --reason 'case 4711'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := event.ParseID(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is not a request id, as in the answer's header Ledger-Request-Id", args[0])}
			}
			log := logs.logger(cmd.ErrOrStderr())
			cfg, db, close, err := engines.open(cmd, log)
			if err != nil {
				return err
			}
			defer close()
			asOf, err := ingest.Watermark(cmd.Context(), db, engines.topics.events())
			if err != nil {
				return err
			}
			trace, err := lineage.New(db).Trace(cmd.Context(), id, asOf, limits)
			if err != nil && !errors.Is(err, lineage.ErrNotFound) {
				return err
			}
			read := event.Audit{Actor: commandUser(), Action: "trace", Object: id.String(), Reason: event.Clip(reason, event.MaxText), Outcome: "done"}
			if err != nil {
				read.Outcome = "refused"
			}
			if err := recordRead(cmd.Context(), filepath.Join(engines.data, "spool", "trace"), cfg, engines.topics.events(), read, log); err != nil {
				return fmt.Errorf("the read could not be recorded, so it is not answered: %w", err)
			}
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd.OutOrStdout(), trace)
			}
			return printTrace(cmd.OutOrStdout(), trace)
		},
	}
	engines.registerData(cmd)
	engines.registerKafka(cmd)
	engines.registerClickHouse(cmd)
	logs.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what GET /v1/trace/{id} answers")
	cmd.Flags().StringVar(&reason, "reason", "", "why it is read, in words; recorded with the reading")
	cmd.Flags().IntVar(&limits.Depth, "depth", limits.Depth, "most edges from the answer that are followed")
	cmd.Flags().IntVar(&limits.Nodes, "max-nodes", limits.Nodes, "most datasets")
	return cmd
}

// commandUser is who runs the command.
func commandUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

// recordRead makes a reading a durable event. It goes through a spool of its own: what the log does not take now, it gets with the
// next reading.
func recordRead(ctx context.Context, dir string, cfg kafka.Config, topic string, read event.Audit, log *slog.Logger) error {
	producer, err := kafka.NewProducer(cfg, topic)
	if err != nil {
		return err
	}
	defer producer.Close()
	options := spool.Options{Dir: dir, Instance: "trace", Version: version(), Heartbeat: -1, MaxBytes: 16 << 20, SegmentBytes: 1 << 20, Now: time.Now, Logger: log}
	records, err := spool.Open(options)
	for began := time.Now(); errors.Is(err, spool.ErrLocked) && time.Since(began) < 15*time.Second; records, err = spool.Open(options) {
		select { // another command is recording its reading
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err != nil {
		return err
	}
	draining, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go drain(draining, records, producer)
	now := event.At(time.Now())
	receipt, err := records.Record(&event.Event{ID: event.NewID(now), Source: "ledgerline/trace", Type: event.AuditRead, Time: now, Audit: &read})
	if err == nil {
		err = records.Wait(receipt, 5*time.Second)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, records.Close(closing))
}

// printTrace writes a trace as a tree. A dataset that feeds several others is written out once.
func printTrace(out io.Writer, t *lineage.Trace) error {
	w := &strings.Builder{}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	s, d, c := &t.Subject, &t.Decision, &t.Completeness
	fmt.Fprintf(w, "answer %s\n", s.RequestID)
	line("when", "%s", s.Time)
	line("who", "user %s, key %s, team %s of %s", known(s.User), known(s.KeyID), known(s.Team), known(s.BusinessUnit))
	line("for", "use case %s, project %s, application %s", known(s.UseCase), known(s.Project), known(s.Application))
	line("ended", "%s, status %d%s", known(s.Client), s.Status, because(s.Code))
	switch {
	case d.Endpoint == "":
		line("model", "none answered; %s was asked for", known(d.ModelAsked))
	case d.ModelServed == "":
		line("model", "%s was asked of %s at %s; the answer did not name its model", known(d.ModelRequested), d.Provider, d.Endpoint)
	default:
		line("model", "%s answered, of %s at %s; %s was asked for", plain(d.ModelServed), d.Provider, d.Endpoint, known(d.ModelAsked))
	}
	for i, a := range d.Attempts {
		if len(d.Attempts) > 1 {
			line("", "attempt %d at %s: status %d%s", i, a.Endpoint, a.Status, because(a.Error))
		}
	}
	line("why", "%s", plain(cmp.Or(d.Why, "not told")))
	line("rules", "%s by governance %.12s%s", known(d.Rule), d.Governance, because(d.Commit))
	line("sources", "%s; lineage of the use case: %s", c.Coverage, c.Requirement)

	nodes := map[string]*lineage.Node{}
	for i := range t.Nodes {
		nodes[t.Nodes[i].ID] = &t.Nodes[i]
	}
	into := map[string][]*lineage.Edge{}
	for i := range t.Edges {
		into[t.Edges[i].To] = append(into[t.Edges[i].To], &t.Edges[i])
	}
	written := map[string]bool{}
	var below func(to, indent string)
	below = func(to, indent string) {
		for i, e := range into[to] {
			branch, next := "├─ ", "│  "
			if i == len(into[to])-1 {
				branch, next = "└─ ", "   "
			}
			n := nodes[e.From]
			again := written[n.ID] && len(into[n.ID]) > 0
			fmt.Fprintf(w, "%s%s%s\n", indent, branch, strings.Join(describe(e, n, again), " · "))
			if !written[n.ID] {
				written[n.ID] = true
				below(n.ID, indent+next)
			}
		}
	}
	below(lineage.Answer, "  ")

	if len(t.Nodes) == 0 {
		line("", "no dataset is known")
	}
	for _, note := range c.Notes {
		line("note", "%s", note)
	}
	if c.Truncated {
		line("cut", "there is more: the limit of %s ended the trace", strings.Join(c.TruncatedBy, " and "))
	}
	if c.Cycles > 0 {
		line("cycles", "%d groups of datasets feed each other", c.Cycles)
	}
	line("event", "%s/%d/%d, SHA-256 %s", t.Event.Topic, t.Event.Partition, t.Event.Offset, t.Event.Digest)
	line("took", "%s", time.Duration(t.ElapsedUS)*time.Microsecond)
	_, err := io.WriteString(out, w.String())
	return err
}

// describe is a dataset and how it came to be where it stands, in parts.
func describe(e *lineage.Edge, n *lineage.Node, again bool) []string {
	parts := []string{plain(n.Namespace) + " " + plain(n.Name)}
	if e.Version != "" {
		parts[0] += " @" + plain(e.Version)
	}
	if e.To == lineage.Answer {
		parts = append(parts, e.Evidence)
	}
	if e.Role != "" {
		parts = append(parts, plain(e.Role))
	}
	if e.Rows > 0 {
		parts = append(parts, thousands(e.Rows)+" rows")
	}
	if e.Chunks > 0 {
		parts = append(parts, thousands(e.Chunks)+" chunks")
	}
	if e.ValidFrom != "" {
		parts = append(parts, "since "+e.ValidFrom)
	}
	if e.ValidTo != "" {
		parts = append(parts, "before "+e.ValidTo)
	}
	switch {
	case again:
		return append(parts, "see above")
	case !n.Listed:
		return append(parts, "owner unknown", "upstream unknown")
	}
	parts = append(parts, plain(n.Owner), n.Classification)
	if n.Root {
		parts = append(parts, "root")
	}
	return parts
}

func known(s string) string { return plain(cmp.Or(s, "unknown")) }

func because(s string) string {
	if s == "" {
		return ""
	}
	return " (" + plain(s) + ")"
}

// plain is a text as it may be printed: names come from clients, and what a terminal would obey is written out.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
