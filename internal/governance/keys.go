package governance

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
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
	// The largest request body in bytes. Default: the proxy's own limit.
	MaxBody int64 `yaml:"max_body_bytes"`
	// The first day, UTC, on which it is no longer accepted.
	Expires date `yaml:"expires"`
	// Whether it is refused for now.
	Disabled bool `yaml:"disabled"`
}

// Key is a virtual key without its secret.
type Key struct {
	ID, Name                                       string
	BusinessUnit, Team, Project, User, Application string    // empty = not fixed by the key
	UseCases                                       []string  // allowed; the first is the default
	MaxBody                                        int64     // bytes; 0 = the proxy's own limit
	Expires                                        time.Time // zero = never
	Disabled                                       bool

	hash [sha256.Size]byte
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
// time, and an unknown id costs the same comparison.
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
	if subtle.ConstantTimeCompare(sum[:], key.hash[:]) != 1 || !found {
		return nil, ErrNoKey
	}
	switch {
	case key.Disabled:
		return nil, ErrKeyDisabled
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
			return nil, nil, fmt.Errorf("keys.yaml:%d: the hash of key %s is not unique in the file", key.SHA256.Line.line(), key.ID.V)
		}
		keysYAML = bytes.Replace(keysYAML, []byte(key.SHA256.V), []byte(hash), 1)
		texts[string(key.ID.V)] = text
	}
	return keysYAML, texts, nil
}

func (s *Snapshot) setKeys(c *checker, f *keysFile) {
	s.keys = make(map[string]*Key, len(f.Keys))
	hashes := map[text]id{}
	for i := range f.Keys {
		e := &f.Keys[i]
		k := &Key{
			ID: string(e.ID.V), Name: string(e.Name), MaxBody: e.MaxBody, Expires: e.Expires.Time, Disabled: e.Disabled,
			BusinessUnit: string(e.BusinessUnit.V), Team: string(e.Team.V), Project: string(e.Project.V),
			User: string(e.User.V), Application: string(e.Application.V),
		}
		if e.SHA256.V != "" {
			if !hashForm.MatchString(string(e.SHA256.V)) {
				c.fail(keysYAML, e.SHA256.Line, "key %s: sha256 is not 64 lower-case hex digits", k.ID)
			} else if other, taken := hashes[e.SHA256.V]; taken {
				c.fail(keysYAML, e.SHA256.Line, "key %s: the hash is that of key %s", k.ID, other)
			} else {
				hashes[e.SHA256.V] = e.ID.V
				_, _ = hex.Decode(k.hash[:], []byte(e.SHA256.V)) // the form was checked
			}
		}
		for j, value := range [...]at[id]{businessUnit: e.BusinessUnit, team: e.Team, project: e.Project, user: e.User, application: e.Application} {
			s.checkValue(c, keysYAML, j, value)
		}
		s.checkParent(c, keysYAML, e.BusinessUnit.Line, team, k.Team, k.BusinessUnit)
		s.checkParent(c, keysYAML, e.Team.Line, project, k.Project, k.Team)
		for _, u := range e.UseCases {
			s.checkValue(c, keysYAML, useCase, u)
			k.UseCases = append(k.UseCases, string(u.V))
		}
		if len(e.UseCases) == 0 && e.UseCases != nil {
			c.fail(keysYAML, e.ID.Line, "key %s: use_cases must name at least one", k.ID)
		}
		switch {
		case k.ID == "":
		case !keyForm.MatchString(k.ID):
			c.fail(keysYAML, e.ID.Line, "key %s: the id of a key is 8 to 32 of a-z and 0-9", k.ID)
		case s.keys[k.ID] != nil:
			c.fail(keysYAML, e.ID.Line, "key %s: the id is used twice", k.ID)
		default:
			s.keys[k.ID] = k
			s.keyList = append(s.keyList, k)
		}
	}
}
