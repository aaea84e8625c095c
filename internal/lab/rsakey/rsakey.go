// Package rsakey derives RSA keys from octets: the standard library's generator takes no seed, and
// the laboratory gives the same key each time.
package rsakey

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
)

// Exponent is every key's.
const Exponent = 65537

var one, exponent = big.NewInt(1), big.NewInt(Exponent)

// A Ring finds keys, each once.
type Ring struct {
	derive func(seed, label, prime string) []byte
	found  sync.Map // of seed and label: func() *rsa.PrivateKey
}

// New returns a ring whose primes p and q are found from the octets of derive.
func New(derive func(seed, label, prime string) []byte) *Ring { return &Ring{derive: derive} }

// Key returns the key of a seed and a label.
func (r *Ring) Key(seed, label string) *rsa.PrivateKey {
	find, _ := r.found.LoadOrStore(seed+"\n"+label, sync.OnceValue(func() *rsa.PrivateKey {
		p, q := prime(r.derive(seed, label, "p")), prime(r.derive(seed, label, "q"))
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		k := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: Exponent}, D: new(big.Int).ModInverse(exponent, phi), Primes: []*big.Int{p, q},
		}
		k.Precompute()
		if err := k.Validate(); err != nil {
			panic(fmt.Sprintf("RSA key %q: %v", label, err)) // the primes are such that this cannot be
		}
		return k
	}))
	return find.(func() *rsa.PrivateKey)()
}

// prime returns the first prime (by the Baillie-PSW test) from a number on, with both top bits set so that the modulus has
// full size, and such that the exponent has an inverse.
func prime(b []byte) *big.Int {
	b[0] |= 0xc0
	b[len(b)-1] |= 1
	start := new(big.Int).SetBytes(b)
	for k, composite := range sieve(start) {
		if composite {
			continue
		}
		n := new(big.Int).Add(start, big.NewInt(int64(2*k)))
		if new(big.Int).Mod(n, exponent).Cmp(one) != 0 && n.ProbablyPrime(0) {
			return n
		}
	}
	panic("no prime in a gap that none has") // the largest gaps of this size are below 2 * width
}

// width is how many odd numbers prime looks at, and the bound of the divisors that it tries first:
// most numbers have a small one, which is found in a fraction of the time of ProbablyPrime.
const width = 1 << 16

// sieve says which of the odd numbers from start on have a small divisor.
func sieve(start *big.Int) []bool {
	composite := make([]bool, width)
	hasDivisor := make([]bool, width)
	for d := 3; d < width; d += 2 {
		if hasDivisor[d] {
			continue
		}
		for m := d * d; m < width; m += 2 * d {
			hasDivisor[m] = true
		}
		rest := int(new(big.Int).Mod(start, big.NewInt(int64(d))).Int64())
		// start + 2k is divisible for the first k with 2k = -rest modulo d.
		k := (d - rest) % d
		if k%2 == 1 {
			k += d
		}
		for k /= 2; k < width; k += d {
			composite[k] = true
		}
	}
	return composite
}
