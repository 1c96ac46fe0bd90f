package anomaly

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/sql"
)

// States of an alert.
const (
	Pending   = "pending"   // to be sent when it is due
	Sending   = "sending"   // a worker has it alone until it is due
	Delivered = "delivered" // the channel said that it has it
	Dead      = "dead"      // given up, until somebody revives it
	Covered   = "covered"   // told by a graver alert that was raised with it
)

// OutboxStore keeps the outbox: a *clickhouse.DB.
type OutboxStore interface {
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
	Select(ctx context.Context, dest any, query string, args ...clickhouse.Arg) error
}

// OutboxOptions of an outbox.
type OutboxOptions struct {
	Store   OutboxStore
	Channel func(id string) (*governance.Channel, bool) // where alerts go now
	Now     func() time.Time
	Logger  *slog.Logger
	Timeout time.Duration  // of one sending; 0: 10 s
	Metrics *OutboxMetrics // nil: none
}

// Outbox tells alerts to people, each once, through crashes and with several
// workers at once: what is told is decided by rows of a table.
//
// A worker claims an alert by writing the next row of it; the store lets only
// the first of two rows with one number in. Then it sends, then it writes how
// that ended. Nobody can send and write in one step: a worker that dies between
// the two leaves a claim, which lapses after [Lease], and the alert is sent
// again. That second message says that it may be a repeat, and every message
// carries the alert's id (a webhook also gets it as Idempotency-Key).
//
// An Outbox is used by one goroutine.
type Outbox struct {
	OutboxOptions
	client     *http.Client
	worker     string // of this outbox, random
	unrecorded []row  // outcomes that the store did not take yet
}

const (
	// Lease is how long a claim holds without a word: longer than a sending can take.
	Lease = time.Minute
	// Pace is the least time between two sendings to a channel: Slack takes one a second from a webhook.
	Pace = time.Second
	// GiveUp is how long sendings are tried before an alert is dead.
	GiveUp = 24 * time.Hour

	firstPause, longestPause = 2 * time.Second, 5 * time.Minute
	longestRetryAfter        = 6 * time.Hour
)

// NewOutbox makes an outbox; it reads and writes nothing yet.
func NewOutbox(o OutboxOptions) *Outbox {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	id := make([]byte, 8)
	rand.Read(id)
	// No redirect is followed: it would take the message where nobody said it may go.
	client := &http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Outbox{OutboxOptions: o, client: client, worker: hex.EncodeToString(id)}
}

// row is the newest row of an alert, without the message.
type row struct {
	AlertID string `ch:"alert_id"`
	Number  uint32 `ch:"number"`
	State   string `ch:"state"`
	Kind    string `ch:"kind"`
	Subject string `ch:"subject"`
	Channel string `ch:"channel"`
	Attempt uint32 `ch:"attempt"`
	Outcome string `ch:"outcome"`
	Unsure  bool   `ch:"unsure"`
	Worker  string `ch:"worker"`
	Due     int64  `ch:"due"`      // µs
	Raised  int64  `ch:"raised"`   // µs
	Since   int64  `ch:"since_us"` // µs
}

// Raise records alerts of one matter, the gravest first, unless they are known:
// the first becomes pending, the others are covered by it. Raising the same
// again, also by another process, changes nothing. ID and RaisedAt are set here.
func (o *Outbox) Raise(ctx context.Context, alerts ...Alert) error {
	ids := make([]string, len(alerts))
	for i := range alerts {
		ids[i] = AlertID(alerts[i].Kind, alerts[i].Subject)
	}
	known, err := o.known(ctx, ids)
	if err != nil {
		return err
	}
	now := o.Now().UTC().Truncate(time.Microsecond)
	for i, a := range alerts {
		if known[ids[i]] {
			continue
		}
		a.ID, a.RaisedAt, a.Facts, a.Why = ids[i], now, append([]Fact{}, a.Facts...), append([]string{}, a.Why...)
		text, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("raise alert %s: %w", a.Subject, err)
		}
		r := row{AlertID: a.ID, State: Pending, Kind: a.Kind, Subject: a.Subject, Channel: a.Channel, Due: now.UnixMicro(), Raised: now.UnixMicro(), Since: now.UnixMicro()}
		if i > 0 {
			r.State = Covered
		}
		if err := o.write(ctx, r, string(text)); err != nil {
			return fmt.Errorf("raise alert %s: %w", a.Subject, err)
		}
		o.Metrics.raised(a.Kind, r.State)
		o.Logger.Info("alert raised", "alert_id", a.ID, "subject", a.Subject, "channel", a.Channel, "state", r.State)
	}
	return nil
}

func (o *Outbox) known(ctx context.Context, ids []string) (map[string]bool, error) {
	var rows []struct {
		ID string `ch:"alert_id"`
	}
	if err := o.Store.Select(ctx, &rows, sql.Query("alert_known"), clickhouse.Param("ids", ids)); err != nil {
		return nil, fmt.Errorf("look up %d alerts: %w", len(ids), err)
	}
	known := make(map[string]bool, len(rows))
	for _, r := range rows {
		known[r.ID] = true
	}
	return known, nil
}

// Deliver sends what is due, one alert a channel, and returns when to call it
// again; zero: nothing waits. An error is the store's: what was sent and could
// not be recorded is recorded by the next call, not sent again.
func (o *Outbox) Deliver(ctx context.Context) (next time.Time, err error) {
	for len(o.unrecorded) > 0 {
		if err := o.write(ctx, o.unrecorded[0], ""); err != nil {
			return time.Time{}, err
		}
		o.unrecorded = o.unrecorded[1:]
	}
	open, err := o.open(ctx)
	if err != nil || len(open) == 0 {
		return time.Time{}, err
	}
	free, err := o.free(ctx, open)
	if err != nil {
		return time.Time{}, err
	}
	wait := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, r := range open {
		now := o.Now()
		due := time.UnixMicro(r.Due)
		if r.State == Sending && r.Worker == o.worker { // the claim was written though the store said otherwise, and nothing was sent
			due = now
		}
		if free[r.Channel].After(due) {
			due = free[r.Channel]
		}
		if due.After(now) {
			wait(due)
			continue
		}
		claimed, err := o.claim(ctx, &r)
		if err != nil {
			return time.Time{}, err
		}
		free[r.Channel] = now.Add(Pace)
		if !claimed { // another worker was first
			wait(free[r.Channel])
			continue
		}
		if err := o.send(ctx, r); err != nil {
			return time.Time{}, err
		}
		wait(o.Now().Add(Pace))
	}
	return next, nil
}

// open is the alerts that wait, oldest first.
func (o *Outbox) open(ctx context.Context) ([]row, error) {
	var rows []row
	if err := o.Store.Select(ctx, &rows, sql.Query("alert_open")); err != nil {
		return nil, err
	}
	var dead uint64
	var since time.Time
	open := rows[:0]
	for _, r := range rows {
		if r.State == Dead {
			dead++
			continue
		}
		if at := time.UnixMicro(r.Since); since.IsZero() || at.Before(since) {
			since = at
		}
		open = append(open, r)
	}
	o.Metrics.found(uint64(len(open)), dead, since, o.Now())
	return open, nil
}

// free is from when on each channel takes a sending: a pace after the last one, whoever began it, and not before a time that it named.
func (o *Outbox) free(ctx context.Context, open []row) (map[string]time.Time, error) {
	var began []struct {
		Channel string `ch:"channel"`
		Began   int64  `ch:"began"`
	}
	if err := o.Store.Select(ctx, &began, sql.Query("alert_sendings"), clickhouse.Param("after", o.Now().Add(-Pace).UnixMicro())); err != nil {
		return nil, err
	}
	free := map[string]time.Time{}
	for _, b := range began {
		free[b.Channel] = time.UnixMicro(b.Began).Add(Pace)
	}
	for _, r := range open {
		if due := time.UnixMicro(r.Due); r.State == Pending && r.Outcome == tooMany && due.After(free[r.Channel]) {
			free[r.Channel] = due
		}
	}
	return free, nil
}

// claim makes r the sending of this worker, or reports that it is another's.
func (o *Outbox) claim(ctx context.Context, r *row) (bool, error) {
	if r.State == Sending && r.Worker != o.worker { // its worker was not heard of again
		r.Unsure = true
	}
	r.Number++
	r.State, r.Worker, r.Attempt = Sending, o.worker, r.Attempt+1
	r.Due = o.Now().Add(Lease).UnixMicro()
	if err := o.write(ctx, *r, ""); err != nil {
		return false, err
	}
	winner, _, err := o.read(ctx, r.AlertID, r.Number)
	return winner == o.worker, err
}

// send sends a claimed alert and records how it went.
func (o *Outbox) send(ctx context.Context, r row) error {
	_, text, err := o.read(ctx, r.AlertID, 0)
	if err != nil {
		return err
	}
	left := time.UnixMicro(r.Due).Sub(o.Now())
	if left < Lease/2 { // the store took so long that another worker may soon be at it
		return nil
	}
	var a Alert
	end := result{outcome: "unreadable", final: true}
	if end.err = json.Unmarshal([]byte(text), &a); end.err == nil {
		end = o.post(ctx, &a, r.Unsure)
	}
	now := o.Now()
	r.Number++
	r.Outcome, r.Unsure = end.outcome, r.Unsure || end.unsure
	since := now.Sub(time.UnixMicro(r.Since))
	switch {
	case end.err == nil:
		r.State, r.Due = Delivered, now.UnixMicro()
		o.Logger.Info("alert delivered", "alert_id", r.AlertID, "subject", r.Subject, "channel", r.Channel, "attempt", r.Attempt)
	case end.final || since >= GiveUp:
		r.State, r.Due = Dead, now.UnixMicro()
		o.Logger.Error("alert given up; ledgerline alerts --revive sends it again", "alert_id", r.AlertID, "subject", r.Subject, "channel", r.Channel, "attempt", r.Attempt, "err", end.err)
	default:
		r.State, r.Due = Pending, now.Add(pause(r.AlertID, r.Attempt, end.after)).UnixMicro()
		o.Logger.Warn("alert not delivered; it is tried again", "alert_id", r.AlertID, "subject", r.Subject, "channel", r.Channel, "attempt", r.Attempt,
			"due", time.UnixMicro(r.Due).UTC(), "err", end.err)
	}
	o.Metrics.sent(r.State)
	// A POST that was cancelled with ctx is an outcome too: it is written all the same.
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := o.write(record, r, ""); err != nil {
		o.unrecorded = append(o.unrecorded, r)
		return err
	}
	return nil
}

// pause is how long to wait before the next attempt: doubling, between half and all of it so that alerts that failed together do not
// come back together, and not before the time that the channel named.
func pause(id string, attempt uint32, after time.Duration) time.Duration {
	p := longestPause
	if attempt < 16 {
		p = min(firstPause<<(max(attempt, 1)-1), longestPause)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", id, attempt)
	jitter := time.Duration(h.Sum64() % uint64(p/2))
	return max(p/2+jitter, min(after, longestRetryAfter)+jitter/8)
}

// Revive makes a dead alert pending again. It reports false when the alert is not dead.
func (o *Outbox) Revive(ctx context.Context, id string) (bool, error) {
	list, err := Alerts(ctx, o.Store, AlertQuery{ID: id, States: []string{Dead}, Limit: 1})
	if err != nil || len(list) == 0 {
		return false, err
	}
	s, now := list[0], o.Now()
	r := row{AlertID: id, Number: s.number + 1, State: Pending, Kind: s.Kind, Subject: s.Subject, Channel: s.Channel, Attempt: uint32(s.Attempts), Outcome: s.Outcome,
		Unsure: s.Unsure, Due: now.UnixMicro(), Raised: s.RaisedAt.UnixMicro(), Since: now.UnixMicro()}
	if err := o.write(ctx, r, ""); err != nil {
		return false, fmt.Errorf("revive alert %s: %w", id, err)
	}
	return true, nil
}

// write adds a row. One with the same number that is there already stays.
func (o *Outbox) write(ctx context.Context, r row, alert string) error {
	return o.Store.Insert(ctx, "alerts", r.AlertID+"#"+strconv.FormatUint(uint64(r.Number), 10), []clickhouse.Column{
		{Name: "alert_id", Data: []string{r.AlertID}}, {Name: "number", Data: []uint32{r.Number}}, {Name: "state", Data: []string{r.State}},
		{Name: "kind", Data: []string{r.Kind}}, {Name: "subject", Data: []string{r.Subject}}, {Name: "channel", Data: []string{r.Channel}},
		{Name: "alert", Data: []string{alert}}, {Name: "attempt", Data: []uint32{r.Attempt}}, {Name: "outcome", Data: []string{r.Outcome}},
		{Name: "unsure", Data: []bool{r.Unsure}}, {Name: "due_at", Data: []int64{r.Due}}, {Name: "worker", Data: []string{o.worker}},
		{Name: "raised_at", Data: []int64{r.Raised}}, {Name: "since", Data: []int64{r.Since}}, {Name: "changed_at", Data: []int64{o.Now().UnixMicro()}},
	})
}

var errNoRow = errors.New("a row of the outbox is gone")

func (o *Outbox) read(ctx context.Context, id string, number uint32) (worker, alert string, err error) {
	var rows []struct {
		Worker string `ch:"worker"`
		Alert  string `ch:"alert"`
	}
	err = o.Store.Select(ctx, &rows, sql.Query("alert_row"), clickhouse.Param("alert_id", id), clickhouse.Param("number", number))
	switch {
	case err != nil:
		return "", "", fmt.Errorf("read row %d of alert %s: %w", number, id, err)
	case len(rows) == 0:
		return "", "", fmt.Errorf("read row %d of alert %s: %w", number, id, errNoRow)
	}
	return rows[0].Worker, rows[0].Alert, nil
}

// AlertQuery asks for alerts, the newest first.
type AlertQuery struct {
	ID            string   // empty: every one
	States        []string // empty: all
	Limit, Offset int
}

// AlertStatus is an alert and how the telling goes.
type AlertStatus struct {
	Alert
	State     string    `json:"state"`
	Attempts  uint64    `json:"attempts"` // sendings begun
	Outcome   string    `json:"outcome"`  // how the last one ended; empty: none did
	Unsure    bool      `json:"unsure"`   // it may have arrived although no answer said so
	Due       time.Time `json:"due"`      // when the next sending is due, or the last change
	ChangedAt time.Time `json:"changed_at"`

	number uint32
}

// Alerts lists alerts.
func Alerts(ctx context.Context, db OutboxStore, q AlertQuery) ([]AlertStatus, error) {
	var rows []struct {
		AlertID string `ch:"alert_id"`
		Number  uint32 `ch:"number"`
		State   string `ch:"state"`
		Attempt uint32 `ch:"attempt"`
		Outcome string `ch:"outcome"`
		Unsure  bool   `ch:"unsure"`
		Due     int64  `ch:"due"`
		Changed int64  `ch:"changed"`
		Alert   string `ch:"alert"`
	}
	err := db.Select(ctx, &rows, sql.Query("alert_list"), clickhouse.Param("id", q.ID), clickhouse.Param("states", append([]string{}, q.States...)),
		clickhouse.Param("limit", uint64(q.Limit)), clickhouse.Param("offset", uint64(q.Offset)))
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	list := make([]AlertStatus, len(rows))
	for i, r := range rows {
		s := AlertStatus{State: r.State, Attempts: uint64(r.Attempt), Outcome: r.Outcome, Unsure: r.Unsure,
			Due: time.UnixMicro(r.Due).UTC(), ChangedAt: time.UnixMicro(r.Changed).UTC(), number: r.Number}
		if err := json.Unmarshal([]byte(r.Alert), &s.Alert); err != nil {
			return nil, fmt.Errorf("read alert %s: %w", r.AlertID, err)
		}
		list[i] = s
	}
	return list, nil
}
