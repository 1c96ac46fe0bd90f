package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Scope is what a key may do.
type Scope string

const (
	Finance    Scope = "finance"    // figures, and which calls they are made of
	Compliance Scope = "compliance" // single calls in full; each reading is recorded
	Operator   Scope = "operator"   // metrics and profiles
	Admin      Scope = "admin"      // all of these
)

// Scopes are all scopes.
var Scopes = []Scope{Finance, Compliance, Operator, Admin}

// Key is an API key without its secret.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scope   Scope     `json:"scope"`
	SHA256  string    `json:"sha256"` // of the whole text, hex
	Created time.Time `json:"created"`
}

// Has reports whether the key may do what the scope allows.
func (k Key) Has(scope Scope) bool { return k.Scope == scope || k.Scope == Admin }

// Keys is the file of API keys of a data folder, mode 0600. Several processes may use it; a change by one is seen by all.
type Keys struct {
	path string

	mu   sync.Mutex
	text []byte // of the file, as it was read last
	keys map[string]Key
}

// OpenKeys opens the file at path; one that is not there is an empty set.
func OpenKeys(path string) (*Keys, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the API keys: %w", err)
	}
	k := &Keys{path: path, keys: map[string]Key{}}
	return k, k.read()
}

// read takes in the file if it changed. It reads all of it each time: two changes within a tick of the file system's clock can leave
// size, time and inode as they were. The caller holds mu, or nobody else has k yet.
func (k *Keys) read() error {
	text, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		k.text, k.keys = nil, map[string]Key{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the API keys: %w", err)
	}
	if bytes.Equal(text, k.text) {
		return nil
	}
	var list []Key
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("read the API keys %s: %w", k.path, err)
	}
	keys := map[string]Key{}
	for _, key := range list {
		if sum, err := hex.DecodeString(key.SHA256); err != nil || len(sum) != sha256.Size || !slices.Contains(Scopes, key.Scope) {
			return fmt.Errorf("read the API keys %s: key %q has no hash or no scope", k.path, key.ID)
		}
		keys[key.ID] = key
	}
	k.text, k.keys = text, keys
	return nil
}

// Count is how many keys there are.
func (k *Keys) Count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	return len(k.keys)
}

// Add makes a key and returns its text, which is kept nowhere.
func (k *Keys) Add(name string, scope Scope) (text string, err error) {
	return k.add(name, scope, false)
}

// Replace is Add that ends earlier keys of the same name.
func (k *Keys) Replace(name string, scope Scope) (text string, err error) {
	return k.add(name, scope, true)
}

func (k *Keys) add(name string, scope Scope, replace bool) (string, error) {
	if !slices.Contains(Scopes, scope) {
		return "", fmt.Errorf("scope %q: want one of %v", scope, Scopes)
	}
	if name == "" || len(name) > 100 {
		return "", errors.New("a key needs a name of at most 100 bytes")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	unlock, err := lockFile(k.path + ".lock") // or of two that write at once one would undo the other
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := k.read(); err != nil {
		return "", err
	}
	id := strings.ToLower(rand.Text()[:10])
	text := "lk_" + id + "_" + rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(text))
	list := []Key{{ID: id, Name: name, Scope: scope, SHA256: hex.EncodeToString(sum[:]), Created: time.Now().UTC().Truncate(time.Second)}}
	for _, key := range k.keys {
		if !replace || key.Name != name {
			list = append(list, key)
		}
	}
	slices.SortFunc(list, func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
	out, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(filepath.Dir(k.path), "api-keys-*.new") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write the API keys: %w", err)
	}
	_, err = temp.Write(append(out, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), k.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(k.path)) // a key that was ended stays so
	}
	if err != nil {
		os.Remove(temp.Name())
		return "", fmt.Errorf("write the API keys: %w", err)
	}
	return text, k.read()
}

// lockFile waits for the file's lock, which the kernel gives up with the process.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the API keys: %w", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err == nil {
			return f.Close, nil
		}
		if err != syscall.EINTR {
			return nil, errors.Join(fmt.Errorf("lock the API keys: %w", err), f.Close())
		}
	}
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

var noSum [sha256.Size]byte

// Find is the key with the text. The hash is compared in constant time, and an unknown id costs the same comparison.
func (k *Keys) Find(text string) (Key, bool) {
	k.mu.Lock()
	k.read() // a file that cannot be read leaves the keys as they were
	id, _, _ := strings.Cut(strings.TrimPrefix(text, "lk_"), "_")
	key, known := k.keys[id]
	k.mu.Unlock()
	want := noSum[:]
	if known {
		want, _ = hex.DecodeString(key.SHA256)
	}
	got := sha256.Sum256([]byte(text))
	same := subtle.ConstantTimeCompare(got[:], want) == 1
	return key, known && same
}
