package tdx

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A Standing is all that Intel's collateral judges of a quote's platform: what is kept of a quote,
// so that whatever Intel publishes later can judge the platform again without it. It vouches for
// nothing by itself: take it from a quote whose chain and signature were checked.
type Standing struct {
	FMSPC          [6]byte
	PCEID          [2]byte
	PCESVN         uint16
	SVN            [16]byte // of the SGX TCB components
	TEETCBSVN      [16]byte
	MRSIGNERSEAM   [48]byte
	SEAMAttributes [8]byte

	QEMiscSelect    uint32
	QEAttributes    [16]byte
	QEMRSigner      [32]byte
	QEProdID, QESVN uint16

	Root      poclog.Digest // SHA-256 of the root certificate
	CAKey     poclog.Digest // SHA-256 of the SubjectPublicKeyInfo of the PCK certificate's issuer
	Processor bool          // the issuer is Intel's Processor CA, not its Platform CA
	CASerial  poclog.Digest // SHA-256 of the issuer's serial number, big-endian
	PCKSerial poclog.Digest // SHA-256 of the PCK certificate's
}

// CA returns which of Intel's CAs certified the chip: "platform" or "processor".
func (s *Standing) CA() string {
	if s.Processor {
		return "processor"
	}
	return "platform"
}

// Marshal returns the standing in bytes: its fields in order, numbers big-endian.
func (s *Standing) Marshal() []byte {
	b, err := binary.Append(nil, binary.BigEndian, s)
	if err != nil {
		panic(err) // all fields are of a fixed size
	}
	return b
}

// ParseStanding parses what Marshal gives.
func ParseStanding(b []byte) (*Standing, error) {
	s := new(Standing)
	if want := binary.Size(s); len(b) != want {
		return nil, fmt.Errorf("standing of %d bytes: want %d", len(b), want)
	}
	if _, err := binary.Decode(b, binary.BigEndian, s); err != nil {
		return nil, fmt.Errorf("standing: %w", err)
	}
	return s, nil
}

func serialOf(n *big.Int) poclog.Digest { return poclog.Sum(n.Bytes()) }

// Standing returns what collateral judges of the quote's platform.
func (q *Quote) Standing() *Standing {
	misc, attributes, mrsigner, prodID, svn := q.qeFields()
	return &Standing{
		FMSPC: q.Platform.FMSPC, PCEID: q.Platform.PCEID, PCESVN: q.Platform.PCESVN, SVN: q.Platform.SVN,
		TEETCBSVN: q.Body.TEETCBSVN, MRSIGNERSEAM: q.Body.MRSIGNERSEAM, SEAMAttributes: q.Body.SEAMAttributes,
		QEMiscSelect: misc, QEAttributes: [16]byte(attributes), QEMRSigner: [32]byte(mrsigner), QEProdID: prodID, QESVN: svn,
		Root: sha256.Sum256(q.Root.Raw), CAKey: sha256.Sum256(q.CA.RawSubjectPublicKeyInfo),
		Processor: q.CA.Subject.CommonName == nameProcessorCA, CASerial: serialOf(q.CA.SerialNumber), PCKSerial: serialOf(q.PCK.SerialNumber),
	}
}

// ErrOtherPlatform says that collateral is for other platforms than the one that it was to judge:
// of another family, CA or root.
var ErrOtherPlatform = errors.New("the collateral is for other platforms")

// OpenTCB authenticates TCB info and QE identity without a quote, to judge platforms by their
// [Standing]. Both must be of one of the roots, the same one, and valid at a time. Failures are
// [verify.Collateral].
func OpenTCB(tcbInfo, qeIdentity *poclog.CollateralItem, roots Roots, at time.Time) (*Collateral, error) {
	c := new(Collateral)
	if err := c.openTCBInfo(tcbInfo, roots, at); err != nil {
		return nil, verify.Failf(verify.Collateral, "%w", err)
	}
	// The QE identity is of the TCB info's own root: with another's, one root's owner would judge
	// the chips of the other.
	if err := c.openQEIdentity(qeIdentity, Roots{c.root: true}, at); err != nil {
		return nil, verify.Failf(verify.Collateral, "%w", err)
	}
	return c, nil
}

// FMSPC returns the family that the TCB info is for.
func (c *Collateral) FMSPC() []byte { return c.tcbInfo.FMSPC }

// Evaluation returns the tcbEvaluationDataNumber of the TCB info.
func (c *Collateral) Evaluation() uint32 { return c.tcbInfo.Evaluation }

// Judge finds where a platform stands, as [Collateral.TCB] does for a quote. The error is
// [ErrOtherPlatform] where the collateral does not judge it, or [verify.TEETCB] where the platform
// reaches no level.
func (c *Collateral) Judge(s *Standing) (*poclog.TCB, error) {
	if s.Root != c.root {
		return nil, fmt.Errorf("%w: root %s", ErrOtherPlatform, s.Root)
	}
	if err := c.tcbInfo.isFor(s.FMSPC, s.PCEID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOtherPlatform, err)
	}
	return c.tcbOf(s)
}

// Revocations is a CRL of Intel's, authenticated without a quote.
type Revocations struct {
	Facts
	issuer poclog.Digest // PCK CRL: of the CA's SubjectPublicKeyInfo; root CRL: of the root certificate
	root   bool
	when   map[poclog.Digest]time.Time // by serial number, as a Standing has it
}

// OpenRevocations authenticates a PCK or root CRL by the chain beside it, as [OpenItem] does.
func OpenRevocations(it *poclog.CollateralItem, roots Roots, at time.Time) (*Revocations, error) {
	if it == nil {
		return nil, verify.Failf(verify.Collateral, "no CRL")
	}
	c := new(Collateral)
	f, issuer, crl, err := c.openChainedCRL(it, roots, at)
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "%w", err)
	}
	f.Span = c.Span
	r := &Revocations{Facts: *f, root: it.Kind == poclog.IntelRootCRL, issuer: sha256.Sum256(issuer.RawSubjectPublicKeyInfo), when: make(map[poclog.Digest]time.Time)}
	if r.root {
		r.issuer = sha256.Sum256(issuer.Raw)
	}
	for _, e := range crl.RevokedCertificateEntries {
		r.when[serialOf(e.SerialNumber)] = e.RevocationTime.UTC()
	}
	return r, nil
}

// Revoked says which of a platform's certificates the list revokes, and when: the PCK CRL the
// chip's, the root CRL its CA's. It is empty where the list revokes neither, or is of another
// issuer.
func (r *Revocations) Revoked(s *Standing) (what string, at time.Time) {
	serial, issuer := s.PCKSerial, s.CAKey
	what = "the chip's PCK certificate"
	if r.root {
		serial, issuer = s.CASerial, s.Root
		what = fmt.Sprintf("the certificate of the %s CA, which certified the chip", s.CA())
	}
	at, found := r.when[serial]
	if !found || issuer != r.issuer {
		return "", time.Time{}
	}
	return what, at
}

// CheckSigners refuses collateral whose signer's certificate the root CRL revokes: whoever has that
// key could make platforms fall that stand.
func (r *Revocations) CheckSigners(c *Collateral) error {
	for _, s := range c.signers {
		if at, found := r.when[serialOf(s.SerialNumber)]; found && r.root && r.issuer == c.root {
			return verify.Failf(verify.TEERevocation, "the certificate of %q was revoked at %s", s.Subject.CommonName, verify.Stamp(at))
		}
	}
	return nil
}

// Issuer returns whose list it is: of a PCK CRL the digest of the CA's key, of a root CRL that of
// the root's certificate, as a [Standing] has them.
func (r *Revocations) Issuer() poclog.Digest { return r.issuer }

// Root returns the digest of the root certificate that TCB info and QE identity lead to.
func (c *Collateral) Root() poclog.Digest { return c.root }
