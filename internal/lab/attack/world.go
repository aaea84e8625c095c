// Package attack is what attackers of the laboratory try: each attack as strong as its author could
// make it, with the check that must refuse it, or the monitor's rule that must expose it over time.
// Whatever the attacker's own keys allow is signed anew.
//
// The names are those of docs/attacks.md and of the vectors in testdata/attacks.
package attack

import (
	"cmp"
	"crypto/sha256"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/tpm"
)

// The world's constants.
const (
	Origin      = "lab.log.test"
	RegistryURL = "https://registry.lab.test/"
	Zone        = "lab-north1-a" // where the honest VM stands
)

// Now is when everything is judged.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Keys of the log that challenges, and of the witness that times it.
var (
	LogKey     = testlog.LogKey(Origin)
	WitnessKey = testlog.WitnessKey("w.test")
)

// A World is a cloud, a log that challenges, and one honest VM: of a managed cloud, or on a machine
// of a bare-metal provider.
type World struct {
	Profile poclog.Profile
	Cloud   *gce.Cloud
	Host    *gce.Host
	VM      *gce.VM
	Log     *testlog.Log

	Metal   *metal.Provider // of profile baremetal-tdx-tpm; it has no VM of the cloud, but the cloud's chip maker and registry
	Machine *metal.Machine

	Azure   *azure.Cloud // of the profiles azure-tdx-vtpm, azure-snp-vtpm and snp
	AzureVM *azure.VM

	Collateral *poclog.Collateral
	Policy     *poclog.Policy
	Challenge  *poclog.Challenge
}

// NewWorldOf builds the world of a profile, the same each time.
func NewWorldOf(p poclog.Profile) *World {
	switch p {
	case poclog.BareMetalTDXTPM:
		return newMetalWorld()
	case poclog.AzureTDXvTPM:
		return newAzureWorld(p, "")
	case poclog.AzureSNPvTPM:
		return newAzureWorld(p, "Milan")
	case poclog.SNP:
		return newAzureWorld(p, "Genoa")
	case poclog.TDX:
		return newChipWorld()
	}
	return NewWorld()
}

func newWorld(p poclog.Profile) *World {
	w := &World{Profile: p, Cloud: gce.New("profile test", start), Log: &testlog.Log{Origin: Origin, Leaves: [][]byte{{1}, {2}}}}
	w.Cloud.Advance(Now.Sub(start))
	return w
}

// challengeAge is how old the challenge's checkpoint is.
const challengeAge = 5 * time.Second

var challengePolicy = []string{"log " + LogKey.VKey, "witness w " + WitnessKey.VKey, "quorum w"}

// NewWorld builds the world of profile gce-tdx-vtpm.
func NewWorld() *World {
	w := newWorld(poclog.GCETDXvTPM)
	w.Host = must.Get(w.Cloud.NewHost(Zone, 2))
	w.VM = w.NewVM(gce.VMConfig{})
	w.Collateral = w.Cloud.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
	w.Observe(w.VM.Platform())
	w.Policy = w.Cloud.Policy(challengePolicy, RegistryURL)
	w.Challenge = w.ChallengeAt(Now.Add(-challengeAge))
	return w
}

// NewVM starts another VM on the host.
func (w *World) NewVM(cfg gce.VMConfig) *gce.VM {
	return must.Get(w.Host.NewVM(0, cfg))
}

// Observe puts the register's true answer on a chip into the collateral.
func (w *World) Observe(p *chip.Platform) { w.observeAt(p, Now) }

func (w *World) observeAt(p *chip.Platform, at time.Time) {
	w.Collateral = w.Collateral.With(w.Cloud.Registry.Observe(RegistryURL, p.PPID, at))
}

// earlier is as long before now as a challenge is good for, nearly: evidence of then was logged
// long before evidence of now was made.
const earlier = 9 * time.Minute

// earlier has the world answer a challenge of a while ago, and the register have been asked then
// for a chip, if any.
func (w *World) earlier(p *chip.Platform) {
	if p != nil {
		w.observeAt(p, Now.Add(-earlier))
	}
	w.Challenge = w.ChallengeAt(Now.Add(-earlier))
}

// later has the world answer a challenge of now.
func (w *World) later() { w.Challenge = w.ChallengeAt(Now.Add(-challengeAge)) }

// ChallengeAt is a challenge whose checkpoint the witness cosigned at a time.
func (w *World) ChallengeAt(at time.Time) *poclog.Challenge {
	return &poclog.Challenge{
		Profile: w.Profile, UserData: poclog.Sum([]byte("tls key")), Salt: [32]byte{7},
		Checkpoint: w.Log.Checkpoint(2, testlog.Cosigner{Signer: LogKey, At: at}, testlog.Cosigner{Signer: WitnessKey, At: at}),
	}
}

// A Mix is evidence put together: whose chip, whose TPM, what the TD's report says. Zero fields are
// the honest VM's.
type Mix struct {
	Chip   *chip.Platform
	TD     func(*chip.TD)
	TPM    *gce.TPM
	Image  *gce.Image         // of the TD; the TPM has its own
	AK     []byte             // what REPORTDATA names
	Quote  func([]byte)       // changes the TD quote before the TPM covers it
	Sealed []byte             // the TPM's extraData, if not the hash of the TD quote
	PCRs   []tpm.PCRSelection // which the TPM quotes; nil: gce.Selection
}

// Assemble puts evidence together.
func (w *World) Assemble(m Mix) *poclog.Bundle {
	m.Chip, m.TPM = cmp.Or(m.Chip, w.VM.Platform()), cmp.Or(m.TPM, w.VM.TPM)
	if m.AK == nil {
		m.AK = m.TPM.Public
	}
	td := w.VM.TD(w.Challenge.ReportData(m.AK))
	ccel := w.VM.Config.Image.CCEL
	if m.Image != nil {
		td.RTMRs, ccel = m.Image.RTMRs, m.Image.CCEL
	}
	if m.TD != nil {
		m.TD(&td)
	}
	quote := m.Chip.Quote(td)
	if m.Quote != nil {
		m.Quote(quote)
	}
	if m.PCRs == nil {
		m.PCRs = gce.Selection
	}
	item, values := must.Both(m.TPM.QuoteOf(sealed(m.Sealed, quote), Now, m.PCRs))
	return must.Get((&gce.Evidence{
		TDXQuote: quote, TPMQuote: item, PCRs: values, AK: m.TPM.Public, AKChain: m.TPM.Chain, TCGLog: m.TPM.Image.TCGLog, CCEL: ccel, Challenge: w.Challenge,
	}).Bundle())
}

// sealed is what a TPM quotes: other octets, or the hash of the TEE's quote.
func sealed(other, quote []byte) []byte {
	if other != nil {
		return other
	}
	sum := sha256.Sum256(quote)
	return sum[:]
}

// A twist is what an attacker changes in the evidence of any world's machine.
type twist struct {
	td     func(*chip.TD)
	quote  func([]byte) // the TEE's quote, before the TPM covers it
	sealed []byte       // the TPM's extraData, if not the hash of the TEE's quote
}

// twisted is the evidence of the world's machine with a twist.
func (w *World) twisted(t twist) *poclog.Bundle {
	switch {
	case w.Metal != nil:
		return w.Seal(MetalMix{TD: t.td, Quote: t.quote, Sealed: t.sealed})
	case w.AzureVM != nil:
		return w.Compose(AzureMix{TD: t.td, TEE: t.quote, Sealed: t.sealed})
	case w.Profile == poclog.TDX:
		return w.bare(t)
	}
	return w.Assemble(Mix{TD: t.td, Quote: t.quote, Sealed: t.sealed})
}

// Honest is the honest VM's evidence.
func (w *World) Honest() *poclog.Bundle { return w.twisted(twist{}) }
