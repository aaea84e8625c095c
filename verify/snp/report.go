// Package snp parses and authenticates AMD SEV-SNP attestation reports, and judges the platforms
// they come from.
//
// Layouts follow AMD's "SEV Secure Nested Paging Firmware ABI Specification" (document 56860;
// ATTESTATION_REPORT of versions 2 to 5, TCB_VERSION), certificates "Versioned Chip Endorsement Key
// (VCEK) Certificate and KDS Interface Specification" (57230) and "Versioned Loaded Endorsement Key
// (VLEK) Certificate Definition" (58369).
//
// A report is never named by its raw bytes: ECDSA's s can be negated by anybody. [Report.ID] is
// over what is signed. go-sev-guest gives logs a second opinion ([SecondOpinion]); it is called
// behind our own bounds checks and a recover. What it does not know, and so has no opinion on, is
// said there.
//
// A chip is known by CHIP_ID, or where the host masks it by the identifier in its key's
// certificate. A VLEK, which AMD makes for a cloud and not for a chip, says whose chip it is, and
// not which: then CHIP_ID is the firmware's own word.
//
// The package is pure: roots, collateral and the time are arguments. It says nothing about where a
// chip stands, but that a VLEK names the cloud that has it. TestReal and TestEveryByte are the
// evidence.
package snp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Sizes of a report's parts, in bytes.
const (
	ReportSize = 0x4a0
	signedSize = 0x2a0
	numberSize = 72 // of r and of s, little-endian
	p384Size   = 48
)

// A Signer is the kind of key that signed a report.
type Signer uint8

// SIGNING_KEY of a report.
const (
	VCEK Signer = 0 // the chip's own
	VLEK Signer = 1 // one that AMD made for a cloud's chips
)

// String gives "vcek" or "vlek".
func (s Signer) String() string {
	if s == VLEK {
		return "vlek"
	}
	return "vcek"
}

// A TCB is a TCB_VERSION: octets as in the report, the meaning of which depends on the product
// ([Product]).
type TCB [8]byte

// Bits of the guest's policy.
const (
	policyReservedOne = 1 << 17
	policyMigrateMA   = 1 << 18
	policyDebug       = 1 << 19
	policyUnknown     = ^uint64(1<<26 - 1)
)

// A Report is an ATTESTATION_REPORT. Parsing authenticates nothing.
type Report struct {
	Version     uint32 // 2 to 5
	GuestSVN    uint32
	Policy      uint64
	VMPL        uint32
	Signer      Signer
	ReportData  [64]byte
	Measurement [48]byte
	HostData    [32]byte
	IDKeyDigest [48]byte
	ChipID      [64]byte // all zero where the host masks it

	Current, Reported, Committed, Launch TCB

	// Family and Model are the processor's (CPUID Fn0000_0001), from version 3 on; zero in version
	// 2.
	Family, Model uint8

	raw []byte
}

// ParseReport parses a report of exactly 1,184 bytes. Reserved fields must be zero, as far as the
// report's version reserves them. A malformed one is a [verify.Format] error.
func ParseReport(item []byte) (*Report, error) {
	if len(item) != ReportSize {
		return nil, verify.Failf(verify.Format, "SNP report of %d bytes: want %d", len(item), ReportSize)
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	r := &Report{
		Version: u32(item), GuestSVN: u32(item[0x04:]), Policy: u64(item[0x08:]), VMPL: u32(item[0x30:]), ReportData: [64]byte(item[0x50:]),
		Measurement: [48]byte(item[0x90:]), HostData: [32]byte(item[0xc0:]), IDKeyDigest: [48]byte(item[0xe0:]), ChipID: [64]byte(item[0x1a0:]),
		Current: TCB(item[0x38:]), Reported: TCB(item[0x180:]), Committed: TCB(item[0x1e0:]), Launch: TCB(item[0x1f0:]), raw: item,
	}
	signer := u32(item[0x48:])
	switch {
	case r.Version < 2 || r.Version > 5:
		return nil, verify.Failf(verify.Format, "SNP report: version %d: want 2 to 5", r.Version)
	case u32(item[0x34:]) != 1:
		return nil, verify.Failf(verify.Format, "SNP report: signature algorithm %d: want 1 (ECDSA P-384 with SHA-384)", u32(item[0x34:]))
	case r.Policy&policyReservedOne == 0 || r.Policy&policyUnknown != 0:
		return nil, verify.Failf(verify.Format, "SNP report: guest policy %#x: want bit 17, and no bit over 25", r.Policy)
	case signer>>5 != 0 || signer>>2&7 > uint32(VLEK):
		return nil, verify.Failf(verify.Format, "SNP report: signer information %#x: want one signed by a VCEK or a VLEK", signer)
	}
	r.Signer = Signer(signer >> 2 & 7)
	if r.Version >= 3 {
		r.Family, r.Model = item[0x188], item[0x189]
	}
	return r, r.checkReserved()
}

// checkReserved refuses bytes that must be zero.
func (r *Report) checkReserved() error {
	afterReported, afterLaunch := 0x188, 0x1f8
	if r.Version >= 3 {
		afterReported = 0x18b // family, model, stepping
	}
	if r.Version >= 5 {
		afterLaunch = 0x208 // mitigation vectors of launch and now
	}
	for _, f := range [][2]int{
		{0x4c, 0x50}, {afterReported, 0x1a0}, {0x1eb, 0x1ec}, {0x1ef, 0x1f0}, {afterLaunch, signedSize},
		{signedSize + p384Size, signedSize + numberSize}, {signedSize + numberSize + p384Size, ReportSize},
	} {
		if !verify.IsZero(r.raw[f[0]:f[1]]) {
			return verify.Failf(verify.Format, "SNP report of version %d: bytes %#x to %#x are not zero", r.Version, f[0], f[1])
		}
	}
	return nil
}

// signedPart returns the bytes that the processor signed: all but the signature.
func (r *Report) signedPart() []byte { return r.raw[:signedSize] }

// ID returns the report's identity: SHA-256 of its signed part.
func (r *Report) ID() poclog.Identity {
	return poclog.Identity(poclog.QuoteKind + ":" + poclog.Sum(r.signedPart()).String())
}

// Is reports whether b is this report, byte for byte.
func (r *Report) Is(b []byte) bool { return bytes.Equal(r.raw, b) }

// CheckSignature verifies the report's signature by the key of a chain that was checked. Failures
// are [verify.TEESignature].
func (r *Report) CheckSignature(c *Chain) error {
	if r.Signer != c.Signer {
		return verify.Failf(verify.TEESignature, "the report names a %s as its signer, the certificate is a %s's", r.Signer, c.Signer)
	}
	key, ok := c.Leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return verify.Failf(verify.TEESignature, "the %s is not a key on P-384", c.Signer)
	}
	h := sha512.Sum384(r.signedPart())
	if !ecdsa.Verify(key, h[:], littleEndian(r.raw[signedSize:]), littleEndian(r.raw[signedSize+numberSize:])) {
		return verify.Failf(verify.TEESignature, "the report is not signed by the certificate's %s", c.Signer)
	}
	return nil
}

// littleEndian reads the number of 48 bytes at the start of b.
func littleEndian(b []byte) *big.Int {
	n := bytes.Clone(b[:p384Size])
	slices.Reverse(n)
	return new(big.Int).SetBytes(n)
}

// CheckNoDebug refuses a guest whose memory its host can read: the policy's DEBUG, and MIGRATE_MA,
// which lets a migration agent that the host chooses take the guest's keys elsewhere. Failures are
// [verify.TEENoDebug].
func (r *Report) CheckNoDebug() error {
	switch {
	case r.Policy&policyDebug != 0:
		return verify.Failf(verify.TEENoDebug, "guest policy %#x: the guest runs under debug, its host can read its memory", r.Policy)
	case r.Policy&policyMigrateMA != 0:
		return verify.Failf(verify.TEENoDebug, "guest policy %#x: the guest may have a migration agent, which can take its memory elsewhere", r.Policy)
	}
	return nil
}

// CheckVMPL refuses a report that was not asked for at the guest's highest privilege level: whoever
// runs below it did not measure itself, and a host's own request has no level at all. Failures are
// [verify.TEELaunch].
func (r *Report) CheckVMPL() error {
	if r.VMPL != 0 {
		return verify.Failf(verify.TEELaunch, "the report was asked for at VMPL %#x: want 0, what was measured at launch", r.VMPL)
	}
	return nil
}

// Frame returns what a report has in common with others of its platform, as far as a parser may
// judge it: version, guest policy, signature algorithm, signer, and the processor's family, model
// and stepping.
func (r *Report) Frame() []byte {
	return slices.Concat(r.raw[:4], r.raw[8:0x10], r.raw[0x34:0x38], r.raw[0x48:0x4c], r.raw[0x188:0x18b])
}
