package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// How to take evidence that carries a check.
const (
	adviceQuote     = "take a TD quote: the kernel gives it under /sys/kernel/config/tsm/report"
	adviceReport    = "take a report: the kernel gives it under /sys/kernel/config/tsm/report"
	adviceSNPCerts  = "give the certificates of the chip's key: the kernel's auxblob, files in PEM or DER, or have them fetched: `poclog import snp --kds`"
	adviceChain     = "give the certificates that complete the AK's chain up to its root, in PEM or DER"
	adviceChallenge = "fetch a challenge with `poclog challenge` before any quote is taken, put its value into the quote, and give it: --challenge"
	adviceOrder     = "take the TEE's quote first, and have the TPM quote its SHA-256, without padding, as extraData"
	adviceLogs      = "give both logs, --tcg-log /sys/kernel/security/tpm0/binary_bios_measurements and --ccel /sys/firmware/acpi/tables/data/CCEL, and a quote over " +
		"PCRs 0 to 9 and 14 of the SHA-384 bank"
	adviceAKInTEE = adviceChallenge + "; REPORTDATA is what it prints with --ak"
	adviceEnrol   = "have the provider certify the AK for this machine: its EK, place and chip (docs/publishing/bare-metal.md)"
	adviceLaunch  = "have the AK made with the policy TPM2_PolicyPCR over PCR 17 and 18 of the launch, and quote both registers"
	adviceNone    = "no way is known"
)

// itemAdvice says how to come by an item.
var itemAdvice = map[poclog.Item]string{
	poclog.ItemTDXQuote: adviceQuote, poclog.ItemSNPReport: adviceReport, poclog.ItemSNPCerts: adviceSNPCerts,
	poclog.ItemTPMQuote: "take a quote of the vTPM", poclog.ItemTPMPCRs: "take the quote of the vTPM together with the values of its PCRs",
	poclog.ItemTPMAK: "give the AK's TPMT_PUBLIC: --ak", poclog.ItemTPMAKChain: adviceChain, poclog.ItemTPMEKChain: "give the chain of the EK's certificate: `poclog attest --ek-chain`",
	poclog.ItemHCLReport: "read the HCL report in the VM: `tpm2_nvread -C o 0x01400001 -o hcl.bin`", poclog.ItemTCGLog: adviceLogs, poclog.ItemCCEL: adviceLogs,
	poclog.ItemChallenge: adviceChallenge,
}

// checkAdvice says how to carry a check for which all items are there.
var checkAdvice = map[verify.Check]string{
	verify.TEESignature: "take quote and certificates from one chip", verify.TEEChain: "take quote and certificates from one chip", verify.TEERevocation: adviceNone,
	verify.TEETCB: adviceNone, verify.TEENoDebug: "start the VM without debugging and without a migration agent", verify.TEELaunch: "ask for the report at VMPL 0",
	verify.TPMSignature: "take quote and certificate from one TPM", verify.TPMPCRDigest: "take the quote again: registers changed while they were read",
	verify.TPMAKTemplate: "use the AK that the provider certified", verify.TPMAKChain: adviceChain, verify.TPMAKPolicy: adviceLaunch,
	verify.TPMTechnology: "take the evidence in a TDX VM of Compute Engine; " + adviceLogs, verify.BindAKInTEE: adviceAKInTEE, verify.BindTEEInTPM: adviceOrder,
	verify.BindPCRRTMR: adviceLogs, verify.BindTXT: adviceLaunch, verify.BindChassis: adviceEnrol,
	verify.PlaceCert:     "sign with the AK that the provider certified for this instance (gceAK)",
	verify.PlaceRegistry: adviceNone, verify.PlaceAgree: "sign with the AK that the provider certified for this instance (gceAK)", verify.FreshChallenge: adviceChallenge,
}

// azureAdvice and metalAdvice are for checks that other profiles carry in another way.
var (
	azureAdvice = map[verify.Check]string{
		verify.TPMPCRDigest: "quote PCR 0 to 7 in one bank of SHA-256 or SHA-384", verify.BindAKInTEE: "take HCL report, TEE quote and TPM quote in one boot of one VM",
		verify.BindPCRRTMR: adviceNone, verify.PlaceCert: adviceNone, verify.PlaceAgree: adviceChain,
	}
	metalAdvice = map[verify.Check]string{verify.BindPCRRTMR: adviceNone, verify.PlaceCert: adviceEnrol, verify.PlaceAgree: adviceEnrol}
)

// howToCarry says how to take evidence that carries a check.
func howToCarry(p poclog.Profile, c *profile.Prospect) string {
	if c.State == profile.Carried {
		return ""
	}
	var ways []string
	for _, item := range c.Lacks {
		if way := itemAdvice[item]; !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	if len(ways) > 0 {
		return strings.Join(ways, "; ")
	}
	if way, ok := specialAdvice(p)[c.Check]; ok {
		return way
	}
	return checkAdvice[c.Check]
}

func specialAdvice(p poclog.Profile) map[verify.Check]string {
	switch p {
	case poclog.AzureTDXvTPM, poclog.AzureSNPvTPM:
		return azureAdvice
	case poclog.BareMetalTDXTPM:
		return metalAdvice
	}
	return nil
}

// howMissing says how another file mends an import.
func howMissing(err error) string {
	if ak, ok := errors.AsType[importer.MissingAKError](err); ok {
		return fmt.Sprintf("in the VM, as root: `tpm2_nvread -C o %#08x -o ak.der`; then give ak.der here, too", uint32(ak.NV))
	}
	if issuer, ok := errors.AsType[importer.MissingIssuer](err); ok && len(issuer.Last.IssuingCertificateURL) > 0 {
		return fmt.Sprintf("the certificate before it says where its issuer publishes it, which nobody vouches for: %.200q", issuer.Last.IssuingCertificateURL[0])
	}
	return "give its file, in PEM or DER"
}

// gotpmRecipe is how `gotpm attest` takes evidence that carries every check. With --tee-technology
// it takes the TD quote after the TPM's, so that no TPM quote covers it: the TD quote must be there
// before. Flags are those of go-tpm-tools v0.4.10, cmd/attest.go and cmd/flags.go.
// TestGotpmRecipeCarriesEveryCheck (publish/importer) follows it with that library and a TPM.
var gotpmRecipe = []string{
	"`gotpm attest --key gceAK --nonce 00 --output ak.pb`; `poclog import gotpm ak.pb -o ak.bundle.json`; `poclog inspect ak.bundle.json --item tpm-ak > ak.pub`",
	"`poclog challenge --log URL --profile gce-tdx-vtpm --ak ak.pub -o challenge.json`",
	"take the TD quote over the report_data that is printed (/sys/kernel/config/tsm/report), to quote.bin",
	"`poclog import tdx quote.bin -o td.bundle.json`; `NONCE=$(poclog inspect td.bundle.json --item tdx-quote | sha256sum | cut -d' ' -f1)`",
	"`gotpm attest --key gceAK --nonce $NONCE --output attestation.pb` (without --tee-technology: gotpm takes that quote after the TPM's)",
	"`poclog import gotpm attestation.pb intermediate.pem root.pem --tdx-quote quote.bin --ccel /sys/firmware/acpi/tables/data/CCEL --challenge challenge.json " +
		"-o vm.bundle.json`",
}

// dstackRecipe says what dstack's evidence can be made to carry.
var dstackRecipe = []string{
	"`gotpm attest --key gceAK --algo ecc --nonce 00 --output ak.pb`; `poclog import gotpm ak.pb -o ak.bundle.json`; " +
		"`poclog inspect ak.bundle.json --item tpm-ak > ak.pub` (dstack uses the AK on P-256)",
	"`poclog challenge --log URL --profile gce-tdx-vtpm --ak ak.pub -o challenge.json`",
	"GetQuote or Attest with the report_data that is printed; of GetQuote's quote without padding, the SHA-256 as the TPM quote's qualifying data",
	"`poclog import dstack attest.json intermediate.pem root.pem --ak ak.pub --challenge challenge.json -o vm.bundle.json`",
}

var (
	tdxRecipe = []string{
		"for a place, take the vTPM's evidence too: `poclog import gotpm`, azure or dstack",
		"for freshness: `poclog challenge --profile tdx`, its report_data as REPORTDATA, and --challenge here",
	}
	snpRecipe = []string{
		"for a place, take the vTPM's evidence too, in an Azure VM: `poclog import azure --live`",
		"for freshness: `poclog challenge --profile snp`, its report_data as REPORT_DATA, and --challenge here",
	}
)

func azureRecipe(p poclog.Profile) []string {
	return []string{
		"`poclog challenge --log URL --profile " + string(p) + " -o challenge.json`",
		"`poclog import azure --live --challenge challenge.json intermediate.pem root.pem -o vm.bundle.json` (in the VM, with access to its TPM)",
	}
}

// recipe says how the evidence of a tool is made to carry all that it can.
func recipe(tool string, p poclog.Profile) []string {
	switch tool {
	case "gotpm":
		return gotpmRecipe
	case "dstack":
		return dstackRecipe
	case "azure":
		return azureRecipe(p)
	case "snp":
		return snpRecipe
	case "tdx":
		return tdxRecipe
	}
	return nil
}
