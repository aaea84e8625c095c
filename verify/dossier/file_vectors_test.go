package dossier_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A stapledVector is a receipt with dossiers beside it: of its log, which must clear it, and of
// others, which must agree with it.
type stapledVector struct {
	Desc     string    `json:"desc"`
	Receipt  string    `json:"receipt"`
	Dossiers []string  `json:"dossiers"`
	Policy   string    `json:"policy"`
	Time     time.Time `json:"time"`
	Expect   string    `json:"expect"` // the receipt's verdict, or the step that refuses
}

func (v *stapledVector) check(t *testing.T) string {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	got, err := receipt.Check([]byte(v.Receipt), p, v.Time, receipt.Demands{})
	if err != nil {
		return string(stepOf(err))
	}
	own := false
	for _, d := range v.Dossiers {
		a, err := dossier.Check([]byte(d), p, v.Time, dossier.Demands{})
		if err != nil {
			return string(stepOf(err))
		}
		held := a.Agrees
		if a.Origin == got.Origin {
			own, held = true, a.Clears
		}
		if err := held(got); err != nil {
			return string(stepOf(err))
		}
	}
	if !own {
		return string(dossier.StepDossier)
	}
	return string(got.Verdict)
}

// receiptOf is the receipt of a proof in the tree as it is now.
func (b *book) receiptOf(number uint64, second int) []byte {
	size := uint64(len(b.log.Leaves))
	r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, size, b.log.Checkpoint(size, signed(second)...))}
	if e := must(poclog.ParseLeaf(r.Entry)).Proof; e != nil {
		r.Challenge = b.log.Checkpoint(e.Fresh.Size, signed(int(e.Appraised.Sub(at(0)).Seconds())-30)...)
	}
	return must(r.Marshal())
}

func makeStapledVectors() map[string]stapledVector {
	two := strings.Replace(policyText, "\nwitness w", "\nlog "+otherKey.VKey+"\nwitness w", 1)
	names := []string{chipX, akX, vm}
	all := make(map[string]stapledVector)
	add := func(name, desc, expect string, b *book, number uint64, dossiers ...*poclog.Dossier) {
		v := stapledVector{Desc: desc, Receipt: string(b.receiptOf(number, 3200)), Policy: two, Time: at(4000), Expect: expect}
		for _, d := range dossiers {
			v.Dossiers = append(v.Dossiers, string(must(d.Marshal())))
		}
		all[name] = v
	}
	bound := func(b *book, o order) (*book, *poclog.Dossier) { d := b.bind(3100, o); return b, d }
	b, d := bound(honest(), order{names: names})
	add("cleared", "every identity is covered, the entry is listed, and nothing contradicts", "logged", b, 4, d)
	add("cleared-earlier", "an earlier entry of the same machine", "logged", b, 1, d)
	add("number-other", "the receipt of another machine, which the dossier does not list", "dossier", b, 3, d)
	newer := b.proof(chipX, akX, "us-central1-a", 3150, nil)
	add("newer", "a receipt that is newer than the index", "dossier", b, newer, d)
	b, d = bound(honest(), order{names: []string{chipX, vm}})
	add("name-missing", "the AK is not covered", "dossier", b, 4, d)
	clone := func(b *book) *book {
		b.proof(chipX, akY, "us-central1-c", 3050, func(e *poclog.Entry) { e.Instance = "gce:instance:1:9" })
		return b
	}
	b, d = bound(clone(honest()), order{names: names, intervals: true})
	add("contradicted", "the chip is claimed in another place, within minutes", "dossier", b, 4, d)
	b, d = bound(honest(), order{names: names, size: 4})
	add("dossier-refused", "a dossier that does not hold", "index", b, 4, d)
	lied := honest()
	lied.meddle = func(name string, n []uint64) []uint64 {
		if name == akX {
			return slices.DeleteFunc(n, func(x uint64) bool { return x == 4 })
		}
		return n
	}
	b, d = bound(lied, order{names: names})
	add("list-without-entry", "the chip's list has the entry, and the AK's does not: the index is wrong", "dossier", b, 4, d)

	// Of another log.
	others := func(zone string, names ...string) *poclog.Dossier {
		o := newBook()
		o.log.Origin = otherOrigin
		o.key = otherKey
		o.config()
		if zone != "" {
			o.proof(chipX, akX, zone, 3010, nil)
		}
		_, d := bound(o, order{names: names, intervals: true})
		return d
	}
	b, d = bound(honest(), order{names: names, intervals: true})
	add("other-absent", "another log has nothing of its identities", "logged", b, 4, d, others("", names...))
	add("other-same-place", "another log has the machine in the same place", "logged", b, 4, others("us-central1-a", names...), d)
	add("other-alone", "another log's dossier alone: none clears the receipt", "dossier", b, 4, others("us-central1-a", names...))
	add("other-place", "another log has the chip in another place, within a minute", "dossier", b, 4, d, others("us-central1-c", names...))
	add("other-name-missing", "another log's dossier does not cover the AK", "dossier", b, 4, d, others("", chipX, vm))
	return all
}

func TestStapledVectors(t *testing.T) {
	const dir = "../../testdata/stapled"
	if vectors.Updating() {
		vectors.Write(t, dir, makeStapledVectors())
	}
	vectors.Each(t, dir, func(t *testing.T, v stapledVector) {
		if got := v.check(t); got != v.Expect {
			t.Errorf("%s: %s, want %s", v.Desc, got, v.Expect)
		}
	})
}

// A wrongVector is a file that is said to show a wrong index.
type wrongVector struct {
	Desc       string `json:"desc"`
	IndexWrong string `json:"index_wrong"`
	Policy     string `json:"policy"`
	Expect     string `json:"expect"` // "<entry> is left out", "<entry> is listed", or "refused: <step>"
}

func (v *wrongVector) check(t *testing.T) string {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	got, err := dossier.CheckIndexWrong([]byte(v.IndexWrong), p)
	switch {
	case err != nil:
		return "refused: " + string(stepOf(err))
	case got.Omitted:
		return fmt.Sprintf("%d is left out", got.Entry)
	}
	return fmt.Sprintf("%d is listed", got.Entry)
}

func makeWrongVectors() map[string]wrongVector {
	all := make(map[string]wrongVector)
	add := func(name, desc, expect string, w *poclog.IndexWrong, change ...func(w *poclog.IndexWrong)) {
		for _, c := range change {
			c(w)
		}
		all[name] = wrongVector{desc, string(must(w.Marshal())), policyText, expect}
	}
	gone := func(name string, numbers []uint64) []uint64 {
		if name == chipX {
			return nil
		}
		return numbers
	}
	add("left-out", "an entry that states the name is left out", "2 is left out", wrong(hide(2), chipX, 2))
	add("listed", "an entry that does not state the name is listed", "3 is listed", wrong(addTo(3), chipX, 3))
	add("listed-config", "a configuration is listed under a chip", "0 is listed", wrong(addTo(0), chipX, 0))
	add("absent", "the map does not have the name, which an entry states", "1 is left out", wrong(gone, chipX, 1))
	add("left-out-at-the-end", "the end of the list, which begins before the entry", "3 is listed", wrong(addTo(3), chipX, 3), func(w *poclog.IndexWrong) {
		before := poclog.Digest(chain(w.Numbers[:2]...))
		w.Before, w.Numbers = &before, w.Numbers[2:]
	})
	add("beyond-the-index", "a list with a number beyond the index shows an omission all the same", "2 is left out", wrong(func(name string, n []uint64) []uint64 {
		if name == chipX {
			return []uint64{1, 4, 5} // the index is of entries 0 to 4
		}
		return n
	}, chipX, 2))
	b, whole, hiding := twins()
	add("left-out-of-one-of-two", "of two indexes of one size the one that leaves an entry out", "2 is left out", &poclog.IndexWrong{Index: hiding.Index, DossierName: hiding.Names[0], Entry: b.receiptOf(2, 3200)})
	add("honest-one-of-two", "of two indexes of one size the one that lists it", "refused: index-wrong", &poclog.IndexWrong{Index: whole.Index, DossierName: whole.Names[0], Entry: b.receiptOf(2, 3200)})
	add("honest-listed", "an entry that states the name is listed", "refused: index-wrong", wrong(nil, chipX, 2))
	add("honest-not-listed", "an entry of another chip is not listed", "refused: index-wrong", wrong(nil, chipX, 3))
	add("after-the-index", "an entry after the index", "refused: index-wrong", wrong(nil, chipX, 5))
	add("begins-later", "a list that begins after the entry", "refused: index-wrong", wrong(hide(1), chipX, 1), func(w *poclog.IndexWrong) {
		before := poclog.Digest(chain(w.Numbers[:1]...))
		w.Before, w.Numbers = &before, w.Numbers[1:]
	})
	add("number-taken-out", "a list that does not give the value in the map", "refused: numbers", wrong(nil, chipX, 2), func(w *poclog.IndexWrong) { w.Numbers = []uint64{1, 4} })
	add("no-numbers", "a name that the map has, without numbers", "refused: numbers", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) { w.Numbers = nil })
	add("absent-with-before", "a name that the map does not have, with a value before its list", "refused: numbers", wrong(nil, absentName, 2), func(w *poclog.IndexWrong) {
		before := poclog.Digest(chain(1))
		w.Before = &before
	})
	add("map-other", "the map proof of another name", "refused: map", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) { w.Proof = wrong(hide(2), akX, 2).Proof })
	add("name-other", "another name than the map proof's", "refused: map", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) { w.Name = akX })
	add("name-malformed", "a name that no entry states", "refused: map", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) { w.Name = "x" })
	add("not-an-index", "the receipt of another entry in place of the index entry's", "refused: index", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) { w.Index = w.Entry })
	algorithm := honest()
	algorithm.algorithm, algorithm.meddle = 2, hide(2)
	d := algorithm.bind(3100, of(chipX))
	add("algorithm-other", "an index of an algorithm of later times", "refused: index", &poclog.IndexWrong{Index: d.Index, DossierName: d.Names[0], Entry: algorithm.receiptOf(2, 3200)})
	add("entry-unsigned", "no witness signed the checkpoint of the entry's receipt", "refused: checkpoint", wrong(hide(2), chipX, 2), func(w *poclog.IndexWrong) {
		r := must(poclog.ParseReceipt(w.Entry))
		head, lines, _ := strings.Cut(string(r.Inclusion.Checkpoint), "\n\n")
		first, _, _ := strings.Cut(lines, "\n")
		r.Inclusion.Checkpoint = []byte(head + "\n\n" + first + "\n")
		w.Entry = must(r.Marshal())
	})
	late := honest()
	number := late.proof(chipX, akX, "us-central1-a", 3050, func(e *poclog.Entry) { e.Appraised = e.Appraised.Add(time.Hour) })
	late.meddle = hide(number)
	d = late.bind(3100, of(chipX))
	size := uint64(len(late.log.Leaves))
	r := poclog.Receipt{Entry: late.log.Leaves[number], Index: number, Challenge: late.log.Checkpoint(number, signed(3020)...), Inclusion: late.log.Inclusion(number, size, late.log.Checkpoint(size, signed(3200)...))}
	add("entry-out-of-its-interval", "an entry that was appraised outside its interval", "refused: interval", &poclog.IndexWrong{Index: d.Index, DossierName: d.Names[0], Entry: must(r.Marshal())})
	spaced := all["left-out"]
	spaced.Desc, spaced.Expect, spaced.IndexWrong = "white space that the canonical form does not have", "refused: format", strings.Replace(spaced.IndexWrong, ",", ", ", 1)
	all["spaced"] = spaced
	stranger := all["left-out"]
	stranger.Desc, stranger.Expect, stranger.Policy = "a log that the reader's policy does not list", "refused: checkpoint", "log "+testlog.LogKey("other.test").VKey+"\nquorum none\n"
	all["log-other"] = stranger
	return all
}

func TestWrongIndexVectors(t *testing.T) {
	const dir = "../../testdata/indexes-wrong"
	if vectors.Updating() {
		vectors.Write(t, dir, makeWrongVectors())
	}
	vectors.Each(t, dir, func(t *testing.T, v wrongVector) {
		if got := v.check(t); got != v.Expect {
			t.Errorf("%s: %s, want %s", v.Desc, got, v.Expect)
		}
	})
}
