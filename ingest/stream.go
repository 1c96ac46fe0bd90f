package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/sql"
)

// storedEvent is a row of events.
type storedEvent struct {
	raw        string
	digest     [32]byte
	governance [32]byte
	id         event.ID
	time       event.Micros
	seq        uint64
}

// storedEntry is a row of charges.
type storedEntry struct {
	Entry
	seq uint64
}

// storedRequest is what restatements change of a row of requests.
type storedRequest struct {
	id   event.ID
	time event.Micros
	cost Amount
	text string // cost status

	restatement uint32
}

// stream reads rows in order of time, the group of one microsecond at a time,
// so that streams of several tables can be walked together in little memory.
type stream[T any] struct {
	rows clickhouse.Rows
	scan func(clickhouse.Rows) (T, event.Micros, error)
	next T
	time event.Micros // of next
	done bool
}

func newStream[T any](ctx context.Context, store Store, query string, scan func(clickhouse.Rows) (T, event.Micros, error), args ...clickhouse.Arg) (*stream[T], error) {
	rows, err := store.Query(ctx, sql.Query(query), args...)
	if err != nil {
		return nil, err
	}
	s := &stream[T]{rows: rows, scan: scan}
	if err := s.advance(); err != nil {
		rows.Close()
		return nil, err
	}
	return s, nil
}

func (s *stream[T]) advance() (err error) {
	if !s.rows.Next() {
		s.done = true
		return s.rows.Err()
	}
	before := s.time
	if s.next, s.time, err = s.scan(s.rows); err == nil && s.time < before {
		err = fmt.Errorf("the store gave %s after %s", s.time.Time(), before.Time())
	}
	return err
}

// at appends the rows of time t, when they are next.
func (s *stream[T]) at(t event.Micros, group []T) ([]T, error) {
	for !s.done && s.time == t {
		group = append(group, s.next)
		if err := s.advance(); err != nil {
			return group, err
		}
	}
	return group, nil
}

func (s *stream[T]) close() { s.rows.Close() }

func scanEvent(rows clickhouse.Rows) (e storedEvent, t event.Micros, err error) {
	var id, digest, governance string
	var at int64
	if err = rows.Scan(&id, &at, &e.raw, &digest, &governance, &e.seq); err == nil {
		e.id, e.time, e.digest, e.governance = event.ID([]byte(id)), event.Micros(at), [32]byte([]byte(digest)), [32]byte([]byte(governance))
	}
	return e, e.time, err
}

func scanEntry(rows clickhouse.Rows) (s storedEntry, t event.Micros, err error) {
	e := &s.Entry
	var id, ev, governance string
	var at int64
	var quantity, rate, cost *int64
	err = rows.Scan(&id, &ev, &e.Attempt, &e.Class, &e.Restatement, &e.Sign, &at, &e.Period, &e.RetentionClass,
		&e.BusinessUnit, &e.Team, &e.Project, &e.User, &e.Application, &e.UseCase, &e.Provider, &e.Endpoint, &e.Region, &e.Model, &e.Tier, &e.Workload,
		&e.UsageSource, &e.Calls, &quantity, &rate, &e.PriceID, &cost, &e.Status, &e.PriceBook, &governance, &e.Derivation, &s.seq)
	if err != nil {
		return s, 0, err
	}
	e.ID, e.Event, e.Governance, e.Time = [16]byte([]byte(id)), event.ID([]byte(ev)), [32]byte([]byte(governance)), event.Micros(at)
	for _, n := range []struct {
		from *int64
		to   *Amount
	}{{quantity, &e.Quantity}, {rate, &e.Rate}, {cost, &e.Cost}} {
		if n.from != nil {
			*n.to = known(*n.from)
		}
	}
	return s, e.Time, nil
}

func scanRequest(rows clickhouse.Rows) (r storedRequest, t event.Micros, err error) {
	var id string
	var at int64
	var cost *int64
	if err = rows.Scan(&id, &at, &cost, &r.text, &r.restatement); err == nil {
		r.id, r.time = event.ID([]byte(id)), event.Micros(at)
		if cost != nil {
			r.cost = known(*cost)
		}
	}
	return r, r.time, err
}

// days are the days (UTC) within a period that have events or entries, in order.
func days(ctx context.Context, store Store, from, to time.Time) ([]time.Time, error) {
	var rows []struct {
		Day time.Time `ch:"day"`
	}
	if err := store.Select(ctx, &rows, sql.Query("ingest_days"), clickhouse.Param("from", from), clickhouse.Param("to", to)); err != nil {
		return nil, err
	}
	all := make([]time.Time, len(rows))
	for i, r := range rows {
		all[i] = r.Day.UTC()
	}
	return all, nil
}

// clamp is the part of the day that begins at day and lies in [from, to).
func clamp(day, from, to time.Time) (time.Time, time.Time) {
	end := day.AddDate(0, 0, 1)
	if day.Before(from) {
		day = from
	}
	if end.After(to) {
		end = to
	}
	return day, end
}
