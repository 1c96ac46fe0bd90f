package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// watched is a spool that is looked at, or that fails, in the middle of an answer.
type watched struct {
	Recorder
	recorded, waited error // what Record and Wait give instead
	onWait, onRecord func()
	events           []event.Audit
}

func (w *watched) Record(ev *event.Event) (spool.Receipt, error) {
	w.events = append(w.events, *ev.Audit)
	if w.onRecord != nil {
		w.onRecord()
	}
	if w.recorded != nil {
		return spool.Receipt{}, w.recorded
	}
	return w.Recorder.Record(ev)
}

func (w *watched) Wait(r spool.Receipt, timeout time.Duration) error {
	if w.onWait != nil {
		w.onWait()
	}
	return errors.Join(w.Recorder.Wait(r, timeout), w.waited)
}

// No entry, no act: a call is answered after its reading is durable, and not at all when it cannot be recorded.
func testReadIsRecordedBeforeItIsAnswered(t *testing.T, b *bed) {
	unknown := event.NewID(event.At(now))
	for name, c := range map[string]struct {
		id               event.ID
		recorded, waited error
		status           int
		outcome          string
	}{
		"recorded":                  {b.ids[0], nil, nil, 200, "done"},
		"unknown":                   {unknown, nil, nil, 404, "refused"},
		"spool is full":             {b.ids[0], spool.ErrFull, nil, 503, "done"},
		"not durable":               {b.ids[0], nil, spool.ErrTimeout, 503, "done"},
		"unknown, and not recorded": {unknown, spool.ErrFailed, nil, 503, "refused"},
	} {
		o := b.options
		w := &watched{Recorder: b.records, recorded: c.recorded, waited: c.waited}
		o.Recorder, o.Metrics = w, prometheus.NewRegistry()
		handler, err := New(o)
		must(t, err)
		answer := httptest.NewRecorder()
		waited := false
		w.onWait = func() {
			waited = true
			if answer.Body.Len() > 0 || answer.Flushed || answer.Header().Get("Content-Type") != "" {
				t.Errorf("%s: answered before it was durable: %s", name, answer.Body)
			}
		}
		request := httptest.NewRequest(http.MethodGet, "/v1/requests/"+c.id.String(), nil)
		request.Header.Set("Authorization", "Bearer "+b.keys[Compliance])
		handler.ServeHTTP(answer, request)
		body := answer.Body.String()
		if answer.Code != c.status || strings.Contains(body, "Because") != (c.status == 200) || waited != (c.recorded == nil) {
			t.Errorf("%s: %d %s", name, answer.Code, body)
		}
		if c.status == 503 && (!strings.Contains(body, "not_recorded") || answer.Header().Get("Retry-After") == "" || strings.Contains(body, "no_such")) {
			t.Errorf("%s: %s", name, body)
		}
		key, _ := b.options.Keys.Find(b.keys[Compliance])
		want := event.Audit{Actor: key.ID, Action: "GET /v1/requests/{id}", Object: c.id.String(), Outcome: c.outcome}
		if len(w.events) != 1 || w.events[0] != want {
			t.Errorf("%s: recorded %+v, want %+v", name, w.events, want)
		}
		if err := theDocument().conform(request.URL.Path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who may not read a call leaves a trace of having tried, and gets no answer when that cannot be recorded. What is not audited when it is
// read is not audited when it is refused, and of a path that is no id nothing is kept.
func testRefusedReadIsRecorded(t *testing.T, b *bed) {
	for name, c := range map[string]struct {
		path     string
		scope    Scope
		recorded error
		status   int
		object   string
		events   int
	}{
		"refused":            {"/v1/requests/" + b.ids[0].String(), Finance, nil, 403, b.ids[0].String(), 1},
		"cannot be recorded": {"/v1/requests/" + b.ids[0].String(), Operator, spool.ErrFull, 503, b.ids[0].String(), 1},
		"no id":              {"/v1/requests/my-secret", Finance, nil, 403, "", 1},
		"a list":             {"/v1/requests", Operator, nil, 403, "", 0},
		"nobody":             {"/v1/requests/" + b.ids[0].String(), "", nil, 401, "", 0},
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
		if answer.Code != c.status || len(w.events) != c.events {
			t.Errorf("%s: %d %s, recorded %+v", name, answer.Code, answer.Body, w.events)
		}
		key, _ := b.options.Keys.Find(b.keys[c.scope])
		want := event.Audit{Actor: key.ID, Action: "GET /v1/requests/{id}", Object: c.object, Reason: "scope_missing", Outcome: "refused"}
		if len(w.events) == 1 && w.events[0] != want {
			t.Errorf("%s: recorded %+v, want %+v", name, w.events[0], want)
		}
		if err := theDocument().conform(c.path, answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
