package proxy

import (
	"syscall"
	"unsafe"
)

func peekFD(fd uintptr) connState {
	var b byte
	n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return open
	case err != 0 || n == 0:
		return closed
	}
	return readable
}
