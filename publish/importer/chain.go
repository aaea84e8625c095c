package importer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tpm"
)

// maxPool is the largest number of certificates that are searched for a chain.
const maxPool = 32

// A MissingIssuer says that a chain ends before its root: the one thing about a chain that another
// file can mend.
type MissingIssuer struct {
	Last *x509.Certificate // whose issuer is not there
}

// Error names the issuer.
func (m MissingIssuer) Error() string {
	return fmt.Sprintf("the certificate of the issuer %q is missing", m.Last.Issuer)
}

// A MissingAKError says that the evidence has no certificate of the AK, and where the machine has
// it.
type MissingAKError struct {
	NV tpm2.TPMHandle // the index, in which it may be padded with zeros
}

// Error says what is missing.
func (m MissingAKError) Error() string {
	return fmt.Sprintf("the certificate of the AK is missing: the machine's TPM has it in NV index %#08x", uint32(m.NV))
}

// ParseCertificates parses each of a list, in DER.
func ParseCertificates(ders [][]byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// Chain orders certificates into a chain from the leaf to a self-signed root, and concatenates
// their DER. The leaf comes first; the others in any order; those that the chain does not need are
// left out and counted. A certificate that is not signed by the one that bears its issuer's name,
// and a CA's in the leaf's place, are refused; an issuer that is not there is a [MissingIssuer].
func Chain(certs [][]byte) (item []byte, unused int, err error) {
	if len(certs) == 0 || len(certs) > maxPool {
		return nil, 0, fmt.Errorf("%d certificates: want 1 to %d", len(certs), maxPool)
	}
	pool, err := ParseCertificates(certs)
	if err != nil {
		return nil, 0, err
	}
	chain := []*x509.Certificate{pool[0]}
	if pool[0].IsCA {
		return nil, 0, fmt.Errorf("the first certificate, of %q, is a CA's: want the key's own", pool[0].Subject)
	}
	for last := pool[0]; !bytes.Equal(last.RawIssuer, last.RawSubject) && len(chain) <= len(pool); {
		if last, err = issuer(pool[1:], last); err != nil {
			return nil, 0, err
		}
		chain = append(chain, last)
	}
	for _, c := range chain {
		item = append(item, c.Raw...)
	}
	if _, err := tpm.ParseChain(item); err != nil {
		return nil, 0, err
	}
	return item, len(pool) - len(chain), nil
}

// issuer finds who signed c. A CA may have several certificates with one name.
func issuer(pool []*x509.Certificate, c *x509.Certificate) (*x509.Certificate, error) {
	var bad error
	for _, p := range pool {
		if !bytes.Equal(p.RawSubject, c.RawIssuer) {
			continue
		}
		err := c.CheckSignatureFrom(p)
		if err == nil {
			return p, nil
		}
		bad = fmt.Errorf("the certificate of %q is not signed by %q: %w", c.Subject, p.Subject, err)
	}
	if bad != nil {
		return nil, bad
	}
	return nil, MissingIssuer{c}
}

// setAKCertificates takes certificates in any order: the AK's own is that of its key or, where
// there is none, the first that is no CA's. Without any the import says in which NV index the
// machine has it.
func (im *Import) setAKCertificates(pool [][]byte, key crypto.PublicKey, nv tpm2.TPMHandle) error {
	var leaves, cas [][]byte
	for i, der := range pool {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return fmt.Errorf("certificate %d: %w", i+1, err)
		case c.IsCA:
			cas = append(cas, der)
		case sameKey(key, c.PublicKey):
			leaves = append([][]byte{der}, leaves...)
		default:
			leaves = append(leaves, der)
		}
	}
	if len(leaves) == 0 {
		im.Missing = append(im.Missing, MissingAKError{nv})
		return nil
	}
	return im.setChain(append(leaves, cas...))
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// setChain takes the AK's chain. A root or intermediate that is not there leaves the chain out, and
// the notes say so.
func (im *Import) setChain(ders [][]byte) error {
	chain, unused, err := Chain(ders)
	var missing MissingIssuer
	switch {
	case errors.As(err, &missing):
		im.note("the AK's chain is left out: its end is missing, and with it who vouches for the TPM")
		im.Missing = append(im.Missing, missing)
		return nil
	case err != nil:
		return fmt.Errorf("AK certificate: %w", err)
	}
	if unused > 0 {
		im.note("%d certificates that the AK's chain does not need are left out", unused)
	}
	im.Bundle.Set(poclog.ItemTPMAKChain, chain)
	return nil
}
