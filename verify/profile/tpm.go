package profile

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
	"github.com/poclog/poclog/verify/tpm"
)

// tpmSteps are the checks of a TPM quote and the key that signed it.
func tpmSteps(chain func(*subject) error) []step {
	return []step{
		{verify.TPMAKChain, required, chain},
		{verify.TPMSignature, required, func(s *subject) error { return s.tpmQuote.Verify(s.ak()) }},
		{verify.TPMPCRDigest, required, checkPCRs},
		{verify.TPMAKTemplate, required, func(s *subject) error {
			if s.public == nil {
				return lacksf(poclog.ItemTPMAK, "the bundle lacks the AK's TPMT_PUBLIC: whether the AK signs only what the TPM made is not shown")
			}
			return tpm.CheckAKTemplate(s.public, s.tpmQuote, s.ak())
		}},
	}
}

// akChainTo is the check of an AK whose certificate alone says all.
func akChainTo(roots poclog.RootUse) func(*subject) error {
	return func(s *subject) error { return s.checkAKChain(roots) }
}

// checkAKChain verifies the AK's certificates, once while they are valid.
func (s *subject) checkAKChain(use poclog.RootUse) error {
	if err := s.judge("if the policy lists the chain's root"); err != nil {
		return err
	}
	return s.checkTPMChain("ak chain", poclog.ItemTPMAKChain, s.akChain, use, nil)
}

// checkTPMChain verifies a chain of a TPM's, once while it is valid, and what else its leaf must be.
func (s *subject) checkTPMChain(kind string, item poclog.Item, certs []*x509.Certificate, use poclog.RootUse, also func(leaf *x509.Certificate) error) error {
	file, roots, known := s.bundle.Get(item), s.roots(use), s.in.Known
	key := keyOf(kind, roots, file)
	if _, ok := known.get(key, s.in.Appraised); ok {
		return nil
	}
	if err := chain.Check(certs, roots, s.in.Appraised, nil); err != nil {
		return verify.Failf(verify.TPMAKChain, "%w", err)
	}
	if also != nil {
		if err := also(certs[0]); err != nil {
			return err
		}
	}
	known.put(key, validity(certs...), s.in.Appraised)
	known.put(keyOf("certificates", nil, file), always(certs), s.in.Appraised)
	return nil
}

// firmwarePCRs are the registers from 0 on that hold the firmware's story.
const firmwarePCRs = 8

// checkPCRs holds the values to what was signed, and wants the firmware's registers among them, in
// one bank for all: a quote that leaves them out, or shows them in another bank, says of a boot
// only that there was one, and two stories of it would not contradict (package rule, boot-forked).
func checkPCRs(s *subject) error {
	if err := s.tpmQuote.CheckPCRDigest(s.bundle.Get(poclog.ItemTPMPCRs)); err != nil {
		return err
	}
	for n := range firmwarePCRs {
		if _, ok := s.pcrs.Get(tpm.SHA256, n); !ok {
			return absentf("the TPM quote does not cover PCR %d in the SHA-256 bank: what booted is not shown", n)
		}
	}
	return nil
}

// checkAKInReportData ties the AK to the TD: REPORTDATA begins with the hash of its TPMT_PUBLIC.
func checkAKInReportData(s *subject) error {
	item := s.bundle.Get(poclog.ItemTPMAK)
	if len(item) == 0 {
		return lacksf(poclog.ItemTPMAK, "the bundle lacks the AK's TPMT_PUBLIC, whose hash REPORTDATA would carry")
	}
	sum := sha256.Sum256(item)
	if bytes.Equal(s.quote.Body.ReportData[:32], sum[:]) {
		return nil
	}
	if s.challenge == nil {
		return absentf("REPORTDATA does not begin with the AK's hash")
	}
	return verify.Failf(verify.BindAKInTEE, "REPORTDATA %x does not begin with the AK's hash %x", s.quote.Body.ReportData[:32], sum)
}

// checkTEEInTPM ties the TEE's quote to the TPM: what the TPM signed names it. Historical evidence
// was made under rules of its own.
func checkTEEInTPM(s *subject) error {
	sum := sha256.Sum256(s.tee())
	if bytes.Equal(s.tpmQuote.ExtraData, sum[:]) {
		return nil
	}
	if s.challenge == nil {
		return absentf("the TPM quote's extraData is not the hash of the TEE quote")
	}
	return verify.Failf(verify.BindTEEInTPM, "extraData %x of the TPM quote is not the hash of the TEE quote, %x", s.tpmQuote.ExtraData, sum)
}

func keyIdentity(kind string, key any) poclog.Identity {
	id, err := poclog.KeyIdentity(kind, key)
	if err != nil {
		return ""
	}
	return id
}

// claimTPM fills in what a TPM quote says.
func claimTPM(s *subject) {
	q := s.tpmQuote
	boot := q.Boot()
	s.entry.Boot = &boot
	t := &poclog.TPM{
		KeyType:   tpm.KeyType(s.ak()),
		PCRDigest: q.PCRDigest, ExtraData: q.ExtraData, Clock: q.Clock, ResetCount: q.ResetCount, RestartCount: q.RestartCount, Safe: q.Safe,
		Firmware: q.Firmware,
	}
	for _, sel := range q.Selection {
		bank := poclog.PCRBank{Alg: sel.Alg.String()}
		var firmware []byte
		for _, n := range sel.PCRs {
			bank.Selected = append(bank.Selected, uint8(n))
			if v, _ := s.pcrs.Get(sel.Alg, n); n < firmwarePCRs {
				firmware = append(firmware, v...)
			}
		}
		if len(bank.Selected) >= firmwarePCRs && bank.Selected[firmwarePCRs-1] == firmwarePCRs-1 {
			sum := poclog.Sum(firmware)
			bank.Firmware = &sum
		}
		t.PCRs = append(t.PCRs, bank)
	}
	s.entry.TPM = t
}
