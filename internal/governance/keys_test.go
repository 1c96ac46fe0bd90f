package governance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// While a secret is rotated both open the key; the one before it ends at its
// moment, and neither opens another key.
func TestTwoSecrets(t *testing.T) {
	before, hash := GenerateKey("riskdesk")
	s, texts := withKeys(t, fmt.Sprintf(`keys:
  - {id: riskdesk, sha256: HASH, previous: {sha256: %s, until: 2026-12-01T12:00:00Z}, use_cases: [kyc]}
  - {id: otherdesk, sha256: HASH, use_cases: [chat]}
  - {id: pausedkey, sha256: HASH, previous: {sha256: %s, until: 2026-12-01T12:00:00Z}, use_cases: [chat], disabled: true}
`, hash, strings.Repeat("0f", 32)))
	for name, tt := range map[string]struct {
		text, at string
		want     error
	}{
		"the new one":                      {texts["riskdesk"], "2026-11-24T00:00:00Z", nil},
		"the new one after the end of old": {texts["riskdesk"], "2026-12-01T12:00:00Z", nil},
		"the old one":                      {before, "2026-12-01T11:59:59Z", nil},
		"the old one at its end":           {before, "2026-12-01T12:00:00Z", ErrKeyExpired},
		"the old one's hash":               {hash, "2026-11-24T00:00:00Z", ErrNoKey},
		"the old one for another key":      {strings.Replace(before, "riskdesk", "otherdesk", 1), "2026-11-24T00:00:00Z", ErrNoKey},
		"the new one, disabled":            {texts["pausedkey"], "2026-11-24T00:00:00Z", ErrKeyDisabled},
	} {
		if k, err := s.Key(tt.text, day(t, tt.at)); !errors.Is(err, tt.want) || (err == nil) != (k != nil) {
			t.Errorf("%s: %v, %v; want %v", name, k, err, tt.want)
		}
	}
}

func TestKeyAllows(t *testing.T) {
	s, _ := withKeys(t, `keys:
  - {id: riskdesk, sha256: HASH, use_cases: [kyc], models: [small, "fast:1"], addresses: [10.20.0.0/16, 192.0.2.7/32, "2001:db8::/32"]}
  - {id: otherdesk, sha256: HASH, use_cases: [chat]}
`)
	limited, free := s.Keys()[0], s.Keys()[1]
	for model, want := range map[string]bool{"small": true, "fast:1": true, "Small": false, "small ": false, "large": false, "*": false, "": false} {
		if limited.AllowsModel(model) != want || !free.AllowsModel(model) {
			t.Errorf("model %q: %v, of a key without a list %v", model, limited.AllowsModel(model), free.AllowsModel(model))
		}
	}
	for text, want := range map[string]bool{
		"10.20.255.1": true, "10.21.0.0": false, "192.0.2.7": true, "192.0.2.8": false, "::ffff:10.20.0.1": true, "2001:db8::1": true, "fe80::1%eth0": false, "::1": false, "": false,
	} {
		from, _ := netip.ParseAddr(text) // the zero address for ""
		if limited.AllowsAddress(from) != want || !free.AllowsAddress(from) {
			t.Errorf("address %q: %v, of a key without a list %v", text, limited.AllowsAddress(from), free.AllowsAddress(from))
		}
	}
}

// Every mistake at once, each where it is.
func TestKeyMistakes(t *testing.T) {
	texts := folder(t, "testdata/base")
	hash := strings.Repeat("ab", 32)
	texts[keysYAML] = []byte(`keys:
  - id: riskdesk
    sha256: ` + hash + `
    previous: {sha256: ` + hash + `, until: 2026-12-01}
    use_cases: [kyc]
    models: []
    addresses: []
  - id: otherdesk
    sha256: ` + strings.Repeat("cd", 32) + `
    previous:
      sha256: xyz
      until: 2026-12-01T12:00:00+01:00
    use_cases: [kyc]
    models: [small, "two words", small]
    addresses:
      - 10.0.0.1/8
      - 10.0.0.1
      - anywhere
      - "::ffff:10.0.0.0/104"
      - 10.0.0.0/8
      - 10.0.0.0/8
  - id: thirddesk
    sha256: ` + strings.Repeat("ef", 32) + `
    previous: {until: 2026-12-01T12:00:00Z, from: 2026-12-01}
    use_cases: [kyc]
`)
	_, err := build(texts)
	problems, _ := errors.AsType[Problems](err)
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprint(p.File, ":", p.Line, " ", p.Message))
	}
	want := []string{
		`keys.yaml:2 key riskdesk: models must list at least one; leave it out to allow all`,
		`keys.yaml:2 key riskdesk: addresses must list at least one; leave it out to allow all`,
		`keys.yaml:4 key riskdesk: the hash is that of key riskdesk`,
		`keys.yaml:4 until: "2026-12-01" is not a time in UTC such as 2026-12-01T12:00:00Z`,
		`keys.yaml:11 key otherdesk: previous sha256 is not 64 lower-case hex digits`,
		`keys.yaml:12 until: "2026-12-01T12:00:00+01:00" is not a time in UTC such as 2026-12-01T12:00:00Z`,
		`keys.yaml:14 models: "two words": a model's name has no spaces`,
		`keys.yaml:14 key otherdesk: model small is listed twice`,
		`keys.yaml:16 addresses: "10.0.0.1/8" has bits behind its length; the network is 10.0.0.0/8`,
		`keys.yaml:17 addresses: "10.0.0.1" has no length; a single address is 10.0.0.1/32`,
		`keys.yaml:18 addresses: "anywhere" is not a network such as 10.20.0.0/16 or 2001:db8::/32`,
		`keys.yaml:19 addresses: "::ffff:10.0.0.0/104" is IPv4 written as IPv6; write it as IPv4`,
		`keys.yaml:21 key otherdesk: network 10.0.0.0/8 is listed twice`,
		`keys.yaml:24 sha256 is missing`,
		`keys.yaml:24 unknown key "from"; known here: sha256, until`,
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("not reported: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("reported:\n%s", strings.Join(got, "\n"))
	}
}

// manyKeys is a keys.yaml of n keys, each with two secrets, and a text that
// opens one in the middle of it.
func manyKeys(n int) (file []byte, text, previous string) {
	var b strings.Builder
	b.WriteString("keys:\n")
	for i := range n {
		id := fmt.Sprintf("key%08d", i)
		sums := [2]string{}
		for j := range sums {
			secret := fmt.Sprintf("ll_%s_%d", id, j)
			sum := sha256.Sum256([]byte(secret))
			sums[j] = hex.EncodeToString(sum[:])
			if i == n/2 {
				text, previous = previous, secret
			}
		}
		fmt.Fprintf(&b, "  - {id: %s, sha256: %s, previous: {sha256: %s, until: 2026-12-01T00:00:00Z}, use_cases: [kyc, chat], models: [small, large], addresses: [10.0.0.0/8, 192.0.2.0/24]}\n", id, sums[0], sums[1])
	}
	return []byte(b.String()), text, previous
}

// The proxy asks for these with every call: however many keys, no allocation.
func TestKeyDoesNotAllocate(t *testing.T) {
	texts := folder(t, "testdata/base")
	var text, previous string
	texts[keysYAML], text, previous = manyKeys(1000)
	s := mustBuild(t, texts)
	now, from := day(t, "2026-11-24T00:00:00Z"), netip.MustParseAddr("::ffff:192.0.2.7")
	for _, secret := range []string{text, previous} {
		allowed := false
		if n := testing.AllocsPerRun(100, func() {
			k, err := s.Key(secret, now)
			allowed = err == nil && k.AllowsModel("large") && k.AllowsAddress(from)
		}); n != 0 || !allowed {
			t.Errorf("%v allocations, allowed: %v", n, allowed)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	now, from := day(b, "2026-11-24T00:00:00Z"), netip.MustParseAddr("192.0.2.7")
	for _, n := range []int{10, 10_000} {
		texts := folder(b, "testdata/base")
		var text, previous string
		texts[keysYAML], text, previous = manyKeys(n)
		s := mustBuild(b, texts)
		for name, secret := range map[string]string{"current": text, "previous": previous, "unknown": "ll_nobodyhere_0"} {
			b.Run(fmt.Sprintf("%d keys, %s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if k, err := s.Key(secret, now); err == nil && !(k.AllowsModel("large") && k.AllowsAddress(from)) {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

// laidOut is a keys.yaml as people write them.
const laidOut = `# The keys of the desk.
keys: # in the order of their making
  - id: riskdesk # the first
    name: "Risk: the desk"
    sha256: AAAA # made in March

    # Ends with the year.
    expires: 2027-01-01
    use_cases:
      - kyc   # first
      - chat
  - {id: flowdesk, sha256: "BBBB", use_cases: [kyc]} # in one line
  - sha256: 'CCCC'
    id: lastdesk
    use_cases: [chat]
    disabled: false # not now

# The end.
`

func keysFolder(t testing.TB, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range folder(t, "testdata/base") {
		if name == keysYAML {
			content = []byte(strings.NewReplacer("AAAA", strings.Repeat("aa", 32), "BBBB", strings.Repeat("bb", 32), "CCCC", strings.Repeat("cc", 32)).Replace(text))
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEditKeys(t *testing.T) {
	now := day(t, "2026-11-24T12:00:00Z")
	dd, ee := strings.Repeat("dd", 32), strings.Repeat("ee", 32)
	type edit = func(*KeysFile) error
	rotate := func(id string) edit {
		return func(f *KeysFile) error { return f.Rotate(id, dd, now.Add(time.Hour)) }
	}
	added := Key{ID: "newdesk01", Name: "New: #1", Team: "risk", User: "1234", UseCases: []string{"kyc", "chat"}, Models: []string{"a,b", "1.5"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("::/0")}, MaxBody: 77, Expires: day(t, "2027-02-01T00:00:00Z")}
	const entry = "  - id: newdesk01\n    name: 'New: #1'\n    sha256: DDDD\n    team: risk\n    user: \"1234\"\n    use_cases: [kyc, chat]\n" +
		"    models: ['a,b', \"1.5\"]\n    addresses: ['::/0']\n    max_body_bytes: 77\n    expires: 2027-02-01\n"
	add := func(f *KeysFile) error { return f.Add(added, dd) }
	for _, tt := range []struct {
		name   string
		text   string // laidOut when empty
		edits  []edit
		oldnew []string // what differs in the text
		want   string   // in the error; then nothing differs
	}{
		{name: "add", edits: []edit{add}, oldnew: []string{"# The end.\n", "# The end.\n" + entry}},
		{name: "add to none", text: "# None yet.\nkeys: [ ] # so far\n", edits: []edit{add}, oldnew: []string{"keys: [ ] # so far\n", "keys: # so far\n" + entry}},
		{name: "add to a file without a last line break", text: "keys: []", edits: []edit{add}, oldnew: []string{"keys: []", "keys:\n" + entry}},
		{name: "add, indented as the others", text: "keys:\n- {id: riskdesk, sha256: AAAA, use_cases: [kyc]}\n", edits: []edit{add},
			oldnew: []string{"[kyc]}\n", "[kyc]}\n" + strings.ReplaceAll(strings.TrimPrefix(entry, "  "), "\n  ", "\n")}},
		{name: "add with foreign line breaks", text: "keys:\r\n  - {id: riskdesk, sha256: AAAA, use_cases: [kyc]}\r\n", edits: []edit{add},
			oldnew: []string{"[kyc]}\r\n", "[kyc]}\r\n" + strings.ReplaceAll(entry, "\n", "\r\n")}},
		{name: "add before what follows", text: "keys:\n  - {id: riskdesk, sha256: AAAA, use_cases: [kyc]} # one\n    # of the list\n\n# The version.\napiVersion: ledgerline/v1\n", edits: []edit{add},
			oldnew: []string{"    # of the list\n", "    # of the list\n" + entry}},
		{name: "rotate", edits: []edit{rotate("riskdesk")}, oldnew: []string{"    sha256: AAAA # made in March\n",
			"    sha256: DDDD # made in March\n    previous: {sha256: AAAA, until: 2026-11-24T13:00:00Z}\n"}},
		{name: "rotate one line", edits: []edit{rotate("flowdesk")}, oldnew: []string{`sha256: "BBBB"`, `sha256: "DDDD", previous: {sha256: BBBB, until: 2026-11-24T13:00:00Z}`}},
		{name: "rotate behind the hyphen", edits: []edit{rotate("lastdesk")}, oldnew: []string{"  - sha256: 'CCCC'\n", "  - sha256: 'DDDD'\n    previous: {sha256: CCCC, until: 2026-11-24T13:00:00Z}\n"}},
		{name: "rotate at once", edits: []edit{func(f *KeysFile) error { return f.Rotate("riskdesk", dd, now) }}, oldnew: []string{"AAAA", "DDDD"}},
		{name: "rotate and finish", edits: []edit{rotate("riskdesk"), rotate("flowdesk"), rotate("lastdesk"),
			func(f *KeysFile) error { return errors.Join(f.Finish("riskdesk"), f.Finish("flowdesk")) }},
			want: "the hash is that of key"}, // all three were given the same
		{name: "rotate, finish", edits: []edit{rotate("flowdesk"), func(f *KeysFile) error { return f.Finish("flowdesk") }}, oldnew: []string{"BBBB", "DDDD"}},
		{name: "rotate, finish, in lines", edits: []edit{rotate("lastdesk"), func(f *KeysFile) error { return f.Finish("lastdesk") }}, oldnew: []string{"CCCC", "DDDD"}},
		{name: "rotate again when the last rotation is over", text: "keys:\n  - id: riskdesk\n    previous:\n      sha256: BBBB\n      until: 2026-11-01T00:00:00Z # over\n    sha256: AAAA\n    use_cases: [kyc]\n",
			edits: []edit{rotate("riskdesk")}, oldnew: []string{"    previous:\n      sha256: BBBB\n      until: 2026-11-01T00:00:00Z # over\n    sha256: AAAA\n", "    sha256: DDDD\n    previous: {sha256: AAAA, until: 2026-11-24T13:00:00Z}\n"}},
		{name: "rotate during a rotation", edits: []edit{rotate("riskdesk"), func(f *KeysFile) error { return f.Rotate("riskdesk", ee, now.Add(time.Hour)) }}, want: "two secrets until 2026-11-24T13:00:00Z"},
		{name: "a leak during a rotation", edits: []edit{rotate("riskdesk"), func(f *KeysFile) error { return f.Rotate("riskdesk", ee, now) }}, oldnew: []string{"AAAA", "EEEE"}},
		{name: "revoke", edits: []edit{func(f *KeysFile) error { return f.Revoke("riskdesk") }}, oldnew: []string{"March\n", "March\n    disabled: true\n"}},
		{name: "revoke one line", edits: []edit{func(f *KeysFile) error { return f.Revoke("flowdesk") }}, oldnew: []string{`"BBBB"`, `"BBBB", disabled: true`}},
		{name: "revoke what says it is not", edits: []edit{func(f *KeysFile) error { return f.Revoke("lastdesk") }}, oldnew: []string{"disabled: false", "disabled: true"}},
		{name: "revoke twice", edits: []edit{func(f *KeysFile) error { return errors.Join(f.Revoke("lastdesk"), f.Revoke("lastdesk")) }}, oldnew: []string{"disabled: false", "disabled: true"}},
		{name: "rotate what is revoked", edits: []edit{func(f *KeysFile) error { return f.Revoke("lastdesk") }, rotate("lastdesk")}, want: "key lastdesk is disabled"},
		{name: "rotate what is over", text: "keys: [{id: riskdesk, sha256: AAAA, use_cases: [kyc], expires: 2026-11-24}]\n", edits: []edit{rotate("riskdesk")}, want: "expired on 2026-11-24"},
		{name: "finish nothing", edits: []edit{func(f *KeysFile) error { return f.Finish("riskdesk") }}, want: "no rotation to finish"},
		{name: "an id again", edits: []edit{func(f *KeysFile) error { return f.Add(Key{ID: "lastdesk", UseCases: []string{"kyc"}}, dd) }}, want: "an id is never used again"},
		{name: "nobody", edits: []edit{rotate("nobody00")}, want: "no key nobody00"},
		{name: "what does not check", edits: []edit{func(f *KeysFile) error { return f.Add(Key{ID: "x", Team: "risks", UseCases: []string{"kyc"}}, dd) }}, want: `team "risks" is not in dimensions.yaml`},
		{name: "a name over two lines", edits: []edit{func(f *KeysFile) error {
			return f.Add(Key{ID: "newdesk01", Name: "a\n    disabled: true", UseCases: []string{"kyc"}}, dd)
		}}, want: "nothing was changed"},
		{name: "a layout without lines", text: "keys: [{id: riskdesk, sha256: AAAA, use_cases: [kyc]}]\n", edits: []edit{add}, want: "is laid out in a way"},
		{name: "lines that say more than was asked for", edits: []edit{func(f *KeysFile) error {
			f.insertLines(len(f.text), []string{"  - {id: stowaway1, sha256: " + ee + ", use_cases: [kyc]}"})
			return f.Revoke("riskdesk")
		}}, want: "is laid out in a way"},
		{name: "an escaped hash", text: "keys:\n  - {id: riskdesk, sha256: \"\\x61" + strings.Repeat("a", 63) + "\", use_cases: [kyc]}\n", edits: []edit{rotate("riskdesk")}, want: "is laid out in a way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.text
			if text == "" {
				text = laidOut
			}
			dir := keysFolder(t, text)
			file := filepath.Join(dir, keysYAML)
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all := func(f *KeysFile) (err error) {
				for _, e := range tt.edits {
					err = errors.Join(err, e(f))
				}
				return err
			}
			if before, _, err := EditKeys(dir, now, true, all); (err == nil) != (tt.want == "") || err == nil && string(before) != string(was) {
				t.Errorf("a dry run: %v", err)
			}
			if is, _ := os.ReadFile(file); string(is) != string(was) {
				t.Fatalf("a dry run changed the file to\n%s", is)
			}
			before, after, err := EditKeys(dir, now, false, all)
			is, _ := os.ReadFile(file)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || string(is) != string(was) {
					t.Errorf("%v, want %q; the file is\n%s", err, tt.want, is)
				}
			} else {
				hashes := strings.NewReplacer("AAAA", strings.Repeat("aa", 32), "BBBB", strings.Repeat("bb", 32), "CCCC", strings.Repeat("cc", 32), "DDDD", dd, "EEEE", ee)
				want := strings.Replace(string(was), hashes.Replace(tt.oldnew[0]), hashes.Replace(tt.oldnew[1]), 1)
				if err != nil || string(is) != want || string(before) != string(was) || string(after) != want {
					t.Errorf("%v; the file is\n%s\nwant\n%s", err, is, want)
				}
				if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// What others wrote while an edit was made is not overwritten, a folder that
// does not check is not touched, and a link is not replaced.
func TestEditKeysLosesNothing(t *testing.T) {
	now := day(t, "2026-11-24T12:00:00Z")
	revoke := func(f *KeysFile) error { return f.Revoke("riskdesk") }
	dir := keysFolder(t, laidOut)
	file := filepath.Join(dir, keysYAML)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(when, want string) {
		t.Helper()
		if is, err := os.ReadFile(file); err != nil || string(is) != want {
			t.Errorf("%s: %v, the file is\n%s", when, err, is)
		}
	}
	const other = "# somebody else's\nkeys: []\n"
	_, _, err := EditKeys(dir, now, false, func(f *KeysFile) error {
		write(other)
		return revoke(f)
	})
	if err == nil || !strings.Contains(err.Error(), "changed by somebody else meanwhile") {
		t.Error(err)
	}
	holds("changed meanwhile", other)
	for _, garbage := range []string{"", "\xff", "keys", "keys: [", "keys: []\nnonsense: 1\n", "keys:\n  - id: riskdesk\n", "a: &a [x]\nkeys: *a\n"} {
		write(garbage)
		if _, _, err := EditKeys(dir, now, false, revoke); err == nil {
			t.Errorf("%q was edited", garbage)
		}
		holds("garbage", garbage)
	}
	inner := keysFolder(t, laidOut)
	good := filepath.Join(inner, "..target")
	if err := errors.Join(os.Rename(filepath.Join(inner, keysYAML), good), os.Symlink("..target", filepath.Join(inner, keysYAML))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := EditKeys(inner, now, false, revoke); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link: %v", err)
	}
}

// FuzzEditKeys changes any file: nothing panics, and every line that is a
// comment is still there. That what was written means what was asked for is
// part of every edit.
func FuzzEditKeys(f *testing.F) {
	for _, dir := range []string{"testdata/base", exampleDir} {
		f.Add(folder(f, dir)[keysYAML], "riskdesk")
	}
	f.Add([]byte(strings.NewReplacer("AAAA", strings.Repeat("aa", 32), "BBBB", strings.Repeat("bb", 32), "CCCC", strings.Repeat("cc", 32)).Replace(laidOut)), "flowdesk")
	base := folder(f, "testdata/base")
	now := day(f, "2026-11-24T12:00:00Z")
	f.Fuzz(func(t *testing.T, text []byte, id string) {
		texts := map[string][]byte{}
		for name, content := range base {
			texts[name] = content
		}
		texts[keysYAML] = text
		if _, err := build(texts); err != nil {
			return
		}
		for _, edit := range []func(*KeysFile) error{
			func(k *KeysFile) error {
				return k.Add(Key{ID: "fuzzdesk1", UseCases: []string{"kyc"}}, strings.Repeat("0d", 32))
			},
			func(k *KeysFile) error { return k.Rotate(id, strings.Repeat("0d", 32), now.Add(time.Hour)) },
			func(k *KeysFile) error { return k.Rotate(id, strings.Repeat("0d", 32), now) },
			func(k *KeysFile) error { return k.Finish(id) },
			func(k *KeysFile) error { return k.Revoke(id) },
		} {
			after, err := editKeys(texts, now, edit)
			if err != nil {
				continue
			}
			comments := func(text []byte) (n int) {
				for line := range bytes.Lines(text) {
					if bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("#")) {
						n++
					}
				}
				return n
			}
			if comments(after) < comments(text) && !bytes.Contains(text, []byte("previous")) { // which goes with its own
				t.Fatalf("a comment is gone:\n%s", after)
			}
		}
	})
}
