package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
)

func loadSnapshot(t testing.TB) *governance.Snapshot {
	t.Helper()
	s, err := governance.Load("testdata/governance")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(text string) event.Micros {
	v, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return event.At(v)
}

// callAt is a call of one good attempt at openai's model small.
func callAt(snap *governance.Snapshot, when event.Micros, usage string) *event.Event {
	a := event.Attempt{
		Endpoint: "openai-us", Provider: "openai", Region: "us", ModelRequested: "small", ModelServed: "small-2026-01-01", Status: 200,
		Start: when, FirstByte: when + 100, End: when + 200, UsageRaw: usage, UsageSource: event.UsageProvider,
	}
	missing := event.Dimension{Provenance: event.Missing}
	return &event.Event{
		ID: event.NewID(when), Source: "ledgerline/test", Type: event.RequestCompleted, Time: when, Writer: "test-1", Seq: 1,
		Request: &event.Request{
			Call:   event.Call{Format: "openai.chat", Operation: "POST /v1/chat/completions", Model: "small", Workload: "interactive"},
			Caller: event.Caller{KeyID: "riskdesk"},
			Attribution: event.Attribution{
				BusinessUnit: missing, Team: event.Dimension{Value: "risk", Provenance: event.FromKey}, Project: missing, User: missing, Application: missing,
				UseCase: event.Dimension{Value: "kyc", Provenance: event.FromDefault},
			},
			Coverage: "none", Decision: event.Decision{Rule: "default", Why: "the only one", Governance: snap.Hex()},
			Attempts: []event.Attempt{a}, Outcome: event.Outcome{Status: 200, Client: "completed", Upstream: "completed"},
			Capture: "none", RetentionClass: "regulated",
		},
	}
}

func chatUsage(input, cached, output int) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`, input, output, input+output, cached)
}

// show is an entry as "attempt class quantity rate cost status calls".
func show(e Entry) string {
	text := func(a Amount) string {
		if !a.Known {
			return "NULL"
		}
		return fmt.Sprint(a.Value)
	}
	return fmt.Sprintf("%d %s %s %s %s %s %d", e.Attempt, e.Class, text(e.Quantity), text(e.Rate), text(e.Cost), e.Status, e.Calls)
}

// What each kind of call costs, in pico-dollars, worked out by hand.
func TestDerive(t *testing.T) {
	snap := loadSnapshot(t)
	old, later := at("2026-10-10T10:00:00Z"), at("2026-11-20T10:00:00Z")
	for name, tt := range map[string]struct {
		usage  string
		change func(*event.Event, *event.Attempt)
		want   []string
		cost   string // of the request: amount or NULL, and status
	}{
		"chat with cache": {
			// 1,000 × 0.25, 9,000 × 0.025, 500 × 2 dollars per million
			usage: chatUsage(10000, 9000, 500),
			want:  []string{"0 input 1000 250000 250000000 exact 1", "0 cache_read 9000 25000 225000000 exact 0", "0 output 500 2000000 1000000000 exact 0"},
			cost:  "1475000000 exact",
		},
		"zeroes buy nothing and have no entry, but input and output are shown": {
			usage: `{"prompt_tokens":8,"completion_tokens":0,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"audio_tokens":0}}`,
			want:  []string{"0 input 8 250000 2000000 exact 1", "0 output 0 2000000 0 exact 0"},
			cost:  "2000000 exact",
		},
		"no tokens of a model without a price cost nothing": {
			usage:  chatUsage(0, 0, 0),
			change: func(_ *event.Event, a *event.Attempt) { a.ModelServed = "nobody-knows-it" },
			want:   []string{"0 input 0 NULL 0 free 1", "0 output 0 NULL 0 free 0"},
			cost:   "0 free",
		},
		"the price of the day": {
			usage:  chatUsage(100, 0, 10),
			change: func(ev *event.Event, a *event.Attempt) { *ev = *callAt(snap, later, a.UsageRaw) },
			want:   []string{"0 input 100 200000 20000000 exact 1", "0 output 10 1500000 15000000 exact 0"},
			cost:   "35000000 exact",
		},
		"the region's own price": {
			usage:  chatUsage(100, 0, 10),
			change: func(_ *event.Event, a *event.Attempt) { a.Region = "eu" },
			want:   []string{"0 input 100 275000 27500000 exact 1", "0 output 10 2200000 22000000 exact 0"},
			cost:   "49500000 exact",
		},
		"at the bound of a band": {
			usage: chatUsage(200000, 0, 1),
			want:  []string{"0 input 200000 250000 50000000000 exact 1", "0 output 1 2000000 2000000 exact 0"},
			cost:  "50002000000 exact",
		},
		"above it, by the cached tokens": {
			usage: chatUsage(200001, 200001, 1),
			want:  []string{"0 input 0 500000 0 exact 1", "0 cache_read 200001 50000 10000050000 exact 0", "0 output 1 3000000 3000000 exact 0"},
			cost:  "10003050000 exact",
		},
		"tier served": {
			usage:  chatUsage(8, 0, 1),
			change: func(_ *event.Event, a *event.Attempt) { a.Tier = "batch" },
			want:   []string{"0 input 8 125000 1000000 exact 1", "0 output 1 1000000 1000000 exact 0"},
			cost:   "2000000 exact",
		},
		"a tier without a price borrows none": {
			usage:  chatUsage(8, 0, 1),
			change: func(_ *event.Event, a *event.Attempt) { a.Tier = "priority" },
			want:   []string{"0 input 8 NULL NULL unpriced 1", "0 output 1 NULL NULL unpriced 0"},
			cost:   "NULL unpriced",
		},
		"a model like a priced one": {
			usage:  `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(_ *event.Event, a *event.Attempt) { a.ModelServed = "small-2026-09-09" },
			want:   []string{"0 input 8 NULL NULL unpriced 1", "0 output 1 NULL NULL unpriced 0"},
			cost:   "NULL unpriced",
		},
		"the model asked for when none was named": {
			usage:  `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(_ *event.Event, a *event.Attempt) { a.ModelServed = "" },
			want:   []string{"0 input 8 250000 2000000 exact 1", "0 output 1 2000000 2000000 exact 0"},
			cost:   "4000000 exact",
		},
		"free": {
			usage:  `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(_ *event.Event, a *event.Attempt) { a.ModelServed = "gift" },
			want:   []string{"0 input 8 0 0 free 1", "0 output 1 0 0 free 0"},
			cost:   "0 free",
		},
		"embeddings": {
			usage: `{"prompt_tokens":1234,"total_tokens":1234}`,
			change: func(ev *event.Event, a *event.Attempt) {
				ev.Request.Call.Format, a.ModelServed = "openai.embeddings", "embed"
			},
			want: []string{"0 input 1234 20000 24680000 exact 1"},
			cost: "24680000 exact",
		},
		"responses": {
			usage: `{"input_tokens":20,"input_tokens_details":{"cached_tokens":5},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":6},"total_tokens":27}`,
			change: func(ev *event.Event, a *event.Attempt) {
				ev.Request.Call.Format = "openai.responses"
			},
			want: []string{"0 input 15 250000 3750000 exact 1", "0 cache_read 5 25000 125000 exact 0", "0 output 7 2000000 14000000 exact 0"},
			cost: "17875000 exact",
		},
		"anthropic, two kinds of cache writes": {
			// 100 × 3, 2,000 × 0.3, 300 × 3.75, 40 × 6, 50 × 15
			usage: `{"input_tokens":100,"cache_read_input_tokens":2000,"cache_creation_input_tokens":340,"cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":40},"output_tokens":50,"service_tier":"standard"}`,
			change: func(ev *event.Event, a *event.Attempt) {
				ev.Request.Call.Format, a.Provider, a.Endpoint, a.ModelServed = "anthropic.messages", "anthropic", "anthropic-us", "sonnet"
			},
			want: []string{
				"0 input 100 3000000 300000000 exact 1", "0 cache_read 2000 300000 600000000 exact 0", "0 cache_write_5m 300 3750000 1125000000 exact 0",
				"0 cache_write_1h 40 6000000 240000000 exact 0", "0 output 50 15000000 750000000 exact 0",
			},
			cost: "3015000000 exact",
		},
		"a paid tool shows as unpriced": {
			usage: `{"input_tokens":100,"output_tokens":50,"server_tool_use":{"web_search_requests":3}}`,
			change: func(ev *event.Event, a *event.Attempt) {
				ev.Request.Call.Format, a.Provider, a.ModelServed = "anthropic.messages", "anthropic", "sonnet"
			},
			want: []string{"0 input 100 3000000 300000000 exact 1", "0 output 50 15000000 750000000 exact 0", "0 web_search_requests 3 NULL NULL unpriced 0"},
			cost: "NULL unpriced",
		},
		"a failed attempt, then fallback": {
			usage: `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(ev *event.Event, a *event.Attempt) {
				failed := event.Attempt{Endpoint: "openai-eu", Provider: "openai", Region: "eu", ModelRequested: "small", Status: 429, Error: "http", Start: old, UsageSource: event.UsageMissing}
				timeout := failed
				timeout.Status, timeout.Error = 0, "timeout"
				ev.Request.Attempts = []event.Attempt{failed, timeout, *a}
			},
			want: []string{"0 none 0 0 0 free 1", "1 unknown NULL NULL NULL missing 0", "2 input 8 250000 2000000 exact 0", "2 output 1 2000000 2000000 exact 0"},
			cost: "NULL missing",
		},
		"never reached": {
			change: func(_ *event.Event, a *event.Attempt) { a.Status, a.Error = 0, "connect" },
			want:   []string{"0 none 0 0 0 free 1"},
			cost:   "0 free",
		},
		"answered without usage": {
			want: []string{"0 unknown NULL NULL NULL missing 1"},
			cost: "NULL missing",
		},
		"passthrough": {
			usage:  `{"prompt_tokens":8}`,
			change: func(ev *event.Event, _ *event.Attempt) { ev.Request.Call.Format = "passthrough" },
			want:   []string{"0 unknown NULL NULL NULL missing 1"},
			cost:   "NULL missing",
		},
		"a usage that contradicts itself": {
			usage: chatUsage(10, 11, 1),
			want:  []string{"0 unknown NULL NULL NULL missing 1"},
			cost:  "NULL missing",
		},
		"a usage that is none": {
			usage: `{"prompt_tokens":"many"}`,
			want:  []string{"0 unknown NULL NULL NULL missing 1"},
			cost:  "NULL missing",
		},
		"cut off": {
			usage:  `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(_ *event.Event, a *event.Attempt) { a.UsageSource, a.Error = event.UsagePartial, "cut" },
			want:   []string{"0 input 8 250000 2000000 partial 1", "0 output 1 2000000 2000000 partial 0"},
			cost:   "4000000 partial",
		},
		"counted by a gateway": {
			usage:  `{"prompt_tokens":8,"completion_tokens":1}`,
			change: func(_ *event.Event, a *event.Attempt) { a.UsageSource = event.UsageGateway },
			want:   []string{"0 input 8 250000 2000000 estimated 1", "0 output 1 2000000 2000000 estimated 0"},
			cost:   "4000000 estimated",
		},
		"recovered": {
			change: func(ev *event.Event, a *event.Attempt) {
				ev.Type, a.Error, a.Status = event.RequestRecovered, "lost", 0
			},
			want: []string{"0 unknown NULL NULL NULL missing 1"},
			cost: "NULL missing",
		},
		"recovered, no attempt known": {
			change: func(ev *event.Event, _ *event.Attempt) { ev.Type, ev.Request.Attempts = event.RequestRecovered, nil },
			want:   []string{"0 unknown NULL NULL NULL missing 1"},
			cost:   "NULL missing",
		},
		"denied": {
			change: func(ev *event.Event, _ *event.Attempt) { ev.Type, ev.Request.Attempts = event.RequestDenied, nil },
			cost:   "0 free",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ev := callAt(snap, old, tt.usage)
			if tt.change != nil {
				tt.change(ev, &ev.Request.Attempts[0])
			}
			d, err := Derive(ev, snap)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range d.Entries {
				got = append(got, show(e))
				if e.ID != entryID(&e) || e.Event != ev.ID || e.Period != posting(ev.Time) || e.Governance != snap.Digest || e.PriceBook == "" || e.Sign != 1 {
					t.Errorf("entry %s is not of this event and snapshot: %+v", show(e), e)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("entries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			cost := fmt.Sprint(d.Cost.Value)
			if !d.Cost.Known {
				cost = "NULL"
			}
			if cost += " " + d.Status; cost != tt.cost {
				t.Errorf("the request costs %s, want %s", cost, tt.cost)
			}
		})
	}
}

func TestDeriveAttribution(t *testing.T) {
	snap := loadSnapshot(t)
	for _, tt := range []struct {
		when                        string
		unit, team, project, desk   string
		wantUnit, wantTeam, wantApp string
	}{
		{"2026-10-10T10:00:00Z", "", "credit risk", "", "the-desk", "retail", "risk", "desk"},
		{"2026-11-10T10:00:00Z", "", "", "scoring", "else", "corporate", "risk", "else"}, // the hierarchy of the day
		{"2026-11-10T10:00:00Z", "retail", "risk", "", "", "retail", "risk", ""},         // what is told stays
		{"2026-11-10T10:00:00Z", "", "", "", "", "", "", ""},
	} {
		ev := callAt(snap, at(tt.when), "")
		a := &ev.Request.Attribution
		a.BusinessUnit.Value, a.Team.Value, a.Project.Value, a.Application.Value = tt.unit, tt.team, tt.project, tt.desk
		d, err := Derive(ev, snap)
		if err != nil {
			t.Fatal(err)
		}
		e := d.Entries[0]
		if d.BusinessUnit != tt.wantUnit || d.Team != tt.wantTeam || d.Application != tt.wantApp || e.BusinessUnit != d.BusinessUnit || e.Team != d.Team || e.Application != d.Application {
			t.Errorf("%+v: got unit %q team %q application %q", tt, d.BusinessUnit, d.Team, d.Application)
		}
	}
}

func TestDeriveOverflow(t *testing.T) {
	snap := loadSnapshot(t)
	ev := callAt(snap, at("2026-10-10T10:00:00Z"), `{"prompt_tokens":9007199254740991,"completion_tokens":0}`)
	ev.Request.Attempts[0].ModelServed = "gold"
	if d, err := Derive(ev, snap); err == nil {
		t.Errorf("an amount over the limit gave %v", d.Entries)
	}
	// Each line fits, their sum does not.
	ev.Request.Attempts[0].UsageRaw = `{"prompt_tokens":4000000000,"completion_tokens":0}`
	ev.Request.Attempts = append(ev.Request.Attempts, ev.Request.Attempts[0])
	if d, err := Derive(ev, snap); err == nil {
		t.Errorf("a sum over the limit gave %v", d.Cost)
	}
}

func TestCorrect(t *testing.T) {
	entry := func(attempt uint8, class string, cost int64) Entry {
		e := Entry{Attempt: attempt, Class: class, Sign: 1, Calls: int8(1 - attempt), Quantity: known(7), Rate: known(cost / 7), Cost: known(cost), Status: Exact, Governance: [32]byte{1}, PriceBook: "a", Period: 202610}
		e.ID = entryID(&e)
		return e
	}
	current := []Entry{entry(0, "input", 70), entry(0, "output", 140), entry(1, "input", 0)}
	next := []Entry{entry(0, "input", 70), entry(0, "output", 77), entry(1, "output", 7)}
	for i := range next {
		next[i].Governance, next[i].PriceBook = [32]byte{2}, "b"
	}
	got := correct(current, next, 3, 202611)
	var text []string
	for _, e := range got {
		text = append(text, fmt.Sprintf("%d %d %d %d %s", e.Sign, e.Restatement, e.Period, e.Governance[0], show(e)))
		if e.ID != entryID(&e) {
			t.Errorf("%s has a wrong id", show(e))
		}
	}
	want := []string{
		"-1 3 202611 1 0 output -7 20 -140 exact -1", "-1 3 202611 1 1 input -7 0 0 exact 0",
		"1 3 202611 2 0 output 7 11 77 exact 1", "1 3 202611 2 1 output 7 1 7 exact 0",
	}
	if !slices.Equal(text, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(want, "\n"))
	}
	if more := correct(next, next, 4, 202612); more != nil {
		t.Errorf("nothing changed, and yet %v", more)
	}
}
