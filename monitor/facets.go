package monitor

import (
	"bytes"
	"encoding/binary"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/rule"
)

// A keyer hashes what the rules look at in one log's rows (rule.Rule.Facets).
type keyer struct {
	x      *index
	terms  *terms
	origin []byte   // of the log
	hashes []uint64 // of the terms' texts: two logs number them differently

	rules   []rule.Rule
	view    rule.View // of the row at hand; its octets are the row's, and those below
	stories [2]rule.Story
	place   [3 * 8]byte
	keyType [8]byte

	at    int  // the rule at hand
	realm byte // of the row at hand
	put   func(rule.Facet)
	buf   []byte
	list  []facet
}

func newKeyer(x *index, t *terms, origin string) *keyer {
	k := &keyer{x: x, terms: t, origin: []byte(origin), rules: rule.All(), buf: make([]byte, 0, 512)}
	k.put = k.add
	return k
}

// term hashes a term's text.
func (k *keyer) term(id term) uint64 {
	if id&digested != 0 {
		return k.x.hash([]byte(k.terms.text(id)))
	}
	for int(id) >= len(k.hashes) {
		k.hashes = append(k.hashes, k.x.hash([]byte(k.terms.text(term(len(k.hashes))))))
	}
	return k.hashes[id]
}

// facets returns the facets of a row: where two entries' facets in package rule share a key and
// differ in its value, so do two of these. The list is the keyer's, until the next call.
func (k *keyer) facets(r *row) []facet {
	k.list = k.list[:0]
	if r.kind() != KindProof {
		return nil
	}
	k.look(r)
	for i := range k.rules {
		k.of(i)
	}
	return k.list
}

// of appends a rule's facets of the row at hand.
func (k *keyer) of(i int) {
	if of := k.rules[i].Facets; of != nil {
		k.at = i
		of(&k.view, k.put)
	}
}

// add hashes a facet of the rule at hand. Keys of different rules and realms are kept apart. Only
// one part of a key is of varying length.
func (k *keyer) add(f rule.Facet) {
	k.buf = append(k.buf[:0], byte(k.at), k.realm)
	key := k.hash(f.Key[:])
	if k.rules[k.at].Rising {
		k.list = append(k.list, facet{key: key, value: f.Rank, rising: true})
		return
	}
	k.buf = k.buf[:0]
	k.list = append(k.list, facet{key: key, value: k.hash(f.Value[:])})
}

// hash hashes parts after what the buffer holds.
func (k *keyer) hash(parts [][]byte) uint64 {
	for _, p := range parts {
		k.buf = append(k.buf, p...)
	}
	return k.x.hash(k.buf)
}

// chip hashes the chip of a row, in its realm.
func (k *keyer) chip(r *row) uint64 {
	k.buf = append(k.buf[:0], r[offRealm])
	return k.hash([][]byte{r.chipOctets()})
}

// says returns the value that a rule's first facet of a row has, or 0 if the rule says nothing of
// it.
func (k *keyer) says(id string, r *row) uint64 {
	k.list = k.list[:0]
	k.look(r)
	for i := range k.rules {
		if k.rules[i].ID == id {
			k.of(i)
		}
	}
	if len(k.list) == 0 {
		return 0
	}
	return k.list[0].value
}

// look makes the view of a proof's row.
func (k *keyer) look(r *row) {
	k.realm = r[offRealm]
	k.view = rule.View{
		Joined: r.has(flagJoined) && r.has(flagTPM), Proven: r.proven() && r.has(flagTPM), Fresh: r.has(flagFresh),
		Metal: r.isMetal(), GCE: r.profile() == poclog.GCETDXvTPM && r.has(flagGCEInstance),
		Origin: k.origin, Chip: r.chipOctets(), Place: k.authenticPlace(r),
		Quote: r.octets(flagQuote, offQuote, 32), EK: r.octets(flagEK, offEK, 32), AK: r.octets(flagAK, offAK, 32),
		Instance: r.octets(flagGCEInstance|flagAzureVM, offInstance, 16),
	}
	k.platform(r)
	if r.has(flagTPM) {
		k.tpm(r)
	}
}

// octets returns octets of a row, if it has one of some flags.
func (r *row) octets(flags uint32, at, n int) []byte {
	if !r.has(flags) {
		return nil
	}
	return r[at : at+n]
}

// chipOctets returns the octets of the chip's identity, or nil.
func (r *row) chipOctets() []byte {
	if r.has(flagPPID) {
		return r[offChip : offChip+16]
	}
	return r.octets(flagChipID, offChip, 64)
}

// proven reports level 2 with AK and TEE bound to each other: what the provider says of instance,
// EK and place counts.
func (r *row) proven() bool { return uint32(r[offLevel]) >= poclog.LevelBound && r.has(flagJoined) }

func (r *row) isMetal() bool { return r.profile() == poclog.BareMetalTDXTPM }

// authenticPlace is what is authenticated of the place.
func (k *keyer) authenticPlace(r *row) []byte {
	if !r.has(flagProviderAuthentic | flagRegionAuthentic | flagZoneAuthentic) {
		return nil
	}
	k.place = [3 * 8]byte{}
	for i, p := range []struct {
		at   int
		flag uint32
	}{{offProvider, flagProviderAuthentic}, {offRegion, flagRegionAuthentic}, {offZone, flagZoneAuthentic}} {
		if r.has(p.flag) {
			binary.LittleEndian.PutUint64(k.place[8*i:], k.term(r.term(p.at)))
		}
	}
	return k.place[:]
}

// platform looks at the chip, and at what judged it.
func (k *keyer) platform(r *row) {
	v := &k.view
	if r.has(flagChipID) {
		v.Static = r[offProduct : offProduct+1]
		return
	}
	v.Static, v.PPID, v.PIID = r[offFMSPC:offPCEID+2], v.Chip, r.octets(flagPIID, offPIID, 16)
	if r.term(offTCB) == 0 {
		return
	}
	v.Evaluation = uint64(r.u32(offEvaluation))
	// In a laboratory each chip is a family of its own (package rule).
	if v.Family = v.Chip; r.realm() == poclog.Production {
		v.Family = r[offFMSPC : offFMSPC+6]
	}
}

// tpm looks at what a TPM's quote says.
func (k *keyer) tpm(r *row) {
	v := &k.view
	v.Boot, v.Clock = r[offReset:offReset+8], r.u64(offClock)
	v.Counters = uint64(r.u32(offReset))<<32 | uint64(r.u32(offRestart))
	binary.LittleEndian.PutUint64(k.keyType[:], k.term(r.term(offKeyType)))
	v.KeyType = k.keyType[:]
	// A row has digests of stories. The chip is beside the TEE's: within one boot there is one.
	k.stories[0] = rule.Story{Of: storyFirmware, Told: [2][]byte{r[offBank : offBank+1], r[offPCRs : offPCRs+32]}}
	k.stories[1] = rule.Story{Of: storyTEE, Told: [2][]byte{r[offMeasurement : offRTMRs+32], v.Chip}}
	if v.Metal {
		k.stories[1].Told[0] = nil // one TPM, many TDs
	}
	v.Stories = k.stories[:]
}

var storyFirmware, storyTEE = []byte{1}, []byte{2}

// sameStories reports whether two rows of one AK's boot tell the same.
func sameStories(e, f *row) bool {
	return e[offBank] == f[offBank] && bytes.Equal(e[offPCRs:offPCRs+32], f[offPCRs:offPCRs+32]) &&
		bytes.Equal(e[offMeasurement:offRTMRs+32], f[offMeasurement:offRTMRs+32])
}
