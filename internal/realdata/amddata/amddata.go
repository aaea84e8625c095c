// Package amddata holds evidence of real processors of AMD's, which comes with the module
// go-sev-guest. It is apart from package realdata, so that tests of what reads such evidence can
// use it.
package amddata

import (
	"encoding/pem"
	"time"

	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/poclog/poclog"
)

// Time is a time at which the certificates of SNP verify.
var Time = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

// Report returns the report of a Milan processor and its certificates as items of a bundle: both
// come with the module go-sev-guest.
func Report() (report, certs []byte) {
	return testdata.AttestationBytes, append(append([]byte(nil), testdata.VcekBytes...), ders(trust.AskArkMilanVcekBytes)...)
}

// Bundle is a bundle of profile snp of what [Report] returns.
func Bundle() *poclog.Bundle {
	b := new(poclog.Bundle)
	report, certs := Report()
	b.Set(poclog.ItemSNPReport, report)
	b.Set(poclog.ItemSNPCerts, certs)
	return b
}

// Chains are AMD's CAs and roots by product and kind of key, as its Key Distribution Service
// publishes them: DER, concatenated.
func Chains() map[string][]byte {
	all := make(map[string][]byte)
	for name, text := range map[string][]byte{
		"Milan vcek": trust.AskArkMilanVcekBytes, "Milan vlek": trust.AskArkMilanVlekBytes, "Genoa vcek": trust.AskArkGenoaVcekBytes,
		"Genoa vlek": trust.AskArkGenoaVlekBytes, "Turin vcek": trust.AskArkTurinVcekBytes, "Turin vlek": trust.AskArkTurinVlekBytes,
	} {
		all[name] = ders(text)
	}
	return all
}

// ders decodes all blocks of a PEM text.
func ders(text []byte) (all []byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		all = append(all, block.Bytes...)
	}
}
