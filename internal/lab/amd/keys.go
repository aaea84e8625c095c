// Package amd is AMD as the laboratory has it: a maker of SEV-SNP processors (root, CAs, keys of
// chips and of clouds, reports, CRLs), under roots of its own that only the realm lab accepts.
//
// Everything is a function of the maker's seed: keys are derived from it and signatures are
// deterministic. go-sev-guest accepts the results unchanged, but for Turin's, whose certificates it
// cannot read; TestLabReportsPassGoSEVGuest holds that. Keys of CAs are of 2,048 bits where AMD's
// have 4,096: they are found in less time.
package amd

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha512"
	"fmt"
	"io"
	"math/big"
	"slices"

	"github.com/poclog/poclog/internal/lab/derive"
	"github.com/poclog/poclog/internal/must"
)

// octets derives n bytes.
func octets(n int, names ...string) []byte { return derive.Octets(n, "amd", names...) }

// pssKey is a CA's key. It signs by RSASSA-PSS with a salt made from the digest: signatures must
// not differ between two runs of the lab.
type pssKey struct{ *rsa.PrivateKey }

// Sign implements [crypto.Signer] without randomness, whatever source it is given.
func (k pssKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	salt := sha512.Sum384(append([]byte("poclog lab salt"), digest...))
	return rsa.SignPSS(bytes.NewReader(salt[:]), k.PrivateKey, opts.HashFunc(), digest, &rsa.PSSOptions{SaltLength: len(salt)})
}

// chipKey derives a key on P-384.
func chipKey(seed, label string) *ecdsa.PrivateKey {
	return derive.EC(elliptic.P384(), func(i int) []byte { return octets(48, seed, "p384", label, fmt.Sprint(i)) })
}

// signReport signs as the processor does: r and s of SHA-384, each in 72 bytes, little-endian.
func signReport(k *ecdsa.PrivateKey, signed []byte) []byte {
	h := sha512.Sum384(signed)
	r, s := derive.Numbers(must.Get(k.Sign(nil, h[:], crypto.SHA384)))
	return append(littleEndian(r, 72), littleEndian(s, 72)...)
}

// littleEndian encodes a number in n bytes.
func littleEndian(v *big.Int, n int) []byte {
	b := v.FillBytes(make([]byte, n))
	slices.Reverse(b)
	return b
}
