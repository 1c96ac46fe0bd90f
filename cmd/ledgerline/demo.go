package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/anomaly"
	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/money"
	"github.com/ledgerline/ledgerline/internal/simulate"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/lineage"
	"github.com/ledgerline/ledgerline/retention"
)

const historyDays = 60

func demoCommand() *cobra.Command {
	d := demo{line: line{proxy: proxyFlags{instance: "demo", durability: "fsync", spoolSize: 4096, grace: 5 * time.Second}}}
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it on made-up traffic: nothing to install, nothing leaves the machine",
		Long: `Starts embedded engines and a simulated provider, makes 60 days of history that goes through Kafka and ingest
like everything else (its writer is marked synthetic), sends live calls through the proxy, and shows the showback,
one request in full and the proof of the books. Then it serves until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out, d.err, d.began = cmd.OutOrStdout(), cmd.ErrOrStderr(), time.Now()
			logs.level = max(logs.level, slog.LevelWarn)
			return d.run(cmd.Context(), logs.logger(cmd.ErrOrStderr()))
		},
	}
	d.engines.registerData(cmd)
	cmd.Flags().Lookup("data").DefValue = "ledgerline-demo"
	cmd.Flags().Set("data", "ledgerline-demo")
	cmd.Flags().StringVar(&d.engines.clickhouseBinary, "clickhouse-binary", "", "an installed clickhouse to run, instead of the library that is fetched with npm")
	cmd.Flags().Uint64Var(&d.seed, "seed", 1, "another seed makes other data")
	cmd.Flags().BoolVar(&d.exit, "exit", false, "end when everything was shown")
	cmd.Flags().StringVar(&d.proxy.listen, "listen", "127.0.0.1:4000", "address of the proxy")
	cmd.Flags().StringVar(&d.api.listen, "api-listen", "127.0.0.1:4001", "address of the API")
	logs.register(cmd)
	d.engines.partitions = 3
	cmd.AddCommand(demoGovernanceCommand())
	return cmd
}

// demo is the whole line with a simulated provider behind it and a story in front.
type demo struct {
	line
	seed     uint64
	exit     bool
	began    time.Time
	out, err io.Writer

	keys    map[string]string // virtual keys by id
	spike   string            // the use case with the planted spike
	webhook *demoWebhook
}

func (d *demo) run(ctx context.Context, log *slog.Logger) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the simulated provider: %w", err)
	}
	d.proxy.governance = filepath.Join(d.engines.data, "governance")
	if d.keys, err = writeDemoGovernance(d.proxy.governance, "http://"+listener.Addr().String()); err != nil {
		return err
	}
	if err := d.makePlan(ctx, time.Now().UTC()); err != nil {
		return err
	}
	if d.webhook, err = startDemoWebhook(); err != nil {
		return err
	}
	defer d.webhook.server.Close()
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	provider, stopProvider := context.WithCancel(context.WithoutCancel(ctx)) // ends after the proxy
	group.Go(func() error { return simulate.New(simulate.Options{}).Serve(provider, listener) })
	group.Go(func() error {
		defer stopProvider()
		defer cancel()
		return d.line.run(ctx, log, fetchProgress(d.err), d.err, d.tell)
	})
	return group.Wait()
}

// makePlan decides what is planted and makes the governance files fit.
func (d *demo) makePlan(ctx context.Context, now time.Time) error {
	snapshot, err := governance.Load(d.proxy.governance)
	if err != nil {
		return err
	}
	p, err := newHistory(snapshot, nil, d.seed).plan(ctx, now.Truncate(24*time.Hour)) // the same all day
	if err != nil {
		return fmt.Errorf("plan the demo: %w", err)
	}
	d.spike = p.spike
	if err := setDemoFigures(d.proxy.governance, "estate.yaml", "estimate_monthly_usd", p.estimates); err != nil {
		return err
	}
	return setDemoFigures(d.proxy.governance, "budgets.yaml", "amount_usd", p.budgets)
}

func (d *demo) head(format string, args ...any) {
	fmt.Fprintf(d.out, "\n── "+format+"\n", args...)
}

// tell is the story, once everything serves.
func (d *demo) tell(ctx context.Context) error {
	proxyURL, apiURL := "http://"+d.proxyAddr, "http://"+d.apiAddr
	fmt.Fprintf(d.out, "everything is up: embedded broker and store, proxy, ingest, jobs, API (%.1f s)\n", time.Since(d.began).Seconds())
	now := time.Now().UTC()

	if err := d.history(ctx, now); err != nil {
		return err
	}

	d.head("live calls through the proxy at %s", proxyURL)
	var rows [][]string
	var shown string
	for _, c := range demoCalls(d.seed) {
		a, err := c.send(ctx, proxyURL, d.keys[c.key])
		if err != nil {
			return err
		}
		rows = append(rows, []string{strconv.Itoa(a.status), c.what, a.endpoint, a.note, a.id})
		if strings.Contains(c.what, "429") {
			shown = a.id
		}
	}
	printTable(d.out, []string{"status", "call", "served by", "note", "event id"}, rows)

	if err := d.settle(ctx); err != nil {
		return err
	}
	if err := d.raiseBudgets(ctx, now); err != nil {
		return err
	}
	roleKeys := map[api.Scope]string{}
	for _, scope := range api.Scopes {
		key, err := d.line.keys.Replace("demo-"+string(scope), scope)
		if err != nil {
			return err
		}
		roleKeys[scope] = key
	}

	from := now.AddDate(0, 0, -historyDays).Truncate(24 * time.Hour)
	to := now.AddDate(0, 0, 1).Truncate(24 * time.Hour)
	d.head("showback by team, %s to today", from.Format(time.DateOnly))
	report, err := aggregate.Showback(ctx, d.db, aggregate.Query{From: from, To: to, GroupBy: []string{"business_unit", "team"}})
	if err != nil {
		return err
	}
	if err := printShowback(d.out, "table", report); err != nil {
		return err
	}

	d.head("one request: what happened, who pays, why this route  (GET /v1/requests/%s)", shown)
	if err := d.showRequest(ctx, apiURL, shown, roleKeys[api.Compliance]); err != nil {
		return err
	}

	d.head("where that answer came from  (GET /v1/trace/%s)", shown)
	if err := d.showTrace(ctx, apiURL, shown, roleKeys[api.Compliance]); err != nil {
		return err
	}

	d.head("ledgerline findings: what was planted, and why it is unusual")
	if err := d.showFindings(ctx, now); err != nil {
		return err
	}

	d.head("an alert, as it went to the Slack webhook that the demo listens on")
	if err := d.showAlert(ctx, now); err != nil {
		return err
	}

	d.head("ledgerline export")
	if err := d.export(ctx, now); err != nil {
		return err
	}

	d.head("ledgerline verify books")
	if err := verifyBooks(ctx, d.engines.topics, d.cfg, d.db, slog.New(slog.DiscardHandler), d.out); err != nil {
		return err
	}

	d.head("shown in %.0f s; now yours", time.Since(d.began).Seconds())
	fmt.Fprintf(d.out, "  proxy     OPENAI_BASE_URL=%s/v1  ANTHROPIC_BASE_URL=%s\n", proxyURL, proxyURL)
	fmt.Fprintf(d.out, "            virtual key of engineering: %s\n", d.keys["devtools"])
	fmt.Fprintf(d.out, "  pages     %s  (log in with one of these keys)\n", apiURL)
	for _, scope := range api.Scopes {
		fmt.Fprintf(d.out, "            %-10s %s\n", scope, roleKeys[scope])
	}
	fmt.Fprintf(d.out, "            curl -H 'Authorization: Bearer %s' '%s/v1/showback?group_by=team'\n", roleKeys[api.Finance], apiURL)
	if d.exit {
		return errStop
	}
	fmt.Fprintln(d.out, "\nCtrl-C ends it; the same command goes on with the same data")
	return nil
}

// history records the days that are not there yet. The mark says through which day an earlier run got.
func (d *demo) history(ctx context.Context, now time.Time) error {
	mark := filepath.Join(d.engines.data, "history")
	from, to := now.AddDate(0, 0, -historyDays).Truncate(24*time.Hour), now.Truncate(time.Hour)
	switch text, err := os.ReadFile(mark); {
	case err == nil:
		done, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("read how far the history got: %w", err)
		}
		from = done
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if !from.Before(to) {
		return nil
	}
	began := time.Now()
	snapshot, err := governance.Load(d.proxy.governance)
	if err != nil {
		return err
	}
	secret, err := referenceKey(d.engines.data)
	if err != nil {
		return err
	}
	records, err := spool.Open(spool.Options{
		Dir: filepath.Join(d.engines.data, "spool", "history"), Instance: "history", Version: version(), Kind: "synthetic",
		Durability: spool.Write, Heartbeat: -1, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	producer, err := kafka.NewProducer(d.cfg, d.engines.topics.events())
	if err != nil {
		return err
	}
	defer producer.Close()
	draining, stop := context.WithCancel(ctx)
	defer stop()
	drained := make(chan error, 1)
	go func() { drained <- drain(draining, records, producer) }()

	set := countProgress(d.err, "days of history", historyDays)
	calls := 0
	h := newHistory(snapshot, secret, d.seed)
	h.spike, h.spikeDay = d.spike, now.Truncate(24*time.Hour).AddDate(0, 0, -1)
	err = h.write(ctx, from, to, func(e *event.Event) error {
		calls++
		_, err := records.Record(e)
		return err
	}, set)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err = errors.Join(err, records.Close(closing)); err != nil {
		return err
	}
	stop()
	if err := <-drained; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := os.WriteFile(mark, []byte(to.Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return err
	}
	_, end, err := kafka.Offsets(ctx, d.cfg, d.engines.topics.events())
	if err != nil {
		return err
	}
	if err := ingest.WaitFor(ctx, d.db, d.engines.topics.events(), end); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "history: %s calls from %s on, recorded, published and in the books (%.1f s, marked synthetic)\n",
		thousands(calls), from.Format(time.DateOnly), time.Since(began).Seconds())
	return nil
}

// settle waits until the last calls are in the books and in the rollups.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := d.records.Flush(ctx); err != nil {
		return fmt.Errorf("wait for the broker: %w", err)
	}
	_, end, err := kafka.Offsets(ctx, d.cfg, d.engines.topics.events())
	if err != nil {
		return err
	}
	if err := ingest.WaitFor(ctx, d.db, d.engines.topics.events(), end); err != nil {
		return fmt.Errorf("wait for the ingest: %w", err)
	}
	for {
		_, err := aggregate.Rollup(ctx, d.db, aggregate.Options{Topic: d.engines.topics.events(), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, aggregate.ErrRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// shownRequest is what the demo shows of an answer of GET /v1/requests/{id}.
type shownRequest struct {
	Attribution map[string]struct{ Value, Provenance string }
	Decision    struct{ Why string }
	Attempts    []struct {
		Endpoint, Region string
		Status           int
		LatencyUS        int64  `json:"latency_us"`
		UsageSource      string `json:"usage_source"`
	}
	Entries []struct {
		Attempt, Quantity int64
		Class, Cost       string
		PerMillion        string `json:"usd_per_million"`
		PriceID           string `json:"price_id"`
		CostStatus        string `json:"cost_status"`
	}
	Cost  string
	Event struct {
		Digest, Topic     string
		Partition, Offset int64
	}
}

// getJSON asks the API with a key.
func getJSON(ctx context.Context, url, key string, to any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, text)
	}
	return json.Unmarshal(text, to)
}

// showRequest asks the API for a request, as compliance would.
func (d *demo) showRequest(ctx context.Context, apiURL, id, key string) error {
	var r shownRequest
	if err := getJSON(ctx, apiURL+"/v1/requests/"+id, key, &r); err != nil {
		return err
	}
	var rows [][]string
	for _, name := range event.DimensionNames {
		rows = append(rows, []string{name, r.Attribution[name].Value, r.Attribution[name].Provenance})
	}
	printTable(d.out, []string{"who pays", "", "says"}, rows)
	fmt.Fprintln(d.out)
	rows = nil
	for i, a := range r.Attempts {
		rows = append(rows, []string{strconv.Itoa(i), a.Endpoint, a.Region, strconv.Itoa(a.Status), fmt.Sprintf("%d µs", a.LatencyUS), a.UsageSource})
	}
	printTable(d.out, []string{"attempt", "endpoint", "region", "status", "took", "usage"}, rows, 0, 3, 4)
	fmt.Fprintln(d.out)
	rows = nil
	for _, e := range r.Entries {
		rows = append(rows, []string{strconv.FormatInt(e.Attempt, 10), e.Class, thousands(e.Quantity), e.PerMillion, e.Cost, e.CostStatus, e.PriceID})
	}
	rows = append(rows, []string{"", "total", "", "", r.Cost, "", ""})
	printTable(d.out, []string{"attempt", "class", "tokens", "USD per million", "cost USD", "status", "price"}, rows, 0, 2, 3, 4)
	fmt.Fprintf(d.out, "\n  why    %s\n  event  %s/%d/%d, SHA-256 %s\n", r.Decision.Why, r.Event.Topic, r.Event.Partition, r.Event.Offset, r.Event.Digest)
	return nil
}

// showTrace asks the API where an answer came from, as compliance would.
func (d *demo) showTrace(ctx context.Context, apiURL, id, key string) error {
	var t lineage.Trace
	if err := getJSON(ctx, apiURL+"/v1/trace/"+id, key, &t); err != nil {
		return err
	}
	return printTrace(d.out, &t)
}

// showFindings looks for findings and shows those of use cases of yesterday and of this month.
func (d *demo) showFindings(ctx context.Context, now time.Time) error {
	// The jobs look too: what they found meanwhile is as good.
	_, err := anomaly.Detect(ctx, d.db, anomaly.Options{Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil && !errors.Is(err, anomaly.ErrMoved) && !errors.Is(err, anomaly.ErrOvertaken) {
		return err
	}
	asOf, err := anomaly.Latest(ctx, d.db)
	if err != nil {
		return err
	}
	yesterday := anomaly.DayOf(now) - 1
	var shown []anomaly.Finding
	month := anomaly.DayOf(yesterday.Time().AddDate(0, 0, 1-yesterday.Time().Day()))
	for _, kind := range []struct {
		name string
		day  anomaly.Day
		most uint64
	}{{anomaly.Anomaly, yesterday, 1}, {anomaly.Drift, month, 2}} {
		found, err := anomaly.List(ctx, d.db, anomaly.Query{
			AsOf: asOf, From: kind.day, To: kind.day + 1, Kind: []string{kind.name}, Dimension: []string{"use_case"}, State: []string{anomaly.Open}, Limit: kind.most,
		})
		if err != nil {
			return err
		}
		for i := range found {
			found[i].Top = found[i].Top[:min(len(found[i].Top), 1)]
		}
		shown = append(shown, found...)
	}
	printFindings(d.out, shown, aggregate.Complete(asOf))
	return nil
}

// raiseBudgets looks at the budgets now, rather than when the jobs do it next; the jobs send what it raises.
func (d *demo) raiseBudgets(ctx context.Context, now time.Time) error {
	quiet := slog.New(slog.DiscardHandler)
	rules, err := openFolder(d.proxy.governance, quiet)
	if err != nil {
		return err
	}
	return newAlerts(d.db, rules, prometheus.NewRegistry(), quiet).raiseBudgets(ctx, rules.snapshot(), now)
}

// showAlert waits for the message that little is left of a budget. Who was told by an earlier run is not told again.
func (d *demo) showAlert(ctx context.Context, now time.Time) error {
	snapshot, err := governance.Load(d.proxy.governance)
	if err != nil {
		return err
	}
	report, err := aggregate.Budgets(ctx, d.db, budgetsNamed(snapshot.Budgets(), tight), now)
	if err != nil {
		return err
	}
	state := &report.States[0]
	if !state.Crossed(state.Budget.Soft[0]) {
		fmt.Fprintf(d.out, "  none: the period of %s has just begun\n", tight)
		return nil
	}
	alert := budgetAlerts(state, "", report.CompleteThrough)[0]
	known, err := anomaly.Alerts(ctx, d.db, anomaly.AlertQuery{States: []string{anomaly.Delivered}, Limit: 1000})
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.ID == anomaly.AlertID(alert.Kind, alert.Subject) && k.RaisedAt.Before(d.began) {
			fmt.Fprintf(d.out, "  none: %s was told at %s\n", alert.Title, k.RaisedAt.Format(time.RFC3339))
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	m, err := d.webhook.wait(ctx, alert.Title)
	if err != nil {
		return err
	}
	m.print(d.out)
	return nil
}

// export writes the closed days of two weeks beside the data and says what lies there.
func (d *demo) export(ctx context.Context, now time.Time) error {
	target, err := openTarget(filepath.Join(d.engines.data, "exports"), true)
	if err != nil {
		return err
	}
	defer target.Close()
	unlock, err := target.lock()
	if err != nil {
		return err
	}
	defer unlock()
	began := time.Now()
	var bar func(int)
	progress := func(done, total int) {
		if bar == nil {
			bar = countProgress(d.err, "days", total)
		}
		bar(done)
	}
	result, err := retention.Export(ctx, d.db, retention.Options{
		Topic: d.engines.topics.events(), Target: target.name, Objects: target.Objects, Scratch: target.scratch,
		From: now.AddDate(0, 0, -14).Truncate(24 * time.Hour), Grace: time.Hour, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Progress: progress,
	})
	if err != nil {
		return err
	}
	var requests, entries uint64
	var bytes int64
	var cost money.Sum
	written := 0
	for _, day := range result.Days {
		if day.State != "unchanged" {
			requests, entries, bytes, cost = requests+day.Requests, entries+day.Entries, bytes+day.Bytes, cost.Plus(day.Cost)
			written++
		}
	}
	fmt.Fprintf(d.out, "  %s days of a retention class sealed in %.1f s: %s requests, %s entries, %s USD, %s bytes of Parquet, each file read back\n",
		thousands(written), time.Since(began).Seconds(), thousands(requests), thousands(entries), cost, thousands(bytes))
	fmt.Fprintf(d.out, "  duckdb -c \"SELECT team, sum(cost) FROM read_parquet('%s/charges/**/*.parquet') GROUP BY team\"\n", target.name)
	return nil
}
