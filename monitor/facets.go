package monitor

import (
	"encoding/binary"

	"github.com/poclog/poclog"
)

// A keyer hashes facets of one log's rows.
type keyer struct {
	x      *index
	terms  *terms
	hashes []uint64 // of the terms' texts: two logs number them differently
	buf    []byte
	list   []facet
}

func newKeyer(x *index, t *terms) *keyer { return &keyer{x: x, terms: t, buf: make([]byte, 0, 512)} }

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

// Families of facets. They keep the keys of different rules apart.
const (
	ofQuote = 1 + iota
	ofAK
	ofEK
	ofInstance
	ofBoot
	ofBootTEE
	ofEKBoot
	ofInstanceBoot
	ofPIID
	ofChip
	ofChipPlace
	ofChipEK
	ofInstanceKey
	ofCounters
	ofClock
	ofCollateral
)

// key hashes a family, a realm and parts. Only one of the parts may be of varying length.
func (k *keyer) key(family byte, r *row, parts ...[]byte) uint64 {
	k.buf = append(k.buf[:0], family, r[offRealm])
	for _, p := range parts {
		k.buf = append(k.buf, p...)
	}
	return k.x.hash(k.buf)
}

func (k *keyer) value(parts ...[]byte) uint64 {
	k.buf = k.buf[:0]
	for _, p := range parts {
		k.buf = append(k.buf, p...)
	}
	return k.x.hash(k.buf)
}

func (k *keyer) put(key, value uint64) { k.list = append(k.list, facet{key: key, value: value}) }

// rise takes a value that should never fall.
func (k *keyer) rise(key, value uint64) {
	k.list = append(k.list, facet{key: key, value: value, rising: true})
}

// facets returns the facets of a row: where two entries' facets in package rule share a key and
// differ in its value, so do two of these. The list is the keyer's, until the next call.
func (k *keyer) facets(r *row) []facet {
	k.list = k.list[:0]
	if r.kind() != KindProof {
		return nil
	}
	chip := r.chipOctets()
	if chip != nil {
		k.platform(r, chip)
	}
	if r.has(flagTPM) {
		k.tpm(r, chip)
	}
	if r.has(flagFresh) && r.term(offTCB) != 0 && !r.has(flagChipID) {
		k.rise(k.key(ofCollateral, r, r[offFMSPC:offFMSPC+6]), uint64(r.u32(offEvaluation)))
	}
	return k.list
}

// chipOctets returns the octets of the chip's identity, or nil.
func (r *row) chipOctets() []byte {
	switch {
	case r.has(flagPPID):
		return r[offChip : offChip+16]
	case r.has(flagChipID):
		return r[offChip : offChip+64]
	}
	return nil
}

// proven reports level 2 with AK and TEE bound to each other: what the provider says of instance,
// EK and place counts.
func (r *row) proven() bool { return uint32(r[offLevel]) >= poclog.LevelBound && r.has(flagJoined) }

func (r *row) isMetal() bool { return r.profile() == poclog.BareMetalTDXTPM }

func (k *keyer) platform(r *row, chip []byte) {
	if r.has(flagChipID) {
		k.put(k.key(ofChip, r, chip), uint64(r[offProduct]))
	} else {
		k.put(k.key(ofChip, r, chip), binary.LittleEndian.Uint64(r[offFMSPC:]))
	}
	if r.has(flagPIID) && r.has(flagPPID) {
		k.put(k.key(ofPIID, r, r[offPIID:offPIID+16]), k.value(chip))
	}
	if !r.proven() {
		return
	}
	if r.has(flagProviderAuthentic | flagRegionAuthentic | flagZoneAuthentic) {
		k.put(k.key(ofChipPlace, r, chip), k.place(r))
	}
	if r.isMetal() && r.has(flagEK) {
		k.put(k.key(ofChipEK, r, chip), k.value(r[offEK:offEK+32]))
	}
}

// place is what is authenticated of the place.
func (k *keyer) place(r *row) uint64 {
	var parts [24]byte
	for i, p := range []struct {
		at   int
		flag uint32
	}{{offProvider, flagProviderAuthentic}, {offRegion, flagRegionAuthentic}, {offZone, flagZoneAuthentic}} {
		if r.has(p.flag) {
			binary.LittleEndian.PutUint64(parts[8*i:], k.term(r.term(p.at)))
		}
	}
	return k.x.hash(parts[:])
}

// tpm takes what a TPM's quote says; chip is nil where the entry names none.
func (k *keyer) tpm(r *row, chip []byte) {
	if !r.has(flagJoined) {
		return // whoever puts another's TPM quote beside his own TEE's says nothing of either's keys
	}
	boot := r[offReset : offReset+8]
	k.put(k.key(ofQuote, r, r[offQuote:offQuote+32]), binary.LittleEndian.Uint64(boot))
	if r.has(flagAK) {
		k.ak(r, r[offAK:offAK+32], boot, chip)
	}
	if !r.proven() {
		return
	}
	if r.has(flagEK) && chip != nil {
		ek := r[offEK : offEK+32]
		k.put(k.key(ofEK, r, ek), k.value(chip))
		k.put(k.key(ofEKBoot, r, ek, boot), k.value(chip))
	}
	if instance := r.instanceOctets(); instance != nil && chip != nil {
		k.put(k.key(ofInstance, r, instance), k.value(chip))
		k.put(k.key(ofInstanceBoot, r, instance, boot), k.value(chip))
	}
}

func (r *row) instanceOctets() []byte {
	if r.has(flagGCEInstance | flagAzureVM) {
		return r[offInstance : offInstance+16]
	}
	return nil
}

// ak takes what one AK signed.
func (k *keyer) ak(r *row, ak, boot, chip []byte) {
	k.put(k.key(ofBoot, r, ak, boot), k.value(r[offBank:offBank+1], r[offPCRs:offPCRs+32]))
	if chip != nil {
		k.put(k.key(ofAK, r, ak), k.value(chip))
	}
	tee := r[offMeasurement : offRTMRs+32]
	if r.isMetal() {
		tee = nil // one TPM, many TDs
	}
	k.put(k.key(ofBootTEE, r, ak, boot), k.value(tee, chip))
	if r.has(flagFresh) {
		k.rise(k.key(ofCounters, r, ak), uint64(r.u32(offReset))<<32|uint64(r.u32(offRestart)))
		k.rise(k.key(ofClock, r, ak, boot), r.u64(offClock))
	}
	if r.profile() == poclog.GCETDXvTPM && r.has(flagGCEInstance) {
		var keyType [8]byte
		binary.LittleEndian.PutUint64(keyType[:], k.term(r.term(offKeyType)))
		k.put(k.key(ofInstanceKey, r, r[offInstance:offInstance+16], keyType[:]), k.value(ak))
	}
}
