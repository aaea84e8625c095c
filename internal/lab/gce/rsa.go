package gce

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"
	"sync"
)

// rsaBits is the size of the lab's RSA keys.
const rsaBits = 2048

// deterministicRSA signs with PKCS #1 v1.5, which needs no randomness, whatever source it is given.
type deterministicRSA struct{ *rsa.PrivateKey }

func (k deterministicRSA) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// rsaKeys keeps derived keys, each of which takes a tenth of a second to find.
var rsaKeys sync.Map // of seed and label: func() *rsa.PrivateKey

// NewRSAKey derives an RSA key of 2,048 bits from a seed and a label. Its signatures are
// deterministic.
func NewRSAKey(seed, label string) crypto.Signer { return deterministicRSA{rsaKey(seed, label)} }

// rsaKey derives a key, once.
func rsaKey(seed, label string) *rsa.PrivateKey {
	find, _ := rsaKeys.LoadOrStore(seed+"\n"+label, sync.OnceValue(func() *rsa.PrivateKey { return findRSAKey(seed, label) }))
	return find.(func() *rsa.PrivateKey)()
}

// findRSAKey searches for a key. The standard library's generator takes no seed.
func findRSAKey(seed, label string) *rsa.PrivateKey {
	p := prime(seed, label, "p")
	q := prime(seed, label, "q")
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	e := big.NewInt(65537)
	k := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: new(big.Int).ModInverse(e, phi), Primes: []*big.Int{p, q},
	}
	k.Precompute()
	if err := k.Validate(); err != nil {
		panic(fmt.Sprintf("RSA key %q: %v", label, err)) // the primes are such that this cannot be
	}
	return k
}

// prime derives a prime of half a key's size, with both top bits set so that the modulus has full
// size, and such that 65537 has an inverse.
func prime(seed, label, which string) *big.Int {
	b := derive(rsaBits/16, seed, "rsa", label, which)
	b[0] |= 0xc0
	b[len(b)-1] |= 1
	n, step, e := new(big.Int).SetBytes(b), big.NewInt(2), big.NewInt(65537)
	for r := new(big.Int); ; n.Add(n, step) {
		if r.Mod(n, e).Cmp(big.NewInt(1)) != 0 && n.ProbablyPrime(10) {
			return n
		}
	}
}

// signPSS signs SHA-256 of a message by RSASSA-PSS (RFC 8017, §8.1.1), with a salt that is made
// from the message: signatures must not differ between two runs of the lab.
func signPSS(k *rsa.PrivateKey, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	salt := sha256.Sum256(append([]byte("poclog lab salt"), digest[:]...))
	return rsa.SignPSS(bytes.NewReader(salt[:]), k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: len(salt)})
}
