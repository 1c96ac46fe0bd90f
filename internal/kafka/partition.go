package kafka

import (
	"cmp"
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
	fetchBytes = 4 << 20                // of one fetch, as it is on the wire
	fetchWait  = 500 * time.Millisecond // what the broker waits for a first message
	emptyLimit = 20                     // fetches in a row without a record although the partition goes on
	chunkBytes = 256 << 10              // messages are copied into chunks of this size
	maxPause   = time.Second            // the longest pause between tries while the brokers are away
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
	if err := retry(ctx, log, "open topic "+topic, func() error { return r.inRange(ctx) }); err != nil {
		return nil, err
	}
	return r, nil
}

// retry calls do until it works, ctx ends, or trying again cannot help: brokers that are away delay, and after they are back each connection
// of before fails once.
func retry(ctx context.Context, log *slog.Logger, what string, do func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		err := do()
		var gone *OffsetError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case refused(err), errors.Is(err, errStuck), errors.As(err, &gone):
			return fmt.Errorf("%s: %w", what, err)
		}
		log.Warn("the brokers do not answer as they should, trying again", "what", what, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
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
	var messages []Message
	what := fmt.Sprintf("fetch topic %s, partition %d from offset %d", r.topic, r.partition, r.offset)
	err := retry(ctx, r.log, what, func() (err error) {
		messages, err = r.fetch(ctx)
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			return cmp.Or(r.inRange(ctx), err)
		}
		return err
	})
	return messages, err
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
	messages, next, err := r.decode(response.Records)
	if err != nil {
		return nil, fmt.Errorf("decode records: %w", err)
	}
	if next > r.offset || next >= r.end {
		r.empty = 0
	} else if r.empty++; r.empty >= emptyLimit {
		return nil, errStuck
	}
	r.offset = next // only now: messages before an error are fetched again
	return messages, nil
}

// decode copies the records out of kafka-go's pages, which are used again; next is the position behind them. A batch may begin before the
// position; control records (the marks of other programs' transactions) only move it.
func (r *PartitionReader) decode(all protocol.RecordReader) (messages []Message, next int64, err error) {
	next = r.offset
	batches := []protocol.RecordReader{all}
	if stream, ok := all.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
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
				return nil, 0, err
			}
			if control || record.Offset < r.offset {
				closeAll(record.Key, record.Value)
			} else {
				key, err := clone(record.Key)
				if err != nil {
					return nil, 0, err
				}
				value, err := clone(record.Value)
				if err != nil {
					return nil, 0, err
				}
				messages = append(messages, Message{Key: key, Value: value, Time: record.Time.UTC(), Partition: r.partition, Offset: record.Offset})
			}
			next = max(next, record.Offset+1)
		}
	}
	return messages, next, nil
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
