package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline/ledgerline/internal/embedded"
	"github.com/ledgerline/ledgerline/internal/embedded/embeddedtest"
)

var quiet = slog.New(slog.DiscardHandler)

// target is the configuration of the tests' broker: embedded, or the one that LEDGERLINE_KAFKA names.
func target(t testing.TB) Config {
	t.Helper()
	broker := embeddedtest.Kafka(t)
	c := Config{Brokers: broker.Brokers, ClientID: "test"}
	if broker.Mechanism != "" {
		c.SASL = &SASL{broker.Mechanism, broker.User, broker.Password}
	}
	return c
}

// newTopic makes a topic that no other test uses.
func newTopic(t testing.TB, c Config, like Topic) string {
	t.Helper()
	like.Name = embeddedtest.Name("test")
	like.Partitions = max(like.Partitions, 1)
	if err := EnsureTopics(t.Context(), c, quiet, like); err != nil {
		t.Fatal(err)
	}
	return like.Name
}

func newProducer(t testing.TB, c Config, topic string) *Producer {
	t.Helper()
	p, err := NewProducer(c, topic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func numbered(from, to int) []Message {
	var messages []Message
	for i := from; i < to; i++ {
		messages = append(messages, Message{Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i)})
	}
	return messages
}

func readAll(t testing.TB, c Config, topic string) []Message {
	t.Helper()
	var all []Message
	if err := ReadAll(t.Context(), c, quiet, topic, func(m Message) error { all = append(all, m); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Every mistake of a configuration is named, all at once.
func TestValidateNamesAllMistakes(t *testing.T) {
	err := Config{
		Brokers: []string{"here"}, Compression: "rar",
		TLS:  &TLS{CAFile: filepath.Join(t.TempDir(), "none"), CertFile: "cert"},
		SASL: &SASL{Mechanism: "gssapi", User: "u", Password: "p"},
	}.Validate()
	for _, want := range []string{`broker "here" is not host:port`, `compression "rar"`, "read the CA file", "both its certificate file and its key file", `mechanism "gssapi"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	if err := (Config{Brokers: []string{"localhost:9092"}}).Validate(); err != nil {
		t.Errorf("a plain configuration: %v", err)
	}
}

// Publish asks for the acknowledgement of all in-sync replicas, whatever the configuration.
func TestPublishAsksForAllReplicas(t *testing.T) {
	p := newProducer(t, Config{Brokers: []string{"localhost:1"}}, "topic")
	if acks := p.request([]batch{{0, numbered(0, 1)}}).Acks; acks != -1 {
		t.Fatalf("acks is %d, want -1 (all)", acks)
	}
}

// What Publish has returned nil for can be read at once, with every compression, unchanged and in order.
func TestPublishedIsReadable(t *testing.T) {
	for compression := range compressions {
		t.Run("compression "+compression, func(t *testing.T) {
			c := target(t)
			c.Compression = compression
			topic := newTopic(t, c, Topic{})
			messages := numbered(0, 500)
			if err := newProducer(t, c, topic).Publish(t.Context(), messages); err != nil {
				t.Fatal(err)
			}
			got := readAll(t, c, topic)
			if len(got) != len(messages) {
				t.Fatalf("read %d messages, want %d", len(got), len(messages))
			}
			for i, m := range got {
				if m.Offset != int64(i) || !bytes.Equal(m.Key, messages[i].Key) || !bytes.Equal(m.Value, messages[i].Value) {
					t.Fatalf("message %d is %q %q at offset %d", i, m.Key, m.Value, m.Offset)
				}
				if age := time.Since(m.Time); age < -time.Minute || age > time.Minute {
					t.Fatalf("message %d has the time %s, want the time of its publish", i, m.Time)
				}
			}
		})
	}
}

// A key has one partition, for every producer and batch, and keys spread over all partitions.
func TestKeyChoosesThePartition(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{Partitions: 3})
	for from := range 3 {
		if err := newProducer(t, c, topic).Publish(t.Context(), numbered(from, 300)); err != nil {
			t.Fatal(err)
		}
	}
	partition, count := map[string]int{}, map[int]int{}
	for _, m := range readAll(t, c, topic) {
		if before, ok := partition[string(m.Key)]; ok && before != m.Partition {
			t.Fatalf("key %s is in partitions %d and %d", m.Key, before, m.Partition)
		}
		partition[string(m.Key)] = m.Partition
		count[m.Partition]++
	}
	if len(partition) != 300 || len(count) != 3 || min(count[0], count[1], count[2]) < 200 {
		t.Fatalf("300 keys in %d and messages per partition %v", len(partition), count)
	}
}

// A batch larger than a broker takes in one piece is cut and arrives whole; a single message that is too large is refused before anything is sent.
func TestPublishCutsLargeBatches(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{Partitions: 2, MaxMessageBytes: 1_048_588})
	p := newProducer(t, c, topic)
	var messages []Message
	for i := range 100 {
		messages = append(messages, Message{Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{byte(i)}, 60_000)})
	}
	if err := p.Publish(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, c, topic)
	if len(got) != len(messages) {
		t.Fatalf("read %d messages, want %d", len(got), len(messages))
	}
	for _, m := range got {
		if len(m.Value) != 60_000 || fmt.Sprint(m.Value[0]) != string(m.Key) {
			t.Fatalf("message %s has %d bytes of %d", m.Key, len(m.Value), m.Value[0])
		}
	}
	if err := p.Publish(t.Context(), append(numbered(0, 1), Message{Key: []byte("k"), Value: make([]byte, maxBatchBytes)})); err == nil {
		t.Fatal("a message of 1 MB was taken")
	}
	if err := p.Publish(t.Context(), []Message{{Value: []byte("v")}}); err == nil {
		t.Fatal("a message without a key was taken")
	}
	if n := len(readAll(t, c, topic)); n != len(messages) {
		t.Fatalf("a refused batch left %d messages", n-len(messages))
	}
}

// 100,000 messages from four publishers are there once per offset, no offset is missing, and the values stay valid after later fetches.
func TestEveryOffsetOnce(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{Partitions: 3})
	p := newProducer(t, c, topic)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for from := worker * 25_000; from < (worker+1)*25_000; from += 500 {
				if err := p.Publish(t.Context(), numbered(from, from+500)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	seen, next := map[string]bool{}, map[int]int64{}
	for _, m := range readAll(t, c, topic) {
		if m.Offset != next[m.Partition] {
			t.Fatalf("partition %d has offset %d after %d", m.Partition, m.Offset, next[m.Partition]-1)
		}
		next[m.Partition]++
		if want := "value-" + strings.TrimPrefix(string(m.Key), "key-"); string(m.Value) != want {
			t.Fatalf("key %s has the value %s", m.Key, m.Value)
		}
		seen[string(m.Key)] = true
	}
	if len(seen) != 100_000 || next[0]+next[1]+next[2] != 100_000 {
		t.Fatalf("read %d keys at offsets up to %v, want 100,000", len(seen), next)
	}
	first, end, err := Offsets(t.Context(), c, topic)
	if err != nil || !maps.Equal(end, next) || !maps.Equal(first, map[int]int64{0: 0, 1: 0, 2: 0}) {
		t.Fatalf("offsets are %v to %v (%v), want 0 to %v", first, end, err, next)
	}
}

// A topic that would lose or refuse messages is refused with all its wrong settings; asking twice, or for other partitions, is fine.
func TestEnsureTopics(t *testing.T) {
	c := target(t)
	name := embeddedtest.Name("test")
	wanted := Topic{Name: name, Partitions: 2, Retention: 14 * 24 * time.Hour, MaxMessageBytes: 2_000_000}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for range 2 {
		if err := EnsureTopics(t.Context(), c, logger, wanted); err != nil {
			t.Fatal(err)
		}
	}
	more := wanted
	more.Partitions = 5
	if err := EnsureTopics(t.Context(), c, logger, more); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "another number of partitions") {
		t.Errorf("the log does not tell that the topic has other partitions: %s", &log)
	}
	for _, test := range []struct {
		topic Topic
		wants []string
	}{
		{Topic{Name: name, Partitions: 2, MaxMessageBytes: 2_000_001}, []string{"retention.ms=1209600000", "max.message.bytes=2000000"}},
		{Topic{Name: name, Partitions: 2, Compacted: true}, []string{"cleanup.policy=delete"}},
	} {
		err := EnsureTopics(t.Context(), c, logger, test.topic)
		for _, want := range test.wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want it to name %s", err, want)
			}
		}
	}
}

// ReadAll gives a compacted topic's messages in order, so that the last one of a key is the valid one, and stops at the end it saw.
func TestReadAllStopsAtTheEnd(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{Compacted: true, Partitions: 2})
	if got := readAll(t, c, topic); len(got) != 0 {
		t.Fatalf("an empty topic has %d messages", len(got))
	}
	p := newProducer(t, c, topic)
	for _, value := range []string{"one", "two"} {
		messages := numbered(0, 50)
		for i := range messages {
			messages[i].Value = []byte(value)
		}
		if err := p.Publish(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
	}
	last := map[string]string{}
	err := ReadAll(t.Context(), c, quiet, topic, func(m Message) error {
		last[string(m.Key)] = string(m.Value)
		if len(last) > 1 {
			return nil
		}
		return p.Publish(t.Context(), numbered(100, 150)) // both partitions grow meanwhile
	})
	if err != nil || len(last) != 50 {
		t.Fatalf("read %d keys (%v), want the 50 that were there at the start", len(last), err)
	}
	for key, value := range last {
		if value != "two" {
			t.Fatalf("key %s ends with %s, want two", key, value)
		}
	}
	stop := errors.New("stop")
	if err := ReadAll(t.Context(), c, quiet, topic, func(Message) error { return stop }); err != stop {
		t.Fatalf("got %v, want the caller's own error", err)
	}
}

// consume reads the group's partitions from what is committed, as ingest does from its own store, and commits after each fetch, until ctx ends.
func consume(ctx context.Context, c GroupConfig, each func([]Message), assigned func([]int)) error {
	return Consume(ctx, c, func(ctx context.Context, g *Generation) error {
		assigned(g.Partitions)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var group sync.WaitGroup
		failures := make(chan error, len(g.Partitions))
		for _, partition := range g.Partitions {
			group.Go(func() {
				defer cancel()
				failures <- func() error {
					offset, _ := g.Committed(partition)
					reader, err := g.Open(ctx, partition, offset)
					if err != nil {
						return err
					}
					for {
						messages, err := reader.Fetch(ctx)
						if err != nil {
							return err
						}
						if len(messages) == 0 {
							continue
						}
						each(messages)
						if err := g.Commit(ctx, map[int]int64{partition: reader.Offset()}); err != nil {
							return err
						}
					}
				}()
			})
		}
		group.Wait()
		close(failures)
		<-ctx.Done()
		for err := range failures {
			if !errors.Is(err, context.Canceled) {
				return err
			}
		}
		return nil
	})
}

// The second reader of a group takes over part of the partitions where the first has committed, and all of them when the first leaves:
// nothing is skipped.
func TestGroupHandsOver(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{Partitions: 2})
	p := newProducer(t, c, topic)
	group := GroupConfig{Config: c, Group: embeddedtest.Name("group"), Topic: topic, Logger: quiet}

	type event struct {
		reader     string
		partitions int
		messages   []Message
	}
	events := make(chan event, 1000)
	start := func(name string) (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- consume(ctx, group, func(m []Message) { events <- event{reader: name, messages: m} },
				func(p []int) { events <- event{reader: name, partitions: len(p) + 1} })
		}()
		return func() error { cancel(); return <-done }
	}
	seen := map[string]int{}
	owns := map[string]int{}
	wait := func(what string, until func() bool) {
		t.Helper()
		timeout := time.After(60 * time.Second)
		for !until() {
			select {
			case e := <-events:
				if e.partitions > 0 {
					owns[e.reader] = e.partitions - 1
				}
				for _, m := range e.messages {
					seen[string(m.Key)]++
				}
			case <-timeout:
				t.Fatalf("waited for %s; readers own %v, %d keys seen", what, owns, len(seen))
			}
		}
	}
	publish := func(from, to int) {
		t.Helper()
		if err := p.Publish(t.Context(), numbered(from, to)); err != nil {
			t.Fatal(err)
		}
	}

	publish(0, 1000)
	stopOne := start("one")
	wait("the first reader to read all", func() bool { return owns["one"] == 2 && len(seen) == 1000 })
	stopTwo := start("two")
	wait("the readers to share", func() bool { return owns["one"] == 1 && owns["two"] == 1 })
	publish(1000, 2000)
	wait("both to read", func() bool { return len(seen) == 2000 })
	if err := stopOne(); err != nil {
		t.Fatalf("the first reader was stopped and returned %v", err)
	}
	wait("the second reader to own all", func() bool { return owns["two"] == 2 })
	publish(2000, 3000)
	wait("the second to read", func() bool { return len(seen) == 3000 })
	if err := stopTwo(); err != nil {
		t.Fatalf("the second reader was stopped and returned %v", err)
	}
	// A commit may be lost in a hand-over, then a fetch is read again; most are not.
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	if again > 1000 {
		t.Fatalf("%d messages were read again; commits are not used", again)
	}
}

// What handle returns ends Consume; the error is the caller's own.
func TestHandlerErrorEndsConsume(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{})
	broken := errors.New("broken")
	err := Consume(t.Context(), GroupConfig{Config: c, Group: embeddedtest.Name("group"), Topic: topic, Logger: quiet},
		func(context.Context, *Generation) error { return broken })
	if err != broken {
		t.Fatalf("got %v, want the handler's error", err)
	}
}

// A position that is not in the partition is an error that says so, never a jump.
func TestOffsetOutOfRange(t *testing.T) {
	c := target(t)
	topic := newTopic(t, c, Topic{})
	if err := newProducer(t, c, topic).Publish(t.Context(), numbered(0, 10)); err != nil {
		t.Fatal(err)
	}
	client, transport, err := c.client(topic)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	reader, err := openPartition(t.Context(), client, quiet, topic, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	// Retention takes the first five records away below the reader.
	deleteRecords(t, c, topic, 5)
	var gone *OffsetError
	if _, err := reader.Fetch(t.Context()); !errors.As(err, &gone) || gone.First != 5 || gone.Next != 10 {
		t.Fatalf("a fetch below the first offset returned %v", err)
	}
	for _, offset := range []int64{4, 11} {
		if _, err := openPartition(t.Context(), client, quiet, topic, 0, offset); !errors.As(err, &gone) {
			t.Fatalf("open at %d returned %v, want an OffsetError", offset, err)
		}
	}
	if reader, err = openPartition(t.Context(), client, quiet, topic, 0, 5); err != nil {
		t.Fatal(err)
	}
	if got, err := reader.Fetch(t.Context()); err != nil || len(got) != 5 || got[0].Offset != 5 {
		t.Fatalf("got %d messages (%v), want the five that are left", len(got), err)
	}
}

// A wrong password is an error at once, in every way in, and not a reason to try for ever.
func TestWrongPassword(t *testing.T) {
	c := target(t)
	if c.SASL == nil {
		t.Skip("LEDGERLINE_KAFKA names a broker without authentication; the embedded one has it")
	}
	topic := newTopic(t, c, Topic{})
	c.SASL = &SASL{c.SASL.Mechanism, c.SASL.User, "wrong"}
	if err := Ping(t.Context(), c); !refused(err) {
		t.Errorf("ping: %v", err)
	}
	if err := EnsureTopics(t.Context(), c, quiet, Topic{Name: topic, Partitions: 1}); !refused(err) {
		t.Errorf("ensure topics: %v", err)
	}
	if err := newProducer(t, c, topic).Publish(t.Context(), numbered(0, 1)); err == nil {
		t.Error("publish with a wrong password was taken")
	}
	err := Consume(t.Context(), GroupConfig{Config: c, Group: "g", Topic: topic, Logger: quiet}, func(context.Context, *Generation) error { return io.EOF })
	if err == nil || !refused(err) {
		t.Errorf("consume: %v", err)
	}
	c.SASL = nil
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := newProducer(t, c, topic).Publish(ctx, numbered(0, 1)); err == nil {
		t.Error("publish without a password was taken")
	}
}

// The broker is killed twice in the middle of publishing and reading. Publishers repeat what failed, the reader just goes on: every
// acknowledged message is read.
func TestBrokerKilled(t *testing.T) {
	command, err := embeddedtest.Command()
	if err != nil {
		t.Fatal(err)
	}
	broker, err := embedded.StartKafka(t.Context(), embedded.KafkaOptions{Dir: t.TempDir(), Logger: quiet, Command: command})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	c := Config{Brokers: broker.Brokers(), SASL: &SASL{broker.Mechanism(), broker.User(), broker.Password()}}
	topic := newTopic(t, c, Topic{Partitions: 3})

	const batches, size = 300, 20
	var read atomic.Int64
	var lock sync.Mutex
	seen := map[string]bool{}
	all := make(chan struct{})
	reading := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		reading <- consume(ctx, GroupConfig{Config: c, Group: "readers", Topic: topic, Logger: quiet}, func(messages []Message) {
			lock.Lock()
			defer lock.Unlock()
			for _, m := range messages {
				seen[string(m.Key)] = true
			}
			read.Add(int64(len(messages)))
			if len(seen) == batches*size {
				select {
				case <-all:
				default:
					close(all)
				}
			}
		}, func([]int) {})
	}()

	p := newProducer(t, c, topic)
	failed := 0
	for n := range batches {
		if n == batches/3 || n == 2*batches/3 {
			if err := syscall.Kill(broker.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		deadline := time.Now().Add(time.Minute)
		for p.Publish(ctx, numbered(n*size, (n+1)*size)) != nil {
			if failed++; time.Now().After(deadline) {
				t.Fatal("the broker did not come back within a minute")
			}
		}
	}
	select {
	case <-all:
	case err := <-reading:
		t.Fatalf("the reader ended with %v", err)
	case <-time.After(60 * time.Second):
		lock.Lock()
		there := map[string]bool{}
		for _, m := range readAll(t, c, topic) {
			there[string(m.Key)] = true
		}
		t.Fatalf("%d of %d acknowledged messages were read, %d are there", len(seen), batches*size, len(there))
	}
	if failed == 0 || broker.Restarts() == 0 {
		t.Fatalf("%d publishes failed and the broker was started again %d times: nothing was killed", failed, broker.Restarts())
	}
	stop()
	if err := <-reading; err != nil {
		t.Fatalf("the reader was stopped and returned %v", err)
	}
	t.Logf("%d publishes failed, %d messages read, %d of them again", failed, read.Load(), read.Load()-batches*size)
}
