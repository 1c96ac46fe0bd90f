package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// referenceKey is the key under which user references and digests are made.
// Destroying the file makes them unlinkable. It is made at the first start, mode 0600.
func referenceKey(data string) ([]byte, error) {
	path := filepath.Join(data, "secrets", "reference.key")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of secrets: %w", err)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, 32)
		rand.Read(key)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make the reference key: %w", err)
		}
		_, err = fmt.Fprintln(file, hex.EncodeToString(key))
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return nil, fmt.Errorf("write the reference key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the reference key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s is not a key of 32 bytes in hex; restore it from a backup, or delete it to break the link to all earlier references", path)
	}
	return key, nil
}
