package ingest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
)

// batch is what one flush writes.
type batch struct {
	topic string
	parts []part // of every partition owned, in order
	items []item // events and what cannot be one
	bytes int
	byID  map[event.ID]int // items that are events

	seq      uint64 // recorded_seq
	bad      []quarantined
	events   eventColumns
	requests requestColumns
	charges  chargeColumns
	statuses map[string]int // entries by cost status
}

// part is the share of one partition in a batch.
type part struct {
	partition   int
	first, next int64
	end         int64
	duplicates  int
	items       []int // indexes into the batch's items
	newest      event.Micros
	days        []uint16 // since 1970, of its charges
	events      int
	quarantined int
}

// quarantined is a row of quarantine.
type quarantined struct {
	topic     string
	partition int
	offset    int64
	reason    string
	raw       []byte
	digest    [32]byte
	time      event.Micros
	seq       uint64 // recorded_seq
	replayed  uint64 // recorded_seq of the replay; 0: none
}

// maxGap is how many offsets in a row may hold no record: marks of other
// producers' transactions do that, and each shows in quarantine. More is a
// compacted topic, or lost records.
const maxGap = 1000

// add takes a chunk of one partition. It leaves out the second delivery of an
// event that is in the batch already.
func (b *batch) add(c chunk) error {
	i := slices.IndexFunc(b.parts, func(p part) bool { return p.partition == c.partition })
	p := &b.parts[i]
	if p.next != c.first {
		return fmt.Errorf("partition %d: read offset %d after %d", c.partition, c.first, p.next)
	}
	p.end = c.end
	gap := func(to int64) error {
		if to-p.next > maxGap {
			return fmt.Errorf("partition %d: no records between offsets %d and %d: the topic is compacted, or records are lost", c.partition, p.next, to)
		}
		for ; p.next < to; p.next++ {
			b.items = append(b.items, item{offset: p.next, reason: "no record at this offset"})
			p.items = append(p.items, len(b.items)-1)
		}
		return nil
	}
	for _, it := range c.items {
		if err := gap(it.offset); err != nil {
			return err
		}
		p.next = it.offset + 1
		if it.reason == "" {
			if first, ok := b.byID[it.ev.ID]; !ok {
				b.byID[it.ev.ID] = len(b.items)
			} else if b.items[first].digest == it.digest {
				p.duplicates++
				continue
			} else {
				it.reason = conflictReason(b.items[first].offset)
			}
		}
		b.items = append(b.items, it)
		b.bytes += len(it.raw)
		p.items = append(p.items, len(b.items)-1)
	}
	return gap(c.next)
}

// conflictReason is for an event with the id of an earlier one and other bytes.
func conflictReason(offset int64) string {
	return fmt.Sprintf("the id of the event at offset %d, with other bytes", offset)
}

// stored is the first record of an event, as the store has it.
type stored struct {
	topic     string
	partition int
	offset    int64
	digest    [32]byte
}

// settle fills the columns of the tables with recorded_seq seq. before are the
// events of this batch that the store has already: at the same offset they
// are what a flush that did not come to its end has left, elsewhere this is
// their second delivery.
func (b *batch) settle(seq uint64, before map[event.ID]stored) {
	b.seq = seq
	for i := range b.parts {
		p := &b.parts[i]
		days := map[uint16]bool{}
		for _, n := range p.items {
			it := &b.items[n]
			reason := it.reason
			if reason == "" {
				if s, ok := before[it.ev.ID]; ok && (s.topic != b.topic || s.partition != p.partition || s.offset != it.offset) {
					if s.digest == it.digest {
						p.duplicates++
						continue
					}
					reason = conflictReason(s.offset)
				}
			}
			if reason != "" {
				q := quarantined{topic: b.topic, seq: seq, partition: p.partition, offset: it.offset, reason: reason, raw: it.raw, digest: it.digest}
				if it.ev != nil {
					q.time = it.ev.Time
				}
				b.bad = append(b.bad, q)
				p.quarantined++
				continue
			}
			b.write(it, Position{b.topic, p.partition, it.offset, seq})
			p.events++
			p.newest = max(p.newest, it.ev.Time)
			if len(it.derived.Entries) > 0 {
				days[dayOf(it.ev.Time)] = true
			}
		}
		p.days = slices.Sorted(maps.Keys(days))
	}
}

// dayOf is the days since 1970, UTC; the last that the store's Date can hold is in 2149.
func dayOf(t event.Micros) uint16 { return uint16(min(t/86_400_000_000, 65535)) }

// write appends an event to the columns of all tables.
func (b *batch) write(it *item, at Position) {
	b.events.add(it.ev, it.raw, it.digest, it.governance, at)
	if !isCall(it.ev) {
		return
	}
	b.requests.add(it.ev, &it.derived, it.governance, 0, at.Seq)
	for i := range it.derived.Entries {
		e := &it.derived.Entries[i]
		b.charges.add(e, at.Seq)
		b.statuses[e.Status]++
	}
}

// reset makes the batch empty; next are the offsets where each partition goes
// on, in the order of partitions.
func (b *batch) reset(topic string, partitions []int, next map[int]int64, end map[int]int64) {
	clear(b.items)
	clear(b.byID)
	clear(b.statuses)
	b.topic, b.items, b.bytes, b.bad, b.parts = topic, b.items[:0], 0, nil, b.parts[:0]
	b.events.reset()
	b.requests.reset()
	b.charges.reset()
	if b.byID == nil {
		b.byID, b.statuses = map[event.ID]int{}, map[string]int{}
	}
	for _, p := range partitions {
		b.parts = append(b.parts, part{partition: p, first: next[p], next: next[p], end: end[p]})
	}
}

// batchColumns is the row of batches of one partition.
func (b *batch) batchColumns(i int) []clickhouse.Column {
	p := &b.parts[i]
	return []clickhouse.Column{
		{Name: "topic", Data: []string{b.topic}}, {Name: "partition", Data: []uint32{uint32(p.partition)}},
		{Name: "first_offset", Data: []uint64{uint64(p.first)}}, {Name: "next_offset", Data: []uint64{uint64(p.next)}},
		{Name: "events", Data: []uint64{uint64(p.events)}}, {Name: "duplicates", Data: []uint64{uint64(p.duplicates)}},
		{Name: "quarantined", Data: []uint64{uint64(p.quarantined)}}, {Name: "days", Data: clickhouse.Array{Ends: []uint64{uint64(len(p.days))}, Values: p.days}},
		{Name: "newest", Data: []int64{int64(p.newest)}}, {Name: "recorded_seq", Data: []uint64{b.seq}},
	}
}

func quarantineColumns(rows []quarantined) []clickhouse.Column {
	var (
		topics, reasons             []string
		partitions                  []uint32
		offsets, replayed, recorded []uint64
		times                       []int64
		raws                        [][]byte
		digests                     [][32]byte
	)
	for _, q := range rows {
		topics, reasons, partitions = append(topics, q.topic), append(reasons, q.reason), append(partitions, uint32(q.partition))
		offsets, replayed, recorded = append(offsets, uint64(q.offset)), append(replayed, q.replayed), append(recorded, q.seq)
		times, raws, digests = append(times, int64(q.time)), append(raws, q.raw), append(digests, q.digest)
	}
	return []clickhouse.Column{
		{Name: "topic", Data: topics}, {Name: "partition", Data: partitions}, {Name: "offset", Data: offsets}, {Name: "time", Data: times},
		{Name: "reason", Data: reasons}, {Name: "raw", Data: raws}, {Name: "digest", Data: digests}, {Name: "replayed_seq", Data: replayed}, {Name: "recorded_seq", Data: recorded},
	}
}
