package importer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poclog/poclog/internal/octets"
)

// azureEvidence is what a file says of an Azure VM.
type azureEvidence struct {
	tdQuote, hclReport []byte
	message, signature []byte   // TPMS_ATTEST; RSASSA PKCS #1 v1.5 over it
	pcrs               [][]byte // SHA-256 bank, from PCR 0
	certs              [][]byte
}

// parseAzure reads one of
//   - attested-tls: tdx_quote_base64, hcl_report_base64, tpm_attestation {ak_certificate_pem,
//     ak_intermediate_certificates_pem, quote} (https://github.com/flashbots/attested-tls,
//     crates/attestation/src/azure);
//   - Confidential Containers, version 1 and 2: tpm_quote, hcl_report, and td_quote or vcek; before
//     them of a SEV-SNP VM quote, report and vcek
//     (https://github.com/confidential-containers/trustee, deps/verifier/src/az_tdx_vtpm and
//     az_snp_vtpm);
//
// where a quote of the TPM is {signature, message, pcrs}. Either may stand in a wrapper, as the
// member evidence.
func parseAzure(file []byte) (*azureEvidence, error) {
	m, err := parseMembers(file)
	if err != nil {
		return nil, err
	}
	if m.has("evidence") {
		if m, err = m.object("evidence"); err != nil {
			return nil, err
		}
	}
	switch {
	case m.has("tpm_attestation"):
		return attestedTLS(m)
	case m.has("tpm_quote"):
		return containers(m, "tpm_quote", "hcl_report")
	case m.has("quote") && m.has("report"):
		return containers(m, "quote", "report")
	}
	return nil, fmt.Errorf("neither tpm_attestation (attested-tls) nor tpm_quote (Confidential Containers) among %s", m)
}

func attestedTLS(m members) (*azureEvidence, error) {
	f := new(azureEvidence)
	about, err := m.object("tpm_attestation")
	if err == nil {
		err = cmp.Or(m.octets("tdx_quote_base64", &f.tdQuote), m.octets("hcl_report_base64", &f.hclReport), f.setQuote(about, "quote"))
	}
	if err != nil {
		return nil, err
	}
	var texts []string
	if about.has("ak_certificate_pem") {
		texts = append(texts, "")
		err = about.decode("ak_certificate_pem", &texts[0])
	}
	if about.has("ak_intermediate_certificates_pem") && err == nil {
		var more []string
		err = about.decode("ak_intermediate_certificates_pem", &more)
		texts = append(texts, more...)
	}
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			continue
		}
		list, e := Certificates([]byte(text))
		err = cmp.Or(err, e)
		f.certs = append(f.certs, list...)
	}
	return f, err
}

func containers(m members, quote, report string) (*azureEvidence, error) {
	f := new(azureEvidence)
	if err := cmp.Or(m.octets(report, &f.hclReport), f.setQuote(m, quote)); err != nil {
		return nil, err
	}
	if m.has("td_quote") {
		if err := m.octets("td_quote", &f.tdQuote); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"vcek", "ak_certificate"} {
		if !m.has(name) {
			continue
		}
		var der []byte
		if err := m.octets(name, &der); err != nil {
			return nil, err
		}
		list, err := Certificates(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.certs = append(f.certs, list...)
	}
	return f, nil
}

// setQuote takes a quote of the TPM.
func (f *azureEvidence) setQuote(in members, name string) error {
	m, err := in.object(name)
	if err != nil {
		return err
	}
	if err := cmp.Or(m.octets("signature", &f.signature), m.octets("message", &f.message)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var pcrs []octets.Member
	if err := m.decode("pcrs", &pcrs); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range pcrs {
		f.pcrs = append(f.pcrs, p)
	}
	return nil
}

// members are those of an object in JSON, each once.
type members map[string]json.RawMessage

// parseMembers reads a file of another tool, in JSON or YAML.
func parseMembers(file []byte) (members, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(file), MaxFile)
	}
	file, err := asJSON(file)
	if err != nil {
		return nil, err
	}
	m := make(members)
	if err := json.Unmarshal(file, &m); err != nil {
		return nil, err
	}
	return m, nil
}

// has reports whether there is a value: null is none.
func (m members) has(name string) bool {
	return len(m[name]) > 0 && !bytes.Equal(m[name], []byte("null"))
}

// decode reads a member that has to be there.
func (m members) decode(name string, into any) error {
	if !m.has(name) {
		return fmt.Errorf("no member %s among %s", name, m)
	}
	if err := json.Unmarshal(m[name], into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (m members) octets(name string, into *[]byte) error {
	return m.decode(name, (*octets.Member)(into))
}

// object reads a member that is an object, or JSON in a string.
func (m members) object(name string) (in members, err error) {
	var text string
	if json.Unmarshal(m[name], &text) == nil && text != "" {
		return parseMembers([]byte(text))
	}
	err = m.decode(name, &in)
	return in, err
}

// String lists the names, for people.
func (m members) String() string {
	names := fmt.Sprintf("%.40q", slices.Sorted(maps.Keys(m)))
	return names[:min(len(names), 200)]
}
