package api

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// What is unpriced is what showback counts as such; pages sum to the total whatever arrives between them; what was said as of an earlier
// recorded_seq is said again; a period may cut a cell.
func TestUnpriced(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	flex := func(at time.Time, model, tier string) *event.Event {
		e := b.call(at, 3)
		e.Request.Attempts[0].ModelServed, e.Request.Attempts[0].Tier = model, tier
		return e
	}
	first, last := now.Add(-30*time.Hour), now.Add(-10*time.Second)
	b.publish(flex(first, "gpt-nobody-knows", "flex"), flex(now.Add(-time.Hour), "a-model", ""), flex(last, "gpt-nobody-knows", "flex"))
	whole := ask[unpricedAnswer](b, Finance, "/v1/unpriced")
	if len(whole.Unpriced) != 6 || whole.Unpriced[0].Model != "a-model" || whole.NextCursor != "" {
		t.Fatalf("%+v", whole)
	}
	for _, r := range whole.Unpriced {
		if want := map[string]uint64{"standard gpt-nobody-knows": 6, "flex gpt-nobody-knows": 2, "standard a-model": 1}[r.Tier+" "+r.Model]; r.Entries != want {
			t.Errorf("%+v, want %d entries", r, want)
		}
		if r.Tier == "flex" && (r.First != first.Format(time.RFC3339) || r.Last != last.Format(time.RFC3339)) {
			t.Errorf("%+v, want from %s to %s", r, first, last)
		}
	}
	if total := ask[showbackRows](b, Finance, "/v1/showback?cost_status=unpriced").Total; whole.Total != (unpricedTotal{uint64(total.Unpriced), total.Quantity}) {
		t.Errorf("total %+v, showback has %+v", whole.Total, total)
	}

	var got []unpricedRow
	for next := "?limit=2"; ; {
		page := ask[unpricedAnswer](b, Finance, "/v1/unpriced"+next)
		if page.Total != whole.Total || page.AsOf != whole.AsOf || len(page.Unpriced) != 2 {
			t.Fatalf("page %+v, want total %+v as of %s", page, whole.Total, whole.AsOf)
		}
		got = append(got, page.Unpriced...)
		if page.NextCursor == "" || len(got) > 6 {
			break
		}
		if len(got) == 2 { // before all that is given yet, in it, and after it
			b.publish(flex(now.Add(-2*time.Hour), "0-model", ""), flex(now.Add(-time.Minute), "a-model", ""), flex(now.Add(-time.Minute), "z-model", ""))
		}
		next = "?limit=2&cursor=" + page.NextCursor
	}
	for i := range got { // the total of the statement, which is not in the answer
		got[i].TotalEntries, got[i].TotalQuantity = 0, 0
	}
	if !slices.Equal(got, whole.Unpriced) {
		t.Errorf("pages give\n%+v, want\n%+v", got, whole.Unpriced)
	}
	if again := ask[unpricedAnswer](b, Finance, "/v1/unpriced?as_of="+whole.AsOf); !slices.Equal(again.Unpriced, whole.Unpriced) || again.Total != whole.Total {
		t.Errorf("as of %s: %+v, was %+v", whole.AsOf, again, whole)
	}
	if after := ask[unpricedAnswer](b, Finance, "/v1/unpriced"); len(after.Unpriced) != 10 || after.Total.Entries != whole.Total.Entries+6 {
		t.Errorf("afterwards %+v", after)
	}

	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	past := cursor{position: 100}.text(question{"/v1/unpriced", month, month.AddDate(0, 1, 0), url.Values{}})
	if page := ask[unpricedAnswer](b, Finance, "/v1/unpriced?cursor="+past); len(page.Unpriced) != 0 || page.Total.Entries != whole.Total.Entries+6 || page.NextCursor != "" {
		t.Errorf("past the last row: %+v", page)
	}
	for period, want := range map[string]uint64{
		"from=" + first.Add(time.Microsecond).Format(time.RFC3339Nano) + "&to=" + now.Add(-9*time.Hour).Format(time.RFC3339): 0,
		"from=" + first.Format(time.RFC3339) + "&to=" + first.Add(time.Microsecond).Format(time.RFC3339Nano):                 2,
		"from=" + last.Format(time.RFC3339) + "&to=" + last.Add(time.Second).Format(time.RFC3339):                            2,
		"from=2020-01-01&to=2020-02-01": 0,
	} {
		if u := ask[unpricedAnswer](b, Finance, "/v1/unpriced?"+period); u.Total.Entries != want {
			t.Errorf("%s: %+v, want %d entries", period, u, want)
		}
	}
}
