package poclog

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// Appraisal is the newest appraisal specification (docs/format.md §8). An entry names the one that
// made it; any change to any claim is a new number, and the appraisers of all earlier numbers stay.
const Appraisal = 1

// Levels of entries.
const (
	LevelChip  = 0 // a genuine chip; the place is unproven
	LevelBound = 2 // every required check of a binding profile passed
)

// Limits of an entry's members.
const (
	maxIdentities = 8
	maxName       = 128
	maxSources    = 8
	maxChecks     = 64
	maxAdvisories = 64
	maxBanks      = 8
	maxSays       = 255 // printable ASCII; no DNS name is longer
	maxCheckID    = 40  // of a check, or of a source of a place
	maxTCBWord    = 40  // a status or an advisory
	maxPCRs       = 32  // of a bank
)

// An Entry is what the log says of one bundle: the leaf of kind "proof", docs/format.md §7. It is a
// function of bundle, collateral, policy, Appraised and Appraisal, so that an auditor can compute
// it again and compare bytes.
type Entry struct {
	Appraisal uint32  // the appraisal specification, ≥ 1
	Profile   Profile // how the VM is bound to its platform
	Level     uint32  // LevelChip or LevelBound
	Realm     Realm

	Chassis  []Identity // of the machine: chip and, on bare metal, EK; ascending
	Keys     []Identity // of the TPM's keys; ascending
	Instance Identity   // of the VM, or empty
	Quote    Identity   // of the TEE quote
	Boot     *Digest    // SHA-256 of TPMS_ATTEST; nil without a TPM quote

	Place        *Place        // nil where nothing says where the chassis stands
	Endorsements []Endorsement // what others vouch for, ascending by kind and signer, one of each
	CVM          CVM
	TPM          *TPM   // nil without a TPM quote
	Fresh        *Fresh // nil for historical evidence

	// Publishers names those who signed the submission by digest of their keys, ascending; none
	// where the policy admits everybody's.
	Publishers []Digest

	Checks []string // ids of checks that passed, in the order of verify.Checks
	Absent []string // ids of checks that the profile or the evidence could not make, in that order

	Evidence  EvidenceDigests
	Appraised time.Time // when validity was judged: UTC, whole seconds
}

// An Endorsement is what someone who is neither chip maker nor provider signed about the machine.
// It is no place: docs/format.md §7 says what may be relied on.
type Endorsement struct {
	Kind  CollateralKind // AllianceToken or OwnerEndorsement
	By    Digest         // who signed: an alliance's Ed25519 key itself, or the SHA-256 of an owner's root certificate, as the policy lists them
	Of    Identity       // what it is about: the chip or, for an owner, the platform instance; one of the entry's chassis
	Says  string         // the registry's label of the machine, or the owner's name; see [CanSay]
	From  time.Time      // when the registry said so, zero where it gives no time; or from when the machine is the owner's; whole seconds
	Until time.Time      // until when it is the owner's; zero for a registry's, which says nothing of later
}

var endorsementKinds = []CollateralKind{AllianceToken, OwnerEndorsement}

// CanSay reports whether s can stand in an entry as what an endorsement says.
func CanSay(s string) bool { return s != "" && len(s) <= maxSays && canon.Printable(s) }

// CompareEndorsements gives the order of an entry's list: by kind, then by signer.
func CompareEndorsements(a, b Endorsement) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), slices.Compare(a.By[:], b.By[:]))
}

// CVM is what the TEE quote says of the confidential VM.
type CVM struct {
	Technology  string     // "tdx" or "snp"
	Measurement []byte     // MRTD or launch measurement, 48 bytes
	EndorsedBy  string     // "provider" or "policy"; empty if nobody vouches for the measurement
	RTMRs       [][48]byte // four; none if all zero, and for SNP
	ReportData  [64]byte
	MROwner     []byte     // 48 bytes; empty if all zero
	MRConfigID  []byte     // 48 bytes; empty if all zero
	TCB         *TCB       // nil where there was no collateral
	FMSPC       []byte     // 6 bytes; empty for SNP
	PCEID       []byte     // 2 bytes; empty for SNP
	SNP         *SNPReport // nil for TDX
}

// An SNPReport is what a SEV-SNP report says beyond what all TEEs do. TCB versions are octets as in
// the report.
type SNPReport struct {
	Product   string // "Genoa", "Milan" or "Turin"
	Signer    string // "vcek", the chip's own key, or "vlek", one that AMD made for a cloud's chips
	Policy    uint64 // the guest's policy
	GuestSVN  uint32
	Reported  [8]byte // REPORTED_TCB, for which the signing key was derived
	Committed [8]byte // COMMITTED_TCB, below which the firmware cannot go back
	Launch    [8]byte // LAUNCH_TCB, when the VM was launched
	IDKey     []byte  // ID_KEY_DIGEST, 48 bytes; empty if all zero
	HostData  []byte  // 32 bytes; empty if all zero
}

// TCB is the security version's standing when it was judged.
type TCB struct {
	Status     string // Intel's words, such as "UpToDate"
	Date       time.Time
	Advisories []string // ascending
	Evaluation uint32   // tcbEvaluationDataNumber
}

// TPM is what the TPM quote says.
type TPM struct {
	KeyType      string // of the AK: "rsa-2048" to "rsa-4096", "ecc-p256" or "ecc-p384"; one TPM may have an AK of each
	PCRs         []PCRBank
	PCRDigest    []byte // as signed: 32, 48 or 64 bytes
	ExtraData    []byte // as signed; empty if none
	Clock        uint64 // milliseconds
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
	Firmware     uint64
}

const maxKeyType = 8 // bytes: "rsa-2048"

// isKeyType reports whether s names a type of attestation keys: those whose quotes verify.
func isKeyType(s string) bool {
	bits, isRSA := strings.CutPrefix(s, "rsa-")
	if !isRSA {
		return s == "ecc-p256" || s == "ecc-p384"
	}
	n, err := strconv.Atoi(bits)
	return err == nil && n >= 2048 && n <= 4096 && len(bits) == 4
}

// A PCRBank is a bank's selected registers.
type PCRBank struct {
	Alg      string  // "sha1", "sha256", "sha384" or "sha512"
	Selected []uint8 // ascending
	Firmware *Digest // SHA-256 of PCR 0 to 7 of this bank, concatenated; nil unless all are selected
}

// Fresh says which challenge the evidence answers.
type Fresh struct {
	Origin     string // of the challenge's checkpoint
	Size       uint64
	Root       Digest
	Checkpoint Digest // SHA-256 of the signed checkpoint as it stands in the challenge
	Salt       Digest
	UserData   Digest
}

// EvidenceDigests name what was judged, by digest and size of the files. Collateral is zero where
// there was none, Envelope where no publisher signed.
type EvidenceDigests struct {
	Bundle, Envelope, Collateral, Policy Blob
}

// A Blob names a file.
type Blob struct {
	SHA256 Digest
	Size   uint32 // bytes
}

// BlobOf names the file b.
func BlobOf(b []byte) Blob { return Blob{SHA256: Sum(b), Size: uint32(len(b))} }

// A Config is the leaf of kind "config": the policy that is in force from here on. A log's first
// entry is one.
type Config struct {
	Policy   Blob
	Software string    // name and version of the log's software
	Time     time.Time // when it took effect: UTC, whole seconds
}

// A Leaf is any leaf: one member is set, or none for kinds and versions that this software does not
// know, which are still leaves.
type Leaf struct {
	Proof     *Entry
	Config    *Config
	Index     *IndexEntry
	Statement *StatementEntry
}

// ParseLeaf parses the bytes of a leaf. Kinds and versions that it does not know are no error; a
// malformed leaf of a known kind is.
func ParseLeaf(leaf []byte) (Leaf, error) {
	if len(leaf) > MaxEntry {
		return Leaf{}, fmt.Errorf("entry of %d bytes: want at most %d", len(leaf), MaxEntry)
	}
	var l Leaf
	start, code := "", func(*canon.Codec) {}
	switch {
	case bytes.HasPrefix(leaf, []byte(proofStart)):
		l.Proof = new(Entry)
		start, code = proofStart, l.Proof.code
	case bytes.HasPrefix(leaf, []byte(configStart)):
		l.Config = new(Config)
		start, code = configStart, l.Config.code
	case bytes.HasPrefix(leaf, []byte(indexStart)):
		l.Index = new(IndexEntry)
		start, code = indexStart, l.Index.code
	case bytes.HasPrefix(leaf, []byte(statementStart)):
		l.Statement = new(StatementEntry)
		start, code = statementStart, l.Statement.code
	default:
		return Leaf{}, nil
	}
	if err := canon.Read(leaf, func(c *canon.Codec) { c.Lit(start); code(c) }); err != nil {
		return Leaf{}, fmt.Errorf("parse entry: %w", err)
	}
	return l, nil
}

// ParseEntry parses a leaf that must be a proof.
func ParseEntry(leaf []byte) (*Entry, error) {
	l, err := ParseLeaf(leaf)
	if err != nil {
		return nil, err
	}
	if l.Proof == nil {
		return nil, fmt.Errorf("entry %.40q: not a proof of version 1", leaf)
	}
	return l.Proof, nil
}

// Chip returns the identity of the entry's chip, or "" if it names none.
func (e *Entry) Chip() Identity {
	for _, id := range e.Chassis {
		if id.IsChip() {
			return id
		}
	}
	return ""
}

// Identities returns every identity that the entry names.
func (e *Entry) Identities() []Identity {
	ids := slices.Concat(e.Chassis, e.Keys)
	if e.Instance != "" {
		ids = append(ids, e.Instance)
	}
	return append(ids, e.Quote)
}

// configStart is how each leaf of kind "config" that this software knows begins.
const configStart = `{"v":1,"kind":"config"`

// Marshal returns the leaf. It fails if a member is out of its range.
func (f *Config) Marshal() ([]byte, error) {
	leaf, err := canon.Write(MaxEntry, func(c *canon.Codec) {
		c.Lit(configStart)
		f.code(c)
	})
	if err != nil {
		return nil, fmt.Errorf("encode config entry: %w", err)
	}
	return leaf, nil
}

func (f *Config) code(c *canon.Codec) {
	f.Policy.code(c.Member("policy"))
	canon.Word(c.Member("software"), "software", &f.Software, maxName)
	c.Member("time").Time(&f.Time)
	c.Lit("}")
}
