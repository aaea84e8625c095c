package receipt_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// terms are a reader's, with what repeats appraisals.
var terms = receipt.Terms{Reappraise: profile.Reappraiser{}, UnsafeRealm: poclog.Lab}

// labPolicy is the tlog-policy of a reader of the laboratory's log.
const labWitness = "w"

func labPolicyText() []byte {
	return []byte("log " + attack.LogKey.VKey + "\nwitness " + labWitness + " " + attack.WitnessKey.VKey + "\nquorum " + labWitness + "\n")
}

func labPolicy(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse(labPolicyText())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A published is an entry of the laboratory's log with all that was judged.
type published struct {
	index    uint64
	entry    *poclog.Entry
	leaf     []byte
	evidence receipt.Evidence
	logged   time.Time // when the witness cosigned the tree with it
}

// publish appraises a bundle a few seconds after its challenge, as a log would, and appends the
// entry.
func publish(t testing.TB, w *attack.World, log *testlog.Log, b *poclog.Bundle) published {
	t.Helper()
	var p published
	var err error
	if p.evidence.Bundle, p.evidence.Collateral, p.evidence.Policy, err = w.Files(b); err != nil {
		t.Fatal(err)
	}
	appraised := attack.Now
	if b.Has(poclog.ItemChallenge) {
		ch, err := b.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		v, err := labPolicy(t).Open(ch.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		t1, _ := v.NotBefore()
		appraised = t1.Add(5 * time.Second)
	}
	if p.leaf, err = (profile.Reappraiser{}).Reappraise(p.evidence, appraised, poclog.Appraisal); err != nil {
		t.Fatal(err)
	}
	if p.entry, err = poclog.ParseEntry(p.leaf); err != nil {
		t.Fatal(err)
	}
	p.index, p.logged = uint64(len(log.Leaves)), appraised.Add(2*time.Second)
	log.Leaves = append(log.Leaves, p.leaf)
	return p
}

// receiptOf proves that the log has an entry, by the checkpoint of the size that first covers it.
func receiptOf(t testing.TB, log *testlog.Log, p published) []byte {
	t.Helper()
	n := p.index + 1
	cp := log.Checkpoint(n, testlog.Cosigner{Signer: attack.LogKey, At: p.logged}, testlog.Cosigner{Signer: attack.WitnessKey, At: p.logged})
	r := &poclog.Receipt{Entry: p.leaf, Index: p.index, Inclusion: log.Inclusion(p.index, n, cp)}
	if p.entry.Fresh != nil {
		b, err := poclog.ParseBundle(p.evidence.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		ch, err := b.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		r.Challenge = ch.Checkpoint
	}
	file, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// claimOf is what a monitor makes of a receipt.
func claimOf(t testing.TB, file []byte) *rule.Claim {
	t.Helper()
	v, err := receipt.Open(file, labPolicy(t))
	if err != nil {
		t.Fatal(err)
	}
	return &rule.Claim{Origin: v.Origin, Index: v.Index, Entry: v.Entry, T1: v.T1.Time, T2: v.T2.Time}
}

// Every attack that only time exposes, of every profile: from its bundles to a file that convinces
// somebody who never saw the log.
func TestAttacksOverTimeAreFoundAndProven(t *testing.T) {
	for _, a := range attack.AllSeries() {
		if a.Rule == attack.ExistingReceipt {
			continue
		}
		t.Run(a.ID(), func(t *testing.T) {
			w := a.NewWorld()
			var pieces []receipt.Piece
			var claims []*rule.Claim
			for _, b := range a.Stage(w) {
				p := publish(t, w, w.Log, b)
				file := receiptOf(t, w.Log, p)
				pieces = append(pieces, receipt.Piece{Receipt: file, Evidence: &p.evidence})
				claims = append(claims, claimOf(t, file))
			}
			want := rule.Contradiction
			if a.Rule == "tpm-rewound" || a.ID() == "azure-snp-vtpm.quote-replayed" {
				want = rule.Alert // an honest explanation exists
			}
			found := false
			for _, f := range rule.Compare(claims[0], claims[1]) {
				t.Logf("%s (%s): %s %s implicated %v, affected %v", f.Rule, f.Severity, f.Seen, f.Meaning, f.Implicated, f.Affected)
				found = found || f.Rule == a.Rule && f.Severity == want
			}
			if !found {
				t.Fatalf("rule %s finds no %s", a.Rule, want)
			}
			file, err := receipt.AssembleContradiction(a.Rule, labPolicyText(), pieces[1], pieces[0])
			if err != nil {
				t.Fatal(err)
			}
			v, err := receipt.CheckContradiction(file, labPolicy(t), terms)
			if err != nil {
				t.Fatal(err)
			}
			if v.Rule != a.Rule || v.Severity != want || v.Verdict != receipt.Reappraised || len(v.Entries) != 2 {
				t.Errorf("%+v", v)
			}
			t.Logf("%d bytes", len(file))
			// Without the evidence of one entry, or of both, the log alone says so, and may have
			// invented it: an alert about the log.
			for i := range pieces {
				pieces[i].Evidence = nil
				if file, err = receipt.AssembleContradiction(a.Rule, nil, pieces...); err != nil {
					t.Fatal(err)
				}
				v, err = receipt.CheckContradiction(file, labPolicy(t), terms)
				if err != nil || v.Verdict != receipt.Logged || v.Severity != rule.Alert || len(v.Implicated) > 0 || !slices.Equal(v.Withheld, []string{v.Entries[0].Origin}) {
					t.Errorf("without evidence: %+v, %v", v, err)
				}
			}
		})
	}
}

func wantStep(t testing.TB, name string, err error, step verify.Check, detail string) {
	t.Helper()
	var e *verify.Error
	if !errors.As(err, &e) || e.Check != step || !strings.Contains(e.Detail, detail) || strings.Contains(e.Detail, "\n") {
		t.Errorf("%s: %v: want %s: …%s…", name, err, step, detail)
	}
}
