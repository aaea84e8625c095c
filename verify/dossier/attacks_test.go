package dossier_test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A vector is a dossier with what must come of it.
type vector struct {
	Desc    string        `json:"desc"`
	Dossier string        `json:"dossier"`
	Policy  string        `json:"policy"`
	Demands vectorDemands `json:"demands"`
	Time    time.Time     `json:"time"`
	Expect  string        `json:"expect"` // "<verdict>: <gravest finding, or complete>", or "refused: <step or demand>"

	Findings []vectorFinding `json:"findings,omitempty"` // all, in order
}

type vectorFinding struct {
	Severity   rule.Severity   `json:"severity"`
	Rule       string          `json:"rule"`
	Subject    poclog.Identity `json:"subject,omitempty"`
	Implicated []string        `json:"implicated,omitempty"`
}

// findings are those of an answer, of which there is none if the dossier is refused.
func findings(a *dossier.Answer, err error) (list []vectorFinding) {
	if err != nil {
		return nil
	}
	for _, f := range a.Findings {
		list = append(list, vectorFinding{f.Severity, f.Rule, f.Subject, f.Implicated})
	}
	return list
}

type vectorDemands struct {
	Names   []string         `json:"names,omitempty"`
	Verdict receipt.Standing `json:"verdict,omitempty"`
	MaxAge  uint32           `json:"max_age,omitempty"` // seconds
	Since   time.Time        `json:"since,omitzero"`
	Realm   poclog.Realm     `json:"realm,omitempty"`
}

func (d *vectorDemands) demands() dossier.Demands {
	return dossier.Demands{Names: d.Names, Standing: d.Verdict, MaxAge: time.Duration(d.MaxAge) * time.Second, Since: d.Since, UnsafeRealm: d.Realm}
}

// outcome is what comes of a dossier, as vectors say it.
func outcome(a *dossier.Answer, err error) string {
	if err != nil {
		return "refused: " + string(stepOf(err))
	}
	if f := a.Gravest(); f != nil {
		return string(a.Verdict) + ": " + string(f.Severity) + " " + f.Rule
	}
	return string(a.Verdict) + ": complete"
}

// A case is how a dossier is made, changed and asked.
type testCase struct {
	desc    string
	make    func() *poclog.Dossier
	change  func(d *poclog.Dossier)
	demands vectorDemands
	expect  string
}

var absentName = "intel:tdx:ppid:" + strings.Repeat("99", 16)

func bound(o order) func() *poclog.Dossier {
	return func() *poclog.Dossier { return honest().bind(3100, o) }
}

func of(names ...string) order { return order{names: names} }

func cases() map[string]testCase {
	cloned := func(intervals bool) func() *poclog.Dossier {
		return func() *poclog.Dossier {
			b := honest()
			b.proof(chipX, akY, "us-central1-c", 3050, func(e *poclog.Entry) { e.Instance = "gce:instance:1:9" })
			return b.bind(3100, order{names: []string{chipX}, intervals: intervals})
		}
	}
	restarted := func() *poclog.Dossier {
		b := honest()
		b.proof(chipY, akX, "us-central1-b", 3050, func(e *poclog.Entry) { e.TPM.ResetCount++ })
		return b.bind(3100, order{names: []string{akX, vm}, intervals: true})
	}
	again := func() *poclog.Dossier {
		b := honest()
		b.bind(3100, of(chipX))
		return b.bind(3110, order{names: []string{chipX}, below: 5})
	}
	lying := func(lie func(name string, numbers []uint64) []uint64) func() *poclog.Dossier {
		return func() *poclog.Dossier {
			b := honest()
			b.meddle = lie
			return b.bind(3100, of(chipX))
		}
	}
	several := func() *poclog.Dossier {
		b := honest()
		b.proof(chipX, akX, "us-central1-c", 3050, func(e *poclog.Entry) { e.CVM.FMSPC = []byte{6, 5, 4, 3, 2, 1} })
		b.proof(chipY, akX, "us-central1-b", 3060, func(e *poclog.Entry) { e.TPM.Clock = 1000 })
		return b.bind(3100, order{names: []string{chipX, akX}, intervals: true})
	}
	alertFirst := func() *poclog.Dossier {
		b := honest()
		b.proof(chipX, akY, "us-central1-c", 3050, nil)
		return b.bind(3100, of(chipX))
	}
	step := func(proof []byte, at int) []byte { return proof[len("mptproof")+1+32+33*at:] }
	return map[string]testCase{
		"honest":           {"all entries of a chip, an AK and the configuration, and the absence of a chip", bound(of(chipX, akX, "config", absentName)), nil, vectorDemands{}, "logged: complete"},
		"honest-intervals": {"with challenges and first covering checkpoints", bound(order{names: []string{chipX}, intervals: true}), nil, vectorDemands{}, "logged: complete"},
		"honest-audited":   {"an auditor signed the checkpoint that covers the index entry", bound(order{names: []string{chipX}, by: audited(3105)}), nil, vectorDemands{Verdict: receipt.Audited}, "audited: complete"},
		"honest-since":     {"all entries since a checkpoint, and the last one before", bound(order{names: []string{chipX}, since: 4}), nil, vectorDemands{Since: at(1500)}, "logged: complete"},
		"clone":            {"the chip is claimed in two places within minutes", cloned(true), nil, vectorDemands{}, "logged: contradiction chip-in-two-places"},
		"clone-untimed":    {"the same without intervals: what is unknown clears nothing", cloned(false), nil, vectorDemands{}, "logged: alert chip-in-two-places"},
		"several":          {"a chip in two places, with two models, whose AK is on another chip and runs backwards", several, nil, vectorDemands{}, "logged: contradiction ak-on-two-chips"},
		"alert-first":      {"an alert stands before a contradiction, which is the gravest", alertFirst, nil, vectorDemands{}, "logged: contradiction two-aks-for-instance"},
		"moved":            {"an instance and its AK after a restart on another chip: information alone", restarted, nil, vectorDemands{}, "logged: complete"},
		"index-again":      {"two indexes of one size, which say the same", again, nil, vectorDemands{}, "logged: complete"},
		"index-twin-hides": {"of two indexes of one size the one that hides an entry: its dossier is whole, and the file of a wrong index shows it", func() *poclog.Dossier { _, _, d := twins(); return d }, nil, vectorDemands{}, "logged: complete"},
		"index-twin-map": {"the list that one index has, under another index of the same size", func() *poclog.Dossier {
			b, whole, d := twins()
			d.Names, d.Pages = whole.Names, nil
			b.page(d, map[uint64]bool{1: true, 2: true, 4: true}, 7, order{})
			return d
		}, nil, vectorDemands{}, "refused: map"},
		"name-missing":  {"a name that was asked for is not covered", bound(of(chipX)), nil, vectorDemands{Names: []string{akX}}, "refused: names"},
		"audit-missing": {"only the log vouches for the index, where an audit was demanded", bound(of(chipX)), nil, vectorDemands{Verdict: receipt.Audited}, "refused: verdict"},
		"stale":         {"the index is older than was asked for", bound(of(chipX)), nil, vectorDemands{MaxAge: 60}, "refused: max-age"},
		"since-early":   {"entries since an earlier time are asked for than the file lists", bound(order{names: []string{chipX}, since: 4}), nil, vectorDemands{Since: at(900)}, "refused: since"},
		"since-unasked": {"a file that leaves out old entries, for a reader who wants all", bound(order{names: []string{chipX}, since: 4}), nil, vectorDemands{}, "refused: since"},
		"number-left-out": {"an entry is left out of the list and of the file", bound(of(chipX)), func(d *poclog.Dossier) {
			d.Names[0].Numbers = []uint64{1, 4}
			d.Pages = honestPages(1, 4)
		}, vectorDemands{}, "refused: numbers"},
		"number-added": {"an entry is added to the list", bound(of(chipX)), func(d *poclog.Dossier) {
			d.Names[0].Numbers = []uint64{1, 2, 3, 4}
			d.Pages = honestPages(1, 2, 3, 4)
		}, vectorDemands{}, "refused: numbers"},
		"index-lists-stranger": {"the index lists an entry that does not state the name", lying(func(name string, n []uint64) []uint64 {
			if name == chipX {
				return []uint64{1, 2, 3, 4}
			}
			return n
		}), nil, vectorDemands{}, "refused: entries"},
		"suffix-late": {"the list begins after the checkpoint since which it should be complete", bound(order{names: []string{chipX}, since: 4}), func(d *poclog.Dossier) {
			before := poclog.Digest(chain(1, 2))
			d.Names[0].Before, d.Names[0].Numbers = &before, []uint64{4}
			d.Pages = honestPages(4)
		}, vectorDemands{Since: at(1500)}, "refused: numbers"},
		"suffix-unsaid":  {"the list leaves out its beginning, and no checkpoint says since when", bound(order{names: []string{chipX}, since: 4}), func(d *poclog.Dossier) { d.Since = nil }, vectorDemands{Since: at(1500)}, "refused: numbers"},
		"page-left-out":  {"a page of entries is left out", bound(of(chipX)), func(d *poclog.Dossier) { d.Pages = d.Pages[:1] }, vectorDemands{}, "refused: entries"},
		"entry-unlisted": {"an entry that no name lists", bound(of(chipX)), func(d *poclog.Dossier) { d.Pages = append(d.Pages, honestPages(5)...) }, vectorDemands{}, "refused: entries"},
		"leaf-changed": {"a leaf is changed to another place", bound(of(chipX)), func(d *poclog.Dossier) {
			e := &d.Pages[0].Entries[0]
			e.Leaf = bytes.ReplaceAll(e.Leaf, []byte("us-central1-a"), []byte("us-central1-b"))
		}, vectorDemands{}, "refused: tree"},
		"hash-changed": {"a hash of a page's proof is changed", bound(of(chipX)), func(d *poclog.Dossier) { d.Pages[0].Proof[0][0] ^= 1 }, vectorDemands{}, "refused: tree"},
		"absence-of-a-name-that-is-there": {"the proof that another name is absent is shown for one that is there", bound(of(chipX, absentName)), func(d *poclog.Dossier) {
			d.Names[0].Proof, d.Names[0].Numbers = d.Names[1].Proof, nil
			d.Pages = nil
		}, vectorDemands{}, "refused: map"},
		"absent-with-numbers":     {"a name that is absent has numbers", bound(of(chipX, absentName)), func(d *poclog.Dossier) { d.Names[1].Numbers = []uint64{1} }, vectorDemands{}, "refused: numbers"},
		"present-without-numbers": {"a name that is there has no numbers", bound(of(chipX)), func(d *poclog.Dossier) { d.Names[0].Numbers, d.Pages = nil, nil }, vectorDemands{}, "refused: numbers"},
		"map-zero-hash":           {"a hash of zeros in a map proof", bound(of(chipX)), func(d *poclog.Dossier) { copy(step(d.Names[0].Proof, 0)[1:33], make([]byte, 32)) }, vectorDemands{}, "refused: map"},
		"map-no-header":           {"a map proof without its header", bound(of(chipX)), func(d *poclog.Dossier) { d.Names[0].Proof = d.Names[0].Proof[len("mptproof"):] }, vectorDemands{}, "refused: map"},
		"map-bit-twice": {"a bit of a map proof twice", bound(of(chipX)), func(d *poclog.Dossier) {
			p := d.Names[0].Proof
			d.Names[0].Proof = slices.Concat(p[:41], step(p, 0)[:33], step(p, 0))
		}, vectorDemands{}, "refused: map"},
		"map-surplus":    {"a byte behind a map proof", bound(of(chipX)), func(d *poclog.Dossier) { d.Names[0].Proof = append(d.Names[0].Proof, 0) }, vectorDemands{}, "refused: map"},
		"name-malformed": {"a name that no entry could state", bound(of(chipX)), func(d *poclog.Dossier) { d.Names[0].Name = "quote:" + strings.Repeat("1", 64) }, vectorDemands{}, "refused: map"},
		"size-beyond":    {"the index claims more entries than stand before it", bound(order{names: []string{chipX}, size: 6}), nil, vectorDemands{}, "refused: index"},
		"size-other":     {"the index claims another size than its checkpoint has", bound(order{names: []string{chipX}, size: 4}), nil, vectorDemands{}, "refused: index"},
		"checkpoint-other": {"another checkpoint than the index entry names", bound(of(chipX)), func(d *poclog.Dossier) {
			d.Checkpoint = honest().log.Checkpoint(5, signed(3900)...)
		}, vectorDemands{}, "refused: index"},
		"algorithm-other": {"an index of an algorithm of later times", func() *poclog.Dossier {
			b := honest()
			b.algorithm = 2
			return b.bind(3100, of(chipX))
		}, nil, vectorDemands{}, "refused: index"},
		"not-an-index": {"the receipt is of another entry", bound(of(chipX)), func(d *poclog.Dossier) {
			b := honest()
			r := poclog.Receipt{Entry: b.log.Leaves[0], Inclusion: b.log.Inclusion(0, 5, b.log.Checkpoint(5, signed(3000)...))}
			d.Index = must(r.Marshal())
		}, vectorDemands{}, "refused: index"},
		"receipt-unsigned": {"nobody signed the checkpoint that covers the index entry", bound(order{names: []string{chipX}, by: []testlog.Cosigner{{Signer: logKey}}}), nil, vectorDemands{}, "refused: checkpoint"},
		"since-unsigned": {"nobody signed the checkpoint since which entries are listed", bound(order{names: []string{chipX}, since: 4}), func(d *poclog.Dossier) {
			d.Since = honest().log.Checkpoint(4, testlog.Cosigner{Signer: logKey})
		}, vectorDemands{Since: at(1500)}, "refused: numbers"},
		"challenge-other": {"an entry refers to another challenge than it names", bound(order{names: []string{chipX}, intervals: true}), func(d *poclog.Dossier) {
			d.Pages[0].Entries[0].Challenge = d.Pages[0].Entries[1].Challenge
		}, vectorDemands{}, "refused: times"},
		"first-too-small": {"an entry refers to a checkpoint that does not cover it", bound(order{names: []string{chipX}, intervals: true}), func(d *poclog.Dossier) {
			d.Pages[0].Entries[1].First = d.Pages[0].Entries[0].First
		}, vectorDemands{}, "refused: times"},
		"first-too-small-unsigned": {"the same, of a checkpoint that the policy does not vouch for", bound(order{names: []string{chipX}, intervals: true}), func(d *poclog.Dossier) {
			first := d.Pages[0].Entries[0].First
			d.Pages[0].Entries[1].First = first
			d.Pages[0].Checkpoints[first-1].Checkpoint = honest().log.Checkpoint(2, testlog.Cosigner{Signer: logKey})
		}, vectorDemands{}, "refused: times"},
		"first-of-another-history": {"the checkpoint that is said to have covered an entry first is not shown to be of the log's history", bound(order{names: []string{chipX}, intervals: true}), func(d *poclog.Dossier) {
			d.Pages[0].Checkpoints[d.Pages[0].Entries[0].First-1].Consistency = nil
		}, vectorDemands{}, "refused: times"},
		"checkpoint-unknown": {"an entry refers to a checkpoint that is not there", bound(order{names: []string{chipX}, intervals: true}), func(d *poclog.Dossier) {
			d.Pages[0].Entries[0].First = uint32(len(d.Pages[0].Checkpoints)) + 1
		}, vectorDemands{}, "refused: times"},
		"realm-other": {"entries of a laboratory are not compared where production is asked for", func() *poclog.Dossier {
			b := honest()
			for i, zone := range []string{"lab-north1-a", "lab-north1-b"} {
				b.proof(chipX, akX, zone, 3040+i, func(e *poclog.Entry) { e.Realm = poclog.Lab })
			}
			return b.bind(3100, order{names: []string{chipX}, intervals: true})
		}, nil, vectorDemands{}, "logged: complete"},
	}
}

// twins is a log with two indexes of one size, with a dossier from each: the second hides an entry.
func twins() (b *book, whole, hiding *poclog.Dossier) {
	b = honest()
	whole = b.bind(3100, of(chipX))
	b.meddle = hide(2)
	return b, whole, b.bind(3110, order{names: []string{chipX}, below: 5})
}

func chain(numbers ...uint64) index.Value { return index.Value{}.Chain(numbers) }

// honestPages are pages of an honest dossier for any entries.
func honestPages(numbers ...uint64) []poclog.DossierPage {
	b := honest()
	b.bind(3100, of(chipX))
	all := make(map[uint64]bool)
	for _, n := range numbers {
		all[n] = true
	}
	d := new(poclog.Dossier)
	b.page(d, all, 6, order{})
	return d.Pages
}

func TestEveryAttackIsRefused(t *testing.T) {
	for name, c := range cases() {
		d := c.make()
		if c.change != nil {
			c.change(d)
		}
		if got := outcome(check(t, d, c.demands.demands())); got != c.expect {
			t.Errorf("%s: %s, want %s", name, got, c.expect)
		}
	}
}

func TestDossierVectors(t *testing.T) {
	const dir = "../../testdata/dossiers"
	if vectors.Updating() {
		all := make(map[string]vector)
		for name, c := range cases() {
			d := c.make()
			if c.change != nil {
				c.change(d)
			}
			file := must(d.Marshal())
			all[name] = vector{c.desc, string(file), policyText, c.demands, at(4000), c.expect, findings(dossier.Check(file, policy(t), at(4000), c.demands.demands()))}
		}
		other := all["honest"]
		other.Desc, other.Expect = "a dossier of a log that the reader's policy does not list", "refused: checkpoint"
		other.Policy = "log " + testlog.LogKey("other.test").VKey + "\nquorum none\n"
		all["log-other"] = other
		cut := all["honest"]
		cut.Desc, cut.Expect, cut.Dossier = "a dossier with white space", "refused: format", strings.Replace(cut.Dossier, ",", ", ", 1)
		all["spaced"] = cut
		vectors.Write(t, dir, all)
	}
	vectors.Each(t, dir, func(t *testing.T, v vector) {
		p, err := tlogpolicy.Parse([]byte(v.Policy))
		if err != nil {
			t.Fatal(err)
		}
		a, err := dossier.Check([]byte(v.Dossier), p, v.Time, v.Demands.demands())
		if got := outcome(a, err); got != v.Expect {
			t.Errorf("%s: %s, want %s", v.Desc, got, v.Expect)
		}
		if got := findings(a, err); !reflect.DeepEqual(got, v.Findings) {
			t.Errorf("%s: %+v, want %+v", v.Desc, got, v.Findings)
		}
	})
}

// Every changed byte refuses, or changes what is not proven.
func TestNoChangedDossierAnswersOtherwise(t *testing.T) {
	file := must(honest().bind(3100, order{names: []string{chipX, absentName}, intervals: true}).Marshal())
	p := policy(t)
	want := must(dossier.Check(file, p, at(4000), dossier.Demands{}))
	stride := 7
	for i := 0; i < len(file); i += stride {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		a, err := dossier.Check(changed, p, at(4000), dossier.Demands{})
		if err != nil {
			continue
		}
		// Signatures of keys that the policy does not have may change, and times that stay unknown.
		// A name that is absent may become another that is. The lists may not.
		if a.Size != want.Size || len(a.Entries) != len(want.Entries) || !slices.EqualFunc(a.Names, want.Names, func(x, y dossier.Name) bool {
			return x.Present == y.Present && slices.Equal(x.Numbers, y.Numbers) && (x.Name == y.Name || !x.Present)
		}) {
			t.Errorf("byte %d %q changed: %+v", i, file[i], a)
		}
	}
}

// A stranger fills a chip's list: the work grows with the list and not with its square.
func TestLongListsAreCheckedInOneGo(t *testing.T) {
	b := newBook()
	for i := range 400 {
		b.proof(chipX, akX, "us-central1-a", 1000+i, nil)
	}
	a, err := check(t, b.bind(3100, of(chipX)), dossier.Demands{})
	if err != nil || len(a.Entries) != 400 || a.Gravest() != nil {
		t.Fatalf("%v, %+v", err, a.Gravest())
	}
}

// A list of a hundred thousand numbers, of which the file has no entry, is refused before anything
// is asked of entries.
func TestAHundredThousandNumbersAreRefused(t *testing.T) {
	d := honest().bind(3100, of(chipX))
	d.Names[0].Numbers = nil
	for i := range uint64(100_000) {
		d.Names[0].Numbers = append(d.Names[0].Numbers, i)
	}
	if _, err := check(t, d, dossier.Demands{}); err == nil || stepOf(err) != dossier.StepNumbers {
		t.Errorf("%v: want a refusal by the numbers", err)
	}
}

// Every vector that is refused stands in a page of attacks, and every test that a page names is one.
func TestAttacksPagesHaveEveryVector(t *testing.T) {
	holdPage(t, "../../docs/attacks-index.md", "dossiers", "stapled", "indexes-wrong")
	holdPage(t, "../../docs/attacks-registry.md", "standing", "statements")
}

func holdPage(t *testing.T, file string, dirs ...string) {
	t.Helper()
	page := string(must(os.ReadFile(file)))
	for _, dir := range dirs {
		vectors.Each(t, "../../testdata/"+dir, func(t *testing.T, v map[string]any) {
			name, _, _ := strings.Cut(path.Base(t.Name()), ".json")
			expect, ok := v["expect"].(string)
			if !ok { // of statements that a log is offered
				if expect, ok = v["admit"].(string); !ok {
					expect = "ok"
				}
			}
			good := strings.HasSuffix(expect, ": complete") || expect == "logged" || expect == "ok"
			if !good && !strings.Contains(page, "`"+name+"`") {
				t.Errorf("%s does not have %s/%s: %s", file, dir, name, expect)
			}
		})
	}
	for _, m := range regexp.MustCompile("`(Test[A-Za-z]+|Fuzz[A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		if out, err := exec.Command("git", "grep", "-q", "func "+m[1]+"(", "--", "../../*_test.go").CombinedOutput(); err != nil {
			t.Errorf("%s names %s, which is no test: %s", file, m[1], out)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, c := range cases() {
		d := c.make()
		f.Add(must(d.Marshal()))
	}
	p := policy(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := dossier.Check(file, p, at(4000), dossier.Demands{})
		if (a == nil) == (err == nil) && err == nil {
			t.Error("neither answer nor error")
		}
	})
}
