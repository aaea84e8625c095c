package poclog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
)

// The samples have every member, so that what they show holds for all.

func fill(n int, c byte) []byte { return bytes.Repeat([]byte{c}, n) }

func sampleEntry() *poclog.Entry {
	boot := poclog.Sum([]byte("boot"))
	firmware := poclog.Sum([]byte("pcr 0 to 7"))
	return &poclog.Entry{
		Appraisal: 1, Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound, Realm: poclog.Production,
		Chassis:  []poclog.Identity{"intel:tdx:piid:" + "0102030405060708090a0b0c0d0e0f10", "intel:tdx:ppid:" + "1112131415161718191a1b1c1d1e1f20"},
		Keys:     []poclog.Identity{poclog.Identity("tpm:ak:" + boot.String())},
		Instance: poclog.GCEInstanceIdentity(1234, 18446744073709551615),
		Quote:    poclog.Identity("quote:" + firmware.String()),
		Boot:     &boot,
		Place: &poclog.Place{
			Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}},
			Region:   poclog.Claim{Value: "us-central1", By: []string{"ak-certificate"}},
			Zone:     poclog.Claim{Value: "us-central1-a", By: []string{"ak-certificate", "log-observed"}},
		},
		CVM: poclog.CVM{
			Technology: "tdx", Measurement: fill(48, 0xa1), EndorsedBy: "provider",
			RTMRs: [][48]byte{{1}, {2}, {3}, {}}, ReportData: [64]byte{7}, MROwner: fill(48, 0xb2), MRConfigID: fill(48, 0xc3),
			TCB:   &poclog.TCB{Status: "UpToDate", Date: poclog.UnixTime(1700000000), Advisories: []string{"INTEL-SA-00828", "INTEL-SA-00837"}, Evaluation: 19},
			FMSPC: []byte{0x90, 0xc0, 0x6f, 0, 0, 0}, PCEID: []byte{0, 0},
		},
		TPM: &poclog.TPM{
			KeyType:   "rsa-2048",
			PCRs:      []poclog.PCRBank{{Alg: "sha256", Selected: []uint8{0, 1, 2, 3, 4, 5, 6, 7, 14}, Firmware: &firmware}, {Alg: "sha384", Selected: []uint8{0}}},
			PCRDigest: fill(32, 0xd4), ExtraData: fill(32, 0xe5), Clock: 1<<63 + 5, ResetCount: 7, RestartCount: 8, Safe: true, Firmware: 0x2016051100162800,
		},
		Fresh: &poclog.Fresh{
			Origin: "log.example.org/poc", Size: 1 << 40, Root: poclog.Sum([]byte("root")), Checkpoint: poclog.Sum([]byte("checkpoint")),
			Salt: poclog.Sum([]byte("salt")), UserData: poclog.Sum([]byte("key")),
		},
		Publishers: sampleDigests(poclog.Sum([]byte("one key")), poclog.Sum([]byte("another key"))),
		Checks:     []string{"tee.signature", "tee.chain", "tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm"}, Absent: []string{"place.registry"},
		Evidence: poclog.EvidenceDigests{
			Bundle: poclog.BlobOf([]byte("bundle")), Envelope: poclog.BlobOf([]byte("envelope")), Collateral: poclog.BlobOf([]byte("collateral")), Policy: poclog.BlobOf([]byte("policy")),
		},
		Appraised: poclog.UnixTime(1780922561),
	}
}

// sampleSNPEntry has what only SEV-SNP has.
func sampleSNPEntry() *poclog.Entry {
	e := sampleEntry()
	e.Profile, e.Chassis = poclog.AzureSNPvTPM, []poclog.Identity{poclog.Identity("amd:snp:chipid:" + strings.Repeat("0a", 64))}
	e.CVM = poclog.CVM{
		Technology: "snp", Measurement: fill(48, 0xa1), EndorsedBy: "policy", ReportData: [64]byte{7},
		SNP: &poclog.SNPReport{
			Product: "Turin", Signer: "vlek", Policy: 1<<63 + 5, GuestSVN: 3, Reported: [8]byte{1}, Committed: [8]byte{2}, Launch: [8]byte{3},
			IDKey: fill(48, 0xb2), HostData: fill(32, 0xc3),
		},
	}
	return e
}

// sampleSNPPolicy has what only SEV-SNP has.
func sampleSNPPolicy() *poclog.Policy {
	p := samplePolicy()
	p.SNPTCB = []poclog.SNPTCB{{Product: "Milan", Bootloader: 4, SNP: 24, Microcode: 219}, {Product: "Turin", FMC: 1, SNP: 2}}
	p.IDKeys = []poclog.IDKey{{Profile: poclog.AzureSNPvTPM, Digest: strings.Repeat("a5", 48), GuestSVN: 7, Name: "paravisor"}}
	return p
}

// sampleEndorsedEntry has what others vouch for.
func sampleEndorsedEntry() *poclog.Entry {
	e := sampleEntry()
	e.Endorsements = []poclog.Endorsement{
		{Kind: poclog.AllianceToken, By: poclog.Digest(fill(32, 10)), Of: e.Chassis[1], Says: "rack 7", From: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)},
		{Kind: poclog.AllianceToken, By: poclog.Digest(fill(32, 11)), Of: e.Chassis[1], Says: `a "label"`},
		{
			Kind: poclog.OwnerEndorsement, By: poclog.Sum([]byte("root")), Of: e.Chassis[0], Says: "owner.example",
			From: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC),
		},
	}
	return e
}

// sampleEndorsingPolicy lists who may vouch.
func sampleEndorsingPolicy() *poclog.Policy {
	p := samplePolicy()
	p.Alliances = []poclog.Alliance{{Name: "an alliance", Key: strings.Repeat("0a", 32)}, {Name: "another", Key: strings.Repeat("0b", 32)}}
	p.Roots = append(p.Roots, poclog.Root{Use: poclog.RootPlatformOwner, SHA256: poclog.Sum([]byte("owner")), Name: "owner.example"})
	return p
}

func sampleEndorsements() *poclog.Collateral {
	return new(poclog.Collateral).With(
		poclog.CollateralItem{Kind: poclog.AllianceToken, Body: []byte("e30.e30.AAAA")},
		poclog.CollateralItem{Kind: poclog.AllianceToken, URL: "https://another.example/get_jwt", Shown: 8000, Body: []byte("e30.e30.AAAA")},
		poclog.CollateralItem{Kind: poclog.OwnerEndorsement, Chain: []byte("-----BEGIN"), Body: []byte{0xd2, 0x84}},
	)
}

func sampleBundle() *poclog.Bundle {
	b := new(poclog.Bundle)
	for i, item := range poclog.Items() {
		b.Set(item, fill(i+1, byte(i)))
	}
	return b
}

func sampleCollateral() *poclog.Collateral {
	return new(poclog.Collateral).With(
		poclog.CollateralItem{Kind: poclog.ChipRegistry, URL: "https://registry.example/1", Time: poclog.UnixTime(1780922561), Status: 404, Body: []byte("no such object")},
		poclog.CollateralItem{Kind: poclog.ChipRegistry, URL: "https://registry.example/2", Time: poclog.UnixTime(1780922561), Status: 204},
		poclog.CollateralItem{Kind: poclog.IntelRootCRL, Body: []byte{0x30, 0}},
		poclog.CollateralItem{Kind: poclog.TDXTCBInfo, URL: "https://pcs.example/tcb?fmspc=1", Chain: []byte("-----BEGIN"), Body: []byte(`{"tcbInfo":"<&>"}`)},
	)
}

func sampleChallenge() *poclog.Challenge {
	return &poclog.Challenge{Profile: poclog.GCETDXvTPM, Checkpoint: []byte("log.example.org/poc\n1\n"), Salt: [32]byte{1, 2}, UserData: poclog.Sum(nil)}
}

func samplePolicy() *poclog.Policy {
	return &poclog.Policy{
		V: 1, Realm: poclog.Production,
		Admit:           []poclog.Admission{{Profile: poclog.AzureTDXvTPM, Level: 0, Historical: true}, {Profile: poclog.GCETDXvTPM, Level: 2}},
		MaxChallengeAge: 600, ChallengePolicy: []string{"log log.example.org+00000000+AAAA", "quorum none"},
		Roots:      []poclog.Root{{Use: poclog.RootAzureAK, SHA256: poclog.Sum([]byte("azure")), Name: "a <root> & more"}, {Use: poclog.RootIntelSGX, SHA256: poclog.Sum([]byte("intel")), Name: "Intel"}},
		TCB:        []string{"OutOfDate", "UpToDate"},
		Launch:     []poclog.Launch{{Profile: poclog.GCETDXvTPM, Measurement: poclog.Sum(nil).String() + poclog.Sum(nil).String()[:32], Name: "firmware"}},
		TXT:        []poclog.TXTLaunch{{Name: "host", Alg: "sha256", PCR17: poclog.Sum([]byte("17")).String(), PCR18: poclog.Sum([]byte("18")).String()}},
		Registries: []poclog.Registry{{Provider: "gce", URL: "https://registry.example/"}},
		Publishers: &poclog.Publishers{Threshold: 1, Keys: []string{sampleKey(0).String()}},
	}
}

// sampleKey is a publisher's key: Ed25519, ECDSA on P-256 or on P-384.
func sampleKey(i int) *poclog.PublisherKey {
	var public any = ed25519.NewKeyFromSeed(fill(32, 1)).Public()
	if i > 0 {
		curve := []elliptic.Curve{elliptic.P256(), elliptic.P384()}[i-1]
		private, err := ecdsa.ParseRawPrivateKey(curve, fill(curve.Params().BitSize/8, 1))
		if err != nil {
			panic(err) // the scalar is in range
		}
		public = private.Public()
	}
	k, err := poclog.NewPublisherKey(public)
	if err != nil {
		panic(err) // it is of a kind that is taken
	}
	return k
}

func sampleDigests(list ...poclog.Digest) []poclog.Digest {
	slices.SortFunc(list, func(a, b poclog.Digest) int { return bytes.Compare(a[:], b[:]) })
	return list
}

func sampleEnvelope() *poclog.Envelope {
	return &poclog.Envelope{
		PayloadType: poclog.SubmissionType, Payload: []byte(`{"v":1,"bundle":"Yg"}`),
		Signatures: []poclog.Signature{{KeyID: "SHA256:one", Sig: fill(64, 1)}, {KeyID: "SHA256:two", Sig: fill(70, 2)}},
	}
}

func sampleReceipt() *poclog.Receipt {
	return &poclog.Receipt{
		Entry: []byte(`{"v":1}`), Index: 5, Challenge: []byte("challenge checkpoint"),
		Inclusion: poclog.Inclusion{Hashes: [][32]byte{{1}, {2}}, Checkpoint: []byte("origin\n6\nroot\n\n— x y\n")},
		First:     &poclog.Inclusion{Hashes: [][32]byte{{3}}, Checkpoint: []byte("first\n")},
	}
}

func sampleExceptions() *poclog.Exceptions {
	return &poclog.Exceptions{
		Auditor: "auditor.example/a1/except", Origin: "log.example/2026", Size: 1 << 40, Root: poclog.Sum([]byte("root")), Except: []uint64{0, 7, 1 << 33},
		Signatures: []poclog.NoteSignature{{ID: [4]byte{1}, Sig: fill(64, 1)}, {ID: [4]byte{1, 2}, Sig: fill(2420, 2)}},
	}
}

// sampleExcepted is a receipt with notes of exceptions.
func sampleExcepted(t testing.TB) *poclog.Receipt {
	r := sampleReceipt()
	r.Exceptions = [][]byte{must(t, sampleExceptions()), []byte("another")}
	return r
}

func sampleConfig() *poclog.Config {
	return &poclog.Config{Policy: poclog.BlobOf([]byte("policy")), Software: "poclog v1.0.0", Time: time.Unix(1780922561, 0).UTC()}
}

func sampleIndexEntry() *poclog.IndexEntry {
	return &poclog.IndexEntry{Algorithm: 1, Size: 48211, Checkpoint: poclog.Sum([]byte("checkpoint")), Root: poclog.Sum([]byte("map"))}
}

func sampleDossier(t testing.TB) *poclog.Dossier {
	before := poclog.Sum([]byte("before"))
	return &poclog.Dossier{
		Index: []byte("a receipt"), Checkpoint: []byte("a checkpoint"), Since: []byte("an older one"),
		Names: []poclog.DossierName{
			{Name: "config", Proof: []byte("proof"), Numbers: []uint64{0}},
			{Name: "intel:tdx:ppid:1112131415161718191a1b1c1d1e1f20", Proof: []byte("proof"), Before: &before, Numbers: []uint64{7, 8, 1 << 40}},
		},
		Pages: []poclog.DossierPage{
			{Entries: []poclog.DossierEntry{{Number: 0, Leaf: must(t, sampleConfig())}, {Number: 7, Leaf: must(t, sampleIndexEntry()), Challenge: 1, First: 2}}, Proof: [][32]byte{{1}, {2}},
				Checkpoints: []poclog.DossierCheckpoint{{Checkpoint: []byte("challenge")}, {Checkpoint: []byte("first"), Consistency: [][32]byte{{3}}}}},
			{Entries: []poclog.DossierEntry{{Number: 8, Leaf: []byte(`{"a":"}]\\\""}`)}}},
		},
	}
}

func sampleIndexWrong(t testing.TB) *poclog.IndexWrong {
	return &poclog.IndexWrong{Index: []byte("a receipt"), DossierName: sampleDossier(t).Names[1], Entry: []byte("another")}
}

// must returns the bytes of a noun that is known to be valid.
func must(t testing.TB, n interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	b, err := n.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
