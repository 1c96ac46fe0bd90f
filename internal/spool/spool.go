// Package spool is the durable queue on disk between whoever records events
// and the log. What it promises:
//
//   - An event whose Wait returned nil is not lost: not by a kill of the
//     process with Write, not by a crash of the machine with Fsync.
//   - A begun intent has exactly one outcome: the event given to Finish or,
//     after a crash, a recovered event.
//   - Only what is synced is handed to Drain, so the log never holds an event
//     that the disk can lose, and no (writer, seq) ever has two contents.
//   - The seq of a writer has no gap from 1 to its writer.closed event; of a
//     writer that died the next opening writes it.
//   - An error of the disk stops admission for good. Nothing uncertain is
//     acknowledged, and no failed sync is tried again.
//
// The format is described in format.go.
package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors that callers tell apart.
var (
	ErrFull    = errors.New("spool is full")
	ErrFailed  = errors.New("spool failed")
	ErrTimeout = errors.New("not durable in time")
	ErrClosed  = errors.New("spool is closed")
	ErrLocked  = errors.New("in use by another process")
	ErrDamaged = errors.New("spool is damaged")
	ErrUnknown = errors.New("no open intent of this id")
)

// Durability is what Wait waits for.
type Durability int

const (
	Fsync Durability = iota // on disk: survives the machine
	Write                   // in the page cache: survives the process
)

// Options of an opening. Dir and Instance must be given.
type Options struct {
	Dir        string
	FS         FS     // nil is the real disk
	Instance   string // name of the process, at most 200 bytes; the writer is this and a random part
	Source     string // of the events the spool makes itself; default "ledgerline/" and the instance
	Version    string // of the binary
	Kind       string // "live" (default) or "synthetic"
	Durability Durability

	MaxBytes     int64 // files on disk, default 4 GiB, at least two segments
	SegmentBytes int64 // default 64 MiB, at least 256 KiB

	Heartbeat time.Duration // between writer.heartbeat events, default 10 s; negative is never
	Now       func() time.Time
	Logger    *slog.Logger
	Metrics   prometheus.Registerer // may be nil
}

const (
	minSegment = 256 << 10

	// lazySync is how long an event that nobody waits for stays unsynced,
	// and so is not published; lazyBytes syncs earlier.
	lazySync  = 50 * time.Millisecond
	lazyBytes = 4 << 20

	// syncPace is what an event may wait for others to share its sync, while
	// manyEvents do.
	syncPace   = 2 * time.Millisecond
	manyEvents = 8

	// maxBuffer is how much is held back from the page cache, for the next
	// sync to write. Only Fsync holds anything back, and never an intent.
	maxBuffer = 256 << 10

	// ackEvery is the pace of ack records while events leave.
	ackEvery = time.Second

	closeGrace = 5 * time.Second

	// bookkeeping is the room that events leave for acks, carried intents and
	// the close of the writer.
	bookkeeping = 16 << 10
)

func (o *Options) defaults() error {
	if o.FS == nil {
		o.FS = disk{}
	}
	if o.Source == "" {
		o.Source = "ledgerline/" + o.Instance
	}
	if o.Kind == "" {
		o.Kind = "live"
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(64<<20, o.MaxBytes/2)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Dir == "":
		return errors.New("spool: no folder")
	case o.Instance == "" || event.Clip(o.Instance, maxInstance) != o.Instance:
		return fmt.Errorf("spool: instance %q: want 1 to %d bytes of UTF-8", event.Clip(o.Instance, maxInstance), maxInstance)
	case len(o.Kind) > 32:
		return fmt.Errorf("spool: kind of %d bytes, the limit is 32", len(o.Kind))
	case o.SegmentBytes < minSegment || o.SegmentBytes > 1<<30:
		return fmt.Errorf("spool: segments of %d bytes, want %d to %d", o.SegmentBytes, minSegment, 1<<30)
	case o.MaxBytes < 2*o.SegmentBytes:
		return fmt.Errorf("spool: bound of %d bytes is less than two segments of %d", o.MaxBytes, o.SegmentBytes)
	}
	return nil
}

// Spool is one opening of a folder. All methods may be called concurrently.
type Spool struct {
	o      Options
	writer string
	lock   io.Closer
	meters *meters

	mu      sync.Mutex
	changed sync.Cond // on mu: room was made, or there is none, or the spool failed or closes

	// Segments, oldest first; the last is the one being written. Spares are
	// made, synced and empty. Guarded by mu; only the keeper removes.
	segments []*segment
	spares   []*segment
	next     uint64 // number of the next segment made
	total    int64  // bytes of all files

	// Positions, guarded by mu: acked ≤ synced ≤ written ≤ end.
	buf     []byte // the records from written to end
	end     uint64
	written uint64 // in the page cache
	synced  uint64
	acked   uint64

	seq       uint64
	intents   map[event.ID]uint64 // begun and without outcome, by position
	reserved  int64               // room held for their outcomes
	lastEvent uint64              // position behind the newest event
	events    uint64              // appended or found
	left      uint64              // of those, acked
	head      event.Micros        // of the oldest event that Drain holds; 0 when none

	failed  error // wraps ErrFailed
	full    error // wraps ErrFull; why the keeper could make no room
	closing bool

	// Group commit, guarded by mu. Waiters wait on current when the running
	// sync covers them, else on following; whoever waits first makes it.
	syncing            bool
	target             uint64
	dirty              bool // the syncer knows that there is something to sync
	current, following chan struct{}

	draining  bool
	drained   chan struct{} // closed when Drain has returned
	ackNews   chan struct{} // made by a Flush, closed at the next ack
	ackedTo   uint64        // what the last ack or begin record says
	ackedEnd  uint64        // where that record ends
	ackedWhen time.Time

	urgent, lazy, work, ready chan struct{} // signals: sync now, sync soon, keeper, drain
	quit                      chan struct{}
	stopBeat                  context.CancelFunc
	running                   sync.WaitGroup
	timers                    sync.Pool
}

// Receipt says where in the spool an event is.
type Receipt struct{ end uint64 }

// Writer is the name of this opening: the instance and 16 random hex digits.
func (s *Spool) Writer() string { return s.writer }

// Err is non-nil while admission is stopped: it wraps ErrFailed, ErrFull or
// ErrClosed.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refused(); err != nil {
		return err
	}
	if s.full != nil && s.free() < beginRoom {
		return s.full
	}
	return nil
}

// refused is why nothing can be appended. Caller holds mu.
func (s *Spool) refused() error {
	if s.failed != nil {
		return s.failed
	}
	if s.closing {
		return ErrClosed
	}
	return nil
}

const (
	beginRoom  = maxIntent + maxRecord + bookkeeping
	recordRoom = maxRecord + bookkeeping
)

// latest is the first microsecond that an event cannot have, the year 2200.
const latest event.Micros = 7_258_118_400_000_000

// Begin records an intent, before its first byte goes upstream. When it
// returns nil the intent is in the page cache, not synced, and the room for
// its outcome is held. It fails with ErrFull, ErrFailed or ErrClosed.
func (s *Spool) Begin(in *event.Intent) error {
	if in.ID[6]>>4 != 7 || in.ID[8]>>6 != 2 || in.Time < 0 || in.Time >= latest {
		return fmt.Errorf("begin intent %s: id or time out of range", in.ID)
	}
	end, err := s.begin(in)
	if err != nil {
		return err
	}
	return s.waitWritten(end)
}

func (s *Spool) begin(in *event.Intent) (end uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(beginRoom); err != nil {
		return 0, err
	}
	if _, ok := s.intents[in.ID]; ok {
		return 0, fmt.Errorf("begin intent %s: already begun", in.ID)
	}
	if err := s.roll(); err != nil {
		return 0, err
	}
	at, start := s.end, len(s.buf)
	b := append(s.buf, make([]byte, recordHeader)...)
	b = append(b, in.ID[:]...)
	b = event.AppendIntent(b, in)
	s.append(b, start, kindIntent)
	s.intents[in.ID] = at
	s.reserved += maxRecord
	s.segments[len(s.segments)-1].open++
	s.meters.intents++
	s.lookAhead()
	return s.end, nil
}

// Finish records the outcome of a begun intent, which has the same ID. It sets
// the event's Writer and Seq and gives the intent's room back. It does not
// fail for lack of room. When the event itself is refused (see event.Append)
// the intent stays open and no seq is used up.
func (s *Spool) Finish(ev *event.Event) (Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refused(); err != nil {
		return Receipt{}, err
	}
	at, ok := s.intents[ev.ID]
	if !ok {
		return Receipt{}, fmt.Errorf("finish %s: %w", ev.ID, ErrUnknown)
	}
	r, err := s.record(ev)
	if err != nil {
		return Receipt{}, err
	}
	s.settle(ev.ID, at)
	return r, nil
}

// settle forgets an intent, the outcome of which is at s.end. Caller holds mu.
func (s *Spool) settle(id event.ID, at uint64) {
	delete(s.intents, id)
	s.reserved -= maxRecord
	seg := s.segmentOf(at)
	seg.open--
	seg.settled = s.end
}

// Record records an event that has no intent, and sets its Writer and Seq. It
// fails with ErrFull, ErrFailed or ErrClosed.
func (s *Spool) Record(ev *event.Event) (Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(recordRoom); err != nil {
		return Receipt{}, err
	}
	r, err := s.record(ev)
	if err == nil && s.o.Durability == Write {
		err = s.write()
	}
	s.lookAhead()
	return r, err
}

// record appends an event, for which there is room. Caller holds mu.
func (s *Spool) record(ev *event.Event) (Receipt, error) {
	if err := s.roll(); err != nil {
		return Receipt{}, err
	}
	ev.Writer, ev.Seq = s.writer, s.seq+1
	start := len(s.buf)
	b := append(s.buf, make([]byte, recordHeader)...)
	b = append(b, ev.ID[:]...)
	b = binary.LittleEndian.AppendUint64(b, ev.Seq)
	b, err := ev.Append(b)
	if err != nil {
		return Receipt{}, err
	}
	s.seq++
	return s.appendEvent(b, start, kindEvent)
}

// recordClose appends the event that closes a writer, this one or a dead one.
// Caller holds mu.
func (s *Spool) recordClose(ev *event.Event) (Receipt, error) {
	if err := s.roll(); err != nil {
		return Receipt{}, err
	}
	start := len(s.buf)
	b := append(s.buf, make([]byte, recordHeader)...)
	b = append(b, ev.ID[:]...)
	b = binary.LittleEndian.AppendUint64(b, ev.Seq)
	b = append(append(b, byte(len(ev.Writer))), ev.Writer...)
	b, err := ev.Append(b)
	if err != nil {
		return Receipt{}, err
	}
	return s.appendEvent(b, start, kindClose)
}

func (s *Spool) appendEvent(b []byte, start int, kind byte) (Receipt, error) {
	s.append(b, start, kind)
	s.events++
	s.lastEvent = s.end
	if len(s.buf) > maxBuffer {
		if err := s.write(); err != nil {
			return Receipt{}, err
		}
	}
	return Receipt{s.end}, nil
}

// append makes b, which is s.buf with one record more, the buffer. Caller
// holds mu.
func (s *Spool) append(b []byte, start int, kind byte) {
	s.buf = seal(b, start, kind, s.synced, s.segments[len(s.segments)-1].seed)
	s.end += uint64(len(s.buf) - start)
	if !s.dirty {
		s.dirty = true
		signal(s.lazy)
	}
	if s.end-s.synced > lazyBytes && !s.syncing {
		signal(s.urgent)
	}
}

// write puts the buffer into the page cache. Caller holds mu.
func (s *Spool) write() error {
	if len(s.buf) == 0 {
		return nil
	}
	seg := s.segments[len(s.segments)-1]
	if _, err := seg.file.WriteAt(s.buf, int64(s.written-seg.base)); err != nil {
		return s.fail(fmt.Errorf("write %s: %w", seg.name, err))
	}
	s.buf, s.written = s.buf[:0], s.end
	return nil
}

// fail stops admission for good. Caller holds mu.
func (s *Spool) fail(err error) error {
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		s.o.Logger.Error("spool failed: admission stopped until the process is started again", "dir", s.o.Dir, "err", err)
		s.wake(&s.current)
		s.wake(&s.following)
		s.changed.Broadcast()
	}
	return s.failed
}

// wake ends the wait of a group.
func (s *Spool) wake(group *chan struct{}) {
	if *group != nil {
		close(*group)
		*group = nil
	}
}

// signal makes sure that the reader of ch looks again.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close records writer.closed and syncs. If a Drain is running it gets until
// ctx ends to hand everything over; what is left stays for the next opening.
// Intents still open become recovered events then. A disk or a publish that
// hangs holds Close for up to 5 s more; the folder then stays locked.
func (s *Spool) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closing = true
	s.changed.Broadcast()
	s.stopBeat()
	err := s.failed
	if err == nil {
		s.seq++
		_, err = s.recordClose(s.lifecycle(event.WriterClosed, s.writer, s.seq, event.Lifecycle{Instance: s.o.Instance, Reason: "stopped"}))
	}
	end, draining, drained := s.end, s.draining, s.drained
	s.mu.Unlock()

	if err == nil {
		err = s.waitSynced(context.Background(), end, time.After(closeGrace))
	}
	if err == nil && draining {
		if left := s.flushed(ctx); left != nil {
			s.o.Logger.Info("spool closes with events left for the next opening", "dir", s.o.Dir, "err", left)
		}
		s.mu.Lock()
		s.appendAck()
		end = s.end
		s.mu.Unlock()
		err = s.waitSynced(context.Background(), end, time.After(closeGrace))
	}
	close(s.quit)
	stopped := make(chan struct{})
	go func() {
		if draining {
			<-drained
		}
		s.running.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(closeGrace):
		// Whatever does not return still uses the files.
		return errors.Join(err, fmt.Errorf("close spool %s: it does not stop: %w", s.o.Dir, ErrTimeout))
	}
	s.meters.unregister(s.o.Metrics)
	return errors.Join(err, s.release())
}

// release closes the files and lets go of the folder.
func (s *Spool) release() error {
	var err error
	for _, seg := range append(s.segments, s.spares...) {
		err = errors.Join(err, seg.file.Close())
	}
	return errors.Join(err, s.lock.Close())
}

// lifecycle is an event about a writer.
func (s *Spool) lifecycle(t event.Type, writer string, seq uint64, l event.Lifecycle) *event.Event {
	now := event.At(s.o.Now())
	l.Version = s.o.Version
	if l.Kind == "" {
		l.Kind = s.o.Kind
	}
	return &event.Event{ID: event.NewID(now), Source: s.o.Source, Type: t, Time: now, Writer: writer, Seq: seq, Lifecycle: &l}
}

// beat records a heartbeat at each interval, so that a dead writer shows.
func (s *Spool) beat(ctx context.Context) {
	tick := time.NewTicker(s.o.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ev := s.lifecycle(event.WriterHeartbeat, "", 0, event.Lifecycle{Instance: s.o.Instance})
		if _, err := s.Record(ev); err != nil && !errors.Is(err, ErrClosed) {
			s.o.Logger.Warn("spool recorded no heartbeat", "dir", s.o.Dir, "err", err)
		}
	}
}
