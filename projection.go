package poclog

import (
	"bytes"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// A Projection is what whoever watches a whole log needs of each proof: fixed sizes and no pointers
// but into the leaf, so that millions can be read into one without an allocation. Identities are
// octets; an identity that the entry does not have is zero, which none is.
type Projection struct {
	Profile   Profile
	Level     uint32
	Realm     Realm
	Appraised int64 // Unix seconds

	PPID, PIID   [16]byte
	ChipID       [64]byte
	EK, AK       Digest
	Quote        Digest
	Project, VM  uint64   // of a Compute Engine instance
	UUID         [16]byte // of an Azure VM, if HasUUID
	HasUUID      bool
	More         bool // a further identity of one of these kinds; the first one is here
	HasTPM, Safe bool

	Boot                     Digest
	KeyType                  []byte
	Firmware                 [maxBanks]BankFirmware // of the banks that have one, in order
	Firmwares                int                    // how many
	Clock                    uint64
	ResetCount, RestartCount uint32

	Provider, Region, Zone ProjectedClaim

	Measurement [48]byte
	RTMRs       [96]byte // RTMR 0 and 1; zero where there are none
	TCB         []byte   // status; empty where there was no collateral
	Evaluation  uint32
	FMSPC       [6]byte
	PCEID       [2]byte

	Product string // of the processor; SEV-SNP only

	HasFresh bool
	Origin   []byte // of the challenge's checkpoint
	Size     uint64
	Root     Digest
	UserData Digest // what the proof speaks for

	Bundle Digest

	// Joined says that the checks passed that bind the AK and the TEE: bind.ak-in-tee,
	// bind.tee-in-tpm and tpm.ak-template.
	Joined bool
}

// BankFirmware is a bank's digest of PCR 0 to 7.
type BankFirmware struct {
	Alg    string
	Digest Digest
}

// A ProjectedClaim is a claim, and whether the entry proves it ([Entry.ProvenPlace]).
type ProjectedClaim struct {
	Value     []byte
	Authentic bool
}

// A LeafKind is what a leaf is, as far as this software knows.
type LeafKind uint8

// The kinds of leaves.
const (
	LeafUnknown LeafKind = iota // of a kind or version that this software does not know
	LeafProof
	LeafConfig
	LeafIndex
	LeafStatement
)

// Read reads a leaf as [ParseLeaf] does, and takes the same. A proof is projected into p; its
// slices point into the leaf and stay valid as long as that. What the fast reader does not take is
// parsed: that decides.
func (p *Projection) Read(leaf []byte) (LeafKind, error) {
	*p = Projection{}
	s := scanner{b: leaf}
	if len(leaf) <= MaxEntry && s.entry(p) {
		return LeafProof, nil
	}
	l, err := ParseLeaf(leaf)
	switch {
	case err != nil:
		return LeafUnknown, err
	case l.Proof != nil:
		*p = l.Proof.Projection()
		return LeafProof, nil
	case l.Config != nil:
		*p = Projection{Appraised: l.Config.Time.Unix()}
		return LeafConfig, nil
	case l.Index != nil:
		return LeafIndex, nil
	case l.Statement != nil:
		*p = Projection{Appraised: l.Statement.Time.Unix()}
		return LeafStatement, nil
	}
	return LeafUnknown, nil
}

// Projection is what [Projection.Read] reads of the entry's leaf.
func (e *Entry) Projection() Projection {
	p := Projection{Profile: e.Profile, Level: e.Level, Realm: e.Realm, Appraised: e.Appraised.Unix(), Bundle: e.Evidence.Bundle.SHA256}
	for _, id := range e.Identities() {
		p.identity([]byte(id))
	}
	if e.Boot != nil {
		p.Boot = *e.Boot
	}
	if e.Place != nil {
		proven := e.ProvenPlace()
		p.Provider = projectClaim(e.Place.Provider, proven.Provider)
		p.Region = projectClaim(e.Place.Region, proven.Region)
		p.Zone = projectClaim(e.Place.Zone, proven.Zone)
	}
	p.cvm(&e.CVM)
	if t := e.TPM; t != nil {
		p.HasTPM, p.KeyType, p.Clock, p.ResetCount, p.RestartCount, p.Safe = true, []byte(t.KeyType), t.Clock, t.ResetCount, t.RestartCount, t.Safe
		for _, b := range t.PCRs {
			if b.Firmware != nil {
				p.Firmware[p.Firmwares] = BankFirmware{b.Alg, *b.Firmware}
				p.Firmwares++
			}
		}
	}
	if f := e.Fresh; f != nil {
		p.HasFresh, p.Origin, p.Size, p.Root, p.UserData = true, []byte(f.Origin), f.Size, f.Root, f.UserData
	}
	p.Joined = e.Joined()
	return p
}

func (p *Projection) cvm(c *CVM) {
	copy(p.Measurement[:], c.Measurement)
	if len(c.RTMRs) == 4 {
		copy(p.RTMRs[:48], c.RTMRs[0][:])
		copy(p.RTMRs[48:], c.RTMRs[1][:])
	}
	if c.TCB != nil {
		p.TCB, p.Evaluation = []byte(c.TCB.Status), c.TCB.Evaluation
	}
	if c.SNP != nil {
		p.Product = c.SNP.Product
	}
	copy(p.FMSPC[:], c.FMSPC)
	copy(p.PCEID[:], c.PCEID)
}

func projectClaim(c, proven Claim) ProjectedClaim {
	if c.Value == "" {
		return ProjectedClaim{}
	}
	return ProjectedClaim{Value: []byte(c.Value), Authentic: proven.Value != ""}
}

// identity takes an identity, and reports whether it is one.
func (p *Projection) identity(id []byte) bool {
	switch i := kindEnd(id); string(id[:i]) {
	case IntelPPID + ":":
		return p.octets(p.PPID[:], id[i:])
	case IntelPIID + ":":
		return p.octets(p.PIID[:], id[i:])
	case AMDChipID + ":":
		return p.octets(p.ChipID[:], id[i:])
	case TPMEK + ":":
		return p.octets(p.EK[:], id[i:])
	case TPMAK + ":":
		return p.octets(p.AK[:], id[i:])
	case QuoteKind + ":":
		return p.octets(p.Quote[:], id[i:])
	}
	return p.instance(id)
}

// States reports whether the entry names an identity, which is not its quote. If the entry has
// more of one kind than the projection holds, it may name others, too.
func (p *Projection) States(id []byte) bool {
	var q, none Projection
	return q.identity(id) && (q.PPID != none.PPID && q.PPID == p.PPID || q.PIID != none.PIID && q.PIID == p.PIID ||
		q.ChipID != none.ChipID && q.ChipID == p.ChipID || q.EK != none.EK && q.EK == p.EK || q.AK != none.AK && q.AK == p.AK ||
		q.VM != 0 && q.VM == p.VM && q.Project == p.Project || q.HasUUID && p.HasUUID && q.UUID == p.UUID)
}

// kindEnd returns where the value of an identity of octets begins.
func kindEnd(id []byte) int {
	for i := len(id); i > 0; i-- {
		if id[i-1] == ':' {
			return i
		}
	}
	return 0
}

// octets takes the first identity of a kind. All zero is none.
func (p *Projection) octets(dst, value []byte) bool {
	var octets [64]byte
	b := octets[:len(dst)]
	if !canon.Unhex(b, value) || allZero(b) {
		return false
	}
	if !allZero(dst) {
		p.More = true
		return true
	}
	copy(dst, b)
	return true
}

// instance takes what is named otherwise than by octets.
func (p *Projection) instance(id []byte) bool {
	if value, ok := bytes.CutPrefix(id, []byte(AzureVM+":")); ok {
		return p.uuid(value)
	}
	value, ok := bytes.CutPrefix(id, []byte(GCEInstance+":"))
	if !ok {
		return false
	}
	s := scanner{b: value}
	project := s.number(max64)
	s.lit(":")
	vm := s.number(max64)
	if s.bad || s.off != len(value) || project == 0 || vm == 0 {
		return false
	}
	if p.VM != 0 {
		p.More = true
		return true
	}
	p.Project, p.VM = project, vm
	return true
}

func (p *Projection) uuid(value []byte) bool {
	var digits [32]byte
	if len(value) != 36 || value[8] != '-' || value[13] != '-' || value[18] != '-' || value[23] != '-' {
		return false
	}
	packed := append(append(append(append(append(digits[:0], value[:8]...), value[9:13]...), value[14:18]...), value[19:23]...), value[24:]...)
	var octets [16]byte
	if !canon.Unhex(octets[:], packed) || allZero(octets[:]) {
		return false
	}
	if p.HasUUID {
		p.More = true
		return true
	}
	p.UUID, p.HasUUID = octets, true
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// seconds reads an RFC 3339 time in UTC with whole seconds, from 1970 on.
func seconds(b []byte) (int64, bool) {
	if len(b) != 20 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != 'Z' {
		return 0, false
	}
	var n [6]int
	for i, at := range [6]int{2, 5, 8, 11, 14, 17} {
		hi, lo := b[at]-'0', b[at+1]-'0'
		if hi > 9 || lo > 9 {
			return 0, false
		}
		n[i] = int(hi)*10 + int(lo)
	}
	hi, lo := b[0]-'0', b[1]-'0'
	if hi > 9 || lo > 9 {
		return 0, false
	}
	year := (int(hi)*10+int(lo))*100 + n[0]
	if n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 31 || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return 0, false
	}
	t := time.Date(year, time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	return t.Unix(), t.Unix() >= 0 && t.Day() == n[2] // the 31st of a short month is a day of the next
}
