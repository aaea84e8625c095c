// Package endorser is who vouches for machines of the laboratory beside their makers: a registry of
// hardware that signs tokens, and owners who sign that platforms are theirs. Everything is a
// function of the seed, and every signature is deterministic. Only policies that list them believe
// them.
//
// TestOtherCOSEImplementation in verify/vouch/poe holds that go-cose accepts what an owner signs.
package endorser

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/poclog/poclog"
)

// An Alliance is a registry of hardware with one key. (The real one's is a group's: three of its
// members sign together, and the result looks the same.)
type Alliance struct {
	Name string

	key ed25519.PrivateKey
}

// NewAlliance makes the registry of a name.
func NewAlliance(seed, name string) *Alliance {
	sum := sha256.Sum256([]byte("poclog lab alliance\n" + seed + "\n" + name))
	return &Alliance{Name: name, key: ed25519.NewKeyFromSeed(sum[:])}
}

// Key returns the public key.
func (a *Alliance) Key() poclog.Digest { return poclog.Digest(a.key.Public().(ed25519.PublicKey)) }

// Policy returns how a policy lists the registry.
func (a *Alliance) Policy() poclog.Alliance {
	return poclog.Alliance{Name: a.Name, Key: a.Key().String()}
}

// Token vouches for a machine (PPID or CHIP_ID, in octets), shown by a quote, under a label that
// needs no escapes in JSON.
func (a *Alliance) Token(quote, machine []byte, label string, at time.Time) []byte {
	return a.TokenOf(a.Key(), quote, machine, label, at)
}

// BareToken is Token as the servers of 2026 answer: without a time.
func (a *Alliance) BareToken(quote, machine []byte, label string) []byte {
	return a.Sign(fmt.Sprintf(`{"alg":"EdDSA","typ":"JWT","kid":"%s"}`, a.Key()),
		fmt.Sprintf(`{"quote_hash":"%x","machine_id":"%x","label":"%s"}`, sha256.Sum256(quote), machine, label))
}

// TokenOf is Token with the kid of any key.
func (a *Alliance) TokenOf(kid poclog.Digest, quote, machine []byte, label string, at time.Time) []byte {
	return a.Sign(fmt.Sprintf(`{"alg":"EdDSA","typ":"JWT","kid":"%s"}`, kid),
		fmt.Sprintf(`{"quote_hash":"%x","machine_id":"%x","label":"%s","timestamp":%d}`, sha256.Sum256(quote), machine, label, at.Unix()))
}

// Sign makes a compact JWS of any header and payload.
func (a *Alliance) Sign(header, payload string) []byte {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	return []byte(signed + "." + enc.EncodeToString(ed25519.Sign(a.key, []byte(signed))))
}

// TokenItem is a token as collateral.
func TokenItem(token []byte) poclog.CollateralItem {
	return poclog.CollateralItem{Kind: poclog.AllianceToken, Body: token}
}
