package evidence

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// chainItem orders certificates into a chain from the leaf to a self-signed root, and concatenates their DER. The leaf comes first;
// the others in any order; those that the chain does not need are left out and counted.
func chainItem(certs [][]byte) (item []byte, unused int, err error) {
	if len(certs) == 0 {
		return nil, 0, fmt.Errorf("no certificate")
	}
	pool := make([]*x509.Certificate, 0, len(certs))
	for i, der := range certs {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, 0, fmt.Errorf("certificate %d: %w", i, err)
		}
		pool = append(pool, c)
	}
	chain := []*x509.Certificate{pool[0]}
	for len(chain) <= len(pool) {
		last := chain[len(chain)-1]
		if bytes.Equal(last.RawIssuer, last.RawSubject) {
			break
		}
		next := issuer(pool, last)
		if next == nil {
			return nil, 0, fmt.Errorf("the certificate of the issuer %q is missing: give its file too", last.Issuer)
		}
		chain = append(chain, next)
	}
	for _, c := range chain {
		item = append(item, c.Raw...)
	}
	return item, len(pool) - len(chain), nil
}

// issuer finds who signed c.
func issuer(pool []*x509.Certificate, c *x509.Certificate) *x509.Certificate {
	for _, p := range pool {
		if bytes.Equal(p.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(p) == nil {
			return p
		}
	}
	return nil
}
