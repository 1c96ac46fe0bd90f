package governance

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
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
