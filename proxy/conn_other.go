//go:build !linux

package proxy

// peekFD cannot look here: a client that left is noticed when writing to it.
func peekFD(uintptr) connState { return open }
