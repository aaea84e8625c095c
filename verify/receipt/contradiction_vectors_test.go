package receipt_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A contradictionVector is a file, a reader's tlog-policy and realm, and what he is to make of it,
// with the default limits.
type contradictionVector struct {
	Desc          string       `json:"desc"`
	Contradiction string       `json:"contradiction"`
	Policy        string       `json:"policy"`
	Realm         poclog.Realm `json:"realm"`
	Expect        string       `json:"expect"` // "<severity> <verdict>: <who is implicated, or nobody>", or "refused: <step>"
}

const contradictionDir = "../../testdata/contradictions"

func (v *contradictionVector) check(t *testing.T) string {
	t.Helper()
	policy, err := tlogpolicy.Parse([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	found, err := receipt.CheckContradiction([]byte(v.Contradiction), policy, receipt.Terms{UnsafeRealm: v.Realm, Reappraise: profile.Reappraiser{}})
	var refused *verify.Error
	switch {
	case errors.As(err, &refused):
		return "refused: " + string(refused.Check)
	case err != nil:
		t.Fatal(err)
	}
	who := "nobody"
	if len(found.Implicated) > 0 {
		who = found.Implicated[0]
	}
	return string(found.Severity) + " " + string(found.Verdict) + ": " + who
}

func makeContradictionVectors(t *testing.T) map[string]contradictionVector {
	t.Helper()
	all := make(map[string]contradictionVector)
	add := func(name, desc string, file []byte) {
		v := contradictionVector{Desc: desc, Contradiction: string(file), Policy: string(labPolicyText()), Realm: poclog.Lab}
		v.Expect = v.check(t)
		all[name] = v
	}
	for _, a := range attack.AllSeries() {
		if a.Rule == attack.ExistingReceipt {
			continue
		}
		_, _, pieces := series(t, a.ID())
		if a.ID() == "tpm-rewound" {
			add("evidence", "with all that was judged: the appraisals are repeated", assemble(t, a.Rule, pieces...))
		}
		if a.ID() == "clone-ak" {
			add("evidence-both", "with the evidence of both entries: their key is implicated", assemble(t, a.Rule, pieces...))
			one := slices.Clone(pieces)
			one[1].Evidence = nil
			add("evidence-one", "with the evidence of one entry: the log may have invented the other", assemble(t, a.Rule, one...))
		}
		for i := range pieces {
			pieces[i].Evidence = nil
		}
		add(a.ID(), "an attacker "+attack.Describe(a.Name), assemble(t, a.Rule, pieces...))
	}
	w, list, pieces := series(t, "boot-forked")
	for i := range pieces {
		pieces[i].Evidence = nil
	}
	good := assemble(t, "boot-forked", pieces...)
	add("rule-other", "a rule that finds nothing between these entries", assemble(t, "ak-on-two-chips", pieces...))
	add("rule-unknown", "a rule that there is not", assemble(t, "bootforked", pieces...))
	add("entry-twice", "one entry, twice", assemble(t, "boot-forked", pieces[0], pieces[0]))
	add("entry-missing", "one entry where the rule takes two", assemble(t, "boot-forked", pieces[0]))
	add("out-of-order", "the entries in another order", changed(t, good, func(c *poclog.Contradiction) { c.Claims[0], c.Claims[1] = c.Claims[1], c.Claims[0] }))
	add("order-made-up", "a proof of order that proves nothing", changed(t, good, func(c *poclog.Contradiction) { c.Claims[1].Covered = [][32]byte{{1}} }))
	add("evidence-of-nothing", "a file that no entry names", changed(t, good, func(c *poclog.Contradiction) { c.AddEvidence([]byte("{}")) }))
	add("digest-wrong", "a digest of something else", append(good[:len(good)-3:len(good)-3], []byte{good[len(good)-3] ^ 1, '"', '}'}...))
	w.Challenge.Salt[2]++
	honest := piecesOf(t, w.Log, list[0], publish(t, w, w.Log, w.Honest()))
	honest[0].Evidence, honest[1].Evidence = nil, nil
	add("honest", "two entries that agree", assemble(t, "boot-forked", honest...))
	late := relogged(t, w.Log, list[0], func(e *poclog.Entry) { e.Appraised = e.Appraised.Add(time.Hour) })
	add("interval-inverted", "a log says that it judged evidence an hour after witnesses saw it logged", assemble(t, "interval-inverted", receipt.Piece{Receipt: receiptOf(t, w.Log, late)}))
	malformed := uint64(len(w.Log.Leaves))
	w.Log.Leaves = append(w.Log.Leaves, append(list[0].leaf[:len(list[0].leaf):len(list[0].leaf)], ' '))
	add("entry-not-reproducible", "a log publishes a malformed proof", assemble(t, "entry-not-reproducible", receipt.Piece{Receipt: receiptOfLeaf(t, w.Log, malformed)}))
	production := all["boot-forked"]
	production.Desc, production.Realm = "a laboratory's contradiction, for a reader who asks about production", poclog.Production
	production.Expect = production.check(t)
	all["realm-other"] = production
	stranger := all["boot-forked"]
	stranger.Desc, stranger.Policy = "a log that the reader's policy does not list", string([]byte("log "+testlog.LogKey("stranger.test").VKey+"\nquorum none\n"))
	stranger.Expect = stranger.check(t)
	all["log-unlisted"] = stranger
	for name, v := range madeContradictions() {
		if _, twice := all[name]; twice {
			t.Fatalf("two vectors %s", name)
		}
		all[name] = v
	}
	return all
}

func TestContradictionVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, contradictionDir, makeContradictionVectors(t))
	}
	vectors.Each(t, contradictionDir, func(t *testing.T, v contradictionVector) {
		if got := v.check(t); got != v.Expect {
			t.Errorf("%s: %s: want %s", v.Desc, got, v.Expect)
		}
	})
}
