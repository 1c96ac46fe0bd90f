package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is what a topic must be like.
type Topic struct {
	Name            string
	Partitions      int
	Replication     int           // 0: the brokers' default. From 3 on, a message is acknowledged when two replicas have it
	Compacted       bool          // keeps the last message of each key for ever
	Retention       time.Duration // of a topic that is not compacted; 0: for ever
	MaxMessageBytes int           // of one batch on the wire; 0: the brokers' default, at least 1 MB
}

// EnsureTopics makes the topics that are missing and checks those that are there. An existing topic that would lose messages or refuse
// them (wrong cleanup policy, shorter retention, smaller messages) is an error that names every such setting; another number of
// partitions is only logged. Calling it again changes nothing.
func EnsureTopics(ctx context.Context, c Config, log *slog.Logger, topics ...Topic) error {
	if err := Ping(ctx, c); err != nil {
		return err
	}
	client, transport, err := c.client()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()

	request := &kafkago.CreateTopicsRequest{}
	for _, t := range topics {
		request.Topics = append(request.Topics, kafkago.TopicConfig{
			Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: orDefault(t.Replication), ConfigEntries: t.entries(),
		})
	}
	response, err := client.CreateTopics(ctx, request)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	var mistakes []error
	for _, t := range topics {
		switch err := response.Errors[t.Name]; {
		case err == nil:
			log.Info("topic made", "topic", t.Name, "partitions", t.Partitions)
			mistakes = append(mistakes, t.await(ctx, c, log))
		case errors.Is(err, kafkago.TopicAlreadyExists):
			mistakes = append(mistakes, t.check(ctx, client, log))
		default:
			mistakes = append(mistakes, fmt.Errorf("create topic %s: %w", t.Name, err))
		}
	}
	return errors.Join(mistakes...)
}

// await returns when each partition of a new topic has a leader that answers.
func (t Topic) await(ctx context.Context, c Config, log *slog.Logger) error {
	client, transport, err := c.client(t.Name)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return retry(ctx, log, "wait for the leaders of topic "+t.Name, func() error {
		_, _, err := offsets(ctx, client, t.Name)
		return err
	})
}

func orDefault(replication int) int {
	if replication == 0 {
		return -1
	}
	return replication
}

func (t Topic) entries() []kafkago.ConfigEntry {
	var entries []kafkago.ConfigEntry
	set := func(name, value string) {
		entries = append(entries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	if t.Compacted {
		set("cleanup.policy", "compact")
	} else {
		set("cleanup.policy", "delete")
		set("retention.ms", strconv.FormatInt(t.retention(), 10))
	}
	if t.MaxMessageBytes > 0 {
		set("max.message.bytes", strconv.Itoa(t.MaxMessageBytes))
	}
	if t.Replication >= 3 {
		set("min.insync.replicas", "2")
	}
	return entries
}

// retention in milliseconds as Kafka writes it: -1 is for ever.
func (t Topic) retention() int64 {
	if t.Retention == 0 {
		return -1
	}
	return t.Retention.Milliseconds()
}

// check compares an existing topic with what it must be like.
func (t Topic) check(ctx context.Context, client *kafkago.Client, log *slog.Logger) error {
	metadata, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{t.Name}})
	if err != nil {
		return fmt.Errorf("look at topic %s: %w", t.Name, err)
	}
	if len(metadata.Topics) != 1 || metadata.Topics[0].Error != nil {
		return fmt.Errorf("look at topic %s: %v", t.Name, metadata.Topics)
	}
	if n := len(metadata.Topics[0].Partitions); n != t.Partitions {
		log.Warn("topic is there with another number of partitions; it is used as it is", "topic", t.Name, "partitions", n, "wanted", t.Partitions)
	}
	described, err := client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: t.Name,
		ConfigNames: []string{"cleanup.policy", "retention.ms", "max.message.bytes"},
	}}})
	if err != nil {
		return fmt.Errorf("read the settings of topic %s: %w", t.Name, err)
	}
	settings := map[string]string{}
	for _, resource := range described.Resources {
		if resource.Error != nil {
			return fmt.Errorf("read the settings of topic %s: %w", t.Name, resource.Error)
		}
		for _, entry := range resource.ConfigEntries {
			settings[entry.ConfigName] = entry.ConfigValue
		}
	}
	var mistakes []error
	wrong := func(name, want string) {
		mistakes = append(mistakes, fmt.Errorf("topic %s has %s=%s, it needs %s", t.Name, name, settings[name], want))
	}
	policy := "delete"
	if t.Compacted {
		policy = "compact"
	}
	if settings["cleanup.policy"] != policy {
		wrong("cleanup.policy", policy)
	}
	if have, err := strconv.ParseInt(settings["retention.ms"], 10, 64); !t.Compacted && (err != nil || have != -1 && (t.Retention == 0 || have < t.retention())) {
		wrong("retention.ms", fmt.Sprintf("at least %d", t.retention()))
	}
	if have, err := strconv.Atoi(settings["max.message.bytes"]); err != nil || have < t.MaxMessageBytes {
		wrong("max.message.bytes", fmt.Sprintf("at least %d", t.MaxMessageBytes))
	}
	return errors.Join(mistakes...)
}

// Offsets returns for each partition of the topic the first offset that is still there and the next one to be written.
func Offsets(ctx context.Context, c Config, topic string) (first, next map[int]int64, err error) {
	client, transport, err := c.client(topic)
	if err != nil {
		return nil, nil, err
	}
	defer transport.CloseIdleConnections()
	return offsets(ctx, client, topic)
}

func offsets(ctx context.Context, client *kafkago.Client, topic string) (first, next map[int]int64, err error) {
	partitions, err := partitionsOf(ctx, client, topic)
	if err != nil {
		return nil, nil, err
	}
	var asked []kafkago.OffsetRequest
	for _, partition := range partitions {
		asked = append(asked, kafkago.FirstOffsetOf(partition), kafkago.LastOffsetOf(partition))
	}
	response, err := client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: asked}})
	if err != nil {
		return nil, nil, fmt.Errorf("list the offsets of topic %s: %w", topic, err)
	}
	first, next = map[int]int64{}, map[int]int64{}
	for _, p := range response.Topics[topic] {
		if p.Error != nil {
			return nil, nil, fmt.Errorf("list the offsets of topic %s, partition %d: %w", topic, p.Partition, p.Error)
		}
		first[p.Partition], next[p.Partition] = p.FirstOffset, p.LastOffset
	}
	if len(first) != len(partitions) {
		return nil, nil, fmt.Errorf("list the offsets of topic %s: the brokers answered for %d of %d partitions", topic, len(first), len(partitions))
	}
	return first, next, nil
}

// partitionsOf returns the partition numbers of the topic in order.
func partitionsOf(ctx context.Context, client *kafkago.Client, topic string) ([]int, error) {
	metadata, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	if len(metadata.Topics) != 1 {
		return nil, fmt.Errorf("look at topic %s: the brokers did not answer for it", topic)
	}
	if err := metadata.Topics[0].Error; err != nil {
		return nil, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	var partitions []int
	for _, p := range metadata.Topics[0].Partitions {
		partitions = append(partitions, p.ID)
	}
	slices.Sort(partitions)
	return partitions, nil
}
