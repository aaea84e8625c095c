package metal

import (
	"crypto/sha256"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/gce"
)

// Prove answers a challenge with a bundle of profile baremetal-tdx-tpm: the TD's quote names AK and
// nonce, the TPM's quote names the TD's quote. Without a challenge the nonce is zero.
func (m *Machine) Prove(challenge *poclog.Challenge) (*poclog.Bundle, error) {
	var reportData [64]byte
	ak := sha256.Sum256(m.TPM.Public)
	copy(reportData[:], ak[:])
	if challenge != nil {
		reportData = challenge.ReportData(m.TPM.Public)
	}
	quote := m.Chip.Quote(m.TD(reportData))
	sum := sha256.Sum256(quote)
	item, values, err := m.TPM.Quote(sum[:])
	if err != nil {
		return nil, err
	}
	return (&gce.Evidence{
		TDXQuote: quote, TPMQuote: item, PCRs: values, AK: m.TPM.Public, AKChain: m.AKChain, EKChain: m.EKChain, TCGLog: m.TPM.Boot.TCGLog, CCEL: m.Guest.CCEL,
		Challenge: challenge,
	}).Bundle()
}
