package tdx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// Collateral is what Intel publishes to judge a platform, parsed. [OpenCollateral] gives
// authenticated collateral only.
type Collateral struct {
	tcbInfo    tcbInfo
	qeIdentity qeIdentity
	signers    []*x509.Certificate // of TCB info and QE identity
	root       [sha256.Size]byte   // of the certificate that both lead to
	pckCRL     *x509.RevocationList
	rootCRL    *x509.RevocationList

	chain      []byte // of the answer that was opened last, in PEM: the other one mostly has the same
	chainCerts []*x509.Certificate

	verify.Span // in which all of it is valid
}

// maxBody is the largest body of TCB info, QE identity or CRL, in bytes. Intel's are under 100 kB.
const maxBody = 1 << 19

// OpenCollateral parses and authenticates Intel's collateral for a quote's platform: TCB info and
// QE identity signed under the quote's own root, the PCK CRL by the CA of the quote's PCK
// certificate, the root CRL by its root. All must be issued before and valid at a time, and be for
// this platform's FMSPC and PCEID. Failures are [verify.Collateral]. The quote's chain must have
// been checked.
func OpenCollateral(q *Quote, col *poclog.Collateral, at time.Time) (*Collateral, error) {
	// Another root's owner has nothing to say of this chip, though the policy lists it for its own.
	roots := Roots{sha256.Sum256(q.Root.Raw): true}
	c := new(Collateral)
	for _, step := range []func() error{
		func() error { return c.openTCBInfo(col.Get(poclog.TDXTCBInfo), roots, at) },
		func() error { return c.openQEIdentity(col.Get(poclog.TDXQEIdentity), roots, at) },
		func() (err error) {
			c.pckCRL, err = c.openCRL(col.Get(poclog.IntelPCKCRL), "PCK CRL", q.CA, at)
			return err
		},
		func() (err error) {
			c.rootCRL, err = c.openCRL(col.Get(poclog.IntelRootCRL), "root CRL", q.Root, at)
			return err
		},
		func() error { return c.tcbInfo.isFor(q.Platform.FMSPC, q.Platform.PCEID) },
	} {
		if err := step(); err != nil {
			return nil, verify.Failf(verify.Collateral, "%w", err)
		}
	}
	c.chain, c.chainCerts = nil, nil
	return c, nil
}

func (c *Collateral) openTCBInfo(it *poclog.CollateralItem, roots Roots, at time.Time) error {
	return c.openDocument(it, "TCB info", "tcbInfo", &c.tcbInfo, &c.tcbInfo.head, "TDX", 3, roots, at)
}

func (c *Collateral) openQEIdentity(it *poclog.CollateralItem, roots Roots, at time.Time) error {
	return c.openDocument(it, "QE identity", "enclaveIdentity", &c.qeIdentity, &c.qeIdentity.head, "TD_QE", 2, roots, at)
}

// openDocument reads signed JSON, of which h is the head, of one id and version.
func (c *Collateral) openDocument(it *poclog.CollateralItem, what, member string, into any, h *head, id string, version int, roots Roots, at time.Time) error {
	body, err := c.openSigned(it, what, member, roots, at)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if h.ID != id || h.Version != version {
		return fmt.Errorf("%s %.20q of version %d: want %q of version %d", what, h.ID, h.Version, id, version)
	}
	return c.within(what, h.IssueDate, h.NextUpdate, at)
}

// openSigned returns the inner bytes of {"<member>":…,"signature":"<r ‖ s in hex>"} after verifying
// them.
func (c *Collateral) openSigned(it *poclog.CollateralItem, what, member string, roots Roots, at time.Time) ([]byte, error) {
	if it == nil {
		return nil, fmt.Errorf("no %s", what)
	}
	if len(it.Body) > maxBody {
		return nil, fmt.Errorf("%s of %d bytes: want at most %d", what, len(it.Body), maxBody)
	}
	inner, sig, err := splitSigned(it.Body, member)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	certs := c.chainCerts
	if certs == nil || !bytes.Equal(it.Chain, c.chain) {
		if certs, err = chain.ParsePEM(it.Chain); err != nil {
			return nil, fmt.Errorf("%s: issuer chain: %w", what, err)
		}
		c.chain, c.chainCerts = it.Chain, certs
	}
	if len(certs) != 2 {
		return nil, fmt.Errorf("%s: issuer chain of %d certificates: want signer and root", what, len(certs))
	}
	if err := c.checkSigner(certs, roots, at); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !verifyRaw(certs[0].PublicKey.(*ecdsa.PublicKey), inner, sig) {
		return nil, fmt.Errorf("%s: not signed by %q", what, nameTCBSigning)
	}
	return inner, nil
}

// checkSigner verifies a TCB signing certificate under its root, once where both answers carry the
// same.
func (c *Collateral) checkSigner(certs []*x509.Certificate, roots Roots, at time.Time) error {
	signer, root := certs[0], certs[1]
	for _, known := range c.signers {
		if bytes.Equal(known.Raw, signer.Raw) && sha256.Sum256(root.Raw) == c.root {
			return nil
		}
	}
	if err := checkName(signer, nameTCBSigning); err != nil {
		return err
	}
	if err := chain.Check(certs, roots, at, ofIntel); err != nil {
		return err
	}
	c.root = sha256.Sum256(root.Raw)
	c.signers = append(c.signers, signer)
	v := chain.Validity(certs...)
	c.Span = c.And(v.Issued, v.Until)
	return nil
}

// splitSigned finds the signed bytes, which are exactly those between the member's colon and the
// signature.
func splitSigned(body []byte, member string) (inner, sig []byte, err error) {
	const sigStart, sigLen = `,"signature":"`, 128
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(body), []byte(`{"`+member+`":`))
	tail := len(rest) - len(sigStart) - sigLen - len(`"}`)
	if !ok || tail < 0 || string(rest[tail:tail+len(sigStart)]) != sigStart || string(rest[len(rest)-2:]) != `"}` {
		return nil, nil, fmt.Errorf(`want {"%s":…,"signature":"<%d hexadecimal digits>"}`, member, sigLen)
	}
	sig, err = hex.DecodeString(string(rest[tail+len(sigStart) : len(rest)-2]))
	return rest[:tail], sig, err
}

func (c *Collateral) openCRL(it *poclog.CollateralItem, what string, issuer *x509.Certificate, at time.Time) (*x509.RevocationList, error) {
	if it == nil {
		return nil, fmt.Errorf("no %s", what)
	}
	if len(it.Body) > maxBody {
		return nil, fmt.Errorf("%s of %d bytes: want at most %d", what, len(it.Body), maxBody)
	}
	crl, err := x509.ParseRevocationList(it.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !bytes.Equal(crl.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("%s: issued by %q, want %q", what, crl.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("%s: not signed by %q: %w", what, issuer.Subject.CommonName, err)
	}
	return crl, c.within(what, crl.ThisUpdate, crl.NextUpdate, at)
}

// within refuses what is not yet or no longer valid, and narrows the time at which all is.
func (c *Collateral) within(what string, from, to, at time.Time) error {
	if err := (verify.Span{Issued: from, Until: to}).Check(at); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	c.Span = c.And(from, to)
	return nil
}

// Validity returns the time span in which every dated answer is valid, without authenticating
// anything: what a client asks to be judged at. It is zero where there is no collateral of Intel's.
func Validity(col *poclog.Collateral) (from, to time.Time, err error) {
	c := new(Collateral)
	type dated struct{ IssueDate, NextUpdate time.Time }
	for kind, member := range map[poclog.CollateralKind]string{poclog.TDXTCBInfo: "tcbInfo", poclog.TDXQEIdentity: "enclaveIdentity"} {
		it := col.Get(kind)
		if it == nil {
			continue
		}
		inner, _, err := splitSigned(it.Body, member)
		var d dated
		if err == nil {
			err = json.Unmarshal(inner, &d)
		}
		if err != nil {
			return from, to, fmt.Errorf("%s: %w", kind, err)
		}
		if err := c.within(string(kind), d.IssueDate, d.NextUpdate, d.IssueDate); err != nil {
			return from, to, err
		}
	}
	for _, kind := range []poclog.CollateralKind{poclog.IntelPCKCRL, poclog.IntelRootCRL} {
		it := col.Get(kind)
		if it == nil {
			continue
		}
		crl, err := x509.ParseRevocationList(it.Body)
		if err != nil {
			return from, to, fmt.Errorf("%s: %w", kind, err)
		}
		if err := c.within(string(kind), crl.ThisUpdate, crl.NextUpdate, crl.ThisUpdate); err != nil {
			return from, to, err
		}
	}
	return c.Issued, c.Until, nil
}

// CheckRevocation refuses a revoked certificate, of the quote's chain or of those who signed the
// collateral. Failures are [verify.TEERevocation].
func (c *Collateral) CheckRevocation(q *Quote) error {
	if entry := chain.Revoked(c.pckCRL, q.PCK); entry != nil {
		return verify.Failf(verify.TEERevocation, "the PCK certificate of chip %x was revoked at %s", q.Platform.PPID, verify.Stamp(entry.RevocationTime))
	}
	for _, cert := range append([]*x509.Certificate{q.CA}, c.signers...) {
		if entry := chain.Revoked(c.rootCRL, cert); entry != nil {
			return verify.Failf(verify.TEERevocation, "the certificate of %q was revoked at %s", cert.Subject.CommonName, verify.Stamp(entry.RevocationTime))
		}
	}
	return nil
}
