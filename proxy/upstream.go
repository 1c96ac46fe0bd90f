package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/ledgerline/ledgerline/internal/governance"
)

// upstream is an endpoint that can be called: its credential, its trust and
// its connections. fasthttp's HostClient is used as the pool of connections
// only: its own request cycle retries unseen and has one deadline for header
// and body.
type upstream struct {
	*governance.Endpoint
	host       string // for the Host header
	base       string // path of the base URL
	credential []byte // the whole header line; a secret
	pool       *fasthttp.HostClient
	metrics    endpointMetrics
	circuit    *circuit // of the endpoint's id, in every snapshot
}

// upstreamConn is one connection to an endpoint with its reader.
type upstreamConn struct {
	net.Conn
	br   *bufio.Reader
	peek peeker

	release func(discard bool) // back to the pool, or closed; made once
}

// Limits of the answers' headers and of idle connections.
const (
	maxAnswerHeader = 32 << 10
	idleUpstream    = 60 * time.Second
	defaultMaxConns = 1024
)

func newUpstream(e *governance.Endpoint) (*upstream, error) {
	u := &upstream{Endpoint: e}
	address, err := url.Parse(e.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: base_url: %w", e.ID, err)
	}
	u.host, u.base = address.Host, address.EscapedPath()
	if err := u.readCredential(); err != nil {
		return nil, err
	}
	dial, err := newDialer(e, address)
	if err != nil {
		return nil, err
	}
	conns := e.MaxConns
	if conns <= 0 {
		conns = defaultMaxConns
	}
	u.pool = &fasthttp.HostClient{
		Addr: address.Host, MaxConns: conns, MaxConnWaitTimeout: e.Timeout.Connect, MaxIdleConnDuration: idleUpstream,
		ConnPoolStrategy: fasthttp.LIFO,
		DialTimeout:      func(string, time.Duration) (net.Conn, error) { return dial() },
	}
	return u, nil
}

func (u *upstream) readCredential() error {
	from := u.Credential
	var secret string
	switch {
	case from.Env != "":
		if secret = os.Getenv(from.Env); secret == "" {
			return fmt.Errorf("endpoint %s: the credential's environment variable %s is not set", u.ID, from.Env)
		}
	case from.File != "":
		raw, err := os.ReadFile(from.File)
		if err != nil {
			return fmt.Errorf("endpoint %s: read the credential: %w", u.ID, err)
		}
		secret = string(raw)
	default:
		return nil
	}
	secret = strings.TrimSpace(secret)
	for _, c := range []byte(secret) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("endpoint %s: the credential is not one line of plain text", u.ID)
		}
	}
	if secret == "" {
		return fmt.Errorf("endpoint %s: the credential is empty", u.ID)
	}
	switch from.Header {
	case "", "authorization":
		u.credential = []byte("Authorization: Bearer " + secret + "\r\n")
	default:
		u.credential = []byte(from.Header + ": " + secret + "\r\n")
	}
	return nil
}

// newDialer connects to the endpoint, through its egress proxy and with TLS
// where it says so, all within its connect timeout.
func newDialer(e *governance.Endpoint, address *url.URL) (func() (net.Conn, error), error) {
	target := withPort(address)
	first := target
	var tunnel []byte
	if e.EgressProxy != "" {
		egress, err := url.Parse(e.EgressProxy)
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: egress_proxy: %w", e.ID, err)
		}
		first = withPort(egress)
		tunnel = fmt.Appendf(nil, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target)
		if egress.User != nil {
			password, _ := egress.User.Password()
			tunnel = fmt.Appendf(tunnel, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(egress.User.Username()+":"+password)))
		}
		tunnel = append(tunnel, "\r\n"...)
	}
	var config *tls.Config
	if address.Scheme == "https" {
		config = &tls.Config{ServerName: address.Hostname(), MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
		if e.CAFile != "" {
			pem, err := os.ReadFile(e.CAFile)
			if err != nil {
				return nil, fmt.Errorf("endpoint %s: read ca_file: %w", e.ID, err)
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("endpoint %s: ca_file %s holds no certificate", e.ID, e.CAFile)
			}
		}
	}
	var dialer net.Dialer
	connect := func() (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), e.Timeout.Connect)
		defer cancel()
		conn, err := dialer.DialContext(ctx, "tcp", first)
		if err != nil {
			return nil, err
		}
		deadline, _ := ctx.Deadline()
		conn.SetDeadline(deadline)
		if tunnel != nil {
			if err := openTunnel(conn, tunnel); err != nil {
				conn.Close()
				return nil, err
			}
		}
		conn = direct(conn)
		raw := conn
		if config != nil {
			secure := tls.Client(conn, config)
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			conn = secure
		}
		raw.SetDeadline(time.Time{})
		return &upstreamConn{Conn: conn, br: bufio.NewReaderSize(conn, maxAnswerHeader), peek: newPeeker(conn)}, nil
	}
	return connect, nil
}

// openTunnel asks an HTTP proxy for a connection. It reads byte by byte, so
// that nothing of what follows the answer is taken.
func openTunnel(conn net.Conn, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("ask the egress proxy: %w", err)
	}
	var answer []byte
	var b [1]byte
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		if _, err := conn.Read(b[:]); err != nil {
			return fmt.Errorf("read the egress proxy's answer: %w", err)
		}
		if answer = append(answer, b[0]); len(answer) > 16<<10 {
			return errors.New("the egress proxy's answer is too long")
		}
	}
	if len(answer) < 12 || answer[9] != '2' {
		return fmt.Errorf("the egress proxy refused: %.60q", bytes.SplitN(answer, []byte("\r\n"), 2)[0])
	}
	return nil
}

func withPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
