package attest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/publish/importer"
)

// Limits of what certificates may make us fetch.
const (
	maxIssuer     = 1 << 16 // bytes of one answer
	maxIssuers    = 5       // of one chain: a bundle's has six certificates
	maxURLs       = 4       // of one certificate
	issuerTimeout = 10 * time.Second
)

// Issuers completes certificate chains with the certificates to which they point (RFC 5280,
// §4.2.2.1: authority information access). The certificate that points is not verified yet: only
// known hosts of makers are asked, at public addresses, without a query, and no redirect is
// followed. What is fetched is taken only if it signed the certificate that pointed to it; whether
// anybody trusts its root is not decided here. The zero value fetches and keeps nothing on disk.
type Issuers struct {
	Cache     string            // folder in which issuers are kept; "" keeps none
	Transport http.RoundTripper // asks makers' hosts; nil is one that connects to public addresses only
}

// complete returns the chain of a certificate up to its root, in a bundle's form, from a pool and
// from what the certificates point to.
func (s *Issuers) complete(ctx context.Context, piece string, leaf *x509.Certificate, pool [][]byte) ([]byte, error) {
	how := GiveAKIssuers
	if piece == PieceEKChain {
		how = GiveEKIssuers
	}
	pool = append([][]byte{leaf.Raw}, pool...)
	for n := 0; ; n++ {
		item, _, err := importer.Chain(pool)
		var missing importer.MissingIssuer
		if err == nil {
			return item, nil
		}
		if !errors.As(err, &missing) || s == nil || n == maxIssuers {
			return nil, &MissingError{piece, err, how}
		}
		issuer, ferr := s.issuer(ctx, missing.Last)
		if ferr != nil {
			return nil, &MissingError{piece, fmt.Errorf("the certificate of the issuer %q is missing: %w", missing.Last.Issuer, ferr), how}
		}
		pool = append(pool, issuer.Raw)
	}
}

// issuer fetches the issuer of a certificate.
func (s *Issuers) issuer(ctx context.Context, c *x509.Certificate) (*x509.Certificate, error) {
	if len(c.IssuingCertificateURL) == 0 {
		return nil, errors.New("the certificate does not say where to get it")
	}
	var failed error
	for _, address := range c.IssuingCertificateURL[:min(maxURLs, len(c.IssuingCertificateURL))] {
		if kept, err := s.kept(address); err == nil && signs(kept, c) == nil {
			return kept, nil // one that does not sign any more is fetched anew
		}
		issuer, err := s.fetch(ctx, address)
		if err == nil {
			err = signs(issuer, c)
		}
		if err == nil {
			s.keep(address, issuer)
			return issuer, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%.200q: %w", address, err))
	}
	return nil, oneLine(failed)
}

func signs(issuer, c *x509.Certificate) error {
	if string(issuer.RawSubject) != string(c.RawIssuer) {
		return fmt.Errorf("it is the certificate of %q", issuer.Subject)
	}
	return c.CheckSignatureFrom(issuer)
}

func (s *Issuers) fetch(ctx context.Context, address string) (*x509.Certificate, error) {
	u, err := parseIssuerURL(address)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	h := &http.Client{Timeout: issuerTimeout, CheckRedirect: refuseRedirect, Transport: s.Transport}
	if s.Transport == nil {
		if h, err = issuerClient(ctx, u); err != nil {
			return nil, err
		}
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxIssuer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	case len(b) > maxIssuer:
		return nil, fmt.Errorf("over %d bytes", maxIssuer)
	}
	return parseIssuer(b)
}

// parseIssuer reads one certificate, in DER or PEM: CAs serve both.
func parseIssuer(b []byte) (*x509.Certificate, error) {
	if block, _ := pem.Decode(b); block != nil && block.Type == "CERTIFICATE" {
		b = block.Bytes
	}
	return x509.ParseCertificate(b)
}

func (s *Issuers) path(address string) string {
	sum := sha256.Sum256([]byte(address))
	return filepath.Join(s.Cache, hex.EncodeToString(sum[:16])+".der")
}

func (s *Issuers) kept(address string) (*x509.Certificate, error) {
	if s.Cache == "" {
		return nil, os.ErrNotExist
	}
	b, err := readBounded(s.path(address), maxIssuer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(b)
}

// keep remembers an issuer. Where it cannot, it is fetched again: nothing depends on the cache.
func (s *Issuers) keep(address string, c *x509.Certificate) {
	if s.Cache == "" || durable.MkdirAll(s.Cache, 0o700) != nil {
		return
	}
	_ = durable.Replace(s.path(address), c.Raw, 0o600)
}

// azureIssuers returns, in PEM, what completes the chain of the AK certificate in an Azure VM's
// TPM.
func (m *Machine) azureIssuers(ctx context.Context, t transport.TPM, o *Options) ([]byte, error) {
	leaf, err := readCertificate(t, importer.NVAzureAKCert)
	if err != nil {
		return nil, &MissingError{PieceAK, fmt.Errorf("AK certificate: %w", err), RunInAzure}
	}
	item, err := m.Issuers.complete(ctx, PieceAKChain, leaf, o.AKCerts)
	if err != nil {
		return nil, err
	}
	certs, err := x509.ParseCertificates(item[len(leaf.Raw):])
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text, nil
}
