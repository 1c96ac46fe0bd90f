package embedded

import "errors"

// ErrInUse says that another process runs the engine of a folder. A command that only wants to ask attaches to it.
var ErrInUse = errors.New("is in use by another ledgerline")

// AttachClickHouse gives addresses and credentials of the store that another process runs on the folder. Only the accessors of
// what it returns may be called.
func AttachClickHouse(dir string) (*ClickHouse, error) {
	s, err := readState(dir)
	return &ClickHouse{state: s}, err
}

// AttachKafka is AttachClickHouse for the broker.
func AttachKafka(dir string) (*Kafka, error) {
	s, err := readState(dir)
	return &Kafka{state: s}, err
}
