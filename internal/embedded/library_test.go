package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeRegistry puts an npm into PATH that "downloads" a small archive and notes each call; it returns the pin of that archive.
func fakeRegistry(t *testing.T, library string) (p pin, calls func() int) {
	t.Helper()
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	entries := tar.NewWriter(compressed)
	for name, text := range map[string]string{"package/index.js": "x", "package/libchdb.so": library} {
		if err := entries.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		entries.Write([]byte(text))
	}
	entries.Close()
	compressed.Close()
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("archive", archive.String())
	write("npm", "#!/bin/sh\necho \"$@\" >>"+folder+"/calls\nexec /bin/cp "+folder+"/archive ./package.tgz\n")
	t.Setenv("PATH", folder)
	sum, whole := sha512.Sum512([]byte(library)), sha512.Sum512(archive.Bytes())
	p = pin{
		Package: "@chdb/test", Version: "1.2.3", Integrity: "sha512-" + base64.StdEncoding.EncodeToString(whole[:]), ArchiveSize: int64(archive.Len()),
		LibrarySize: int64(len(library)), LibrarySHA512: hex.EncodeToString(sum[:]),
	}
	return p, func() int {
		text, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return bytes.Count(text, []byte("\n"))
	}
}

// Processes that start at once on an empty cache fetch once; the exact version is asked for; progress goes to the end; nothing is left over.
func TestLibraryIsFetchedOnce(t *testing.T) {
	p, calls := fakeRegistry(t, "the library")
	cache := t.TempDir()
	var lock sync.Mutex
	var stages []string
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			path, err := p.library(t.Context(), cache, func(stage string, done, total int64) {
				lock.Lock()
				defer lock.Unlock()
				if done == total {
					stages = append(stages, stage)
				}
			})
			if err != nil {
				t.Error(err)
				return
			}
			if text, _ := os.ReadFile(path); string(text) != "the library" {
				t.Errorf("the library is %q", text)
			}
		})
	}
	group.Wait()
	if calls() != 1 || !slices.Equal(stages, []string{"download", "unpack"}) {
		t.Fatalf("npm was called %d times and progress ended %v", calls(), stages)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "*", "*"))
	if len(left) != 2 {
		t.Fatalf("the cache has %v, want the library and its note", left)
	}
}

// A file that is not the pinned library, whole or truncated, is never used: it is replaced where npm can be asked, and an error otherwise.
func TestForeignLibrary(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"truncated":          func(path string) error { return os.Truncate(path, 5) },
		"foreign, same size": func(path string) error { return os.WriteFile(path, []byte("a foreign!!"), 0o600) },
		"foreign with a note": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("a foreign!!"), 0o600), os.WriteFile(path+".verified", []byte("sha512 ok\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, calls := fakeRegistry(t, "the library")
			cache := t.TempDir()
			path, err := p.library(t.Context(), cache, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if _, err := p.library(t.Context(), cache, nil); err != nil || calls() != 2 {
				t.Fatalf("after %d fetches: %v", calls(), err)
			}
			if text, _ := os.ReadFile(path); string(text) != "the library" {
				t.Fatalf("the library is %q", text)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", t.TempDir())
			_, err = p.library(t.Context(), cache, nil)
			if err == nil || !strings.Contains(err.Error(), "--clickhouse-binary") || !strings.Contains(err.Error(), "not used") {
				t.Fatalf("without npm: %v", err)
			}
		})
	}
}

// A copied cache (other times, same bytes) is checked once and taken.
func TestTouchedLibrary(t *testing.T) {
	p, calls := fakeRegistry(t, "the library")
	cache := t.TempDir()
	path, err := p.library(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".verified"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.library(t.Context(), cache, nil); err != nil || calls() != 1 {
		t.Fatalf("a library without its note: %v, %d fetches", err, calls())
	}
}

// An archive other than the pinned one leaves nothing behind, and the error names both digests.
func TestForeignArchive(t *testing.T) {
	p, _ := fakeRegistry(t, "the library")
	p.Integrity = "sha512-other"
	cache := t.TempDir()
	path, err := p.library(t.Context(), cache, nil)
	if err == nil || !strings.Contains(err.Error(), "is not the pinned one") || !strings.Contains(err.Error(), "sha512-other") {
		t.Fatalf("got %q, %v", path, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) != 0 {
		t.Fatalf("a refused archive left %v", left)
	}
}

// Without npm and without a library there is one error that names the ways out.
func TestNoNpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := pins["linux/amd64"].library(t.Context(), t.TempDir(), nil)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, want := range []string{"npm", "--clickhouse-binary", "--clickhouse"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// An installed binary gets the same arguments, as `clickhouse local`, and the same files.
func TestInstalledBinary(t *testing.T) {
	dir := t.TempDir()
	s := state{User: "ledgerline", Password: "p", Ports: map[string]int{"tcp": 1, "http": 2}}
	if err := writeClickHouseConfig(dir, s, 0); err != nil {
		t.Fatal(err)
	}
	for _, argument := range clickhouseArguments(dir, s) {
		if strings.HasPrefix(argument, "--config-file=") {
			if _, err := os.Stat(strings.TrimPrefix(argument, "--config-file=")); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(argument, s.Password) && len(argument) == 1 {
			t.Error("the password is in the argv")
		}
	}
	command, err := childCommand([]string{"program"}, "clickhouse", dir, false, "binary", "/usr/bin/clickhouse")
	if want := []string{"program", childArgument, "clickhouse", dir, "keep", "binary", "/usr/bin/clickhouse"}; err != nil || !slices.Equal(command, want) {
		t.Fatalf("got %q, want %q", command, want)
	}
}
