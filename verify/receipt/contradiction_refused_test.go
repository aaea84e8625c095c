package receipt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
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

// series publishes an attack over time and returns its pieces.
func series(t testing.TB, id string) (*attack.World, []published, []receipt.Piece) {
	t.Helper()
	for _, a := range attack.AllSeries() {
		if a.ID() == id {
			w := a.NewWorld()
			var list []published
			for _, b := range a.Stage(w) {
				list = append(list, publish(t, w, w.Log, b))
			}
			return w, list, piecesOf(t, w.Log, list...)
		}
	}
	t.Fatalf("no attack %s", id)
	return nil, nil, nil
}

func piecesOf(t testing.TB, log *testlog.Log, list ...published) (out []receipt.Piece) {
	t.Helper()
	for i := range list {
		out = append(out, receipt.Piece{Receipt: receiptOf(t, log, list[i]), Evidence: &list[i].evidence})
	}
	return out
}

func assemble(t testing.TB, ruleID string, pieces ...receipt.Piece) []byte {
	t.Helper()
	file, err := receipt.AssembleContradiction(ruleID, labPolicyText(), pieces...)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// changed is a file with its parts changed by somebody who makes the digest anew.
func changed(t testing.TB, file []byte, change func(c *poclog.Contradiction)) []byte {
	t.Helper()
	c, err := poclog.ParseContradiction(file)
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	out, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// relogged publishes an entry that the log changed, with the evidence as it was.
func relogged(t testing.TB, log *testlog.Log, p published, change func(e *poclog.Entry)) published {
	t.Helper()
	e, err := poclog.ParseEntry(p.leaf)
	if err != nil {
		t.Fatal(err)
	}
	change(e)
	if p.leaf, err = e.Marshal(); err != nil {
		t.Fatal(err)
	}
	p.entry, p.index = e, uint64(len(log.Leaves))
	log.Leaves = append(log.Leaves, p.leaf)
	return p
}

func TestFilesThatShowNoContradictionAreRefused(t *testing.T) {
	w, list, pieces := series(t, "clone-ak")
	good := assemble(t, "ak-on-two-chips", pieces...)
	if _, err := receipt.CheckContradiction(good, labPolicy(t), terms); err != nil {
		t.Fatal(err)
	}
	w.Challenge.Salt[2]++
	again := publish(t, w, w.Log, w.Honest())
	if err := w.VM.Move(w.Host, 1); err != nil {
		t.Fatal(err)
	}
	w.Challenge.Salt[2]++
	moved := publish(t, w, w.Log, w.Honest())
	relabelled := relogged(t, w.Log, list[1], func(e *poclog.Entry) { e.Realm = poclog.Production })
	edited := relogged(t, w.Log, list[1], func(e *poclog.Entry) { e.CVM.TCB.Evaluation++ })
	backdated := relogged(t, w.Log, list[1], func(e *poclog.Entry) { e.Appraised = e.Appraised.Add(-time.Hour) })
	w.Log.Leaves = append(w.Log.Leaves, configLeaf())
	bare := func(list ...published) []receipt.Piece {
		out := piecesOf(t, w.Log, list...)
		for i := range out {
			out[i].Evidence = nil
		}
		return out
	}
	stranger := *w.Log
	stranger.Origin = "stranger.test"
	foreign := piecesOf(t, &stranger, list[1])
	foreign[0].Receipt = signedAs(t, &stranger, list[1], testlog.LogKey("stranger.test"))
	ofAnotherLog := piecesOf(t, w.Log, list[1])
	ofAnotherLog[0].Receipt = signedAs(t, w.Log, list[1], testlog.LogKey("stranger.test"))
	for _, c := range []struct {
		name   string
		file   []byte
		terms  receipt.Terms
		step   verify.Check
		detail string
	}{
		{"two entries that agree", assemble(t, "ak-on-two-chips", piecesOf(t, w.Log, list[0], again)...), terms, receipt.StepRule, "they agree"},
		{"a VM that was moved", assemble(t, "ak-on-two-chips", piecesOf(t, w.Log, list[0], moved)...), terms, receipt.StepRule, "no contradiction"},
		{"the same entry twice", assemble(t, "ak-on-two-chips", pieces[0], pieces[0]), terms, receipt.StepClaims, "twice"},
		{"another rule", assemble(t, "boot-forked", pieces...), terms, receipt.StepRule, "rule ak-on-two-chips does"},
		{"a rule that there is not", assemble(t, "ak-in-three-clouds", pieces...), terms, receipt.StepRule, "there is no rule"},
		{"the finding of a move, which is no rule", assemble(t, "moved", pieces...), terms, receipt.StepRule, "there is no rule"},
		{"one entry for a rule of two", assemble(t, "ak-on-two-chips", pieces[0]), terms, receipt.StepClaims, "takes 2"},
		{"two for a rule of one", assemble(t, "interval-inverted", pieces...), terms, receipt.StepClaims, "takes 1"},
		{"in another order", changed(t, good, func(c *poclog.Contradiction) { c.Claims[0], c.Claims[1] = c.Claims[1], c.Claims[0] }), terms, receipt.StepClaims, "by origin and number"},
		{"a log that the policy does not list", assemble(t, "ak-on-two-chips", pieces[0], foreign[0]), terms, receipt.StepCheckpoint, "entry 2"},
		{"a receipt that another log signed", assemble(t, "ak-on-two-chips", pieces[0], ofAnotherLog[0]), terms, receipt.StepCheckpoint, "entry 2"},
		{"a receipt of another entry", changed(t, good, func(c *poclog.Contradiction) { c.Claims[1].Receipt = withEntry(t, c.Claims[1].Receipt, again.leaf) }), terms, receipt.StepInclusion, "another root"},
		{"two realms", assemble(t, "ak-on-two-chips", bare(list[0], relabelled)...), terms, receipt.StepClaims, "realms are not compared"},
		{"a laboratory's, asked for none", good, receipt.Terms{Reappraise: profile.Reappraiser{}}, "realm", "want production"},
		{"evidence, and nobody to judge it", good, receipt.Terms{UnsafeRealm: poclog.Lab}, receipt.StepReappraisal, "nobody"},
		{"evidence of something else", changed(t, good, func(c *poclog.Contradiction) { c.AddEvidence([]byte("what the neighbours say")) }), terms, receipt.StepReappraisal, "no evidence of an entry"},
		{"a bundle without its collateral", changed(t, good, func(c *poclog.Contradiction) { dropFile(c, list[0].entry.Evidence.Collateral) }), terms, receipt.StepReappraisal, "no evidence of an entry"},
		{"an entry that its evidence does not give", assemble(t, "ak-on-two-chips", piecesOf(t, w.Log, list[0], edited)...), terms, receipt.StepReappraisal, "another entry"},
		{"an entry out of its interval", assemble(t, "ak-on-two-chips", bare(list[0], backdated)...), terms, receipt.StepInterval, "before its evidence was made"},
		{"a config entry", assemble(t, "ak-on-two-chips", pieces[0], receipt.Piece{Receipt: receiptOfLeaf(t, w.Log, uint64(len(w.Log.Leaves)-1))}), terms, receipt.StepClaims, "kind config"},
		{"an interval that is in order", assemble(t, "interval-inverted", pieces[0]), terms, receipt.StepRule, "finds nothing"},
		{"an entry that its evidence gives", assemble(t, "entry-not-reproducible", pieces[0]), terms, receipt.StepRule, "gives the entry"},
		{"whose evidence is withheld", assemble(t, "entry-not-reproducible", bare(edited)...), terms, receipt.StepReappraisal, "lacks the entry's evidence"},
		{"whose evidence nobody judges", assemble(t, "entry-not-reproducible", piecesOf(t, w.Log, edited)...), receipt.Terms{UnsafeRealm: poclog.Lab}, receipt.StepReappraisal, "nobody"},
		{"a config entry that no evidence gives", assemble(t, "entry-not-reproducible", receipt.Piece{Receipt: receiptOfLeaf(t, w.Log, uint64(len(w.Log.Leaves)-1))}), terms, receipt.StepClaims, "kind config"},
		{"an order that nobody proves", changed(t, good, func(c *poclog.Contradiction) { c.Claims[1].Covered = [][32]byte{{1}} }), terms, receipt.StepOrder, "not in its challenge's tree"},
		{"no file", nil, terms, verify.Format, "parse contradiction"},
	} {
		v, err := receipt.CheckContradiction(c.file, labPolicy(t), c.terms)
		wantStep(t, c.name, err, c.step, c.detail)
		if v != nil {
			t.Errorf("%s: a verdict", c.name)
		}
	}
	if _, err := receipt.CheckContradiction(good, nil, terms); !errors.Is(err, receipt.ErrNoPolicy) {
		t.Errorf("without a policy: %v", err)
	}
	if _, err := receipt.AssembleContradiction("boot-forked", nil, receipt.Piece{Receipt: []byte("no receipt")}); err == nil {
		t.Error("assembled of no receipt")
	}
}

func dropFile(c *poclog.Contradiction, b poclog.Blob) {
	for i, f := range c.Evidence {
		if poclog.BlobOf(f) == b {
			c.Evidence = append(c.Evidence[:i], c.Evidence[i+1:]...)
			return
		}
	}
}

// withEntry puts another leaf into a receipt.
func withEntry(t testing.TB, file, leaf []byte) []byte {
	t.Helper()
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		t.Fatal(err)
	}
	r.Entry = leaf
	return marshal(r)
}

// signedAs is a receipt whose checkpoint a key signed in place of the log's.
func signedAs(t testing.TB, log *testlog.Log, p published, key *testlog.Signer) []byte {
	t.Helper()
	r, err := poclog.ParseReceipt(receiptOf(t, log, p))
	if err != nil {
		t.Fatal(err)
	}
	r.Inclusion.Checkpoint = log.Checkpoint(p.index+1, testlog.Cosigner{Signer: key, At: p.logged}, testlog.Cosigner{Signer: attack.WitnessKey, At: p.logged})
	return marshal(r)
}

// receiptOfLeaf is the receipt of a leaf that is no proof, or none that anybody can read.
func receiptOfLeaf(t testing.TB, log *testlog.Log, index uint64) []byte {
	t.Helper()
	at := attack.Now.Add(10 * time.Second)
	cp := log.Checkpoint(index+1, testlog.Cosigner{Signer: attack.LogKey, At: at}, testlog.Cosigner{Signer: attack.WitnessKey, At: at})
	return marshal(&poclog.Receipt{Entry: log.Leaves[index], Index: index, Inclusion: log.Inclusion(index, index+1, cp)})
}

// What a reader of a receipt would be refused for is what these two rules show, and they implicate
// the log alone.
func TestWhatALogPublishedAgainstItsWordIsShown(t *testing.T) {
	w := attack.NewWorld()
	p := publish(t, w, w.Log, w.Honest())
	edited := relogged(t, w.Log, p, func(e *poclog.Entry) { e.CVM.TCB.Status = "OutOfDate" })
	refusedOne := p
	refusedOne.evidence.Policy = []byte("{}\n")
	refusedOne = relogged(t, w.Log, refusedOne, func(e *poclog.Entry) { e.Evidence.Policy = poclog.BlobOf([]byte("{}\n")) })
	late := relogged(t, w.Log, p, func(e *poclog.Entry) { e.Appraised = e.Appraised.Add(time.Hour) })
	early := relogged(t, w.Log, p, func(e *poclog.Entry) { e.Appraised = e.Appraised.Add(-time.Hour) })
	malformed := uint64(len(w.Log.Leaves))
	w.Log.Leaves = append(w.Log.Leaves, append(bytes.Clone(p.leaf), ' '), bytes.Replace(p.leaf, []byte(`"appraisal":1`), []byte(`"appraisal":2,"x":1`), 1), []byte(`{"v":2}`))
	for _, c := range []struct {
		name, rule, seen string
		piece            receipt.Piece
	}{
		{"an entry that was changed", "entry-not-reproducible", "another entry", piecesOf(t, w.Log, edited)[0]},
		{"an entry that no check lets pass", "entry-not-reproducible", "check policy refuses it", piecesOf(t, w.Log, refusedOne)[0]},
		{"a malformed leaf", "entry-not-reproducible", "malformed", receipt.Piece{Receipt: receiptOfLeaf(t, w.Log, malformed)}},
		{"judged after it was logged", "interval-inverted", "says that it judged it", receipt.Piece{Receipt: receiptOf(t, w.Log, late)}},
		{"judged before it was made", "interval-inverted", "answers a challenge", receipt.Piece{Receipt: receiptOf(t, w.Log, early)}},
	} {
		v, err := receipt.CheckContradiction(assemble(t, c.rule, c.piece), labPolicy(t), terms)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if v.Severity != rule.Contradiction || strings.Join(v.Implicated, " ") != "log:"+attack.Origin || !strings.Contains(v.Seen, c.seen) {
			t.Errorf("%s: %+v", c.name, v.Finding)
		}
		if want := receipt.Reappraised; c.rule == "entry-not-reproducible" && v.Verdict != want {
			t.Errorf("%s: stands on %s", c.name, v.Verdict)
		}
		if _, err := receipt.Open(c.piece.Receipt, labPolicy(t)); err == nil && c.piece.Evidence == nil {
			t.Errorf("%s: the receipt opens", c.name)
		}
	}
	for i, detail := range []string{"specification that this software knows", "kind unknown"} {
		file := assemble(t, "entry-not-reproducible", receipt.Piece{Receipt: receiptOfLeaf(t, w.Log, malformed+1+uint64(i))})
		if _, err := receipt.CheckContradiction(file, labPolicy(t), terms); err == nil || !strings.Contains(err.Error(), detail) {
			t.Errorf("a leaf of later times: %v", err)
		}
	}
}

// Without a clock that anybody believes, the tree of the later challenge shows the order; and
// nobody can show another.
func TestOrderIsShownWithoutAClock(t *testing.T) {
	w := attack.NewWorld()
	w.VM.TPM.SetClock(3_600_000, attack.Now)
	first := publish(t, w, w.Log, w.Honest())
	ch := *w.Challenge
	at := attack.Now.Add(-2 * time.Second)
	ch.Checkpoint = w.Log.Checkpoint(first.index+1, testlog.Cosigner{Signer: attack.LogKey, At: at}, testlog.Cosigner{Signer: attack.WitnessKey, At: at})
	w.Challenge = &ch
	w.VM.TPM.SetClock(1_000, attack.Now)
	second := publish(t, w, w.Log, w.Honest())
	pieces := piecesOf(t, w.Log, first, second)
	if _, err := receipt.CheckContradiction(assemble(t, "tpm-rewound", pieces...), labPolicy(t), terms); err == nil {
		t.Error("seconds apart, and no order: accepted")
	}
	pieces[1].Covered = w.Log.Inclusion(first.index, first.index+1, nil).Hashes
	file := assemble(t, "tpm-rewound", pieces...)
	untimed, err := tlogpolicy.Parse([]byte("log " + attack.LogKey.VKey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*tlogpolicy.Policy{labPolicy(t), untimed} {
		v, err := receipt.CheckContradiction(file, p, terms)
		if err != nil || v.Severity != rule.Alert {
			t.Errorf("%+v, %v", v, err)
		}
	}
	for name, change := range map[string]func(c *poclog.Contradiction){
		"the other way round": func(c *poclog.Contradiction) { c.Claims[0].Covered, c.Claims[1].Covered = c.Claims[1].Covered, nil },
		"a hash changed":      func(c *poclog.Contradiction) { c.Claims[1].Covered[0][0] ^= 1 },
		"a hash more":         func(c *poclog.Contradiction) { c.Claims[1].Covered = append(c.Claims[1].Covered, [32]byte{}) },
	} {
		_, err := receipt.CheckContradiction(changed(t, file, change), untimed, terms)
		wantStep(t, name, err, receipt.StepOrder, "")
	}
}

// A reader's own limits decide, and his policy's times.
func TestReadersJudgeByTheirOwnLimits(t *testing.T) {
	_, _, pieces := series(t, "clone-chassis")
	file := assemble(t, "chip-in-two-places", pieces...)
	own := terms
	own.Limits = rule.Limits{MoveTime: time.Second}
	v, err := receipt.CheckContradiction(file, labPolicy(t), own)
	if err != nil || v.Severity != rule.Alert {
		t.Errorf("machines that move in a second: %+v, %v", v, err)
	}
}

const everyByte = "POCLOG_EVERY_BYTE"

// Any byte changed is refused: by the file's own digest; and, where the digest is made anew,
// wherever it says something that somebody relies on. Only the monitor's tlog-policy is
// information, and nobody's word.
func TestNoByteOfAContradictionCanBeChanged(t *testing.T) {
	_, _, pieces := series(t, "clone-ak")
	file, p := assemble(t, "ak-on-two-chips", pieces...), labPolicy(t)
	step := 613
	if os.Getenv(everyByte) != "" {
		step = 1
	}
	policy := bytes.Index(file, []byte(`"policy":"`)) + len(`"policy":"`)
	end := policy + bytes.IndexByte(file[policy:], '"')
	tried := 0
	for i := 0; i < len(file); i += step {
		tried++
		c := bytes.Clone(file)
		c[i] ^= 1 << (i % 7)
		if _, err := receipt.CheckContradiction(c, p, terms); err == nil {
			t.Errorf("byte %d %q: changed and accepted", i, file[i])
		}
		if i >= policy && i < end {
			continue
		}
		c = resealed(c)
		if _, err := receipt.CheckContradiction(c, p, terms); err == nil && !bytes.Equal(c, file) {
			t.Errorf("byte %d %q: changed, sealed anew and accepted", i, file[max(0, i-20):i+1])
		}
	}
	t.Logf("%d of %d bytes", tried, len(file))
}

// resealed gives a changed file its digest.
func resealed(file []byte) []byte {
	body := file[:len(file)-len(`,"sha256":"`)-64-len(`"}`)]
	sum := poclog.Sum(body)
	return fmt.Appendf(nil, `%s,"sha256":"%s"}`, body, hex.EncodeToString(sum[:]))
}

// Of whatever file: no panic, and no contradiction but one that its receipts show.
func FuzzCheckContradiction(f *testing.F) {
	w, _, pieces := series(f, "boot-forked")
	for i := range pieces {
		pieces[i].Evidence = nil
	}
	good := assemble(f, "boot-forked", pieces...)
	f.Add(good)
	p := labPolicy(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) < 100 {
			return
		}
		v, err := receipt.CheckContradiction(resealed(file), p, receipt.Terms{UnsafeRealm: poclog.Lab})
		if err == nil && (len(v.Entries) != 2 || v.Entries[0].Origin != w.Log.Origin) {
			t.Errorf("%+v", v)
		}
	})
}

// A file of one entry shows no order: a proof of it would be bytes that nobody judges.
func TestAFileOfOneEntryShowsNoOrder(t *testing.T) {
	w, list, _ := series(t, "clone-ak")
	edited := relogged(t, w.Log, list[1], func(e *poclog.Entry) { e.CVM.TCB.Evaluation++ })
	file := assemble(t, "entry-not-reproducible", piecesOf(t, w.Log, edited)...)
	if _, err := receipt.CheckContradiction(file, labPolicy(t), terms); err != nil {
		t.Fatal(err)
	}
	file = changed(t, file, func(c *poclog.Contradiction) { c.Claims[0].Covered = [][32]byte{{1}} })
	var refused *verify.Error
	if _, err := receipt.CheckContradiction(file, labPolicy(t), terms); !errors.As(err, &refused) || refused.Check != receipt.StepOrder {
		t.Errorf("%v: want it refused by step %s", err, receipt.StepOrder)
	}
}
