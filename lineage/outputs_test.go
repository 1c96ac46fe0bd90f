package lineage

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

const account = "postgres://core.internal.example:5432|core.public.customers"

func (b *books) outputs(id string, from, to time.Time, limit int, asOf uint64) (list []Output) {
	b.t.Helper()
	dataset, ok := governance.ParseDatasetID(id)
	if !ok {
		b.t.Fatal(id)
	}
	var after Place
	for {
		page, more, err := New(b.db).Outputs(b.t.Context(), dataset, from, to, after, limit, asOf)
		must(b.t, err)
		if len(page) > limit || more && len(page) < limit {
			b.t.Fatalf("a page of %d, limit %d, more %v", len(page), limit, more)
		}
		list = append(list, page...)
		if !more {
			return list
		}
		after = page[len(page)-1].Place()
	}
}

// Which answers a table fed: directly, through others as they were then, from
// the map alone, or perhaps.
func TestOutputs(t *testing.T) {
	b := newBooks(t)
	s := b.rules()
	// In the other snapshot the stage table is made from something else.
	moved := b.rules("name: core.public.customers, from: 2026-07-01}", "name: core.elsewhere, from: 2026-07-01}")
	june := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC)
	type answer struct {
		evidence, via string
	}
	want := map[string]answer{}
	add := func(ev *event.Event, evidence string, via ...string) {
		b.record(ev)
		if evidence != "" {
			want[ev.ID.String()] = answer{evidence, strings.Join(append([]string{account}, via...), " > ")}
		}
	}
	core := event.Source{Namespace: "postgres://core.internal.example:5432", Name: "core.public.customers", Evidence: "declared"}
	stage, features, file := snowflake("KYC.STAGE.CUSTOMERS", "declared"), snowflake("RISK.MART.APPLICANT_FEATURES", "declared"), snowflake("KYC.MART.CUSTOMER_FILE", "mapped")
	of := func(useCase string, ev *event.Event) *event.Event {
		ev.Request.Attribution.UseCase.Value = useCase
		return ev
	}
	id := func(name string) string { return "snowflake://example-eu1|" + name }
	add(of("gone", review(noon, s, core)), "declared")
	add(of("gone", review(noon.Add(1), s, stage)), "declared", id("KYC.STAGE.CUSTOMERS"))
	add(of("gone", review(noon.Add(2*time.Second), s, features)), "declared", id("KYC.STAGE.CUSTOMERS"), id("RISK.MART.APPLICANT_FEATURES"))
	add(of("gone", review(noon.Add(3*time.Second), s, snowflake("RISK.RAW.BUREAU_SCORES", "declared"))), "")
	// By day, and by snapshot.
	add(of("gone", review(june, s, stage)), "")
	add(of("gone", review(june.Add(time.Second), s, stage)), "declared", id("KYC.STAGE.CUSTOMERS"))
	add(of("gone", review(noon.Add(4*time.Second), moved, stage)), "")
	// What is declared is stronger than what is mapped, even from further away.
	add(review(noon.Add(5*time.Second), s, features, file), "declared", id("KYC.STAGE.CUSTOMERS"), id("RISK.MART.APPLICANT_FEATURES"))
	add(review(noon.Add(6*time.Second), s, file), "mapped", id("KYC.STAGE.CUSTOMERS"), id("KYC.MART.CUSTOMER_FILE"))
	// Those that may have had other sources than their event says, and no snapshot.
	partial := review(noon.Add(7*time.Second), s)
	partial.Request.Coverage = "partial"
	add(partial, "mapped", id("KYC.STAGE.CUSTOMERS"), id("KYC.MART.CUSTOMER_FILE"))
	add(of("gone", func() *event.Event {
		ev := review(noon.Add(8*time.Second), s)
		ev.Request.Coverage = "partial"
		return ev
	}()), "")
	add(review(noon.Add(9*time.Second), &governance.Snapshot{Digest: [32]byte{7}}, core), "declared")
	// No answers.
	denied := review(noon.Add(10*time.Second), s, core)
	denied.Type, denied.Request.Attempts, denied.Request.Outcome.Served = event.RequestDenied, nil, -1
	add(denied, "")
	b.record(of("gone", review(noon, s, core))) // another at the same microsecond
	twice := of("gone", review(noon.Add(11*time.Second), s, core))
	add(twice, "declared")
	last := b.again(twice)

	year := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	whole := b.outputs(account, year, year.AddDate(1, 0, 0), 100, latest)
	got := map[string]answer{}
	for i, o := range whole {
		got[o.RequestID] = answer{o.Evidence, strings.Join(o.Via, " > ")}
		if i > 0 && whole[i-1].Time < o.Time {
			t.Errorf("%s comes after %s", o.Time, whole[i-1].Time)
		}
	}
	if len(whole) != len(want)+1 || len(got) != len(want)+1 {
		t.Errorf("%d answers of %d ids, want %d", len(whole), len(got), len(want)+1)
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("%s: %+v, want %+v", id, got[id], w)
		}
	}
	for limit := range 4 {
		if pages := b.outputs(account, year, year.AddDate(1, 0, 0), limit+1, latest); !reflect.DeepEqual(pages, whole) {
			t.Errorf("in pages of %d: %d answers", limit+1, len(pages))
		}
	}
	if half := b.outputs(account, noon.Add(2*time.Second), noon.Add(6*time.Second), 2, latest); len(half) != 2 {
		t.Errorf("%d answers from 2 s to before 6 s: %+v", len(half), half)
	}
	if then := b.outputs(account, year, year.AddDate(1, 0, 0), 100, last-1); !reflect.DeepEqual(then, whole) {
		t.Errorf("a second delivery changes what was: %d answers", len(then))
	}
	if then := b.outputs(account, year, year.AddDate(1, 0, 0), 100, 1); len(then) != 1 {
		t.Errorf("as of the first event: %d answers", len(then))
	}
	for _, none := range []string{"postgres://nobody|x", account + "x"} {
		if list := b.outputs(none, year, year.AddDate(1, 0, 0), 100, latest); len(list) != 0 {
			t.Errorf("%s: %+v", none, list)
		}
	}
	if o := whole[0]; fmt.Sprint(o.KeyID, o.User, o.Team, o.Application, o.UseCase, o.Status, o.Client, o.Type) != "casemanageru_a8b1f606f47aa9b0compliancecase-managergone200completedllm.request.completed" {
		t.Errorf("%+v", o)
	}
}

// What is upstream in one snapshot alone is followed for its calls alone, also
// when all that are read at first do not count.
func TestOutputsOfManyThatDoNotCount(t *testing.T) {
	b := newBooks(t)
	s := b.rules()
	moved := b.rules("name: core.public.customers, from: 2026-07-01}", "name: core.elsewhere, from: 2026-07-01}")
	stage := snowflake("KYC.STAGE.CUSTOMERS", "declared")
	b.record(func() *event.Event {
		ev := review(noon, s, stage)
		ev.Request.Attribution.UseCase.Value = "gone"
		return ev
	}())
	for i := range 40 {
		ev := review(noon.Add(time.Duration(i+1)*time.Second), moved, stage)
		ev.Request.Attribution.UseCase.Value = "gone"
		b.record(ev)
	}
	if list := b.outputs(account, noon.Add(-time.Hour), noon.Add(time.Hour), 1, latest); len(list) != 1 || list[0].Time != "2026-11-20T12:00:00Z" {
		t.Errorf("%+v", list)
	}
}
