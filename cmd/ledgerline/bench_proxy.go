package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/simulate"
)

func benchProxyCommand() *cobra.Command {
	var b proxyBench
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "CPU per request, added latency, first streamed byte and memory of the proxy, beside nginx",
		Long: `Runs the proxy as a process of its own in front of the simulated provider and an embedded broker, and nginx in
front of the same provider, in turn. CPU is that of the proxy process alone, from the first request until every
event is acknowledged by the broker, divided by the requests. Without nginx only absolute figures are printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&b.requests, "requests", 60_000, "requests of a round, plain; half of it streamed")
	cmd.Flags().IntVar(&b.rounds, "rounds", 5, "rounds; the medians are printed")
	cmd.Flags().IntVar(&b.connections, "connections", 64, "connections of the load")
	cmd.Flags().IntVar(&b.memory, "memory-requests", 1_000_000, "requests of the memory run; 0 leaves it out")
	cmd.Flags().StringVar(&b.only, "only", "", "plain or streamed: leave the other and the latency out")
	cmd.Flags().StringVar(&b.profile, "profile", "", "write CPU profiles of the proxy to this name and .write or .fsync")
	return cmd
}

type proxyBench struct {
	requests, rounds, connections, memory int
	profile, only                         string

	dir      string
	provider string
	key      string
	cfg      kafka.Config
}

// The shapes of the reference points: 1.6 KB request, 1.5 KB answer; 50 streamed chunks.
var (
	plainCall  = simulate.Call{Format: simulate.Chat, Model: "gpt-5-mini", BodyBytes: 1600}
	streamCall = simulate.Call{Format: simulate.Chat, Model: "gpt-5-mini", BodyBytes: 1600, Stream: true, IncludeUsage: true}
)

const benchEndpoint = "openai-us" // where the use case of the bench goes

func benchHeaders(more ...string) func(int, []byte) []byte {
	return func(_ int, head []byte) []byte {
		head = simulate.AppendHeader(head, "Ledger-Use-Case", "code-assistant")
		head = simulate.AppendHeader(head, "Simulate-Usage", "in=400,out=300")
		for i := 0; i+1 < len(more); i += 2 {
			head = simulate.AppendHeader(head, more[i], more[i+1])
		}
		return head
	}
}

func (b *proxyBench) run(ctx context.Context, out, progress io.Writer) error {
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if b.dir, err = os.MkdirTemp("", "ledgerline-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving, stopProvider := context.WithCancel(ctx)
	defer stopProvider()
	go simulate.New(simulate.Options{}).Serve(serving, listener)
	b.provider = "http://" + listener.Addr().String()
	keys, err := writeDemoGovernance(filepath.Join(b.dir, "governance"), b.provider)
	if err != nil {
		return err
	}
	b.key = keys["devtools"]
	broker, err := embedded.StartKafka(ctx, embedded.KafkaOptions{Dir: filepath.Join(b.dir, "kafka"), Logger: quiet})
	if err != nil {
		return err
	}
	defer broker.Close()
	b.cfg = embeddedKafka(broker)
	os.Setenv("LEDGERLINE_KAFKA_USER", broker.User())
	os.Setenv("LEDGERLINE_KAFKA_PASSWORD", broker.Password())

	nginx, err := b.startNginx(ctx)
	if err != nil {
		return err
	}
	if nginx != nil {
		defer nginx.stop()
	}
	fmt.Fprintf(out, "machine: %s\n", machine())
	fmt.Fprintf(out, "load: %d connections, 1.6 KB request, 1.5 KB answer; simulated provider, load and proxy share the machine; medians of %d rounds\n\n", b.connections, b.rounds)

	cost := map[string][]float64{} // contender + call → µs of CPU per request, a value per round
	var latency [][]string
	for _, durability := range []string{"write", "fsync"} {
		p, err := b.startProxy(ctx, durability)
		if err != nil {
			return err
		}
		for round := range b.rounds {
			fmt.Fprintf(progress, "%s, round %d of %d\n", durability, round+1, b.rounds)
			for _, c := range b.shapes() {
				if nginx != nil {
					us, err := b.cpuPerRequest(ctx, nginx.measured, nginx.url[c.name], c, false)
					if err != nil {
						return err
					}
					cost["nginx"+c.name] = append(cost["nginx"+c.name], us)
				}
				us, err := b.cpuPerRequest(ctx, p.measured, p.url, c, true)
				if err != nil {
					return err
				}
				cost[durability+c.name] = append(cost[durability+c.name], us)
			}
		}
		if b.only == "" {
			if latency, err = b.latencyRows(ctx, p, durability, latency); err != nil {
				return err
			}
		}
		if durability == "write" && b.memory > 0 {
			if err := b.memoryRun(ctx, p, out, progress); err != nil {
				return err
			}
		}
		if err := p.stop(); err != nil {
			return fmt.Errorf("the proxy ended badly: %w", err)
		}
	}

	var rows [][]string
	bars := map[string]string{"writeplain": "2.5", "fsyncplain": "3.0", "writestreamed": "1.5", "fsyncstreamed": "-"}
	for _, c := range b.shapes() {
		if nginx != nil {
			rows = append(rows, []string{c.name, "nginx proxy_pass", fmt.Sprintf("%.1f", median(cost["nginx"+c.name])), "1.00", ""})
		}
		for _, durability := range []string{"write", "fsync"} {
			ratio := "-"
			if nginx != nil {
				ratio = fmt.Sprintf("%.2f", median(cost[durability+c.name])/median(cost["nginx"+c.name]))
			}
			rows = append(rows, []string{c.name, "ledgerline, " + durability, fmt.Sprintf("%.1f", median(cost[durability+c.name])), ratio, bars[durability+c.name]})
		}
	}
	fmt.Fprintln(out, "\nCPU of the proxy process per request:")
	printTable(out, []string{"answer", "proxy", "µs", "× nginx", "bar"}, rows, 2, 3, 4)
	fmt.Fprintln(out, "\nadded latency over direct (500 requests/s, provider answers after 20 ms), and of the first streamed byte:")
	printTable(out, []string{"durability", "what", "direct ms", "through ms", "added ms", "bar"}, latency, 2, 3, 4, 5)
	if nginx == nil {
		fmt.Fprintln(out, "\nnginx is not installed: no ratios")
	}
	return nil
}

// shape is one kind of call of the CPU rounds.
type shape struct {
	name     string
	call     simulate.Call
	requests int
	headers  func(int, []byte) []byte
}

func (b *proxyBench) shapes() []shape {
	all := []shape{
		{"plain", plainCall, b.requests, benchHeaders("Simulate-Answer-Bytes", "1100")},
		{"streamed", streamCall, b.requests / 2, benchHeaders("Simulate-Chunks", "50")},
	}
	if b.only != "" {
		all = slices.DeleteFunc(all, func(s shape) bool { return s.name != b.only })
	}
	return all
}

// cpuPerRequest loads a process and returns its CPU in µs per request; with events, until the broker has them all.
func (b *proxyBench) cpuPerRequest(ctx context.Context, m *measured, url string, s shape, events bool) (float64, error) {
	warm := s
	warm.requests = s.requests / 20
	for _, s := range []shape{warm, s} {
		var before int64
		if events {
			var err error
			if before, err = b.published(ctx); err != nil {
				return 0, err
			}
		}
		start, err := m.cpu()
		if err != nil {
			return 0, err
		}
		report, err := simulate.Load(ctx, simulate.LoadOptions{
			Target: url, Calls: []simulate.Call{s.call}, Key: b.key, Concurrency: b.connections, Requests: s.requests, Headers: s.headers,
		})
		if err != nil {
			return 0, err
		}
		if report.Answered != s.requests || report.ByStatus[200] != s.requests {
			return 0, fmt.Errorf("%s, %s: %d of %d calls answered: %v %v", m.name, s.name, report.Answered, s.requests, report.ByStatus, report.Errors)
		}
		for events {
			now, err := b.published(ctx)
			if err != nil {
				return 0, err
			}
			if now-before >= int64(s.requests) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		end, err := m.cpu()
		if err != nil {
			return 0, err
		}
		if s.requests != warm.requests {
			return float64((end - start).Microseconds()) / float64(s.requests), nil
		}
	}
	return 0, errors.New("nothing was measured")
}

// published is the number of events that the broker has acknowledged.
func (b *proxyBench) published(ctx context.Context) (sum int64, err error) {
	_, next, err := kafka.Offsets(ctx, b.cfg, topics("llm").events())
	for _, n := range next {
		sum += n
	}
	return sum, err
}

// latencyRows compares calls through the proxy with the same calls sent directly, at a low rate.
func (b *proxyBench) latencyRows(ctx context.Context, p *proxyProcess, durability string, rows [][]string) ([][]string, error) {
	load := func(target string, c simulate.Call, rate float64, seconds int, headers func(int, []byte) []byte) (simulate.Report, error) {
		r, err := simulate.Load(ctx, simulate.LoadOptions{
			Target: target, Calls: []simulate.Call{c}, Key: b.key, Concurrency: b.connections, Rate: rate,
			Requests: int(rate) * seconds, Headers: headers,
		})
		if err == nil && r.Answered != r.Calls {
			err = fmt.Errorf("latency: %d of %d calls answered: %v", r.Answered, r.Calls, r.Errors)
		}
		return r, err
	}
	row := func(what string, direct, through time.Duration, bar string) {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d.Microseconds())/1000) }
		rows = append(rows, []string{durability, what, ms(direct), ms(through), ms(through - direct), bar})
	}
	slow := benchHeaders("Simulate-Latency", "first=20ms", "Simulate-Answer-Bytes", "1100")
	direct, err := load(b.provider+"/"+benchEndpoint, plainCall, 500, 10, slow)
	if err != nil {
		return rows, err
	}
	through, err := load(p.url, plainCall, 500, 10, slow)
	if err != nil {
		return rows, err
	}
	bars := map[string][2]string{"write": {"0.5", "2.0"}, "fsync": {"+ group commit", "+ group commit"}}[durability]
	row("p50", direct.Latency.At(0.5), through.Latency.At(0.5), bars[0])
	row("p99", direct.Latency.At(0.99), through.Latency.At(0.99), bars[1])
	paced := benchHeaders("Simulate-Latency", "first=20ms,chunk=2ms", "Simulate-Chunks", "50")
	if direct, err = load(b.provider+"/"+benchEndpoint, streamCall, 100, 10, paced); err != nil {
		return rows, err
	}
	if through, err = load(p.url, streamCall, 100, 10, paced); err != nil {
		return rows, err
	}
	row("first streamed byte p50, from the call", direct.FirstByte.At(0.5), through.FirstByte.At(0.5), "")
	row("the same, from the provider's first byte", direct.Passage.At(0.5), through.Passage.At(0.5), "0.2")
	return rows, nil
}

// memoryRun watches the proxy's resident memory over many requests.
func (b *proxyBench) memoryRun(ctx context.Context, p *proxyProcess, out, progress io.Writer) error {
	var samples []string
	const parts = 5
	for i := range parts {
		fmt.Fprintf(progress, "memory, %d of %d requests\n", i*b.memory/parts, b.memory)
		s := b.shapes()[0]
		if _, err := simulate.Load(ctx, simulate.LoadOptions{
			Target: p.url, Calls: []simulate.Call{s.call}, Key: b.key, Concurrency: b.connections, Requests: b.memory / parts, Headers: s.headers,
		}); err != nil {
			return err
		}
		rss, err := p.rss()
		if err != nil {
			return err
		}
		samples = append(samples, fmt.Sprintf("%d: %.1f", (i+1)*b.memory/parts, float64(rss)/(1<<20)))
	}
	fmt.Fprintf(out, "memory of the proxy process in MiB after so many requests (bar 64, flat): %v\n", samples)
	return nil
}

// proxyProcess is the proxy as it runs in production.
type proxyProcess struct {
	*measured
	url string
}

func (b *proxyBench) startProxy(ctx context.Context, durability string) (*proxyProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	argv := []string{self, "proxy", "--data", filepath.Join(b.dir, "data-"+durability), "--governance", filepath.Join(b.dir, "governance"),
		"--kafka", b.cfg.Brokers[0], "--kafka-sasl", b.cfg.SASL.Mechanism, "--listen", addr, "--admin", "", "--durability", durability, "--log", "text"}
	if b.profile != "" {
		argv = append(argv, "--cpu-profile", b.profile+"."+durability)
	}
	log := filepath.Join(b.dir, durability+".log")
	m, err := startMeasured("ledgerline ("+durability+")", log, argv...)
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, "http://"+addr+"/readyz"); err != nil {
		m.stop()
		text, _ := os.ReadFile(log)
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return &proxyProcess{m, "http://" + addr}, nil
}

// waitReady waits until a health address answers 200, at most 20 s.
func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after 20 s", url)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// nginxProcess serves plain answers with its defaults and streams unbuffered, at two addresses.
type nginxProcess struct {
	*measured
	url map[string]string // by the name of the shape
}

// startNginx runs nginx with one worker, logs off; nil when it is not installed.
func (b *proxyBench) startNginx(ctx context.Context) (*nginxProcess, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, nil
		}
	}
	plain, err := freePort()
	if err != nil {
		return nil, err
	}
	streamed, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(b.dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid %[1]s/nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http {
	access_log off; keepalive_requests 1000000000; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; client_body_buffer_size 64k;
	upstream provider { server %[2]s; keepalive 512; keepalive_requests 1000000000; }
	proxy_http_version 1.1; proxy_set_header Connection "";
	server { listen 127.0.0.1:%[3]d; location / { proxy_pass http://provider; } }
	server { listen 127.0.0.1:%[4]d; location / { proxy_pass http://provider; proxy_buffering off; } }
}
`, b.dir, b.provider[len("http://"):], plain, streamed)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	m, err := startMeasured("nginx", filepath.Join(b.dir, "nginx.log"), path, "-c", conf, "-p", b.dir)
	if err != nil {
		return nil, err
	}
	n := &nginxProcess{m, map[string]string{"plain": fmt.Sprintf("http://127.0.0.1:%d", plain), "streamed": fmt.Sprintf("http://127.0.0.1:%d", streamed)}}
	if err := waitReady(ctx, n.url["plain"]+"/__simulate/stats"); err != nil {
		m.stop()
		return nil, fmt.Errorf("nginx: %w", err)
	}
	return n, nil
}
