package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/simulate"
)

// binary is the program under test, built once, without -race: what a user runs.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ledgerline-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "ledgerline")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary under test: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// bed is a line of separate processes with a provider that counts: real engines, each of which can be killed.
type bed struct {
	t        *testing.T
	dir      string
	topics   topics
	provider *simulate.Provider
	keys     map[string]string
	env      []string
	engines  []string // flags that name the engines
	broker   *embedded.Kafka
	store    *embedded.ClickHouse
	cfg      kafka.Config
	db       *clickhouse.DB
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir(), topics: topics(embeddedtest.Name("t")), env: os.Environ()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.provider = simulate.New(simulate.Options{})
	served := make(chan error, 1)
	go func() { served <- b.provider.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if b.keys, err = writeDemoGovernance(b.path("governance"), "http://"+listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))

	if outside := os.Getenv("LEDGERLINE_KAFKA"); outside != "" {
		b.cfg = kafka.Config{Brokers: strings.Split(outside, ",")}
		b.engines = append(b.engines, "--kafka", outside)
	} else {
		b.broker, err = embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: b.path("kafka"), Logger: log, Command: []string{binary}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.broker.Close() })
		b.cfg = embeddedKafka(b.broker)
		b.engines = append(b.engines, "--kafka", b.broker.Brokers()[0], "--kafka-sasl", b.broker.Mechanism())
		b.env = append(b.env, "LEDGERLINE_KAFKA_USER="+b.broker.User(), "LEDGERLINE_KAFKA_PASSWORD="+b.broker.Password())
	}
	b.store, err = embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{
		Dir: b.path("clickhouse"), MemoryLimit: 2 << 30, Logger: log, Command: []string{binary},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	b.env = append(b.env, "LEDGERLINE_CLICKHOUSE_PASSWORD="+b.store.Password())
	if b.db, err = clickhouse.Open(t.Context(), embeddedClickHouse(b.store), log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) storeFlag() []string {
	return []string{"--clickhouse", fmt.Sprintf("clickhouse://%s@%s/%s", b.store.User(), b.store.Addr(), b.store.Database())}
}

// flags are those of a command that speaks to the log and, if store, to the store.
func (b *bed) flags(command string, store bool, more ...string) []string {
	argv := append([]string{command, "--data", b.path("data"), "--topics", string(b.topics)}, b.engines...)
	if store {
		argv = append(argv, b.storeFlag()...)
	}
	return append(argv, more...)
}

// part is a running process of the line.
type part struct {
	t    *testing.T
	name string
	argv []string
	env  []string
	cmd  *exec.Cmd
	mu   sync.Mutex
	log  bytes.Buffer
}

// start runs a process and waits until its output has the text.
func (b *bed) start(until string, argv ...string) *part {
	b.t.Helper()
	p := &part{t: b.t, name: argv[0], argv: argv, env: b.env}
	p.run(until)
	b.t.Cleanup(func() { p.stop() })
	return p
}

func (p *part) run(until string) (match []string) {
	p.t.Helper()
	pattern := regexp.MustCompile(until)
	p.cmd = exec.Command(binary, p.argv...)
	p.cmd.Env = p.env
	out, in, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	in.Close()
	found := make(chan []string, 1)
	go func() {
		defer out.Close()
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 1<<20)
		waiting := true
		for scanner.Scan() {
			p.mu.Lock()
			p.log.Write(append(scanner.Bytes(), '\n'))
			p.mu.Unlock()
			if m := pattern.FindStringSubmatch(scanner.Text()); m != nil && waiting {
				waiting = false
				found <- m
			}
		}
		if waiting {
			found <- nil
		}
	}()
	select {
	case match = <-found:
	case <-time.After(60 * time.Second):
	}
	if match == nil {
		p.cmd.Process.Kill()
		p.t.Fatalf("%s did not say %q:\n%s", p.name, until, p.output())
	}
	return match
}

func (p *part) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// kill ends the process with kill -9.
func (p *part) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.cmd.Wait()
	p.cmd = nil
}

// stop ends it as an operator would; it must end well.
func (p *part) stop() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s ended with %v:\n%s", p.name, err, p.output())
	}
	p.cmd = nil
}

const (
	proxyServes  = `proxy is serving.*"addr":"([^"]+)"`
	ingestServes = `ingest`
)

// settle waits until everything that the topic holds is in the books and rolled up.
func (b *bed) settle() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	_, end, err := kafka.Offsets(ctx, b.cfg, b.topics.events())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := ingest.WaitFor(ctx, b.db, b.topics.events(), end); err != nil {
		b.t.Fatalf("wait for the ingest: %v", err)
	}
	b.command(0, b.flagsWithoutKafka("rollup")...)
}

func (b *bed) flagsWithoutKafka(command string, more ...string) []string {
	return append(append([]string{command, "--data", b.path("data"), "--topics", string(b.topics)}, b.storeFlag()...), more...)
}

// command runs the binary to its end, which must be with the exit code, and returns its output.
func (b *bed) command(code int, argv ...string) string {
	b.t.Helper()
	cmd := exec.Command(binary, argv...)
	cmd.Env = b.env
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		b.t.Fatalf("ledgerline %s: exit code %d, want %d (%v)\n%s", strings.Join(argv, " "), got, code, err, out)
	}
	return string(out)
}

// verify is `verify books`, which must be green.
func (b *bed) verify() {
	b.t.Helper()
	argv := b.flags("verify", true)
	b.t.Logf("verify books:\n%s", b.command(0, append([]string{"verify", "books"}, argv[1:]...)...))
}

// enginePid is the process of an embedded engine.
func (b *bed) enginePid(name string) int {
	b.t.Helper()
	text, err := os.ReadFile(b.path(filepath.Join(name, "child.lock")))
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// match is the first group of the pattern in what the process said.
func (p *part) match(pattern string) string {
	p.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(p.output())
	if m == nil {
		p.t.Fatalf("%s did not say %q:\n%s", p.name, pattern, p.output())
	}
	return m[1]
}
