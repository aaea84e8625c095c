package monitor

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"time"

	"github.com/poclog/poclog"
)

// A Kind is what a leaf is.
type Kind uint8

// The kinds. None is zero, so that a filter's zero value is every kind.
const (
	KindProof     Kind = 1 + iota
	KindConfig         // the log's policy changed
	KindUnknown        // a kind or version that this software does not know: still a leaf
	KindMalformed      // of a known kind and not in its form: there is an alert
	KindIndex          // commits to the index of the log
	KindStatement      // what a registrar states of an identity
)

// String returns "proof", "config", "unknown", "malformed", "index" or "statement".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

var kindNames = [...]string{KindProof: "proof", KindConfig: "config", KindUnknown: "unknown", KindMalformed: "malformed", KindIndex: "index", KindStatement: "statement"}

// A Record is what the monitor keeps of an entry: enough to answer every question about identities,
// places and times without asking the log again. It is derived from the verified leaf alone. Fields
// of what an entry does not have are zero.
type Record struct {
	Origin string        // of the log
	Index  uint64        // in the log
	Leaf   poclog.Digest // RFC 6962 leaf hash: what the log answers later must hash to it
	Kind   Kind

	FirstSeen time.Time // when the first checkpoint under which this monitor saw the entry met the quorum; the monitor's own time where that has none
	Appraised time.Time // of a config entry, when it took effect

	// Of proofs alone.
	Profile poclog.Profile
	Level   uint32
	Realm   poclog.Realm
	Fresh   *Fresh // nil for historical evidence
	Place   Place

	Chip     poclog.Identity // PPID or CHIP_ID
	PIID     poclog.Identity
	EK       poclog.Identity
	AK       poclog.Identity
	KeyType  string // of the AK, such as "rsa-2048"
	Instance poclog.Identity
	Quote    poclog.Identity
	More     bool // the entry has a further identity of one of these kinds, which no appraisal makes

	Boot         poclog.Digest // SHA-256 of TPMS_ATTEST
	ResetCount   uint32
	RestartCount uint32
	Clock        uint64 // milliseconds
	Safe         bool
	PCRs         poclog.Digest // digest of PCR 0 to 7 of the bank that has them all; of several banks' algorithms and digests, where several have

	Measurement [48]byte
	RTMRs       poclog.Digest // SHA-256 of RTMR 0 and 1, concatenated; zero where there are none
	FMSPC       [6]byte
	PCEID       [2]byte
	TCB         string // status; empty where there was no collateral
	Evaluation  uint32 // tcbEvaluationDataNumber

	Bundle poclog.Digest
	Joined bool // the AK and the TEE are bound to each other: the TPM's quote covers the TEE's, which names the AK
}

// A Fresh says which challenge the evidence answers.
type Fresh struct {
	Origin string
	Size   uint64
	Root   poclog.Digest
}

// A Place is where the chassis stands. What only hints say is not authenticated.
type Place struct {
	Provider, Region, Zone                            string
	ProviderAuthentic, RegionAuthentic, ZoneAuthentic bool
}

// rowSize is the size of a record in a records file, in bytes.
const rowSize = 512

// userDataSize is how much of the digest of user data a row has: enough that nobody finds other
// data with the same.
const userDataSize = rowSize - offUserData

// A row is a record as it lies in the records file: fixed offsets, little-endian numbers, strings
// as terms of the log. Bytes that an entry has nothing for are zero. The checksum covers the index
// and what follows it, so that a row can neither rot nor stand in another's place unnoticed.
type row [rowSize]byte

// Offsets in a row.
const (
	offSum         = 0
	offKind        = 4
	offProfile     = 5 // 1 + place in profiles
	offLevel       = 6
	offRealm       = 7 // 1: production, 2: lab
	offFlags       = 8
	offEvaluation  = 12
	offFirstSeen   = 16 // Unix seconds
	offAppraised   = 24
	offLeaf        = 32
	offQuote       = 64
	offChip        = 96  // 64 bytes of a CHIP_ID; or 16 of a PPID, and then:
	offPIID        = 112 // 16
	offFMSPC       = 128 // 6
	offPCEID       = 134 // 2
	offAK          = 160
	offEK          = 192
	offInstance    = 224 // project and instance number, or UUID
	offReset       = 240
	offRestart     = 244
	offClock       = 248
	offBoot        = 256
	offPCRs        = 288
	offMeasurement = 320
	offRTMRs       = 368
	offBundle      = 400
	offFreshSize   = 432
	offFreshRoot   = 440
	offOrigin      = 472 // terms, four bytes each: of the challenge's origin,
	offProvider    = 476
	offRegion      = 480
	offZone        = 484
	offTCB         = 488
	offKeyType     = 492
	offBank        = 496 // one byte: 1 + place in banks, or severalBanks
	offProduct     = 497 // one byte: 1 + place in products
	offUserData    = 498 // the first octets of the digest of what the proof speaks for; zero: it speaks for nothing
)

// Flags of a row.
const (
	flagFresh = 1 << iota
	flagSafe
	flagMore
	flagProviderAuthentic
	flagRegionAuthentic
	flagZoneAuthentic
	flagPPID
	flagChipID
	flagPIID
	flagAK
	flagEK
	flagGCEInstance
	flagAzureVM
	flagTPM
	flagQuote
	flagJoined
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r *row) sum(index uint64) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], index)
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, r[offKind:])
}

// seal sets the checksum of a row that is to stand at an index.
func (r *row) seal(index uint64) { r.put32(offSum, r.sum(index)) }

// sealed reports whether a row is whole and stands where it was written.
func (r *row) sealed(index uint64) bool { return r.u32(offSum) == r.sum(index) }

func (r *row) u32(at int) uint32               { return binary.LittleEndian.Uint32(r[at:]) }
func (r *row) u64(at int) uint64               { return binary.LittleEndian.Uint64(r[at:]) }
func (r *row) put32(at int, v uint32)          { binary.LittleEndian.PutUint32(r[at:], v) }
func (r *row) put64(at int, v uint64)          { binary.LittleEndian.PutUint64(r[at:], v) }
func (r *row) digest(at int) (d poclog.Digest) { copy(d[:], r[at:]); return d }
func (r *row) term(at int) term                { return term(r.u32(at)) }
func (r *row) has(flag uint32) bool            { return r.u32(offFlags)&flag != 0 }
func (r *row) kind() Kind                      { return Kind(r[offKind]) }
func (r *row) appraised() int64                { return int64(r.u64(offAppraised)) }

// identity returns a hexadecimal identity, if the row has it.
func (r *row) identity(flag uint32, kind string, at, n int) poclog.Identity {
	if !r.has(flag) {
		return ""
	}
	return poclog.Identity(kind + ":" + hex.EncodeToString(r[at:at+n]))
}

func (r *row) chip() poclog.Identity {
	if r.has(flagPPID) {
		return r.identity(flagPPID, poclog.IntelPPID, offChip, 16)
	}
	return r.identity(flagChipID, poclog.AMDChipID, offChip, 64)
}

func (r *row) instance() poclog.Identity {
	switch {
	case r.has(flagGCEInstance):
		return poclog.GCEInstanceIdentity(r.u64(offInstance), r.u64(offInstance+8))
	case r.has(flagAzureVM):
		h := hex.EncodeToString(r[offInstance : offInstance+16])
		return poclog.Identity(poclog.AzureVM + ":" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
	}
	return ""
}

// record makes the record of a row.
func (r *row) record(origin string, index uint64, terms *terms) *Record {
	out := &Record{
		Origin: origin, Index: index, Leaf: r.digest(offLeaf), Kind: r.kind(),
		FirstSeen: r.seen(),
	}
	if at := r.appraised(); at != 0 {
		out.Appraised = poclog.UnixTime(at)
	}
	if out.Kind == KindProof {
		r.proof(out, terms)
	}
	return out
}

func (r *row) proof(out *Record, terms *terms) {
	out.Profile, out.Level, out.Realm = r.profile(), uint32(r[offLevel]), r.realm()
	if r.has(flagFresh) {
		out.Fresh = &Fresh{Origin: terms.text(r.term(offOrigin)), Size: r.u64(offFreshSize), Root: r.digest(offFreshRoot)}
	}
	out.Place = Place{
		Provider: terms.text(r.term(offProvider)), ProviderAuthentic: r.has(flagProviderAuthentic),
		Region: terms.text(r.term(offRegion)), RegionAuthentic: r.has(flagRegionAuthentic),
		Zone: terms.text(r.term(offZone)), ZoneAuthentic: r.has(flagZoneAuthentic),
	}
	out.Chip = r.chip()
	out.PIID = r.identity(flagPIID, poclog.IntelPIID, offPIID, 16)
	out.EK = r.identity(flagEK, poclog.TPMEK, offEK, 32)
	out.AK = r.identity(flagAK, poclog.TPMAK, offAK, 32)
	out.KeyType = terms.text(r.term(offKeyType))
	out.Instance = r.instance()
	out.Quote = r.identity(flagQuote, poclog.QuoteKind, offQuote, 32)
	out.More, out.Safe, out.Joined = r.has(flagMore), r.has(flagSafe), r.has(flagJoined)
	out.Boot, out.PCRs, out.RTMRs, out.Bundle = r.digest(offBoot), r.digest(offPCRs), r.digest(offRTMRs), r.digest(offBundle)
	out.ResetCount, out.RestartCount, out.Clock = r.u32(offReset), r.u32(offRestart), r.u64(offClock)
	copy(out.Measurement[:], r[offMeasurement:])
	if !r.has(flagChipID) {
		copy(out.FMSPC[:], r[offFMSPC:])
		copy(out.PCEID[:], r[offPCEID:])
	}
	out.TCB, out.Evaluation = terms.text(r.term(offTCB)), r.u32(offEvaluation)
}

// profiles are numbered by their places here, from 1: a new one goes to the end.
var profiles = []poclog.Profile{poclog.GCETDXvTPM, poclog.BareMetalTDXTPM, poclog.AzureTDXvTPM, poclog.AzureSNPvTPM, poclog.TDX, poclog.SNP}

func (r *row) profile() poclog.Profile {
	if n := int(r[offProfile]); n >= 1 && n <= len(profiles) {
		return profiles[n-1]
	}
	return ""
}

func (r *row) realm() poclog.Realm {
	switch r[offRealm] {
	case 1:
		return poclog.Production
	case 2:
		return poclog.Lab
	}
	return ""
}

// seen is when the first checkpoint under which the entry was read met the quorum.
func (r *row) seen() time.Time { return poclog.UnixTime(int64(r.u64(offFirstSeen))) }
