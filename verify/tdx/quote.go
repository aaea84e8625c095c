// Package tdx parses and authenticates Intel TDX quotes, and judges the platforms they come from by
// Intel's collateral.
//
// Layouts follow "Intel TDX DCAP: Quote Generation Library and Quote Verification Library",
// revision 0.9, Appendix A (quote formats 4 and 5), certificates the "SGX PCK Certificate and
// Certificate Revocation List Profile Specification", and the standing of a platform the algorithm
// of Intel's PCS API v4 ("Get TDX TCB Info", "Get TDX QE Identity").
//
// A quote is never named by its raw bytes: padding, ECDSA's s and PEM white space can be changed by
// anybody. [Quote.ID] is over what is signed. go-tdx-guest gives logs a second opinion
// ([Quote.SecondOpinion]); it is called behind bounds checks and a recover, for it panics on
// crafted lengths.
//
// The package is pure: roots, collateral and the time are arguments. It says nothing about where a
// chip stands. TestReal and TestEveryByte are the evidence.
package tdx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// Sizes of a quote's parts, in bytes.
const (
	headerSize     = 48
	bodySize10     = 584 // TD report of TDX 1.0
	bodySize15     = 648 // of TDX 1.5: TEE_TCB_SVN_2 and MRSERVICETD follow
	descriptorSize = 6   // version 5: body type u16, body size u32
	qeReportSize   = 384
	maxQuote       = 1 << 16
)

// A Body is the TD report's body. All registers are as in the quote.
type Body struct {
	TEETCBSVN      [16]byte
	MRSEAM         [48]byte
	MRSIGNERSEAM   [48]byte
	SEAMAttributes [8]byte
	TDAttributes   [8]byte
	XFAM           [8]byte
	MRTD           [48]byte
	MRConfigID     [48]byte
	MROwner        [48]byte
	MROwnerConfig  [48]byte
	RTMRs          [4][48]byte
	ReportData     [64]byte
}

// A Quote is a TDX quote of version 4 or 5 with an ECDSA P-256 attestation key. Parsing
// authenticates nothing.
type Quote struct {
	Version uint16
	Body    Body

	raw       []byte
	signed    []byte // header ‖ descriptor, if any ‖ body
	signature []byte // r ‖ s over signed
	key       []byte // X ‖ Y of the attestation key
	qeReport  []byte
	qeSig     []byte // r ‖ s over the QE report
	authData  []byte

	Chain
}

// A Chain is the certificates that a quote carries.
type Chain struct {
	PCK, CA, Root *x509.Certificate
	// Platform is what the PCK certificate says of the chip.
	Platform Platform

	Text []byte // the PEM that says so, without the NUL after it
}

// ParseQuote parses a quote without padding. A malformed one is a [verify.Format] error.
func ParseQuote(item []byte) (*Quote, error) { return ParseQuoteKnowing(item, nil) }

// ParseQuoteKnowing is [ParseQuote] for who parsed chains before: known, which may be nil, returns
// what a chain's text says, or nil where it does not know.
func ParseQuoteKnowing(item []byte, known func(text []byte) *Chain) (*Quote, error) {
	q, n, err := parse(item, known)
	if err != nil {
		return nil, err
	}
	if n != len(item) {
		return nil, verify.Failf(verify.Format, "TDX quote: %d bytes after its end", len(item)-n)
	}
	return q, nil
}

// TrimQuote cuts the padding that configfs and firmware add after a quote: zero bytes only.
func TrimQuote(padded []byte) ([]byte, error) {
	_, n, err := parse(padded, nil)
	if err != nil {
		return nil, err
	}
	for i := n; i < len(padded); i++ {
		if padded[i] != 0 {
			return nil, verify.Failf(verify.Format, "TDX quote: byte %#02x at %d after its end: want zero padding", padded[i], i)
		}
	}
	return padded[:n:n], nil
}

// A cursor takes parts off a quote; the first that is missing stays in err.
type cursor struct {
	b    []byte
	off  int
	what string
	err  error
}

func (c *cursor) take(n int, what string) []byte {
	if c.err != nil {
		return nil
	}
	if n > len(c.b)-c.off {
		c.err = verify.Failf(verify.Format, "%s: %s of %d bytes at %d: %d are left", c.what, what, n, c.off, len(c.b)-c.off)
		return nil
	}
	p := c.b[c.off : c.off+n : c.off+n]
	c.off += n
	return p
}

func (c *cursor) u16(what string) int {
	if p := c.take(2, what); p != nil {
		return int(binary.LittleEndian.Uint16(p))
	}
	return 0
}

// u32 reads a length of at most max.
func (c *cursor) u32(what string, max int) int {
	p := c.take(4, what)
	if p == nil {
		return 0
	}
	n := binary.LittleEndian.Uint32(p)
	if uint64(n) > uint64(max) {
		c.err = verify.Failf(verify.Format, "%s: %s %d: want at most %d", c.what, what, n, max)
		return 0
	}
	return int(n)
}

// want refuses a field that must have one value.
func (c *cursor) want(have, want int, what string) {
	if c.err == nil && have != want {
		c.err = verify.Failf(verify.Format, "%s: %s %#x: want %#x", c.what, what, have, want)
	}
}

// intelQE is the vendor id of Intel's quoting enclave.
var intelQE, _ = hex.DecodeString("939a7233f79c4ca9940a0db3957f0607")

// parse returns the quote at the start of b and how long it is.
func parse(b []byte, known func([]byte) *Chain) (*Quote, int, error) {
	if len(b) > maxQuote {
		return nil, 0, verify.Failf(verify.Format, "TDX quote of %d bytes: want at most %d", len(b), maxQuote)
	}
	q := new(Quote)
	c := &cursor{b: b, what: "TDX quote"}
	body := q.parseSigned(c)
	text := q.parseSignatureData(c)
	if c.err == nil {
		q.Chain, c.err = parseChain(text, known)
	}
	if c.err != nil {
		return nil, 0, c.err
	}
	q.raw = b[:c.off:c.off]
	q.Body.decode(body)
	return q, c.off, nil
}

// parseSigned reads header, descriptor and body.
func (q *Quote) parseSigned(c *cursor) (body []byte) {
	header := c.take(headerSize, "header")
	if c.err != nil {
		return nil
	}
	q.Version = binary.LittleEndian.Uint16(header)
	if q.Version != 4 && q.Version != 5 {
		c.err = verify.Failf(verify.Format, "TDX quote: version %d: want 4 or 5", q.Version)
		return nil
	}
	c.want(int(binary.LittleEndian.Uint16(header[2:])), 2, "attestation key type (ECDSA P-256)")
	c.want(int(binary.LittleEndian.Uint32(header[4:])), 0x81, "TEE type (TDX)")
	if string(header[12:28]) != string(intelQE) && c.err == nil {
		c.err = verify.Failf(verify.Format, "TDX quote: quoting enclave of vendor %x: want Intel's, %x", header[12:28], intelQE)
	}
	size := bodySize10
	if q.Version == 5 {
		size = q.descriptor(c)
	}
	body = c.take(size, "body")
	q.signed = c.b[:c.off]
	return body
}

// descriptor reads the body descriptor of version 5 and returns the body's size.
func (q *Quote) descriptor(c *cursor) int {
	kind := c.u16("body type")
	size := c.u32("body size", bodySize15)
	switch kind {
	case 2:
		c.want(size, bodySize10, "body size of TDX 1.0")
	case 3:
		c.want(size, bodySize15, "body size of TDX 1.5")
	default:
		if c.err == nil {
			c.err = verify.Failf(verify.Format, "TDX quote: body type %d: want 2 (TDX 1.0) or 3 (TDX 1.5)", kind)
		}
	}
	return size
}

func (b *Body) decode(p []byte) {
	for _, f := range [][]byte{
		b.TEETCBSVN[:], b.MRSEAM[:], b.MRSIGNERSEAM[:], b.SEAMAttributes[:], b.TDAttributes[:], b.XFAM[:], b.MRTD[:], b.MRConfigID[:],
		b.MROwner[:], b.MROwnerConfig[:], b.RTMRs[0][:], b.RTMRs[1][:], b.RTMRs[2][:], b.RTMRs[3][:], b.ReportData[:],
	} {
		p = p[copy(f, p):]
	}
}

// parseSignatureData reads what follows the body: signature, key, and in two nested frames the QE
// report and the chain, whose text it returns.
func (q *Quote) parseSignatureData(c *cursor) (certificates []byte) {
	all := c.u32("signature data size", maxQuote)
	start := c.off
	q.signature = c.take(64, "signature")
	q.key = c.take(64, "attestation key")
	c.want(c.u16("certification data type"), 6, "certification data type (QE report)")
	outer := c.u32("QE report data size", maxQuote)
	outerStart := c.off
	q.qeReport = c.take(qeReportSize, "QE report")
	q.qeSig = c.take(64, "QE report signature")
	q.authData = c.take(c.u16("QE authentication data size"), "QE authentication data")
	c.want(c.u16("inner certification data type"), 5, "inner certification data type (PCK chain)")
	certificates = c.take(c.u32("PCK chain size", chain.MaxBytes), "PCK chain")
	c.want(c.off-outerStart, outer, "QE report data size")
	c.want(c.off-start, all, "signature data size")
	return certificates
}

func parseChain(text []byte, known func([]byte) *Chain) (Chain, error) {
	// Quoting libraries end the text with one NUL.
	if n := len(text); n > 0 && text[n-1] == 0 {
		text = text[:n-1]
	}
	if known != nil {
		if c := known(text); c != nil {
			return Chain{PCK: c.PCK, CA: c.CA, Root: c.Root, Platform: c.Platform, Text: text}, nil
		}
	}
	certs, err := chain.ParsePEM(text)
	if err != nil {
		return Chain{}, verify.Failf(verify.Format, "TDX quote: PCK chain: %w", err)
	}
	if len(certs) != 3 {
		return Chain{}, verify.Failf(verify.Format, "TDX quote: PCK chain of %d certificates: want leaf, intermediate and root", len(certs))
	}
	c := Chain{PCK: certs[0], CA: certs[1], Root: certs[2], Text: text}
	if c.Platform, err = parsePlatform(c.PCK); err != nil {
		return Chain{}, verify.Failf(verify.Format, "TDX quote: PCK certificate: %w", err)
	}
	return c, nil
}

// Frame returns what surrounds the body and its signature: header, descriptor of version 5, and all
// certification data as it stands, in which white space counts. It is the same for every quote of a
// platform until the platform is provisioned anew.
func (q *Quote) Frame() []byte {
	head := headerSize
	if q.Version == 5 {
		head += descriptorSize
	}
	// The signature follows its size, of 4 bytes.
	return slices.Concat(q.raw[:head], q.raw[len(q.signed)+4+len(q.signature):])
}

// ID returns the quote's identity: SHA-256 of its signed part.
func (q *Quote) ID() poclog.Identity {
	return poclog.Identity(poclog.QuoteKind + ":" + poclog.Sum(q.signed).String())
}

// CheckNoDebug refuses a TD whose memory its host can read: TDATTRIBUTES bits 0 to 7 ("TUD", TD
// under debug; Intel TDX Module Base Architecture Specification, "TD attributes"), and bit 29
// (MIGRATABLE). Of a migratable TD the migration TD has the key with which its memory leaves the
// chip and comes back; the host chooses the migration TD, and quotes of TDX 1.0 do not say which
// one it is.
func (q *Quote) CheckNoDebug() error {
	const migratable = 1 << (29 - 24) // of byte 3
	switch a := &q.Body.TDAttributes; {
	case a[0] != 0:
		return verify.Failf(verify.TEENoDebug, "TD attributes %x: the TD runs under debug, its host can read its memory", *a)
	case a[3]&migratable != 0:
		return verify.Failf(verify.TEENoDebug, "TD attributes %x: the TD is migratable, who has its migration key can read and change its memory", *a)
	}
	return nil
}

// ecdsaKey decodes X ‖ Y of a point on P-256.
func ecdsaKey(xy []byte) (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, xy...))
}

// verifyRaw checks r ‖ s over SHA-256(message).
func verifyRaw(key *ecdsa.PublicKey, message, rs []byte) bool {
	h := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])
	return ecdsa.Verify(key, h[:], r, s)
}
