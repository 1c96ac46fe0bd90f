package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
)

// Every refusal is a problem with a stable code, whoever makes it.
func testProblems(t *testing.T, b *bed) {
	for _, c := range []struct {
		method, path, key string
		status            int
		code              string
	}{
		{"GET", "/v1/showback", "", 401, "key_missing"},
		{"GET", "/v1/showback", b.keys[Operator], 403, "scope_missing"},
		{"GET", "/nowhere", b.keys[Admin], 404, "no_such_route"},
		{"GET", "/v1/showback/", b.keys[Admin], 404, "no_such_route"},
		{"GET", "/v2/x", "", 404, "no_such_route"},
		{"GET", "/v1/requests/a/b", b.keys[Admin], 400, "invalid_parameter"},
		{"POST", "/v1/showback", b.keys[Admin], 405, "method_not_allowed"},
		{"DELETE", "/v1/requests/" + b.ids[0].String(), b.keys[Admin], 405, "method_not_allowed"},
		{"HEAD", "/healthz", "", 405, ""},
		{"OPTIONS", "/v1/showback", "", 405, "method_not_allowed"},
		{"GET", "/v1/showback?a=%zz", b.keys[Admin], 400, "invalid_parameter"},
		{"GET", "/v1/showback?team=%ff", b.keys[Admin], 400, "invalid_parameter"},
		{"GET", "/v1/showback?team=a;b", b.keys[Admin], 400, "invalid_parameter"},
		{"GET", "/healthz?" + strings.Repeat("x", maxQuery+1), "", 414, "query_too_long"},
	} {
		request := httptest.NewRequest(c.method, "/", nil)
		if c.key != "" {
			request.Header.Set("Authorization", "bearer "+c.key) // the scheme's letters may be of any case
		}
		path, query, _ := strings.Cut(c.path, "?")
		request.URL.Path, request.URL.RawQuery = path, query
		answer := httptest.NewRecorder()
		b.server.Config.Handler.ServeHTTP(answer, request)
		if answer.Code != c.status || answer.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(answer.Body.String(), c.code) {
			t.Errorf("%s %.60s: %d %v %s", c.method, c.path, answer.Code, answer.Header(), answer.Body)
		}
		if err := theDocument().conform(path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil && c.method != "HEAD" {
			t.Errorf("%s %.60s: %v", c.method, c.path, err)
		}
		if c.status == 405 && answer.Header().Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
		if answer.Header().Get("X-Request-Id") == "" || answer.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: header %v", c.method, c.path, answer.Header())
		}
	}

	// Nobody's path becomes a label.
	families, err := b.options.Metrics.Gather()
	must(t, err)
	known := []string{"none", "/healthz", "/readyz"}
	for _, r := range routes {
		known = append(known, r.path)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" && !slices.Contains(known, l.GetValue()) {
					t.Errorf("%s has the route %q", f.GetName(), l.GetValue())
				}
			}
		}
	}
}

// away is the bed's store behind a line that has been cut.
func (b *bed) away() *clickhouse.DB {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b.t, err)
	ctx, cut := context.WithCancel(b.t.Context())
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", b.target.Addr)
			if err != nil {
				near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { near.Close(); far.Close() })
			go io.Copy(near, far)
			go io.Copy(far, near)
		}
	}()
	db, err := clickhouse.Open(b.t.Context(), clickhouse.Config{Addr: []string{listener.Addr().String()}, Database: b.target.Database, User: b.target.User, Password: b.target.Password}, slog.New(slog.DiscardHandler))
	must(b.t, err)
	b.t.Cleanup(func() { db.Close() })
	listener.Close()
	cut()
	return db
}

// A store that is away delays; it is neither an empty answer nor a mistake of ours.
func testStoreAway(t *testing.T, b *bed) {
	gone := b.options
	gone.Metrics = prometheus.NewRegistry()
	gone.DB = b.away()
	handler, err := New(gone)
	must(t, err)
	for _, path := range []string{"/v1/showback", "/v1/requests", "/v1/unpriced", "/v1/requests/" + b.ids[0].String(), "/readyz"} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Authorization", "Bearer "+b.keys[Admin])
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), `"store_away"`) || answer.Header().Get("Retry-After") == "" {
			t.Errorf("GET %s: %d %s", path, answer.Code, answer.Body)
		}
		if err := theDocument().conform(path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
	}
}

// A cursor goes with its question: the route, the filters and the period, also one that was left out and has moved with the clock.
func testCursorOfAnotherQuestion(t *testing.T, b *bed) {
	list := ask[requestsAnswer](b, Admin, "/v1/requests?limit=1&team=cards").NextCursor
	for _, path := range []string{"/v1/showback?team=cards", "/v1/requests?team=cards&format=openai.chat", "/v1/requests?team=lending", "/v1/requests?team=cards&from=2026-11-02"} {
		if status, _, body := b.get(b.keys[Admin], path+"&cursor="+list); status != 400 || !strings.Contains(string(body), "cursor: ") {
			t.Errorf("GET %s with another's cursor: %d %s", path, status, body)
		}
	}
	for _, same := range []string{"/v1/requests?limit=2&team=cards", "/v1/requests?team=cards&limit=1000"} {
		if status, _, body := b.get(b.keys[Admin], same+"&cursor="+list); status != 200 {
			t.Errorf("GET %s with its own cursor: %d %s", same, status, body)
		}
	}
	later := b.options
	later.Metrics, later.Now = prometheus.NewRegistry(), func() time.Time { return now.AddDate(0, 1, 0) }
	handler, err := New(later)
	must(t, err)
	request := httptest.NewRequest(http.MethodGet, "/v1/requests?limit=1&team=cards&cursor="+list, nil)
	request.Header.Set("Authorization", "Bearer "+b.keys[Admin])
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	if answer.Code != 400 {
		t.Errorf("a month later: %d %s", answer.Code, answer.Body)
	}
}

// Before anything is recorded there are answers, and they say that nothing is complete.
func testEmptyBooks(t *testing.T, b *bed) {
	empty := b.options
	target := embeddedtest.ClickHouse(t)
	var err error
	empty.DB, err = clickhouse.Open(t.Context(), clickhouse.Config{Addr: []string{target.Addr}, Database: target.Database, User: target.User, Password: target.Password}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { empty.DB.Close() })
	_, err = empty.DB.Migrate(t.Context())
	must(t, err)
	empty.Metrics = prometheus.NewRegistry()
	handler, err := New(empty)
	must(t, err)
	for _, path := range []string{"/v1/requests", "/v1/unpriced", "/v1/showback"} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Authorization", "Bearer "+b.keys[Admin])
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != 200 || !strings.Contains(answer.Body.String(), `[],`) || !strings.Contains(answer.Body.String(), `"as_of":"0","complete_through":null`) {
			t.Errorf("GET %s: %d %s", path, answer.Code, answer.Body)
		}
		if err := theDocument().conform(path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
	}
}

func TestFormulaSafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "risk": "risk", "a=b": "a=b", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1", "＝1": "'＝1",
	} {
		if got := formulaSafe(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// The names are a contract with whoever draws graphs of them.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	newMetrics(registry).answered("/v1/showback", 200, 3*time.Millisecond)
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	want := `# HELP ledgerline_api_panics_total Answers that ended in a mistake of the program; the log says where.
# TYPE ledgerline_api_panics_total counter
ledgerline_api_panics_total 0
# HELP ledgerline_api_requests_total Answers of the API by route and HTTP status.
# TYPE ledgerline_api_requests_total counter
ledgerline_api_requests_total{code="200",route="/v1/showback"} 1
# HELP ledgerline_api_seconds Time to answer by route.
# TYPE ledgerline_api_seconds histogram
`
	var got []string
	for line := range strings.Lines(answer.Body.String()) {
		if !strings.HasPrefix(line, "ledgerline_api_seconds") {
			got = append(got, line)
		}
	}
	if strings.Join(got, "") != want {
		t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, ""), want)
	}
}

// broken is a connection whose writing panics once the answer has begun.
type broken struct{ *httptest.ResponseRecorder }

func (b broken) Write([]byte) (int, error) { panic(errors.New("my-secret")) }

// A mistake in a handler ends that answer alone: with a problem, or where the answer has begun with a connection that is cut. The log says
// where it was and not what it said.
func testPanic(t *testing.T, b *bed) {
	var log bytes.Buffer
	o := b.options
	o.Metrics, o.Logger = prometheus.NewRegistry(), slog.New(slog.NewJSONHandler(&log, nil))
	w := &watched{Recorder: b.records, onRecord: func() { panic("my-secret") }}
	o.Recorder = w
	handler, err := New(o)
	must(t, err)
	ask := func(answer http.ResponseWriter, path string) (aborted any) {
		defer func() { aborted = recover() }()
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Authorization", "Bearer "+b.keys[Admin])
		handler.ServeHTTP(answer, request)
		return nil
	}
	path := "/v1/requests/" + b.ids[0].String()
	answer := httptest.NewRecorder()
	if aborted := ask(answer, path); aborted != nil || answer.Code != 500 || !strings.Contains(answer.Body.String(), `"internal"`) {
		t.Errorf("%d %s, %v", answer.Code, answer.Body, aborted)
	}
	if err := theDocument().conform(path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
		t.Error(err)
	}
	w.onRecord = func() { log.WriteString(fmt.Sprint([]int{}[len(w.events)])) } // what the runtime says names no value of ours
	if aborted := ask(httptest.NewRecorder(), path); aborted != nil {
		t.Error(aborted)
	}
	if aborted := ask(broken{httptest.NewRecorder()}, "/v1/showback?format=csv"); aborted != http.ErrAbortHandler {
		t.Errorf("half an answer ended with %v", aborted)
	}
	for _, want := range []string{`"panic":"string"`, `"panic":"runtime error: index out of range [2] with length 0"`, `"panic":"*errors.errorString"`, "testPanic", `"route":"/v1/requests/:id"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), "my-secret") || strings.Contains(log.String(), b.keys[Admin]) {
		t.Errorf("the log has a secret:\n%s", &log)
	}
	answer = httptest.NewRecorder()
	ask(answer, "/metrics")
	if !strings.Contains(answer.Body.String(), "ledgerline_api_panics_total 3\n") || !strings.Contains(answer.Body.String(), `ledgerline_api_requests_total{code="500",route="/v1/requests/:id"} 2`) {
		t.Errorf("metrics:\n%s", answer.Body)
	}
}
