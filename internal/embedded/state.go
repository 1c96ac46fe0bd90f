package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// state is what an engine folder keeps between starts, so that a client's settings stay valid: ports and credentials.
type state struct {
	User     string         `json:"user"`
	Password string         `json:"password"` // 26 characters of base32, 130 random bits
	Ports    map[string]int `json:"ports"`    // by protocol, e.g. "tcp", "http"
}

func stateFile(dir string) string { return filepath.Join(dir, "engine.json") }

// readState reads the state of the engine folder dir.
func readState(dir string) (state, error) {
	var s state
	text, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return s, fmt.Errorf("read the engine's state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the engine's state %s: %w", stateFile(dir), err)
	}
	if s.User == "" || s.Password == "" {
		return s, fmt.Errorf("read the engine's state %s: it has no credentials", stateFile(dir))
	}
	return s, nil
}

// openState reads the state of dir, makes it at the first start, and replaces a remembered port that something else uses now.
// The caller holds the folder's owner lock.
func openState(dir string, protocols ...string) (state, error) {
	s, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = state{User: "ledgerline", Password: rand.Text()}, nil
	}
	if err != nil {
		return s, err
	}
	if s.Ports == nil {
		s.Ports = map[string]int{}
	}
	for _, protocol := range protocols {
		if port := s.Ports[protocol]; port != 0 && portFree(port) {
			continue
		}
		if s.Ports[protocol], err = pickPort(s.Ports); err != nil {
			return s, err
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, fmt.Errorf("encode the engine's state: %w", err)
	}
	return s, writePrivate(stateFile(dir), text)
}

// pickPort returns a free port below the range that the kernel takes for outgoing connections, so that none of those can sit on the
// engine's port while the engine is being restarted.
func pickPort(taken map[string]int) (int, error) {
next:
	for range 200 {
		port := 20000 + mathrand.IntN(12000)
		for _, other := range taken {
			if other == port {
				continue next
			}
		}
		if portFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("find a free port on 127.0.0.1: 200 random ones are all in use")
}

func portFree(port int) bool {
	listener, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// writePrivate replaces path by text with mode 0600: whole or not at all.
func writePrivate(path string, text []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
