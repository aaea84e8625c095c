package tdx_test

import (
	"crypto/elliptic"
	"math/big"
)

// negate returns n − s for the order n of P-256, in 32 bytes.
func negate(s []byte) []byte {
	n := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s))
	return n.FillBytes(make([]byte, 32))
}
