package governance

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// The archive of a snapshot is one JSON object, file name to the file's exact
// text, names in ascending order, without spaces: what Go's encoding/json gives
// for a map with HTML escaping off, and what Python gives with
// json.dumps(files, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
// unless a file contains U+2028 or U+2029. There is one archive for a set of
// files and its SHA-256 is the digest of the snapshot.

// MaxFile and MaxFolder are the limits of one file and of all files, in bytes.
const (
	MaxFile   = 4 << 20
	MaxFolder = 16 << 20
)

func archive(texts map[string][]byte) ([]byte, [32]byte) {
	object := make(map[string]string, len(texts))
	for name, text := range texts {
		object[name] = string(text)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(object) // a map of strings in memory cannot fail
	bytes := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return bytes, sha256.Sum256(bytes)
}

// Parse reads the archive of a snapshot. The result equals the one the archive
// was taken from, but for Commit.
func Parse(data []byte) (*Snapshot, error) {
	if len(data) > 6*MaxFolder { // no text grows more than six times in JSON
		return nil, fmt.Errorf("governance archive of %d bytes: over the limit", len(data))
	}
	texts, err := unpack(data)
	if err != nil {
		return nil, fmt.Errorf("read governance archive: %w", err)
	}
	canonical, _ := archive(texts)
	if !bytes.Equal(canonical, data) {
		return nil, errors.New("read governance archive: not in canonical form")
	}
	return Check(texts)
}

// unpack is the files of an archive.
func unpack(data []byte) (map[string][]byte, error) {
	var object map[string]string
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	texts := make(map[string][]byte, len(object))
	for name, text := range object {
		texts[name] = []byte(text)
	}
	return texts, nil
}

// Check makes the snapshot of files that need not be on a disk, by name. The
// error is [Problems].
func Check(texts map[string][]byte) (*Snapshot, error) {
	if problems := checkSizes(texts); len(problems) > 0 {
		return nil, problems
	}
	return build(texts)
}

func checkSizes(texts map[string][]byte) (problems Problems) {
	total := 0
	for name, text := range texts {
		total += len(text)
		if len(text) > MaxFile {
			problems = append(problems, problemAt(name, 0, "larger than %d MiB", MaxFile>>20))
		}
	}
	if total > MaxFolder {
		problems = append(problems, problemAt(".", 0, "the files together are larger than %d MiB", MaxFolder>>20))
	}
	problems.sort()
	return problems
}
