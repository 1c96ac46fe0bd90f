package simulate

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// A tally counts the results of one client.
type tally struct {
	calls, answered, left, failed int
	status                        map[int]int
	errors                        map[string]int
	latency, firstByte, fromDue   []time.Duration
	passage                       []time.Duration
}

func newTally() tally { return tally{status: map[int]int{}, errors: map[string]int{}} }

func (t *tally) count(r *Result) {
	t.calls++
	switch {
	case r.Left:
		t.left++
	case r.Answered:
		t.answered++
		t.status[r.Status]++
		if r.Status < 400 {
			t.latency = append(t.latency, r.Latency)
			t.firstByte = append(t.firstByte, r.FirstByte)
			t.fromDue = append(t.fromDue, r.Lag+r.Latency)
			if r.Passage > 0 {
				t.passage = append(t.passage, r.Passage)
			}
		}
	default:
		t.failed++
		for _, kind := range [...]error{errDial, errWrite, errClosed, errTimeout, errMalformed, errTerminal} {
			if errors.Is(r.Err, kind) {
				t.errors[kind.Error()]++
			}
		}
	}
}

func (t *tally) merge(o tally) {
	t.calls += o.calls
	t.answered += o.answered
	t.left += o.left
	t.failed += o.failed
	for status, n := range o.status {
		t.status[status] += n
	}
	for kind, n := range o.errors {
		t.errors[kind] += n
	}
	t.latency = append(t.latency, o.latency...)
	t.firstByte = append(t.firstByte, o.firstByte...)
	t.fromDue = append(t.fromDue, o.fromDue...)
	t.passage = append(t.passage, o.passage...)
}

func (t *tally) report(elapsed time.Duration) Report {
	return Report{
		Calls: t.calls, Answered: t.answered, Left: t.left, Failed: t.failed, ByStatus: t.status, Errors: t.errors, Elapsed: elapsed,
		Latency: newQuantiles(t.latency), FirstByte: newQuantiles(t.firstByte), FromDue: newQuantiles(t.fromDue), Passage: newQuantiles(t.passage),
	}
}

// Quantiles answers for exact quantiles: it holds every value measured.
type Quantiles struct{ sorted []time.Duration }

func newQuantiles(values []time.Duration) Quantiles {
	slices.Sort(values)
	return Quantiles{values}
}

// Count is how many values there are.
func (q Quantiles) Count() int { return len(q.sorted) }

// At is the smallest value that a share p of all values, from 0 to 1, does not
// exceed; 0 without values.
func (q Quantiles) At(p float64) time.Duration {
	n := len(q.sorted)
	if n == 0 {
		return 0
	}
	rank := int(p * float64(n))
	if float64(rank) < p*float64(n) {
		rank++
	}
	return q.sorted[min(max(rank, 1), n)-1]
}

// Mean is the average, 0 without values.
func (q Quantiles) Mean() time.Duration {
	var sum time.Duration
	for _, v := range q.sorted {
		sum += v
	}
	return sum / time.Duration(max(1, len(q.sorted)))
}

// MarshalJSON writes count, mean and the usual quantiles, in microseconds.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count int   `json:"count"`
		Mean  int64 `json:"mean_us"`
		P50   int64 `json:"p50_us"`
		P90   int64 `json:"p90_us"`
		P99   int64 `json:"p99_us"`
		P999  int64 `json:"p999_us"`
		Max   int64 `json:"max_us"`
	}{
		q.Count(), q.Mean().Microseconds(), q.At(0.5).Microseconds(), q.At(0.9).Microseconds(),
		q.At(0.99).Microseconds(), q.At(0.999).Microseconds(), q.At(1).Microseconds(),
	})
}
