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
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/poclog/poclog/internal/lab/rsakey"
)

// octets derives n bytes.
func octets(n int, parts ...string) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab amd\n%q\n%d", parts, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// pssKey is a CA's key. It signs by RSASSA-PSS with a salt made from the digest: signatures must
// not differ between two runs of the lab.
type pssKey struct{ *rsa.PrivateKey }

// Sign implements [crypto.Signer] without randomness, whatever source it is given.
func (k pssKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	salt := sha512.Sum384(append([]byte("poclog lab salt"), digest...))
	return rsa.SignPSS(bytes.NewReader(salt[:]), k.PrivateKey, opts.HashFunc(), digest, &rsa.PSSOptions{SaltLength: len(salt)})
}

var caKeys = rsakey.New(func(seed, label, prime string) []byte { return octets(128, seed, "rsa", label, prime) })

// chipKey derives a key on P-384.
func chipKey(seed, label string) *ecdsa.PrivateKey {
	for i := 0; ; i++ {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), octets(48, seed, "p384", label, fmt.Sprint(i)))
		if err == nil {
			return k
		}
	}
}

// signReport signs as the processor does: r and s of SHA-384, each in 72 bytes, little-endian.
func signReport(k *ecdsa.PrivateKey, signed []byte) []byte {
	h := sha512.Sum384(signed)
	der, err := k.Sign(nil, h[:], crypto.SHA384)
	if err != nil {
		panic(err) // a key of ours signs a digest of its size
	}
	r, s := new(big.Int), new(big.Int)
	in := cryptobyte.String(der)
	if !in.ReadASN1(&in, asn1.SEQUENCE) || !in.ReadASN1Integer(r) || !in.ReadASN1Integer(s) {
		panic("malformed signature of crypto/ecdsa")
	}
	return append(littleEndian(r, 72), littleEndian(s, 72)...)
}

// littleEndian encodes a number in n bytes.
func littleEndian(v *big.Int, n int) []byte {
	b := v.FillBytes(make([]byte, n))
	for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
