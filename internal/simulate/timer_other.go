//go:build !linux

package simulate

import "time"

// A kernelTimer is the runtime's timer where there is no timerfd.
type kernelTimer struct {
	timer *time.Timer
	done  chan struct{}
}

func (t *kernelTimer) open() error {
	t.timer, t.done = time.NewTimer(time.Hour), make(chan struct{})
	t.timer.Stop()
	return nil
}

// arm makes wait return in d, and forgets any earlier time.
func (t *kernelTimer) arm(d time.Duration) { t.timer.Reset(d) }

// wait blocks until the time of arm, and returns false once the timer is closed.
func (t *kernelTimer) wait() bool {
	select {
	case <-t.timer.C:
		return true
	case <-t.done:
		return false
	}
}

func (t *kernelTimer) close() { close(t.done) }
