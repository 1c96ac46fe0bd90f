package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// KafkaOptions say where the broker runs.
type KafkaOptions struct {
	Dir       string // engine folder; required
	Logger    *slog.Logger
	Command   []string // the program to run the child, which calls RunChildIfAsked; empty: this program itself
	RemoveDir bool     // the child removes the engine folder when it ends; for tests
}

// Kafka is a running broker. Its methods Done, Err, Pid, Restarts and Close are the child's. A message it has acknowledged is on the disk.
type Kafka struct {
	*process
	state state
}

// StartKafka starts the broker on the engine folder and returns when it answers. ctx bounds the start only.
func StartKafka(ctx context.Context, o KafkaOptions) (*Kafka, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data folder %s: %w", o.Dir, err)
	}
	owner, err := claim(dir)
	if err != nil {
		return nil, err
	}
	s, err := openState(dir, "kafka")
	if err == nil {
		if err = os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			err = fmt.Errorf("create the broker's folder: %w", err)
		}
	}
	if err != nil {
		owner.release()
		return nil, err
	}
	command, err := childCommand(o.Command, "kafka", dir, o.RemoveDir)
	if err != nil {
		owner.release()
		return nil, err
	}
	k := &Kafka{state: s}
	k.process = &process{name: "kafka", dir: dir, command: command, log: o.Logger, owner: owner, ready: kafkaReady}
	if err := k.start(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *Kafka) Brokers() []string { return []string{loopback(k.state.Ports["kafka"])} }
func (k *Kafka) User() string      { return k.state.User }
func (k *Kafka) Password() string  { return k.state.Password }

// Mechanism is the SASL mechanism to use: the password never crosses the wire, and a forged broker learns nothing.
func (k *Kafka) Mechanism() string { return "scram-sha-512" }

// kafkaReady waits for the child's word: what else listens on the port would not say it.
func kafkaReady(ctx context.Context, said <-chan string) error {
	select {
	case line := <-said:
		if line != "ready" {
			return errors.New("the engine ended before it was ready")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
