package governance

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Load reads a folder of governance files. It only reads; files other than
// *.yaml and *.yml, and hidden ones, are left alone. The error is [Problems]
// when the files are at fault.
func Load(dir string) (*Snapshot, error) {
	texts, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	s, err := build(texts)
	if err != nil {
		return nil, err
	}
	s.Commit = commitOf(dir, texts)
	return s, nil
}

// readFolder reads through an os.Root, so that a symlink (a mounted ConfigMap
// is full of them) is followed inside the folder and refused when it leaves it.
func readFolder(dir string) (map[string][]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read governance folder: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read governance folder %s: %w", dir, err)
	}
	texts := map[string][]byte{}
	var problems Problems
	for _, entry := range entries {
		name := entry.Name()
		if !isGovernance(name) {
			continue
		}
		text, err := readFile(root, name)
		if err != nil {
			problems = append(problems, problemAt(name, 0, "%v", err))
			text = nil
		}
		texts[name] = text
	}
	if problems = append(problems, checkSizes(texts)...); len(problems) > 0 {
		problems.sort()
		return nil, problems
	}
	return texts, nil
}

func isGovernance(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".")
}

func readFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() { // before opening: a pipe would block
		return nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return text, nil
}
