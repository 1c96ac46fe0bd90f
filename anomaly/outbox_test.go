package anomaly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/governance"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// to moves the clock on, never back.
func (c *clock) to(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.at) {
		c.at = at
	}
}

func (c *clock) pass(d time.Duration) { c.to(c.now().Add(d)) }

// outboxBed is a real table, an imitated Slack and a clock.
type outboxBed struct {
	t     *testing.T
	db    *clickhouse.DB
	slack *slack
	clock *clock
	file  string // holds the address of channel ops
	log   *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func newOutboxBed(t *testing.T) *outboxBed {
	b := &outboxBed{t: t, db: ledgertest.Open(t), slack: newSlack(t), clock: &clock{at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}, log: &syncBuffer{}}
	b.slack.now = b.clock.now
	b.file = filepath.Join(t.TempDir(), "slack")
	b.point(b.slack.URL + "/services/T0/B0/Zq7secret\n")
	t.Cleanup(func() { // whatever a test did, the address is nowhere
		if strings.Contains(b.log.String(), "Zq7secret") {
			t.Errorf("the address is in the log:\n%s", b.log)
		}
		var rows []struct {
			Text string `ch:"text"`
		}
		if err := b.db.Select(context.Background(), &rows, "SELECT toString(tuple(*)) AS text FROM alerts"); err != nil {
			t.Error(err)
		}
		for _, r := range rows {
			if strings.Contains(r.Text, "Zq7secret") {
				t.Errorf("the address is in the table: %s", r.Text)
			}
		}
	})
	return b
}

// point makes an address that of channel ops.
func (b *outboxBed) point(address string) {
	b.t.Helper()
	if err := os.WriteFile(b.file, []byte(address), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *outboxBed) outbox(change ...func(*OutboxOptions)) *Outbox {
	o := OutboxOptions{
		Store: b.db, Now: b.clock.now, Logger: slog.New(slog.NewJSONHandler(b.log, nil)),
		Channel: func(id string) (*governance.Channel, bool) {
			c, ok := map[string]*governance.Channel{
				"ops": {ID: "ops", Kind: "slack", File: b.file}, "hook": {ID: "hook", Kind: "webhook", File: b.file}, "log": {ID: "log", Kind: "log"},
			}[id]
			return c, ok
		},
	}
	for _, f := range change {
		f(&o)
	}
	return NewOutbox(o)
}

func alert(n int) Alert {
	return Alert{Kind: "budget", Subject: fmt.Sprintf("cards %d", n), Channel: "ops", Owner: "head of cards", Title: fmt.Sprintf("Cards %d", n), Text: "80 % is spent",
		Facts: []Fact{{"Spent", "80 USD"}}, Why: []string{"kyc +20 USD"}, Next: "Nothing is blocked.", Link: "ledgerline budgets cards"}
}

// run delivers, moving the clock to when the outbox says, until nothing waits or the clock reaches until.
func (b *outboxBed) run(o *Outbox, until time.Time) {
	b.t.Helper()
	for range 10_000 {
		next, err := o.Deliver(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		if next.IsZero() || next.After(until) {
			b.clock.to(until)
			return
		}
		b.clock.to(next)
	}
	b.t.Fatal("it never ends")
}

// status is the alerts by subject.
func (b *outboxBed) status(states ...string) map[string]AlertStatus {
	b.t.Helper()
	list, err := Alerts(b.t.Context(), b.db, AlertQuery{States: states, Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	by := map[string]AlertStatus{}
	for _, s := range list {
		if _, twice := by[s.Subject]; twice {
			b.t.Errorf("alert %s is listed twice", s.Subject)
		}
		by[s.Subject] = s
	}
	return by
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An alert is told once, however often it is raised and by whom.
func TestOutboxTellsOnce(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	o := b.outbox()
	must(t, o.Raise(t.Context(), alert(1)))
	must(t, o.Raise(t.Context(), alert(1)))
	b.run(o, b.clock.now().Add(time.Hour))
	later := alert(1)
	later.Text = "81 % is spent"
	must(t, b.outbox().Raise(t.Context(), later)) // by another process, after a restart
	b.run(b.outbox(), b.clock.now().Add(time.Hour))
	got := b.slack.messages()
	if len(got) != 1 || got[0].id != AlertID("budget", "cards 1") || got[0].key != got[0].id || strings.Contains(got[0].text, "repeat") {
		t.Fatalf("%d messages: %+v", len(got), got)
	}
	if s := b.status()["cards 1"]; s.State != Delivered || s.Attempts != 1 || s.Outcome != "http 200" || s.Unsure || s.Text != "80 % is spent" {
		t.Errorf("%+v", s)
	}
}

// Of alerts raised together the gravest is told and covers the others; one that follows is told.
func TestOutboxTellsTheGravest(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	o := b.outbox()
	must(t, o.Raise(t.Context(), alert(80), alert(50)))
	must(t, o.Raise(t.Context(), alert(100), alert(80), alert(50)))
	must(t, o.Raise(t.Context(), alert(80), alert(50))) // spend fell below 100 again
	b.run(o, b.clock.now().Add(time.Hour))
	for subject, state := range map[string]string{"cards 100": Delivered, "cards 80": Delivered, "cards 50": Covered} {
		if s := b.status()[subject]; s.State != state {
			t.Errorf("%s is %q, want %s", subject, s.State, state)
		}
	}
	if n := len(b.slack.messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
	// The graver one is known and a lesser one is not, after a crash between the two: it is covered all the same.
	must(t, o.Raise(t.Context(), alert(100), alert(60)))
	if s := b.status()["cards 60"]; s.State != Covered {
		t.Errorf("60 is %q", s.State)
	}
}

// A webhook that is away for an hour costs nothing: each alert is delivered once when it is back, soon, and it was not stormed.
func TestOutboxWebhookAwayForAnHour(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*outboxBed) (back func()){
		"answers 503": func(b *outboxBed) func() {
			b.slack.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				http.Error(w, "service_unavailable", http.StatusServiceUnavailable)
				return true
			}
			return func() { b.slack.mu.Lock(); b.slack.answer = nil; b.slack.mu.Unlock() }
		},
		"nobody listens": func(b *outboxBed) func() {
			gone := httptest.NewServer(http.NotFoundHandler())
			b.point(gone.URL + "/services/T0/B0/Zq7secret")
			gone.Close()
			return func() { b.point(b.slack.URL + "/services/T0/B0/Zq7secret") }
		},
		"has no address": func(b *outboxBed) func() {
			os.Remove(b.file)
			return func() { b.point(b.slack.URL + "/services/T0/B0/Zq7secret") }
		},
		"is not the right one": func(b *outboxBed) func() {
			b.point(b.slack.URL + "/services/Zq7secret")
			return func() { b.point(b.slack.URL + "/services/T0/B0/Zq7secret") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newOutboxBed(t)
			o := b.outbox()
			back := away(b)
			for n := range 2 {
				must(t, o.Raise(t.Context(), alert(n)))
			}
			b.run(o, b.clock.now().Add(time.Hour))
			if len(b.slack.messages()) != 0 || len(b.status(Pending)) != 2 {
				t.Fatalf("delivered to nobody: %v", b.status())
			}
			for subject, s := range b.status() {
				if s.Attempts < 10 || s.Attempts > 40 {
					t.Errorf("%s was tried %d times in an hour", subject, s.Attempts)
				}
			}
			back()
			b.run(b.outbox(), b.clock.now().Add(longestPause+time.Minute)) // a restart loses nothing
			told := map[string]int{}
			for _, m := range b.slack.messages() {
				told[m.id]++
				if strings.Contains(m.text, "repeat") {
					t.Error("a message that cannot be a repeat says so")
				}
			}
			for n := range 2 {
				if told[AlertID("budget", alert(n).Subject)] != 1 {
					t.Errorf("alert %d: told %d times", n, told[AlertID("budget", alert(n).Subject)])
				}
			}
			if len(b.status(Delivered)) != 2 {
				t.Errorf("%v", b.status())
			}
		})
	}
}

// killedStore is a store whose process is killed around its n-th statement: before the store gets it, or after. From then on nothing works.
type killedStore struct {
	OutboxStore
	n      int
	before bool
	for1   bool // only that statement fails: the store was away for a moment
	calls  int
}

var errKilled = errors.New("killed")

func (k *killedStore) step(do func() error) error {
	k.calls++
	dies := k.calls == k.n || k.calls > k.n && !k.for1
	if dies && (k.before || k.calls > k.n) {
		return errKilled
	}
	err := do()
	if dies {
		return errKilled
	}
	return err
}

func (k *killedStore) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	return k.step(func() error { return k.OutboxStore.Insert(ctx, table, token, columns) })
}

func (k *killedStore) Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error {
	return k.step(func() error { return k.OutboxStore.Select(ctx, dest, query, args...) })
}

// A worker that is killed at any step loses no alert. It is told twice only when the kill fell between the message and the word of it,
// and then the second says so.
func TestOutboxKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		b := newOutboxBed(t)
		killed, repeats := 0, 0
		for n := 1; ; n++ {
			store := &killedStore{OutboxStore: b.db, n: n, before: before}
			o := b.outbox(func(o *OutboxOptions) { o.Store = store })
			err := o.Raise(t.Context(), alert(n))
			if err == nil {
				_, err = o.Deliver(t.Context())
			}
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			told := len(b.told(n))
			b.clock.pass(2 * Lease)
			again := b.outbox()
			must(t, again.Raise(t.Context(), alert(n)))
			b.run(again, b.clock.now().Add(time.Hour))
			got := b.told(n)
			if store.calls < n { // nothing was left to kill
				break
			}
			killed++
			switch {
			case len(got) == 1 && !strings.Contains(got[0].text, "repeat"):
			case len(got) == 2 && told == 1 && strings.Contains(got[1].text, "may be a repeat"):
				repeats++
			case len(got) == 1 && told == 0: // killed after the claim: nobody can know that nothing was sent
			default:
				t.Errorf("killed at step %d (before it: %v): %d messages, %d before the kill: %+v", n, before, len(got), told, got)
			}
			if s := b.status()[alert(n).Subject]; s.State != Delivered {
				t.Errorf("killed at step %d: %+v", n, s)
			}
		}
		if killed < 8 || repeats != map[bool]int{true: 1, false: 0}[before] {
			t.Errorf("before %v: %d steps, %d repeats", before, killed, repeats)
		}
	}
}

// told is the messages of an alert.
func (b *outboxBed) told(n int) (told []slackTaken) {
	for _, m := range b.slack.messages() {
		if m.id == AlertID("budget", alert(n).Subject) {
			told = append(told, m)
		}
	}
	return told
}

// A store that is away for a statement, at any step, makes the same worker tell nothing twice.
func TestOutboxStoreAwayAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		b := newOutboxBed(t)
		for n := 1; ; n++ {
			store := &killedStore{OutboxStore: b.db, n: n, before: before, for1: true}
			o := b.outbox(func(o *OutboxOptions) { o.Store = store })
			for range 4 {
				if err := o.Raise(t.Context(), alert(n)); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if _, err := o.Deliver(t.Context()); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				b.clock.pass(2 * time.Second)
			}
			if got := b.told(n); len(got) != 1 || strings.Contains(got[0].text, "repeat") {
				t.Errorf("away at step %d (before it: %v): %+v", n, before, got)
			}
			if s := b.status()[alert(n).Subject]; s.State != Delivered {
				t.Errorf("away at step %d: %+v", n, s)
			}
			if store.calls < n {
				break
			}
		}
	}
}

// Several processes that raise and deliver at once tell each alert once.
func TestOutboxSeveralWorkersAtOnce(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	const alerts = 12
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			o := b.outbox()
			for n := range alerts {
				if err := o.Raise(t.Context(), alert(n)); err != nil {
					t.Error(err)
				}
			}
			for range 1000 {
				next, err := o.Deliver(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if next.IsZero() {
					return
				}
				// Not over a lease that another worker holds: its sending is under way.
				if next.Sub(b.clock.now()) < Lease/2 {
					b.clock.to(next)
				}
			}
			t.Error("it never ends")
		})
	}
	workers.Wait()
	told := map[string]int{}
	for _, m := range b.slack.messages() {
		told[m.id]++
		if strings.Contains(m.text, "repeat") {
			t.Error("a repeat without a failure")
		}
	}
	for n := range alerts {
		if times := told[AlertID("budget", alert(n).Subject)]; times != 1 {
			t.Errorf("alert %d was told %d times", n, times)
		}
	}
	if got := b.status(Delivered); len(got) != alerts {
		t.Errorf("%d delivered: %v", len(got), b.status())
	}
}

// Not more than one message a second goes to a webhook; what it says of when to come back holds for the whole channel, across restarts.
func TestOutboxKeepsThePace(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	o := b.outbox()
	for n := range 5 {
		must(t, o.Raise(t.Context(), alert(n)))
	}
	other := alert(9)
	other.Channel = "log" // not held up
	must(t, o.Raise(t.Context(), other))
	began := b.clock.now()
	for range 3 { // a restart does not know less
		if _, err := b.outbox().Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if b.slack.asked != 1 {
		t.Errorf("%d messages in the same instant", b.slack.asked)
	}
	b.run(o, began.Add(time.Minute))
	if b.slack.asked != 5 || len(b.slack.messages()) != 5 {
		t.Fatalf("%d of %d messages taken", len(b.slack.messages()), b.slack.asked)
	}
	if next, err := o.Deliver(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("something waits until %s: %v", next, err)
	}
	for name, header := range map[string]func() string{
		"seconds": func() string { return "120" },
		"a date":  func() string { return b.clock.now().Add(121 * time.Second).Format(http.TimeFormat) },
	} {
		b.slack.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", header())
			http.Error(w, "ratelimited", http.StatusTooManyRequests)
			b.slack.mu.Lock()
			b.slack.answer = nil
			b.slack.mu.Unlock()
			return true
		}
		asked := b.slack.asked
		must(t, o.Raise(t.Context(), withSubject(alert(0), name)))
		must(t, o.Raise(t.Context(), withSubject(alert(0), name+" too")))
		limited := b.clock.now()
		if _, err := o.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		o = b.outbox()
		b.run(o, limited.Add(119*time.Second))
		if b.slack.asked != asked+1 {
			t.Errorf("%s: asked %d times within the two minutes that it asked for", name, b.slack.asked-asked)
		}
		b.run(o, limited.Add(4*time.Minute))
		if s := b.status(); s[name].State != Delivered || s[name+" too"].State != Delivered || s[name].Unsure {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func withSubject(a Alert, subject string) Alert {
	a.Subject = subject
	return a
}

// What is given up stays visible and can be revived: at once when the message is refused for good, after a day otherwise.
func TestOutboxDeadLetters(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	registry := prometheus.NewRegistry()
	o := b.outbox(func(o *OutboxOptions) { o.Metrics = NewOutboxMetrics(registry) })
	status := http.StatusBadRequest
	b.slack.answer = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "invalid_payload", status)
		return true
	}
	must(t, o.Raise(t.Context(), alert(1)))
	b.run(o, b.clock.now().Add(time.Minute))
	if s := b.status(Dead)["cards 1"]; s.State != Dead || s.Attempts != 1 || s.Outcome != "http 400 invalid_payload" {
		t.Fatalf("refused for good: %+v", b.status())
	}
	status = http.StatusForbidden
	must(t, o.Raise(t.Context(), alert(2)))
	raised := b.clock.now()
	for b.clock.now().Sub(raised) < GiveUp-time.Hour {
		if _, err := o.Deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.pass(time.Hour)
	}
	b.run(o, raised.Add(GiveUp-time.Minute))
	if s := b.status()["cards 2"]; s.State != Pending || s.Attempts < 24 {
		t.Errorf("within a day: %+v", s)
	}
	b.run(o, b.clock.now().Add(10*time.Minute))
	if s := b.status()["cards 2"]; s.State != Dead || s.Outcome != "http 403 invalid_payload" {
		t.Errorf("after a day: %+v", s)
	}
	if n := gauge(t, registry, "ledgerline_alerts_dead"); n != 2 {
		t.Errorf("the metric says %v are dead", n)
	}
	b.slack.answer = nil
	for _, n := range []int{1, 2} {
		if ok, err := o.Revive(t.Context(), AlertID("budget", alert(n).Subject)); err != nil || !ok {
			t.Errorf("revive %d: %v, %v", n, ok, err)
		}
	}
	if ok, err := o.Revive(t.Context(), AlertID("budget", alert(1).Subject)); err != nil || ok {
		t.Errorf("revive what is pending: %v, %v", ok, err)
	}
	b.run(o, b.clock.now().Add(time.Minute))
	if len(b.status(Delivered)) != 2 || len(b.slack.messages()) != 2 || gauge(t, registry, "ledgerline_alerts_dead") != 0 || gauge(t, registry, "ledgerline_alerts_waiting") != 0 {
		t.Errorf("revived: %+v", b.status())
	}
}

func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// No answer, half an answer and an answer of somebody else are no delivery; what may have arrived is marked when it is sent again.
func TestOutboxAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer  func(w http.ResponseWriter, r *http.Request)
		outcome string
		unsure  bool
	}{
		"hangs": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout", true},
		"cuts the connection": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}, "no answer", true},
		"a page that says 200": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>Zq7secret") }, "http 200", true},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere/Zq7secret", http.StatusFound)
		}, "http 302", false},
		"500":        {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "rollup_error", 500) }, "http 500 rollup_error", true},
		"no_service": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no_service", 404) }, "http 404 no_service", false},
		"quotes the address": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "cannot find "+r.URL.Path, 404)
		}, "http 404", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newOutboxBed(t)
			o := b.outbox(func(o *OutboxOptions) { o.Timeout = 200 * time.Millisecond })
			b.slack.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					tt.answer(w, r)
				}
				return n == 1
			}
			must(t, o.Raise(t.Context(), alert(1)))
			if _, err := o.Deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := b.status()["cards 1"]; s.State != Pending || s.Outcome != tt.outcome || s.Unsure != tt.unsure {
				t.Errorf("%+v", s)
			}
			b.run(b.outbox(), b.clock.now().Add(time.Hour))
			if got := b.slack.messages(); len(got) != 1 || strings.Contains(got[0].text, "may be a repeat") != tt.unsure || b.slack.asked != 2 {
				t.Errorf("asked %d times: %+v", b.slack.asked, got)
			}
		})
	}
}

// A generic webhook gets the alert as JSON with its id, a log its values; a channel that is not there is waited for.
func TestOutboxOtherChannels(t *testing.T) {
	t.Parallel()
	b := newOutboxBed(t)
	var body []byte
	var header http.Header
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(hook.Close)
	b.point(hook.URL)
	o := b.outbox()
	for _, channel := range []string{"hook", "log", "nowhere"} {
		a := withSubject(alert(1), channel)
		a.Channel = channel
		must(t, o.Raise(t.Context(), a))
	}
	b.run(o, b.clock.now().Add(time.Minute))
	var got map[string]any
	must(t, json.Unmarshal(body, &got))
	if id := AlertID("budget", "hook"); got["id"] != id || header.Get("Idempotency-Key") != id || got["title"] != "Cards 1" || got["repeat"] != false || len(got) != 13 {
		t.Errorf("the webhook got %s", body)
	}
	if !strings.Contains(b.log.String(), `"msg":"alert","alert_id":"`+AlertID("budget", "log")) {
		t.Errorf("the log has\n%s", b.log)
	}
	s := b.status()
	if s["hook"].State != Delivered || s["hook"].Outcome != "http 202" || s["log"].State != Delivered || s["nowhere"].State != Pending || s["nowhere"].Outcome != "no channel" {
		t.Errorf("%+v", s)
	}
}

// Attempts come further and further apart, never all at once, and never before the time that a channel named.
func TestPause(t *testing.T) {
	for attempt := uint32(1); attempt < 3000; attempt++ {
		p := pause("a", attempt, 0)
		longest := longestPause
		if attempt <= 8 {
			longest = min(firstPause<<(attempt-1), longestPause)
		}
		if p < longest/2 || p > longest {
			t.Fatalf("attempt %d waits %s, want %s to %s", attempt, p, longest/2, longest)
		}
		if after := pause("a", attempt, time.Hour); after < time.Hour || after > time.Hour+longestPause {
			t.Fatalf("attempt %d waits %s of an hour", attempt, after)
		}
	}
	if pause("a", 9, 0) == pause("b", 9, 0) || pause("a", 9, 0) == pause("a", 10, 0) {
		t.Error("no jitter")
	}
	if p := pause("a", 1, 1000*time.Hour); p > longestRetryAfter+longestPause {
		t.Errorf("waits %s because a channel said so", p)
	}
}
