package importer

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

// States of a [Prospect].
const (
	Carried = "carried" // the bundle has all that the check takes of it
	Lost    = "lost"    // it has not: an entry would name the check as absent
	Refused = "refused" // what it has contradicts itself: whoever judges it refuses the bundle
)

// A Prospect says of one check of a profile whether a bundle can carry it. It is no verdict: roots, collateral and policy are the judge's.
type Prospect struct {
	Check verify.Check `json:"check"`
	State string       `json:"state"`
	Why   string       `json:"why,omitempty"` // what is missing or wrong; of a carried check, what the judge brings
	How   string       `json:"how,omitempty"` // how to take evidence that carries it; of lost and refused ones only
}

// LevelNone is the level of a bundle that no judge accepts at any.
const LevelNone = -1

// A rule looks for what a check takes.
type rule struct {
	check    verify.Check
	optional bool // level 2 does not need it
	look     func(*parts) error
	judge    string // what the judge brings
	how      string
}

// A lacking says what is not there, as opposed to what is wrong, and how to get it if the rule's own way is another.
type lacking struct{ why, how string }

func (l lacking) Error() string { return l.why }

// parts are a bundle's items, parsed as far as they are there.
type parts struct {
	bundle    *poclog.Bundle
	profile   poclog.Profile
	padded    []byte // the TD quote with its padding, if it had any
	quote     *tdx.Quote
	report    *snp.Report
	snpChain  *snp.Chain
	tpmQuote  *tpm.Quote
	chain     []*x509.Certificate
	ekChain   []*x509.Certificate
	public    *tpm.Public
	hcl       *tpm.HCL
	tpmLog    *tcglog.Log
	tdLog     *tcglog.Log
	challenge *poclog.Challenge
}

// parts parses the bundle. An item that does not parse is an error: no importer lets one in.
func (im *Import) parts() (*parts, error) {
	p := &parts{bundle: im.Bundle, profile: im.Profile, padded: im.padded}
	for item, parse := range map[poclog.Item]func([]byte) error{
		poclog.ItemTDXQuote:   func(b []byte) (err error) { p.quote, err = tdx.ParseQuote(b); return err },
		poclog.ItemSNPReport:  func(b []byte) (err error) { p.report, err = snp.ParseReport(b); return err },
		poclog.ItemSNPCerts:   func(b []byte) (err error) { p.snpChain, err = snp.ParseChain(b); return err },
		poclog.ItemTPMQuote:   func(b []byte) (err error) { p.tpmQuote, err = tpm.ParseQuote(b); return err },
		poclog.ItemTPMAKChain: func(b []byte) (err error) { p.chain, err = tpm.ParseChain(b); return err },
		poclog.ItemTPMEKChain: func(b []byte) (err error) { p.ekChain, err = tpm.ParseChain(b); return err },
		poclog.ItemTPMAK:      func(b []byte) (err error) { p.public, err = tpm.ParsePublic(b); return err },
		poclog.ItemHCLReport:  func(b []byte) (err error) { p.hcl, err = tpm.ParseHCL(b); return err },
		poclog.ItemTCGLog:     func(b []byte) (err error) { p.tpmLog, err = tcglog.Parse(tcglog.TPM, b); return err },
		poclog.ItemCCEL:       func(b []byte) (err error) { p.tdLog, err = tcglog.Parse(tcglog.CCEL, b); return err },
		poclog.ItemChallenge:  func(b []byte) (err error) { p.challenge, err = poclog.ParseChallenge(b); return err },
	} {
		if !im.Bundle.Has(item) {
			continue
		}
		if err := parse(im.Bundle.Get(item)); err != nil {
			return nil, fmt.Errorf("item %s: %w", item, err)
		}
	}
	return p, nil
}

// Prospects returns what can become of each check of the import's profile, in the order of docs/format.md §8, and the level that a judge can give
// at most: 2, 0 or [LevelNone].
func (im *Import) Prospects() (list []Prospect, level int, err error) {
	p, err := im.parts()
	if err != nil {
		return nil, LevelNone, err
	}
	rules, ok := prospects[im.Profile]
	if !ok {
		return nil, LevelNone, fmt.Errorf("profile %s: nothing is known of its checks", im.Profile)
	}
	level = poclog.LevelBound
	if im.Profile.ChipOnly() {
		level = poclog.LevelChip
	}
	for _, r := range rules {
		out := Prospect{Check: r.check, State: Carried, Why: r.judge}
		if err := r.look(p); err != nil {
			out = Prospect{Check: r.check, State: Refused, Why: err.Error(), How: r.how}
			var v *verify.Error
			if errors.As(err, &v) {
				out.Why = v.Detail
			}
			var l lacking
			if errors.As(err, &l) {
				out.State, out.How = Lost, cmp.Or(l.how, r.how)
			}
		}
		switch {
		case out.State == Refused:
			level = LevelNone
		case out.State == Lost && !r.optional:
			level = min(level, poclog.LevelChip)
		}
		list = append(list, out)
	}
	for _, item := range needed[im.Profile] {
		if !im.Bundle.Has(item) {
			level = LevelNone
		}
	}
	return list, level, nil
}

// needed are the items without which no judge looks at a bundle.
var needed = map[poclog.Profile][]poclog.Item{
	poclog.TDX:        {poclog.ItemTDXQuote},
	poclog.GCETDXvTPM: {poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain},
	poclog.BareMetalTDXTPM: {
		poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAK, poclog.ItemTPMAKChain, poclog.ItemTPMEKChain,
	},
	poclog.AzureTDXvTPM: {poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport},
	poclog.AzureSNPvTPM: {
		poclog.ItemSNPReport, poclog.ItemSNPCerts, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport,
	},
	poclog.SNP: {poclog.ItemSNPReport, poclog.ItemSNPCerts},
}

// How to take what is missing.
const (
	howQuote     = "take a TD quote: the kernel gives it under /sys/kernel/config/tsm/report"
	howTPM       = "take a quote of the vTPM"
	howChain     = "give the certificates that complete the AK's chain up to its root, as files in PEM"
	howAK        = "give the AK's TPMT_PUBLIC: --ak"
	howChallenge = "fetch a challenge with `poclog challenge` before any quote is taken, put its value into the quote, and give it: --challenge"
	howOrder     = "take the TEE's quote first, and have the TPM quote its SHA-256, without padding, as extraData"
	howLogs      = "give both logs, --tcg-log /sys/kernel/security/tpm0/binary_bios_measurements and --ccel /sys/firmware/acpi/tables/data/CCEL, and a quote over " +
		"PCRs 0 to 9 and 14 of the SHA-384 bank"
)

func teeRules() []rule {
	const intel = "by Intel's collateral for this platform"
	return []rule{
		{check: verify.TEESignature, look: (*parts).needQuote, how: howQuote},
		{check: verify.TEEChain, look: (*parts).needQuote, how: howQuote},
		{check: verify.TEERevocation, look: (*parts).needQuote, how: howQuote, judge: intel},
		{check: verify.TEETCB, look: (*parts).needQuote, how: howQuote, judge: intel},
		{check: verify.TEENoDebug, how: "start the VM without debugging", look: func(p *parts) error {
			if err := p.needQuote(); err != nil {
				return err
			}
			return p.quote.CheckNoDebug()
		}},
		{check: verify.TEELaunch, look: (*parts).needQuote, how: howQuote, judge: "if the provider's endorsement or the policy lists the launch measurement"},
	}
}

// azureTPMRules are tpmRules where nothing else wants the firmware's registers.
func azureTPMRules() []rule {
	rules := tpmRules()
	rules[1].look = func(p *parts) error {
		if err := p.pcrDigest(); err != nil {
			return err
		}
		return p.firmwarePCRs()
	}
	return rules
}

func tpmRules() []rule {
	return []rule{
		{check: verify.TPMSignature, look: (*parts).signature, how: "take quote and certificate from one TPM"},
		{check: verify.TPMPCRDigest, look: (*parts).pcrDigest, how: "take the quote again: registers changed while they were read"},
		{check: verify.TPMAKTemplate, look: (*parts).akTemplate, how: "use the AK that the provider certified"},
		{check: verify.TPMAKChain, look: (*parts).needChain, how: howChain, judge: "if the policy lists the chain's root"},
	}
}

// prospects are the rules of each profile, in the order of docs/format.md §8.
var prospects = map[poclog.Profile][]rule{
	poclog.BareMetalTDXTPM: append(append(teeRules(), tpmRules()...), bareMetalRules...),
	poclog.SNP:             append(snpRules(), rule{check: verify.FreshChallenge, optional: true, look: (*parts).fresh, how: howChallenge}),
	poclog.AzureSNPvTPM:    azureSNPRules(),
	poclog.TDX:             append(teeRules(), rule{check: verify.FreshChallenge, optional: true, look: (*parts).fresh, how: howChallenge}),
	poclog.GCETDXvTPM: append(append(teeRules(), tpmRules()...),
		rule{check: verify.TPMTechnology, look: (*parts).technology, how: "take the evidence in a TDX VM of Compute Engine; " + howLogs},
		rule{check: verify.BindAKInTEE, look: (*parts).akInReportData, how: howChallenge + "; REPORTDATA is what it prints with --ak"},
		rule{check: verify.BindTEEInTPM, look: (*parts).teeInTPM, how: howOrder},
		rule{check: verify.BindPCRRTMR, look: (*parts).logs, how: howLogs},
		rule{check: verify.PlaceCert, look: (*parts).gceInstance, how: "sign with the AK that the provider certified for this instance (gceAK)"},
		rule{check: verify.PlaceRegistry, optional: true, look: (*parts).needQuote, how: howQuote, judge: "the judge asks the provider"},
		rule{check: verify.PlaceAgree, look: (*parts).mrOwner, how: "sign with the AK that the provider certified for this instance (gceAK)"},
		rule{check: verify.FreshChallenge, look: (*parts).fresh, how: howChallenge},
	),
	poclog.AzureTDXvTPM: append(append(teeRules(), azureTPMRules()...),
		rule{check: verify.BindAKInTEE, look: (*parts).hclReport, how: "take HCL report, TD quote and TPM quote in one boot of one VM"},
		rule{check: verify.BindTEEInTPM, look: (*parts).teeInTPM, how: howOrder},
		rule{check: verify.BindPCRRTMR, optional: true, look: never("Azure leaves the RTMRs zero"), how: "no way is known"},
		rule{check: verify.PlaceCert, optional: true, look: never("Azure certifies no place"), how: "no way is known"},
		rule{check: verify.PlaceRegistry, optional: true, look: never("Azure publishes no register of its chips"), how: "no way is known"},
		rule{check: verify.PlaceAgree, look: (*parts).needChain, how: howChain},
		rule{check: verify.FreshChallenge, look: (*parts).fresh, how: howChallenge},
	),
}

func never(why string) func(*parts) error { return func(*parts) error { return lacking{why: why} } }

func (p *parts) needQuote() error {
	if p.quote == nil {
		return lacking{"there is no TDX quote: nothing shows a genuine chip", howQuote}
	}
	return nil
}

func (p *parts) needChain() error {
	if p.chain == nil {
		return lacking{"there is no chain of the AK's certificate up to a root: nobody vouches for the TPM", howChain}
	}
	return nil
}

func (p *parts) needTPM() error {
	if p.tpmQuote == nil {
		return lacking{"there is no TPM quote", howTPM}
	}
	return nil
}

func (p *parts) signature() error {
	if err := p.needTPM(); err != nil {
		return err
	}
	if err := p.needChain(); err != nil {
		return err
	}
	return p.tpmQuote.Verify(p.chain[0].PublicKey)
}

func (p *parts) pcrDigest() error {
	if err := p.needTPM(); err != nil {
		return err
	}
	_, err := tpm.CheckPCRs(p.tpmQuote, p.bundle.Get(poclog.ItemTPMPCRs))
	return err
}

// firmwarePCRs wants PCR 0 to 7 in one bank of SHA-256 or SHA-384.
func (p *parts) firmwarePCRs() error {
	for _, s := range p.tpmQuote.Selection {
		if slices.Contains(tpm.LaunchBanks, s.Alg) && len(s.PCRs) >= 8 && s.PCRs[7] == 7 {
			return nil
		}
	}
	return lacking{"the TPM quote does not cover PCR 0 to 7: what booted is not shown", "quote PCR 0 to 7 in one bank of SHA-256 or SHA-384"}
}

func (p *parts) akTemplate() error {
	switch {
	case p.public == nil:
		return lacking{"there is no TPMT_PUBLIC of the AK: whether it signs only what the TPM made is not shown", howAK}
	case p.tpmQuote == nil:
		return p.needTPM()
	case p.chain == nil:
		return p.needChain()
	}
	return tpm.CheckAKTemplate(p.public, p.tpmQuote, p.chain[0].PublicKey)
}

func (p *parts) technology() error {
	if p.tpmLog == nil {
		return lacking{"there is no event log of the TPM", howLogs}
	}
	if err := p.needTPM(); err != nil {
		return err
	}
	pcrs, err := tpm.ParsePCRs(p.tpmQuote, p.bundle.Get(poclog.ItemTPMPCRs))
	if err != nil {
		return err
	}
	if err := p.tpmLog.CheckPCR(pcrs, 0); err != nil {
		return err
	}
	kind, err := p.tpmLog.GCETechnology()
	if err == nil && kind != tcglog.GCETechnologyTDX {
		return fmt.Errorf("PCR 0 says technology %d: want %d (TDX)", kind, tcglog.GCETechnologyTDX)
	}
	return err
}

// historical makes what is wrong with evidence without a challenge a lack: it was made under other rules.
func (p *parts) historical(why string) error {
	if p.challenge == nil {
		return lacking{why: why}
	}
	return errors.New(why)
}

func (p *parts) akInReportData() error {
	if err := p.needQuote(); err != nil {
		return err
	}
	if p.public == nil {
		return lacking{"there is no TPMT_PUBLIC of the AK, whose hash REPORTDATA would carry", howAK}
	}
	if sum := sha256.Sum256(p.bundle.Get(poclog.ItemTPMAK)); !bytes.Equal(p.quote.Body.ReportData[:32], sum[:]) {
		return p.historical("REPORTDATA does not begin with the SHA-256 of the AK's TPMT_PUBLIC: the TD does not vouch for this TPM")
	}
	return nil
}

func (p *parts) hclReport() error {
	if err := p.needQuote(); err != nil {
		return err
	}
	if p.hcl == nil {
		return lacking{why: "there is no HCL report"}
	}
	sum := sha256.Sum256(p.hcl.JSON)
	if !bytes.Equal(p.quote.Body.ReportData[:], append(sum[:], make([]byte, 32)...)) {
		return errors.New("REPORTDATA is not the hash of the HCL report's JSON")
	}
	if err := p.quote.CheckReport(p.hcl.HardwareReport); err != nil {
		return fmt.Errorf("the HCL report's TDREPORT: %w", err)
	}
	if p.chain != nil && !sameKey(p.hcl.AK, p.chain[0].PublicKey) {
		return errors.New("the HCL report names another AK than the certificate")
	}
	return p.needChain()
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func (p *parts) teeInTPM() error {
	if err := p.needTEE(); err != nil {
		return err
	}
	if err := p.needTPM(); err != nil {
		return err
	}
	if sum := sha256.Sum256(teeItem(p.bundle)); bytes.Equal(p.tpmQuote.ExtraData, sum[:]) {
		return nil
	}
	if sum := sha256.Sum256(p.padded); len(p.padded) > 0 && bytes.Equal(p.tpmQuote.ExtraData, sum[:]) {
		return p.historical("the TPM quote's extraData is the SHA-256 of the TD quote with its padding, which a bundle does not hold")
	}
	return p.historical("the TPM quote's extraData is not the SHA-256 of the TEE's quote: nothing shows that the TPM saw it")
}

// needTEE wants the quote of whichever TEE the profile is of.
func (p *parts) needTEE() error {
	if p.profile == poclog.AzureSNPvTPM || p.profile == poclog.SNP {
		return p.needReport()
	}
	return p.needQuote()
}

// teeItem is the item that a TPM quotes: the SNP report, or the TD quote.
func teeItem(b *poclog.Bundle) []byte {
	if b.Has(poclog.ItemSNPReport) {
		return b.Get(poclog.ItemSNPReport)
	}
	return b.Get(poclog.ItemTDXQuote)
}

func (p *parts) logs() error {
	if p.tpmLog == nil || p.tdLog == nil {
		return lacking{"an event log is missing: the TPM's, the TD's (CCEL), or both", howLogs}
	}
	if err := p.needQuote(); err != nil {
		return err
	}
	if err := p.needTPM(); err != nil {
		return err
	}
	pcrs, err := tpm.ParsePCRs(p.tpmQuote, p.bundle.Get(poclog.ItemTPMPCRs))
	if err != nil {
		return err
	}
	if err := p.tpmLog.CheckPCRs(pcrs); err != nil {
		return err
	}
	if err := p.tdLog.CheckRTMRs(&p.quote.Body.RTMRs); err != nil {
		return err
	}
	_, err = tcglog.CrossCheck(p.tpmLog, p.tdLog)
	return err
}

func (p *parts) mrOwner() error {
	if err := p.needQuote(); err != nil {
		return err
	}
	if err := p.needChain(); err != nil {
		return err
	}
	g, err := tpm.ParseGCEInstance(p.chain[0])
	if owner := p.quote.Body.MROwner; err == nil && owner != [48]byte{} && owner != g.PZID() {
		return errors.New("MROWNER is not the hash of the AK certificate's instance")
	}
	return err
}

func (p *parts) gceInstance() error {
	if err := p.needChain(); err != nil {
		return err
	}
	g, err := tpm.ParseGCEInstance(p.chain[0])
	if err == nil && !g.Production {
		return errors.New("the AK certificate is not one of a production instance")
	}
	return err
}

func (p *parts) fresh() error {
	if p.challenge == nil {
		return lacking{why: "there is no challenge of a log: the evidence is historical, and has no time"}
	}
	if p.challenge.Profile != p.profile {
		return fmt.Errorf("the challenge is for profile %s, the evidence of %s", p.challenge.Profile, p.profile)
	}
	nonce, have := p.challenge.Nonce(), make([]byte, 32)
	azure := p.profile == poclog.AzureTDXvTPM || p.profile == poclog.AzureSNPvTPM
	switch {
	case azure && p.hcl != nil:
		if want := p.challenge.HCLUserData(); p.hcl.UserData == want {
			return nil
		}
	case !azure && p.quote != nil:
		have = p.quote.Body.ReportData[32:]
	case !azure && p.report != nil:
		have = p.report.ReportData[32:]
	}
	if !bytes.Equal(have, nonce[:]) {
		return fmt.Errorf("the evidence does not carry the challenge's nonce %x", nonce)
	}
	return nil
}
