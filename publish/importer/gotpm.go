package importer

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
	"github.com/poclog/poclog/verify/tpm"
)

// gotpmBanks are the banks of PCRs whose quote we take, the best first.
var gotpmBanks = []tpmpb.HashAlgo{tpmpb.HashAlgo_SHA384, tpmpb.HashAlgo_SHA256}

// GoTPM imports an attest.Attestation of go-tpm-tools (https://github.com/google/go-tpm-tools, proto/attest.proto) as `gotpm attest` writes it:
// binary, text or JSON. Certificates in PEM complete the AK's chain up to its root. An attestation without a quote over the SHA-384 or SHA-256
// bank is refused, and so is a chain that does not hold together; one whose end is missing is left out. So are the quotes over other banks, an
// SEV-SNP report and the canonical event log. The notes say what was.
func GoTPM(file []byte, certs ...[]byte) (*Import, error) {
	a, err := parseGoTPM(file)
	if err != nil {
		return nil, fmt.Errorf("gotpm attestation: %w", err)
	}
	im := &Import{Profile: poclog.GCETDXvTPM, Bundle: new(poclog.Bundle), How: gotpmHow}
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

// gotpmHow is how `gotpm attest` takes evidence that carries every check. With --tee-technology it takes the TD quote after the TPM's, so that no
// TPM quote covers it: the TD quote must be there before. Flags are those of go-tpm-tools v0.4.10, cmd/attest.go and cmd/flags.go.
// TestGotpmRecipeCarriesEveryCheck follows it with that library and a TPM.
var gotpmHow = []string{
	"gotpm attest --key gceAK --nonce 00 --output ak.pb; poclog import gotpm ak.pb -o ak.bundle.json; poclog inspect ak.bundle.json --item tpm-ak > ak.pub",
	"poclog challenge --log URL --profile gce-tdx-vtpm --ak ak.pub -o challenge.json",
	"take the TD quote over the report_data that is printed (/sys/kernel/config/tsm/report), to quote.bin",
	"poclog import tdx quote.bin -o td.bundle.json; NONCE=$(poclog inspect td.bundle.json --item tdx-quote | sha256sum | cut -d' ' -f1)",
	"gotpm attest --key gceAK --nonce $NONCE --output attestation.pb   (without --tee-technology: gotpm takes that quote after the TPM's)",
	"poclog import gotpm attestation.pb intermediate.pem root.pem --tdx-quote quote.bin --ccel /sys/firmware/acpi/tables/data/CCEL --challenge challenge.json " +
		"-o vm.bundle.json",
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
	gotpmBanksLost(im, a, q)
	return nil
}

// gotpmBanksLost says what it means that gotpm quotes each bank alone, while a bundle has one quote.
func gotpmBanksLost(im *Import, a *attest.Attestation, kept *tpmpb.Quote) {
	for _, other := range a.GetQuotes() {
		if other != kept {
			im.note("the quote over the %v bank is left out: a bundle has one quote, here over the %v bank, whose digests alone are proven",
				other.GetPcrs().GetHash(), kept.GetPcrs().GetHash())
		}
	}
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
	q := a.GetTdxAttestation()
	if q == nil {
		if a.GetSevSnpAttestation() != nil {
			im.note("the SEV-SNP report is left out: this importer carries TDX quotes only")
		}
		im.note("there is no TDX quote: nothing shows a genuine chip, nor that this TPM belongs to one; no judge accepts the bundle without --tdx-quote")
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
	if len(a.GetAkCert()) == 0 {
		im.note("the AK has no certificate: no one vouches for the TPM, and no place can be shown (gotpm attest --key gceAK uses the certified one)")
		return nil
	}
	leaf, err := Certificates(a.GetAkCert())
	if err != nil {
		return fmt.Errorf("AK certificate: %w", err)
	}
	ders := append(leaf, a.GetIntermediateCerts()...)
	for i, c := range certs {
		extra, err := Certificates(c)
		if err != nil {
			return fmt.Errorf("file %d of certificates: %w", i+1, err)
		}
		ders = append(ders, extra...)
	}
	return im.setChain(ders)
}
