// Package derive makes octets and keys from seeds: the laboratory gives the same ones each time.
package derive

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/poclog/poclog/internal/must"
)

// Octets derives n bytes, for one of the laboratory's parts.
func Octets(n int, part string, names ...string) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab %s\n%q\n%d", part, names, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// EC finds a key: the first of the octets that try gives which are one.
func EC(curve elliptic.Curve, try func(i int) []byte) *ecdsa.PrivateKey {
	for i := 0; ; i++ {
		if k, err := ecdsa.ParseRawPrivateKey(curve, try(i)); err == nil {
			return k
		}
	}
}

// Numbers are r and s of an ECDSA signature.
func Numbers(der []byte) (r, s *big.Int) {
	var sig struct{ R, S *big.Int }
	must.Get(asn1.Unmarshal(der, &sig))
	return sig.R, sig.S
}
