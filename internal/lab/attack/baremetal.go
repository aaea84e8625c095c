package attack

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha256"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// MetalName is the bare-metal provider's name.
const MetalName = "lab-metal"

// newMetalWorld builds the world of profile baremetal-tdx-tpm.
func newMetalWorld() *World {
	w := newWorld(poclog.BareMetalTDXTPM)
	w.Metal = metal.New("profile test", MetalName, start, w.Cloud.Maker)
	w.Collateral = w.Cloud.Maker.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
	w.Policy = w.Metal.Policy(challengePolicy, RegistryURL)
	w.Challenge = w.ChallengeAt(Now.Add(-challengeAge))
	w.Machine = w.NewMachine(true)
	return w
}

// NewMachine puts another machine beside the honest one. The AK's certificate names its chip if
// named is set.
func (w *World) NewMachine(named bool) *metal.Machine { return w.newMachineIn(Zone, named) }

func (w *World) newMachineIn(zone string, named bool) *metal.Machine {
	return w.List(w.Metal.NewMachine(zone, named))
}

// List puts a machine's chip into the provider's register, and its answer into the collateral.
func (w *World) List(m *metal.Machine) *metal.Machine {
	w.Cloud.Registry.List(m.Chip.PPID, m.Place.Zone, start)
	w.Observe(m.Chip)
	return m
}

// unnamed has the attacker rent a machine whose certificate does not name its chip.
func (w *World) unnamed() *metal.Machine {
	w.Machine = w.NewMachine(false)
	return w.Machine
}

// home is a genuine chip at an attacker's home.
func (w *World) home() *chip.Platform { return w.Cloud.Maker.NewPlatform("at home", nil) }

// A MetalMix is evidence put together: whose chip, whose TPM and certificates, what the TD's report
// says. Zero fields are the honest machine's.
type MetalMix struct {
	Chip             *chip.Platform
	TD               func(*chip.TD)
	TPM              *metal.TPM
	AKChain, EKChain []byte
	AK               []byte       // what REPORTDATA names
	Quote            func([]byte) // changes the TD quote before the TPM covers it
	Sealed           []byte       // the TPM's extraData, if not the hash of the TD quote
	Log              *gce.Image   // whose boot the host's log tells
	CCEL             *gce.Image   // and the guest's
}

// Seal puts evidence of a bare-metal machine together.
func (w *World) Seal(m MetalMix) *poclog.Bundle {
	m.Chip, m.TPM = cmp.Or(m.Chip, w.Machine.Chip), cmp.Or(m.TPM, w.Machine.TPM)
	m.Log, m.CCEL = cmp.Or(m.Log, m.TPM.Boot), cmp.Or(m.CCEL, w.Machine.Guest)
	if m.AK == nil {
		m.AK = m.TPM.Public
	}
	if m.AKChain == nil {
		m.AKChain = w.Machine.AKChain
	}
	if m.EKChain == nil {
		m.EKChain = w.Machine.EKChain
	}
	td := w.Machine.TD(w.Challenge.ReportData(m.AK))
	if m.TD != nil {
		m.TD(&td)
	}
	quote := m.Chip.Quote(td)
	if m.Quote != nil {
		m.Quote(quote)
	}
	item, values := must.Both(m.TPM.Quote(sealed(m.Sealed, quote)))
	return must.Get((&gce.Evidence{
		TDXQuote: quote, TPMQuote: item, PCRs: values, AK: m.TPM.Public, AKChain: m.AKChain, EKChain: m.EKChain, TCGLog: m.Log.TCGLog, CCEL: m.CCEL.CCEL,
		Challenge: w.Challenge,
	}).Bundle())
}

// withAK is the machine's TPM with another AK, which the provider certifies as it would any that
// the TPM holds.
func (w *World) withAK(authPolicy []byte, change func(public []byte)) MetalMix {
	t := *w.Machine.TPM
	t.NewAK(w.Metal.Seed, "the attacker's", authPolicy)
	if change != nil {
		change(t.Public)
	}
	return MetalMix{TPM: &t, AKChain: w.Metal.CA.CertifyAK(t.Key(), w.Machine.Place)}
}

// policyOver is the policy of a key that is tied to some registers alone, whatever they hold now.
func (w *World) policyOver(pcrs ...int) []byte {
	d := crypto.SHA256.New()
	pcr17, pcr18 := w.Machine.TPM.Launch.PCRs(tpm.SHA256)
	for _, n := range pcrs {
		switch n {
		case 17:
			d.Write(pcr17)
		case 18:
			d.Write(pcr18)
		default:
			d.Write(w.Machine.TPM.Boot.PCRs(tpm.SHA256, []int{n}))
		}
	}
	return tpm.PolicyPCRDigest(tpm.SHA256, []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: pcrs}}, d.Sum(nil))
}

// bareMetal are the attacks of one bundle under profile baremetal-tdx-tpm, which a check must
// refuse.
var bareMetal = under(poclog.BareMetalTDXTPM, slices.Concat([]Attack{
	quoteForged,
	{Name: "lab-root-in-production", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
		w.unnamed()
		own := chip.NewMaker("a garage", start)
		home := own.NewPlatform("home", nil)
		w.Collateral = w.Collateral.With(own.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)}).Items...)
		w.Answer(home, 200, Zone)
		return w.Seal(MetalMix{Chip: home})
	}},
	debugTD,
	firmwareOwn,
	{Name: "pcr-unselected", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
		// The host booted firmware of the tenant's: the provider's values and log stand beside a
		// quote that does not cover them.
		t, other := *w.Machine.TPM, *w.Machine.TPM
		other.Boot = ownImage()
		b := w.Seal(MetalMix{TPM: &other, Log: t.Boot})
		_, values := must.Both(t.Quote(nil))
		b.Set(poclog.ItemTPMPCRs, values)
		return b
	}},
	{Name: "pcr-hidden", Check: verify.TPMPCRDigest, Stage: func(w *World) *poclog.Bundle {
		t := *w.Machine.TPM
		t.Selection = hidden(metal.Selection[0].PCRs)
		return w.Seal(MetalMix{TPM: &t})
	}},
	{Name: "ak-unrestricted", Check: verify.TPMAKTemplate, Stage: func(w *World) *poclog.Bundle {
		free := *w.Machine.TPM
		free.Public = bytes.Clone(free.Public)
		free.Public[5] &^= 1 // objectAttributes: restricted
		return w.Seal(MetalMix{TPM: &free})
	}},
	{Name: "ak-uncertified", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
		// The true root stands above a CA of his own, which it did not certify.
		rogue := metal.NewCA("a garage", "Laboratory AK of "+MetalName, start)
		return w.Seal(MetalMix{AKChain: underRootOf(w.Machine.AKChain, rogue.CertifyAK(w.Machine.TPM.Key(), w.Machine.Place))})
	}},
	{Name: "ek-uncertified", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
		soft := metal.NewCA("a garage", "Software TPM", start)
		return w.Seal(MetalMix{EKChain: underRootOf(w.Machine.EKChain, soft.CertifyEK(w.Machine.TPM.EK))})
	}},
	{Name: "ek-reuse", Check: verify.TPMAKChain, Stage: func(w *World) *poclog.Bundle {
		// Another machine's EK certificate, which is public, stands beside the AK's own.
		return w.Seal(MetalMix{EKChain: w.NewMachine(true).EKChain})
	}},
	{Name: "ak-without-policy", Check: verify.TPMAKPolicy, Stage: func(w *World) *poclog.Bundle { return w.Seal(w.withAK(nil, nil)) }},
	{Name: "ak-with-password", Check: verify.TPMAKPolicy, Stage: func(w *World) *poclog.Bundle {
		return w.Seal(w.withAK(w.policyOver(17, 18), func(public []byte) { public[7] |= 1 << 6 })) // objectAttributes: userWithAuth
	}},
	{Name: "ak-other-pcrs", Check: verify.TPMAKPolicy, Stage: func(w *World) *poclog.Bundle { return w.Seal(w.withAK(w.policyOver(0, 17), nil)) }},
	{Name: "ak-policy-or", Check: verify.TPMAKPolicy, Stage: func(w *World) *poclog.Bundle {
		// TPM2_PolicyOR: the allowed launch, or none at all.
		or := crypto.SHA256.New()
		or.Write(make([]byte, 32))
		or.Write([]byte{0, 0, 1, 0x71}) // TPM_CC_PolicyOR
		or.Write(w.policyOver(17, 18))
		or.Write(make([]byte, 32))
		return w.Seal(w.withAK(or.Sum(nil), nil))
	}},
	{Name: "txt-stack-swapped", Check: verify.BindTXT, Stage: func(w *World) *poclog.Bundle {
		own := metal.NewLaunch("the tenant's own stack")
		mix := w.withAK(own.AuthPolicy(tpm.SHA256), nil)
		mix.TPM.Launched(own)
		return w.Seal(mix)
	}},
	{Name: "ak-swap", Check: verify.BindAKInTEE, Stage: func(w *World) *poclog.Bundle {
		// X's TD quote names X's AK; Y's TPM quotes it, and Y's certificates stand beside it.
		x, y := w.unnamed(), w.NewMachine(false)
		return w.Seal(MetalMix{TPM: y.TPM, AKChain: y.AKChain, EKChain: y.EKChain, AK: x.TPM.Public})
	}},
	{Name: "relay-mix", Check: verify.BindTEEInTPM, Stage: func(w *World) *poclog.Bundle {
		// X's TD puts Y's AK and the shared nonce into its report; Y's published quote of Y's own
		// TD stands beside it.
		x, y := w.unnamed(), w.NewMachine(false)
		published := sha256.Sum256(y.Chip.Quote(y.TD(w.Challenge.ReportData(y.TPM.Public))))
		return w.Seal(MetalMix{Chip: x.Chip, TPM: y.TPM, AKChain: y.AKChain, EKChain: y.EKChain, Sealed: published[:]})
	}},
	malleatedQuote,
	nonceShared,
	relayTPM,
	{Name: "rtmr-forged", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		return w.Seal(MetalMix{TD: func(td *chip.TD) { td.RTMRs = ownImage().RTMRs }})
	}},
	{Name: "log-swapped", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle { return w.Seal(MetalMix{Log: ownImage()}) }},
	{Name: "log-truncated", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		log := b.Get(poclog.ItemTCGLog)
		b.Set(poclog.ItemTCGLog, log[:len(log)-lastEvents(tcglog.TPM, log, 1)[0]])
		return b
	}},
	{Name: "log-reordered", Check: verify.BindPCRRTMR, Stage: func(w *World) *poclog.Bundle {
		b := w.Honest()
		b.Set(poclog.ItemTCGLog, swapLast(tcglog.TPM, b.Get(poclog.ItemTCGLog)))
		return b
	}},
	{Name: "provider-lie", Check: verify.PlaceCert, Stage: func(w *World) *poclog.Bundle {
		// One of several providers of a policy places its machine with another.
		w.Policy.Registries = nil
		place := w.Machine.Place
		place.Provider = "better-metal"
		return w.Seal(MetalMix{AKChain: w.Metal.CA.CertifyAK(w.Machine.TPM.Key(), place)})
	}},
	{Name: "relay-rented", Check: verify.BindChassis, Stage: func(w *World) *poclog.Bundle {
		// A TD on the rented machine asks the TPM to cover the TD quote of a chip at home.
		w.Policy.Registries = nil
		return w.Seal(MetalMix{Chip: w.home()})
	}},
	{Name: "relay-unlisted", Check: verify.PlaceRegistry, Stage: func(w *World) *poclog.Bundle {
		w.unnamed()
		home := w.home()
		w.Observe(home)
		return w.Seal(MetalMix{Chip: home})
	}},
	{Name: "registry-forged", Check: verify.PlaceRegistry, Stage: func(w *World) *poclog.Bundle {
		w.unnamed()
		return w.Seal(MetalMix{Chip: w.home()})
	}},
}, everywhere, tokens[:2], owners[:2]))

// bareMetalOverTime are the attacks under profile baremetal-tdx-tpm that only time exposes.
var bareMetalOverTime = []OverTime{
	{Name: "bundle-rewrapped", Rule: ExistingReceipt, Profile: poclog.BareMetalTDXTPM, Stage: rewrapped},
	{Name: "quote-replayed", Rule: "quote-replayed", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		first := w.Honest()
		w.Machine.TPM.Launched(w.Metal.Launch)
		second := w.Honest()
		// The signature is the same, as everything in the laboratory is: so is the TD quote.
		return []*poclog.Bundle{first, second}
	}},
	{Name: "tpm-rewound", Rule: "tpm-rewound", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		w.Machine.TPM.Clock = 3_600_000
		w.earlier(w.Machine.Chip)
		first := w.Honest()
		w.later()
		w.Machine.TPM.Clock = 1_000
		return []*poclog.Bundle{first, w.next()}
	}},
	{Name: "boot-forked", Rule: "boot-forked", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		// One reset of the TPM has two stories of the host's firmware.
		first := w.Honest()
		w.Machine.TPM.Boot = ownImage()
		return []*poclog.Bundle{first, w.next()}
	}},
	{Name: "ek-reuse-certified", Rule: "ek-on-two-chips", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		// The provider is made to certify an AK of one machine's TPM for another machine: both
		// certificates name one EK.
		first := w.Honest()
		x, y := w.Machine, w.NewMachine(true)
		place := y.Place
		place.EK = x.Place.EK
		w.Machine = y
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Seal(MetalMix{AKChain: w.Metal.CA.CertifyAK(y.TPM.Key(), place), EKChain: x.EKChain})}
	}},
	{Name: "tpm-swapped", Rule: "two-tpms-on-chassis", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		// The TPMs of two rented machines answer for the TDs of one chip.
		x := w.unnamed()
		first := w.Honest()
		w.unnamed()
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Seal(MetalMix{Chip: x.Chip})}
	}},
	{Name: "clone-chassis", Rule: "chip-in-two-places", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		// The key of one chip, extracted, answers for machines in two regions. The register is not
		// asked here: it would tell.
		w.Policy.Registries = nil
		x := w.unnamed()
		first := w.Honest()
		w.Machine = w.newMachineIn(w.Cloud.Zones[2], false)
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Seal(MetalMix{Chip: x.Chip})}
	}},
	{Name: "clone-ak", Rule: "ak-on-two-chips", Profile: poclog.BareMetalTDXTPM, Stage: func(w *World) []*poclog.Bundle {
		// One AK answers for TDs on two chips.
		w.unnamed()
		first := w.Honest()
		second := w.NewMachine(false).Chip
		w.Challenge.Salt[1]++
		return []*poclog.Bundle{first, w.Seal(MetalMix{Chip: second})}
	}},
}
