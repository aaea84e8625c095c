// Package tpm parses and authenticates TPM 2.0 quotes, attestation keys and their certificates, and
// the two things that clouds put around them: Compute Engine's instance extension and Azure's HCL
// report.
//
// Structures follow "Trusted Platform Module 2.0 Library", Part 2. Only what the TPM signed is
// believed: [CheckPCRs] gives values of selected registers alone (CVE-2022-0317 read others). What
// parses has one encoding, and the Marshal of each type gives it back. The package is pure;
// TestEveryByteOfARealTPMsEvidenceIsProtected and the tests on real machines' evidence are the
// evidence.
//
// An ECDSA signature (r, s) is as good as (r, n−s), and TPMs make both: whoever names a quote names
// what is signed ([Quote.Boot]), never the item. The package does not judge revocation, the
// freshness of extraData, or what register values mean.
package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // PCR banks; never a signature
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
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
	maxAttest    = 1 << 12
	maxBanks     = 4
	sizeofSelect = 3                // of TPMS_PCR_SELECTION, in the PC Client profile
	numPCRs      = 8 * sizeofSelect // so no register is over 23
	maxModulus   = 512              // bytes
	maxScalar    = 48               // bytes: P-384's order
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
	switch a {
	case SHA1:
		return crypto.SHA1
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	case SHA512:
		return crypto.SHA512
	}
	return 0
}

// String returns the name that entries use: sha1, sha256, sha384 or sha512.
func (a Alg) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
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
	if len(q.PCRDigest) == 0 {
		r.fail("no PCR digest")
	}
	return r.err
}

// parseSelection reads TPML_PCR_SELECTION (Part 2, §10.9.7). A bank may select nothing, as banks do
// that a TPM has switched off, but not all.
func (q *Quote) parseSelection(r *reader) {
	n := r.u32("count of banks")
	if n < 1 || n > maxBanks {
		r.fail("selection of %d banks: want 1 to %d", n, maxBanks)
	}
	selected := 0
	for range n {
		sel := readSelection(r)
		if slices.ContainsFunc(q.Selection, func(o PCRSelection) bool { return o.Alg == sel.Alg }) {
			r.fail("bank %s twice", sel.Alg)
		}
		if r.err != nil {
			return
		}
		selected += len(sel.PCRs)
		q.Selection = append(q.Selection, sel)
	}
	if selected == 0 {
		r.fail("no PCR is selected")
	}
}

// readSelection reads TPMS_PCR_SELECTION (Part 2, §10.6.2).
func readSelection(r *reader) PCRSelection {
	sel := PCRSelection{Alg: Alg(r.u16("bank"))}
	if sel.Alg.Hash() == 0 {
		r.fail("bank of unknown algorithm %#04x", uint16(sel.Alg))
	}
	r.want("sizeofSelect", uint64(r.u8("sizeofSelect")), sizeofSelect)
	for i, b := range r.take(sizeofSelect, "pcrSelect") {
		for bit := range 8 {
			if b>>bit&1 == 1 {
				sel.PCRs = append(sel.PCRs, 8*i+bit)
			}
		}
	}
	return sel
}

// parseSignature reads TPMT_SIGNATURE (Part 2, §11.3.4).
func (q *Quote) parseSignature(r *reader) {
	q.scheme, q.hash = r.u16("signature scheme"), Alg(r.u16("signature hash"))
	switch q.hash {
	case SHA256, SHA384, SHA512:
	default:
		r.fail("signature over %s: want SHA-256, SHA-384 or SHA-512", q.hash)
	}
	switch q.scheme {
	case algRSASSA, algRSAPSS:
		q.sig = r.sized("RSA signature", maxModulus)
	case algECDSA:
		q.r, q.s = r.sized("r", maxScalar), r.sized("s", maxScalar)
	default:
		r.fail("signature scheme %#04x: want RSASSA, RSAPSS or ECDSA", q.scheme)
	}
}

// Boot returns the digest of TPMS_ATTEST, which names this quote of this boot.
func (q *Quote) Boot() poclog.Digest { return poclog.Sum(q.Attest) }

// Verify checks the signature by an attestation key: RSA of 2,048 to 4,096 bits, or ECDSA on P-256
// or P-384. Failures are [verify.TPMSignature]. Whether the key is one that a TPM holds, its
// certificate says.
func (q *Quote) Verify(ak crypto.PublicKey) error {
	var err error
	switch key := ak.(type) {
	case *rsa.PublicKey:
		err = q.verifyRSA(key)
	case *ecdsa.PublicKey:
		err = q.verifyECDSA(key)
	default:
		err = fmt.Errorf("AK of type %T: want RSA or ECDSA", ak)
	}
	if err != nil {
		return verify.Failf(verify.TPMSignature, "the TPM quote is not signed by the AK: %w", err)
	}
	return nil
}

// KeyType names the type of an attestation key whose quotes [Quote.Verify] accepts, as entries do:
// "rsa-2048", "ecc-p256".
func KeyType(ak crypto.PublicKey) string {
	switch key := ak.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ecc-p%d", key.Curve.Params().BitSize)
	}
	return ""
}

func (q *Quote) verifyRSA(key *rsa.PublicKey) error {
	if n := key.N.BitLen(); n < 2048 || n > 8*maxModulus {
		return fmt.Errorf("RSA key of %d bits: want 2048 to 4096", n)
	}
	h := q.hash.Hash()
	switch q.scheme {
	case algRSASSA:
		return rsa.VerifyPKCS1v15(key, h, q.sum(q.Attest), q.sig)
	case algRSAPSS:
		return rsa.VerifyPSS(key, h, q.sum(q.Attest), q.sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: h})
	}
	return fmt.Errorf("RSA key, signature of scheme %#04x", q.scheme)
}

func (q *Quote) verifyECDSA(key *ecdsa.PublicKey) error {
	bits := key.Curve.Params().BitSize
	if bits != 256 && bits != 384 {
		return fmt.Errorf("key on a curve of %d bits: want P-256 or P-384", bits)
	}
	if q.scheme != algECDSA {
		return fmt.Errorf("ECDSA key, signature of scheme %#04x", q.scheme)
	}
	// TPMs write scalars in the curve's size or without leading zeros; longer ones are another's
	// padding.
	if len(q.r) > bits/8 || len(q.s) > bits/8 {
		return fmt.Errorf("signature of %d and %d bytes: want at most %d each", len(q.r), len(q.s), bits/8)
	}
	if !ecdsa.Verify(key, q.sum(q.Attest), new(big.Int).SetBytes(q.r), new(big.Int).SetBytes(q.s)) {
		return errors.New("ECDSA verification error")
	}
	return nil
}

// sum hashes with the signing scheme's algorithm.
func (q *Quote) sum(b []byte) []byte {
	d := q.hash.Hash().New()
	d.Write(b)
	return d.Sum(nil)
}

// PCRValues are the values that a quote authenticates, and no others.
type PCRValues struct {
	banks map[Alg]*[8 * sizeofSelect][]byte // nil are those that were not selected
}

// Get returns a register's value, if the quote selected it: in the length of the bank's digest, not
// to be written to.
func (v *PCRValues) Get(alg Alg, pcr int) ([]byte, bool) {
	if v == nil {
		return nil, false
	}
	bank := v.banks[alg]
	if bank == nil || pcr < 0 || pcr >= len(bank) {
		return nil, false
	}
	return bank[pcr], bank[pcr] != nil
}

// Covers reports whether the quote selected a register of a bank.
func (v *PCRValues) Covers(alg Alg) bool { return v != nil && v.banks[alg] != nil }

// ParsePCRs reads values that stand concatenated in the order of the quote's selection: all of
// them, and no others. They are not yet those that were signed. Failures are [verify.TPMPCRDigest].
func ParsePCRs(q *Quote, item []byte) (*PCRValues, error) {
	v := &PCRValues{banks: make(map[Alg]*[8 * sizeofSelect][]byte)}
	rest := item
	for _, sel := range q.Selection {
		size := sel.Alg.Hash().Size()
		bank := v.banks[sel.Alg]
		if bank == nil {
			bank = new([8 * sizeofSelect][]byte)
			v.banks[sel.Alg] = bank
		}
		for _, pcr := range sel.PCRs {
			if len(rest) < size {
				return nil, verify.Failf(verify.TPMPCRDigest, "%d bytes of PCR values: the quote selects more", len(item))
			}
			bank[pcr] = rest[:size:size]
			rest = rest[size:]
		}
	}
	if len(rest) > 0 {
		return nil, verify.Failf(verify.TPMPCRDigest, "%d bytes of PCR values that the quote does not select", len(rest))
	}
	return v, nil
}

// CheckPCRs is ParsePCRs and [Quote.CheckPCRDigest].
func CheckPCRs(q *Quote, item []byte) (*PCRValues, error) {
	v, err := ParsePCRs(q, item)
	if err == nil {
		err = q.CheckPCRDigest(item)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// CheckPCRDigest compares the values that [ParsePCRs] took with the digest that the TPM signed,
// which is made with the hash of the signing scheme (Part 3, §18.4). Failures are
// [verify.TPMPCRDigest].
func (q *Quote) CheckPCRDigest(item []byte) error {
	if sum := q.sum(item); string(sum) != string(q.PCRDigest) {
		return verify.Failf(verify.TPMPCRDigest, "the PCR values have digest %x: the TPM signed %x", sum, q.PCRDigest)
	}
	return nil
}
