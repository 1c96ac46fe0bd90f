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
	for i := range 40 { // more than are looked at in one step
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

// A list walks back over gaps of minutes and of weeks and ahead of the clock, past rows that are there twice and rows that no longer say
// what is asked for; each call that fits comes once, in order, whatever the page size.
func TestPagesAreTheList(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	must(t, b.db.Exec(t.Context(), "SYSTEM STOP MERGES requests"))
	teams := map[string]string{}
	for i, id := range b.ids {
		teams[id.String()] = []string{"cards", "lending"}[i%2]
	}
	var more []*event.Event
	for i, ahead := range []time.Duration{-19 * 24 * time.Hour, -18 * 24 * time.Hour, -6 * 24 * time.Hour, -20 * time.Hour, -15 * time.Minute, 0, time.Hour, 9 * 24 * time.Hour} {
		more = append(more, b.call(now.Add(ahead), i))
		teams[more[i].ID.String()] = []string{"cards", "lending"}[i%2]
	}
	b.publish(more...)
	// All are there twice, the second recorded later; but for lending's they were corrected since, most to another team.
	for _, statement := range []string{
		"INSERT INTO requests SELECT * REPLACE (recorded_seq + 1 AS recorded_seq) FROM requests",
		"INSERT INTO requests SELECT * REPLACE (toUInt32(1) AS restatement, 'moved' AS team) FROM requests AS r FINAL WHERE r.team = 'cards' AND toMinute(r.time) % 10 != 0",
	} {
		must(t, b.db.Exec(t.Context(), statement))
	}
	at := map[string]event.ID{}
	var all []string
	for text, team := range teams {
		id, err := event.ParseID(text)
		must(t, err)
		at[text], all = id, append(all, text)
		if team == "cards" && time.UnixMilli(id.Milli()).Minute()%10 != 0 {
			teams[text] = "moved"
		}
	}
	slices.SortFunc(all, func(x, y string) int { return int(at[y].Milli() - at[x].Milli()) })
	for _, filter := range [][]string{nil, {"cards"}, {"lending"}, {"moved"}, {"cards", "moved"}, {"nobody"}} {
		var want []string
		for _, id := range all {
			if filter == nil || slices.Contains(filter, teams[id]) {
				want = append(want, id)
			}
		}
		if filter != nil && filter[0] != "nobody" && (len(want) < 4 || len(want) == len(all)) {
			t.Fatalf("%v: %d calls tell nothing", filter, len(want))
		}
		path := "/v1/requests?"
		for _, team := range filter {
			path += "team=" + team + "&"
		}
		for _, limit := range []int{1, 2, 17, len(all), 1000} {
			var got []string
			for next := ""; ; {
				page := ask[requestsAnswer](b, Finance, fmt.Sprintf("%slimit=%d%s", path, limit, next))
				for _, r := range page.Requests {
					got = append(got, r.ID)
					if r.Team != teams[r.ID] {
						t.Errorf("%v: a call of %s, which is %s's", filter, r.Team, teams[r.ID])
					}
				}
				if page.NextCursor == "" || len(got) > len(all) {
					break
				}
				if len(page.Requests) != limit {
					t.Errorf("%v: a page of %d and no last one, want %d", filter, len(page.Requests), limit)
				}
				next = "&cursor=" + page.NextCursor
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v: pages of %d give %d calls, want %d:\n%v\n%v", filter, limit, len(got), len(want), got, want)
			}
		}
	}
}
