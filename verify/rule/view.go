package rule

import (
	"encoding/binary"

	"github.com/poclog/poclog"
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
	e := c.Entry
	v := &View{
		Joined: e.Joined(), Proven: proven(e), Fresh: e.Fresh != nil, Metal: e.Profile == poclog.BareMetalTDXTPM, GCE: gceInstance(e),
		Origin: []byte(c.Origin), Quote: []byte(e.Quote), Chip: []byte(e.Chip()), Static: []byte(static(e)),
		PPID: []byte(first(e.Chassis, poclog.IntelPPID)), PIID: []byte(first(e.Chassis, poclog.IntelPIID)), Place: []byte(placeOf(e).String()),
		EK: []byte(ekOf(e)), AK: []byte(first(e.Keys, poclog.TPMAK)), Instance: []byte(e.Instance),
	}
	if e.TPM != nil {
		v.KeyType, v.Clock = []byte(e.TPM.KeyType), e.TPM.Clock
		v.Counters = uint64(e.TPM.ResetCount)<<32 | uint64(e.TPM.RestartCount)
		v.Boot = binary.BigEndian.AppendUint64(nil, v.Counters)
		for _, s := range stories(e) {
			v.Stories = append(v.Stories, Story{[]byte(s.of), [2][]byte{[]byte(s.told)}})
		}
	}
	if e.CVM.TCB != nil && len(e.CVM.FMSPC) > 0 {
		v.Family, v.Evaluation = []byte(family(e)), uint64(e.CVM.TCB.Evaluation)
	}
	return v
}
