package attack

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// newAzureWorld builds the world of a profile with Azure's cloud, whose VM runs on a chip of
// Intel's or on one of AMD's product.
func newAzureWorld(p poclog.Profile, product string) *World {
	w := newWorld(p)
	if product == "" {
		w.Azure = azure.New("profile test", start)
	} else {
		w.Azure = azure.New("profile test", start, product)
	}
	w.Azure.Advance(Now.Sub(start))
	w.Challenge = w.ChallengeAt(Now.Add(-challengeAge))
	w.Policy = w.Azure.Policy(challengePolicy)
	w.AzureVM = w.Azure.NewHost(w.Azure.Regions[0], product).NewVM(azure.VMConfig{})
	if product == "" {
		w.Collateral = w.Azure.Intel.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
	} else {
		w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: Now.AddDate(0, 0, -3)})...)
	}
	if p == poclog.SNP {
		w.Policy.Admit = []poclog.Admission{{Profile: p, Level: poclog.LevelChip, Historical: true}}
	}
	return w
}

// maker is AMD's that made the honest VM's chip.
func (w *World) maker() *amd.Maker { return w.Azure.AMD[w.product()] }

func (w *World) product() string {
	for product := range w.Azure.AMD {
		return product
	}
	return ""
}

// rented is another VM of the cloud's, on a host of its own.
func (w *World) rented() *azure.VM {
	return w.Azure.NewHost(w.Azure.Regions[0], w.product()).NewVM(azure.VMConfig{})
}

// homeHost is a genuine chip at an attacker's home.
func (w *World) homeHost() *azure.Host {
	if m := w.maker(); m != nil {
		return &azure.Host{SNP: m.NewChip("at home", [8]byte{})}
	}
	return &azure.Host{TDX: w.home()}
}

// An AzureMix is evidence put together: whose chip, whose TPM, what the paravisor says. Zero fields
// are the honest VM's.
type AzureMix struct {
	Host   *azure.Host
	TPM    *gce.TPM
	Claims func(*azure.Claims)
	TD     func(*chip.TD)
	Guest  func(*amd.Guest)
	Loaded *amd.CloudKey      // which signs in place of the chip's own key
	Hashed []byte             // the JSON whose hash the chip's report carries, if not that of the HCL report
	TEE    func([]byte)       // changes the TEE's quote before the TPM covers it
	Sealed []byte             // the TPM's extraData, if not the hash of the TEE's quote
	PCRs   []tpm.PCRSelection // which the TPM quotes; nil: azure.Selection
}

// Compose puts evidence of an Azure VM together; for the profile snp, the report alone, which
// carries the nonce itself.
func (w *World) Compose(m AzureMix) *poclog.Bundle {
	m.Host, m.TPM = cmp.Or(m.Host, w.AzureVM.Host), cmp.Or(m.TPM, w.AzureVM.TPM)
	claims := w.AzureVM.Claims(w.Challenge.HCLUserData())
	claims.AK, _ = m.TPM.AK.Public().(*rsa.PublicKey)
	if m.Claims != nil {
		m.Claims(&claims)
	}
	json := claims.JSON()
	if m.Hashed == nil {
		m.Hashed = json
	}
	b := new(poclog.Bundle)
	tee, hcl := w.report(b, m, json)
	b.Set(poclog.ItemChallenge, must.Get(w.Challenge.Marshal()))
	if w.Profile == poclog.SNP {
		return b
	}
	if m.PCRs == nil {
		m.PCRs = azure.Selection
	}
	quote, values := must.Both(m.TPM.QuoteOf(sealed(m.Sealed, tee), Now, m.PCRs))
	for item, value := range map[poclog.Item][]byte{
		poclog.ItemHCLReport: hcl, poclog.ItemTPMQuote: quote, poclog.ItemTPMPCRs: values, poclog.ItemTPMAK: m.TPM.Public, poclog.ItemTPMAKChain: m.TPM.Chain,
	} {
		b.Set(item, value)
	}
	return b
}

// report has the chip report, and puts the result into the bundle and into an HCL report.
func (w *World) report(b *poclog.Bundle, m AzureMix, json []byte) (tee, hcl []byte) {
	rd := azure.ReportData(m.Hashed)
	if w.Profile == poclog.SNP {
		rd = w.Challenge.ReportData(nil)
	}
	change := func(tee []byte) {
		if m.TEE != nil {
			m.TEE(tee)
		}
	}
	if m.Host.TDX != nil {
		td := w.AzureVM.TD(rd)
		if m.TD != nil {
			m.TD(&td)
		}
		tee = m.Host.TDX.Quote(td)
		change(tee)
		b.Set(poclog.ItemTDXQuote, tee)
		return tee, azure.HCL(tpm.HCLTypeTDX, td.Report(), json)
	}
	g := w.AzureVM.Guest(rd)
	if m.Guest != nil {
		m.Guest(&g)
	}
	tee = m.Host.SNP.Report(g, m.Loaded)
	change(tee)
	b.Set(poclog.ItemSNPReport, tee)
	b.Set(poclog.ItemSNPCerts, m.Host.SNP.Certs())
	if m.Loaded != nil {
		b.Set(poclog.ItemSNPCerts, m.Loaded.Certs())
	}
	return tee, azure.HCL(tpm.HCLTypeSNP, tee, json)
}

// ownFirmware launches what the attacker wrote.
func ownFirmware(m AzureMix) AzureMix {
	m.TD, m.Guest = func(td *chip.TD) { td.MRTD[0] ^= 1 }, func(g *amd.Guest) { g.Measurement[0] ^= 1 }
	return m
}

// azureSingle are the attacks of one bundle under the profiles azure-tdx-vtpm and azure-snp-vtpm,
// which a check must refuse.
var azureSingle = slices.Concat(
	under(poclog.AzureTDXvTPM, slices.Concat(azureVM(), azureTDX, onIntel, withTPM, challenged, tokens[:2], owners[:2])),
	under(poclog.AzureSNPvTPM, slices.Concat(azureVM(), azureSNP, onAMD, withTPM, challenged, tokens[:2])),
)

// azureVM are the attacks on Azure's VMs with either maker's chip.
func azureVM() []Attack {
	return []Attack{
		{Name: "firmware-own", Check: verify.TEELaunch, Stage: func(w *World) *poclog.Bundle { return w.Compose(ownFirmware(AzureMix{})) }},
		{Name: "hcl-forged", Check: verify.TEELaunch, Stage: func(w *World) *poclog.Bundle {
			// Firmware of his own on a chip at home says that the rented VM's TPM is its own; the
			// rented VM quotes its report.
			return w.Compose(ownFirmware(AzureMix{Host: w.homeHost()}))
		}},
		{Name: "hcl-edited", Check: verify.BindAKInTEE, Stage: func(w *World) *poclog.Bundle {
			// Today's nonce is written into the HCL report that the chip signed for yesterday's.
			return w.Compose(AzureMix{Hashed: w.AzureVM.Claims([64]byte{1}).JSON()})
		}},
		{Name: "ak-swap", Check: verify.BindAKInTEE, Stage: func(w *World) *poclog.Bundle {
			// X's HCL report names X's AK; Y's TPM quotes X's report, and Y's key and certificate
			// stand beside it.
			x := w.AzureVM.TPM.AK.Public().(*rsa.PublicKey)
			return w.Compose(AzureMix{TPM: w.rented().TPM, Claims: func(c *azure.Claims) { c.AK = x }})
		}},
		{Name: "relay-mix", Check: verify.BindAKInTEE, Stage: func(w *World) *poclog.Bundle {
			// X's report beside Y's TPM and a copy of Y's HCL report, which names Y's AK.
			b, y := w.Compose(AzureMix{}), w.rented()
			sum := sha256.Sum256(b.TEE())
			w.AzureVM = y
			of := w.Compose(AzureMix{Sealed: sum[:]})
			for _, item := range []poclog.Item{poclog.ItemHCLReport, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAK, poclog.ItemTPMAKChain} {
				b.Set(item, of.Get(item))
			}
			return b
		}},
		nonceShared,
		{Name: "relay-tpm", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
			// Another report under the same challenge than the one that the TPM quoted.
			old := w.Compose(AzureMix{TD: func(td *chip.TD) { td.Version = 5 }, Guest: func(g *amd.Guest) { g.Version = 4 }})
			b := w.Honest()
			b.Set(poclog.ItemTPMQuote, old.Get(poclog.ItemTPMQuote))
			return b
		}},
		{Name: "pcr-unselected", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
			b := w.Honest()
			b.Set(poclog.ItemTPMPCRs, ownImage().PCRs(tpm.SHA256, azure.Selection[0].PCRs))
			return b
		}},
		{Name: "pcr-hidden", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
			return w.Compose(AzureMix{PCRs: hidden(azure.Selection[0].PCRs)})
		}},
		{Name: "ak-unrestricted", Check: verify.TPMAKTemplate, Stage: func(w *World) *poclog.Bundle {
			free := *w.AzureVM.TPM
			free.Public = bytes.Clone(free.Public)
			free.Public[5] &^= 1 // objectAttributes: restricted
			return w.Compose(AzureMix{TPM: &free})
		}},
		{Name: "ak-uncertified", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
			// The true root stands above CAs of his own, which it did not certify.
			rogue := w.certifiedBy(azure.New("another provider", start), azure.Confidential)
			rogue.Chain = underRootOf(w.AzureVM.TPM.Chain, rogue.Chain)
			return w.Compose(AzureMix{TPM: rogue})
		}},
		{Name: "ak-of-another-kind", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
			// The provider certified the key for a VM that is none of the confidential ones: its
			// host runs the TPM.
			return w.Compose(AzureMix{TPM: w.certifiedBy(w.Azure, azure.Trusted)})
		}},
	}
}

// certifiedBy is the honest VM's TPM with a certificate by a cloud, for a kind of VM.
func (w *World) certifiedBy(c *azure.Cloud, kind string) *gce.TPM {
	t := *w.AzureVM.TPM
	c.Now = Now
	t.Chain = c.Certify(t.AK.Public(), w.Azure.Regions[0], "0123456789ab"+kind)
	return &t
}

// azureTDX are the attacks on the quote of a TDX VM.
var azureTDX = []Attack{
	quoteForged,
	malleatedQuote,
	{Name: "lab-root-in-production", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
		own := chip.NewMaker("a garage", start)
		w.Collateral = own.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
		return w.Compose(AzureMix{Host: &azure.Host{TDX: own.NewPlatform("home", nil)}})
	}},
	debugTD,
}

// azureSNP are the attacks on what binds the report of a SEV-SNP VM.
var azureSNP = []Attack{
	{Name: "malleated-quote", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		// The HCL report is changed, too: nobody signs its copy of the report but by its hash of
		// the JSON.
		b := w.Honest()
		negated := negateReport(b.Get(poclog.ItemSNPReport))
		hcl := bytes.Replace(b.Get(poclog.ItemHCLReport), b.Get(poclog.ItemSNPReport), negated, 1)
		b.Set(poclog.ItemSNPReport, negated)
		b.Set(poclog.ItemHCLReport, hcl)
		return b
	}},
	{Name: "chip-unnamed", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
		// A masked chip, and a key that AMD made for a cloud: nobody says which chip it is.
		return w.Compose(AzureMix{Loaded: w.maker().NewCloudKey("azure", [8]byte{}), Guest: func(g *amd.Guest) { g.Masked = true }})
	}},
	{Name: "zone-lie", Check: verify.PlaceAgree, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Loaded: w.maker().NewCloudKey("another cloud", [8]byte{})})
	}},
}

// onAMD are the attacks on a chip of AMD's and its report.
var onAMD = []Attack{
	{Name: "quote-forged", Check: verify.TEESignature, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{TEE: func(r []byte) { r[0x2a0] ^= 1 }})
	}},
	{Name: "lab-root-in-production", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
		own := amd.NewMaker("a garage", w.product(), start)
		w.Collateral = new(poclog.Collateral).With(own.CRL(amd.CRLOptions{At: Now.AddDate(0, 0, -3)}))
		return w.Compose(AzureMix{Host: &azure.Host{SNP: own.NewChip("home", [8]byte{})}})
	}},
	{Name: "pck-revoked", Check: verify.TEERevocation, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: Now.AddDate(0, 0, -3), Chips: []*amd.Chip{w.AzureVM.Host.SNP}})...)
		return w.Honest()
	}},
	{Name: "ask-revoked", Check: verify.TEERevocation, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: Now.AddDate(0, 0, -3), RevokeASK: true})...)
		return w.Honest()
	}},
	{Name: "collateral-old", Check: verify.Collateral, Opened: []verify.Check{verify.TEERevocation}, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: Now.AddDate(-1, 0, 0).Add(-time.Second)})...)
		return w.Honest()
	}},
	{Name: "collateral-of-the-future", Check: verify.Collateral, Opened: []verify.Check{verify.TEERevocation}, Stage: func(w *World) *poclog.Bundle {
		w.Collateral = new(poclog.Collateral).With(w.Azure.CRLs(amd.CRLOptions{At: Now.Add(time.Second)})...)
		return w.Honest()
	}},
	// The policy's minimum is bootloader 4, SNP 24, microcode 219: each is one below it in one
	// component.
	{Name: "tcb-out-of-date", Check: verify.TEETCB, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Host: &azure.Host{SNP: w.maker().NewChip("old", [8]byte{3, 0, 0, 0, 0, 0, 24, 219})}})
	}},
	{Name: "tcb-rolled-back", Check: verify.TEETCB, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.Committed = [8]byte{4, 0, 0, 0, 0, 0, 23, 219} }})
	}},
	{Name: "tcb-at-launch", Check: verify.TEETCB, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.Launch = [8]byte{4, 0, 0, 0, 0, 0, 24, 218} }})
	}},
	{Name: "debug-td", Check: verify.TEENoDebug, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.Debug = true }})
	}},
	{Name: "migration-agent", Check: verify.TEENoDebug, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.MigrateMA = true }})
	}},
	{Name: "vmpl-lower", Check: verify.TEELaunch, Stage: func(w *World) *poclog.Bundle {
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.VMPL = 1 }})
	}},
	{Name: "svn-rolled-back", Check: verify.TEELaunch, Stage: func(w *World) *poclog.Bundle {
		// An ID block that its owner signed long ago, for a guest with holes that are closed since.
		key := sha256.Sum256([]byte("an owner's key"))
		digest := [48]byte(append(key[:], key[:16]...))
		w.Policy.Launch = nil
		w.Policy.IDKeys = []poclog.IDKey{{Profile: w.Profile, Digest: hex.EncodeToString(digest[:]), GuestSVN: 3, Name: "owner"}}
		return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.IDKey, g.GuestSVN = digest, 2 }})
	}},
}

// azureOverTime are the attacks under Azure's profiles that only time exposes.
var azureOverTime = slices.Concat(azureSeries(poclog.AzureTDXvTPM), azureSeries(poclog.AzureSNPvTPM))

func azureSeries(p poclog.Profile) []OverTime {
	return []OverTime{
		{Name: "bundle-rewrapped", Rule: ExistingReceipt, Profile: p, Stage: rewrapped},
		{Name: "quote-replayed", Rule: "quote-replayed", Profile: p, Stage: func(w *World) []*poclog.Bundle {
			// The TEE's report is kept, and another boot of the TPM quotes it again.
			first := w.Honest()
			w.AzureVM.Reboot()
			return []*poclog.Bundle{first, w.Honest()}
		}},
		{Name: "tpm-rewound", Rule: "tpm-rewound", Profile: p, Stage: func(w *World) []*poclog.Bundle {
			w.AzureVM.TPM.SetClock(3_600_000, Now)
			w.earlier(nil)
			first := w.Honest()
			w.later()
			w.AzureVM.TPM.SetClock(1_000, Now)
			return []*poclog.Bundle{first, w.next()}
		}},
		{Name: "boot-forked", Rule: "boot-forked", Profile: p, Stage: func(w *World) []*poclog.Bundle {
			first := w.Honest()
			twin := *w.AzureVM.TPM
			twin.Image = ownImage()
			w.Challenge.Salt[1]++
			return []*poclog.Bundle{first, w.Compose(AzureMix{TPM: &twin})}
		}},
		{Name: "clone-ak", Rule: "ak-on-two-chips", Profile: p, Stage: func(w *World) []*poclog.Bundle {
			// The paravisor's state, copied: one AK answers for VMs on two chips.
			first := w.Honest()
			w.Challenge.Salt[1]++
			return []*poclog.Bundle{first, w.Compose(AzureMix{Host: w.Azure.NewHost(w.Azure.Regions[1], w.product())})}
		}},
	}
}
