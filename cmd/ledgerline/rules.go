package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgerline/ledgerline/internal/event"
	"github.com/ledgerline/ledgerline/internal/governance"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/spool"
	"github.com/ledgerline/ledgerline/proxy"
)

// rules is the governance folder as the proxy follows it: a snapshot is published before its first use, and a changed folder is
// taken only if it checks.
type rules struct {
	dir     string
	current *governance.Snapshot // nil before the first
	seen    string               // fingerprint of the folder at the last look
	engines *engineFlags
	cfg     kafka.Config
	records *spool.Spool
	source  string           // of what is recorded
	refused prometheus.Gauge // 1 while the folder is not the snapshot in force
	log     *slog.Logger
}

// openRules loads and publishes the folder's snapshot.
func openRules(ctx context.Context, dir, source string, engines *engineFlags, cfg kafka.Config, records *spool.Spool, metrics prometheus.Registerer, log *slog.Logger) (*rules, error) {
	r := &rules{dir: dir, seen: fingerprint(dir), engines: engines, cfg: cfg, records: records, source: source, log: log, refused: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ledgerline_governance_refused", Help: "1 while the governance folder was changed and refused, so that an older snapshot is in force.",
	})}
	if err := metrics.Register(r.refused); err != nil {
		return nil, err
	}
	s, err := governance.Load(dir)
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		log.Warn("governance", "problem", w.String())
	}
	if err := r.publish(ctx, s); err != nil {
		return nil, err
	}
	return r, r.adopt(s)
}

// publish puts a snapshot where every reader of events finds it, waiting for the broker as long as it takes.
func (r *rules) publish(ctx context.Context, s *governance.Snapshot) error {
	once := func() error {
		if err := r.engines.ensureTopics(ctx, r.cfg, r.log); err != nil {
			return err
		}
		producer, err := kafka.NewProducer(r.cfg, r.engines.topics.governance())
		if err != nil {
			return err
		}
		defer producer.Close()
		return producer.Publish(ctx, []kafka.Message{{Key: []byte(s.Hex()), Value: s.Archive}})
	}
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := once()
		if err == nil {
			return nil
		}
		r.log.Warn("cannot publish the governance snapshot; trying again", "digest", s.Hex(), "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("publish the governance snapshot: %w", err)
		case <-time.After(wait):
		}
	}
}

// adopt records that a published snapshot is in force from now on.
func (r *rules) adopt(s *governance.Snapshot) error {
	now := event.At(time.Now())
	_, err := r.records.Record(&event.Event{
		ID: event.NewID(now), Type: event.GovernanceLoaded, Time: now, Source: "ledgerline/governance",
		Governance: &event.Governance{Digest: s.Hex(), Commit: s.Commit, Changed: s.Changed(r.current)},
	})
	r.current = s
	if err != nil {
		return fmt.Errorf("record the governance snapshot: %w", err)
	}
	return nil
}

// refuse records that the folder was changed and not taken. It tells where the mistakes are and not what: that may quote the files.
func (r *rules) refuse(mistake error) error {
	reason := "it could not be put in force"
	if problems, ok := errors.AsType[governance.Problems](mistake); ok && len(problems) > 0 {
		reason = fmt.Sprintf("%s:%d", problems[0].File, problems[0].Line)
		switch more := len(problems) - 1; {
		case more == 1:
			reason += " and 1 more mistake"
		case more > 1:
			reason += fmt.Sprintf(" and %d more mistakes", more)
		}
	}
	now := event.At(time.Now())
	_, err := r.records.Record(&event.Event{ID: event.NewID(now), Type: event.AuditGovernance, Time: now, Source: r.source,
		Audit: &event.Audit{Actor: "operator", Action: "load governance", Object: r.current.Hex(), Reason: reason, Outcome: "refused"}})
	if err != nil {
		return fmt.Errorf("record that the governance folder was refused: %w", err)
	}
	return nil
}

// watch looks at the folder every two seconds, and at once on SIGHUP, until ctx ends.
func (r *rules) watch(ctx context.Context, server *proxy.Server) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		case <-tick.C:
			if fingerprint(r.dir) == r.seen {
				continue
			}
		}
		r.seen = fingerprint(r.dir)
		next, err := governance.Load(r.dir)
		if err == nil {
			if next.Digest == r.current.Digest {
				r.refused.Set(0)
				continue
			}
			if err = r.publish(ctx, next); err == nil {
				err = server.SetSnapshot(next)
			}
		}
		if err != nil {
			r.log.Error("changed governance folder refused; the running snapshot stays", "digest", r.current.Hex(), "err", err)
			r.refused.Set(1)
			if err := r.refuse(err); err != nil {
				r.log.Error("the refusal is not recorded", "err", err)
			}
			continue
		}
		r.refused.Set(0)
		r.log.Info("governance changed", "from", r.current.Hex(), "to", next.Hex(), "files", next.Changed(r.current))
		if err := r.adopt(next); err != nil {
			return err
		}
	}
}

// fingerprint changes when a file of the folder does: names, sizes and times.
func fingerprint(dir string) string {
	paths, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	text := ""
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			text += fmt.Sprintln(path, info.Size(), info.ModTime().UnixNano())
		}
	}
	return text
}
