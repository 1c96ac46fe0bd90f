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
	onWait           func()
	events           []event.Audit
}

func (w *watched) Record(ev *event.Event) (spool.Receipt, error) {
	w.events = append(w.events, *ev.Audit)
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
