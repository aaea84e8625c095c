// Package cert issues the laboratory's certificates.
package cert

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"

	"github.com/poclog/poclog/internal/must"
)

// An Issued is a certificate with its key.
type Issued struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Issue signs the certificate of a key that can sign. What is not issued itself makes it
// self-signed.
func (by Issued) Issue(t *x509.Certificate, key crypto.Signer) Issued {
	if by.Cert == nil {
		by = Issued{t, key}
	}
	return Issued{by.Sign(t, key.Public()), key}
}

// Sign signs the certificate of a public key.
func (by Issued) Sign(t *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	return must.Get(x509.ParseCertificate(must.Get(x509.CreateCertificate(nil, t, by.Cert, key, by.Key))))
}

// Chain is certificates, DER, concatenated.
func Chain(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, c.Raw...)
	}
	return out
}

// PEM is certificates in PEM.
func PEM(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
