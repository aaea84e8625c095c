package receipt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const otherOrigin = "zz.test/2026"

var otherKey = testlog.LogKey(otherOrigin)

// twoLogs lists the tests' log and another one, which may have any tree.
func twoLogs(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	return parsePolicy(t, "log "+logKey.VKey+"\nlog "+otherKey.VKey+"\nwitness w1 "+w1.VKey+"\nquorum w1\n")
}

// asOther is a log of the same leaves and another origin.
func asOther(l *testlog.Log) *testlog.Log {
	return &testlog.Log{Origin: otherOrigin, Leaves: slices.Clone(l.Leaves)}
}

func TestFirstCheckpointIsOfTheSameHistory(t *testing.T) {
	s := plainScene()
	p := twoLogs(t)
	forged := &testlog.Log{Origin: origin, Leaves: slices.Clone(s.log.Leaves)}
	forged.Leaves[0] = []byte("forged")
	for _, c := range []struct {
		name  string
		first poclog.Inclusion
		want  string
	}{
		{"of the same size, signed at another time", s.log.Inclusion(3, 5, s.log.Checkpoint(5, by(logKey, 0), by(w1, 105))), ""},
		{"of another log with the same tree", s.log.Inclusion(3, 5, asOther(s.log).Checkpoint(5, by(otherKey, 0), by(w1, 105))), "want one of"},
		{"of the same size and another tree with the entry", forged.Inclusion(3, 5, forged.Checkpoint(5, by(logKey, 0), by(w1, 105))), "two histories"},
	} {
		r := s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111)))
		r.First = &c.first
		v, err := receipt.Open(marshal(r), p)
		if c.want == "" && (err != nil || !v.T2.Time.Equal(at(105))) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

// Both checkpoints of a moved receipt bound the time: whichever was cosigned first.
func TestEarlierCheckpointBoundsTheTime(t *testing.T) {
	s := plainScene()
	for _, c := range []struct{ first, own, want int }{{111, 300, 111}, {300, 111, 111}} {
		r := s.receipt(6, s.log.Checkpoint(6, by(logKey, c.own), by(w1, c.own)))
		first := s.log.Inclusion(3, 5, s.log.Checkpoint(5, by(logKey, c.first), by(w1, c.first)))
		r.First = &first
		v, err := receipt.Open(marshal(r), twoLogs(t))
		if err != nil || !v.T2.Time.Equal(at(c.want)) {
			t.Errorf("first %d, own %d: %+v, %v", c.first, c.own, v, err)
		}
	}
}

func TestEntryNamesItsChallengeInFull(t *testing.T) {
	for name, change := range map[string]func(f *poclog.Fresh){
		"origin": func(f *poclog.Fresh) { f.Origin = otherOrigin },
		"size":   func(f *poclog.Fresh) { f.Size++ },
		"root":   func(f *poclog.Fresh) { f.Root[0] ^= 1 },
	} {
		s := newScene(func(e *poclog.Entry) { change(e.Fresh) })
		_, err := receipt.Open(marshal(s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))), parsePolicy(t, policies["2-of-3"]))
		wantStep(t, name, err, receipt.StepChallenge, "or another root")
	}
}

// What an unknown or malformed leaf has to do with a challenge, nobody knows: the receipt shows
// what was published all the same.
func TestLeavesThatNobodyCanReadMayHaveAChallenge(t *testing.T) {
	s := plainScene()
	r := s.of([]byte(`{"v":2}`))
	r.Challenge = s.challenge
	if v, err := receipt.Open(marshal(r), parsePolicy(t, policies["2-of-3"])); err != nil || v.Kind != "unknown" || v.T1.Known {
		t.Errorf("an unknown leaf: %+v, %v", v, err)
	}
	w := attack.NewWorld()
	p := publish(t, w, w.Log, w.Honest())
	p.leaf, p.index = append(bytes.Clone(p.leaf), ' '), uint64(len(w.Log.Leaves))
	w.Log.Leaves = append(w.Log.Leaves, p.leaf)
	file := assemble(t, "entry-not-reproducible", receipt.Piece{Receipt: receiptOf(t, w.Log, p)})
	if _, err := receipt.CheckContradiction(file, labPolicy(t), terms); err != nil {
		t.Errorf("a malformed leaf: %v", err)
	}
}

func TestOpenAsAsksTheAuditors(t *testing.T) {
	s := plainScene()
	p := parsePolicy(t, policies["excepting"])
	file := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(auditor, 112))))
	for group, want := range map[string]receipt.Standing{"": receipt.Audited, "a": receipt.Audited, "w1": receipt.Audited, "ax": receipt.Logged, tlogpolicy.None: receipt.Logged} {
		if v, err := receipt.OpenAs(file, p, group); err != nil || v.Verdict != want {
			t.Errorf("group %q: %+v, %v", group, v, err)
		}
	}
	if v, err := receipt.OpenAs(nil, p, ""); err == nil {
		t.Errorf("no receipt: %+v", v)
	}
}

// An appraisal that was repeated here is worth more than auditors' word.
func TestAuditorsDoNotLowerAVerdict(t *testing.T) {
	s := plainScene()
	file := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(auditor, 112))))
	d := receipt.Demands{Evidence: &receipt.Evidence{Bundle: []byte("bundle"), Collateral: []byte("collateral"), Policy: []byte("policy")}, Reappraise: reappraiser{leaf: s.leaf}}
	if v, err := receipt.Check(file, parsePolicy(t, policies["excepting"]), at(200), d); err != nil || v.Verdict != receipt.Reappraised || len(v.Auditors) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestNotesCountWhereTheReaderAsks(t *testing.T) {
	s := plainScene()
	second := testlog.WitnessKey("second.test")
	secondExcept := testlog.WitnessKey("second.test" + poclog.ExceptSuffix)
	p := parsePolicy(t, policies["excepting"][:strings.Index(policies["excepting"], "group")]+
		"witness b "+second.VKey+"\nwitness bx "+secondExcept.VKey+"\ngroup auditors any a\nquorum w1\n")
	other := s.noteOn([]uint64{0, 1, 2}, except)
	other.Auditor = "second.test" + poclog.ExceptSuffix
	other = signNote(other, secondExcept)
	both := [][]byte{noteFile(s.noteOn([]uint64{1}, except)), noteFile(other)}
	r := s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111)))
	r.Exceptions = both
	if v, err := receipt.OpenAs(marshal(r), p, ""); err != nil || v.Verdict != receipt.Audited || !slices.Equal(v.Auditors, []string{"audit.test"}) || v.Unseen != 1 {
		t.Errorf("a note of an auditor outside of the group: %+v, %v", v, err)
	}
	r = s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(auditor, 112)))
	r.Exceptions = both
	if v, err := receipt.OpenAs(marshal(r), p, ""); err != nil || v.Verdict != receipt.Audited || v.Unseen != 0 {
		t.Errorf("a note beside the auditor's own signature: %+v, %v", v, err)
	}
}

func TestDemandsOnWhatAnEntryLacks(t *testing.T) {
	e := entry(nil, historical)
	for _, c := range []struct {
		name string
		d    receipt.Demands
		want string
	}{
		{"user data of a proof that answers no challenge", receipt.Demands{UnsafeLevel0: true, UserData: &poclog.Digest{1}}, "user-data"},
		{"its profile", receipt.Demands{UnsafeLevel0: true, Profiles: []poclog.Profile{poclog.AzureTDXvTPM, poclog.GCETDXvTPM}}, ""},
	} {
		err := c.d.CheckEntry(e)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

func TestConfigurationsAreNotReappraised(t *testing.T) {
	file := marshal(plainScene().of(configLeaf()))
	d := receipt.Demands{Evidence: &receipt.Evidence{Bundle: []byte("bundle")}, Reappraise: reappraiser{}}
	_, err := receipt.Check(file, parsePolicy(t, policies["none"]), at(200), d)
	wantStep(t, "a config entry", err, receipt.StepReappraisal, "no proof")
}

func TestSpecificationOfAMalformedLeaf(t *testing.T) {
	const proof = `{"v":1,"kind":"proof"`
	for leaf, want := range map[string]bool{
		proof + `,"appraisal":1,"x":1}`:         true,
		proof + `,"appraisal":1}`:               true,
		proof + `,"appraisal":1`:                true,
		proof + `,"appraisal":`:                 true, // a number that cannot be read is of no specification
		proof + `99`:                            true,
		proof + `,"appraisal":10,`:              false,
		proof + `,"appraisal":9,`:               false,
		proof + `,"appraisal":1234567890123456`: false,
		proof + `,"appraisal":00000000009,`:     true, // ten digits are read
		`{"v":2}`:                               false,
		`{"v":1,"kind":"config","appraisal":1}`: false,
	} {
		if got := receipt.OfKnownSpecification([]byte(leaf)); got != want {
			t.Errorf("%s: %t", leaf, got)
		}
	}
}

func TestSplitViewsAreOfOneOrigin(t *testing.T) {
	l, forged := logs(5)
	p := parsePolicy(t, "log "+logKey.VKey+"\nlog "+otherKey.VKey+"\nquorum none\n")
	own, other := l.Checkpoint(5, by(logKey, 0)), asOther(forged[0]).Checkpoint(5, by(otherKey, 0))
	for name, s := range map[string]*receipt.SplitView{
		"the first is another log's":  {Origin: origin, A: other, B: own},
		"the second is another log's": {Origin: origin, A: own, B: other},
	} {
		file, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = receipt.CheckSplitView(file, p)
		wantStep(t, name, err, receipt.StepCheckpoint, "want both of")
	}
	surplus := &receipt.SplitView{Origin: origin, A: own, B: forged[0].Checkpoint(5, by(logKey, 0)), Left: [][32]byte{{1}}}
	file, err := surplus.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = receipt.CheckSplitView(file, p)
	wantStep(t, "two roots of one size, with hashes that lead nowhere", err, receipt.StepConsistency, "")
}

func TestLimitsOfSplitViews(t *testing.T) {
	for _, c := range []struct {
		size int
		want string
	}{{receipt.MaxSplitView, "parse split view"}, {receipt.MaxSplitView + 1, "want at most"}} {
		if _, err := receipt.ParseSplitView(make([]byte, c.size)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes: %v: want %q", c.size, err, c.want)
		}
	}
	for _, c := range []struct{ m, n uint64 }{{3, 2}, {0, 0}} {
		want := fmt.Sprintf("prefix of %d leaves of a tree of %d", c.m, c.n)
		if _, err := receipt.PrefixRoot(c.m, c.n, [32]byte{}, nil, nil); err == nil || err.Error() != want {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

// labLogs is a policy of the laboratory's log and of another one.
func labLogs(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	return parsePolicy(t, "log "+attack.LogKey.VKey+"\nlog "+otherKey.VKey+"\nwitness w "+attack.WitnessKey.VKey+"\nquorum w\n")
}

// Entries of two logs are ordered by the logs' origins, whatever their numbers.
func TestEntriesOfTwoLogsAreCompared(t *testing.T) {
	w, list, pieces := series(t, "clone-ak")
	other, second := asOther(w.Log), list[1]
	second.index = list[0].index
	other.Leaves[second.index] = second.leaf
	elsewhere := receipt.Piece{Receipt: signedAs(t, other, second, otherKey), Evidence: &second.evidence}
	first, err := receipt.AssembleContradiction("ak-on-two-chips", labPolicyText(), pieces[0], elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.CheckContradiction(first, labLogs(t), terms); err != nil {
		t.Errorf("entry %d of %s and of %s: %v", second.index, attack.Origin, otherOrigin, err)
	}
	moved := relogged(t, w.Log, list[0], func(*poclog.Entry) {})
	higher := assemble(t, "ak-on-two-chips", piecesOf(t, w.Log, moved)[0], elsewhere)
	if _, err := receipt.CheckContradiction(higher, labLogs(t), terms); err != nil {
		t.Errorf("entry %d of the first and entry %d of the second: %v", moved.index, second.index, err)
	}
	swapped := changed(t, first, func(c *poclog.Contradiction) { c.Claims[0], c.Claims[1] = c.Claims[1], c.Claims[0] })
	_, err = receipt.CheckContradiction(swapped, labLogs(t), terms)
	wantStep(t, "the second log first", err, receipt.StepClaims, "by origin and number")
}

// A challenge shows what its own log had. Another log may copy the tree, but the nonce is not of
// that log.
func TestChallengeCoversEntriesOfItsOwnLog(t *testing.T) {
	w := attack.NewWorld()
	first := publish(t, w, w.Log, w.Honest())
	ch := *w.Challenge
	cosigned := attack.Now.Add(-2 * time.Second)
	ch.Checkpoint = w.Log.Checkpoint(first.index+1, testlog.Cosigner{Signer: attack.LogKey, At: cosigned}, testlog.Cosigner{Signer: attack.WitnessKey, At: cosigned})
	w.Challenge = &ch
	w.Challenge.Salt[2]++
	second := publish(t, w, w.Log, w.Honest())
	copied := asOther(w.Log)
	pieces := piecesOf(t, w.Log, second)
	pieces[0].Covered = w.Log.Inclusion(first.index, first.index+1, nil).Hashes
	pieces = append(pieces, receipt.Piece{Receipt: signedAs(t, copied, first, otherKey), Evidence: &first.evidence})
	_, err := receipt.CheckContradiction(assemble(t, "ak-on-two-chips", pieces...), labLogs(t), terms)
	wantStep(t, "an entry of another log with the same tree", err, receipt.StepOrder, "its challenge is not of")
	old := relogged(t, w.Log, second, historical)
	pieces = piecesOf(t, w.Log, first, old)
	for i := range pieces {
		pieces[i].Evidence = nil
	}
	pieces[1].Covered = [][32]byte{{1}}
	_, err = receipt.CheckContradiction(assemble(t, "ak-on-two-chips", pieces...), labLogs(t), terms)
	wantStep(t, "an entry without challenge", err, receipt.StepOrder, "its challenge is not of")
}
