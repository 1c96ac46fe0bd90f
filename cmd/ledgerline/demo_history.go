package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/money"
)

// history makes up the calls of a demo company from its governance files: who calls, how often, how long, with which model and
// what goes wrong. It is a function of the snapshot and the seed. Its events go the way of all events, through a spool whose
// writer is marked synthetic.
type history struct {
	snapshot *governance.Snapshot
	secret   []byte
	seed     uint64
	keys     map[string]string // id of a virtual key that may call for a use case
	spike    string            // the use case that costs many times as much on spikeDay; empty: none
	spikeDay time.Time
}

// newHistory is a history without a spike.
func newHistory(s *governance.Snapshot, secret []byte, seed uint64) *history {
	h := &history{snapshot: s, secret: secret, seed: seed, keys: map[string]string{}}
	for _, k := range s.Keys() {
		for _, u := range k.UseCases {
			if !k.Disabled && h.keys[u] == "" {
				h.keys[u] = k.ID
			}
		}
	}
	return h
}

// habit is how one use case calls.
type habit struct {
	useCase  *governance.UseCase
	calls    float64 // a working day
	weekend  float64 // share of that on Saturday and Sunday
	growth   float64 // a day
	choices  []choice
	input    float64 // median tokens
	output   float64
	cached   float64 // share of the input read from a cache
	users    int
	failures float64 // share of calls whose first attempt is refused
}

// choice is a model that a use case calls, with the route it takes.
type choice struct {
	format, model string
	route         governance.Route
	weight        float64
}

// habits gives every use case its own, drawn from the seed.
func (h *history) habits() ([]habit, error) {
	var all []habit
	for i, u := range h.snapshot.UseCases() {
		r := rand.New(rand.NewPCG(h.seed, uint64(i)))
		b := habit{
			useCase: u, calls: 25 + 90*r.Float64(), weekend: 0.05 + 0.4*r.Float64(), growth: 1 + 0.004*r.Float64(),
			input: 3200 * math.Exp(2.2*r.Float64()), output: 480 * math.Exp(2*r.Float64()), cached: 0.7 * r.Float64(),
			users: 3 + r.IntN(20), failures: 0.002 + 0.03*r.Float64(),
		}
		for _, format := range []string{"openai.chat", "openai.responses", "anthropic.messages", "openai.embeddings"} {
			for _, model := range h.models(u, format) {
				route, err := h.snapshot.Route(u, format, model)
				if err != nil {
					continue // the use case is not allowed this one
				}
				b.choices = append(b.choices, choice{format, model, route, 0.1 + r.Float64()})
			}
		}
		if len(b.choices) == 0 {
			return nil, fmt.Errorf("use case %s: no model that its endpoints serve", u.ID)
		}
		all = append(all, b)
	}
	return all, nil
}

// models is what the endpoints of a use case name in a wire format, in order.
func (h *history) models(u *governance.UseCase, format string) []string {
	var models []string
	for _, id := range u.Endpoints {
		e, ok := h.snapshot.Endpoint(id)
		if !ok || !slices.Contains(e.Formats, format) {
			continue
		}
		for model := range e.Models {
			embeds := isEmbedding(model)
			if model != "*" && embeds == (format == "openai.embeddings") && !slices.Contains(models, model) {
				models = append(models, model)
			}
		}
	}
	slices.Sort(models)
	return models
}

// write gives every call from the day of from until to, a day's in the order of their times. progress is told the days done.
func (h *history) write(ctx context.Context, from, to time.Time, record func(*event.Event) error, progress func(days int)) error {
	habits, err := h.habits()
	if err != nil {
		return err
	}
	from = from.Truncate(24 * time.Hour)
	for n := 0; ; n++ {
		day := from.AddDate(0, 0, n)
		if !day.Before(to) {
			return nil
		}
		r := rand.New(rand.NewPCG(h.seed, uint64(day.Unix())))
		var events []*event.Event
		for i := range habits {
			b := habits[i]
			count := b.calls * math.Pow(b.growth, float64(n)) * (0.85 + 0.3*r.Float64())
			if wd := day.Weekday(); wd == time.Saturday || wd == time.Sunday {
				count *= b.weekend
			}
			if b.useCase.ID == h.spike && day.Equal(h.spikeDay) {
				count, b.input = max(4*count, b.calls), 2*b.input
			}
			for range int(count) {
				at := day.Add(time.Duration((9 + 3.2*r.NormFloat64()/1.5 + 4*r.Float64()) * float64(time.Hour)))
				if at.Before(day) || !at.Before(to) || at.Sub(day) >= 24*time.Hour {
					continue
				}
				events = append(events, h.call(r, &b, at))
			}
		}
		slices.SortFunc(events, func(a, b *event.Event) int { return int(a.Time - b.Time) })
		for _, e := range events {
			if err := record(e); err != nil {
				return fmt.Errorf("record the history of %s: %w", day.Format(time.DateOnly), err)
			}
		}
		progress(n + 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// plan is what the demo plants in the history, so that there is something to find, and the figures of its governance files that
// fit a company of its size.
type plan struct {
	spike     string            // the use case that costs many times as much yesterday
	estimates map[string]string // by use case, dollars a month: of one of them a good deal too low
	budgets   map[string]string // by id, dollars a period: of one of them little is left
}

// tight is the budget of which little is left.
const tight = "lending-month"

// plan looks at what the history without a spike costs. What is planted where depends on the seed.
func (h *history) plan(ctx context.Context, now time.Time) (plan, error) {
	useCases, budgets := map[string]money.Sum{}, map[string]money.Sum{}
	err := h.write(ctx, now.AddDate(0, 0, -historyDays), now, func(e *event.Event) error {
		derived, err := ingest.Derive(e, h.snapshot)
		if err != nil {
			return err
		}
		cost := money.Pico(derived.Cost.Value)
		useCases[derived.UseCase] = useCases[derived.UseCase].Add(cost)
		for _, b := range h.snapshot.Budgets() {
			if from, _ := b.Bounds(now); e.Time >= event.At(from) && counts(b, &derived) {
				budgets[b.ID] = budgets[b.ID].Add(cost)
			}
		}
		return nil
	}, func(int) {})
	if err != nil {
		return plan{}, err
	}
	dearest := slices.SortedFunc(maps.Keys(useCases), func(a, b string) int {
		return cmp.Or(useCases[b].Minus(useCases[a]).Sign(), strings.Compare(a, b))
	})
	p := plan{spike: dearest[h.seed%3], estimates: map[string]string{}, budgets: map[string]string{}}
	for useCase, sum := range useCases {
		percent := int64(100) * 30 / historyDays
		if useCase == dearest[(h.seed+1)%3] {
			percent = percent * 2 / 3
		}
		if p.estimates[useCase], err = dollars(sum, percent); err != nil {
			return p, err
		}
	}
	for _, b := range h.snapshot.Budgets() {
		percent := int64(250)
		if b.ID == tight {
			percent = 118
		}
		if p.budgets[b.ID], err = dollars(budgets[b.ID], percent); err != nil {
			return p, err
		}
	}
	return p, nil
}

// counts reports whether a call counts for a budget.
func counts(b *governance.Budget, d *ingest.Derived) bool {
	has := map[string]string{"business_unit": d.BusinessUnit, "team": d.Team, "project": d.Project, "user": d.User, "application": d.Application, "use_case": d.UseCase}
	for dimension, values := range b.For {
		if !slices.Contains(values, has[dimension]) {
			return false
		}
	}
	return true
}

// dollars is a percentage of a sum in whole dollars, at least one.
func dollars(sum money.Sum, percent int64) (string, error) {
	pico, err := sum.Pico()
	return strconv.FormatInt(int64(pico)/1e12*percent/100+1, 10), err
}

// call is one made-up call.
func (h *history) call(r *rand.Rand, b *habit, at time.Time) *event.Event {
	start := event.At(at)
	pick := r.Float64() * func() (sum float64) {
		for _, c := range b.choices {
			sum += c.weight
		}
		return sum
	}()
	c := b.choices[0]
	for _, c = range b.choices {
		if pick -= c.weight; pick < 0 {
			break
		}
	}
	in := int64(b.input * math.Exp(0.8*r.NormFloat64()))
	out := 1 + int64(b.output*math.Exp(0.7*r.NormFloat64()))
	cached := int64(float64(in) * b.cached * r.Float64())
	stream := c.format != "openai.embeddings" && r.Float64() < 0.6
	latency := 300_000 + out*int64(9_000+r.IntN(9_000))

	id := event.NewID(start)
	u := b.useCase
	request := &event.Request{
		Call:   event.Call{Format: c.format, Operation: operations[c.format], Stream: stream, Model: c.model, BodyBytes: in * 4, Workload: u.Workload},
		Caller: event.Caller{KeyID: h.keys[u.ID]},
		Attribution: event.Attribution{
			Team: of(u.Team, event.FromKey), Project: of(u.Project, event.FromDefault), Application: of(u.Application, event.FromDefault),
			UseCase: of(u.ID, event.FromHeader), User: of(h.user(u.Team, r.IntN(b.users)), event.FromHeader),
		},
		Coverage: "none",
		Decision: event.Decision{Rule: c.route.Rule, Why: c.route.Why, Governance: h.snapshot.Hex(), Commit: h.snapshot.Commit},
		Outcome: event.Outcome{
			Status: 200, Finish: "stop", Latency: latency, FirstByte: 250_000, Client: "completed", Upstream: "completed", AnswerBytes: out*5 + 300,
		},
		Capture: "none", RetentionClass: u.RetentionClass,
	}
	if unit, ok := h.snapshot.Parent("team", u.Team, at); ok {
		request.Attribution.BusinessUnit = of(unit, event.FromHierarchy)
	} else {
		request.Attribution.BusinessUnit = event.Dimension{Provenance: event.Missing}
	}
	attempt := func(e *governance.Endpoint, begin event.Micros) event.Attempt {
		model, _ := e.Upstream(c.model)
		return event.Attempt{Endpoint: e.ID, Provider: e.Provider, Region: e.Region, ModelRequested: model, Start: begin}
	}
	endpoint := c.route.Endpoints[0]
	if len(c.route.Endpoints) > 1 && r.Float64() < b.failures {
		a := attempt(endpoint, start)
		a.Status, a.Error, a.FirstByte, a.End, a.UsageSource, a.Bytes = 429, "http", start+90_000, start+91_000, event.UsageMissing, 180
		request.Attempts = append(request.Attempts, a)
		endpoint = c.route.Endpoints[1]
		request.Decision.Why = event.Clip(fmt.Sprintf("%s %s answered 429, so %s served.", c.route.Why, a.Endpoint, endpoint.ID), event.MaxText)
		start += 91_000
	}
	a := attempt(endpoint, start)
	a.ModelServed, a.Status = a.ModelRequested, 200
	a.FirstByte, a.End = start+event.Micros(request.Outcome.FirstByte), start+event.Micros(latency)
	a.UsageRaw, a.UsageSource = usageRaw(c.format, in, cached, out), event.UsageProvider
	a.Chunks, a.Bytes = 1, request.Outcome.AnswerBytes
	if stream {
		a.Chunks = out/3 + 3
	}
	request.Attempts = append(request.Attempts, a)
	request.Outcome.Served = len(request.Attempts) - 1
	return &event.Event{ID: id, Source: "ledgerline/history", Type: event.RequestCompleted, Time: event.At(at), Request: request}
}

var operations = map[string]string{
	"openai.chat": "POST /v1/chat/completions", "openai.responses": "POST /v1/responses",
	"openai.embeddings": "POST /v1/embeddings", "anthropic.messages": "POST /v1/messages",
}

// usageRaw is the usage object a provider of the format would send.
func usageRaw(format string, in, cached, out int64) string {
	switch format {
	case "openai.embeddings":
		return fmt.Sprintf(`{"prompt_tokens":%d,"total_tokens":%d}`, in, in)
	case "openai.responses":
		return fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
			in, cached, out, out/3, in+out)
	case "anthropic.messages":
		written := (in - cached) / 5
		return fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":0},"output_tokens":%d,"service_tier":"standard"}`,
			in-cached-written, written, cached, written, out)
	}
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}`,
		in, out, in+out, cached)
}

func (h *history) user(team string, n int) string {
	mac := hmac.New(sha256.New, h.secret)
	fmt.Fprintf(mac, "%s/%d", team, n)
	return "u_" + hex.EncodeToString(mac.Sum(nil)[:8])
}

func of(value string, p event.Provenance) event.Dimension {
	if value == "" {
		return event.Dimension{Provenance: event.Missing}
	}
	return event.Dimension{Value: value, Provenance: p}
}
