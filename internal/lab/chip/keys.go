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
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A Key is a P-256 key that is derived from a seed and a label, and signs deterministically.
type Key struct{ *ecdsa.PrivateKey }

// NewKey derives a key.
func NewKey(seed, label string) Key {
	for i := 0; ; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab key\n%s\n%s\n%d", seed, label, i))
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
		if err == nil {
			return Key{k}
		}
	}
}

// Sign implements [crypto.Signer] without randomness, whatever source it is given.
func (k Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// raw signs SHA-256 of a message as r ‖ s, 64 bytes.
func (k Key) raw(message []byte) []byte {
	sum := sha256.Sum256(message)
	der, err := k.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		panic(err) // a key of ours signs a digest of its size
	}
	r, s := new(big.Int), new(big.Int)
	in := cryptobyte.String(der)
	if !in.ReadASN1(&in, asn1.SEQUENCE) || !in.ReadASN1Integer(r) || !in.ReadASN1Integer(s) {
		panic("malformed signature of crypto/ecdsa")
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// xy returns the public point, 64 bytes.
func (k Key) xy() []byte {
	b, err := k.PublicKey.Bytes()
	if err != nil {
		panic(err) // a point on P-256
	}
	return b[1:]
}

// octets derives n bytes.
func octets(n int, parts ...string) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab octets\n%q\n%d", parts, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}
