package governance

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// keysFile is keys.yaml: the virtual keys, by hash.
type keysFile struct {
	Keys []keyEntry `yaml:"keys,required"`
}

// keyEntry is one virtual key. What it fixes beats what the client says.
type keyEntry struct {
	// The public part of the key, in events and logs: 8 to 32 of a-z, 0-9.
	ID at[id] `yaml:"id,required"`
	// SHA-256 of the whole key text, ll_<id>_<secret>, in hex.
	SHA256 at[text] `yaml:"sha256,required"`
	// While the secret is rotated: the one before, good until the other is in
	// use everywhere.
	Previous *previousEntry `yaml:"previous"`
	// What it is for.
	Name text `yaml:"name"`
	// The dimensions the key fixes, by id.
	BusinessUnit at[id] `yaml:"business_unit"`
	Team         at[id] `yaml:"team"`
	Project      at[id] `yaml:"project"`
	Application  at[id] `yaml:"application"`
	// The account the key belongs to. Events carry only its keyed reference,
	// but this file is published with every snapshot: write a directory id,
	// not a person's name.
	User at[id] `yaml:"user"`
	// The use cases it may serve; the first is the one of calls that name none.
	UseCases []at[id] `yaml:"use_cases,required"`
	// The models that its calls may ask for, by the names that clients use.
	// Left out: all that the route serves. A key with such a list may not call
	// paths whose body is not read.
	Models []at[model] `yaml:"models"`
	// The networks from which it may be used, such as 10.20.0.0/16. Left out:
	// all. What counts is the address that the connection comes from; behind a
	// load balancer that is the balancer's.
	Addresses []at[network] `yaml:"addresses"`
	// The largest request body in bytes. Default: the proxy's own limit.
	MaxBody int64 `yaml:"max_body_bytes"`
	// The first day, UTC, on which it is no longer accepted.
	Expires date `yaml:"expires"`
	// Whether it is refused for now.
	Disabled bool `yaml:"disabled"`
}

// previousEntry is the secret before the last rotation.
type previousEntry struct {
	SHA256 at[text] `yaml:"sha256,required"`
	// The moment, UTC, from which it is no longer accepted, such as
	// 2026-12-01T12:00:00Z.
	Until instant `yaml:"until,required"`
}

// instant is a moment in RFC 3339, in UTC: YAML reads others as well.
type instant struct{ time.Time }

func (v *instant) parse(s string) (err error) {
	if v.Time, err = time.ParseInLocation("2006-01-02T15:04:05Z", s, time.UTC); err != nil {
		return fmt.Errorf("%q is not a time in UTC such as 2026-12-01T12:00:00Z", clip(s))
	}
	return nil
}

func (*instant) timestamp() {}

func (*instant) shape() schema {
	return schema{Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.,][0-9]+)?Z$`}
}

// network is a range of addresses in CIDR notation.
type network struct{ netip.Prefix }

func (v *network) parse(s string) (err error) {
	if v.Prefix, err = netip.ParsePrefix(s); err != nil {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return fmt.Errorf("%q has no length; a single address is %s/%d", clip(s), a, a.BitLen())
		}
		return fmt.Errorf("%q is not a network such as 10.20.0.0/16 or 2001:db8::/32", clip(s))
	}
	if v.Addr().Is4In6() {
		return fmt.Errorf("%q is IPv4 written as IPv6; write it as IPv4", clip(s))
	}
	if whole := v.Masked(); whole != v.Prefix {
		return fmt.Errorf("%q has bits behind its length; the network is %s", clip(s), whole)
	}
	return nil
}

func (*network) shape() schema { return schema{Pattern: `^[0-9a-fA-F.:]+/[0-9]{1,3}$`} }

// Key is a virtual key without its secrets.
type Key struct {
	ID, Name                                       string
	BusinessUnit, Team, Project, User, Application string         // empty = not fixed by the key
	UseCases                                       []string       // allowed; the first is the default
	Models                                         []string       // allowed, by the names that clients use; empty = all
	Addresses                                      []netip.Prefix // from which it may be used; empty = all
	MaxBody                                        int64          // bytes; 0 = the proxy's own limit
	Expires                                        time.Time      // zero = never
	PreviousUntil                                  time.Time      // when the secret before the last rotation ends; zero = there is none
	Disabled                                       bool

	hash     [sha256.Size]byte
	previous [sha256.Size]byte // zero = none
}

// AllowsModel says whether a call may ask for a model, by the client's name
// for it. An empty name, of a call whose model is not known, is only allowed
// to keys that may ask for any.
func (k *Key) AllowsModel(model string) bool {
	return len(k.Models) == 0 || slices.Contains(k.Models, model)
}

// AllowsAddress says whether the key may be used from an address. One that is
// not known (the zero Addr) is only allowed to keys of all addresses.
func (k *Key) AllowsAddress(from netip.Addr) bool {
	if len(k.Addresses) == 0 {
		return true
	}
	from = from.Unmap().WithZone("")
	for _, network := range k.Addresses {
		if network.Contains(from) {
			return true
		}
	}
	return false
}

const (
	keyPrefix = "ll_"
	maxKey    = 128 // bytes of the whole text
)

var (
	keyForm  = regexp.MustCompile(`^[a-z0-9]{8,32}$`)
	hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Key finds the key with the text and checks that it may be used at a time:
// ErrNoKey, ErrKeyExpired or ErrKeyDisabled. The secret is compared in constant
// time with the current one and the one before it; an unknown id and a key
// without a second secret cost the same comparisons.
func (s *Snapshot) Key(text string, now time.Time) (*Key, error) {
	rest, ours := strings.CutPrefix(text, keyPrefix)
	id, _, two := strings.Cut(rest, "_")
	if !ours || !two || len(text) > maxKey {
		return nil, ErrNoKey
	}
	key, found := s.keys[id]
	if !found {
		key = &nobody
	}
	var buffer [maxKey]byte
	sum := sha256.Sum256(buffer[:copy(buffer[:], text)])
	current, previous := subtle.ConstantTimeCompare(sum[:], key.hash[:]), subtle.ConstantTimeCompare(sum[:], key.previous[:])
	if current|previous != 1 || !found {
		return nil, ErrNoKey
	}
	switch {
	case key.Disabled:
		return nil, ErrKeyDisabled
	case previous == 1 && !now.Before(key.PreviousUntil):
		return nil, ErrKeyExpired
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return nil, ErrKeyExpired
	}
	return key, nil
}

// nobody is what the text of an unknown key is compared with.
var nobody Key

// Keys is all keys in the order of the file.
func (s *Snapshot) Keys() []*Key { return s.keyList }

// GenerateKey makes a new key with a public id: the text to hand out once and
// the hash for keys.yaml. The secret has 43 letters and digits, 256 bits.
func GenerateKey(id string) (text, sha256hex string) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secret := make([]byte, 0, 43)
	var random [64]byte
	for len(secret) < cap(secret) {
		rand.Read(random[:])
		for _, b := range random {
			if b < 248 && len(secret) < cap(secret) { // 4 × 62: no letter is likelier
				secret = append(secret, alphabet[b%62])
			}
		}
	}
	text = keyPrefix + id + "_" + string(secret)
	sum := sha256.Sum256([]byte(text))
	return text, hex.EncodeToString(sum[:])
}

// Rekey gives every key of a keys.yaml a new secret, leaving all else in the
// file as it is, and returns the key texts by id. It makes a working copy of
// the example, whose secrets nobody has.
func Rekey(keysYAML []byte) (rekeyed []byte, texts map[string]string, err error) {
	var f keysFile
	if problems, _ := decode("keys.yaml", keysYAML, &f); len(problems) > 0 {
		return nil, nil, problems
	}
	texts = make(map[string]string, len(f.Keys))
	for _, key := range f.Keys {
		text, hash := GenerateKey(string(key.ID.V))
		if bytes.Count(keysYAML, []byte(key.SHA256.V)) != 1 {
			return nil, nil, fmt.Errorf("keys.yaml:%d: the hash of key %s is not unique in the file", key.SHA256.Mark.line(), key.ID.V)
		}
		keysYAML = bytes.Replace(keysYAML, []byte(key.SHA256.V), []byte(hash), 1)
		texts[string(key.ID.V)] = text
	}
	return keysYAML, texts, nil
}

func (s *Snapshot) setKeys(c *checker, f *keysFile) {
	s.keys = make(map[string]*Key, len(f.Keys))
	hashes := map[text]id{}
	hash := func(k *Key, name string, given at[text], into *[sha256.Size]byte) {
		if given.V == "" {
			return
		}
		if !hashForm.MatchString(string(given.V)) {
			c.fail(keysYAML, given.Mark, "key %s: %s is not 64 lower-case hex digits", k.ID, name)
		} else if other, taken := hashes[given.V]; taken {
			c.fail(keysYAML, given.Mark, "key %s: the hash is that of key %s", k.ID, other)
		} else {
			hashes[given.V] = id(k.ID)
			_, _ = hex.Decode(into[:], []byte(given.V)) // the form was checked
		}
	}
	for i := range f.Keys {
		e := &f.Keys[i]
		k := &Key{
			ID: string(e.ID.V), Name: string(e.Name), MaxBody: e.MaxBody, Expires: e.Expires.Time, Disabled: e.Disabled,
			BusinessUnit: string(e.BusinessUnit.V), Team: string(e.Team.V), Project: string(e.Project.V),
			User: string(e.User.V), Application: string(e.Application.V),
		}
		hash(k, "sha256", e.SHA256, &k.hash)
		if e.Previous != nil {
			hash(k, "previous sha256", e.Previous.SHA256, &k.previous)
			k.PreviousUntil = e.Previous.Until.Time
		}
		for j, value := range [...]at[id]{businessUnit: e.BusinessUnit, team: e.Team, project: e.Project, user: e.User, application: e.Application} {
			s.checkValue(c, keysYAML, j, value)
		}
		s.checkParent(c, keysYAML, e.BusinessUnit.Mark, team, k.Team, k.BusinessUnit)
		s.checkParent(c, keysYAML, e.Team.Mark, project, k.Project, k.Team)
		for _, u := range e.UseCases {
			s.checkValue(c, keysYAML, useCase, u)
			k.UseCases = append(k.UseCases, string(u.V))
		}
		if len(e.UseCases) == 0 && e.UseCases != nil {
			c.fail(keysYAML, e.ID.Mark, "key %s: use_cases must name at least one", k.ID)
		}
		for _, m := range e.Models {
			if slices.Contains(k.Models, string(m.V)) && m.V != "" {
				c.fail(keysYAML, m.Mark, "key %s: model %s is listed twice", k.ID, m.V)
			}
			k.Models = append(k.Models, string(m.V))
		}
		for _, a := range e.Addresses {
			if slices.Contains(k.Addresses, a.V.Prefix) && a.V.IsValid() {
				c.fail(keysYAML, a.Mark, "key %s: network %s is listed twice", k.ID, a.V)
			}
			k.Addresses = append(k.Addresses, a.V.Prefix)
		}
		for name, empty := range map[string]bool{"models": e.Models != nil && len(e.Models) == 0, "addresses": e.Addresses != nil && len(e.Addresses) == 0} {
			if empty {
				c.fail(keysYAML, e.ID.Mark, "key %s: %s must list at least one; leave it out to allow all", k.ID, name)
			}
		}
		switch {
		case k.ID == "":
		case !keyForm.MatchString(k.ID):
			c.fail(keysYAML, e.ID.Mark, "key %s: the id of a key is 8 to 32 of a-z and 0-9", k.ID)
		case s.keys[k.ID] != nil:
			c.fail(keysYAML, e.ID.Mark, "key %s: the id is used twice", k.ID)
		default:
			s.keys[k.ID] = k
			s.keyList = append(s.keyList, k)
		}
	}
}
