package monitor

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/receipt"
)

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func digestOf(c string) poclog.Digest { return poclog.Sum([]byte(c)) }

// randomEntry is an entry with few values of each member, so that two of them often share some.
func randomEntry(r *rand.Rand) *poclog.Entry {
	ab := func() string { return pick(r, "a", "b") }
	e := &poclog.Entry{
		Appraisal: 1, Profile: pick(r, poclog.Profiles()...), Level: pick(r, uint32(0), 2, 2, 2), Realm: pick(r, poclog.Lab, poclog.Lab, poclog.Production),
		Quote: poclog.Identity("quote:" + digestOf(ab()).String()), Appraised: poclog.UnixTime(1_700_000_000 + r.Int64N(1000)),
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("b")), Policy: poclog.BlobOf([]byte("p"))},
		CVM:      poclog.CVM{Technology: "tdx", Measurement: bytes.Repeat([]byte(ab()), 48)},
	}
	isSNP := e.Profile == poclog.SNP || e.Profile == poclog.AzureSNPvTPM
	if isSNP {
		e.CVM.Technology, e.CVM.SNP = "snp", &poclog.SNPReport{Product: pick(r, "Milan", "Genoa"), Signer: "vcek"}
		e.Chassis = []poclog.Identity{poclog.Identity("amd:snp:chipid:" + strings.Repeat(pick(r, "0a", "0b"), 64))}
	} else {
		e.Chassis = []poclog.Identity{poclog.Identity("intel:tdx:ppid:" + strings.Repeat(pick(r, "0a", "0b"), 16))}
		if r.IntN(2) == 0 {
			e.Chassis = append([]poclog.Identity{poclog.Identity("intel:tdx:piid:" + strings.Repeat(pick(r, "0a", "0b"), 16))}, e.Chassis...)
		}
		e.CVM.FMSPC, e.CVM.PCEID = bytes.Repeat([]byte(ab()), 6), []byte{0, pick(r, byte(0), 0, 1)}
		if r.IntN(2) == 0 {
			e.CVM.RTMRs = [][48]byte{{pick(r, byte(1), 2)}, {pick(r, byte(1), 2)}, {3}, {}}
		}
		if r.IntN(2) == 0 {
			e.CVM.TCB = &poclog.TCB{Status: "UpToDate", Date: poclog.UnixTime(1), Evaluation: uint32(r.IntN(3))}
		}
	}
	if e.Profile == poclog.BareMetalTDXTPM {
		e.Chassis = append(e.Chassis, poclog.Identity("tpm:ek:"+digestOf(ab()).String()))
	}
	if e.Profile != poclog.TDX && e.Profile != poclog.SNP {
		randomTPM(r, e)
	}
	if r.IntN(3) > 0 {
		e.Fresh = &poclog.Fresh{Origin: "a", Size: 5}
	}
	if r.IntN(4) > 0 {
		e.Place = &poclog.Place{Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}}}
		e.Place.Region = poclog.Claim{Value: pick(r, "north", "south"), By: []string{pick(r, "aia-hint", "ak-certificate")}}
		e.Place.Zone = poclog.Claim{Value: pick(r, "north-a", "south-a"), By: []string{pick(r, "aia-hint", "vlek")}}
	}
	return e
}

func randomTPM(r *rand.Rand, e *poclog.Entry) {
	boot, one, two := digestOf("boot"), digestOf(pick(r, "a", "b")), digestOf(pick(r, "a", "b"))
	e.Boot = &boot
	e.Keys = []poclog.Identity{poclog.Identity("tpm:ak:" + digestOf(pick(r, "a", "b")).String())}
	if e.Profile == poclog.AzureTDXvTPM {
		e.Keys = append(e.Keys, poclog.Identity("tpm:ek:"+digestOf(pick(r, "a", "b")).String()))
	}
	switch e.Profile {
	case poclog.GCETDXvTPM:
		e.Instance = poclog.GCEInstanceIdentity(1, 1+uint64(r.IntN(2)))
	case poclog.AzureTDXvTPM, poclog.AzureSNPvTPM:
		e.Instance = pick[poclog.Identity](r, "azure:vm:00000000-0000-0000-0000-000000000001", "azure:vm:00000000-0000-0000-0000-000000000002")
	}
	e.TPM = &poclog.TPM{
		KeyType: pick(r, "rsa-2048", "ecc-p256"), PCRDigest: bytes.Repeat([]byte{1}, 32), Clock: pick(r, uint64(5), 6),
		ResetCount: pick(r, uint32(1), 2), RestartCount: pick(r, uint32(1), 2), Safe: true,
	}
	all := []uint8{0, 1, 2, 3, 4, 5, 6, 7}
	if r.IntN(3) > 0 {
		e.TPM.PCRs = append(e.TPM.PCRs, poclog.PCRBank{Alg: "sha256", Selected: all, Firmware: &one})
	}
	if r.IntN(3) == 0 {
		e.TPM.PCRs = append(e.TPM.PCRs, poclog.PCRBank{Alg: "sha384", Selected: all, Firmware: &two})
	}
	if r.IntN(4) > 0 {
		e.Checks = []string{"tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm"}
	}
}

func rowOf(t testing.TB, e *poclog.Entry, terms *terms) (out row) {
	t.Helper()
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var p poclog.Projection
	if kind, err := p.Read(leaf); err != nil || kind != poclog.LeafProof {
		t.Fatal(kind, err)
	}
	out.fill(KindProof, &p, receipt.LeafHash(leaf), 1, terms)
	return out
}

// The index finds what a comparison of all with all finds of values that change, and memory for an
// identity stays within its bound.
func TestTheIndexFindsEveryChange(t *testing.T) {
	x := newIndex()
	r := rand.New(rand.NewPCG(3, 4))
	type entry struct {
		a     arrival
		value uint64
	}
	seen := make(map[uint64][]entry)
	next := map[int]uint64{1: 0, 2: 0}
	for range 20_000 {
		log := 1 + r.IntN(2)
		key, value := 1+r.Uint64N(500), 1+r.Uint64N(3)
		a := arrival{log: log, index: next[log], after: log, treeSize: next[log] - min(next[log], r.Uint64N(50))}
		next[log]++
		hashed := x.hash([]byte{byte(key), byte(key >> 8)})
		found := make(map[ref]bool)
		x.add(a, facet{key: hashed, value: value}, func(of ref) { found[of] = true })
		// The latest entry of every other value that this key has in the same log and is not proven
		// older must be found, and the first entry of a value must be compared with every other.
		latest, isNew := make(map[uint64]entry), true
		for _, e := range seen[key] {
			if e.a.log == log {
				latest[e.value] = e
				isNew = isNew && e.value != value
			}
		}
		for v, e := range latest {
			if v != value && (isNew || e.a.index >= a.treeSize) && !found[refOf(log, e.a.index)] {
				t.Fatalf("entry %d with value %d was not compared with %d of value %d", a.index, value, e.a.index, v)
			}
		}
		seen[key] = append(seen[key], entry{a, value})
	}
}

func TestTheIndexBoundsTheValuesOfAKey(t *testing.T) {
	x := newIndex()
	for i := range uint64(10_000) {
		n := 0
		x.add(arrival{log: 1, index: i}, facet{key: 77, value: i + 1}, func(ref) { n++ })
		if n > maxValues {
			t.Fatalf("%d comparisons for one entry", n)
		}
	}
	if used, _ := x.size(); used > maxValues {
		t.Errorf("%d slots for one key", used)
	}
}

func TestFallingValuesAreFound(t *testing.T) {
	x := newIndex()
	add := func(index, value uint64) (found []uint64) {
		x.add(arrival{log: 1, index: index}, facet{key: 5, value: value, rising: true}, func(r ref) { found = append(found, r.index()) })
		return found
	}
	for i, v := range []uint64{5, 5, 7, 9, 9} {
		if got := add(uint64(i), v); got != nil {
			t.Fatalf("value %d: found %v", v, got)
		}
	}
	// The greatest was first reached by entry 3, the one before by entry 2.
	if got := add(5, 6); len(got) != 2 || got[0] != 3 || got[1] != 2 {
		t.Errorf("6 after 9: found %v: want 3 and 2", got)
	}
	if got := add(6, 8); len(got) != 1 || got[0] != 3 {
		t.Errorf("8 after 9: found %v: want 3", got)
	}
}
