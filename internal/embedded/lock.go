package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// errLocked says that another process holds a lock file.
var errLocked = errors.New("lock is held by another process")

// lockFile is an flock on a file whose text is the holder's process id. The kernel drops the lock when the holder ends, however it
// ends, so a lock that is held always has a living holder.
type lockFile struct{ file *os.File }

// tryLock takes the lock at path, or returns errLocked at once.
func tryLock(path string) (*lockFile, error) {
	return openLock(path, syscall.LOCK_EX|syscall.LOCK_NB)
}

// waitLock takes the lock at path and waits for it as long as another process holds it.
func waitLock(path string) (*lockFile, error) {
	return openLock(path, syscall.LOCK_EX)
}

func openLock(path string, how int) (*lockFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the lock file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := file.Truncate(0); err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("write the process id into %s: %w", path, err)
		}
	}
	return &lockFile{file}, nil
}

// holder returns the process id written in the lock file at path, 0 when there is none.
func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

func (l *lockFile) release() { l.file.Close() }

// Lock waits for the lock file at path and takes it: for whoever shares the cache folder between processes.
func Lock(path string) (release func(), err error) {
	lock, err := waitLock(path)
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}

// TryLock takes the lock file at path, or fails with ErrInUse and the process id of its holder.
func TryLock(path string) (release func(), err error) {
	lock, err := tryLock(path)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s %w (pid %d)", filepath.Dir(path), ErrInUse, holder(path))
	}
	if err != nil {
		return nil, err
	}
	return lock.release, nil
}
