package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/sql"
)

func benchIngestCommand() *cobra.Command {
	var b ingestBench
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "Events a second from Kafka to committed rows, beside the same ClickHouse loading the same rows from files",
		Long: `Fills a topic, lets the ingest take it to the store, then empties the tables and has the same ClickHouse load the
same rows of events, requests and charges from JSONEachRow files over HTTP, with nothing else running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&b.events, "events", 300_000, "events in the topic")
	return cmd
}

type ingestBench struct{ events int }

var loadedTables = []string{"events", "requests", "charges"}

func (b *ingestBench) run(ctx context.Context, out, progress io.Writer) error {
	quiet := slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "ledgerline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engines := engineFlags{data: dir, topics: "bench", partitions: 3}
	cfg, broker, err := engines.startKafka(ctx, quiet)
	if err != nil {
		return err
	}
	defer broker.Close()
	store, db, err := openBenchStore(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer store.Close()
	defer db.Close()
	if err := engines.ensureTopics(ctx, cfg, quiet); err != nil {
		return err
	}
	fmt.Fprintf(out, "machine: %s\n", machine())
	size, err := b.fill(ctx, dir, &engines, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s events of %d bytes on average in the topic\n", thousands(b.events), size/b.events)

	// The ingest, as a process of its own.
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, end, err := kafka.Offsets(ctx, cfg, engines.topics.events())
	if err != nil {
		return err
	}
	log := filepath.Join(dir, "ingest.log")
	began := time.Now()
	m, err := startMeasured("ingest", log, self, "ingest", "--data", dir, "--topics", "bench", "--admin", "", "--log", "text")
	if err != nil {
		return err
	}
	err = ingest.WaitFor(ctx, db, engines.topics.events(), end)
	took := time.Since(began)
	cpu, cpuErr := m.cpu()
	if err = errors.Join(err, cpuErr, m.stop()); err != nil {
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%w\n%s", err, text)
	}
	rate := float64(b.events) / took.Seconds()

	// ClickHouse alone.
	for _, table := range loadedTables {
		file, err := os.Create(filepath.Join(dir, table+".json"))
		if err != nil {
			return err
		}
		err = ask(ctx, store, "bench_rows", table, nil, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	best, how := 0.0, ""
	for _, parallel := range []bool{false, true} {
		for _, table := range loadedTables {
			if err := ask(ctx, store, "bench_empty", table, nil, io.Discard); err != nil {
				return err
			}
		}
		began := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		name := "one table after the other"
		if group.SetLimit(1); parallel {
			group.SetLimit(len(loadedTables))
			name = "all three at once"
		}
		for _, table := range loadedTables {
			group.Go(func() error {
				file, err := os.Open(filepath.Join(dir, table+".json"))
				if err != nil {
					return err
				}
				defer file.Close()
				return ask(ctx, store, "bench_load", table, file, io.Discard)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		r := float64(b.events) / time.Since(began).Seconds()
		fmt.Fprintf(progress, "ClickHouse alone from JSONEachRow, %s: %.0f events/s\n", name, r)
		if r > best {
			best, how = r, name
		}
	}
	printTable(out, []string{"from", "events/s", "ratio", "bar"}, [][]string{
		{"JSONEachRow files, ClickHouse alone (" + how + ")", fmt.Sprintf("%.0f", best), "1.00", ""},
		{"Kafka, through the ingest, start of the process included", fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.2f", rate/best), "1.00"},
	}, 1, 2, 3)
	fmt.Fprintf(out, "  the ingest process: %.1f µs CPU per event, %d MiB of memory at its peak\n",
		float64(cpu.Microseconds())/float64(b.events), m.peak()>>20)
	return nil
}

// fill publishes made-up events, and the snapshot that they name, and returns their bytes.
func (b *ingestBench) fill(ctx context.Context, dir string, engines *engineFlags, cfg kafka.Config) (size int, err error) {
	if _, err := writeDemoGovernance(filepath.Join(dir, "governance"), "http://127.0.0.1:1"); err != nil {
		return 0, err
	}
	snapshot, err := governance.Load(filepath.Join(dir, "governance"))
	if err != nil {
		return 0, err
	}
	rules, err := kafka.NewProducer(cfg, engines.topics.governance())
	if err != nil {
		return 0, err
	}
	defer rules.Close()
	if err := rules.Publish(ctx, []kafka.Message{{Key: []byte(snapshot.Hex()), Value: snapshot.Archive}}); err != nil {
		return 0, err
	}
	events, err := kafka.NewProducer(cfg, engines.topics.events())
	if err != nil {
		return 0, err
	}
	defer events.Close()
	h := newHistory(snapshot, make([]byte, 32), 1)
	habits, err := h.habits()
	if err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Now().UTC().AddDate(0, 0, -2).Truncate(24 * time.Hour)
	var batch []kafka.Message
	for i := range b.events {
		e := h.call(r, &habits[i%len(habits)], start.Add(time.Duration(i)*time.Millisecond))
		e.Writer, e.Seq = "bench.0", uint64(i+1)
		raw, err := e.Append(nil)
		if err != nil {
			return 0, err
		}
		size += len(raw)
		batch = append(batch, kafka.Message{Key: []byte(e.ID.String()), Value: raw})
		if len(batch) == 2000 || i == b.events-1 {
			if err := events.Publish(ctx, batch); err != nil {
				return 0, err
			}
			batch = batch[:0]
		}
	}
	return size, nil
}

// ask sends a statement about a table over HTTP, with a body if there is one, and copies the answer.
func ask(ctx context.Context, store *embedded.ClickHouse, query, table string, body io.Reader, to io.Writer) error {
	values := url.Values{"param_table": {table}, "database": {store.Database()}}
	if body == nil {
		body = bytes.NewReader([]byte(sql.Query(query)))
	} else {
		values.Set("query", sql.Query(query))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+store.HTTPAddr()+"/?"+values.Encode(), body)
	if err != nil {
		return err
	}
	request.SetBasicAuth(store.User(), store.Password())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("%s %s: %s: %s", query, table, response.Status, text)
	}
	_, err = io.Copy(to, response.Body)
	return err
}
