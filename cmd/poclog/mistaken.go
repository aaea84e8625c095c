package main

import (
	"errors"
	"fmt"

	"github.com/poclog/poclog/publish/importer"
)

// whereToGet says how to come by the files that importers want.
var whereToGet = map[importer.Kind]string{
	importer.KindTDXQuote:  adviceQuote + "; in an Azure VM the instance metadata service gives it: `poclog import azure --live`",
	importer.KindSNPReport: adviceReport + "; in an Azure VM the TPM has it in NV index 0x01400001: `poclog import azure --live`",
	importer.KindTPMPublic: "`tpm2_readpublic -c HANDLE -f tpmt -o ak.pub` writes it",
	importer.KindTPMLog:    "the kernel gives it to root: /sys/kernel/security/tpm0/binary_bios_measurements",
	importer.KindCCEL:      "the kernel gives it to root: /sys/firmware/acpi/tables/data/CCEL (the table /sys/firmware/acpi/tables/CCEL only says where it is)",
	importer.KindChallenge: "`poclog challenge -o challenge.json` writes it",
}

// whatToDoWith says what takes a file that was given to a command that does not.
var whatToDoWith = map[importer.Kind]string{
	importer.KindTDXQuote:    "`poclog import tdx` makes a bundle of it",
	importer.KindSNPReport:   "`poclog import snp` makes a bundle of it",
	importer.KindAzure:       "`poclog import azure` makes a bundle of it",
	importer.KindDstack:      "`poclog import dstack` makes a bundle of it",
	importer.KindHCLReport:   "`poclog import azure` takes it as a member of what attested-tls or Confidential Containers write",
	importer.KindDCAP:        "`poclog import collateral` makes a collateral file of it",
	importer.KindTCBInfo:     "one of four pieces: `poclog collateral fetch BUNDLE` gets all of them; of dcap-qvl's file `poclog import collateral` makes a collateral file",
	importer.KindQEIdentity:  "one of four pieces: `poclog collateral fetch BUNDLE` gets all of them; of dcap-qvl's file `poclog import collateral` makes a collateral file",
	importer.KindCRL:         "one of several pieces: `poclog collateral fetch BUNDLE` gets all of them; of dcap-qvl's file `poclog import collateral` makes a collateral file",
	importer.KindToken:       "`poclog collateral add --alliance-token` puts it into a collateral file",
	importer.KindCollateral:  "it judges a bundle: `poclog verify BUNDLE --collateral FILE`",
	importer.KindPolicy:      "it says what is accepted: `poclog verify BUNDLE --appraisal FILE`",
	importer.KindBundle:      "`poclog verify BUNDLE`, `poclog submit BUNDLE`",
	importer.KindEnvelope:    "`poclog verify ENVELOPE`, `poclog submit ENVELOPE`",
	importer.KindReceipt:     "`poclog verify RECEIPT --policy POLICY`",
	importer.KindCertificate: "certificates go beside the evidence that they complete",
}

// mistaken adds to an importer's error where to get the file that it wants.
func mistaken(err error) error {
	var wrong *importer.WrongFileError
	if !errors.As(err, &wrong) {
		return err
	}
	if where := whereToGet[wrong.Want]; where != "" {
		return hint(err, "%s", where)
	}
	return err
}

// wrongInput explains that a file of ours is another.
func wrongInput(path string, file []byte, want importer.Kind, err error) error {
	if err == nil {
		return nil
	}
	is := importer.KindOf(file)
	if is == "" || is == want {
		return fmt.Errorf("%s: %w", path, err)
	}
	err = fmt.Errorf("%s: it is %s: want %s", path, is, want)
	if what := whatToDoWith[is]; what != "" {
		return hint(err, "%s", what)
	}
	return err
}
