package dossier_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const otherOrigin = "zz.test/2026"

var otherKey = testlog.LogKey(otherOrigin)

// twoLogs lists the tests' log and another one, which may have the same tree.
func twoLogs(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte("log " + logKey.VKey + "\nlog " + otherKey.VKey + "\nwitness w " + witness.VKey + "\nquorum w\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asOther is a checkpoint of another log with the same leaves.
func (b *book) asOther(n uint64, second int) []byte {
	l := &testlog.Log{Origin: otherOrigin, Leaves: b.log.Leaves}
	return l.Checkpoint(n, testlog.Cosigner{Signer: otherKey, At: at(second)}, testlog.Cosigner{Signer: witness, At: at(second)})
}

func refusedAs(t *testing.T, what string, err error, step verify.Check, detail string) {
	t.Helper()
	if stepOf(err) != step || !strings.Contains(err.Error(), detail) {
		t.Errorf("%s: %v: want %s: %s", what, err, step, detail)
	}
}

func TestAgeIsBoundedOnBothSides(t *testing.T) {
	file := must(honest().bind(3100, of(chipX)).Marshal())
	for _, c := range []struct {
		now  int
		want verify.Check
	}{{3160, ""}, {3161, "max-age"}, {3040, ""}, {3039, "max-age"}} {
		if _, err := dossier.Check(file, policy(t), at(c.now), dossier.Demands{MaxAge: time.Minute}); stepOf(err) != c.want {
			t.Errorf("an index of 3100 at %d: %v", c.now, err)
		}
	}
}

func TestGravestFindingComesFirst(t *testing.T) {
	information, alert, contradiction := &rule.Finding{Severity: rule.Information}, &rule.Finding{Severity: rule.Alert}, &rule.Finding{Severity: rule.Contradiction}
	for name, c := range map[string]struct {
		list []*rule.Finding
		want *rule.Finding
	}{
		"nothing":             {nil, nil},
		"information":         {[]*rule.Finding{information}, nil},
		"an alert":            {[]*rule.Finding{information, alert}, alert},
		"a contradiction":     {[]*rule.Finding{alert, contradiction}, contradiction},
		"and then again less": {[]*rule.Finding{contradiction, alert}, contradiction},
	} {
		if got := (&dossier.Answer{Findings: c.list}).Gravest(); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEdgesOfAnIndexAreClearedOrNot(t *testing.T) {
	b := honest()
	a := must(check(t, b.bind(3100, of(chipX, akX, vm)), dossier.Demands{}))
	first := must(poclog.ParseEntry(b.log.Leaves[1]))
	if err := a.Clears(&receipt.Verdict{Origin: origin, Index: 1, Entry: first}); err != nil {
		t.Errorf("the first entry of the list: %v", err)
	}
	refusedAs(t, "the first entry after the index", a.Clears(&receipt.Verdict{Origin: origin, Index: a.Size, Entry: first}), dossier.StepDossier, "and newer")
}

func TestCheckpointsAreOfTheDossiersLog(t *testing.T) {
	b := honest()
	d := b.bind(3100, order{names: []string{chipX}, signedAt: b.asOther(5, 3100)})
	_, err := dossier.Check(must(d.Marshal()), twoLogs(t), at(4000), dossier.Demands{})
	refusedAs(t, "the index entry names another log's checkpoint", err, dossier.StepIndex, "want one of")

	for _, c := range []struct {
		name  string
		since func(b *book) []byte
		want  verify.Check
	}{
		{"since another log's checkpoint", func(b *book) []byte { return b.asOther(4, 1000) }, dossier.StepNumbers},
		{"since a checkpoint of the index's size", func(b *book) []byte { return b.log.Checkpoint(5, signed(1000)...) }, ""},
		{"since a larger checkpoint than the index's", func(b *book) []byte { return b.log.Checkpoint(6, signed(1000)...) }, dossier.StepNumbers},
	} {
		b := honest()
		d := b.bind(3100, order{names: []string{chipX}, since: 4})
		d.Since = c.since(b)
		if _, err := dossier.Check(must(d.Marshal()), twoLogs(t), at(4000), dossier.Demands{Since: at(1500)}); stepOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestIndexListsNothingFromItsSizeOn(t *testing.T) {
	b := honest()
	b.meddle = addTo(5)
	_, err := check(t, b.bind(3100, of(chipX)), dossier.Demands{})
	refusedAs(t, "entry 5 in an index of 5", err, dossier.StepNumbers, "in an index of 5")
}

func TestCheckpointsThatEntriesReferTo(t *testing.T) {
	timed := func(change func(b *book, d *poclog.Dossier)) error {
		b := honest()
		d := b.bind(3100, order{names: []string{"config", chipX}, intervals: true})
		change(b, d)
		_, err := dossier.Check(must(d.Marshal()), twoLogs(t), at(4000), dossier.Demands{})
		return err
	}
	page := func(d *poclog.Dossier) *poclog.DossierPage { return &d.Pages[0] } // of entries 0, the configuration, and 1
	for _, c := range []struct {
		name   string
		change func(b *book, d *poclog.Dossier)
		want   string
	}{
		{"as they are", func(*book, *poclog.Dossier) {}, ""},
		{"first covered by the checkpoint of the receipt's size", func(b *book, d *poclog.Dossier) {
			page(d).Checkpoints[page(d).Entries[1].First-1] = poclog.DossierCheckpoint{Checkpoint: b.log.Checkpoint(6, signed(3105)...)}
		}, ""},
		{"first covered by another log's checkpoint of the same tree", func(b *book, d *poclog.Dossier) {
			page(d).Checkpoints[page(d).Entries[1].First-1].Checkpoint = b.asOther(2, 1010)
		}, "not shown to be of the log's history"},
		{"first covered by the empty tree", func(b *book, d *poclog.Dossier) {
			page(d).Checkpoints[page(d).Entries[1].First-1] = poclog.DossierCheckpoint{Checkpoint: b.log.Checkpoint(0, signed(1010)...)}
		}, "is not covered by checkpoint"},
		{"a challenge that is not there", func(_ *book, d *poclog.Dossier) { page(d).Entries[1].Challenge = 9 }, "refers to checkpoint 9 of"},
		{"a configuration that answers a challenge", func(_ *book, d *poclog.Dossier) { page(d).Entries[0].Challenge = 1 }, "answers no challenge"},
	} {
		err := timed(c.change)
		if c.want == "" && err != nil || c.want != "" && (stepOf(err) != dossier.StepTimes || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

func withoutChallenge(e *poclog.Entry) {
	e.Fresh, e.Level, e.Absent = nil, poclog.LevelChip, []string{"fresh.challenge"}
	e.Checks = slices.DeleteFunc(slices.Clone(e.Checks), func(c string) bool { return c == "fresh.challenge" })
}

func TestProofWithoutChallengeRefersToNone(t *testing.T) {
	b := newBook()
	b.proof(chipX, akX, "us-central1-a", 1000, withoutChallenge)
	d := b.bind(3100, of("unproven:"+chipX))
	if _, err := check(t, d, dossier.Demands{}); err != nil {
		t.Fatal(err)
	}
	p := &d.Pages[0]
	p.Entries[0].Challenge = b.refer(p, 1, 2, signed(1000))
	_, err := check(t, d, dossier.Demands{})
	refusedAs(t, "a proof without challenge", err, dossier.StepTimes, "answers no challenge")
}

// Where nobody says the time, a challenge's tree shows the order, if the challenge is the log's.
func TestChallengesShowTheOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*poclog.Entry)
		drop   bool // leaves the challenges' checkpoints out
		found  bool
	}{
		{"the later entry's challenge covers the earlier one", nil, false, true},
		{"nothing shows the order", nil, true, false},
		{"the entry names another tree than its challenge has", func(e *poclog.Entry) { e.Fresh.Root[0] ^= 1 }, false, false},
	} {
		b := newBook()
		b.config()
		b.proof(chipX, akX, "us-central1-a", 2000, nil)
		b.proof(chipX, akX, "us-central1-a", 2010, func(e *poclog.Entry) {
			e.TPM.ResetCount = 1 // behind the 5 of the other
			if c.change != nil {
				c.change(e)
			}
		})
		d := b.bind(3100, order{names: []string{chipX}, intervals: true})
		for i := range d.Pages {
			for j := range d.Pages[i].Entries {
				e := &d.Pages[i].Entries[j]
				e.First = 0
				if c.drop {
					e.Challenge = 0
				}
			}
			if c.drop {
				d.Pages[i].Checkpoints = nil
			}
		}
		a, err := check(t, d, dossier.Demands{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if found := slices.ContainsFunc(a.Findings, func(f *rule.Finding) bool { return f.Rule == "tpm-rewound" }); found != c.found {
			t.Errorf("%s: %+v", c.name, a.Findings)
		}
	}
}

func TestLimitsOfPages(t *testing.T) {
	b := honest()
	for _, numbers := range [][]uint64{nil, {5}, {0, 6}} {
		if _, err := dossier.ProofOf(5, numbers, b.node); err == nil {
			t.Errorf("a proof for %v of 5 entries", numbers)
		}
	}
	if _, err := dossier.RootOf(1, nil, [][32]byte{{1}}); err == nil {
		t.Error("a page without entries has any root")
	}
	if _, err := dossier.RootOf(4, []dossier.Leaf{{Number: 3}}, [][32]byte{{1}}); err == nil || !strings.Contains(err.Error(), "the proof ends before") {
		t.Errorf("a proof that is too short: %v", err)
	}
}

func TestWrongIndexIsOfItsOwnLogAndSize(t *testing.T) {
	file := func(b *book, o order, number uint64, sign func(size uint64) []byte) *poclog.IndexWrong {
		o.names = []string{chipX}
		d := b.bind(3100, o)
		b.proof(chipX, akX, "us-central1-a", 3150, nil) // entry after the index
		size := uint64(len(b.log.Leaves))
		r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, size, sign(size))}
		e := must(poclog.ParseEntry(r.Entry))
		r.Challenge = b.log.Checkpoint(e.Fresh.Size, signed(int(e.Appraised.Sub(at(0)).Seconds())-30)...)
		return &poclog.IndexWrong{Index: d.Index, DossierName: d.Names[0], Entry: must(r.Marshal())}
	}
	own := func(b *book) func(uint64) []byte {
		return func(n uint64) []byte { return b.log.Checkpoint(n, signed(3200)...) }
	}
	later, algorithm, smaller, stranger := honest(), honest(), honest(), honest()
	algorithm.algorithm, algorithm.meddle = 2, hide(2)
	smaller.proof(chipX, akX, "us-central1-a", 3050, nil) // entry 5, which an index of 5 entries does not have
	smaller.meddle = func(_ string, n []uint64) []uint64 {
		return slices.DeleteFunc(n, func(x uint64) bool { return x >= 5 })
	}
	stranger.meddle = hide(2)
	for _, c := range []struct {
		name   string
		file   *poclog.IndexWrong
		step   verify.Check
		detail string
	}{
		{"an entry after the index that states the name", file(later, order{}, 6, own(later)), dossier.StepWrong, "which the index is of"},
		{"the first entry after the index", file(smaller, order{size: 5}, 5, own(smaller)), dossier.StepWrong, "which the index is of"},
		{"an index of another algorithm", file(algorithm, order{}, 2, own(algorithm)), dossier.StepIndex, "algorithm"},
		{"an entry of another log", file(stranger, order{}, 2, func(n uint64) []byte { return stranger.asOther(n, 3200) }), dossier.StepWrong, "which the index is of"},
	} {
		got, err := dossier.CheckIndexWrong(must(c.file.Marshal()), twoLogs(t))
		if err == nil {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		refusedAs(t, c.name, err, c.step, c.detail)
	}
}

func TestWrongIndexMayBeShownByTheEndOfAList(t *testing.T) {
	for _, from := range []int{1, 2} { // listed are 1, 2, 3 and 4: entry 3 is another chip's
		w := wrong(addTo(3), chipX, 3)
		before := poclog.Digest(chain(w.Numbers[:from]...))
		w.Before, w.Numbers = &before, w.Numbers[from:]
		if got, err := dossier.CheckIndexWrong(must(w.Marshal()), policy(t)); err != nil || got.Entry != 3 {
			t.Errorf("from %d: %+v, %v", from, got, err)
		}
	}
	w := wrong(nil, absentName, 2)
	before := poclog.Digest(chain(1))
	w.Before = &before
	_, err := dossier.CheckIndexWrong(must(w.Marshal()), policy(t))
	refusedAs(t, "a beginning of a list that there is not", err, dossier.StepNumbers, "is not in the map")
}
