package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Objects is where exports lie: a [Folder] or a [Bucket]. Names have / between their parts.
type Objects interface {
	// Put makes an object of a file, which it may take away: whole or not at all, and lasting when it returns. With once it fails
	// with fs.ErrExist when there is one already.
	Put(ctx context.Context, name string, file *os.File, once bool) error
	// Get gives the object as a local file, at its beginning, which the caller closes; fs.ErrNotExist when there is none.
	Get(ctx context.Context, name string) (*os.File, error)
	// List is the names that begin with a prefix, in order.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Folder is a folder of this machine.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of exports: %w", err)
	}
	return &Folder{root}, nil
}

// Put implements [Objects]. The file has to lie on the folder's file system.
func (f *Folder) Put(_ context.Context, name string, file *os.File, once bool) error {
	name = filepath.FromSlash(name)
	if err := f.root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	to := filepath.Join(f.root.Name(), name)
	move := os.Rename
	if once {
		move = os.Link // which does not replace
	}
	if err := move(file.Name(), to); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	// The name lasts when its folder is on disk, and those above it that may be new.
	for dir := filepath.Dir(to); ; dir = filepath.Dir(dir) {
		if err := syncFolder(dir); err != nil {
			return fmt.Errorf("put %s: %w", name, err)
		}
		if dir == f.root.Name() || !strings.HasPrefix(dir, f.root.Name()) {
			return nil
		}
	}
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements [Objects].
func (f *Folder) Get(_ context.Context, name string) (*os.File, error) {
	return f.root.Open(filepath.FromSlash(name))
}

// List implements [Objects]. What begins with a dot is not an object.
func (f *Folder) List(_ context.Context, prefix string) (names []string, err error) {
	start := filepath.Dir(filepath.FromSlash(prefix + "x"))
	err = fs.WalkDir(f.root.FS(), filepath.ToSlash(start), func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".") && name != ".":
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir() && strings.HasPrefix(name, prefix):
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// getAll reads a small object.
func getAll(ctx context.Context, objects Objects, name string) ([]byte, error) {
	file, err := objects.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const limit = 16 << 20
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return text, err
}
