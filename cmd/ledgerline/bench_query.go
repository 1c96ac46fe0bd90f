package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/deploy/example"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/sql"
)

func benchQueryCommand() *cobra.Command {
	var b queryBench
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Time of the API's answers over a month of made-up requests",
		Long: `Makes up a month of requests inside an embedded ClickHouse of its own, as the ingest would have written them
(events, requests, charges, batches; one request in two hundred delivered twice), brings the rollups up to date
after every day with the code of the jobs, and asks the HTTP API, one question after the other.

All requests lie in one month, the last whole one, so a month is the most that any question can cover. 100 use
cases of 25 teams call three of nine models each. Token counts are those of the Azure LLM inference trace 2023
(--trace names its folder, with conv.csv and code.csv), or else of a small table of its quantiles.

Ten million requests take some minutes and 4 GB of disk to make. --data keeps them: the next run with the same
folder asks at once.`,
		Example: `  ledgerline bench query --requests 1000000
  ledgerline bench query --requests 10000000 --data /var/tmp/bench --rounds 200`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.requests < 1 || b.rounds < 1 {
				return usageError{errors.New("--requests and --rounds must be at least 1")}
			}
			return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&b.requests, "requests", 10_000_000, "requests to make up")
	cmd.Flags().IntVar(&b.rounds, "rounds", 100, "times that each question is asked, besides a first time")
	cmd.Flags().StringVar(&b.trace, "trace", "", "folder of the Azure LLM inference trace 2023 (default: its quantiles, built in)")
	cmd.Flags().StringVar(&b.data, "data", "", "folder to keep the requests in, or to find them (default: a temporary one)")
	return cmd
}

type queryBench struct {
	requests, rounds int
	trace, data      string
}

const (
	benchTopic = "bench.events"
	benchChunk = 150_000 // requests of one insert: an ingest's batch at full load
)

func (b *queryBench) run(ctx context.Context, out, progress io.Writer) error {
	quiet := slog.New(slog.DiscardHandler)
	dir := b.data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ledgerline-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	tokens, err := b.tokens()
	if err != nil {
		return err
	}
	store, db, err := openBenchStore(ctx, dir, progress)
	if err != nil {
		return err
	}
	defer store.Close()
	defer db.Close()
	fmt.Fprintf(out, "machine: %s\n", machine())
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)
	stored, err := benchStored(ctx, db)
	if err != nil {
		return err
	}
	if stored.Requests == 0 {
		began := time.Now()
		if err := b.fill(ctx, db, month, tokens, progress); err != nil {
			return err
		}
		fmt.Fprintf(progress, "made and rolled up in %s\n", time.Since(began).Round(time.Second))
		if stored, err = benchStored(ctx, db); err != nil {
			return err
		}
	}
	month = time.Date(stored.Newest.Year(), stored.Newest.Month(), 1, 0, 0, 0, 0, time.UTC) // made in an earlier month, it is an earlier one
	if stored.Requests != uint64(b.requests) {
		return usageError{fmt.Errorf("--data %s holds %s requests, not %s", dir, thousands(stored.Requests), thousands(b.requests))}
	}
	fmt.Fprintf(out, "%s requests in %s, %s entries, %s cells, %s days by user\n",
		thousands(stored.Requests), month.Format("2006-01"), thousands(stored.Entries), thousands(stored.Cells), thousands(stored.UserDays))

	records, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool"), Instance: "bench", Heartbeat: -1, Now: time.Now, Logger: quiet})
	if err != nil {
		return err
	}
	keys, err := openAPIKeys(dir)
	if err != nil {
		return err
	}
	key, err := keys.Replace("bench", api.Admin)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	group, serving := errgroup.WithContext(serving)
	ready := make(chan string, 1)
	group.Go(func() error {
		return runAPI(serving, apiFlags{listen: "127.0.0.1:0"}, benchTopic, db, nil, keys, records, prometheus.NewRegistry(), quiet, func(addr string) { ready <- addr })
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-serving.Done():
			return nil
		case addr := <-ready:
			child, err := os.FindProcess(store.Pid())
			if err != nil {
				return err
			}
			return b.ask(serving, out, benchClient{"http://" + addr, key}, &measured{"the store", &exec.Cmd{Process: child}}, month)
		}
	})
	err = group.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, records.Close(closing))
}

type benchCounts struct {
	Entries  uint64    `ch:"entries"`
	Cells    uint64    `ch:"cells"`
	UserDays uint64    `ch:"user_days"`
	Requests uint64    `ch:"requests"`
	Newest   time.Time `ch:"newest"`
}

func benchStored(ctx context.Context, db *clickhouse.DB) (benchCounts, error) {
	var rows []benchCounts
	if err := db.Select(ctx, &rows, sql.Query("bench_query_stored"), clickhouse.Param("topic", benchTopic)); err != nil {
		return benchCounts{}, err
	}
	return rows[0], nil
}

// fill makes up the month, a day at a time: its requests in chunks, each with its batch, then the rollups.
func (b *queryBench) fill(ctx context.Context, db *clickhouse.DB, month time.Time, tokens clickhouse.Arg, progress io.Writer) error {
	rules, err := benchRules(ctx, db)
	if err != nil {
		return err
	}
	once, twice, err := eventTexts(rules)
	if err != nil {
		return err
	}
	sources := make([]string, len(benchSources))
	for i, s := range benchSources {
		sources[i] = s.Namespace + "|" + s.Name
	}
	if err := db.Exec(ctx, sql.Query("bench_query_table")); err != nil {
		return err
	}
	end := month.AddDate(0, 1, 0)
	days := int(end.Sub(month) / (24 * time.Hour))
	done := countProgress(progress, "requests", b.requests)
	first := 0
	for day := range days {
		for until := b.requests * (day + 1) / days; first < until; {
			last := min(first+benchChunk, until)
			again := min(first, (last-first)/200) // deliveries once more of what the chunk before had
			args := []clickhouse.Arg{
				tokens, clickhouse.Param("first", uint64(first-again)), clickhouse.Param("last", uint64(last)), clickhouse.Param("calls", uint64(b.requests)),
				clickhouse.Param("from", month.UnixMicro()), clickhouse.Param("to", end.UnixMicro()),
				// recorded a second after the last of them
				clickhouse.Param("recorded_seq", uint64(month.UnixMicro()+end.Sub(month).Microseconds()/int64(b.requests)*int64(last)+1_000_000)),
				clickhouse.Param("topic", benchTopic), clickhouse.Param("once", once), clickhouse.Param("twice", twice),
				clickhouse.Param("governance", rules.Digest), clickhouse.Param("sources", sources),
				clickhouse.Param("duplicates", uint64(again)), clickhouse.Param("table", "bench_calls"),
			}
			for _, statement := range []string{"bench_empty", "bench_query_calls", "bench_query_events", "bench_query_requests", "bench_query_charges", "bench_query_batch"} {
				if err := db.Exec(ctx, sql.Query(statement), args...); err != nil {
					return fmt.Errorf("make up requests %d to %d: %w", first, last, err)
				}
			}
			first = last
			done(first)
		}
		o := aggregate.Options{Topic: benchTopic, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Exclusive: true}
		if _, err := aggregate.Rollup(ctx, db, o); err != nil {
			return err
		}
	}
	return nil
}

// benchSources are what fed every request: tables of the example's estate, which say what they were made from; and one of its use case.
var benchSources = []event.Source{
	{Namespace: "snowflake://example-eu1", Name: "KYC.MART.CUSTOMER_FILE", Version: "2026-10-01", Role: "context", Rows: 12, Evidence: "declared"},
	{Namespace: "snowflake://example-eu1", Name: "RISK.MART.APPLICANT_FEATURES", Evidence: "mapped"},
	{Namespace: "s3://bench", Name: "notes/@11@", Role: "context", Chunks: 6, Evidence: "declared"},
}

// benchRules is the example's snapshot, stored as the ingest does before an event that names it.
func benchRules(ctx context.Context, db *clickhouse.DB) (*governance.Snapshot, error) {
	dir, err := os.MkdirTemp("", "ledgerline-bench-rules-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, example.Governance()); err != nil {
		return nil, fmt.Errorf("write the example's governance files: %w", err)
	}
	s, err := governance.Load(dir)
	if err != nil {
		return nil, err
	}
	return s, db.Insert(ctx, "snapshots", "", []clickhouse.Column{
		{Name: "digest", Data: [][32]byte{s.Digest}}, {Name: "archive", Data: [][]byte{s.Archive}}, {Name: "price_book", Data: []string{s.PriceBook}},
		{Name: "git_commit", Data: []string{s.Commit}}, {Name: "recorded_at", Data: []int64{time.Now().UnixMicro()}},
	})
}

// eventTexts are an event with one attempt and one with two, as ClickHouse's format() fills them: braces doubled, and a number in
// single ones where bench_query_events.sql puts what is the call's own.
func eventTexts(rules *governance.Snapshot) (once, twice string, err error) {
	at := event.At(time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC))
	id := event.NewID(at)
	of := func(i int, p event.Provenance) event.Dimension {
		return event.Dimension{Value: fmt.Sprintf("@%d@", i), Provenance: p}
	}
	served := event.Attempt{
		Endpoint: "endpoint-@12@", Provider: "@12@", Region: "us", ModelRequested: "@13@", ModelServed: "@13@", Status: 200, Start: at, End: at + 900_000,
		ProviderID: "bench-@2@", UsageSource: event.UsageProvider, Chunks: 1, Bytes: 1500,
		UsageRaw: `{"prompt_tokens":@14@,"prompt_tokens_details":{"cached_tokens":@15@ },"completion_tokens":@16@ }`, // a space, since format() takes }} first
	}
	refused := event.Attempt{
		Endpoint: "endpoint-@12@", Provider: "@12@", Region: "eu", ModelRequested: "@13@", Status: 429, Error: "http", Start: at,
		UsageSource: event.UsageMissing, Chunks: 1, Bytes: 100,
	}
	for _, attempts := range [][]event.Attempt{{served}, {refused, served}} {
		e := event.Event{
			ID: id, Source: "ledgerline/bench", Type: event.RequestCompleted, Time: at, Writer: "bench.0", Seq: 987_654_321_987,
			Request: &event.Request{
				Call: event.Call{
					Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "@13@", BodyBytes: 4000,
					BodyDigest: strings.Repeat("0f", 32), TraceID: strings.Repeat("1e", 16), ParentID: strings.Repeat("2d", 8), Workload: "interactive",
				},
				Caller: event.Caller{KeyID: "key-@7@", UserRef: "@9@"},
				Attribution: event.Attribution{
					BusinessUnit: of(6, event.FromKey), Team: of(7, event.FromKey), Project: of(8, event.FromHeader),
					User: of(9, event.FromHeader), Application: of(10, event.FromKey), UseCase: of(11, event.FromHeader),
				},
				Sources: benchSources, Coverage: "declared",
				Decision: event.Decision{Rule: "rule-@11@", Why: "The first endpoint of the rule that may serve the use case.", Governance: rules.Hex()},
				Attempts: attempts,
				Outcome: event.Outcome{
					Status: 200, Finish: "stop", Served: len(attempts) - 1, Latency: 900_000, FirstByte: 300_000, Client: "completed", Upstream: "completed",
					AnswerBytes: 1500, AnswerDigest: strings.Repeat("3c", 32),
				},
				Capture: "none", RetentionClass: "@5@",
			},
		}
		raw, err := e.Append(nil)
		if err != nil {
			return "", "", fmt.Errorf("make up an event: %w", err)
		}
		pairs := []string{"{", "{{", "}", "}}", id.String(), "{0}", at.Time().Format("2006-01-02T15:04:05.000000Z"), "{1}", fmt.Sprint(e.Seq), "{2}",
			fmt.Sprint(int64(at)), "{3}", fmt.Sprint(int64(at + 900_000)), "{4}"}
		for i := 2; i <= 16; i++ {
			pairs = append(pairs, fmt.Sprintf("@%d@", i), fmt.Sprintf("{%d}", i))
		}
		once, twice = twice, strings.NewReplacer(pairs...).Replace(string(raw))
	}
	return once, twice, nil
}

// quantiles are tokens of the Azure LLM inference trace 2023 at 0, 5, … 100 % of its requests, smallest first, and how many of a hundred
// requests are of the service. Source: AzurePublicDataset (CC-BY), Patel et al., "Splitwise: Efficient generative LLM inference using
// phase splitting", ISCA 2024.
var quantiles = []struct {
	service       string
	share         int
	input, output []int64
}{
	{"conv", 69, []int64{2, 181, 207, 372, 387, 396, 403, 414, 703, 984, 1020, 1045, 1071, 1097, 1130, 1189, 1315, 1876, 2734, 4083, 14050},
		[]int64{7, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411, 424, 451, 1000}},
	{"code", 31, []int64{3, 75, 147, 232, 386, 578, 770, 938, 1075, 1261, 1469, 1690, 1909, 2164, 2433, 2745, 3192, 3919, 5186, 7302, 7437},
		[]int64{6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 29, 39, 55, 90, 1899}},
}

// tokens is the table told: input and output tokens of requests, one of which each made-up request takes.
func (b *queryBench) tokens() (clickhouse.Arg, error) {
	var input, output []int64
	for _, q := range quantiles {
		if b.trace == "" {
			for i := range q.share { // inputs and outputs drawn apart: 37 and 100 have no common factor
				input, output = append(input, between(q.input, i*100/q.share)), append(output, between(q.output, i*100/q.share*37%100))
			}
			continue
		}
		file, err := os.Open(filepath.Join(b.trace, q.service+".csv"))
		if err != nil {
			return clickhouse.Arg{}, fmt.Errorf("read the trace: %w", err)
		}
		lines, err := csv.NewReader(file).ReadAll()
		file.Close()
		if err != nil {
			return clickhouse.Arg{}, fmt.Errorf("read the trace: %w", err)
		}
		for i, line := range lines {
			if i == 0 && slices.Equal(line, []string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"}) {
				continue
			}
			in, err1 := strconv.ParseInt(line[1], 10, 64)
			out, err2 := strconv.ParseInt(line[len(line)-1], 10, 64)
			if err := errors.Join(err1, err2); err != nil || len(line) != 3 {
				return clickhouse.Arg{}, fmt.Errorf("read the trace: %s, line %d: want TIMESTAMP,ContextTokens,GeneratedTokens", file.Name(), i+1)
			}
			input, output = append(input, in), append(output, out)
		}
	}
	return clickhouse.Table("told", []clickhouse.Column{{Name: "input", Type: "Int64", Data: input}, {Name: "output", Type: "Int64", Data: output}}), nil
}

// between is the value at a percentage of quantiles five percent apart.
func between(quantiles []int64, percent int) int64 {
	i, rest := percent/5, int64(percent%5)
	return quantiles[i] + (quantiles[i+1]-quantiles[i])*rest/5
}

// benchClient asks the API as its users do.
type benchClient struct{ base, key string }

// get is the body of an answer, which must be 200, and how long it took to the last byte.
func (c benchClient) get(ctx context.Context, path string) ([]byte, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	took := time.Since(began)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.500s", path, response.Status, body)
	}
	return body, took, err
}

type benchPage struct {
	Requests []struct {
		ID string `json:"id"`
	} `json:"requests"`
	NextCursor string `json:"next_cursor"`
}

// walk reads pages of a thousand requests, newest first, and returns their ids and the cursor after the last.
func (c benchClient) walk(ctx context.Context, path string, pages int) (ids []string, cursor string, err error) {
	for range pages {
		body, _, err := c.get(ctx, path+"&limit=1000"+cursor)
		if err != nil {
			return nil, "", err
		}
		var page benchPage
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, "", err
		}
		for _, r := range page.Requests {
			ids = append(ids, r.ID)
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(page.NextCursor)
	}
	return ids, cursor, nil
}

// ask asks every question many times and prints how long the answers took, and the CPU time of the store, which says more on a machine
// that others use too.
func (b *queryBench) ask(ctx context.Context, out io.Writer, c benchClient, store *measured, month time.Time) error {
	period := "from=" + month.Format(time.DateOnly) + "&to=" + month.AddDate(0, 1, 0).Format(time.DateOnly)
	list := "/v1/requests?" + period
	ids, deep, err := c.walk(ctx, list, 100)
	if err != nil {
		return err
	}
	always := func(path string) func(int) string { return func(int) string { return path } }
	questions := []struct {
		what string
		path func(round int) string
		bar  string // ms; the design's
	}{
		{"showback of the month by team and model", always("/v1/showback?group_by=team,model&limit=1000&" + period), "100"},
		{"showback by day of one use case", always("/v1/showback?group_by=day&use_case=use-case-7&" + period), "-"},
		{"requests, first page of 100", always(list), "-"},
		{fmt.Sprintf("requests, 100 after %s", thousands(len(ids))), always(list + deep), "-"},
		{"requests of one team, first page", always(list + "&team=team-20"), "-"},
		{"requests of one model and status, none", always(list + "&model=model-1&status=500"), "-"},
		{"unpriced of a day", always("/v1/unpriced?from=" + month.Format(time.DateOnly) + "&to=" + month.AddDate(0, 0, 1).Format(time.DateOnly)), "-"},
		{"unpriced of the month, some in each hour", always("/v1/unpriced?" + period), "-"},
		{"request by id, its reading recorded", func(round int) string { return "/v1/requests/" + ids[round*7919%len(ids)] }, "-"},
		{"trace by id, its reading recorded", func(round int) string { return "/v1/trace/" + ids[round*7919%len(ids)] }, "200"},
		{"answers that a table fed, all: first page", always("/v1/sources/" + url.PathEscape("postgres://core.internal.example:5432|core.public.customers") + "/outputs?" + period), "-"},
		{"answers that a table fed, 1 in 100", always("/v1/sources/" + url.PathEscape("s3://bench|notes/use-case-7") + "/outputs?" + period), "-"},
		{"answers that a table fed, none", always("/v1/sources/" + url.PathEscape("s3://bench|nowhere") + "/outputs?" + period), "-"},
	}
	var rows [][]string
	for _, q := range questions {
		_, first, err := c.get(ctx, q.path(0))
		if err != nil {
			return err
		}
		before, err := store.cpu()
		if err != nil {
			return err
		}
		took := make([]time.Duration, b.rounds)
		for i := range took {
			if _, took[i], err = c.get(ctx, q.path(i+1)); err != nil {
				return err
			}
		}
		after, err := store.cpu()
		if err != nil {
			return err
		}
		slices.Sort(took)
		at := func(percent int) string { return millis(took[(len(took)-1)*percent/100]) }
		rows = append(rows, []string{q.what, millis(first), at(50), at(99), q.bar, millis((after - before) / time.Duration(b.rounds))})
	}
	fmt.Fprintf(out, "\nanswers of the API over HTTP on loopback, %d times each, one at a time; CPU of the store for each:\n", b.rounds)
	printTable(out, []string{"question", "first ms", "p50 ms", "p99 ms", "bar", "CPU ms"}, rows, 1, 2, 3, 4, 5)
	return nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
