package rule

import (
	"encoding/binary"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A View is what facets are made of. An entry gives one ([Claim.View]), and so does what is kept of
// it, such as a monitor's record: so each rule says once what it looks at.
//
// Octets stand for identities and words. Within one source of views they are equal where what they
// stand for is equal. A field that an entry has nothing for is empty.
type View struct {
	Joined bool // AK and TEE are bound to each other (poclog.Entry.Joined): there is a TPM
	Proven bool // and the level is 2: what the provider says of instance, EK and place counts
	Fresh  bool // the evidence answers a challenge
	Metal  bool // bare metal: one TPM serves many TDs
	GCE    bool // a Compute Engine instance under its profile

	Origin []byte // of the log
	Quote  []byte
	Chip   []byte // PPID or CHIP_ID
	Static []byte // what never changes on the chip
	PPID   []byte
	PIID   []byte
	Place  []byte // what is authenticated of the place

	EK, AK   []byte
	KeyType  []byte // of the AK
	Instance []byte

	Boot     []byte // the TPM's two counters; empty without a TPM
	Counters uint64 // the same, reset count first
	Clock    uint64
	Stories  []Story // what stays from the firmware's end to the next reset

	Family     []byte // the platforms for which one piece of collateral is; empty where there was no collateral
	Evaluation uint64 // of that collateral

	own []byte // octets that no projection has in one piece
}

// A Story is one thing that a boot tells once, and what it told. Where two entries differ in a
// story that both have, their views do.
type Story struct {
	Of   []byte
	Told [2][]byte
}

// A Facet is a key that claims share and the value in which they may differ. Parts are
// concatenated.
type Facet struct {
	Key   [3][]byte
	Value [2][]byte
	Rank  uint64 // the value, in rules whose values only ever rise
}

// facetOf returns a facet of one key and one value.
func facetOf(key, value []byte) Facet {
	return Facet{Key: [3][]byte{key}, Value: [2][]byte{value}}
}

// within tells a facet's key apart by a boot of the TPM, or another part.
func (f Facet) within(part []byte) Facet {
	f.Key[1] = part
	return f
}

// each gives facets to put, but for those without a key or value.
func each(put func(Facet), facets ...Facet) {
	for _, f := range facets {
		if len(f.Key[0]) > 0 && len(f.Value[0])+len(f.Value[1]) > 0 {
			put(f)
		}
	}
}

// View returns what the facets of an entry are made of.
func (c *Claim) View() *View {
	v, p := new(View), c.Entry.Projection()
	v.of(c.Origin, &p)
	return v
}

// of makes the view of a projected entry of a log. Octets are the projection's and the view's own,
// and stay until the next call.
func (v *View) of(origin string, p *poclog.Projection) {
	*v = View{
		Joined: p.Joined, Proven: p.Joined && p.Level >= poclog.LevelBound, Fresh: p.HasFresh, Metal: p.Profile == poclog.BareMetalTDXTPM,
		Quote: verify.UnlessZero(p.Quote[:]), PPID: verify.UnlessZero(p.PPID[:]), PIID: verify.UnlessZero(p.PIID[:]), EK: verify.UnlessZero(p.EK[:]), AK: verify.UnlessZero(p.AK[:]),
		Stories: v.Stories[:0], own: v.own[:0],
	}
	v.Origin = own(v, origin)
	v.chip(p)
	if p.Provider.Authentic {
		v.Place = v.place(p)
	}
	switch {
	case p.VM != 0:
		instance := [17]byte{0: 1} // no UUID is so long
		binary.BigEndian.PutUint64(instance[1:], p.Project)
		binary.BigEndian.PutUint64(instance[9:], p.VM)
		v.Instance = own(v, instance[:])
		v.GCE = p.Profile == poclog.GCETDXvTPM && v.Joined && len(v.AK) > 0
	case p.HasUUID:
		v.Instance = p.UUID[:]
	}
	if p.HasTPM {
		v.tpm(p)
	}
}

// chip looks at the chip, and at what judged it.
func (v *View) chip(p *poclog.Projection) {
	if p.Product != "" {
		v.Chip, v.Static = verify.UnlessZero(p.ChipID[:]), own(v, p.Product)
		return
	}
	var static [8]byte
	copy(static[copy(static[:], p.FMSPC[:]):], p.PCEID[:])
	v.Chip, v.Static = v.PPID, own(v, static[:])
	if len(p.TCB) == 0 {
		return
	}
	v.Evaluation = uint64(p.Evaluation)
	if v.Family = v.Chip; p.Realm == poclog.Production { // see family
		v.Family = p.FMSPC[:]
	}
}

func (v *View) place(p *poclog.Projection) []byte {
	var buf [3 * 130]byte
	at := joined(buf[:0], p.Provider.Value)
	for _, c := range [...]*poclog.ProjectedClaim{&p.Region, &p.Zone} {
		if !c.Authentic {
			c = new(poclog.ProjectedClaim)
		}
		at = joined(at, c.Value)
	}
	return own(v, at)
}

// tpm looks at what a TPM's quote says.
func (v *View) tpm(p *poclog.Projection) {
	v.KeyType, v.Clock = p.KeyType, p.Clock
	v.Counters = uint64(p.ResetCount)<<32 | uint64(p.RestartCount)
	var boot [8]byte
	binary.BigEndian.PutUint64(boot[:], v.Counters)
	v.Boot = own(v, boot[:])
	tell := func(of string, told []byte) {
		v.Stories = append(v.Stories, Story{own(v, of), [2][]byte{told}})
	}
	for i := range p.Firmware[:p.Firmwares] {
		tell(p.Firmware[i].Alg, p.Firmware[i].Digest[:])
	}
	if v.Metal { // one TPM, many TDs
		return
	}
	tell("launch", p.Measurement[:])
	if p.Product == "" {
		tell("RTMR 0", p.RTMRs[:48])
		tell("RTMR 1", p.RTMRs[48:])
	}
}

// own copies octets into the view.
func own[T string | []byte](v *View, b T) []byte {
	at := len(v.own)
	v.own = append(v.own, b...)
	return v.own[at:len(v.own):len(v.own)]
}
