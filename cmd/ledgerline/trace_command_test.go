package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/internal/simulate"
	"github.com/ledgerline/ledgerline/lineage"
)

func TestPrintTrace(t *testing.T) {
	node := func(name string, depth int) lineage.Node {
		return lineage.Node{ID: "pg|" + name, Namespace: "pg", Name: name, Listed: true, Kind: "table", Owner: "owner of " + name, Classification: "internal", Depth: depth}
	}
	raw := node("raw", 3)
	raw.Root = true
	trace := &lineage.Trace{
		Subject: lineage.Subject{RequestID: "01a20d01-d92e-7e2e-a651-a44aaf867a38", Time: "2026-11-20T12:00:00Z", User: "u_1", KeyID: "k", Team: "risk", BusinessUnit: "group", UseCase: "kyc", Application: "desk",
			Status: 200, Client: "completed"},
		Decision: lineage.Decision{ModelAsked: "gpt", ModelRequested: "gpt", ModelServed: "gpt-1", Provider: "openai", Endpoint: "us", Fallback: true, Rule: "kyc-primary", Why: "Because.", Governance: strings.Repeat("ab", 32),
			Attempts: []lineage.Attempt{{Endpoint: "eu", Model: "gpt", Status: 429, Error: "http"}, {Endpoint: "us", Model: "gpt-1", Status: 200}}},
		Nodes: []lineage.Node{node("mart", 1), {ID: "x|\u202ey", Namespace: "x", Name: "\u202ey", Depth: 1}, node("a", 2), node("b", 2), raw},
		Edges: []lineage.Edge{
			{From: "pg|mart", To: lineage.Answer, Evidence: "declared", Version: "7", Role: "context", Rows: 1200},
			{From: "x|\u202ey", To: lineage.Answer, Evidence: "declared", Chunks: 6},
			{From: "pg|a", To: "pg|mart", Evidence: "mapped", ValidFrom: "2026-07-01"},
			{From: "pg|b", To: "pg|mart", Evidence: "mapped", ValidTo: "2027-01-01"},
			{From: "pg|raw", To: "pg|a", Evidence: "mapped"},
			{From: "pg|a", To: "pg|b", Evidence: "mapped"},
			{From: "pg|raw", To: "pg|b", Evidence: "mapped"},
		},
		Completeness: lineage.Completeness{Coverage: "declared", Requirement: "required", Notes: []string{"A note."}, Truncated: true, TruncatedBy: []string{"depth"}, Cycles: 2},
		Event:        lineage.Origin{Topic: "llm.events", Partition: 1, Offset: 9, Digest: strings.Repeat("cd", 32)}, ElapsedUS: 4200,
	}
	var out strings.Builder
	if err := printTrace(&out, trace); err != nil {
		t.Fatal(err)
	}
	want := `answer 01a20d01-d92e-7e2e-a651-a44aaf867a38
  when      2026-11-20T12:00:00Z
  who       user u_1, key k, team risk of group
  for       use case kyc, project unknown, application desk
  ended     completed, status 200
  model     gpt-1 answered, of openai at us; gpt was asked for
            attempt 0 at eu: status 429 (http)
            attempt 1 at us: status 200
  why       Because.
  rules     kyc-primary by governance abababababab
  sources   declared; lineage of the use case: required
  ├─ pg mart @7 · declared · context · 1,200 rows · owner of mart · internal
  │  ├─ pg a · since 2026-07-01 · owner of a · internal
  │  │  └─ pg raw · owner of raw · internal · root
  │  └─ pg b · before 2027-01-01 · owner of b · internal
  │     ├─ pg a · see above
  │     └─ pg raw · owner of raw · internal · root
  └─ x "\u202ey" · declared · 6 chunks · owner unknown · upstream unknown
  note      A note.
  cut       there is more: the limit of depth ended the trace
  cycles    2 groups of datasets feed each other
  event     llm.events/1/9, SHA-256 cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
  took      4.2ms
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	for name, model := range map[string]lineage.Decision{
		"none answered; gpt was asked for":                                 {ModelAsked: "gpt"},
		"gpt was asked of openai at us; the answer did not name its model": {ModelAsked: "fast", ModelRequested: "gpt", Provider: "openai", Endpoint: "us"},
	} {
		var out strings.Builder
		if err := printTrace(&out, &lineage.Trace{Decision: model}); err != nil || !strings.Contains(out.String(), "  model     "+name+"\n") || !strings.Contains(out.String(), "no dataset is known") {
			t.Errorf("printed\n%s\nwant %s", out.String(), name)
		}
	}
}

// A call through a running line that says its sources is traced by the command and by the API alike, and both readings are in the books.
func TestTraceCommand(t *testing.T) {
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
	up := b.start("^ready;", "up", "--data", b.path("data"), "--governance", b.path("governance"), "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	c := demoCall{what: "a review", path: "/v1/chat/completions", body: `{"model":"gpt-5.4","messages":[]}`, headers: map[string]string{"Ledger-Use-Case": "kyc-review", "Ledger-User": "dora",
		"Ledger-Sources": `"snowflake://example-eu1|KYC.MART.CUSTOMER_FILE";v="2026-11-20";role=context;n=12, "s3://nobody|notes"`}}
	a, err := c.send(t.Context(), up.match(`proxy +(http://\S+)`), keys["casemanager"])
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%+v, %v", a, err)
	}
	flags := []string{"--data", b.path("data")}
	var text string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // until the call is in the books
		out, err := exec.Command(binary, append([]string{"trace", a.id, "--reason", "case 4711"}, flags...)...).CombinedOutput()
		if text = string(out); err == nil {
			break
		}
		if !strings.Contains(text, "no such request in the books") || time.Now().After(deadline) {
			t.Fatalf("%v: %s", err, text)
		}
	}
	for _, want := range []string{
		"answer " + a.id + "\n", "use case kyc-review", "answered, of openai at", "sources   declared; lineage of the use case: required",
		"├─ snowflake://example-eu1 KYC.MART.CUSTOMER_FILE @2026-11-20 · declared · context · 12 rows · head of customer data · confidential\n",
		"postgres://core.internal.example:5432 core.public.customers · since 2026-07-01 · head of core banking · confidential · root\n",
		"s3://nobody notes · declared · owner unknown", "└─ https://registers.example.com /companies · mapped · head of financial crime · public · root\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}

	var command, overHTTP lineage.Trace
	if err := json.Unmarshal([]byte(b.command(0, append([]string{"trace", a.id, "--json"}, flags...)...)), &command); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, up.match(`API +(http://\S+)`)+"/v1/trace/"+a.id, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+up.match(`admin key +(\S+)`))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&overHTTP); err != nil {
		t.Fatal(err)
	}
	command.ElapsedUS, overHTTP.ElapsedUS = 0, 0
	if fmt.Sprintf("%+v", command) != fmt.Sprintf("%+v", overHTTP) || len(command.Nodes) != 7 {
		t.Errorf("the command says\n%+v\nthe API\n%+v", command, overHTTP)
	}

	// Several at a time take turns in recording.
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			if out, err := exec.Command(binary, append([]string{"trace", a.id}, flags...)...).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}

	if out := b.command(1, append([]string{"trace", "01a20d01-d92e-7e2e-a651-a44aaf867a38"}, flags...)...); !strings.Contains(out, "no such request in the books") {
		t.Errorf("of an id that nobody had: %s", out)
	}
	b.command(2, append([]string{"trace", "nonsense"}, flags...)...)
	up.stop()
	verdict := b.command(0, append([]string{"verify", "books"}, flags...)...)
	if !regexp.MustCompile(`every writer's sequence +\d+ +0 +ok`).MatchString(verdict) {
		t.Errorf("the books say\n%s", verdict)
	}
}
