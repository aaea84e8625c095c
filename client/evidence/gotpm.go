package evidence

import (
	"encoding/binary"
	"fmt"

	"github.com/google/go-tdx-guest/abi"
	tdxpb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tpm-tools/proto/attest"
	tpmpb "github.com/google/go-tpm-tools/proto/tpm"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

// gotpmBanks are the banks of PCRs whose quote we take, the best first.
var gotpmBanks = []tpmpb.HashAlgo{tpmpb.HashAlgo_SHA384, tpmpb.HashAlgo_SHA256}

// GoTPM imports an attest.Attestation of go-tpm-tools (https://github.com/google/go-tpm-tools, proto/attest.proto) as `gotpm attest` writes it:
// binary, text or JSON. Certificates in PEM complete the AK's chain up to its root. An attestation without a quote over the SHA-384 or SHA-256
// bank is refused. A chain without its root, an SEV-SNP report and the canonical event log are left out, and the notes say so.
func GoTPM(file []byte, certs ...[]byte) (*Import, error) {
	a, err := parseGoTPM(file)
	if err != nil {
		return nil, fmt.Errorf("gotpm attestation: %w", err)
	}
	im := &Import{Bundle: new(poclog.Bundle)}
	for _, step := range []func(*Import, *attest.Attestation) error{gotpmQuote, gotpmLog, gotpmTEE} {
		if err := step(im, a); err != nil {
			return nil, fmt.Errorf("gotpm attestation: %w", err)
		}
	}
	if err := gotpmChain(im, a, certs); err != nil {
		return nil, fmt.Errorf("gotpm attestation: AK certificate: %w", err)
	}
	return im, nil
}

// parseGoTPM decodes the three forms. Binary files begin with the tag of ak_pub (0x0a, which text reads as white space), so that binary is
// tried first; what has no AK and no quote in one form is taken for another.
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
	for _, other := range a.GetQuotes() {
		if other != q {
			im.note("the quote over the %v bank is left out: a bundle has one quote, here over the %v bank", other.GetPcrs().GetHash(), q.GetPcrs().GetHash())
		}
	}
	return nil
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
		im.note("the event log is missing: what booted cannot be replayed")
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
	const how = "to carry all checks, take the TD quote first, over the REPORTDATA of `poclog challenge`, then run gotpm with --nonce set to the SHA-256 of the TD quote without padding"
	q := a.GetTdxAttestation()
	if q == nil {
		if a.GetSevSnpAttestation() != nil {
			im.note("the SEV-SNP report is left out: this importer carries TDX quotes only")
		}
		im.note("there is no TDX quote: nothing shows a genuine chip, nor that this TPM belongs to one; no profile with a TD can accept the bundle")
		im.note(how)
		return nil
	}
	raw, err := tdxBytes(q)
	if err != nil {
		return fmt.Errorf("TDX quote: %w", err)
	}
	trimmed, err := tdx.TrimQuote(raw)
	if err != nil {
		return err
	}
	im.Bundle.Set(poclog.ItemTDXQuote, trimmed)
	im.note("an attestation holds no challenge of a log (fresh.challenge), and gotpm does not sign the TD quote's hash by the TPM unless told to (bind.tee-in-tpm)")
	im.note(how)
	return nil
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
	if len(a.GetAkCert()) == 0 {
		im.note("the AK has no certificate: nobody vouches for the TPM, and no place can be shown")
		return nil
	}
	var texts []string
	for _, c := range certs {
		texts = append(texts, string(c))
	}
	extra, err := certificates(texts...)
	if err != nil {
		return err
	}
	ders := append([][]byte{a.GetAkCert()}, a.GetIntermediateCerts()...)
	chain, unused, err := chainItem(append(ders, extra...))
	if err != nil {
		im.note("the AK's chain is left out, so that nobody vouches for the TPM: %v", err)
		return nil
	}
	if unused > 0 {
		im.note("%d certificates that the AK's chain does not need are left out", unused)
	}
	im.Bundle.Set(poclog.ItemTPMAKChain, chain)
	return nil
}
