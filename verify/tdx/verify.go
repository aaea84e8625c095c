package tdx

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	gtdx "github.com/google/go-tdx-guest/verify"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// Common names of Intel's certificates: one root certifies keys for several uses, and only the name
// keeps them apart (SGX PCK Certificate Profile, §1.3).
const (
	nameRoot        = "Intel SGX Root CA"
	namePlatformCA  = "Intel SGX PCK Platform CA"
	nameProcessorCA = "Intel SGX PCK Processor CA"
	namePCK         = "Intel SGX PCK Certificate"
	nameTCBSigning  = "Intel SGX TCB Signing"
)

// Roots are the digests of the root certificates that may judge, by SHA-256 of their DER.
type Roots = chain.Roots

// CheckChain verifies that the chip's certificate leads to one of the roots, and that all
// certificates are valid at a time. Failures are [verify.TEEChain].
func (q *Quote) CheckChain(roots Roots, at time.Time) error {
	if _, err := CAOf(q.CA); err != nil {
		return verify.Failf(verify.TEEChain, "the PCK certificate's issuer: %w", err)
	}
	if err := checkName(q.PCK, namePCK); err != nil {
		return verify.Failf(verify.TEEChain, "%w", err)
	}
	if err := chain.Check([]*x509.Certificate{q.PCK, q.CA, q.Root}, roots, at, ofIntel); err != nil {
		return verify.Failf(verify.TEEChain, "%w", err)
	}
	return nil
}

func checkName(c *x509.Certificate, want string) error {
	if c.Subject.CommonName != want {
		return fmt.Errorf("certificate of %.80q: want %q", c.Subject.CommonName, want)
	}
	return nil
}

// ofIntel holds every certificate of a chain to what Intel's are: self-issued is the root alone,
// and that has its name.
func ofIntel(c *x509.Certificate, _ int) error {
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return checkName(c, nameRoot)
	}
	return checkP256(c)
}

func checkP256(c *x509.Certificate) error {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return fmt.Errorf("certificate of %.80q: want ECDSA on P-256 with SHA-256", c.Subject.CommonName)
	}
	return nil
}

// CheckSignature verifies the quote's two signatures: the QE report's by the chip's PCK key, which
// vouches for the attestation key, and the attestation key's over the quote. The enclave with that
// key is Intel's: the chip certifies any enclave's report that is shown to it. The chain must have
// been checked. Failures are [verify.TEESignature].
func (q *Quote) CheckSignature() error {
	if err := q.checkEnclave(); err != nil {
		return verify.Failf(verify.TEESignature, "%w", err)
	}
	pck, ok := q.PCK.PublicKey.(*ecdsa.PublicKey)
	if !ok || pck.Curve != elliptic.P256() {
		return verify.Failf(verify.TEESignature, "the PCK certificate's key is not one on P-256")
	}
	if !verifyRaw(pck, q.qeReport, q.qeSig) {
		return verify.Failf(verify.TEESignature, "the quoting enclave's report is not signed by the chip's PCK key")
	}
	sum := sha256.Sum256(append(append(make([]byte, 0, len(q.key)+len(q.authData)), q.key...), q.authData...))
	if data := q.qeReport[320:]; !bytes.Equal(data[:32], sum[:]) || !verify.IsZero(data[32:64]) {
		return verify.Failf(verify.TEESignature, "the quoting enclave's report does not name the attestation key")
	}
	key, err := ecdsaKey(q.key)
	if err != nil {
		return verify.Failf(verify.TEESignature, "attestation key: %w", err)
	}
	if !verifyRaw(key, q.signed, q.signature) {
		return verify.Failf(verify.TEESignature, "the quote is not signed by its attestation key")
	}
	return nil
}

// SecondOpinion asks go-tdx-guest whether it accepts chain and signatures at a time too. Failures
// are [verify.SecondOpinion]. It is no part of an appraisal, which must be the same with every
// version of the library.
func (q *Quote) SecondOpinion(at time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = verify.Failf(verify.SecondOpinion, "go-tdx-guest fails on the quote: %.200v", r)
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(q.Root)
	// A fresh value for each call: the library writes to it.
	options := &gtdx.Options{TrustedRoots: pool, Now: &gtdx.TimeSet{PckCertChain: at, TcbInfo: at, QeIdentity: at, PckCrl: at, RootCaCrl: at}}
	if err := gtdx.RawTdxQuote(q.raw, options); err != nil {
		return verify.Failf(verify.SecondOpinion, "go-tdx-guest refuses the quote: %w", err)
	}
	return nil
}

// Identities returns the chip's identities, ascending: PIID, if the certificate has one, and PPID.
func (p *Platform) Identities() []poclog.Identity {
	var ids []poclog.Identity
	for _, f := range []struct {
		kind  string
		value [16]byte
	}{{poclog.IntelPIID, p.PIID}, {poclog.IntelPPID, p.PPID}} {
		if id, ok := poclog.HexIdentity(f.kind, f.value[:]); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// Identity of Intel's TD quoting enclave, as every QE identity of Intel's has it: who signed it,
// which of the signer's enclaves it is, and the attributes that an enclave has while it runs, with
// access to the provisioning key. What may change with a version (MISCSELECT, other attributes,
// ISVSVN) the QE identity judges.
var intelSigner = [32]byte{
	0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
	0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
}

const (
	intelQEProduct = 2

	// ATTRIBUTES.FLAGS (Intel SDM volume 3D, "ATTRIBUTES").
	attributeInit         = 1 << 0
	attributeDebug        = 1 << 1
	attributeProvisionKey = 1 << 4
)

// checkEnclave refuses an enclave that is not Intel's, or one whose memory its host can read, and
// the attestation key with it.
func (q *Quote) checkEnclave() error {
	_, attributes, signer, product, _ := q.qeFields()
	switch flags := attributes[0]; {
	case [32]byte(signer) != intelSigner:
		return fmt.Errorf("the quoting enclave is signed by %x: want Intel's, %x", signer, intelSigner)
	case product != intelQEProduct:
		return fmt.Errorf("the quoting enclave is product %d of its signer: want %d, the TD quoting enclave", product, intelQEProduct)
	case flags&attributeDebug != 0:
		return fmt.Errorf("quoting enclave with attributes %x: it runs under debug, its host has the attestation key", attributes)
	case flags&attributeInit == 0 || flags&attributeProvisionKey == 0:
		return fmt.Errorf("quoting enclave with attributes %x: want INIT and PROVISIONKEY", attributes)
	}
	return nil
}

// qeFields of an SGX report body that the QE identity judges (Intel SGX SDK, sgx_report_body_t).
func (q *Quote) qeFields() (misc uint32, attributes, mrsigner []byte, prodID, svn uint16) {
	r := q.qeReport
	return binary.LittleEndian.Uint32(r[16:]), r[48:64], r[128:160], binary.LittleEndian.Uint16(r[256:]), binary.LittleEndian.Uint16(r[258:])
}

// Offsets in a TDREPORT of type 0x81, 1,024 bytes (Intel TDX Module ABI, "TDREPORT_STRUCT"):
// REPORTMACSTRUCT 256, TEE_TCB_INFO 239, reserved 17, TDINFO 512.
const (
	reportSize  = 1024
	offTCBHash  = 32
	offInfoHash = 80
	offReportRD = 128
	offTCBInfo  = 256
	tcbInfoSize = 239
	offInfo     = 512
	infoSize    = 512
)

// CheckReport verifies that a TDREPORT is the one from which the quote was made, as far as the
// quote shows it: its hashes lead to the registers that the quote has. The report's MAC is for the
// chip alone, and its CPUSVN and reserved bytes are covered by nothing else.
func (q *Quote) CheckReport(report []byte) error {
	if len(report) < reportSize {
		return fmt.Errorf("%d bytes: want %d", len(report), reportSize)
	}
	b := &q.Body
	tcb, info := report[offTCBInfo:][:tcbInfoSize], report[offInfo:][:infoSize]
	// TEE_TCB_INFO: VALID 8, TEE_TCB_SVN 16, MRSEAM 48, MRSIGNERSEAM 48, ATTRIBUTES 8. TDINFO: as
	// in the quote, without REPORTDATA.
	seam := slices.Concat(b.TEETCBSVN[:], b.MRSEAM[:], b.MRSIGNERSEAM[:], b.SEAMAttributes[:])
	regs := slices.Concat(b.TDAttributes[:], b.XFAM[:], b.MRTD[:], b.MRConfigID[:], b.MROwner[:], b.MROwnerConfig[:],
		b.RTMRs[0][:], b.RTMRs[1][:], b.RTMRs[2][:], b.RTMRs[3][:])
	tcbHash, infoHash := sha512.Sum384(tcb), sha512.Sum384(info)
	switch {
	case !bytes.Equal(report[offReportRD:][:64], b.ReportData[:]):
		return errors.New("its REPORTDATA is not the quote's")
	case !bytes.Equal(report[offTCBHash:][:48], tcbHash[:]) || !bytes.Equal(report[offInfoHash:][:48], infoHash[:]):
		return errors.New("its hashes are not those of its parts")
	case !bytes.Equal(tcb[8:][:len(seam)], seam):
		return errors.New("its TDX module is not the quote's")
	case !bytes.Equal(info[:len(regs)], regs):
		return errors.New("its registers are not the quote's")
	}
	return nil
}
