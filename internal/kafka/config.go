// Package kafka is the pipeline's log: it publishes batches that are durable when Publish returns, and reads partitions in batches
// from the offsets that the reader's own store names. It is the only home of segmentio/kafka-go.
//
// Messages go out and come in through kafka-go's Transport and not through its Writer and Reader: those work message by message
// through queues, goroutines and timers (measured at 1.5 KB: Writer 2.8 µs of CPU per message in batches of 200 and one to several ms of waiting
// for its timer; one request with all partitions 2.0 µs and no wait).
//
// kafka-go cannot write idempotent records: a publish repeated after an error can put a message on the topic twice. Telling
// duplicates is the reader's job (by the event id).
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config says which brokers to use and how to reach them.
type Config struct {
	Brokers     []string // host:port, at least one; the others of the cluster are found through it
	ClientID    string   // shows in the brokers' logs and quotas
	TLS         *TLS     // nil: a plain connection
	SASL        *SASL    // nil: no authentication
	Compression string   // of published batches: "none" (default), "snappy", "lz4", "zstd"; see Producer
}

// TLS says how the connection is secured. The brokers' certificates are always checked.
type TLS struct {
	CAFile   string // PEM; empty: the system's roots
	CertFile string // PEM, of the client; with KeyFile or not at all
	KeyFile  string
}

// SASL is a user of the brokers.
type SASL struct {
	Mechanism string // "plain", "scram-sha-256", "scram-sha-512"
	User      string
	Password  string
}

var compressions = map[string]kafkago.Compression{"": 0, "none": 0, "snappy": kafkago.Snappy, "lz4": kafkago.Lz4, "zstd": kafkago.Zstd}

// Validate returns all mistakes of the configuration in one error. It reads the files that TLS names and asks no broker.
func (c Config) Validate() error {
	_, _, err := c.connection()
	return err
}

// connection turns the configuration into kafka-go's kinds.
func (c Config) connection() (*tls.Config, sasl.Mechanism, error) {
	var mistakes []error
	if len(c.Brokers) == 0 {
		mistakes = append(mistakes, errors.New("kafka: no broker is named"))
	}
	for _, broker := range c.Brokers {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" {
			mistakes = append(mistakes, fmt.Errorf("kafka: broker %q is not host:port", broker))
		}
	}
	if _, ok := compressions[c.Compression]; !ok {
		mistakes = append(mistakes, fmt.Errorf("kafka: compression %q is none of none, snappy, lz4, zstd", c.Compression))
	}
	var security *tls.Config
	if c.TLS != nil {
		var err error
		if security, err = c.TLS.config(); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	var mechanism sasl.Mechanism
	if c.SASL != nil {
		var err error
		if mechanism, err = c.SASL.mechanism(); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return security, mechanism, errors.Join(mistakes...)
}

func (t TLS) config() (*tls.Config, error) {
	var mistakes []error
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("kafka: read the CA file: %w", err))
		} else if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			mistakes = append(mistakes, fmt.Errorf("kafka: CA file %s has no certificate in PEM", t.CAFile))
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		mistakes = append(mistakes, errors.New("kafka: a client certificate needs both its certificate file and its key file"))
	case t.CertFile != "":
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("kafka: read the client certificate: %w", err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, errors.Join(mistakes...)
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.User == "" || s.Password == "" {
		return nil, errors.New("kafka: SASL needs a user and a password")
	}
	switch strings.ToLower(s.Mechanism) {
	case "plain":
		return plain.Mechanism{Username: s.User, Password: s.Password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, s.User, s.Password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, s.User, s.Password)
	}
	return nil, fmt.Errorf("kafka: SASL mechanism %q is none of plain, scram-sha-256, scram-sha-512", s.Mechanism)
}

const (
	requestTimeout = 30 * time.Second
	// Metadata is asked for anew at a random moment within this time, so it bounds how long a moved leader is not found.
	metadataTTL = 5 * time.Second
	// Brokers close a connection after 10 idle minutes by default; a new one costs a SCRAM exchange (10 ms of CPU on either side).
	idleTimeout = 9 * time.Minute
)

// client is a connection pool that knows the given topics; no topics: all. Close its transport's idle connections at the end.
func (c Config) client(topics ...string) (*kafkago.Client, *kafkago.Transport, error) {
	security, mechanism, err := c.connection()
	if err != nil {
		return nil, nil, err
	}
	transport := &kafkago.Transport{
		ClientID: c.ClientID, TLS: security, SASL: mechanism,
		MetadataTopics: topics, MetadataTTL: metadataTTL, IdleTimeout: idleTimeout,
	}
	return &kafkago.Client{Addr: kafkago.TCP(c.Brokers...), Transport: transport, Timeout: requestTimeout}, transport, nil
}

// dialer opens single connections, for what does not go through the pool.
func (c Config) dialer() (*kafkago.Dialer, error) {
	security, mechanism, err := c.connection()
	if err != nil {
		return nil, err
	}
	return &kafkago.Dialer{ClientID: c.ClientID, TLS: security, SASLMechanism: mechanism, Timeout: 10 * time.Second, DualStack: true}, nil
}

// Ping connects and authenticates to the first broker that answers. A wrong password shows here as such; elsewhere some brokers just
// close the connection, which looks like a broker that is away.
func Ping(ctx context.Context, c Config) error {
	dialer, err := c.dialer()
	if err != nil {
		return err
	}
	var failures []error
	for _, broker := range c.Brokers {
		connection, err := dialer.DialContext(ctx, "tcp", broker)
		if err == nil {
			return connection.Close()
		}
		failures = append(failures, fmt.Errorf("connect to the broker %s: %w", broker, err))
	}
	return errors.Join(failures...)
}

// refused says whether asking again cannot help: the brokers do not let us.
func refused(err error) bool {
	for _, code := range []kafkago.Error{
		kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.TopicAuthorizationFailed,
		kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed, kafkago.InvalidTopic,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}
