// Package clickhouse speaks to ClickHouse over its native protocol. It is the
// only home of clickhouse-go: statements come from package sql, rows go in as
// columns, and parameters are bound by the server.
package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/ledgerline/ledgerline/sql"
)

// Config says where the store is and who asks.
type Config struct {
	Addr     []string // host:port of the native protocol; the next is tried when one does not answer
	HTTPAddr []string // host:port of the HTTP interface of the same servers; only for [DB.Stream]
	Database string
	User     string
	Password string
	TLS      *TLS // nil: plain TCP
	MaxConns int  // open connections at most; 0: 10
}

// TLS of the connection to the store.
type TLS struct {
	CAFile            string // PEM; empty: the system's authorities
	CertFile, KeyFile string // PEM; for a server that asks for a client certificate
	ServerName        string // empty: the host of the address
}

// DB is a pool of connections. It is safe for concurrent use.
type DB struct {
	conn     driver.Conn
	http     func() (driver.Conn, error) // opened at the first stream
	exists   atomic.Bool                 // the database; see session
	options  clickhouse.Options
	database string
	log      *slog.Logger
}

// Open connects and returns when the server has answered. A database that does
// not exist yet is no error here: [DB.Migrate] makes it.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*DB, error) {
	if len(cfg.Addr) == 0 || cfg.Database == "" {
		return nil, errors.New("connect to clickhouse: an address and a database are needed")
	}
	options := clickhouse.Options{
		Addr:         cfg.Addr,
		Auth:         clickhouse.Auth{Database: cfg.Database, Username: cfg.User, Password: cfg.Password},
		MaxOpenConns: cfg.MaxConns,
		MaxIdleConns: cfg.MaxConns,
		DialTimeout:  5 * time.Second,
		Compression:  &clickhouse.Compression{Method: compression(cfg.Addr)},
	}
	if cfg.MaxConns == 0 {
		options.MaxOpenConns, options.MaxIdleConns = 10, 10
	}
	if cfg.TLS != nil {
		var err error
		if options.TLS, err = cfg.TLS.config(); err != nil {
			return nil, fmt.Errorf("connect to clickhouse: %w", err)
		}
	}
	db := &DB{options: options, database: cfg.Database, log: logger}
	var err error
	if db.conn, err = clickhouse.Open(&db.options); err != nil {
		return nil, fmt.Errorf("connect to clickhouse at %v: %w", cfg.Addr, err)
	}
	db.http = sync.OnceValues(func() (driver.Conn, error) { return openHTTP(cfg.HTTPAddr, db.options) })
	if err := db.look(ctx, nil); err != nil {
		db.conn.Close()
		return nil, fmt.Errorf("connect to clickhouse at %v as %q: %w", cfg.Addr, cfg.User, err)
	}
	return db, nil
}

// look finds out whether the database exists and calls missing if it does not,
// with a connection that is not in that database.
func (db *DB) look(ctx context.Context, missing func(driver.Conn) error) error {
	options := db.options
	options.Auth.Database, options.MaxOpenConns, options.MaxIdleConns = "", 1, 1
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return err
	}
	defer conn.Close()
	var there uint8
	query := sql.Query("database_exists")
	if err := conn.QueryRow(ctx, query, clickhouse.Named("name", db.database)).Scan(&there); err != nil {
		return fmt.Errorf("%s: %w", title(query), err)
	}
	if there == 0 && missing == nil {
		return nil
	}
	if there == 0 {
		if err := missing(conn); err != nil {
			return err
		}
	}
	db.exists.Store(true)
	return nil
}

// session is the pool, once the database exists: a refused handshake ends the
// embedded engine (26.7.3), so no session may name a database that is not there.
func (db *DB) session() (driver.Conn, error) {
	if !db.exists.Load() {
		return nil, fmt.Errorf("database %s does not exist: migrate first", db.database)
	}
	return db.conn, nil
}

// compression of blocks on the wire: LZ4 pays on a network and costs more than
// it saves on loopback.
func compression(addr []string) clickhouse.CompressionMethod {
	for _, a := range addr {
		host, _, _ := net.SplitHostPort(a)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return clickhouse.CompressionLZ4
		}
	}
	return clickhouse.CompressionNone
}

func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Database is the name of the database that all statements run in.
func (db *DB) Database() string { return db.database }

// Close ends the connections.
func (db *DB) Close() error { return db.conn.Close() }
