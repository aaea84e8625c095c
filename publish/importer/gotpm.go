package importer

import (
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/go-tdx-guest/abi"
	tdxpb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tpm-tools/proto/attest"
	tpmpb "github.com/google/go-tpm-tools/proto/tpm"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// gotpmBanks are the banks of PCRs whose quote we take, the best first.
var gotpmBanks = []tpmpb.HashAlgo{tpmpb.HashAlgo_SHA384, tpmpb.HashAlgo_SHA256}

// GoTPM imports an attest.Attestation of go-tpm-tools (https://github.com/google/go-tpm-tools,
// proto/attest.proto) as `gotpm attest` writes it: binary, text or JSON. Certificates in PEM
// complete the AK's chain up to its root. An attestation without a quote over the SHA-384 or
// SHA-256 bank is refused, and so is a chain that does not hold together; one whose end is missing
// is left out. So are the quotes over other banks, an SEV-SNP report and the canonical event log.
// The notes say what was.
func GoTPM(file []byte, certs ...[]byte) (*Import, error) {
	a, err := parseGoTPM(file)
	if err != nil {
		return nil, fmt.Errorf("gotpm attestation: %w", err)
	}
	im := &Import{Profile: poclog.GCETDXvTPM, Bundle: new(poclog.Bundle)}
	for _, step := range []func() error{
		func() error { return gotpmQuote(im, a) },
		func() error { return gotpmLog(im, a) },
		func() error { return gotpmTEE(im, a) },
		func() error { return gotpmChain(im, a, certs) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("gotpm attestation: %w", err)
		}
	}
	return im, nil
}

// parseGoTPM decodes the three forms. Binary files begin with the tag of ak_pub (0x0a, which text
// reads as white space), so that binary is tried first; what has no AK and no quote in one form is
// taken for another.
func parseGoTPM(file []byte) (a *attest.Attestation, err error) {
	defer func() {
		if r := recover(); r != nil {
			a, err = nil, fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	if len(file) > MaxFile {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(file), MaxFile)
	}
	for _, decode := range []func([]byte, proto.Message) error{proto.Unmarshal, protojson.Unmarshal, prototext.Unmarshal} {
		a := new(attest.Attestation)
		if decode(file, a) == nil && len(a.GetAkPub()) > 0 && len(a.GetQuotes()) > 0 {
			return a, nil
		}
	}
	return nil, fmt.Errorf("neither binary, JSON nor text of attest.Attestation with an AK and quotes")
}

// gotpmQuote takes the quote over the best bank: a bundle has one.
func gotpmQuote(im *Import, a *attest.Attestation) error {
	if _, err := tpm.ParsePublic(a.GetAkPub()); err != nil {
		return err
	}
	im.Bundle.Set(poclog.ItemTPMAK, a.GetAkPub())
	q := bestQuote(a.GetQuotes())
	if q == nil {
		return fmt.Errorf("no quote over the SHA-384 or SHA-256 bank")
	}
	if len(q.GetQuote()) > 0xffff {
		return fmt.Errorf("TPM quote of %d bytes: want at most 65535", len(q.GetQuote()))
	}
	item := binary.BigEndian.AppendUint16(nil, uint16(len(q.GetQuote())))
	item = append(append(item, q.GetQuote()...), q.GetRawSig()...)
	parsed, err := tpm.ParseQuote(item)
	if err != nil {
		return err
	}
	var values []byte
	for _, s := range parsed.Selection {
		for _, n := range s.PCRs {
			v, ok := q.GetPcrs().GetPcrs()[uint32(n)]
			if !ok {
				return fmt.Errorf("the quote selects PCR %d, the file has no value for it", n)
			}
			values = append(values, v...)
		}
	}
	im.Bundle.Set(poclog.ItemTPMQuote, item)
	im.Bundle.Set(poclog.ItemTPMPCRs, values)
	gotpmBanksLost(im, a, q)
	return nil
}

// gotpmBanksLost says what it means that gotpm quotes each bank alone, while a bundle has one
// quote.
func gotpmBanksLost(im *Import, a *attest.Attestation, kept *tpmpb.Quote) {
	for _, other := range a.GetQuotes() {
		if other != kept {
			im.note("the quote over the %v bank is left out: a bundle has one quote, here over the %v bank, whose digests alone are proven",
				other.GetPcrs().GetHash(), kept.GetPcrs().GetHash())
		}
	}
	im.note("gotpm quotes one bank at a time: level 2 needs PCR 0 to 7 of SHA-256 and the SHA-384 bank in one quote, as poclog attest takes it")
	if kept.GetPcrs().GetHash() != tpmpb.HashAlgo_SHA384 {
		im.note("no quote covers the SHA-384 bank: the TPM's event log cannot be compared with the TD's registers, which are SHA-384")
	}
}

func bestQuote(quotes []*tpmpb.Quote) *tpmpb.Quote {
	for _, bank := range gotpmBanks {
		for _, q := range quotes {
			if q.GetPcrs().GetHash() == bank {
				return q
			}
		}
	}
	return nil
}

func gotpmLog(im *Import, a *attest.Attestation) error {
	if len(a.GetCanonicalEventLog()) > 0 {
		im.note("canonical_event_log is left out: no check reads it")
	}
	if len(a.GetEventLog()) == 0 {
		return nil
	}
	trimmed, err := tcglog.Trim(tcglog.TPM, a.GetEventLog())
	if err != nil {
		return err
	}
	im.Bundle.Set(poclog.ItemTCGLog, trimmed)
	return nil
}

func gotpmTEE(im *Import, a *attest.Attestation) error {
	q := a.GetTdxAttestation()
	if q == nil {
		if a.GetSevSnpAttestation() != nil {
			im.note("the SEV-SNP report is left out: this importer carries TDX quotes only")
		}
		return nil
	}
	raw, err := tdxBytes(q)
	if err != nil {
		return fmt.Errorf("TDX quote: %w", err)
	}
	return im.setQuote(raw)
}

func tdxBytes(q *tdxpb.QuoteV4) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			raw, err = nil, fmt.Errorf("the encoder gave up: %v", r)
		}
	}()
	return abi.QuoteToAbiBytes(q)
}

func gotpmChain(im *Import, a *attest.Attestation, certs [][]byte) error {
	var own [][]byte
	if len(a.GetAkCert()) > 0 {
		var err error
		if own, err = Certificates(a.GetAkCert()); err != nil {
			return fmt.Errorf("AK certificate: %w", err)
		}
	}
	pool, err := certificatesOf(slices.Concat(own, a.GetIntermediateCerts()), certs, Certificates)
	if err != nil {
		return err
	}
	if len(own) > 0 {
		return im.setChain(pool)
	}
	public, err := tpm.ParsePublic(a.GetAkPub())
	if err != nil {
		return err
	}
	nv := NVGCEAKCertECC
	if _, ok := public.Key().(*rsa.PublicKey); ok {
		nv = NVGCEAKCertRSA
	}
	return im.setAKCertificates(pool, public.Key(), nv)
}
