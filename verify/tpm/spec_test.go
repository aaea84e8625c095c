package tpm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/specification"
)

const page = "appraisal-1-tpm.md"

// The numbers of TPM structures, and the OIDs of certificates, are those of the specification.
func TestNumbersAreThoseSpecified(t *testing.T) {
	for what, part := range map[string]struct {
		section string
		want    []string
	}{
		"quote": {specification.Section(t, page, "## 1. ", "## 3. "), []string{
			fmt.Sprintf("`%08x`", generatedValue), fmt.Sprintf("`%04x` (TPM_ST_ATTEST_QUOTE)", attestQuote), fmt.Sprintf("`%04x` SHA-1", algSHA1), fmt.Sprintf("`%04x` SHA-256", algSHA256),
			fmt.Sprintf("`%04x` SHA-384", algSHA384), fmt.Sprintf("`%04x` SHA-512", algSHA512), fmt.Sprintf("RSASSA (`%04x`)", algRSASSA), fmt.Sprintf("RSAPSS (`%04x`)", algRSAPSS),
			fmt.Sprintf("ECDSA (`%04x`)", algECDSA), "at most 4,096 octets", fmt.Sprintf("sizeofSelect %d", sizeofSelect), fmt.Sprintf("| 1 to %d |", maxBanks), fmt.Sprintf("at most %d octets, for ECDSA", maxModulus),
		}},
		"key": {specification.Section(t, page, "## 3. ", "## 4. "), []string{
			fmt.Sprintf("`%04x` RSA", algRSA), fmt.Sprintf("`%04x` ECC", algECC), fmt.Sprintf("`%04x` none", algNull), fmt.Sprintf("`%04x` AES", algAES), fmt.Sprintf("`%04x` P-256", curveP256),
			fmt.Sprintf("`%04x` P-384", curveP384), fmt.Sprintf("endorsement (`%08x`)", hierarchyEndorsement), fmt.Sprintf("owner (`%08x`)", hierarchyOwner),
			"bits 0, 3, 12 to 15 and from 20 on are clear", "restricted (bit 16), sign (18), fixedTPM (1), fixedParent (4) and sensitiveDataOrigin (5) are set, decrypt (17) is clear",
		}},
		"Compute Engine": {specification.Section(t, page, "## 7. ", "## 8. "), []string{"extension " + OIDGCEInstance.String() + ","}},
		"bare metal": {specification.Section(t, page, "## 9. ", "is that of `bind.txt`"), []string{
			"| " + OIDEKCertificate.String() + " | tcg-kp-EKCertificate", "| " + OIDAKCertificate.String() + " | tcg-kp-AIKCertificate", "| " + OIDTPMManufacturer.String() + " | TPM manufacturer",
			"| " + OIDTPMModel.String() + " | TPM model", "| " + OIDTPMVersion.String() + " | TPM version", "userWithAuth (bit 6) is clear",
		}},
		"names": {specification.Section(t, "format.md", "### 8.1 ", "### 8.2 "), []string{"`" + uriEK, "`" + uriPlace, "`" + uriChip, "`" + uriOurs + "`"}},
	} {
		for _, want := range part.want {
			if !specification.Says(part.section, want) {
				t.Errorf("%s: the page does not have %q", what, want)
			}
		}
	}
	if attrReserved != 1|1<<3|0xf<<12|0xfff<<20 || attrRestricted != 1<<16 || attrSign != 1<<18 || attrFixedTPM != 1<<1 || attrFixedParent != 1<<4 ||
		attrSensitiveDataOrigin != 1<<5 || attrDecrypt != 1<<17 || attrUserWithAuth != 1<<6 || maxAttest != 4096 {
		t.Error("the page has other bits of objectAttributes")
	}
}

// The HCL report is laid out as the specification's table has it.
func TestHCLReportIsLaidOutAsSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 8. ", "## 9. ")
	want := map[string][2]string{
		"hardware report": {strconv.Itoa(hclHeader), "1,184"}, "data size, version": {strconv.Itoa(hclFields), "8"}, "report type": {strconv.Itoa(hclFields + 8), "4"},
		"hash type": {strconv.Itoa(hclFields + 12), "4"}, "length of the JSON": {strconv.Itoa(hclFields + 16), "4"}, "JSON": {strconv.Itoa(hclJSON), "as said"},
		"signature": {"0", "4"}, "header": {"4", strconv.Itoa(hclHeader - 4)},
	}
	for _, row := range specification.Table(t, section, "field", "offset", "size") {
		if have, ok := want[row[0]]; !ok || row[1] != have[0] || row[2] != have[1] {
			t.Errorf("row %v: the code has %v", row, have)
		}
		delete(want, row[0])
		if row[0] == "report type" && row[3] != fmt.Sprintf("%d SEV-SNP, %d TDX", HCLTypeSNP, HCLTypeTDX) {
			t.Errorf("row %v", row)
		}
	}
	if len(want) > 0 || hclHardware != 1184 || !strings.Contains(section, "at most 32,768") || maxHCLJSON != 32768 || !specification.Says(section, fmt.Sprintf("at most %d levels deep", maxJSONDepth)) {
		t.Errorf("the page has other sizes (%v)", want)
	}
}

// The authPolicy of a bare-metal AK is the digest that the page writes out.
func TestLaunchPolicyIsAsSpecified(t *testing.T) {
	if !specification.Says(specification.Section(t, page, "## 9. ", "is that of `bind.txt`"), "H( zeros ‖ 0000017f ‖ 00000001 ‖ bank ‖ 03 ‖ 00 00 06 ‖ H(PCR 17 ‖ PCR 18) )") {
		t.Fatal("the page has another formula")
	}
	pcr17, pcr18 := []byte("17 and some octets to fill it up"), []byte("18 and some octets to fill it up")
	h := func(alg Alg, parts ...[]byte) []byte {
		d := alg.Hash().New()
		for _, p := range parts {
			d.Write(p)
		}
		return d.Sum(nil)
	}
	for _, alg := range []Alg{SHA256, SHA384} {
		want := h(alg, make([]byte, alg.Hash().Size()), []byte{0, 0, 1, 0x7f, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 6}, h(alg, pcr17, pcr18))
		if have := LaunchPolicy(alg, SHA256, pcr17, pcr18); string(have) != string(want) {
			t.Errorf("%s: %x, by the page %x", alg, have, want)
		}
	}
}
