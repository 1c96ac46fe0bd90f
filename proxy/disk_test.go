package proxy

import (
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/ledgerline/ledgerline/internal/spool"
)

// gatedDisk is the real disk, the syncs of which wait while the gate is shut.
type gatedDisk struct {
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func (d *gatedDisk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = make(chan struct{})
}

func (d *gatedDisk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut != nil {
		close(d.shut)
		d.shut = nil
	}
}

func (d *gatedDisk) wait() {
	d.mu.Lock()
	shut := d.shut
	d.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

type gatedFile struct {
	*os.File
	disk *gatedDisk
}

func (f gatedFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f gatedFile) Sync() error {
	f.disk.wait()
	return f.File.Sync()
}

func (d *gatedDisk) Lock(dir string) (io.Closer, error) {
	return io.NopCloser(nil), os.MkdirAll(dir, 0o700)
}

func (d *gatedDisk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d *gatedDisk) Create(name string, size int64) (spool.File, error) {
	f, err := os.Create(name)
	return gatedFile{f, d}, err
}

func (d *gatedDisk) Open(name string) (spool.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	return gatedFile{f, d}, err
}

func (d *gatedDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (d *gatedDisk) Remove(name string) error     { return os.Remove(name) }

func (d *gatedDisk) SyncDir(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
