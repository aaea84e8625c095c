package importer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

// dstackFile is any of the JSON objects that dstack gives: the guest agent's answers to GetQuote
// and Attest (guest-agent/rpc/proto/agent_rpc.proto, octets in hexadecimal) and the TpmQuote that
// `dstack-util tpm-quote` prints (tpm-types/src/lib.rs).
type dstackFile struct {
	Quote      string          `json:"quote"`
	ReportData string          `json:"report_data"`
	EventLog   json.RawMessage `json:"event_log"` // of GetQuote JSON in a string, of a TPM quote a list

	Attestation string `json:"attestation"`

	dstackTPM
}

// dstackTPM is a TPM quote. Its message is a TPMS_ATTEST, its signature a TPMT_SIGNATURE.
type dstackTPM struct {
	Message   string      `json:"message"`
	Signature string      `json:"signature"`
	PCRs      []dstackPCR `json:"pcr_values"`
	AKCert    string      `json:"ak_cert"`
}

type dstackPCR struct {
	Index     uint32 `json:"index"`
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

// ErrAttestationV0 says that an attestation is in dstack's first encoding, which does not name its
// parts. An app has its agent write another with "event_log_version": 2 in its app-compose.json;
// the JSON of GetQuote and of dstack-util tpm-quote is read in any case.
var ErrAttestationV0 = errors.New("attestation of version 0, whose encoding does not name its parts")

// maxAttestation is the largest attestation that is decoded, in bytes.
const maxAttestation = 1 << 20

// Dstack imports what dstack gives (https://github.com/Dstack-TEE/dstack), in any number of files:
// a TD quote, with a TPM quote over its SHA-256 where the VM runs on Compute Engine. Each file is
// the JSON of GetQuote, of Attest or of a TPM quote, an attestation of version 1 as octets, or
// certificates in PEM. What is there twice is refused, and so is an attestation of version 0, whose
// encoding does not name its parts.
func Dstack(files ...[]byte) (*Import, error) {
	d := &dstack{im: &Import{Profile: poclog.TDX, Bundle: new(poclog.Bundle)}}
	for i, f := range files {
		if len(f) > MaxFile {
			return nil, fmt.Errorf("dstack: file %d of %d bytes: want at most %d", i+1, len(f), MaxFile)
		}
		if err := d.take(f); err != nil {
			return nil, fmt.Errorf("dstack: file %d: %w", i+1, err)
		}
	}
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("dstack: %w", err)
	}
	return d.im, nil
}

// dstack collects what the files hold.
type dstack struct {
	im     *Import
	akCert []byte
	certs  [][]byte
}

// take recognises a file by its beginning.
func (d *dstack) take(file []byte) error {
	trimmed := bytes.TrimSpace(file)
	switch {
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		ders, err := Certificates(trimmed)
		d.certs = append(d.certs, ders...)
		return err
	case bytes.HasPrefix(trimmed, []byte("{")):
		return d.takeJSON(trimmed)
	}
	return d.takeAttestation(file)
}

func (d *dstack) takeJSON(file []byte) error {
	if err := distinctMembers(file); err != nil {
		return err
	}
	var f dstackFile
	if err := decodeJSON("JSON", file, &f); err != nil {
		return err
	}
	kinds := 0
	for _, has := range []bool{f.Quote != "", f.Attestation != "", f.Message != ""} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("JSON of %d kinds: want a quote, an attestation, or the message of a TPM quote", kinds)
	}
	if len(f.EventLog) > 0 {
		d.im.note("event_log is left out: it lists digests, and checks replay the logs themselves")
	}
	switch {
	case f.Quote != "":
		return d.takeQuote(f.Quote, f.ReportData)
	case f.Message != "":
		return d.takeTPM(&f.dstackTPM)
	}
	b, err := hex.DecodeString(f.Attestation)
	if err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	return d.takeAttestation(b)
}

// takeQuote takes a TD quote, and holds what is said of it to it.
func (d *dstack) takeQuote(quote, reportData string) error {
	raw, err := hex.DecodeString(quote)
	if err != nil {
		return fmt.Errorf("quote: %w", err)
	}
	said, err := hex.DecodeString(reportData)
	if err != nil {
		return fmt.Errorf("report_data: %w", err)
	}
	return d.setQuote(raw, said)
}

func (d *dstack) setQuote(raw, said []byte) error {
	if d.im.Bundle.Has(poclog.ItemTDXQuote) {
		return errors.New("a second TD quote")
	}
	if err := d.im.setQuote(raw); err != nil {
		return err
	}
	q, err := tdx.ParseQuote(d.im.Bundle.Get(poclog.ItemTDXQuote))
	if err != nil {
		return err
	}
	if len(said) > 0 && !bytes.Equal(said, q.Body.ReportData[:]) {
		return fmt.Errorf("report_data %x is not the quote's, %x", said, q.Body.ReportData)
	}
	return nil
}

// takeTPM takes a TPM quote.
func (d *dstack) takeTPM(f *dstackTPM) error {
	if d.im.Bundle.Has(poclog.ItemTPMQuote) {
		return errors.New("a second TPM quote")
	}
	var parts [3][]byte
	for i, s := range []string{f.Message, f.Signature, f.AKCert} {
		var err error
		if parts[i], err = hex.DecodeString(s); err != nil {
			return fmt.Errorf("TPM quote: %s: %w", []string{"message", "signature", "ak_cert"}[i], err)
		}
	}
	if len(parts[0]) > 0xffff {
		return fmt.Errorf("TPM quote: message of %d bytes: want at most 65535", len(parts[0]))
	}
	item := binary.BigEndian.AppendUint16(nil, uint16(len(parts[0])))
	item = append(append(item, parts[0]...), parts[1]...)
	q, err := tpm.ParseQuote(item)
	if err != nil {
		return err
	}
	values, err := dstackPCRs(q, f.PCRs)
	if err != nil {
		return err
	}
	if d.akCert, err = tpm.TrimCertificate(parts[2]); err != nil {
		return err
	}
	d.im.Bundle.Set(poclog.ItemTPMQuote, item)
	d.im.Bundle.Set(poclog.ItemTPMPCRs, values)
	return nil
}

// dstackPCRs puts values into the order of the quote's selection: those that it selects, and no
// others.
func dstackPCRs(q *tpm.Quote, list []dstackPCR) (values []byte, err error) {
	type register struct {
		alg string
		pcr uint32
	}
	given := make(map[register]string)
	for _, p := range list {
		r := register{p.Algorithm, p.Index}
		if _, twice := given[r]; twice {
			return nil, fmt.Errorf("pcr_values: PCR %d of %.20q twice", p.Index, p.Algorithm)
		}
		given[r] = p.Value
	}
	for _, s := range q.Selection {
		for _, n := range s.PCRs {
			r := register{s.Alg.String(), uint32(n)}
			v, err := hex.DecodeString(given[r])
			if err != nil || len(v) != s.Alg.Hash().Size() {
				return nil, fmt.Errorf("pcr_values: PCR %d of %s: want %d bytes in hexadecimal", n, r.alg, s.Alg.Hash().Size())
			}
			delete(given, r)
			values = append(values, v...)
		}
	}
	for r := range given {
		return nil, fmt.Errorf("pcr_values: PCR %d of %.20q, which the quote does not select", r.pcr, r.alg)
	}
	return values, nil
}

// takeAttestation takes what Attest answers (dstack-attest/src/v1.rs): MessagePack of {version,
// platform: {kind, data}, stack}.
func (d *dstack) takeAttestation(b []byte) error {
	switch {
	case len(b) == 0 || len(b) > maxAttestation:
		return fmt.Errorf("attestation of %d bytes: want 1 to %d", len(b), maxAttestation)
	case b[0] == 0:
		return ErrAttestationV0
	}
	v, err := decodePack(b)
	if err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	version, err := member[uint64](v, "version")
	if err != nil || version != 1 {
		return fmt.Errorf("attestation of version %d: want 1", version)
	}
	platform, err := member[any](v, "platform")
	if err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	kind, err := member[string](platform, "kind")
	if err != nil || kind != "tdx" && kind != "gcp-tdx" {
		return fmt.Errorf("attestation of platform %.40q: want tdx or gcp-tdx", kind)
	}
	data, err := member[any](platform, "data")
	if err != nil {
		return fmt.Errorf("attestation: %w", err)
	}
	quote, err := member[[]byte](data, "quote")
	if err != nil {
		return fmt.Errorf("attestation: TD quote: %w", err)
	}
	d.im.note("the attestation's event logs are left out: they list digests, and checks replay the logs themselves")
	if err := d.setQuote(quote, nil); err != nil || kind == "tdx" {
		return err
	}
	f, err := packedTPM(data)
	if err != nil {
		return fmt.Errorf("attestation: TPM quote: %w", err)
	}
	return d.takeTPM(f)
}

// packedTPM reads the TPM quote of an attestation, whose octets are not in hexadecimal.
func packedTPM(data any) (*dstackTPM, error) {
	q, err := member[any](data, "tpm_quote")
	if err != nil {
		return nil, err
	}
	f := new(dstackTPM)
	for name, into := range map[string]*string{"message": &f.Message, "signature": &f.Signature, "ak_cert": &f.AKCert} {
		b, err := member[[]byte](q, name)
		if err != nil {
			return nil, err
		}
		*into = hex.EncodeToString(b)
	}
	list, err := member[[]any](q, "pcr_values")
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		index, err1 := member[uint64](v, "index")
		alg, err2 := member[string](v, "algorithm")
		value, err3 := member[[]byte](v, "value")
		if err := errors.Join(err1, err2, err3); err != nil || index > 23 {
			return nil, fmt.Errorf("pcr_values: PCR %d: want index, algorithm and value", index)
		}
		f.PCRs = append(f.PCRs, dstackPCR{uint32(index), alg, hex.EncodeToString(value)})
	}
	return f, nil
}

// finish completes the chain and says what dstack's evidence cannot carry.
func (d *dstack) finish() error {
	im := d.im
	if len(im.Bundle.Items()) == 0 {
		return errors.New("the files hold neither a TD quote nor a TPM quote")
	}
	if !im.Bundle.Has(poclog.ItemTPMQuote) {
		im.note("there is no TPM quote: GetQuote answers with the TD quote alone, Attest on Compute Engine with both")
		if len(d.certs) > 0 {
			im.note("%d certificates are left out: there is no AK whose chain they could be", len(d.certs))
		}
		return nil
	}
	im.Profile = poclog.GCETDXvTPM
	im.note("dstack extends PCR 14 while the VM runs, and quotes PCR 0, 2 and 14 of the SHA-256 bank alone: no firmware log replays to that, so that " +
		"bind.pcr-rtmr cannot be carried, and level 2 is out of reach")
	return im.setChain(append([][]byte{d.akCert}, d.certs...))
}
