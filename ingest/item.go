package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
)

// item is a message on its way: an event with what follows from it, or the
// reason why there is none.
type item struct {
	raw        []byte
	digest     [32]byte
	offset     int64
	ev         *event.Event
	governance [32]byte
	derived    Derived
	reason     string // not empty: quarantine
}

// chunk is the messages of one fetch, in order.
type chunk struct {
	partition   int
	first, next int64 // offsets, next exclusive
	end         int64 // of the partition, as the fetch saw it
	items       []item
}

// prepare decodes and derives messages. It waits for snapshots.
func (c *consumer) prepare(ctx context.Context, messages []kafka.Message, items []item) ([]item, error) {
	var snap *governance.Snapshot
	// One array for all entries; an event has about three.
	entries := make([]Entry, 0, 3*len(messages))
	for _, m := range messages {
		items = append(items, item{raw: m.Value, digest: event.Digest(m.Value), offset: m.Offset})
		it := &items[len(items)-1]
		ev, err := event.Decode(m.Value)
		if err != nil {
			it.reason = reason(err)
			continue
		}
		it.ev = ev
		if it.governance, err = digestOf(ev); err != nil {
			it.reason = reason(err)
			continue
		}
		if isPriced(ev) {
			if snap == nil || snap.Digest != it.governance {
				if snap, err = c.snapshots.wait(ctx, it.governance, ev.Request.Decision.Commit); err != nil {
					return items, err
				}
			}
			it.derived.Entries = entries
			if err := it.derived.derive(ev, snap); err != nil {
				it.reason = reason(fmt.Errorf("derive: %w", err))
				continue
			}
			n := len(entries)
			entries = it.derived.Entries
			it.derived.Entries = entries[n:len(entries):len(entries)]
		}
	}
	return items, nil
}

// reason is what quarantine says: the error, which names places and no content.
func reason(err error) string {
	if errors.Is(err, event.ErrUnknownType) {
		return "a type that this version does not know"
	}
	return event.Clip(err.Error(), 500)
}
