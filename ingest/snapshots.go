package ingest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/sql"
)

// snapshots finds governance snapshots by digest: in memory, in the table, on
// the topic. One from the topic is in the table before it is used. It is safe
// for concurrent use.
type snapshots struct {
	store Store
	kafka kafka.Config
	topic string // empty: the table alone
	now   func() time.Time
	log   *slog.Logger

	found sync.Map   // [32]byte → *governance.Snapshot
	mu    sync.Mutex // one search at a time
}

func newSnapshots(o Options) *snapshots {
	return &snapshots{store: o.DB, kafka: o.Kafka, topic: o.GovernanceTopic, now: o.Now, log: o.Logger}
}

// errUnknownSnapshot says that neither the table nor the topic has it.
var errUnknownSnapshot = errors.New("governance snapshot is neither in the store nor on its topic")

// wait returns the snapshot, however long it takes to be published: nothing of
// its events can be known before.
func (s *snapshots) wait(ctx context.Context, digest [32]byte, commit string) (*governance.Snapshot, error) {
	for said := false; ; said = true {
		if snap, ok := s.found.Load(digest); ok {
			return snap.(*governance.Snapshot), nil
		}
		var snap *governance.Snapshot
		err := retry(ctx, s.log, "look for a governance snapshot", func() (err error) {
			snap, err = s.find(ctx, digest, commit)
			return err
		})
		if !errors.Is(err, errUnknownSnapshot) {
			return snap, err
		}
		if !said {
			s.log.Warn("an event names a governance snapshot that is not there; ingest waits for it", "digest", hex.EncodeToString(digest[:]))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// find looks once. It fails with errUnknownSnapshot when it is nowhere.
func (s *snapshots) find(ctx context.Context, digest [32]byte, commit string) (*governance.Snapshot, error) {
	if snap, ok := s.found.Load(digest); ok {
		return snap.(*governance.Snapshot), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if snap, ok := s.found.Load(digest); ok {
		return snap.(*governance.Snapshot), nil
	}
	var rows []struct {
		Archive string `ch:"archive"`
	}
	if err := s.store.Select(ctx, &rows, sql.Query("ingest_snapshot"), clickhouse.Param("digest", digest)); err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		return s.keep(digest, []byte(rows[0].Archive))
	}
	if s.topic == "" {
		return nil, errUnknownSnapshot
	}
	var archive []byte
	key := hex.EncodeToString(digest[:])
	err := kafka.ReadAll(ctx, s.kafka, s.log, s.topic, func(m kafka.Message) error {
		if string(m.Key) == key && len(m.Value) > 0 {
			archive = m.Value
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.log.Warn("reading the governance topic does not work", "error", err)
		return nil, errUnknownSnapshot
	}
	if archive == nil {
		return nil, errUnknownSnapshot
	}
	snap, err := s.keep(digest, archive)
	if err != nil {
		return nil, err
	}
	if err := s.insert(ctx, snap, commit); err != nil {
		s.found.Delete(digest)
		return nil, err
	}
	return snap, nil
}

func (s *snapshots) keep(digest [32]byte, archive []byte) (*governance.Snapshot, error) {
	snap, err := governance.Parse(archive)
	if err != nil {
		// A newer program may have written it: waiting for an update is right.
		s.log.Error("governance snapshot cannot be read by this version", "digest", hex.EncodeToString(digest[:]), "error", err)
		return nil, errUnknownSnapshot
	}
	if snap.Digest != digest {
		s.log.Error("governance snapshot is not what its key says", "digest", hex.EncodeToString(digest[:]))
		return nil, errUnknownSnapshot
	}
	s.found.Store(digest, snap)
	return snap, nil
}

func (s *snapshots) insert(ctx context.Context, snap *governance.Snapshot, commit string) error {
	err := s.store.Insert(ctx, "snapshots", "", []clickhouse.Column{
		{Name: "digest", Data: [][32]byte{snap.Digest}}, {Name: "archive", Data: [][]byte{snap.Archive}}, {Name: "price_book", Data: []string{snap.PriceBook}},
		{Name: "git_commit", Data: []string{commit}}, {Name: "recorded_at", Data: []int64{s.now().UnixMicro()}},
	})
	if err != nil {
		return fmt.Errorf("record governance snapshot: %w", err)
	}
	return nil
}
