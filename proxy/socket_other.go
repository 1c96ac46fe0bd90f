//go:build !linux || race

package proxy

import "net"

func direct(c net.Conn) net.Conn { return c }
