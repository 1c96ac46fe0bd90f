package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// A CSV answer holds all rows, more than a page has, unless a page of it was asked for.
func TestCSVIsWhole(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var more []*event.Event
	for i := range 150 {
		c := b.call(now.Add(-time.Duration(i)*time.Second), 1)
		c.Request.Attribution.Project.Value = fmt.Sprint("p-", i)
		more = append(more, c)
	}
	b.publish(more...)
	rows := func(path string) int {
		_, _, body := b.get(b.keys[Finance], path)
		return strings.Count(string(body), "\n") - 1
	}
	const path = "/v1/showback?group_by=project&format=csv"
	if got := rows(path); got != 151 {
		t.Errorf("%d rows, want 151", got)
	}
	if got := rows(path + "&limit=3"); got != 3 {
		t.Errorf("a page of 3 has %d rows", got)
	}
}
