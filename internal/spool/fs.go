package spool

import "io"

// FS is what the spool asks of a disk. Names are paths. Nothing is durable
// before File.Sync, and no entry of a folder before SyncDir.
type FS interface {
	// Lock makes the folder and holds it for this process until closed. It
	// fails with ErrLocked when another one holds it.
	Lock(dir string) (io.Closer, error)
	List(dir string) ([]string, error)
	// Create makes an empty file of size zero bytes, replacing one of this
	// name, whose room on the disk is taken: a write into it does not fail
	// for lack of room.
	Create(name string, size int64) (File, error)
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
}

// File is an open segment.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes all that was written durable. After an error nothing that
	// was not durable before is to be believed, whatever a later Sync says.
	Sync() error
}
