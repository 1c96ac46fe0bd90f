package simulate

import (
	"container/heap"
	"sync"
	"time"
)

// A clock wakes alarms at their time, with one kernel timer for all of them.
//
// The runtime's own timers (time.Sleep, deadlines) are late by up to a
// millisecond in a process that is mostly idle, because its poller waits in
// whole milliseconds: too coarse to measure a proxy that adds a tenth of that.
type clock struct {
	timer kernelTimer

	mu     sync.Mutex
	alarms alarms        // by time
	done   chan struct{} // closed when run has returned
}

// An alarm is one wait. Its owner sets wake once; wake is called with the
// clock's lock held, so it must not block, and is not called after cancel.
type alarm struct {
	at   time.Time
	wake func()
	i    int // place in the heap, from 1; 0: not set
}

func newClock() (*clock, error) {
	c := &clock{done: make(chan struct{})}
	if err := c.timer.open(); err != nil {
		return nil, err
	}
	go c.run()
	return c, nil
}

// set wakes a at its time.
func (c *clock) set(a *alarm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heap.Push(&c.alarms, a)
	if a.i == 1 {
		c.timer.arm(time.Until(a.at))
	}
}

// cancel makes sure that a is not woken any more.
func (c *clock) cancel(a *alarm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.i > 0 {
		heap.Remove(&c.alarms, a.i-1)
	}
}

func (c *clock) run() {
	defer close(c.done)
	for c.timer.wait() {
		c.mu.Lock()
		now := time.Now()
		for len(c.alarms) > 0 && !c.alarms[0].at.After(now) {
			heap.Pop(&c.alarms).(*alarm).wake()
		}
		if len(c.alarms) > 0 {
			c.timer.arm(c.alarms[0].at.Sub(now))
		}
		c.mu.Unlock()
	}
}

// close stops the clock; alarms still set are never woken.
func (c *clock) close() {
	c.mu.Lock()
	c.timer.close()
	c.mu.Unlock()
	<-c.done
}

type alarms []*alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].i, a[j].i = i+1, j+1
}

func (a *alarms) Push(x any) {
	*a = append(*a, x.(*alarm))
	x.(*alarm).i = len(*a)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	x.i = 0
	return x
}
