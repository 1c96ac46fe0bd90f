package main

import (
	"log/slog"
	"sync"

	"github.com/ledgerline/ledgerline/internal/governance"
)

// folder is the governance folder as a process follows it that only reads it: looked at each time that it is asked for, a changed one
// taken only if it checks.
type folder struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	seen    string // fingerprint at the last look
	current *governance.Snapshot
}

// openFolder reads the folder, which must check; nil when none is named.
func openFolder(dir string, log *slog.Logger) (*folder, error) {
	if dir == "" {
		return nil, nil
	}
	f := &folder{dir: dir, log: log, seen: fingerprint(dir)}
	var err error
	f.current, err = governance.Load(dir)
	return f, err
}

// snapshot is what the folder says now, or what it said when it last checked.
func (f *folder) snapshot() *governance.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := fingerprint(f.dir)
	if now == f.seen {
		return f.current
	}
	f.seen = now
	next, err := governance.Load(f.dir)
	if err != nil {
		f.log.Error("changed governance folder refused; what it said before stays", "digest", f.current.Hex(), "err", err)
		return f.current
	}
	f.current = next
	return next
}
