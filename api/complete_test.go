package api

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// A call is shown as it stands at the watermark. What was written past it, as by a batch that is not whole yet, is not there:
// no call, no entry, no adjustment. And nobody is shown what became known of another call.
func TestNothingPastTheWatermark(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id, other := b.ids[5], b.ids[6]
	adjust := func(subject event.ID, at time.Time) *event.Event {
		r := *b.call(at, 0).Request
		r.Attempts, r.Outcome.Served = nil, -1 // it changes no money
		return &event.Event{ID: event.NewID(event.At(at)), Source: "ledgerline/test", Type: event.RequestAdjusted, Subject: subject, Time: event.At(at), Request: &r}
	}
	mine := adjust(id, now)
	b.publish(mine, adjust(other, now.Add(time.Millisecond)))
	path := "/v1/requests/" + id.String()
	before := ask[requestAnswer](b, Compliance, path)
	if len(before.Adjustments) != 1 || before.Adjustments[0].ID != mine.ID.String() {
		t.Errorf("adjustments %+v, want the one of this call, %s", before.Adjustments, mine.ID)
	}

	const past = uint64(1) << 62
	unfinished := event.NewID(event.Micros(id.Milli() * 1000))
	for _, statement := range []string{
		fmt.Sprintf("INSERT INTO charges SELECT * REPLACE (toUInt32(7) AS restatement, toUInt64(%d) AS recorded_seq) FROM charges AS c WHERE c.event_id = toUUID('%s')", past, id),
		fmt.Sprintf("INSERT INTO events SELECT * REPLACE (toUUID('%s') AS event_id, toUInt64(%d) AS recorded_seq) FROM events AS e WHERE e.event_id = toUUID('%s')", event.NewID(event.At(now)), past, mine.ID),
		fmt.Sprintf("INSERT INTO events SELECT * REPLACE (toUUID('%s') AS event_id, toUInt64(%d) AS recorded_seq) FROM events AS e WHERE e.event_id = toUUID('%s')", unfinished, past, id),
	} {
		must(t, b.db.Exec(t.Context(), statement))
	}
	var written uint64
	must(t, b.db.QueryRow(t.Context(), fmt.Sprintf("SELECT (SELECT count() FROM charges WHERE recorded_seq = %d) * 10 + (SELECT count() FROM events WHERE recorded_seq = %d)", past, past)).Scan(&written))
	if written != uint64(len(before.Entries))*10+2 {
		t.Fatalf("written past the watermark: %d", written)
	}
	after := ask[requestAnswer](b, Compliance, path)
	if len(after.Entries) != len(before.Entries) || *after.Cost != *before.Cost || len(after.Adjustments) != 1 {
		t.Errorf("%d entries, cost %s, %d adjustments; want %d, %s and 1", len(after.Entries), *after.Cost, len(after.Adjustments), len(before.Entries), *before.Cost)
	}
	if status, _, body := b.get(b.keys[Compliance], "/v1/requests/"+unfinished.String()); status != http.StatusNotFound {
		t.Errorf("a call past the watermark: %d %s", status, body)
	}
}

// Calls of the same microsecond come once each, however pages cut them.
func TestPagesOfOneMicrosecond(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var calls []*event.Event
	var want []string
	at := now.Add(-time.Second)
	for i := range 7 {
		calls = append(calls, b.call(at, i))
		want = append(want, calls[i].ID.String())
	}
	b.publish(calls...)
	var got []string
	for next := ""; ; {
		page := ask[requestsAnswer](b, Finance, "/v1/requests?limit=2&from="+at.Format(time.RFC3339)+next)
		for _, r := range page.Requests {
			got = append(got, r.ID)
		}
		if page.NextCursor == "" || len(got) > len(want) {
			break
		}
		next = "&cursor=" + page.NextCursor
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("pages give %v, want %v", got, want)
	}
}
