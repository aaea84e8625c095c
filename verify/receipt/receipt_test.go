package receipt_test

import (
	"bytes"
	"errors"
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const origin = "log.test/2026"

func at(second int) time.Time { return time.Unix(1_800_000_000+int64(second), 0).UTC() }

var (
	logKey  = testlog.LogKey(origin)
	pqKey   = testlog.MLDSAKey(origin)
	w1, w2  = testlog.WitnessKey("w1.test"), testlog.WitnessKey("w2.test")
	w3      = testlog.MLDSAKey("w3.test")
	auditor = testlog.WitnessKey("audit.test")
)

func by(s *testlog.Signer, second int) testlog.Cosigner {
	return testlog.Cosigner{Signer: s, At: at(second)}
}

// Policies of the tests, by name.
var policies = map[string]string{
	"none":   "log " + logKey.VKey + "\nquorum none\n",
	"2-of-3": "log " + logKey.VKey + "\nlog " + pqKey.VKey + "\nwitness w1 " + w1.VKey + "\nwitness w2 " + w2.VKey + "\nwitness w3 " + w3.VKey + "\nwitness a " + auditor.VKey + "\ngroup g 2 w1 w2 w3\ngroup auditors any a\nquorum g\n",
	"pq":     "log " + pqKey.VKey + "\nwitness w3 " + w3.VKey + "\nquorum w3\n",
	"other":  "log " + testlog.LogKey("other.test").VKey + "\nquorum none\n",
}

// entry is a proof of level 2 that answers a challenge.
func entry(challenge []byte, change func(*poclog.Entry)) *poclog.Entry {
	boot := poclog.Sum([]byte("boot"))
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound, Realm: poclog.Production,
		Chassis: []poclog.Identity{"intel:tdx:ppid:00112233445566778899aabbccddeeff"},
		Keys:    []poclog.Identity{poclog.Identity("tpm:ak:" + poclog.Sum([]byte("ak")).String())}, Instance: "gce:instance:1:2",
		Quote: poclog.Identity("quote:" + poclog.Sum([]byte("quote")).String()), Boot: &boot,
		Place: &poclog.Place{
			Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}}, Region: poclog.Claim{Value: "us-central1", By: []string{"ak-certificate"}},
			Zone: poclog.Claim{Value: "us-central1-a", By: []string{"ak-certificate", "log-observed"}},
		},
		CVM: poclog.CVM{
			Technology: "tdx", Measurement: bytes.Repeat([]byte{7}, 48), EndorsedBy: "provider", FMSPC: make([]byte, 6), PCEID: make([]byte, 2),
			TCB: &poclog.TCB{Status: "UpToDate", Date: at(0), Evaluation: 17},
		},
		TPM:      &poclog.TPM{KeyType: "ecc-p256", PCRs: []poclog.PCRBank{{Alg: "sha384", Selected: []uint8{0, 1}}}, PCRDigest: make([]byte, 32), Clock: 1, Safe: true},
		Checks:   []string{"tee.signature", "tee.chain", "tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm", "fresh.challenge"},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("bundle")), Collateral: poclog.BlobOf([]byte("collateral")), Policy: poclog.BlobOf([]byte("policy"))},

		Appraised: at(100),
	}
	if challenge != nil {
		cp, err := tlogpolicy.ParseCheckpoint(challenge)
		if err != nil {
			panic(err)
		}
		e.Fresh = &poclog.Fresh{Origin: cp.Origin, Size: cp.Size, Root: cp.Root, Checkpoint: poclog.Sum(challenge), UserData: poclog.Sum([]byte("key"))}
	}
	if change != nil {
		change(e)
	}
	return e
}

// A scene is a log of a few leaves with one entry among them, and the checkpoints around it.
type scene struct {
	log       *testlog.Log
	challenge []byte
	index     uint64
	leaf      []byte
}

// signedBy are the signatures on checkpoints unless a test says otherwise.
func signedBy(second int) []testlog.Cosigner {
	return []testlog.Cosigner{by(logKey, second), by(pqKey, second), by(w1, second+1), by(w2, second+2), by(w3, second+3)}
}

func newScene(change func(*poclog.Entry)) *scene {
	s := &scene{log: &testlog.Log{Origin: origin}, index: 3}
	for i := range 3 {
		s.log.Leaves = append(s.log.Leaves, []byte{byte(i)})
	}
	s.challenge = s.log.Checkpoint(3, signedBy(90)...)
	leaf, err := entry(s.challenge, change).Marshal()
	if err != nil {
		panic(err)
	}
	s.leaf = leaf
	s.log.Leaves = append(s.log.Leaves, leaf, []byte("after"), []byte("later"))
	return s
}

func (s *scene) receipt(n uint64, signed []byte) *poclog.Receipt {
	r := &poclog.Receipt{Entry: s.leaf, Index: s.index, Challenge: s.challenge, Inclusion: s.log.Inclusion(s.index, n, signed)}
	if e, err := poclog.ParseEntry(s.leaf); err != nil || e.Fresh == nil {
		r.Challenge = nil
	}
	return r
}

func marshal(r *poclog.Receipt) []byte {
	b, err := r.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// wish is what a vector demands, in the words of the command's flags.
type wish struct {
	Level            *int     `json:"level,omitempty"`
	Realm            string   `json:"realm,omitempty"`
	Profiles         []string `json:"profile,omitempty"`
	Place            string   `json:"place,omitempty"`
	Chassis          string   `json:"chassis,omitempty"`
	Require          []string `json:"require,omitempty"`
	Owner            string   `json:"owner,omitempty"`
	EndorsedBy       []string `json:"endorsed_by,omitempty"` // hexadecimal
	TCB              []string `json:"tcb,omitempty"`
	Appraisals       []string `json:"appraisal_digest,omitempty"` // hexadecimal
	Measurement      []byte   `json:"measurement,omitempty"`      // base64
	UserData         string   `json:"user_data,omitempty"`        // digest
	Verdict          string   `json:"verdict,omitempty"`
	MaxAge           int      `json:"max_age,omitempty"` // seconds, as those below
	MaxCheckpointAge int      `json:"max_checkpoint_age,omitempty"`
	MaxInterval      int      `json:"max_interval,omitempty"`
}

func (w *wish) demands(t testing.TB) receipt.Demands {
	t.Helper()
	d := receipt.Demands{
		UnsafeRealm: poclog.Realm(w.Realm), Place: w.Place, Chassis: poclog.Identity(w.Chassis), Require: w.Require, Owner: w.Owner, TCB: w.TCB, Measurement: w.Measurement,
		Standing: receipt.Standing(w.Verdict), MaxAge: time.Duration(w.MaxAge) * time.Second,
		MaxCheckpointAge: time.Duration(w.MaxCheckpointAge) * time.Second, MaxInterval: time.Duration(w.MaxInterval) * time.Second,
	}
	d.UnsafeLevel0 = w.Level != nil && *w.Level == 0
	for _, p := range w.Profiles {
		d.Profiles = append(d.Profiles, poclog.Profile(p))
	}
	for _, by := range w.EndorsedBy {
		key, err := poclog.ParseDigest(by)
		if err != nil {
			t.Fatal(err)
		}
		d.EndorsedBy = append(d.EndorsedBy, key)
	}
	for _, policy := range w.Appraisals {
		sum, err := poclog.ParseDigest(policy)
		if err != nil {
			t.Fatal(err)
		}
		d.Appraisals = append(d.Appraisals, sum)
	}
	if w.UserData != "" {
		sum, err := poclog.ParseDigest(w.UserData)
		if err != nil {
			t.Fatal(err)
		}
		d.UserData = &sum
	}
	return d
}

// A vector is a receipt, who reads it and when, and the verdict or the step that refuses.
type vector struct {
	Desc    string    `json:"desc"`
	Receipt string    `json:"receipt"`
	Policy  string    `json:"policy"`
	Demands wish      `json:"demands"`
	Time    time.Time `json:"time"`
	Expect  string    `json:"expect"` // "logged", "audited", or the step or demand that refuses

	NotBefore *time.Time `json:"not_before,omitempty"` // t1 and t2, where they are known
	NotAfter  *time.Time `json:"not_after,omitempty"`
}

const vectorDir = "../../testdata/receipts"

func level(n int) *int { return &n }

func ptr[T any](v T) *T { return &v }

func makeVectors() map[string]vector {
	s := newScene(nil)
	good := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	t1, t2 := ptr(at(92)), ptr(at(112))
	v := func(desc string, r *poclog.Receipt, policy string, d wish, expect string) vector {
		out := vector{Desc: desc, Receipt: string(marshal(r)), Policy: policies[policy], Demands: d, Time: at(200), Expect: expect}
		if policy == "2-of-3" && (expect == "logged" || expect == "audited") {
			out.NotBefore, out.NotAfter = t1, t2
		}
		return out
	}
	all := map[string]vector{
		"valid":             v("a receipt under a quorum of two of three witnesses", good, "2-of-3", wish{}, "logged"),
		"valid-no-quorum":   v("without witnesses there is an order, no time", good, "none", wish{}, "logged"),
		"valid-mldsa":       v("ML-DSA-44 alone: log and witness", good, "pq", wish{}, "logged"),
		"place-zone":        v("a zone that the AK certificate names", good, "2-of-3", wish{Place: "gce/us-central1-a"}, "logged"),
		"place-region":      v("its region", good, "2-of-3", wish{Place: "gce/us-central1"}, "logged"),
		"place-provider":    v("its provider", good, "2-of-3", wish{Place: "gce"}, "logged"),
		"place-half":        v("a place that ends in a slash is a slip", good, "2-of-3", wish{Place: "gce/"}, "demands"),
		"place-too-deep":    v("a zone is not written below its region", good, "2-of-3", wish{Place: "gce/us-central1/us-central1-a"}, "demands"),
		"place-other-cloud": v("another provider", good, "2-of-3", wish{Place: "azure/us-central1"}, "place"),
		"place-other":       v("another zone", good, "2-of-3", wish{Place: "gce/europe-west4-a"}, "place"),
		"chassis":           v("the chip that was asked for", good, "2-of-3", wish{Chassis: "intel:tdx:ppid:00112233445566778899aabbccddeeff"}, "logged"),
		"chassis-other":     v("another chip", good, "2-of-3", wish{Chassis: "intel:tdx:ppid:10112233445566778899aabbccddeeff"}, "chassis"),
		"require":           v("a check that passed", good, "2-of-3", wish{Require: []string{"tee.chain"}}, "logged"),
		"appraisal-digest":  v("one of the appraisal policies that the reader takes", good, "2-of-3", wish{Appraisals: []string{digestOf("mine"), digestOf("policy")}}, "logged"),
		"appraisal-other":   v("another appraisal policy", good, "2-of-3", wish{Appraisals: []string{digestOf("mine")}}, "appraisal-digest"),
		"require-absent":    v("a check that did not", good, "2-of-3", wish{Require: []string{"place.registry"}}, "require"),
		"profile-other":     v("another profile", good, "2-of-3", wish{Profiles: []string{"azure-tdx-vtpm"}}, "profile"),
		"tcb-other":         v("another TCB status", good, "2-of-3", wish{TCB: []string{"OutOfDate"}}, "tcb"),
		"measurement":       v("the measurement that was asked for", good, "2-of-3", wish{Measurement: bytes.Repeat([]byte{7}, 48)}, "logged"),
		"measurement-other": v("another measurement", good, "2-of-3", wish{Measurement: bytes.Repeat([]byte{8}, 48)}, "measurement"),
		"user-data":         v("the key that the proof speaks for", good, "2-of-3", wish{UserData: poclog.Sum([]byte("key")).String()}, "logged"),
		"user-data-other":   v("another key", good, "2-of-3", wish{UserData: poclog.Sum([]byte("no")).String()}, "user-data"),
		"max-age":           v("evidence of 108 seconds", good, "2-of-3", wish{MaxAge: 108}, "logged"),
		"max-age-exceeded":  v("is over 107 old", good, "2-of-3", wish{MaxAge: 107}, "max-age"),
		"max-age-no-time":   v("nobody says how old: no witness", good, "none", wish{MaxAge: 100000}, "max-age"),
		"max-interval":      v("made within 20 seconds", good, "2-of-3", wish{MaxInterval: 20}, "logged"),
		"max-interval-less": v("not within 19", good, "2-of-3", wish{MaxInterval: 19}, "max-interval"),
		"max-cp-age":        v("the view of the log is 88 seconds old", good, "2-of-3", wish{MaxCheckpointAge: 88}, "logged"),
		"max-cp-age-less":   v("over 87", good, "2-of-3", wish{MaxCheckpointAge: 87}, "max-checkpoint-age"),
		"max-cp-age-none":   v("nobody says how old the view is", good, "none", wish{MaxCheckpointAge: 100000}, "max-checkpoint-age"),
		"audited-wanted":    v("no auditor has signed", good, "2-of-3", wish{Verdict: "audited"}, "verdict"),
		"unknown-log":       v("a log that the policy does not list", good, "other", wish{}, "checkpoint"),
	}
	maps.Copy(all, endorsedVectors(v))
	maps.Copy(all, exceptedVectors(v))
	maps.Copy(all, wireVectors())
	for name, vec := range changedVectors(v) {
		all[name] = vec
	}
	pq := all["valid-mldsa"]
	pq.NotBefore, pq.NotAfter = ptr(at(93)), ptr(at(113))
	all["valid-mldsa"] = pq
	return all
}

// changedVectors are receipts of other scenes.
func changedVectors(v func(string, *poclog.Receipt, string, wish, string) vector) map[string]vector {
	of := func(change func(*poclog.Entry)) *poclog.Receipt {
		s := newScene(change)
		return s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	}
	s := newScene(nil)
	audited := s.receipt(5, s.log.Checkpoint(5, append(signedBy(110), by(auditor, 120))...))
	short := s.receipt(5, s.log.Checkpoint(5, by(logKey, 0), by(w1, 111)))
	moved := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	first := moved.Inclusion
	moved.Inclusion, moved.First = s.log.Inclusion(3, 6, s.log.Checkpoint(6, signedBy(190)...)), &first
	split := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	split.First = &poclog.Inclusion{Hashes: split.Inclusion.Hashes, Checkpoint: testlog.SignRoot(origin, 5, tlog.Hash{1}, signedBy(110)...)}
	edited := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	edited.Entry = bytes.Replace(edited.Entry, []byte(`us-central1-a`), []byte(`us-central1-b`), 1)
	index := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	index.Index = 2
	beyond := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	beyond.Index = 5
	lost := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	lost.Challenge = nil
	swapped := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	swapped.Challenge = s.log.Checkpoint(3, signedBy(10)...)
	weak := strippedScene()
	backwards := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	backwards.First = ptr(s.log.Inclusion(3, 6, s.log.Checkpoint(6, signedBy(110)...)))
	strangersFirst := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	strangersFirst.First = &poclog.Inclusion{Hashes: strangersFirst.Inclusion.Hashes, Checkpoint: testlog.SignRoot("other.test", 5, s.log.Root(5), by(testlog.LogKey("other.test"), 0))}
	uncovered := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	uncovered.First = &poclog.Inclusion{Checkpoint: s.log.Checkpoint(3, signedBy(100)...)}
	old := newScene(historical)
	surplus := old.receipt(5, old.log.Checkpoint(5, signedBy(110)...))
	surplus.Challenge = s.challenge
	out := map[string]vector{
		"audited":             v("an auditor has signed", audited, "2-of-3", wish{Verdict: "audited"}, "audited"),
		"quorum-short":        v("one of three witnesses", short, "2-of-3", wish{}, "checkpoint"),
		"moved":               v("moved to a later checkpoint: t1 and t2 stay", moved, "2-of-3", wish{MaxCheckpointAge: 10}, "logged"),
		"moved-still-old":     v("and so does the age of the evidence", moved, "2-of-3", wish{MaxAge: 60}, "max-age"),
		"first-of-two-histor": v("the first checkpoint has another root at one size", split, "2-of-3", wish{}, "first"),
		"entry-edited":        v("another zone in the entry", edited, "2-of-3", wish{}, "inclusion"),
		"index-edited":        v("another entry's number", index, "2-of-3", wish{}, "inclusion"),
		"index-beyond":        v("a number beyond the tree", beyond, "2-of-3", wish{}, "inclusion"),
		"challenge-lost":      v("the challenge's checkpoint is gone", lost, "2-of-3", wish{}, "challenge"),
		"challenge-swapped":   v("another challenge's checkpoint", swapped, "2-of-3", wish{}, "challenge"),
		"challenge-stripped":  v("a challenge with one cosignature proves no time under this policy", weak, "2-of-3", wish{MaxAge: 100000}, "max-age"),
		"realm-lab":           v("an entry of the laboratory", of(func(e *poclog.Entry) { e.Realm = poclog.Lab }), "2-of-3", wish{}, "realm"),
		"realm-lab-asked":     v("which was asked for", of(func(e *poclog.Entry) { e.Realm = poclog.Lab }), "2-of-3", wish{Realm: "lab"}, "logged"),
		"level-0":             v("a genuine chip at an unproven place", of(historical), "2-of-3", wish{}, "level"),
		"appraised-early":     v("appraised over a minute before its evidence was made", of(func(e *poclog.Entry) { e.Appraised = at(31) }), "2-of-3", wish{}, "interval"),
		"appraised-ahead":     v("a witness's clock may be a minute ahead of the log's", of(func(e *poclog.Entry) { e.Appraised = at(32) }), "2-of-3", wish{}, "logged"),
		"appraised-late":      v("appraised over a minute after a checkpoint covered it", of(func(e *poclog.Entry) { e.Appraised = at(173) }), "2-of-3", wish{}, "interval"),
		"appraised-lag":       v("clocks may differ by a minute", of(func(e *poclog.Entry) { e.Appraised = at(172) }), "2-of-3", wish{}, "logged"),
		"place-by-stranger":   v("a place by a source that this software does not know", of(unknownSource), "2-of-3", wish{Place: "gce/us-central1"}, "place"),
		"place-level-0":       v("level 0 carries no authenticated place, though its certificate names one", of(historical), "2-of-3", wish{Place: "gce/us-central1", Level: level(0)}, "demands"),
		"config":              v("a configuration entry is no Proof of Cloud", s.of(configLeaf()), "none", wish{}, "kind"),
		"unknown-kind":        v("an entry of a kind of later times", s.of([]byte(`{"v":1,"kind":"observation"}`)), "none", wish{}, "kind"),
		"first-larger":        v("the first covering checkpoint is larger than the receipt's", backwards, "2-of-3", wish{}, "first"),
		"first-other-log":     v("the first covering checkpoint is another log's", strangersFirst, "2-of-3", wish{}, "first"),
		"first-without-entry": v("the first covering checkpoint does not cover the entry", uncovered, "2-of-3", wish{}, "first"),
		"challenge-surplus":   v("a challenge's checkpoint that the entry does not name", surplus, "2-of-3", wish{Level: level(0)}, "challenge"),
		"challenge-misnamed":  v("the entry gives the challenge's tree another size", misnamed(), "2-of-3", wish{}, "challenge"),
		"place-by-mrowner":    v("a place that MROWNER alone agrees with: whoever hosts the TD writes it", of(ownersWord), "2-of-3", wish{Place: "gce/us-central1-a"}, "place"),
		"place-by-a-namesake": v("a bare-metal provider that calls itself gce", of(namesake), "2-of-3", wish{Place: "gce/us-central1-a"}, "place"),
		"place-not-joined":    v("a place beside a quote whose TEE does not name the AK", of(notJoined), "2-of-3", wish{Place: "gce/us-central1-a"}, "place"),
		"place-by-hint":       v("a place that only a hint names", of(hinted), "2-of-3", wish{Place: "gce/us-central1"}, "place"),
	}
	zero := v("asked for: no time, for it is historical", of(historical), "2-of-3", wish{Level: level(0)}, "logged")
	zero.NotBefore = nil
	out["level-0-asked"] = zero
	return out
}

func historical(e *poclog.Entry) {
	e.Fresh, e.Level, e.Absent = nil, poclog.LevelChip, []string{"fresh.challenge"}
}

// of is a receipt of another leaf in the entry's place.
func (s *scene) of(leaf []byte) *poclog.Receipt {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, leaf}}
	return &poclog.Receipt{Entry: leaf, Index: 1, Inclusion: l.Inclusion(1, 2, l.Checkpoint(2, signedBy(110)...))}
}

func configLeaf() []byte {
	c := &poclog.Config{Policy: poclog.BlobOf([]byte("policy")), Software: "poclog test", Time: at(0)}
	leaf, err := c.Marshal()
	if err != nil {
		panic(err)
	}
	return leaf
}

// misnamed is a receipt whose entry names its challenge by the right digest and a wrong size.
func misnamed() *poclog.Receipt {
	s := newScene(func(e *poclog.Entry) { e.Fresh.Size++ })
	return s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
}

func unknownSource(e *poclog.Entry) {
	e.Place.Region.By, e.Place.Zone = []string{"oracle"}, poclog.Claim{}
}

func ownersWord(e *poclog.Entry) { e.Place.Zone.By = []string{"pzid"} }

func namesake(e *poclog.Entry) { e.Profile = poclog.BareMetalTDXTPM }

func notJoined(e *poclog.Entry) {
	e.Checks = []string{"tee.signature", "tee.chain", "tpm.ak-template", "bind.tee-in-tpm"}
}

func digestOf(file string) string { return poclog.Sum([]byte(file)).String() }

func hinted(e *poclog.Entry) {
	e.Place.Region.By, e.Place.Zone = []string{"aia-hint"}, poclog.Claim{}
}

// strippedScene is a proof whose challenge carries one cosignature only.
func strippedScene() *poclog.Receipt {
	s := newScene(nil)
	s.challenge = s.log.Checkpoint(3, by(logKey, 90), by(w1, 91))
	leaf, err := entry(s.challenge, nil).Marshal()
	if err != nil {
		panic(err)
	}
	s.leaf, s.log.Leaves[3] = leaf, leaf
	return s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
}

func parsePolicy(t testing.TB, text string) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, vectorDir, makeVectors())
	}
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		got, err := receipt.Check([]byte(v.Receipt), parsePolicy(t, v.Policy), v.Time, v.Demands.demands(t))
		var step *verify.Error
		switch {
		case err == nil && string(got.Verdict) != v.Expect:
			t.Errorf("%s: %s: want %s", v.Desc, got.Verdict, v.Expect)
		case err != nil && (!errors.As(err, &step) || string(step.Check) != v.Expect):
			t.Errorf("%s: %v: want %s", v.Desc, err, v.Expect)
		case err == nil:
			wantBound(t, "t1", got.T1, v.NotBefore)
			wantBound(t, "t2", got.T2, v.NotAfter)
		}
	})
}

func wantBound(t *testing.T, name string, got receipt.Bound, want *time.Time) {
	t.Helper()
	if got.Known != (want != nil) || want != nil && !got.Time.Equal(*want) {
		t.Errorf("%s: %+v, want %v", name, got, want)
	}
}

func TestWithoutAPolicyThereIsNoVerdict(t *testing.T) {
	s := newScene(nil)
	file := marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...)))
	if _, err := receipt.Check(file, nil, at(200), receipt.Demands{}); !errors.Is(err, receipt.ErrNoPolicy) {
		t.Errorf("%v", err)
	}
}

// reappraiser gives a leaf, or an error.
type reappraiser struct {
	leaf []byte
	err  error
}

func (r reappraiser) Reappraise(receipt.Evidence, time.Time, uint32) ([]byte, error) {
	return r.leaf, r.err
}

func TestReappraisalMustGiveTheEntryAgain(t *testing.T) {
	s := newScene(nil)
	p := parsePolicy(t, policies["2-of-3"])
	file := marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...)))
	evidence := receipt.Evidence{Bundle: []byte("bundle"), Collateral: []byte("collateral"), Policy: []byte("policy")}
	other, enveloped := evidence, evidence
	other.Collateral = nil
	enveloped.Envelope = []byte("envelope")
	for _, c := range []struct {
		name string
		e    receipt.Evidence
		by   receipt.Reappraiser
		want string
	}{
		{"as logged", evidence, reappraiser{leaf: s.leaf}, ""},
		{"another entry", evidence, reappraiser{leaf: s.leaf[1:]}, "another entry"},
		{"refused", evidence, reappraiser{err: errors.New("tee.chain: no")}, "does not pass"},
		{"other evidence", other, reappraiser{leaf: s.leaf}, "the entry names"},
		{"an envelope that the entry does not name", enveloped, reappraiser{leaf: s.leaf}, "the envelope at hand"},
		{"nobody to do it", evidence, nil, "nobody"},
	} {
		v, err := receipt.Check(file, p, at(200), receipt.Demands{Standing: receipt.Reappraised, Evidence: &c.e, Reappraise: c.by})
		if c.want == "" && (err != nil || v.Verdict != receipt.Reappraised) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTorchwoodAcceptsTheSameReceipts(t *testing.T) {
	s := newScene(nil)
	v, err := note.NewVerifier(logKey.VKey)
	if err != nil {
		t.Fatal(err)
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v))
	r := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	first := r.Inclusion
	moved := &poclog.Receipt{Entry: r.Entry, Index: r.Index, Challenge: r.Challenge, First: &first, Inclusion: s.log.Inclusion(s.index, 6, s.log.Checkpoint(6, signedBy(190)...))}
	for _, r := range []*poclog.Receipt{r, moved} {
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(s.leaf), marshal(r)); err != nil {
			t.Error(err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash([]byte("another leaf")), marshal(r)); err == nil {
			t.Error("the comparison cannot fail")
		}
	}
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net/http\n", "transparency-dev/tessera", "go-tdx-guest", "go-sev-guest"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("checking a receipt depends on %s", strings.TrimSpace(bad))
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := newScene(nil)
	f.Add(marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))))
	f.Add(marshal(s.excepted(noteFile(s.noteOn([]uint64{1, 4}, except, stranger)))))
	p, err := tlogpolicy.Parse([]byte(policies["2-of-3"]))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		v, err := receipt.Open(file, p)
		if err == nil && (v.Size != 5 || v.Index != 3 || v.Entry == nil) {
			t.Errorf("forged: %+v", v)
		}
	})
}
