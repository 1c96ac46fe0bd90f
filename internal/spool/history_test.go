package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
)

// history is all that the outside saw over several openings of one spool, and
// the rules that it must obey in the end.
type history struct {
	mu        sync.Mutex
	tried     map[event.ID]bool    // given to Begin or Record, whatever came of it
	begun     map[event.ID]bool    // Begin returned nil
	finished  map[event.ID][]byte  // Finish or Record returned nil: the bytes
	acked     map[event.ID]bool    // Wait returned nil
	published map[event.ID][]byte  // what the log got
	at        map[string][32]byte  // digest of what was published as a writer's seq
	seqs      map[string][]uint64  // published, by writer
	closed    map[string]uint64    // seq of the closing event
	types     map[event.Type]int   // published
	broken    []string             // rules seen broken on the way
	refuse    func(batch int) bool // whether the log refuses a batch
	batches   int
	dead      func() bool
}

func newHistory() *history {
	return &history{
		tried: map[event.ID]bool{}, begun: map[event.ID]bool{}, finished: map[event.ID][]byte{}, acked: map[event.ID]bool{},
		published: map[event.ID][]byte{}, at: map[string][32]byte{}, seqs: map[string][]uint64{}, closed: map[string]uint64{}, types: map[event.Type]int{},
		refuse: func(int) bool { return false }, dead: func() bool { return false },
	}
}

func (h *history) breach(format string, args ...any) {
	if len(h.broken) < 4 {
		h.broken = append(h.broken, fmt.Sprintf(format, args...))
	}
}

var errRefused = errors.New("the log is away")

// publish is the log.
func (h *history) publish(_ context.Context, batch []Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.batches++; h.dead() || h.refuse(h.batches) {
		return errRefused
	}
	for _, e := range batch {
		if old, ok := h.published[e.ID]; ok {
			if !bytes.Equal(old, e.Bytes) {
				h.breach("event %s has two contents:\n%s\n%s", e.ID, old, e.Bytes)
			}
			continue
		}
		ev, err := event.Decode(e.Bytes)
		if err != nil {
			h.breach("published %s: %v", e.ID, err)
			continue
		}
		raw := bytes.Clone(e.Bytes)
		h.published[e.ID] = raw
		h.types[ev.Type]++
		place := fmt.Sprintf("%s seq %d", ev.Writer, ev.Seq)
		if other, ok := h.at[place]; ok && other != event.Digest(raw) {
			h.breach("%s has two contents, one is %s", place, raw)
		}
		h.at[place] = event.Digest(raw)
		h.seqs[ev.Writer] = append(h.seqs[ev.Writer], ev.Seq)
		if ev.Type == event.WriterClosed {
			if _, ok := h.closed[ev.Writer]; ok {
				h.breach("writer %s is closed twice", ev.Writer)
			}
			h.closed[ev.Writer] = ev.Seq
		}
		if ev.Request != nil && !h.tried[ev.ID] {
			h.breach("event %s was invented", ev.ID)
		}
	}
	return nil
}

// begin is a call that begins and has no outcome yet.
func (h *history) begin(s *Spool) (event.ID, bool) {
	in := sampleIntent()
	h.mu.Lock()
	h.tried[in.ID] = true
	h.mu.Unlock()
	ok := s.Begin(in) == nil
	h.mu.Lock()
	h.begun[in.ID] = ok
	h.mu.Unlock()
	return in.ID, ok
}

// request is one call from intent to durable outcome. hold is called between.
func (h *history) request(s *Spool, size int, hold func()) {
	id, ok := h.begin(s)
	if !ok {
		return
	}
	hold()
	ev := bigEvent(size)
	ev.ID = id
	r, err := s.Finish(ev)
	h.outcome(s, ev, r, err)
}

// record is an event without intent.
func (h *history) record(s *Spool, size int) {
	ev := bigEvent(size)
	ev.Type = event.RequestDenied
	h.mu.Lock()
	h.tried[ev.ID] = true
	h.mu.Unlock()
	r, err := s.Record(ev)
	h.outcome(s, ev, r, err)
}

func (h *history) outcome(s *Spool, ev *event.Event, r Receipt, err error) {
	if err != nil {
		return
	}
	raw, err := ev.Append(nil)
	h.mu.Lock()
	if err != nil {
		h.breach("recorded %s, which does not encode: %v", ev.ID, err)
	}
	h.finished[ev.ID] = raw
	h.mu.Unlock()
	if s.Wait(r, 5*time.Second) == nil {
		h.mu.Lock()
		h.acked[ev.ID] = true
		h.mu.Unlock()
	}
}

// bigEvent has about size bytes more than sampleEvent.
func bigEvent(size int) *event.Event {
	ev := sampleEvent()
	for ; size > 0; size -= event.MaxUsageRaw {
		a := ev.Request.Attempts[0]
		a.UsageRaw = strings.Repeat("u", min(size, event.MaxUsageRaw))
		ev.Request.Attempts = append(ev.Request.Attempts, a)
	}
	return ev
}

// What a death of the process may take: outcomes that were not acknowledged;
// nothing that Begin or Wait returned nil for. A crash of the machine may take,
// with Fsync, what was not acknowledged, and with Write anything that was not
// published.
type loss struct{ intents, outcomes, acks bool }

// check returns the rules that the history breaks, when everything that is
// left was published.
func (h *history) check(may loss) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.acked {
		if got := h.published[id]; !may.acks && !bytes.Equal(got, h.finished[id]) {
			h.breach("acknowledged event %s: published is %q", id, got)
		}
	}
	for id, raw := range h.finished {
		if got := h.published[id]; !may.outcomes && !bytes.Equal(got, raw) {
			h.breach("finished event %s: published is %q", id, got)
		}
	}
	for id, ok := range h.begun {
		if ok && !may.intents && h.published[id] == nil {
			h.breach("intent %s has no outcome", id)
		}
	}
	for writer, seqs := range h.seqs {
		slices.Sort(seqs)
		for i, seq := range seqs {
			if seq != uint64(i+1) {
				h.breach("writer %s: seq %d is missing of %v", writer, i+1, seqs)
				break
			}
		}
		if last := seqs[len(seqs)-1]; h.closed[writer] != last {
			h.breach("writer %s ends with %d, closed by %d", writer, last, h.closed[writer])
		}
	}
	return h.broken
}

func (h *history) String() string {
	return fmt.Sprintf("%d tried, %d begun, %d finished, %d acked, %d published %v, %d writers",
		len(h.tried), len(h.begun), len(h.finished), len(h.acked), len(h.published), h.types, len(slices.Collect(maps.Keys(h.seqs))))
}
