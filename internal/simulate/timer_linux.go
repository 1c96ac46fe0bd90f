package simulate

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A kernelTimer is a timerfd(2) in the runtime's poller: it wakes to the
// microsecond and costs nothing while it waits.
type kernelTimer struct {
	fd   uintptr
	file *os.File // owns fd
}

func (t *kernelTimer) open() error {
	const monotonic, nonblock, cloexec = 1, syscall.O_NONBLOCK, syscall.O_CLOEXEC
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, nonblock|cloexec, 0)
	if errno != 0 {
		return fmt.Errorf("create a timer: %w", errno)
	}
	t.fd, t.file = fd, os.NewFile(fd, "timerfd")
	return nil
}

// arm makes wait return in d, and forgets any earlier time.
func (t *kernelTimer) arm(d time.Duration) {
	spec := [2]syscall.Timespec{1: syscall.NsecToTimespec(int64(max(d, 1)))} // interval, value; 0 would disarm
	syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, t.fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// wait blocks until the time of arm, and returns false once the timer is closed.
func (t *kernelTimer) wait() bool {
	var expirations [8]byte
	_, err := t.file.Read(expirations[:])
	return err == nil
}

func (t *kernelTimer) close() { t.file.Close() }
