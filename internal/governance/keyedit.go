package governance

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// KeysFile is a keys.yaml while it is changed. Its methods touch only the
// lines that they are about: comments, order and layout of all others stay.
type KeysFile struct {
	text []byte
	keys []Key // what the text must mean
	now  time.Time
}

// EditKeys changes the keys.yaml of a folder and returns its text before and
// after. It writes only when the folder checks before and after, nobody else
// changed the file meanwhile, and the new text says what edit asked for and
// nothing else; otherwise the file is as it was. Edits at the same time wait
// for each other. With dryRun nothing is written.
func EditKeys(dir string, now time.Time, dryRun bool, edit func(*KeysFile) error) (before, after []byte, err error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open governance folder: %w", err)
	}
	defer lock.Close()
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err == nil {
			break
		} else if !errors.Is(err, syscall.EINTR) {
			return nil, nil, fmt.Errorf("lock governance folder %s: %w", dir, err)
		}
	}
	texts, err := readFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	before = texts[keysYAML]
	if after, err = editKeys(texts, now, edit); err != nil {
		return nil, nil, err
	}
	if dryRun || bytes.Equal(before, after) {
		return before, after, nil
	}
	if err := replaceFile(filepath.Join(dir, keysYAML), before, after); err != nil {
		return nil, nil, fmt.Errorf("nothing was changed: %w", err)
	}
	return before, after, nil
}

// editKeys is EditKeys without the files.
func editKeys(texts map[string][]byte, now time.Time, edit func(*KeysFile) error) (after []byte, err error) {
	old, err := build(texts)
	if err != nil {
		return nil, err
	}
	f := &KeysFile{text: texts[keysYAML], now: now}
	for _, k := range old.keyList {
		f.keys = append(f.keys, *k)
	}
	if err := edit(f); err != nil {
		return nil, err
	}
	changed := maps.Clone(texts)
	changed[keysYAML] = f.text
	next, err := Check(changed)
	if err != nil {
		return nil, fmt.Errorf("nothing was changed, because the folder would not check:\n%w", err)
	}
	if !slices.EqualFunc(next.keyList, f.keys, func(is *Key, want Key) bool { return reflect.DeepEqual(*is, want) }) {
		return nil, errLayout
	}
	return f.text, nil
}

// errLayout is that of a file that is right and laid out in a way that is not
// worth a rule.
var errLayout = errors.New("keys.yaml is laid out in a way that cannot be changed here; give each key a line - id: … and each member one of its own, or change it by hand. Nothing was changed")

// replaceFile puts a text in the place of another, whole or not at all.
func replaceFile(path string, before, after []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file (%s); change what it stands for", path, info.Mode().Type())
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // hidden: no reader of the folder takes it
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // after the rename there is none
	err = file.Chmod(info.Mode().Perm())
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
		err = file.Chown(int(owner.Uid), int(owner.Gid)) // or those who read it might not
	}
	if err == nil {
		_, err = file.Write(after)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	is, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(is, before) {
		err = fmt.Errorf("%s was changed by somebody else meanwhile; run the command again", path)
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f *KeysFile) key(id string) (*Key, error) {
	for i := range f.keys {
		if f.keys[i].ID == id {
			return &f.keys[i], nil
		}
	}
	return nil, fmt.Errorf("keys.yaml has no key %s", clip(id))
}

// Add appends a key with the hash of its secret.
func (f *KeysFile) Add(k Key, sha256hex string) error {
	if _, err := f.key(k.ID); err == nil {
		return fmt.Errorf("keys.yaml has a key %s already; an id is never used again, because the books name it", k.ID)
	}
	entry := &yaml.Node{Kind: yaml.MappingNode}
	put := func(name string, value *yaml.Node) {
		entry.Content = append(entry.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
	}
	text := func(s string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	}
	for _, m := range []struct{ name, value string }{
		{"id", k.ID}, {"name", k.Name}, {"sha256", sha256hex}, {"business_unit", k.BusinessUnit}, {"team", k.Team},
		{"project", k.Project}, {"application", k.Application}, {"user", k.User},
	} {
		if m.value != "" {
			put(m.name, text(m.value))
		}
	}
	var addresses []string
	for _, a := range k.Addresses {
		addresses = append(addresses, a.String())
	}
	for _, m := range []struct {
		name   string
		values []string
	}{{"use_cases", k.UseCases}, {"models", k.Models}, {"addresses", addresses}} {
		if len(m.values) == 0 {
			continue
		}
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, v := range m.values {
			list.Content = append(list.Content, text(v))
		}
		put(m.name, list)
	}
	if k.MaxBody > 0 {
		put("max_body_bytes", &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatInt(k.MaxBody, 10)})
	}
	if !k.Expires.IsZero() {
		put("expires", &yaml.Node{Kind: yaml.ScalarNode, Value: k.Expires.Format(time.DateOnly)})
	}
	lines, err := yaml.Marshal(entry)
	if err != nil {
		return fmt.Errorf("write key %s as YAML: %w", k.ID, err)
	}
	if err := f.append(strings.Split(strings.TrimRight(string(lines), "\n"), "\n")); err != nil {
		return err
	}
	_, _ = hex.Decode(k.hash[:], []byte(sha256hex)) // a wrong one does not check
	f.keys = append(f.keys, k)
	return nil
}

// Rotate gives a key a new secret, by its hash. The one that it had is good
// until the moment, or no longer when that is not after now.
func (f *KeysFile) Rotate(id, sha256hex string, until time.Time) error {
	k, err := f.key(id)
	switch {
	case err != nil:
		return err
	case k.Disabled:
		return fmt.Errorf("key %s is disabled; a new secret would open nothing", id)
	case !k.Expires.IsZero() && !f.now.Before(k.Expires):
		return fmt.Errorf("key %s expired on %s; a new secret would open nothing", id, k.Expires.Format(time.DateOnly))
	case f.now.Before(k.PreviousUntil) && until.After(f.now):
		return fmt.Errorf("key %s has two secrets until %s; finish that rotation first", id, k.PreviousUntil.Format(time.RFC3339))
	}
	if !k.PreviousUntil.IsZero() {
		if err := f.Finish(id); err != nil {
			return err
		}
	}
	before := hex.EncodeToString(k.hash[:])
	if err := f.set(id, "sha256", sha256hex); err != nil {
		return err
	}
	if until.After(f.now) {
		k.previous, k.PreviousUntil = k.hash, until.UTC().Truncate(time.Second)
		member := fmt.Sprintf("previous: {sha256: %s, until: %s}", before, k.PreviousUntil.Format(time.RFC3339))
		if err := f.insert(id, "sha256", member); err != nil {
			return err
		}
	}
	_, _ = hex.Decode(k.hash[:], []byte(sha256hex)) // a wrong one does not check
	return nil
}

// Finish ends the rotation of a key: the secret before the current one is
// gone.
func (f *KeysFile) Finish(id string) error {
	k, err := f.key(id)
	if err != nil {
		return err
	}
	if k.PreviousUntil.IsZero() {
		return fmt.Errorf("key %s has one secret; there is no rotation to finish", id)
	}
	k.previous, k.PreviousUntil = [len(k.previous)]byte{}, time.Time{}
	return f.remove(id, "previous")
}

// Revoke disables a key. Its entry stays, because the books name it.
func (f *KeysFile) Revoke(id string) error {
	k, err := f.key(id)
	if err != nil || k.Disabled {
		return err
	}
	k.Disabled = true
	_, entry, err := f.find(id)
	if err != nil {
		return err
	}
	if _, value := member(entry, "disabled"); value != nil {
		return f.set(id, "disabled", "true")
	}
	return f.insert(id, "sha256", "disabled: true")
}

// find parses the text as it is now: its list of keys, and the entry of one.
func (f *KeysFile) find(id string) (list, entry *yaml.Node, err error) {
	var document yaml.Node
	if err := yaml.Unmarshal(f.text, &document); err != nil || len(document.Content) != 1 {
		return nil, nil, errors.Join(errLayout, err)
	}
	if _, list = member(document.Content[0], "keys"); list == nil {
		return nil, nil, errLayout
	}
	for _, n := range list.Content {
		if _, value := member(n, "id"); value != nil && value.Value == id {
			return list, n, nil
		}
	}
	return list, nil, errLayout
}

// behind is the key of the member of the file that follows the list, or nil.
func (f *KeysFile) behind(list *yaml.Node) *yaml.Node {
	var document yaml.Node
	if yaml.Unmarshal(f.text, &document) != nil {
		return nil
	}
	top := document.Content[0].Content
	for i := 0; i+3 < len(top); i += 2 {
		if top[i+1].Line == list.Line {
			return top[i+2]
		}
	}
	return nil
}

func member(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// offset is where a node begins in the text.
func (f *KeysFile) offset(n *yaml.Node) int {
	at := f.line(n.Line)
	for range n.Column - 1 { // in characters
		if at < len(f.text) {
			_, size := utf8.DecodeRune(f.text[at:])
			at += size
		}
	}
	return at
}

// line is where a line begins, from 1.
func (f *KeysFile) line(n int) int {
	at := 0
	for ; n > 1; n-- {
		i := bytes.IndexByte(f.text[at:], '\n')
		if i < 0 {
			return len(f.text)
		}
		at += i + 1
	}
	return at
}

// lineEnd is behind the line break of the line that an offset is in.
func (f *KeysFile) lineEnd(at int) int {
	if i := bytes.IndexByte(f.text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(f.text)
}

// value is where the text of a scalar begins and ends, without its quotes.
func (f *KeysFile) value(n *yaml.Node) (from, to int, err error) {
	from = f.offset(n)
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		from++
	}
	if n.Kind != yaml.ScalarNode || !bytes.HasPrefix(f.text[min(from, len(f.text)):], []byte(n.Value)) {
		return 0, 0, errLayout
	}
	return from, from + len(n.Value), nil
}

func (f *KeysFile) splice(from, to int, with string) {
	f.text = slices.Concat(f.text[:from], []byte(with), f.text[to:])
}

// set replaces the scalar that a member of an entry has.
func (f *KeysFile) set(id, name, to string) error {
	_, entry, err := f.find(id)
	if err != nil {
		return err
	}
	_, value := member(entry, name)
	if value == nil {
		return errLayout
	}
	from, end, err := f.value(value)
	if err != nil {
		return err
	}
	f.splice(from, end, to)
	return nil
}

// insert puts a member behind another of an entry, whose value is a scalar.
func (f *KeysFile) insert(id, behind, text string) error {
	_, entry, err := f.find(id)
	if err != nil {
		return err
	}
	key, value := member(entry, behind)
	if value == nil {
		return errLayout
	}
	_, end, err := f.value(value)
	if err != nil {
		return err
	}
	if entry.Style&yaml.FlowStyle != 0 {
		if value.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			end++
		}
		f.splice(end, end, ", "+text)
		return nil
	}
	f.insertLines(f.lineEnd(end), []string{strings.Repeat(" ", key.Column-1) + text})
	return nil
}

// insertLines puts lines where one begins, or behind the last.
func (f *KeysFile) insertLines(at int, lines []string) {
	ending := "\n"
	if i := bytes.IndexByte(f.text, '\n'); i > 0 && f.text[i-1] == '\r' {
		ending = "\r\n"
	}
	text := strings.Join(lines, ending) + ending
	if at > 0 && f.text[at-1] != '\n' {
		text = ending + text
	}
	f.splice(at, at, text)
}

// remove takes a member out of an entry. Its value is a mapping of scalars.
func (f *KeysFile) remove(id, name string) error {
	_, entry, err := f.find(id)
	if err != nil {
		return err
	}
	key, value := member(entry, name)
	if value == nil || len(value.Content) == 0 {
		return errLayout
	}
	from := f.offset(key)
	to := 0
	for _, n := range value.Content {
		_, end, err := f.value(n)
		if err != nil {
			return err
		}
		to = max(to, end)
	}
	if value.Style&yaml.FlowStyle != 0 {
		i := bytes.IndexByte(f.text[to:], '}')
		if i < 0 {
			return errLayout
		}
		to += i + 1
	}
	before := bytes.TrimRight(f.text[:from], " \t\r\n")
	if entry.Style&yaml.FlowStyle != 0 {
		if !bytes.HasSuffix(before, []byte(",")) {
			return errLayout
		}
		f.splice(len(before)-1, to, "")
		return nil
	}
	if from = f.line(key.Line); len(before) > from { // the first member, behind the hyphen
		return errLayout
	}
	f.splice(from, f.lineEnd(to), "")
	return nil
}

// append puts an entry behind the last one: at the end of the file, or before
// the member that follows the list and the comments above that.
func (f *KeysFile) append(lines []string) error {
	list, _, _ := f.find("") // nobody's: only the list is of interest
	if list == nil {
		return errLayout
	}
	column, at := list.Column, len(f.text)
	if list.Style&yaml.FlowStyle != 0 {
		open := f.offset(list)
		end := bytes.IndexByte(f.text[min(open, len(f.text)):], ']')
		if len(list.Content) > 0 || end < 0 || f.text[open] != '[' {
			return errLayout
		}
		column = 3
		from := len(bytes.TrimRight(f.text[:open], " "))
		f.splice(from, open+end+1, "")
		at = f.lineEnd(from)
	} else if next := f.behind(list); next != nil {
		at = f.line(next.Line)
		for at > 0 {
			start := bytes.LastIndexByte(f.text[:at-1], '\n') + 1
			if line := bytes.TrimRight(f.text[start:at], " \r\n"); len(line) > 0 && line[0] != '#' {
				break
			}
			at = start
		}
	}
	indent := strings.Repeat(" ", column-1)
	for i, line := range lines {
		lines[i] = indent + "  " + line
	}
	lines[0] = indent + "- " + lines[0][len(indent)+2:]
	f.insertLines(at, lines)
	return nil
}
