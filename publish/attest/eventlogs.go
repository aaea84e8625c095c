package attest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// Where the kernel shows event logs.
const (
	tcgLogFile = "/sys/kernel/security/tpm0/binary_bios_measurements"
	ccelFile   = "/sys/firmware/acpi/tables/data/CCEL"
)

// eventLogs reads the TPM's log and the TD's. On bare metal they are optional: what is not there is
// left out.
func (m *Machine) eventLogs(p poclog.Profile, o *Options) (tcgLog, ccel []byte, err error) {
	if tcgLog, err = m.eventLog(tcglog.TPM, o.TCGLog, tcgLogFile); err != nil && !absent(p, err) {
		return nil, nil, &MissingError{PieceLogs, err, GiveTCGLog}
	}
	if ccel, err = m.eventLog(tcglog.CCEL, o.CCEL, ccelFile); err != nil && !absent(p, err) {
		return nil, nil, &MissingError{PieceLogs, err, GiveCCEL}
	}
	return tcgLog, ccel, nil
}

func absent(p poclog.Profile, err error) bool {
	return p == poclog.BareMetalTDXTPM && errors.Is(err, fs.ErrNotExist)
}

// eventLog returns the log that was given, or reads the kernel's; without padding. It must parse.
func (m *Machine) eventLog(kind tcglog.Kind, given []byte, path string) (b []byte, err error) {
	if b = given; len(b) == 0 {
		if b, err = m.readFile(path, tcglog.MaxLog); err != nil {
			return nil, err
		}
	}
	return importer.ReadEventLog(kind, b)
}

// selectPCRs returns what to quote: in every bank of the TPM's that the log has digests for, the
// registers that a judge wants and those with events of the log; on bare metal the launch's too, in
// every bank in which it can be judged, log or not.
func selectPCRs(t transport.TPM, p poclog.Profile, log []byte) ([]tpm.PCRSelection, error) {
	banks, err := importer.Banks(t)
	if err != nil {
		return nil, &MissingError{PieceTPM, err, GrantTPM}
	}
	pcrs := slices.Clone(tcglog.CheckedPCRs)
	algs := tpm.LaunchBanks
	if len(log) > 0 {
		l, err := tcglog.Parse(tcglog.TPM, log)
		if err != nil {
			return nil, err
		}
		pcrs, algs = append(pcrs, l.Measured()...), append(slices.Clone(algs), l.Algs...)
	}
	if !slices.Contains(banks, tpm.SHA256) {
		return nil, &MissingError{PieceTPM, fmt.Errorf("the TPM has banks %v and no SHA-256, in which all proofs show what booted", banks), EnableBanks}
	}
	if p == poclog.BareMetalTDXTPM {
		pcrs = append(pcrs, launchPCRs...)
	} else if !slices.Contains(banks, tpm.SHA384) {
		return nil, &MissingError{PieceTPM, errors.New("the TPM has no SHA-384 bank, which is what a TD's registers are compared with"), EnableBanks}
	}
	slices.Sort(pcrs)
	pcrs = slices.Compact(pcrs)
	var selection []tpm.PCRSelection
	for _, bank := range banks {
		if slices.Contains(algs, bank) {
			selection = append(selection, tpm.PCRSelection{Alg: bank, PCRs: pcrs})
		}
	}
	return selection, nil
}
