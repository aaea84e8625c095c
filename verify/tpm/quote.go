// Package tpm parses and authenticates TPM 2.0 quotes, attestation keys and their certificates, and the two things that clouds put around them:
// Compute Engine's instance extension and Azure's HCL report.
//
// Structures follow "Trusted Platform Module 2.0 Library", Part 2. Only what the TPM signed is believed: [CheckPCRs] gives values of selected
// registers alone (CVE-2022-0317 read others). The package is pure; TestEveryByteOfAQuoteIsProtected and the tests against a real TPM 2.0 are the
// evidence.
package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // PCR banks; never a signature
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Constants of TPM 2.0 Part 2, §6.
const (
	generatedValue = 0xff544347 // TPM_GENERATED_VALUE
	attestQuote    = 0x8018     // TPM_ST_ATTEST_QUOTE

	algSHA1   = 0x0004
	algSHA256 = 0x000b
	algSHA384 = 0x000c
	algSHA512 = 0x000d
	algRSASSA = 0x0014
	algRSAPSS = 0x0016
	algECDSA  = 0x0018
)

// Limits of what is parsed.
const (
	maxAttest = 1 << 12
	maxBanks  = 4
	numPCRs   = 24
)

// An Alg is a hash algorithm's identifier, TPM_ALG_ID.
type Alg uint16

// The hash algorithms of PCR banks.
const (
	SHA1   Alg = algSHA1
	SHA256 Alg = algSHA256
	SHA384 Alg = algSHA384
	SHA512 Alg = algSHA512
)

// Hash returns the algorithm, or 0 if it is unknown.
func (a Alg) Hash() crypto.Hash {
	return map[Alg]crypto.Hash{SHA1: crypto.SHA1, SHA256: crypto.SHA256, SHA384: crypto.SHA384, SHA512: crypto.SHA512}[a]
}

// String returns the name that entries use.
func (a Alg) String() string {
	if s, ok := map[Alg]string{SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}[a]; ok {
		return s
	}
	return fmt.Sprintf("alg%04x", uint16(a))
}

// A PCRSelection is one bank's selected registers.
type PCRSelection struct {
	Alg  Alg
	PCRs []int // ascending, 0 to 23
}

// A Quote is a TPM2_Quote's answer: TPM2B_ATTEST ‖ TPMT_SIGNATURE. Parsing authenticates nothing.
type Quote struct {
	Attest          []byte // TPMS_ATTEST: what is signed
	QualifiedSigner []byte // the signing key's qualified name: algorithm ‖ digest
	ExtraData       []byte // the caller's nonce, at most 64 bytes
	Clock           uint64 // milliseconds
	ResetCount      uint32
	RestartCount    uint32
	Safe            bool
	Firmware        uint64
	Selection       []PCRSelection
	PCRDigest       []byte

	scheme uint16
	hash   Alg
	sig    []byte // RSA
	r, s   []byte // ECDSA
}

// ParseQuote parses a quote, without padding. A malformed one is a [verify.Format] error.
func ParseQuote(item []byte) (*Quote, error) {
	r := reader{b: item, what: "TPM quote"}
	q := new(Quote)
	q.Attest = r.sized("TPMS_ATTEST", maxAttest)
	q.parseSignature(&r)
	r.end()
	if r.err == nil {
		r.err = q.parseAttest()
	}
	if r.err != nil {
		return nil, r.err
	}
	return q, nil
}

// parseAttest reads TPMS_ATTEST of a quote (Part 2, §10.12.8).
func (q *Quote) parseAttest() error {
	r := reader{b: q.Attest, what: "TPMS_ATTEST"}
	r.want("magic", uint64(r.u32("magic")), generatedValue)
	r.want("type", uint64(r.u16("type")), attestQuote)
	q.QualifiedSigner = r.sized("qualifiedSigner", 66)
	q.ExtraData = r.sized("extraData", 64)
	q.Clock = r.u64("clock")
	q.ResetCount, q.RestartCount = r.u32("resetCount"), r.u32("restartCount")
	q.Safe = r.bool("safe")
	q.Firmware = r.u64("firmwareVersion")
	q.parseSelection(&r)
	q.PCRDigest = r.sized("pcrDigest", 64)
	r.end()
	if r.err == nil && len(q.PCRDigest) == 0 {
		r.fail("no PCR digest")
	}
	return r.err
}

// parseSelection reads TPML_PCR_SELECTION (Part 2, §10.9.7).
func (q *Quote) parseSelection(r *reader) {
	n := r.u32("count of banks")
	if n < 1 || n > maxBanks {
		r.fail("selection of %d banks: want 1 to %d", n, maxBanks)
	}
	for range n {
		if r.err != nil {
			return
		}
		sel := PCRSelection{Alg: Alg(r.u16("bank"))}
		size := r.take(1, "sizeofSelect")
		if r.err != nil {
			return
		}
		if size[0] < 1 || size[0] > 4 {
			r.fail("sizeofSelect %d: want 1 to 4", size[0])
		}
		for i, b := range r.take(int(size[0]), "pcrSelect") {
			for bit := range 8 {
				if b>>bit&1 == 1 {
					sel.PCRs = append(sel.PCRs, 8*i+bit)
				}
			}
		}
		switch {
		case sel.Alg.Hash() == 0:
			r.fail("bank of unknown algorithm %#04x", uint16(sel.Alg))
		case slices.ContainsFunc(q.Selection, func(o PCRSelection) bool { return o.Alg == sel.Alg }):
			r.fail("bank %s twice", sel.Alg)
		case len(sel.PCRs) > 0 && sel.PCRs[len(sel.PCRs)-1] >= numPCRs:
			r.fail("PCR %d: want at most %d", sel.PCRs[len(sel.PCRs)-1], numPCRs-1)
		}
		q.Selection = append(q.Selection, sel)
	}
}

// parseSignature reads TPMT_SIGNATURE (Part 2, §11.3.4).
func (q *Quote) parseSignature(r *reader) {
	q.scheme, q.hash = r.u16("signature scheme"), Alg(r.u16("signature hash"))
	if r.err != nil {
		return
	}
	if q.hash != SHA256 && q.hash != SHA384 && q.hash != SHA512 {
		r.fail("signature over %s: want SHA-256, SHA-384 or SHA-512", q.hash)
	}
	switch q.scheme {
	case algRSASSA, algRSAPSS:
		q.sig = r.sized("RSA signature", 512)
	case algECDSA:
		q.r, q.s = r.sized("r", 66), r.sized("s", 66)
	default:
		r.fail("signature scheme %#04x: want RSASSA, RSAPSS or ECDSA", q.scheme)
	}
}

// Boot returns the digest of TPMS_ATTEST, which names this quote of this boot.
func (q *Quote) Boot() poclog.Digest { return poclog.Sum(q.Attest) }

// Verify checks the signature by an attestation key: RSA of 2,048 to 4,096 bits, or ECDSA on P-256 or P-384. Failures are [verify.TPMSignature].
// Whether the key is one that a TPM holds, its certificate says.
func (q *Quote) Verify(ak crypto.PublicKey) error {
	h := q.hash.Hash()
	d := h.New()
	d.Write(q.Attest)
	digest := d.Sum(nil)
	switch key := ak.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 || n > 4096 {
			return verify.Failf(verify.TPMSignature, "AK of %d bits: want RSA of 2048 to 4096", n)
		}
		var err error
		switch q.scheme {
		case algRSASSA:
			err = rsa.VerifyPKCS1v15(key, h, digest, q.sig)
		case algRSAPSS:
			err = rsa.VerifyPSS(key, h, digest, q.sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: h})
		default:
			err = fmt.Errorf("the signature is of scheme %#04x", q.scheme)
		}
		if err != nil {
			return verify.Failf(verify.TPMSignature, "the TPM quote is not signed by the RSA AK: %w", err)
		}
		return nil
	case *ecdsa.PublicKey:
		if bits := key.Curve.Params().BitSize; bits != 256 && bits != 384 {
			return verify.Failf(verify.TPMSignature, "AK on a curve of %d bits: want P-256 or P-384", bits)
		}
		if q.scheme != algECDSA || !ecdsa.Verify(key, digest, new(big.Int).SetBytes(q.r), new(big.Int).SetBytes(q.s)) {
			return verify.Failf(verify.TPMSignature, "the TPM quote is not signed by the ECDSA AK")
		}
		return nil
	}
	return verify.Failf(verify.TPMSignature, "AK of type %T: want RSA or ECDSA", ak)
}

// PCRValues are the values that a quote authenticates, and no others.
type PCRValues struct{ values map[bankPCR][]byte }

type bankPCR struct {
	alg Alg
	pcr int
}

// Get returns a register's value, if the quote selected it.
func (v *PCRValues) Get(alg Alg, pcr int) ([]byte, bool) {
	if v == nil {
		return nil, false
	}
	b, ok := v.values[bankPCR{alg, pcr}]
	return b, ok
}

// ParsePCRs reads values that stand concatenated in the order of the quote's selection: all of them, and no others. They are not yet those that
// were signed. Failures are [verify.TPMPCRDigest].
func ParsePCRs(q *Quote, item []byte) (*PCRValues, error) {
	v := &PCRValues{values: make(map[bankPCR][]byte)}
	rest := item
	for _, sel := range q.Selection {
		size := sel.Alg.Hash().Size()
		for _, pcr := range sel.PCRs {
			if len(rest) < size {
				return nil, verify.Failf(verify.TPMPCRDigest, "%d bytes of PCR values: the quote selects more", len(item))
			}
			v.values[bankPCR{sel.Alg, pcr}] = rest[:size:size]
			rest = rest[size:]
		}
	}
	if len(rest) > 0 {
		return nil, verify.Failf(verify.TPMPCRDigest, "%d bytes of PCR values that the quote does not select", len(rest))
	}
	return v, nil
}

// CheckPCRs is ParsePCRs, and compares the values with the digest that the TPM signed, which is made with the hash of the signing scheme (Part 3,
// §18.4).
func CheckPCRs(q *Quote, item []byte) (*PCRValues, error) {
	v, err := ParsePCRs(q, item)
	if err != nil {
		return nil, err
	}
	d := q.hash.Hash().New()
	d.Write(item)
	if sum := d.Sum(nil); string(sum) != string(q.PCRDigest) {
		return nil, verify.Failf(verify.TPMPCRDigest, "the PCR values have digest %x: the TPM signed %x", sum, q.PCRDigest)
	}
	return v, nil
}

// A reader takes big-endian fields; the first error stays.
type reader struct {
	b    []byte
	off  int
	what string
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = verify.Failf(verify.Format, "%s: byte %d: %s", r.what, r.off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.off {
		r.fail("%s of %d bytes: %d are left", what, n, len(r.b)-r.off)
		return nil
	}
	p := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

func (r *reader) u16(what string) uint16 {
	if p := r.take(2, what); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if p := r.take(8, what); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// sized reads a TPM2B: a length and as many bytes.
func (r *reader) sized(what string, max int) []byte {
	n := int(r.u16(what))
	if n > max {
		r.fail("%s of %d bytes: want at most %d", what, n, max)
		return nil
	}
	return r.take(n, what)
}

// bool reads TPMI_YES_NO.
func (r *reader) bool(what string) bool {
	p := r.take(1, what)
	if r.err == nil && p[0] > 1 {
		r.fail("%s %d: want 0 or 1", what, p[0])
	}
	return r.err == nil && p[0] == 1
}

func (r *reader) want(what string, have, want uint64) {
	if have != want {
		r.fail("%s %#x: want %#x", what, have, want)
	}
}

func (r *reader) end() {
	if r.err == nil && r.off != len(r.b) {
		r.fail("%d trailing bytes", len(r.b)-r.off)
	}
}
