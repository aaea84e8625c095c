package derive

import (
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
)

// rsaBits is the size of the laboratory's RSA keys.
const rsaBits = 2048

var one, exponent = big.NewInt(1), big.NewInt(65537)

// found are the keys that were asked for, each made once: func() *rsa.PrivateKey by part, seed and
// label.
var found sync.Map

// RSA returns the key of a seed and a label, for one of the laboratory's parts: the standard
// library's generator takes no seed.
func RSA(part, seed, label string) *rsa.PrivateKey {
	find, _ := found.LoadOrStore([3]string{part, seed, label}, sync.OnceValue(func() *rsa.PrivateKey {
		octets := func(prime string) []byte { return Octets(rsaBits/16, part, seed, "rsa", label, prime) }
		p, q := prime(octets("p")), prime(octets("q"))
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		k := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(exponent.Int64())}, D: new(big.Int).ModInverse(exponent, phi), Primes: []*big.Int{p, q},
		}
		k.Precompute()
		if err := k.Validate(); err != nil {
			panic(fmt.Sprintf("RSA key %q: %v", label, err)) // the primes are such that this cannot be
		}
		return k
	}))
	return find.(func() *rsa.PrivateKey)()
}

// prime returns the first prime (by the Baillie-PSW test) from a number on, with both top bits set
// so that the modulus has full size, and such that the exponent has an inverse.
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
