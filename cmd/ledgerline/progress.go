package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ledgerline/ledgerline/internal/embedded"
)

// fetchProgress shows the one long fetch of a first start: a bar on a terminal, a line every few seconds otherwise.
func fetchProgress(w io.Writer) embedded.Progress {
	var mu sync.Mutex
	var bar *progressbar.ProgressBar
	var current string
	var last time.Time
	terminal, ended := isTerminal(w), false
	return func(stage string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if !terminal {
			now := time.Now()
			if stage != current || now.Sub(last) >= 5*time.Second || done >= total && !ended {
				fmt.Fprintf(w, "%s ClickHouse library: %d of %d MiB\n", stage, done>>20, total>>20)
				current, last, ended = stage, now, done >= total
			}
			return
		}
		if stage != current || bar == nil {
			if bar != nil {
				bar.Finish()
				fmt.Fprintln(w)
			}
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
				progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetDescription(stage+" ClickHouse library"))
			current = stage
		}
		bar.Set64(done)
		if done == total {
			bar.Finish()
			fmt.Fprintln(w)
			bar = nil
		}
	}
}

// countProgress shows how far a long count has come, in the same two ways.
func countProgress(w io.Writer, what string, total int) (set func(done int)) {
	if !isTerminal(w) {
		return func(int) {}
	}
	bar := progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
	return func(done int) { bar.Set(done) }
}
