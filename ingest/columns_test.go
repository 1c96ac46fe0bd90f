package ingest

import (
	"reflect"
	"testing"

	"github.com/ledgerline/ledgerline/internal/event"
)

// The table events says of each call which datasets fed it, each once, and
// whether there may be others; of other events nothing.
func TestDatasetsOfEvents(t *testing.T) {
	db := newPipeline(t, 0).db
	source := func(name string) event.Source { return event.Source{Namespace: "pg://crm", Name: name} }
	var c eventColumns
	var want [][]string
	for i, e := range []struct {
		kind     event.Type
		coverage string
		sources  []event.Source
		want     []string
	}{
		{event.RequestCompleted, "declared", []event.Source{source("a"), source("b"), source("a")}, []string{"pg://crm|a", "pg://crm|b"}},
		{event.RequestCompleted, "none", nil, []string{}},
		{event.RequestCompleted, "partial", []event.Source{source("a")}, []string{"pg://crm|a", "*"}},
		{event.RequestDenied, "mapped", []event.Source{source("c")}, []string{"pg://crm|c"}},
		{event.RequestRecovered, "none", nil, []string{"*"}},
		{event.RequestAdjusted, "declared", []event.Source{source("a")}, []string{}},
		{event.WriterOpened, "", nil, []string{}},
	} {
		at := event.Micros(1_790_000_000_000_000 + i)
		ev := &event.Event{ID: event.NewID(at), Time: at, Type: e.kind}
		if e.kind != event.WriterOpened {
			ev.Request = &event.Request{Coverage: e.coverage, Sources: e.sources}
		}
		c.add(ev, []byte("{}"), [32]byte{}, [32]byte{}, Position{Topic: "t", Seq: 1})
		want = append(want, e.want)
	}
	for round := range 2 { // the second of columns that were used before
		if err := db.Insert(t.Context(), "events", "", c.columns()); err != nil {
			t.Fatal(err)
		}
		var rows []struct {
			Datasets []string `ch:"datasets"`
		}
		if err := db.Select(t.Context(), &rows, "SELECT datasets FROM events FINAL ORDER BY time"); err != nil {
			t.Fatal(err)
		}
		var got [][]string
		for _, r := range rows {
			got = append(got, append([]string{}, r.Datasets...))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("round %d: datasets %q, want %q", round, got, want)
		}
		c.reset()
		at := event.Micros(1_790_000_000_000_100)
		c.add(&event.Event{ID: event.NewID(at), Time: at, Type: event.RequestCompleted, Request: &event.Request{Sources: []event.Source{source("z")}}}, []byte("{}"), [32]byte{}, [32]byte{}, Position{Topic: "t", Seq: 2})
		if round == 0 {
			want = append(want, []string{"pg://crm|z"})
		}
	}
}
