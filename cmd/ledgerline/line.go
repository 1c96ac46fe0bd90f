package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ledgerline/ledgerline/api"
	"github.com/ledgerline/ledgerline/ingest"
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/kafka"
	"github.com/ledgerline/ledgerline/internal/spool"
)

// line is the whole pipeline in one process: the parts that run as processes of their own elsewhere, with the same code.
type line struct {
	engines engineFlags
	proxy   proxyFlags
	api     apiFlags

	exportTo string

	cfg     kafka.Config
	db      *clickhouse.DB
	records *spool.Spool
	keys    *api.Keys

	proxyAddr, apiAddr string
}

// run starts engines and parts, calls ready when all of them serve, and stops when ctx ends or a part fails: first the clients'
// side, then what carries their last events to the books, then the engines.
func (l *line) run(ctx context.Context, log *slog.Logger, fetch embedded.Progress, progress io.Writer, ready func(ctx context.Context) error) error {
	unlock, err := embedded.TryLock(filepath.Join(l.engines.data, "ledgerline.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	registry := prometheus.NewRegistry()

	cfg, broker, err := l.engines.startKafka(ctx, log)
	if err != nil {
		return err
	}
	defer broker.Close()
	db, store, err := l.engines.openStore(ctx, log, fetch)
	if err != nil {
		return err
	}
	defer store.Close()
	defer db.Close()
	if err := l.engines.ensureTopics(ctx, cfg, log); err != nil {
		return err
	}
	records, err := l.proxy.openSpool(l.engines.data, "live", log, registry)
	if err != nil {
		return err
	}
	keys, err := openAPIKeys(l.engines.data)
	if err != nil {
		return err
	}
	rules, err := openFolder(l.proxy.governance, log)
	if err != nil {
		return err
	}
	l.cfg, l.db, l.records, l.keys = cfg, db, records, keys

	// The books' side ends after the clients' side, when it has caught up with what that recorded.
	booksCtx, stopBooks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBooks()
	books, booksCtx := errgroup.WithContext(booksCtx)
	books.Go(func() error { return runIngest(booksCtx, l.engines.topics, cfg, db, registry, log) })
	books.Go(func() error { return runJobs(booksCtx, l.engines.topics, cfg, db, rules, l.exportTo, registry, log) })

	clients, clientsCtx := errgroup.WithContext(ctx)
	proxyReady, apiReady := make(chan struct{}), make(chan struct{})
	clients.Go(func() error {
		return runAPI(clientsCtx, l.api, l.engines.topics.events(), db, rules, keys, records, registry, log, func(addr string) { l.apiAddr = addr; close(apiReady) })
	})
	clients.Go(func() error {
		return runProxy(clientsCtx, l.proxy, &l.engines, cfg, records, registry, log, func(addr string) { l.proxyAddr = addr; close(proxyReady) })
	})
	clients.Go(func() error {
		for _, part := range []<-chan struct{}{proxyReady, apiReady} {
			select {
			case <-part:
			case <-clientsCtx.Done():
				return nil
			}
		}
		return ready(clientsCtx)
	})
	clients.Go(func() error {
		select {
		case <-clientsCtx.Done():
			return nil
		case <-booksCtx.Done(): // crash instead of limp
			return fmt.Errorf("the books' side ended: %w", context.Cause(booksCtx))
		case <-broker.Done():
			return fmt.Errorf("embedded broker: %w", broker.Err())
		case <-store.Done():
			return fmt.Errorf("embedded store: %w", store.Err())
		}
	})
	err = clients.Wait()
	if errors.Is(err, errStop) {
		err = nil
	}
	if err == nil {
		fmt.Fprintln(progress, "stopping: the last events go to the books")
		l.catchUp(booksCtx, 15*time.Second, log)
	}
	stopBooks()
	if booksErr := books.Wait(); booksErr != nil && err == nil {
		err = booksErr
	}
	return err
}

// errStop is what ready returns to end the line without a failure.
var errStop = errors.New("stop")

// catchUp waits until the ingest has taken everything that the topic held when it was called.
func (l *line) catchUp(ctx context.Context, limit time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, end, err := kafka.Offsets(ctx, l.cfg, l.engines.topics.events())
	if err == nil {
		err = ingest.WaitFor(ctx, l.db, l.engines.topics.events(), end)
	}
	if err != nil {
		log.Warn("stopped before the last events were in the books; the next start goes on with them", "err", err)
	}
}
