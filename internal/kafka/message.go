package kafka

import "time"

// Message is one record of a topic. Publish reads Key and Value only.
type Message struct {
	Key       []byte
	Value     []byte
	Time      time.Time // UTC, when it was published, in milliseconds
	Partition int
	Offset    int64
}
