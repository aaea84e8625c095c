package importer

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/verify/tpm"
)

// quoteTries is how often registers may change between quote and reading.
const quoteTries = 3

// Quote has a key quote a selection of registers over extraData (at most 64 bytes), and reads them:
// the values are those that were signed, concatenated in the selection's order, as the items
// tpm-quote and tpm-pcrs hold them (docs/format.md §3).
func Quote(t transport.TPM, key tpm2.AuthHandle, extraData []byte, selection []tpm.PCRSelection) (item, values []byte, err error) {
	for range quoteTries {
		rsp, err := tpm2.Quote{
			SignHandle: key, QualifyingData: tpm2.TPM2BData{Buffer: extraData}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: SelectPCRs(selection),
		}.Execute(t)
		if err != nil {
			flush(t, key.Auth)
			return nil, nil, fmt.Errorf("TPM quote: %w", err)
		}
		item = append(tpm2.Marshal(rsp.Quoted), tpm2.Marshal(rsp.Signature)...)
		if values, err = ReadPCRs(t, selection); err != nil {
			return nil, nil, err
		}
		q, err := tpm.ParseQuote(item)
		if err != nil {
			return nil, nil, err
		}
		if _, err := tpm.CheckPCRs(q, values); err == nil {
			return item, values, nil
		}
	}
	return nil, nil, fmt.Errorf("PCRs changed between quote and reading, %d times", quoteTries)
}

// flush ends a session that a failed command left: go-tpm ends it where the command itself failed,
// and not where the session's policy or the transport did. A TPM without a resource manager holds
// three.
func flush(t transport.TPM, s tpm2.Session) {
	if s == nil {
		return
	}
	if h := s.Handle(); h>>24 == 0x02 || h>>24 == 0x03 { // TPM_HT_HMAC_SESSION, TPM_HT_POLICY_SESSION
		_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(t) // it may have ended
	}
}

// SelectPCRs is a selection as commands of a TPM take it.
func SelectPCRs(selection []tpm.PCRSelection) tpm2.TPMLPCRSelection {
	var out tpm2.TPMLPCRSelection
	for _, s := range selection {
		var pcrs []uint
		for _, n := range s.PCRs {
			pcrs = append(pcrs, uint(n))
		}
		out.PCRSelections = append(out.PCRSelections, tpm2.TPMSPCRSelection{Hash: tpm2.TPMAlgID(s.Alg), PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)})
	}
	return out
}

// ReadPCRs reads a selection's registers, concatenated in its order.
func ReadPCRs(t transport.TPM, selection []tpm.PCRSelection) (values []byte, err error) {
	for _, s := range selection {
		for rest := s.PCRs; len(rest) > 0; {
			n := min(8, len(rest)) // a TPM gives eight at a time
			rsp, err := tpm2.PCRRead{PCRSelectionIn: SelectPCRs([]tpm.PCRSelection{{Alg: s.Alg, PCRs: rest[:n]}})}.Execute(t)
			if err != nil {
				return nil, fmt.Errorf("read PCR %v of bank %s: %w", rest[:n], s.Alg, err)
			}
			if got := len(rsp.PCRValues.Digests); got != n {
				return nil, fmt.Errorf("read PCR %v of bank %s: the TPM gives %d values", rest[:n], s.Alg, got)
			}
			for _, d := range rsp.PCRValues.Digests {
				values = append(values, d.Buffer...)
			}
			rest = rest[n:]
		}
	}
	return values, nil
}

// Banks returns the PCR banks that a TPM has switched on and that bundles can hold, in the TPM's
// order (TPM_CAP_PCRS).
func Banks(t transport.TPM) ([]tpm.Alg, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("PCR banks: %w", err)
	}
	list, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return nil, fmt.Errorf("PCR banks: %w", err)
	}
	var banks []tpm.Alg
	for _, s := range list.PCRSelections {
		on := false
		for _, octet := range s.PCRSelect {
			on = on || octet != 0
		}
		if alg := tpm.Alg(s.Hash); on && alg.Hash() != 0 {
			banks = append(banks, alg)
		}
	}
	return banks, nil
}
