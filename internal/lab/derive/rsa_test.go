package derive

import (
	"crypto/sha512"
	"math/big"
	"testing"
)

// The sieve leaves out nothing but composite numbers, and all that have a small divisor.
func TestTheSieveFindsTheFirstPrime(t *testing.T) {
	for _, seed := range []string{"a", "b", "c"} {
		sum := sha512.Sum512([]byte(seed))
		found := prime(append([]byte(nil), sum[:]...))
		sum[0] |= 0xc0
		sum[len(sum)-1] |= 1
		n := new(big.Int).SetBytes(sum[:])
		for ; !n.ProbablyPrime(10) || new(big.Int).Mod(n, exponent).Cmp(one) == 0; n.Add(n, big.NewInt(2)) {
		}
		if found.Cmp(n) != 0 {
			t.Errorf("%s: found %x, the first is %x", seed, found, n)
		}
		if composite := sieve(n); composite[0] {
			t.Errorf("%x is prime", n)
		}
	}
}
