package proxy

import "sync"

// flight is the calls in flight, for Shutdown.
type flight struct {
	mu      sync.Mutex
	first   *call
	count   int
	cutting bool
	empty   []chan struct{}
}

// add puts a call into flight. When calls are being cut, it is cut at once.
func (f *flight) add(c *call) {
	f.mu.Lock()
	c.prev, c.next = nil, f.first
	if f.first != nil {
		f.first.prev = c
	}
	f.first = c
	f.count++
	cutting := f.cutting
	f.mu.Unlock()
	if cutting {
		c.cut()
	}
}

func (f *flight) remove(c *call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		f.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	f.count--
	if f.count == 0 {
		for _, ch := range f.empty {
			close(ch)
		}
		f.empty = nil
	}
}

// whenEmpty is closed once no call is in flight.
func (f *flight) whenEmpty() <-chan struct{} {
	ch := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		close(ch)
	} else {
		f.empty = append(f.empty, ch)
	}
	return ch
}

// cutAll interrupts what every call waits for upstream.
func (f *flight) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutting = true
	for c := f.first; c != nil; c = c.next {
		c.cut()
	}
}

func (f *flight) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}
