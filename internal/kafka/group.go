package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// ErrGenerationEnded says that the partitions are not this reader's any more: another reader came or went, or the connection to the group was lost.
// A handler that gets it returns; Consume calls it again with what it owns then.
var ErrGenerationEnded = errors.New("the consumer group has moved on")

// GroupConfig names the group and the topic that its members share.
type GroupConfig struct {
	Config
	Group  string
	Topic  string
	Logger *slog.Logger
}

// Generation is a time in which this reader owns some partitions. It may own none.
type Generation struct {
	Partitions []int // in order

	topic      string
	log        *slog.Logger
	client     *kafkago.Client
	generation *kafkago.Generation
	committed  map[int]int64
}

// Consume joins the group and calls handle with each generation, one after the other, until ctx ends (then it returns nil) or handle
// returns an error of its own (then it returns that). handle works until its ctx ends, within 30 s then; another reader gets its
// partitions after that. handle that returns nil earlier gives up its partitions and joins anew.
//
// Brokers that are away delay: Consume tries on and logs. Brokers that refuse (wrong password, no right to the topic) are an error.
func Consume(ctx context.Context, c GroupConfig, handle func(context.Context, *Generation) error) error {
	client, transport, err := c.client(c.Topic)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	dialer, err := c.dialer()
	if err != nil {
		return err
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: c.Group, Topics: []string{c.Topic}, Brokers: c.Brokers,
		Dialer:            dialer,
		HeartbeatInterval: time.Second, SessionTimeout: 10 * time.Second, RebalanceTimeout: 30 * time.Second, JoinGroupBackoff: time.Second,
		WatchPartitionChanges: true, PartitionWatchInterval: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.Group, err)
	}
	defer group.Close()
	for {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && refused(err):
			return fmt.Errorf("join group %s: %w", c.Group, err)
		case err != nil:
			c.Logger.Warn("joining the group does not work, trying again", "group", c.Group, "error", err)
			continue
		}
		g := &Generation{topic: c.Topic, log: c.Logger, client: client, generation: generation, committed: map[int]int64{}}
		for _, assignment := range generation.Assignments[c.Topic] {
			g.Partitions = append(g.Partitions, assignment.ID)
			if assignment.Offset >= 0 {
				g.committed[assignment.ID] = assignment.Offset
			}
		}
		slices.Sort(g.Partitions)
		c.Logger.Info("partitions assigned", "group", c.Group, "topic", c.Topic, "partitions", g.Partitions, "generation", generation.ID)

		// The group waits for this function before it lets the partitions go.
		outcome := make(chan error, 1)
		generation.Start(func(ended context.Context) {
			handling, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(ended, cancel)()
			err := handle(handling, g)
			if handling.Err() != nil && errors.Is(err, context.Canceled) || errors.Is(err, ErrGenerationEnded) {
				err = nil
			}
			outcome <- err
		})
		if err := <-outcome; err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Committed is the offset that the group has noted for the partition: the next one to read. It is for people and lag meters; where to
// read from is in the reader's own store.
func (g *Generation) Committed(partition int) (offset int64, ok bool) {
	offset, ok = g.committed[partition]
	return offset, ok
}

// Offsets returns for each partition of the topic the first offset that is there and the next one to be written.
func (g *Generation) Offsets(ctx context.Context) (first, next map[int]int64, err error) {
	err = retry(ctx, g.log, "list offsets", func() (err error) {
		first, next, err = offsets(ctx, g.client, g.topic)
		return err
	})
	return first, next, err
}

// Open makes a reader that starts at offset. An OffsetError says that this offset is not in the partition.
func (g *Generation) Open(ctx context.Context, partition int, offset int64) (*PartitionReader, error) {
	if !slices.Contains(g.Partitions, partition) {
		return nil, fmt.Errorf("open topic %s, partition %d: it is not this reader's", g.topic, partition)
	}
	return openPartition(ctx, g.client, g.log, g.topic, partition, offset)
}

// Commit notes for each partition the next offset to read. It costs 5 ms or more: once per flush, not per message. ErrGenerationEnded
// says that the partitions are another reader's now, or that the connection to the group is lost, which is the same to the caller.
func (g *Generation) Commit(_ context.Context, next map[int]int64) error {
	err := g.generation.CommitOffsets(map[string]map[int]int64{g.topic: next})
	switch {
	case err == nil:
		return nil
	case refused(err):
		return fmt.Errorf("commit offsets of topic %s: %w", g.topic, err)
	default:
		return fmt.Errorf("commit offsets of topic %s: %w: %v", g.topic, ErrGenerationEnded, err)
	}
}
