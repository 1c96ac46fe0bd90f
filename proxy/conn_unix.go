//go:build unix

package proxy

import "syscall"

func peekFD(fd uintptr) connState {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return open
	case err != nil || n == 0:
		return closed
	}
	return readable
}
