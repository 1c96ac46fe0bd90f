package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// pin is one published build of libchdb: what is fetched, and what must come out of it. Source of the integrity value: the `dist.integrity`
// that the npm client shows for the package; library size and digest were taken from the archive that has this integrity.
type pin struct {
	Package       string // npm package
	Version       string
	Integrity     string // "sha512-" and base64, of the packed archive
	ArchiveSize   int64  // bytes
	LibrarySize   int64  // bytes of libchdb.so
	LibrarySHA512 string // hex, of libchdb.so
}

// pins has the builds by GOOS/GOARCH. A platform is listed when its archive has been fetched and its digests taken.
var pins = map[string]pin{
	"linux/amd64": {
		Package:       "@chdb/lib-linux-x64-gnu",
		Version:       "26.7.3-stable.1",
		Integrity:     "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==",
		ArchiveSize:   177817999,
		LibrarySize:   566330096,
		LibrarySHA512: "0a5e6af5cf57034116d34a39480989a160dd105f372d85aa748f8d2b0a5ebd52a90d913737d7ae86f6f597d37fe06d3a4d22125c13c5aa961d91aa93d034751e",
	},
}

// Progress is told how far a fetch is: stage is "download" or "unpack", done and total are bytes.
type Progress func(stage string, done, total int64)

const waysOut = "use an installed ClickHouse with --clickhouse-binary, or an outside server with --clickhouse"

// Library returns the path of the pinned libchdb.so in cacheDir (empty: ledgerline in the user's cache folder) and fetches it first
// if it is not there. One process fetches, others wait for it.
//
// The archive's SHA-512 is checked before anything is unpacked, the library's SHA-512 before it gets its name. At each later
// start its size and modification time are compared with those noted at that check; if they differ, the whole SHA-512 is
// taken again (1 s), and a file that does not have the pinned one is replaced, never loaded.
func Library(ctx context.Context, cacheDir string, progress Progress) (string, error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	p, ok := pins[platform]
	if !ok {
		return "", fmt.Errorf("no embedded ClickHouse for %s: %s", platform, waysOut)
	}
	cacheDir, err := resolveCache(cacheDir)
	if err != nil {
		return "", err
	}
	return p.library(ctx, cacheDir, progress)
}

func resolveCache(dir string) (string, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the user's cache folder: %w", err)
		}
		dir = filepath.Join(user, "ledgerline")
	}
	return filepath.Abs(dir)
}

func (p pin) library(ctx context.Context, cacheDir string, progress Progress) (string, error) {
	dir := filepath.Join(cacheDir, "chdb-"+p.Version+"-"+runtime.GOOS+"-"+runtime.GOARCH)
	lock, err := waitLock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.release()
	path := filepath.Join(dir, "libchdb.so")
	found := p.check(path)
	if found == nil {
		return path, nil
	}
	if err := p.fetch(ctx, dir, path, progress); err != nil {
		if !errors.Is(found, fs.ErrNotExist) {
			err = fmt.Errorf("%w (a file is there but not used: %v)", err, found)
		}
		return "", err
	}
	return path, nil
}

// check returns nil when the file at path is the pinned library.
func (p pin) check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() != p.LibrarySize {
		return fmt.Errorf("%s has %d bytes, the pinned library has %d", path, info.Size(), p.LibrarySize)
	}
	noted, err := os.ReadFile(path + ".verified")
	if err == nil && bytes.Equal(noted, p.note(info)) {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha512.New()
	if _, err := io.Copy(hash, file); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != p.LibrarySHA512 {
		return fmt.Errorf("%s does not have the pinned SHA-512", path)
	}
	return writePrivate(path+".verified", p.note(info))
}

// note is what a check writes down about the file it has seen.
func (p pin) note(info fs.FileInfo) []byte {
	return fmt.Appendf(nil, "sha512 %s size %d mtime %d\n", p.LibrarySHA512, info.Size(), info.ModTime().UnixNano())
}

// fetch brings the archive with the user's npm client, so that the user's own registry and proxy settings apply, and unpacks the library to path.
func (p pin) fetch(ctx context.Context, dir, path string, progress Progress) error {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("the embedded ClickHouse is fetched with npm, which is not installed: install Node.js, %s", waysOut)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the cache folder: %w", err)
	}
	temp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return fmt.Errorf("create a folder for the download: %w", err)
	}
	defer os.RemoveAll(temp)

	// npm's cache goes into the same folder: its growth is the progress, and no second copy of 170 MB stays with the user.
	cmd := exec.CommandContext(ctx, npm, "pack", p.Package+"@"+p.Version, "--ignore-scripts", "--loglevel=error", "--cache", filepath.Join(temp, "npm"), "--pack-destination", temp)
	cmd.Dir = temp
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run npm: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for waiting := true; waiting; {
		select {
		case <-ticker.C:
			progress("download", min(folderSize(temp), p.ArchiveSize), p.ArchiveSize)
		case err := <-ended:
			if err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				return fmt.Errorf("fetch %s@%s with npm: %w: %s; or %s", p.Package, p.Version, err, oneLine(stderr.String()), waysOut)
			}
			waiting = false
		}
	}
	archives, err := filepath.Glob(filepath.Join(temp, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("fetch %s@%s with npm: it left %d archives, not one", p.Package, p.Version, len(archives))
	}
	progress("download", p.ArchiveSize, p.ArchiveSize)
	os.RemoveAll(filepath.Join(temp, "npm"))
	return p.unpack(archives[0], path, progress)
}

// unpack checks the archive and moves its library to path: whole, synced and checked, or not at all.
func (p pin) unpack(archive, path string, progress Progress) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the fetched archive: %w", err)
	}
	defer file.Close()
	hash := sha512.New()
	if _, err := io.Copy(hash, file); err != nil {
		return fmt.Errorf("read the fetched archive: %w", err)
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != p.Integrity {
		return fmt.Errorf("the fetched %s@%s is not the pinned one: its integrity is %s, pinned is %s", p.Package, p.Version, got, p.Integrity)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the fetched archive: %w", err)
	}
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	entries := tar.NewReader(compressed)
	for {
		entry, err := entries.Next()
		if err != nil {
			return fmt.Errorf("find libchdb.so in %s: %w", archive, err)
		}
		if entry.Typeflag == tar.TypeReg && entry.Name == "package/libchdb.so" {
			break
		}
	}
	temp := filepath.Join(filepath.Dir(archive), "libchdb.so")
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("unpack libchdb.so: %w", err)
	}
	defer out.Close()
	hash.Reset()
	target := &countingWriter{w: io.MultiWriter(out, hash), total: p.LibrarySize, progress: progress}
	if _, err := io.CopyBuffer(target, entries, make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("unpack libchdb.so: %w", err)
	}
	if hex.EncodeToString(hash.Sum(nil)) != p.LibrarySHA512 {
		return errors.New("the unpacked libchdb.so does not have the pinned SHA-512")
	}
	if err := out.Sync(); err != nil {
		return fmt.Errorf("sync libchdb.so: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("move libchdb.so into place: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at the unpacked libchdb.so: %w", err)
	}
	if err := writePrivate(path+".verified", p.note(info)); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the cache folder: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("sync the cache folder: %w", err)
	}
	return nil
}

type countingWriter struct {
	w           io.Writer
	done, total int64
	progress    Progress
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	c.progress("unpack", c.done, c.total)
	return n, err
}

// folderSize is the sum of the sizes of all files below dir; what vanishes meanwhile does not count.
func folderSize(dir string) int64 {
	var sum int64
	filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
