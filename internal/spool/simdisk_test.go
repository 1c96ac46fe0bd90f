package spool

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// simDisk is a disk that forgets. It keeps apart what processes see (the page
// cache) and what a crash of the machine leaves: of every page written since
// the last good sync any version, or a mix of two by sectors; of every change
// of the folder since the last SyncDir, done or not; of every change of size
// the old or the new one. Each change is a call, and any call can fail or be
// the one in which the process dies.
type simDisk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	files   map[string]*inode // as seen
	durable map[string]*inode // as the disk has the folder
	changes []func(map[string]*inode)
	locked  bool

	calls  int
	at     int    // the call in which it happens; 0 is never
	what   error  // errDead: the process dies; else that call fails
	failed string // the call it happened in

	room     int64         // bytes that files may take; 0 is any number
	syncTime time.Duration // of one Sync
	syncs    int
}

type inode struct {
	seen    []byte
	disk    []byte
	dirty   map[int][][]byte // by page: the versions seen since the last good sync
	resized bool
}

const (
	page   = 4096
	sector = 512
)

var errDead = errors.New("the process is dead")

func newSimDisk(seed uint64) *simDisk {
	return &simDisk{rng: rand.New(rand.NewPCG(seed, 1)), files: map[string]*inode{}, durable: map[string]*inode{}}
}

// call counts a change. ok is false when the process is dead or the call is
// the one to fail; a change may then be done in part.
func (d *simDisk) call(what string) (err error) {
	d.calls++
	switch {
	case d.at == 0 || d.calls < d.at:
		return nil
	case d.calls == d.at:
		d.failed = what
		return d.what
	case d.what == errDead:
		return errDead
	}
	return nil
}

func (d *simDisk) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.what == errDead && d.at > 0 && d.calls >= d.at
}

// A crash decides what is left of what was not synced.
type crash struct {
	name string
	// version picks one of n versions of page i of pages, 0 being what the
	// disk had; torn mixes it with the one before.
	version func(r *rand.Rand, i, pages, n int) (v int, torn bool)
	entry   func(r *rand.Rand) bool // whether a change of the folder, or of a size, is done
}

var crashes = []crash{
	{"nothing unsynced is left", func(_ *rand.Rand, _, _, _ int) (int, bool) { return 0, false }, func(*rand.Rand) bool { return false }},
	{"all is left", func(_ *rand.Rand, _, _, n int) (int, bool) { return n - 1, false }, func(*rand.Rand) bool { return true }},
	{"only the later half is left", func(_ *rand.Rand, i, pages, n int) (int, bool) {
		if 2*i >= pages {
			return n - 1, false
		}
		return 0, false
	}, func(r *rand.Rand) bool { return r.IntN(2) == 0 }},
	{"all but one page is left", func(r *rand.Rand, i, pages, n int) (int, bool) {
		if i == pages/2 {
			return 0, false
		}
		return n - 1, false
	}, func(*rand.Rand) bool { return true }},
	{"any part is left", func(r *rand.Rand, _, _, n int) (int, bool) { return r.IntN(n), false }, func(r *rand.Rand) bool { return r.IntN(2) == 0 }},
	{"pages are torn", func(r *rand.Rand, _, _, n int) (int, bool) { return r.IntN(n), r.IntN(2) == 0 }, func(r *rand.Rand) bool { return r.IntN(2) == 0 }},
}

// restart is the disk after the death of the process: with the page cache as
// it was (crash nil), or after a crash of the machine.
func (d *simDisk) restart(c *crash) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.calls, d.what, d.failed, d.locked = 0, 0, nil, "", false
	if c == nil {
		return d
	}
	for _, change := range d.changes {
		if c.entry(d.rng) {
			change(d.durable)
		}
	}
	d.changes = nil
	d.files = map[string]*inode{}
	for name, n := range d.durable {
		n.crash(d.rng, c)
		d.files[name] = n
	}
	return d
}

func (n *inode) crash(r *rand.Rand, c *crash) {
	size := len(n.disk)
	if n.resized && c.entry(r) {
		size = len(n.seen)
	}
	left := make([]byte, max(size, len(n.seen), len(n.disk)))
	copy(left, n.disk)
	pages := make([]int, 0, len(n.dirty))
	for p := range n.dirty {
		pages = append(pages, p)
	}
	slices.Sort(pages)
	for i, p := range pages {
		old := make([]byte, page)
		copy(old, left[min(p*page, len(left)):])
		versions := append([][]byte{old}, n.dirty[p]...)
		v, torn := c.version(r, i, len(pages), len(versions))
		for s := 0; s < page; s += sector {
			from := versions[v]
			if torn && v > 0 && r.IntN(2) == 0 {
				from = versions[v-1]
			}
			if at := p*page + s; at < len(left) {
				copy(left[at:], from[s:s+sector])
			}
		}
	}
	n.disk = left[:size:size]
	n.seen = slices.Clone(n.disk)
	n.dirty, n.resized = nil, false
}

// taken is the size of all files.
func (d *simDisk) taken() (sum int64) {
	for _, n := range d.files {
		sum += int64(len(n.seen))
	}
	return sum
}

// size is taken, for others.
func (d *simDisk) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taken()
}

// image is what processes see.
func (d *simDisk) image() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string]string{}
	for name, n := range d.files {
		files[name] = string(n.seen)
	}
	return files
}

func (d *simDisk) change(f func(map[string]*inode)) {
	f(d.files)
	d.changes = append(d.changes, f)
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

func (d *simDisk) Lock(string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, ErrLocked
	}
	d.locked = true
	return unlock(func() { d.mu.Lock(); d.locked = false; d.mu.Unlock() }), nil
}

func (d *simDisk) List(string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.files {
		names = append(names, filepath.Base(name))
	}
	return names, nil
}

func (d *simDisk) Create(name string, size int64) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room > 0 && d.taken()+size > d.room {
		return nil, syscall.ENOSPC
	}
	n := &inode{seen: make([]byte, size), dirty: map[int][][]byte{}, resized: true}
	err := d.call("create")
	if err == nil || err == errDead && d.rng.IntN(2) == 0 {
		d.change(func(dir map[string]*inode) { dir[name] = n })
	}
	return &simFile{d, n}, err
}

func (d *simDisk) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.files[name]
	if !ok {
		return nil, errors.New("no such file")
	}
	return &simFile{d, n}, nil
}

func (d *simDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.call("rename")
	if err == nil || err == errDead && d.rng.IntN(2) == 0 {
		d.change(func(dir map[string]*inode) {
			if n, ok := dir[from]; ok {
				dir[to] = n
				delete(dir, from)
			}
		})
	}
	return err
}

func (d *simDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.call("remove")
	if err == nil || err == errDead && d.rng.IntN(2) == 0 {
		d.change(func(dir map[string]*inode) { delete(dir, name) })
	}
	return err
}

func (d *simDisk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("sync of the folder"); err != nil {
		return err
	}
	for _, change := range d.changes {
		change(d.durable)
	}
	d.changes = nil
	return nil
}

type simFile struct {
	d *simDisk
	n *inode
}

func (f *simFile) Close() error { return nil }

func (f *simFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.seen)), nil
}

func (f *simFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := copy(b, f.n.seen[min(int(off), len(f.n.seen)):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.call("write")
	if err != nil { // a part of it is done
		if err == errDead && f.d.calls > f.d.at {
			return 0, err
		}
		b = b[:f.d.rng.IntN(len(b)+1)]
	}
	if int(off)+len(b) > len(f.n.seen) {
		return 0, syscall.ENOSPC // only room that was reserved
	}
	copy(f.n.seen[off:], b)
	for p := int(off) / page; p*page < int(off)+len(b); p++ {
		now := make([]byte, page)
		copy(now, f.n.seen[p*page:min((p+1)*page, len(f.n.seen))])
		if f.n.dirty == nil {
			f.n.dirty = map[int][][]byte{}
		}
		f.n.dirty[p] = append(f.n.dirty[p], now)
	}
	return len(b), err
}

func (f *simFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.call("truncate"); err != nil {
		return err
	}
	f.n.seen = f.n.seen[:size:size]
	f.n.resized = true
	return nil
}

// Sync, when it fails, does what Linux does: the pages count as clean from
// then on, some are on the disk and some are not, and the next Sync succeeds.
func (f *simFile) Sync() error {
	if f.d.syncTime > 0 {
		time.Sleep(f.d.syncTime)
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.syncs++
	err := f.d.call("sync")
	if err == errDead {
		return err
	}
	if f.n.resized {
		f.n.disk = append(f.n.disk, make([]byte, max(0, len(f.n.seen)-len(f.n.disk)))...)[:len(f.n.seen)]
		f.n.resized = false
	}
	for p, versions := range f.n.dirty {
		if at := p * page; at < len(f.n.disk) && (err == nil || f.d.rng.IntN(2) == 0) {
			copy(f.n.disk[at:], versions[len(versions)-1])
		}
	}
	f.n.dirty = nil
	return err
}
