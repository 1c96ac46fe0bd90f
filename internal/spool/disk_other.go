//go:build !linux

package spool

import "os"

func reserve(f *os.File, size int64) error { return reserveByWriting(f, size) }

// datasync is a full flush on Darwin (F_FULLFSYNC).
func datasync(f *os.File) error { return f.Sync() }
