package metal

import (
	"crypto/sha256"

	"github.com/poclog/poclog"
)

// Prove answers a challenge with a bundle of profile baremetal-tdx-tpm: the TD's quote names AK and
// nonce, the TPM's quote names the TD's quote. Without a challenge the nonce is zero.
func (m *Machine) Prove(challenge *poclog.Challenge) (*poclog.Bundle, error) {
	b := new(poclog.Bundle)
	var reportData [64]byte
	ak := sha256.Sum256(m.TPM.Public)
	copy(reportData[:], ak[:])
	if challenge != nil {
		item, err := challenge.Marshal()
		if err != nil {
			return nil, err
		}
		b.Set(poclog.ItemChallenge, item)
		reportData = challenge.ReportData(m.TPM.Public)
	}
	quote := m.Chip.Quote(m.TD(reportData))
	sum := sha256.Sum256(quote)
	item, values, err := m.TPM.Quote(sum[:])
	if err != nil {
		return nil, err
	}
	for name, value := range map[poclog.Item][]byte{
		poclog.ItemTDXQuote: quote, poclog.ItemTPMQuote: item, poclog.ItemTPMPCRs: values, poclog.ItemTPMAK: m.TPM.Public, poclog.ItemTPMAKChain: m.AKChain,
		poclog.ItemTPMEKChain: m.EKChain, poclog.ItemTCGLog: m.TPM.Boot.TCGLog, poclog.ItemCCEL: m.Guest.CCEL,
	} {
		b.Set(name, value)
	}
	return b, nil
}
