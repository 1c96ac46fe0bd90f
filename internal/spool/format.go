package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/ledgerline/ledgerline/internal/event"
)

// The format on disk, version 1. Integers are little endian.
//
//   - A segment is the file NUMBER.seg, 16 hex digits. Numbers rise by one; the oldest is deleted first, so the folder always
//     holds a run without gap. Positions count bytes over all segments: a segment's base is the position of its first byte.
//   - Page 0 of a segment (4096 bytes) is its header: "LLSPOOL1", number u64, epoch u64 (random), CRC of those. It is synced before
//     the file, until then NUMBER.seg.new, gets its name, so a header that is wrong is damage, never a torn write.
//   - Records follow from byte 4096, each padded with zeros to 8 bytes: crc u32, length u24, kind u8, synced u64, payload.
//     The CRC is Castagnoli's over everything behind it, seeded with the epoch: what an earlier use of the file left never counts.
//   - synced is the position up to which every byte, of all segments, was known to be on disk when the record was appended.
//   - begin, the first record: base u64, seq u64 (the writer's last one before this segment), acked u64, kind (length u8, text),
//     writer. It counts only if its base is where the segment before ends; that is what seals the segment before.
//   - intent: id [16], event.AppendIntent. An intent carried forward from an old segment is the same record again.
//   - event: id [16], seq u64, the exact bytes. close: id [16], seq u64, writer (length u8, text), the exact bytes.
//   - ack: position up to which every event has left for the log. Written lazily; a stale one only makes duplicates.
//
// What a crash can leave. Only what is below a successful sync is promised; of the rest the disk may have kept any part, in any
// order. Reading stops at the first record that is not valid, and everything behind it is cut, because what lies behind a hole was
// never promised. It is damage, and refused, when some valid record behind the hole says that the hole had been synced.
const (
	headerBytes = 4096
	magic       = "LLSPOOL1"

	recordHeader = 16
	align        = 8

	kindBegin  = 1
	kindIntent = 2
	kindEvent  = 3
	kindClose  = 4
	kindAck    = 5

	maxInstance = 200
	maxWriter   = maxInstance + 17 // "." and 16 hex digits

	// maxRecord is more than the largest record, of an event or of the close
	// of a writer, takes on disk. While a segment has this much room, any
	// record fits, so at most this much of it is wasted at its end.
	maxRecord = event.MaxSize + 512
	maxIntent = recordHeader + 16 + event.MaxIntent + align
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seedOf is the start of the CRC of every record of a segment.
func seedOf(epoch uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, epoch), castagnoli)
}

// appendHeader appends the first page of a segment.
func appendHeader(dst []byte, number, epoch uint64) []byte {
	start := len(dst)
	b := append(dst, magic...)
	b = binary.LittleEndian.AppendUint64(b, number)
	b = binary.LittleEndian.AppendUint64(b, epoch)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, make([]byte, headerBytes-(len(b)-start))...)
}

// parseHeader reads the first page of a segment.
func parseHeader(b []byte) (number, epoch uint64, ok bool) {
	if len(b) < 28 || string(b[:8]) != magic || crc32.Checksum(b[:24], castagnoli) != binary.LittleEndian.Uint32(b[24:]) {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), true
}

// seal turns b[start:], a recordHeader of any content and a payload behind it,
// into a record, and pads it.
func seal(b []byte, start int, kind byte, synced uint64, seed uint32) []byte {
	length := len(b) - start - recordHeader
	binary.LittleEndian.PutUint32(b[start+4:], uint32(length)|uint32(kind)<<24)
	binary.LittleEndian.PutUint64(b[start+8:], synced)
	binary.LittleEndian.PutUint32(b[start:], crc32.Update(seed, castagnoli, b[start+4:]))
	for len(b)%align != start%align {
		b = append(b, 0)
	}
	return b
}

// record is one record as read: payload aliases the bytes it was read from.
type record struct {
	kind    byte
	synced  uint64
	payload []byte
	size    int // on disk, with header and padding
}

// parseRecord reads the record at the start of b. It is not valid, or not
// wholly in b, when ok is false; need then says how many bytes it claims to
// take, 0 when it cannot be a record.
func parseRecord(b []byte, seed uint32) (r record, need int, ok bool) {
	if len(b) < recordHeader {
		return r, recordHeader, false
	}
	word := binary.LittleEndian.Uint32(b[4:])
	length, kind := int(word&0xffffff), byte(word>>24)
	size := (recordHeader + length + align - 1) &^ (align - 1)
	if kind < kindBegin || kind > kindAck || size > maxRecord {
		return r, 0, false
	}
	if size > len(b) {
		return r, size, false
	}
	end := recordHeader + length
	if crc32.Update(seed, castagnoli, b[4:end]) != binary.LittleEndian.Uint32(b) {
		return r, 0, false
	}
	r = record{kind: kind, synced: binary.LittleEndian.Uint64(b[8:]), payload: b[recordHeader:end], size: size}
	return r, size, r.wellFormed()
}

// wellFormed reports whether the fixed part of the payload is all there.
func (r *record) wellFormed() bool {
	switch r.kind {
	case kindBegin:
		return len(r.payload) > 25 && len(r.payload) > 25+int(r.payload[24])
	case kindIntent:
		return len(r.payload) > 16
	case kindEvent:
		return len(r.payload) > 24
	case kindClose:
		return len(r.payload) > 25 && len(r.payload) > 25+int(r.payload[24])
	default:
		return len(r.payload) == 8
	}
}

func (r *record) id() event.ID { return event.ID(r.payload[:16]) }
func (r *record) seq() uint64  { return binary.LittleEndian.Uint64(r.payload[16:]) }

// closes is the writer that a close record closes.
func (r *record) closes() string { return string(r.payload[25 : 25+int(r.payload[24])]) }

// event is the exact bytes of an event or close record.
func (r *record) event() []byte {
	if r.kind == kindClose {
		return r.payload[25+int(r.payload[24]):]
	}
	return r.payload[24:]
}

// begin is the content of a begin record.
type begin struct {
	base, seq, acked uint64
	kind, writer     string
}

func (x *begin) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, x.base)
	b = binary.LittleEndian.AppendUint64(b, x.seq)
	b = binary.LittleEndian.AppendUint64(b, x.acked)
	b = append(append(b, byte(len(x.kind))), x.kind...)
	return append(b, x.writer...)
}

func (r *record) begin() begin {
	p := r.payload
	n := 25 + int(p[24])
	return begin{
		base: binary.LittleEndian.Uint64(p), seq: binary.LittleEndian.Uint64(p[8:]), acked: binary.LittleEndian.Uint64(p[16:]),
		kind: string(p[25:n]), writer: string(p[n:]),
	}
}

// unready ends the name of a file that has no valid header yet.
const unready = ".new"

func segmentName(number uint64) string { return fmt.Sprintf("%016x.seg", number) }

func parseSegmentName(name string) (number uint64, ok bool) {
	if _, err := fmt.Sscanf(name, "%016x.seg", &number); err != nil {
		return 0, false
	}
	return number, name == segmentName(number)
}

func appendPosition(b []byte, at uint64) []byte { return binary.LittleEndian.AppendUint64(b, at) }

func position(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
