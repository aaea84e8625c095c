package snp

import (
	"crypto/x509"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	gsnp "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/poclog/poclog/verify"
)

// SecondOpinion asks go-sev-guest whether it accepts chain and signature at a time too. Failures
// are [verify.SecondOpinion]. It is no part of an appraisal, which must be the same with every
// version of the library.
//
// The library (v0.15.0) judges certificates of version 0, Milan's and Genoa's. Of Turin's it knows
// neither the FMC's version nor identifiers of 8 bytes: there it is asked about the signature
// alone. Processors of which it does not know the model, such as Zen 4c's, it calls unknown: they
// are given the same root. What no version of it does is left to this package: revocation of a
// VCEK, debug, VMPL, HWID and TCB versions.
func SecondOpinion(r *Report, c *Chain, at time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = verify.Failf(verify.SecondOpinion, "go-sev-guest fails on the report: %.200v", p)
		}
	}()
	if c.version != 0 {
		if err := gsnp.SnpReportSignature(r.raw, c.Leaf); err != nil {
			return verify.Failf(verify.SecondOpinion, "go-sev-guest refuses the report: %w", err)
		}
		return nil
	}
	report, err := abi.ReportToProto(r.raw)
	if err != nil {
		return verify.Failf(verify.SecondOpinion, "go-sev-guest refuses the report: %w", err)
	}
	// Fresh values for each call: the library writes to them.
	root := trust.AMDRootCertsProduct(string(c.Product))
	root.ProductCerts = &trust.ProductCerts{Ark: c.Root}
	chain := &sevsnp.CertificateChain{AskCert: c.CA.Raw, ArkCert: c.Root.Raw}
	if c.Signer == VLEK {
		root.ProductCerts.Asvk, chain.VlekCert = c.CA, c.Leaf.Raw
	} else {
		root.ProductCerts.Ask, chain.VcekCert = c.CA, c.Leaf.Raw
	}
	trusted := make(map[string][]*trust.AMDRootCerts)
	for _, line := range []string{string(Milan), string(Genoa), string(Turin), "Unknown"} {
		trusted[line] = []*trust.AMDRootCerts{root}
	}
	options := &gsnp.Options{DisableCertFetching: true, Now: at, TrustedRoots: trusted, Getter: noGetter{}}
	if err := gsnp.SnpAttestation(&sevsnp.Attestation{Report: report, CertificateChain: chain}, options); err != nil {
		return verify.Failf(verify.SecondOpinion, "go-sev-guest refuses the report: %w", err)
	}
	return nil
}

// noGetter is there so that nothing is ever fetched.
type noGetter struct{}

func (noGetter) Get(string) ([]byte, error) { return nil, x509.ErrUnsupportedAlgorithm }
