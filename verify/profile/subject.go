package profile

import (
	"crypto"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/tpm"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// A subject is a bundle on its way through an appraisal. Everything is parsed before the first
// check is made; nothing of it is believed before the check that says so.
type subject struct {
	in         Input
	bundle     *poclog.Bundle
	name       poclog.Profile // the bundle's
	collateral *poclog.Collateral
	policy     *poclog.Policy               // nil while a bundle is looked at without a judge
	law        *law                         // of the policy
	chains     func(text []byte) *tdx.Chain // that were parsed before; may be nil

	quote     *tdx.Quote
	report    *snp.Report
	snpChain  *snp.Chain
	intel     *tdx.Collateral // authenticated; nil before tee.revocation or without collateral
	tpmQuote  *tpm.Quote
	akChain   []*x509.Certificate
	ekChain   []*x509.Certificate
	public    *tpm.Public
	hcl       *tpm.HCL
	challenge *poclog.Challenge
	pcrs      *tpm.PCRValues // as the quote selects them; believed after tpm.pcr-digest
	tpmLog    *tcglog.Log
	tdLog     *tcglog.Log
	observed  *observation     // nil before it was asked for
	gce       *tpm.GCEInstance // of the AK's certificate; nil before it was asked for

	launchBank tpm.Alg // whose PCR 17 and 18 hold the AK; 0 before tpm.ak-policy

	passed []verify.Check
	notes  map[verify.Check]string
	entry  poclog.Entry
}

// open parses the three files and refuses a policy whose roots are of another realm or whose rules
// it cannot keep.
func open(in Input) (*subject, error) {
	if in.Appraisal < 1 || in.Appraisal > poclog.Appraisal {
		return nil, verify.Failf(verify.Format, "appraisal specification %d: this software knows 1 to %d", in.Appraisal, poclog.Appraisal)
	}
	if in.Appraised.Nanosecond() != 0 || in.Appraised.Year() < 2000 || in.Appraised.Year() > 9999 {
		return nil, verify.Failf(verify.Format, "appraised at %s: want whole seconds after the year 2000", in.Appraised.Format(time.RFC3339Nano))
	}
	s := &subject{in: in, notes: make(map[verify.Check]string)}
	s.chains = s.knownTDXChain
	var err error
	if err := s.openPolicy(); err != nil {
		return nil, err
	}
	if s.bundle, err = parsedOr(in.Parsed.Bundle, poclog.ParseBundle, in.Bundle); err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	if len(in.Collateral) > 0 {
		if s.collateral, err = parsedOr(in.Parsed.Collateral, poclog.ParseCollateral, in.Collateral); err != nil {
			return nil, verify.Failf(verify.Format, "%w", err)
		}
	}
	return s, nil
}

// openPolicy parses the policy, which is the same for many bundles, once.
func (s *subject) openPolicy() (err error) {
	file := poclog.BlobOf(s.in.Policy)
	key := keyOf("policy", nil, file.SHA256[:])
	if v, ok := s.in.Known.get(key, s.in.Appraised); ok {
		s.law = v.(*law)
		s.policy = s.law.policy
		return nil
	}
	if s.policy, err = parsedOr(s.in.Parsed.Policy, poclog.ParsePolicy, s.in.Policy); err != nil {
		return verify.Failf(verify.Policy, "%w", err)
	}
	if err := CheckPolicy(s.policy); err != nil {
		return err
	}
	s.law = newLaw(s.policy, file)
	s.in.Known.put(key, always(s.law), s.in.Appraised)
	return nil
}

// A law is what a checked policy says, in the forms in which appraisals ask for it.
type law struct {
	policy     *poclog.Policy
	file       poclog.Blob                        // of the policy
	challenges func() (*tlogpolicy.Policy, error) // whose checkpoints may be a challenge
}

func newLaw(p *poclog.Policy, file poclog.Blob) *law {
	return &law{policy: p, file: file, challenges: sync.OnceValues(func() (*tlogpolicy.Policy, error) {
		return tlogpolicy.Parse([]byte(strings.Join(p.ChallengePolicy, "\n") + "\n"))
	})}
}

// parsedOr returns what a file says, which the caller may have parsed.
func parsedOr[T any](parsed *T, parse func([]byte) (*T, error), file []byte) (*T, error) {
	if parsed != nil {
		return parsed, nil
	}
	return parse(file)
}

// publishers verifies who submitted the bundle, before anything in it is looked at.
func (s *subject) publishers() error {
	listed, err := dsse.New(s.policy.Publishers)
	if err != nil {
		return err
	}
	s.entry.Publishers, err = listed.Verify(s.in.Envelope, s.in.Bundle)
	return err
}

// choose finds the profile by the items, and refuses items that it does not appraise.
func (s *subject) choose() (*profile, error) {
	name, err := Of(s.bundle)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(profiles, func(p *profile) bool { return p.name == name })
	if i < 0 {
		return nil, verify.Failf(verify.Profile, "profile %s: this software does not appraise it", name)
	}
	p := profiles[i]
	s.name = name
	for _, item := range p.required {
		if !s.bundle.Has(item) {
			return nil, verify.Failf(verify.Profile, "profile %s: item %s is missing", name, item)
		}
	}
	for _, item := range poclog.Items() {
		if s.bundle.Has(item) && !slices.Contains(p.required, item) && !slices.Contains(p.allowed, item) {
			return nil, verify.Failf(verify.Profile, "profile %s: item %s is not one of its own", name, item)
		}
	}
	return p, nil
}

// Of returns the profile that a bundle's items make, docs/format.md §3.
func Of(b *poclog.Bundle) (poclog.Profile, error) {
	tdxQuote, snp := b.Has(poclog.ItemTDXQuote), b.Has(poclog.ItemSNPReport)
	withTPM := b.Has(poclog.ItemTPMQuote) || b.Has(poclog.ItemTPMAK) || b.Has(poclog.ItemTPMAKChain) || b.Has(poclog.ItemTPMPCRs)
	switch {
	case tdxQuote == snp:
		return "", verify.Failf(verify.Profile, "want one TEE quote: a TDX quote or an SNP report")
	case b.Has(poclog.ItemHCLReport) && tdxQuote:
		return poclog.AzureTDXvTPM, nil
	case b.Has(poclog.ItemHCLReport):
		return poclog.AzureSNPvTPM, nil
	case tdxQuote && b.Has(poclog.ItemTPMEKChain):
		return poclog.BareMetalTDXTPM, nil
	case tdxQuote && withTPM:
		return poclog.GCETDXvTPM, nil
	case tdxQuote:
		return poclog.TDX, nil
	}
	return poclog.SNP, nil
}

// parse reads every item, or only some. A malformed one is a [verify.Format] error, whatever the
// checks.
func (s *subject) parse(only ...poclog.Item) error {
	for _, p := range []struct {
		item  poclog.Item
		parse func([]byte) error
	}{
		{poclog.ItemTDXQuote, func(b []byte) (err error) { s.quote, err = tdx.ParseQuoteKnowing(b, s.chains); return err }},
		{poclog.ItemSNPReport, func(b []byte) (err error) { s.report, err = snp.ParseReport(b); return err }},
		{poclog.ItemSNPCerts, func(b []byte) (err error) { s.snpChain, err = snp.ParseChain(b); return err }},
		{poclog.ItemTPMQuote, func(b []byte) (err error) { s.tpmQuote, err = tpm.ParseQuote(b); return err }},
		{poclog.ItemTPMPCRs, s.parsePCRs},
		{poclog.ItemTCGLog, func(b []byte) (err error) { s.tpmLog, err = tcglog.Parse(tcglog.TPM, b); return err }},
		{poclog.ItemCCEL, func(b []byte) (err error) { s.tdLog, err = tcglog.Parse(tcglog.CCEL, b); return err }},
		{poclog.ItemTPMAK, func(b []byte) (err error) { s.public, err = tpm.ParsePublic(b); return err }},
		{poclog.ItemTPMAKChain, func(b []byte) (err error) { s.akChain, err = s.certificates(b); return err }},
		{poclog.ItemTPMEKChain, func(b []byte) (err error) { s.ekChain, err = s.certificates(b); return err }},
		{poclog.ItemHCLReport, func(b []byte) (err error) { s.hcl, err = tpm.ParseHCL(b); return err }},
		{poclog.ItemChallenge, func(b []byte) (err error) {
			s.challenge, err = parsedOr(s.in.Parsed.Challenge, poclog.ParseChallenge, b)
			return err
		}},
	} {
		if !s.bundle.Has(p.item) || len(only) > 0 && !slices.Contains(only, p.item) {
			continue
		}
		if err := p.parse(s.bundle.Get(p.item)); err != nil {
			if _, ok := verify.CheckOf(err); ok {
				return err
			}
			return verify.Failf(verify.Format, "%s: %w", p.item, err)
		}
	}
	return nil
}

// certificates parses a TPM's chain, unless one of the same bytes was verified before.
func (s *subject) certificates(item []byte) ([]*x509.Certificate, error) {
	if s.in.Known != nil {
		if v, ok := s.in.Known.get(keyOf("certificates", nil, item), s.in.Appraised); ok {
			return v.([]*x509.Certificate), nil
		}
	}
	return tpm.ParseChain(item)
}

func (s *subject) parsePCRs(item []byte) (err error) {
	if s.tpmQuote == nil {
		return verify.Failf(verify.Profile, "PCR values without a TPM quote that selects them")
	}
	s.pcrs, err = tpm.ParsePCRs(s.tpmQuote, item)
	return err
}

// tee returns the item of the TEE's quote.
func (s *subject) tee() []byte {
	if s.report != nil {
		return s.bundle.Get(poclog.ItemSNPReport)
	}
	return s.bundle.Get(poclog.ItemTDXQuote)
}

// ak returns the certified attestation key.
func (s *subject) ak() crypto.PublicKey { return s.akChain[0].PublicKey }

func (s *subject) roots(use poclog.RootUse) map[[32]byte]bool { return s.policy.RootsFor(use) }
