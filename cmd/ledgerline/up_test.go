package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
	"github.com/ledgerline/ledgerline/internal/simulate"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// TestUp runs `up` as its user would: ready soon, one admin key, a second process refused with one line, a call through it, metrics
// as documented, governance followed while it runs, a stop that leaves green books.
func TestUp(t *testing.T) {
	b := &bed{t: t, dir: t.TempDir(), env: os.Environ()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go simulate.New(simulate.Options{}).Serve(t.Context(), listener)
	keys, err := writeDemoGovernance(b.path("governance"), "http://"+listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Command(binary, "migrate", "--data", b.path("warm")).CombinedOutput(); err != nil { // the library is cached from here on
		t.Fatal(err)
	}
	argv := []string{"up", "--data", b.path("data"), "--governance", b.path("governance"), "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"}
	verify := []string{"verify", "books", "--data", b.path("data")}
	if outside := os.Getenv("LEDGERLINE_KAFKA"); outside != "" {
		more := []string{"--kafka", outside, "--topics", embeddedtest.Name("up")}
		argv, verify = append(argv, more...), append(verify, more...)
	}

	began := time.Now()
	up := b.start("^ready;", argv...)
	t.Logf("ready after %.1f s", time.Since(began).Seconds())
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("ready after %v", took)
	}
	proxy, api, admin := up.match(`proxy +(http://\S+)`), up.match(`API +(http://\S+)`), up.match(`admin key +(\S+)`)

	second := exec.Command(binary, argv...)
	out, err := second.CombinedOutput()
	if lines := strings.Count(string(out), "\n"); err == nil || lines != 1 || !regexp.MustCompile(`is in use by another ledgerline \(pid \d+\)`).Match(out) {
		t.Errorf("a second process on the folder said %d lines:\n%s", lines, out)
	}

	call := func(useCase string) int {
		t.Helper()
		c := demoCall{what: useCase, path: "/v1/chat/completions", body: `{"model":"gpt-5-mini","messages":[]}`, headers: map[string]string{"Ledger-Use-Case": useCase}}
		a, err := c.send(t.Context(), proxy, keys["devtools"])
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	if got := call("code-assistant"); got != http.StatusOK {
		t.Errorf("a call was answered with %d", got)
	}

	// What preflight finds is in the store: two use cases are whole; one has no key, and its record cannot be read back without the scope.
	b.env = append(b.env, "LEDGERLINE_PREFLIGHT_KEYS="+keys["oldtrial1"]+" "+keys["devtools"], "LEDGERLINE_API_KEY="+admin)
	try := []string{"preflight", "--governance", b.path("governance"), "--proxy", proxy, "--api", api, "--header", "Ledger-User: preflight"}
	if out := b.command(0, append(try, "--use-case", "code-assistant", "--use-case", "incident-summary")...); strings.Count(out, " whole\n") != 2 ||
		!regexp.MustCompile(`code-assistant +anthropic.messages claude-haiku-5-5 +[0-9a-f-]{36} +whole`).MatchString(out) {
		t.Errorf("preflight said\n%s", out)
	}
	if out := b.command(1, append(try, "--use-case", "kyc-review")...); !strings.Contains(out, "none of the keys given may be used for it") {
		t.Errorf("preflight of a use case without a key said\n%s", out)
	}
	b.env = append(b.env, "LEDGERLINE_API_KEY=ll_nobody")
	if out := b.command(1, append(try, "--use-case", "code-assistant")...); !strings.Contains(out, "the API answered 401") {
		t.Errorf("preflight with a wrong API key said\n%s", out)
	}

	metrics := func() string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+admin)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	// Governance is followed: a file with a mistake changes nothing, a good one counts.
	keysFile := b.path("governance/keys.yaml")
	good, err := os.ReadFile(keysFile)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(keysFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(good) + "nonsense: true\n")
	up.await(`refused; the running snapshot stays.*keys.yaml:\d+`)
	if !strings.Contains(metrics(), "\nledgerline_governance_refused 1\n") {
		t.Error("the metrics do not say that the folder was refused")
	}
	if got := call("code-assistant"); got != http.StatusOK {
		t.Errorf("after a bad change a call was answered with %d", got)
	}
	write(strings.Replace(string(good), "use_cases: [code-assistant, incident-summary]", "use_cases: [incident-summary]", 1))
	up.await(`governance changed`)
	if got := call("code-assistant"); got != http.StatusForbidden {
		t.Errorf("after the use case was taken from the key a call was answered with %d", got)
	}

	t.Run("metrics are those of deploy/metrics.md", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("metrics without a key: %v, %v", response.Status, err)
		}
		text := metrics()
		if !strings.Contains(text, "\nledgerline_governance_refused 0\n") {
			t.Error("the metrics say that the folder is refused")
		}
		var lines []string
		for _, m := range regexp.MustCompile(`(?m)^# HELP (ledgerline_\S+) (.*)\n# TYPE \S+ (\S+)`).FindAllStringSubmatch(text, -1) {
			lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |\n", m[1], m[3], m[2]))
		}
		slices.Sort(lines)
		want := "# Metrics\n\nServed at `/metrics` of the API (and of `--admin` of single processes) to keys with the operator scope.\nLabels come from closed sets: never a team, a key or an event.\n\n| name | type | meaning |\n|---|---|---|\n" + strings.Join(lines, "")
		file := filepath.Join("../../deploy", "metrics.md")
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s is not what is served (%v); go test ./cmd/ledgerline -run TestUp -update writes\n%s", file, err, want)
		}
	})

	up.stop()
	t.Log("\n" + b.command(0, verify...))
	again := b.start("^ready;", argv...)
	if regexp.MustCompile(`admin key`).MatchString(again.output()) {
		t.Error("the second start printed an admin key again")
	}
}

// await waits until the process has said a line with the pattern.
func (p *part) await(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); !re.MatchString(p.output()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s did not say %q:\n%s", p.name, pattern, p.output())
		}
	}
}
