package aggregate_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/aggregate"
	"github.com/ledgerline/ledgerline/aggregate/ledgertest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

var errCrash = errors.New("crash")

// crashing is a store whose client dies at one of its writes: neither that one nor any later one happens. Dying at a read leaves
// what dying at the next write does.
type crashing struct {
	*clickhouse.DB
	writes, at int
}

func (c *crashing) Exec(ctx context.Context, query string, args ...clickhouse.Arg) error {
	if c.writes++; c.writes >= c.at {
		return errCrash
	}
	return c.DB.Exec(ctx, query, args...)
}

// A rollup may die at any write: until the next run readers are told exactly what they were told before (or, once it has said
// that it finished, all of the new), and the next run makes the rollups the ledger.
func TestRollupKilledAnywhere(t *testing.T) {
	t.Parallel()
	db := ledgertest.Open(t)
	r := rand.New(rand.NewPCG(7, 1))
	var entries []ledgertest.Entry
	post := func(seq uint64, n int) {
		more := ledgertest.Make(r, n, start.Add(18*time.Hour), start.Add(30*time.Hour)) // two days
		entries = append(entries, more...)
		ledgertest.Post(t, db, seq, more...)
	}
	sums := func() aggregate.Figures { return sum(entries, func(ledgertest.Entry) string { return "" })[""] }
	post(1000, 30)
	rollup(t, db)
	o := options()
	o.Exclusive = true

	for n := 1; ; n++ {
		before, asOf, seq := sums(), uint64(999+n), uint64(1000+n)
		post(seq, 8)
		c := &crashing{DB: db, at: n}
		_, err := aggregate.Rollup(t.Context(), c, o)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("write %d: %v", n, err)
		}
		for _, by := range []string{"team", "user"} {
			got := showback(t, db, aggregate.Query{GroupBy: []string{by}})
			want := before
			if err == nil {
				want, asOf = sums(), seq
			}
			if got.AsOf != asOf || got.Total != want || total(got.Rows) != want {
				t.Errorf("died at write %d: from %s as of %d %+v, want as of %d %+v", n, got.Source, got.AsOf, got.Total, asOf, want)
			}
		}
		if run, err := aggregate.Rollup(t.Context(), db, o); err != nil || run.Through != seq {
			t.Fatalf("the run after one that died at write %d: %+v, %v", n, run, err)
		}
		verify(t, db)
		if c.writes < n { // it lived
			if n < 14 {
				t.Errorf("a run makes only %d writes; the test does not do what it says", c.writes)
			}
			return
		}
	}
}

// stopping is a store whose process is told to stop as a rollup says that it begins to swap.
type stopping struct {
	*clickhouse.DB
	stop context.CancelFunc
}

func (s *stopping) Exec(ctx context.Context, query string, args ...clickhouse.Arg) error {
	err := s.DB.Exec(ctx, query, args...)
	for _, a := range args {
		if reflect.DeepEqual(a, clickhouse.Param("state", "started")) {
			s.stop()
		}
	}
	return err
}

// A process that is told to stop in the middle of a rollup leaves none of it behind.
func TestRollupStopped(t *testing.T) {
	t.Parallel()
	db, _ := ledger(t, 1000)
	ledgertest.Post(t, db, 2000, ledgertest.Make(rand.New(rand.NewPCG(8, 3)), 20, start, end)...)
	ctx, stop := context.WithCancel(t.Context())
	run, err := aggregate.Rollup(ctx, &stopping{db, stop}, options())
	if err != nil || run.Through != 2000 || ctx.Err() == nil {
		t.Errorf("the run that was told to stop: %+v, %v (told: %v)", run, err, ctx.Err())
	}
	verify(t, db)
}

// A run that looked at the ledger before another one began and finished must not put the older figures back.
func TestRollupAfterAnotherOvertookIt(t *testing.T) {
	t.Parallel()
	db, _ := ledger(t, 1000)
	ledgertest.Post(t, db, 2000, ledgertest.Make(rand.New(rand.NewPCG(8, 1)), 20, start, end)...)
	o := options()
	overtaken := false
	o.Now = func() time.Time { // first asked when the lock is taken
		if !overtaken {
			overtaken = true
			ledgertest.Post(t, db, 3000, ledgertest.Make(rand.New(rand.NewPCG(8, 2)), 20, start, end)...)
			rollup(t, db)
		}
		return time.Now()
	}
	run, err := aggregate.Rollup(t.Context(), db, o)
	if err != nil || run.Through != 3000 {
		t.Errorf("the run that was overtaken: %+v, %v; want through 3000", run, err)
	}
	verify(t, db)
}

// Any bounds that a time can hold are answered or refused, and never wrongly: as wide as they are, the total is that of all
// entries, also of days that a run changes.
func TestShowbackOfAllTime(t *testing.T) {
	t.Parallel()
	db, entries := ledger(t, 1000)
	want := sum(entries, func(ledgertest.Entry) string { return "" })[""]
	before := showback(t, db, aggregate.Query{GroupBy: []string{"team"}})
	ledgertest.Post(t, db, 2000, ledgertest.Make(rand.New(rand.NewPCG(9, 1)), 20, start, end)...)
	rollup(t, db)
	for _, years := range [][2]int{{2000, 2100}, {1970, 2106}, {1900, 2149}, {2000, 2150}, {2000, 2199}, {1, 9999}} {
		for _, by := range []string{"team", "user"} {
			q := aggregate.Query{GroupBy: []string{by}, AsOf: 1000,
				From: time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(years[1], 12, 31, 0, 0, 0, 0, time.UTC)}
			for _, asOf := range []uint64{1000, 2000} {
				q.AsOf = asOf
				got, err := aggregate.Showback(t.Context(), db, q)
				if errors.Is(err, aggregate.ErrQuery) {
					t.Logf("%v %s: %v", years, by, err)
					continue
				}
				w := want
				if asOf == 2000 {
					w = showback(t, db, aggregate.Query{GroupBy: []string{by}}).Total
				}
				if err != nil || got.Total != w {
					t.Errorf("%v by %s as of %d: from %s %+v, %v; want %+v", years, by, asOf, got.Source, got.Total, err, w)
				}
				if by == "team" && asOf == 1000 && !reflect.DeepEqual(got.Rows, before.Rows) {
					t.Errorf("%v: other rows", years)
				}
			}
		}
	}
}
