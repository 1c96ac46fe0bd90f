package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	fetchBytes  = 4 << 20                // of one fetch, as it is on the wire
	fetchWait   = 500 * time.Millisecond // what the broker waits for a first message
	emptyLimit  = 20                     // fetches in a row without a record although the partition goes on
	chunkBytes  = 256 << 10              // messages are copied into chunks of this size
	maxFetchLag = time.Second            // the longest pause between tries while the brokers are away
)

// OffsetError says that a reader's position is not in the partition: what it had to read is gone (retention was faster than the reader), or the
// topic was made anew. Reading on elsewhere would be a gap in the books, so it is for a person to decide.
type OffsetError struct {
	Topic       string
	Partition   int
	Offset      int64 // asked for
	First, Next int64 // what the partition has: First ≤ offset < Next
}

func (e *OffsetError) Error() string {
	if e.Offset < e.First {
		return fmt.Sprintf("topic %s, partition %d: offset %d is gone, the first one there is %d: retention passed the reader", e.Topic, e.Partition, e.Offset, e.First)
	}
	return fmt.Sprintf("topic %s, partition %d: offset %d is beyond the end %d: the topic is not the one that was read before", e.Topic, e.Partition, e.Offset, e.Next)
}

// PartitionReader reads one partition in batches. It is for one goroutine.
type PartitionReader struct {
	client    *kafkago.Client
	log       *slog.Logger
	topic     string
	partition int
	offset    int64
	end       int64
	empty     int
}

// openPartition makes a reader at offset, which must be there or be the next one to be written.
func openPartition(ctx context.Context, client *kafkago.Client, log *slog.Logger, topic string, partition int, offset int64) (*PartitionReader, error) {
	r := &PartitionReader{client: client, log: log, topic: topic, partition: partition, offset: offset}
	if err := r.inRange(ctx); err != nil {
		return nil, fmt.Errorf("open topic %s, partition %d at offset %d: %w", topic, partition, offset, err)
	}
	return r, nil
}

func (r *PartitionReader) inRange(ctx context.Context) error {
	first, next, err := offsets(ctx, r.client, r.topic)
	if err != nil {
		return err
	}
	if r.offset < first[r.partition] || r.offset > next[r.partition] {
		return &OffsetError{r.topic, r.partition, r.offset, first[r.partition], next[r.partition]}
	}
	r.end = next[r.partition]
	return nil
}

// Offset is the next one that Fetch returns.
func (r *PartitionReader) Offset() int64 { return r.offset }

// End is the next offset to be written, as the last fetch saw it.
func (r *PartitionReader) End() int64 { return r.end }

// Fetch returns the next messages, in order: up to 4 MB as stored, none when none came within half a second. Keys and values stay valid. While
// brokers are away it tries again until ctx ends; it returns an OffsetError when the position is not there any more.
func (r *PartitionReader) Fetch(ctx context.Context) ([]Message, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, maxFetchLag) {
		messages, err := r.fetch(ctx)
		if err == nil {
			return messages, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			if inRange := r.inRange(ctx); inRange != nil {
				return nil, inRange
			}
		}
		if refused(err) || errors.Is(err, errStuck) {
			return nil, fmt.Errorf("fetch topic %s, partition %d from offset %d: %w", r.topic, r.partition, r.offset, err)
		}
		r.log.Warn("fetch does not work, trying again", "topic", r.topic, "partition", r.partition, "offset", r.offset, "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

var errStuck = errors.New("the broker gives no records although the partition goes on")

func (r *PartitionReader) fetch(ctx context.Context) ([]Message, error) {
	response, err := r.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic: r.topic, Partition: r.partition, Offset: r.offset, MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait,
	})
	if err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, response.Error
	}
	r.end = response.HighWatermark
	before := r.offset
	messages, err := r.decode(response.Records)
	if err != nil {
		return nil, fmt.Errorf("decode records: %w", err)
	}
	if r.offset > before || r.offset >= r.end {
		r.empty = 0
	} else if r.empty++; r.empty >= emptyLimit {
		return nil, errStuck
	}
	return messages, nil
}

// decode copies the records out of kafka-go's pages, which are used again, and moves the position behind them. A batch may begin before the
// position; control records (the marks of other programs' transactions) only move it.
func (r *PartitionReader) decode(all protocol.RecordReader) ([]Message, error) {
	batches := []protocol.RecordReader{all}
	if stream, ok := all.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
	var messages []Message
	var chunk []byte
	clone := func(from protocol.Bytes) ([]byte, error) {
		if from == nil {
			return nil, nil
		}
		defer from.Close()
		n := from.Len()
		if n > cap(chunk)-len(chunk) {
			chunk = make([]byte, 0, max(chunkBytes, n))
		}
		begin := len(chunk)
		chunk = chunk[:begin+n]
		_, err := io.ReadFull(from, chunk[begin:])
		return chunk[begin : begin+n : begin+n], err
	}
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		for {
			record, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if control || record.Offset < r.offset {
				closeAll(record.Key, record.Value)
			} else {
				key, err := clone(record.Key)
				if err != nil {
					return nil, err
				}
				value, err := clone(record.Value)
				if err != nil {
					return nil, err
				}
				messages = append(messages, Message{Key: key, Value: value, Time: record.Time.UTC(), Partition: r.partition, Offset: record.Offset})
			}
			r.offset = max(r.offset, record.Offset+1)
		}
	}
	return messages, nil
}

func closeAll(all ...protocol.Bytes) {
	for _, b := range all {
		if b != nil {
			b.Close()
		}
	}
}

// ReadAll calls each with every message of the topic from its start to the end it had when ReadAll was called, partition by partition; with a
// compacted topic, the last message of each key is the valid one. It returns when all are read, or with the first error.
func ReadAll(ctx context.Context, c Config, log *slog.Logger, topic string, each func(Message) error) error {
	client, transport, err := c.client(topic)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	first, next, err := offsets(ctx, client, topic)
	if err != nil {
		return err
	}
	for partition := range len(first) {
		r := &PartitionReader{client: client, log: log, topic: topic, partition: partition, offset: first[partition]}
		for r.offset < next[partition] {
			messages, err := r.Fetch(ctx)
			if err != nil {
				return fmt.Errorf("read all of topic %s: %w", topic, err)
			}
			for _, m := range messages {
				if m.Offset >= next[partition] {
					break
				}
				if err := each(m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
