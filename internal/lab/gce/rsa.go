package gce

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"io"

	"github.com/poclog/poclog/internal/lab/derive"
)

// deterministicRSA signs with PKCS #1 v1.5, which needs no randomness, whatever source it is given.
type deterministicRSA struct{ *rsa.PrivateKey }

func (k deterministicRSA) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// NewRSAKey derives an RSA key of 2,048 bits from a seed and a label. Its signatures are
// deterministic.
func NewRSAKey(seed, label string) crypto.Signer {
	return deterministicRSA{derive.RSA(part, seed, label)}
}

// signPSS signs SHA-256 of a message by RSASSA-PSS (RFC 8017, §8.1.1), with a salt that is made
// from the message: signatures must not differ between two runs of the lab.
func signPSS(k *rsa.PrivateKey, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	salt := sha256.Sum256(append([]byte("poclog lab salt"), digest[:]...))
	return rsa.SignPSS(bytes.NewReader(salt[:]), k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: len(salt)})
}
