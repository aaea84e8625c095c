package metal

import (
	"crypto"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/tpm"
)

// A Launch is what a dynamic launch measures: into PCR 17 first the launch module, which the CPU
// hashes at locality 4 while it resets the registers, then what follows, in order.
type Launch struct {
	Name   string
	Module []byte
	Events []LaunchEvent
}

// A LaunchEvent is data whose digest extends a register.
type LaunchEvent struct {
	PCR  int // 17 or 18
	Data []byte
}

// NewLaunch makes up the launch of a stack.
func NewLaunch(name string) *Launch {
	what := func(s string) []byte { return fmt.Appendf(nil, "poclog lab launch\n%s\n%s", name, s) }
	return &Launch{
		Name: name, Module: what("authenticated code module"),
		Events: []LaunchEvent{{17, what("policy")}, {18, what("authority")}, {17, what("hypervisor")}, {18, what("authority of the hypervisor")}},
	}
}

// PCRs returns the values of PCR 17 and 18 after the launch.
func (l *Launch) PCRs(alg tpm.Alg) (pcr17, pcr18 []byte) {
	h := alg.Hash()
	values := map[int][]byte{17: make([]byte, h.Size()), 18: make([]byte, h.Size())}
	for _, e := range append([]LaunchEvent{{17, l.Module}}, l.Events...) {
		measured, d := h.New(), h.New()
		measured.Write(e.Data)
		d.Write(values[e.PCR])
		d.Write(measured.Sum(nil))
		values[e.PCR] = d.Sum(nil)
	}
	return values[17], values[18]
}

// AuthPolicy returns the policy of a key that signs after this launch alone.
func (l *Launch) AuthPolicy(alg tpm.Alg) []byte {
	pcr17, pcr18 := l.PCRs(alg)
	return tpm.LaunchPolicy(tpm.SHA256, alg, pcr17, pcr18)
}

// TXT returns the launch as a policy lists it.
func (l *Launch) TXT(alg tpm.Alg) poclog.TXTLaunch {
	pcr17, pcr18 := l.PCRs(alg)
	return poclog.TXTLaunch{Name: l.Name, Alg: alg.String(), PCR17: hex.EncodeToString(pcr17), PCR18: hex.EncodeToString(pcr18)}
}

// A TPM is a discrete TPM, in Go. It holds nobody to a key's policy: what a TPM would not sign, an
// attacker's may.
type TPM struct {
	EK           crypto.PublicKey
	AK           crypto.Signer // nil for a real one
	Public       []byte        // TPMT_PUBLIC of the AK
	Boot         *gce.Image    // what the host's firmware measured
	Launch       *Launch       // what was launched since
	ResetCount   uint32
	RestartCount uint32
	Clock        uint64 // milliseconds
	Selection    []tpm.PCRSelection

	// Real, if set, quotes in its place.
	Real func(extraData []byte) (item, values []byte, err error)
}

// Selection is what machines quote: the firmware's registers and the launch's, in one bank, as most
// discrete TPMs have one.
var Selection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 17, 18}}}

// newTPM makes the TPM of a name, in which a launch has happened, and its AK, which is tied to the
// launch.
func newTPM(seed, name string, boot *gce.Image, launch *Launch) *TPM {
	t := &TPM{EK: chip.NewKey(seed, "EK\n"+name).Public(), Boot: boot, ResetCount: 1, Clock: 1000, Selection: Selection}
	t.Launched(launch)
	t.NewAK(seed, name, launch.AuthPolicy(tpm.SHA256))
	return t
}

// Launched resets the TPM and launches.
func (t *TPM) Launched(l *Launch) { t.Launch = l; t.ResetCount++ }

// NewAK derives an attestation key with a policy, or with none.
func (t *TPM) NewAK(seed, name string, authPolicy []byte) {
	t.AK = chip.NewKey(seed, fmt.Sprintf("AK\n%s\n%x", name, authPolicy))
	t.Public = must.Get(tpm.AKPublic(t.AK.Public(), authPolicy))
}

// Key returns the public AK.
func (t *TPM) Key() crypto.PublicKey {
	p := must.Get(tpm.ParsePublic(t.Public))
	return p.Key()
}

// values concatenates what the selected registers hold.
func (t *TPM) values() (out []byte) {
	for _, s := range t.Selection {
		pcr17, pcr18 := t.Launch.PCRs(s.Alg)
		for _, n := range s.PCRs {
			switch n {
			case 17:
				out = append(out, pcr17...)
			case 18:
				out = append(out, pcr18...)
			default:
				out = append(out, t.Boot.PCRs(s.Alg, []int{n})...)
			}
		}
	}
	return out
}

// Quote answers TPM2_Quote: the quote's item and the values of the selected registers.
func (t *TPM) Quote(extraData []byte) (item, values []byte, err error) {
	if t.Real != nil {
		return t.Real(extraData)
	}
	ak, err := tpm.ParsePublic(t.Public)
	if err != nil {
		return nil, nil, err
	}
	values = t.values()
	a := tpm.Attestation{
		AK: ak, ExtraData: extraData, Clock: t.Clock, ResetCount: t.ResetCount, RestartCount: t.RestartCount, Safe: true,
		Firmware: 0x0001000200030004, Selection: t.Selection, Values: values,
	}
	item, err = tpm.SignQuote(a.Marshal(), t.AK)
	return item, values, err
}

// A Machine is a host that one tenant rents, with a TD on it.
type Machine struct {
	Name             string
	Place            tpm.Platform // its EK is that of the TPM
	Chip             *chip.Platform
	TPM              *TPM
	AKChain, EKChain []byte
	Guest            *gce.Image // what the TD boots
	MRTD             [48]byte   // what the TD is launched with
	RTMR3            [48]byte   // what its guest extended since: a value of any kind, for nothing replays it
}

// A Provider rents machines.
type Provider struct {
	Seed, Name string
	Maker      *chip.Maker
	Vendor     *CA // of TPMs
	CA         *CA // of attestation keys
	Launch     *Launch
	Boot       *gce.Image // of hosts
	Guest      *gce.Image // of TDs
	MRTD       [48]byte   // of the TDs' firmware, which policies list
	Machines   []*Machine
}

// New makes the provider of a seed, whose name is part of its machines' places.
func New(seed, name string, from time.Time, maker *chip.Maker) *Provider {
	return &Provider{
		Seed: seed, Name: name, Maker: maker, Vendor: NewCA(seed, "Laboratory TPM Maker", from), CA: NewCA(seed, "Laboratory AK of "+name, from),
		Launch: NewLaunch("td-host 1.0"), Boot: gce.SyntheticImage("bare-metal host"), Guest: gce.SyntheticImage("bare-metal guest"),
		MRTD: sha512.Sum384([]byte("poclog lab bare-metal TD firmware\n" + seed)),
	}
}

// NewMachine puts a machine into a zone, named <region>-<letter>, and certifies its keys. The AK's
// certificate names the machine's chip if named is set.
func (p *Provider) NewMachine(zone string, named bool) *Machine {
	return p.MachineWith(newTPM(p.Seed, p.nextName(), p.Boot, p.Launch), zone, named)
}

func (p *Provider) nextName() string { return fmt.Sprintf("%s/machine-%d", p.Name, len(p.Machines)) }

// MachineWith is NewMachine around a TPM. That its keys are in one TPM is the caller's to know.
func (p *Provider) MachineWith(t *TPM, zone string, named bool) *Machine {
	name := p.nextName()
	m := &Machine{Name: name, Chip: p.Maker.NewPlatform(name, nil), TPM: t, Guest: p.Guest, MRTD: p.MRTD}
	m.Place = tpm.Platform{EK: EKDigest(t.EK), Provider: p.Name, Region: tpm.RegionOf(zone), Zone: zone}
	if named {
		m.Place.Chip, _ = poclog.HexIdentity(poclog.IntelPPID, m.Chip.PPID[:])
	}
	m.EKChain = p.Vendor.CertifyEK(t.EK)
	m.AKChain = p.CA.CertifyAK(t.Key(), m.Place)
	p.Machines = append(p.Machines, m)
	return m
}

// TD returns what the chip would say of the machine's TD.
func (m *Machine) TD(reportData [64]byte) chip.TD {
	td := chip.TD{MRTD: m.MRTD, RTMRs: m.Guest.RTMRs, ReportData: reportData}
	td.RTMRs[3] = m.RTMR3
	return td
}

// Policy returns the policy by which the realm lab judges this provider's machines: proofs at level
// 2 whose challenge satisfies a tlog-policy (its lines), under the provider's launch. A registry's
// URL may be empty.
func (p *Provider) Policy(challenge []string, registry string) *poclog.Policy {
	policy := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, ChallengePolicy: challenge, TCB: []string{"UpToDate"},
		Admit: []poclog.Admission{{Profile: poclog.BareMetalTDXTPM, Level: poclog.LevelBound}},
		Roots: []poclog.Root{
			{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(p.Maker.Root()), Name: "Laboratory SGX Root CA"},
			{Use: poclog.RootProviderAK, SHA256: poclog.Sum(p.CA.Root()), Name: p.Name},
			{Use: poclog.RootTPMEK, SHA256: poclog.Sum(p.Vendor.Root()), Name: "Laboratory TPM maker"},
		},
		Launch: []poclog.Launch{{Profile: poclog.BareMetalTDXTPM, Measurement: hex.EncodeToString(p.MRTD[:]), Name: "laboratory TD firmware"}},
		TXT:    []poclog.TXTLaunch{p.Launch.TXT(tpm.SHA256)},
	}
	if registry != "" {
		policy.Registries = []poclog.Registry{{Provider: p.Name, URL: registry}}
	}
	return policy
}
