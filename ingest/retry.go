package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
)

// retry does again what failed because the store is away, until it works, ctx
// ends or another error comes. It logs when the store goes and when it is back.
func retry(ctx context.Context, log *slog.Logger, what string, do func() error) error {
	away := false
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := do()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if away {
				log.Info("the store is back", "what", what)
			}
			return nil
		case !clickhouse.Temporary(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		if !away {
			log.Warn("the store is away; trying again until it is back", "what", what, "error", err)
			away = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
