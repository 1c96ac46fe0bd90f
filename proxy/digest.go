package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// secrets are the keys derived from Options.Secret: whoever destroys it makes
// all digests and user references meaningless.
type secrets struct{ content, user []byte }

func deriveSecrets(secret []byte) secrets {
	derive := func(purpose string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(purpose))
		return h.Sum(nil)
	}
	return secrets{content: derive("ledgerline content digest v1"), user: derive("ledgerline user reference v1")}
}

// digests are the keyed hashes of one call. They belong to a pooled call,
// because the key's two blocks are hashed once only.
type digests struct {
	body, answer, user hash.Hash
	sum                [sha256.Size]byte
}

func newDigests(s secrets) digests {
	return digests{body: hmac.New(sha256.New, s.content), answer: hmac.New(sha256.New, s.content), user: hmac.New(sha256.New, s.user)}
}

// appendHex appends the hash so far in hex.
func (d *digests) appendHex(dst []byte, h hash.Hash) []byte {
	return hex.AppendEncode(dst, h.Sum(d.sum[:0]))
}

// appendUser appends the reference of a user: "u_" and 16 hex digits.
func (d *digests) appendUser(dst, name []byte) []byte {
	d.user.Reset()
	d.user.Write(name)
	return hex.AppendEncode(append(dst, "u_"...), d.user.Sum(d.sum[:0])[:8])
}
