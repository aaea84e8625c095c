// Package chip is a chip maker of the laboratory: it makes what Intel makes for TDX (root, CAs,
// chips, quotes, collateral, CRLs), under a root of its own that only the realm lab accepts.
//
// Everything is a function of the maker's seed: keys are derived from it, and signatures are
// deterministic (RFC 6979 in spirit: Go's ECDSA without a random source). go-tdx-guest accepts the
// results unchanged; TestLabQuotesPassGoTDXGuest holds that.
package chip

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/poclog/poclog/internal/lab/derive"
	"github.com/poclog/poclog/internal/must"
)

// A Key is a P-256 key that is derived from a seed and a label, and signs deterministically.
type Key struct{ *ecdsa.PrivateKey }

// NewKey derives a key.
func NewKey(seed, label string) Key {
	return Key{derive.EC(elliptic.P256(), func(i int) []byte {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab key\n%s\n%s\n%d", seed, label, i))
		return sum[:]
	})}
}

// Sign implements [crypto.Signer] without randomness, whatever source it is given.
func (k Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// raw signs SHA-256 of a message as r ‖ s, 64 bytes.
func (k Key) raw(message []byte) []byte {
	sum := sha256.Sum256(message)
	r, s := derive.Numbers(must.Get(k.Sign(nil, sum[:], crypto.SHA256)))
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// xy returns the public point, 64 bytes.
func (k Key) xy() []byte {
	return must.Get(k.PublicKey.Bytes())[1:]
}

// octets derives n bytes.
func octets(n int, names ...string) []byte { return derive.Octets(n, "octets", names...) }
