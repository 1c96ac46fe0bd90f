package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// review is a call of kyc-review that declares a dataset.
func (b *bed) review(at time.Time, dataset string) *event.Event {
	ev := b.call(at, 1)
	r := ev.Request
	r.Attribution.UseCase.Value, r.Coverage = "kyc-review", "declared"
	r.Sources = []event.Source{{Namespace: "snowflake://example-eu1", Name: dataset, Version: "7", Evidence: "declared"}}
	return ev
}

const coreCustomers = "postgres://core.internal.example:5432|core.public.customers"

// One answer traced to its tables, and back from the table to all answers that it fed, through the ingest.
func TestTrace(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var ids []string
	for i := range 5 {
		ev := b.review(now.Add(time.Duration(i-10)*time.Second), "KYC.STAGE.CUSTOMERS")
		b.publish(ev)
		ids = append([]string{ev.ID.String()}, ids...)
	}
	got := ask[traceAnswer](b, Compliance, "/v1/trace/"+ids[0])
	if got.Subject.RequestID != ids[0] || got.Decision.ModelServed != "gpt-5-mini" || got.Decision.Why != "Because." || got.Completeness.Requirement != "required" ||
		len(got.Nodes) != 6 || got.Nodes[0].Owner != "head of customer data" || got.Edges[0].Version != "7" || got.AsOf == "" || got.CompleteThrough == nil || got.ElapsedUS <= 0 {
		t.Errorf("%+v", got)
	}
	if cut := ask[traceAnswer](b, Admin, "/v1/trace/"+ids[0]+"?depth=1&max_nodes=1"); !reflect.DeepEqual(cut.Completeness.TruncatedBy, []string{"nodes", "depth"}) || !cut.Completeness.Truncated || len(cut.Nodes) != 1 {
		t.Errorf("%+v", cut.Completeness)
	}

	outputs := "/v1/sources/" + url.PathEscape(coreCustomers) + "/outputs?from=2026-11-20&to=2026-11-21&limit=2"
	var fed []string
	asOf, next := "", ""
	for page := 0; ; page++ {
		a := ask[outputsAnswer](b, Compliance, outputs+next)
		if asOf == "" {
			asOf = a.AsOf
		}
		if a.AsOf != asOf || a.Dataset != coreCustomers {
			t.Errorf("page %d is as of %s, of %s", page, a.AsOf, a.Dataset)
		}
		for _, o := range a.Outputs {
			fed = append(fed, o.RequestID)
			if want := []string{coreCustomers, "snowflake://example-eu1|KYC.STAGE.CUSTOMERS"}; !reflect.DeepEqual(o.Via, want) || o.Evidence != "declared" || o.UseCase != "kyc-review" {
				t.Errorf("%+v", o)
			}
		}
		if page == 0 { // what arrives meanwhile is not in the pages
			b.publish(b.review(now.Add(-7*time.Second-time.Millisecond), "KYC.STAGE.CUSTOMERS"))
		}
		if a.NextCursor == "" {
			break
		}
		next = "&cursor=" + a.NextCursor
	}
	if !reflect.DeepEqual(fed, ids) {
		t.Errorf("fed %v, want %v", fed, ids)
	}
	if all := ask[outputsAnswer](b, Compliance, strings.Replace(outputs, "limit=2", "limit=100", 1)); len(all.Outputs) != 6 {
		t.Errorf("afterwards %d outputs", len(all.Outputs))
	}
	if then := ask[outputsAnswer](b, Compliance, strings.Replace(outputs, "limit=2", "limit=100", 1)+"&as_of="+asOf); len(then.Outputs) != 5 {
		t.Errorf("as of before %d outputs", len(then.Outputs))
	}
	other := strings.Replace(outputs, "customers", "accounts", 1)
	if status, _, body := b.get(b.keys[Compliance], other+next); status != http.StatusBadRequest || !strings.Contains(string(body), "not a cursor of this query") {
		t.Errorf("a cursor of another dataset: %d %s", status, body)
	}
}

// Each reading is recorded before it is answered, also one of what is not there, one that is refused, and one that cannot be recorded.
func TestTraceIsRecorded(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id, unknown := b.ids[0].String(), event.NewID(event.At(now)).String()
	dataset := "/v1/sources/" + url.PathEscape(coreCustomers) + "/outputs"
	for name, c := range map[string]struct {
		path     string
		scope    Scope
		recorded error
		status   int
		audit    event.Audit
	}{
		"a trace":             {"/v1/trace/" + id, Compliance, nil, 200, event.Audit{Action: "GET /v1/trace/{id}", Object: id, Outcome: "done"}},
		"of nothing":          {"/v1/trace/" + unknown, Compliance, nil, 404, event.Audit{Action: "GET /v1/trace/{id}", Object: unknown, Outcome: "refused"}},
		"refused":             {"/v1/trace/" + id, Finance, nil, 403, event.Audit{Action: "GET /v1/trace/{id}", Object: id, Reason: "scope_missing", Outcome: "refused"}},
		"not recorded":        {"/v1/trace/" + id, Compliance, spool.ErrFull, 503, event.Audit{Action: "GET /v1/trace/{id}", Object: id, Outcome: "done"}},
		"outputs":             {dataset, Admin, nil, 200, event.Audit{Action: "GET /v1/sources/{id}/outputs", Object: coreCustomers, Outcome: "done"}},
		"outputs, refused":    {dataset, Operator, nil, 403, event.Audit{Action: "GET /v1/sources/{id}/outputs", Object: coreCustomers, Reason: "scope_missing", Outcome: "refused"}},
		"outputs of no name":  {"/v1/sources/my-secret/outputs", Operator, nil, 403, event.Audit{Action: "GET /v1/sources/{id}/outputs", Reason: "scope_missing", Outcome: "refused"}},
		"outputs, unrecorded": {dataset, Compliance, spool.ErrFailed, 503, event.Audit{Action: "GET /v1/sources/{id}/outputs", Object: coreCustomers, Outcome: "done"}},
	} {
		o := b.options
		w := &watched{Recorder: b.records, recorded: c.recorded}
		o.Recorder, o.Metrics = w, prometheus.NewRegistry()
		handler, err := New(o)
		must(t, err)
		request := httptest.NewRequest(http.MethodGet, c.path, nil)
		request.Header.Set("Authorization", "Bearer "+b.keys[c.scope])
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		key, _ := b.options.Keys.Find(b.keys[c.scope])
		c.audit.Actor = key.ID
		if answer.Code != c.status || len(w.events) != 1 || w.events[0] != c.audit {
			t.Errorf("%s: %d %s, recorded %+v", name, answer.Code, answer.Body, w.events)
		}
		if c.status != 200 && strings.Contains(answer.Body.String(), "Because") {
			t.Errorf("%s: answered %s", name, answer.Body)
		}
		if err := theDocument().conform(c.path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for path, want := range map[string]string{
		"/v1/trace/nothing": "id", "/v1/trace/" + id + "?depth=0": "depth", "/v1/trace/" + id + "?depth=33": "depth", "/v1/trace/" + id + "?max_nodes=5001": "max_nodes",
		"/v1/sources/nothing/outputs": "id", "/v1/sources/a%7Cb%0A/outputs": "id", "/v1/sources/a%7C/outputs": "id", "/v1/sources/a%7C%ff/outputs": "id",
		"/v1/sources/a%7C" + strings.Repeat("n", 511) + "/outputs": "id", "/v1/sources/a%7Cb/outputs?cursor=x": "cursor", "/v1/sources/a%7Cb/outputs?as_of=4000000000000000000": "as_of",
	} {
		status, _, body := b.get(b.keys[Compliance], path)
		if status != http.StatusBadRequest || !strings.Contains(string(body), `"detail":"`+want+": ") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
