package api

import (
	"strings"
	"testing"
)

// A CSV answer holds all rows, however many, unless a page of it was asked for.
func TestCSVIsWhole(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	const path = "/v1/showback?group_by=hour,team,model,class,cost_status&format=csv"
	rows := func(path string) int {
		_, _, body := b.get(b.keys[Finance], path)
		return strings.Count(string(body), "\n") - 1
	}
	json := ask[showbackRows](b, Finance, strings.Replace(path, "csv", "json", 1)+"&limit=1000")
	if got := rows(path); got != len(json.Rows) || got < 5 {
		t.Errorf("%d rows, want %d", got, len(json.Rows))
	}
	if got := rows(path + "&limit=3"); got != 3 {
		t.Errorf("a page of 3 has %d rows", got)
	}
}
