package audit_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness/audit"
)

// withheld appends an entry that its evidence supports, a part of which the log withholds by law,
// and returns that part's digest.
func (l *lab) withheld(v evidence, edit func(*poclog.Entry)) poclog.Digest {
	l.t.Helper()
	leaf := l.entry(v, edit)
	bundle := must(poclog.ParseEntry(leaf)).Evidence.Bundle.SHA256
	l.answer(bundle, http.StatusUnavailableForLegalReasons)
	l.add(leaf)
	return bundle
}

// exceptingPolicy is the tlog-policy of a reader who knows an auditor by its own Ed25519 key, and
// the one for exceptions.
func exceptingPolicy(t testing.TB, a *audit.Auditor) *tlogpolicy.Policy {
	t.Helper()
	return must(tlogpolicy.Parse([]byte("log " + logKey.VKey + "\nwitness a1 " + a.VKeys()[0] + "\nwitness x1 " + a.ExceptVKeys()[0] + "\ngroup auditors all a1\nquorum none\n")))
}

// wantExcepted wants the auditor to serve a checkpoint of a size that its keys for exceptions
// cosigned, and a signed note that lists some entries; or nothing of the kind, for size 0.
func wantExcepted(t testing.TB, a *audit.Auditor, size uint64, entries ...uint64) (signed, note []byte) {
	t.Helper()
	cp, n := get(t, a, "/except/"+originHash()+"/checkpoint"), get(t, a, "/audit/"+originHash()+"/exceptions")
	if len(entries) == 0 {
		if n.Code != http.StatusNotFound {
			t.Fatalf("%d: %s: want no note of exceptions", n.Code, n.Body)
		}
		return nil, nil
	}
	v, err := exceptingPolicy(t, a).OpenLogged(cp.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if v.Size != size || !v.Satisfies("x1") || v.Satisfies("a1") {
		t.Fatalf("size %d, cosigned by %v: want %d, by the key for exceptions", v.Size, v.Cosignatures, size)
	}
	e, err := poclog.ParseExceptions(n.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if e.Auditor != auditorName+"/except" || e.Origin != origin || e.Size != size || e.Root != poclog.Digest(v.Root) || !slices.Equal(e.Except, entries) || len(e.Signatures) != 2 {
		t.Fatalf("%+v: want %v of size %d", e, entries, size)
	}
	return cp.Body.Bytes(), n.Body.Bytes()
}

// standing is what a receipt of an entry, with a note, stands on for a reader who knows the
// auditor.
func (l *lab) standing(a *audit.Auditor, i uint64, signed, note []byte) (*receipt.Verdict, error) {
	l.t.Helper()
	r := poclog.Receipt{Entry: l.log.Leaves[i], Index: i, Inclusion: l.log.Inclusion(i, must(tlogpolicy.ParseCheckpoint(signed)).Size, signed)}
	if note != nil {
		r.Exceptions = [][]byte{note}
	}
	return receipt.Check(must(r.Marshal()), exceptingPolicy(l.t, a), time.Now(), receipt.Demands{UnsafeRealm: poclog.Lab, UnsafeLevel0: true, Standing: receipt.Audited})
}

func TestExceptionsAreSignedByKeysOfTheirOwn(t *testing.T) {
	l := newLab(t)
	l.good(1)
	l.publish()
	a, dir := l.auditor(audit.Config{})
	look(t, a)
	wantServed(t, a, 2)
	wantExcepted(t, a, 0)
	bundle := l.withheld(evidence{collateral: true}, nil)
	l.good(1)
	l.publish()
	for range 2 {
		look(t, a)
		wantServed(t, a, 2) // what was verified whole
		signed, note := wantExcepted(t, a, 4, 2)
		for i, want := range []string{1: "", 2: `stands on "logged"`, 3: ""} {
			v, err := l.standing(a, uint64(max(i, 1)), signed, note)
			if want == "" && (err != nil || v.Unseen != 1 || fmt.Sprint(v.Auditors) != "["+auditorName+"]") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("entry %d: %v, %+v", i, err, v)
			}
			if _, err := l.standing(a, uint64(max(i, 1)), signed, nil); err == nil {
				t.Errorf("entry %d is audited without the note", i)
			}
		}
		r := report(t, a)
		if r.WithheldTotal != 1 || len(r.Withheld) != 1 || r.Withheld[0].Entry != 2 || r.Withheld[0].Part != "bundle" || r.Withheld[0].Digest != bundle || len(r.Refused) != 0 ||
			r.Cosigned != 2 || r.Excepted != 4 || !strings.Contains(r.Statement, "but 1 whose evidence was withheld") || len(r.Except) != 2 {
			t.Errorf("%+v", r)
		}
		// A restart forgets neither what was seen nor what was not.
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a = reopen(t, dir, audit.Config{})
	}
	if w := get(t, a, "/audit/"+originHash()+"?from=3"); strings.Contains(w.Body.String(), bundle.String()) || w.Code != http.StatusOK {
		t.Errorf("the list from entry 3 on: %d: %s", w.Code, w.Body)
	}
	if w := get(t, a, "/metrics"); !strings.Contains(w.Body.String(), `poclog_audit_exceptions{origin="`+origin+`"} 1`) {
		t.Errorf("%s", w.Body)
	}
	// What is withheld after it was seen is no exception.
	l.answer(must(poclog.ParseEntry(l.log.Leaves[3])).Evidence.Bundle.SHA256, http.StatusUnavailableForLegalReasons)
	l.good(1)
	l.publish()
	look(t, a)
	wantExcepted(t, a, 5, 2)
}

// A log asks as it asks every witness: it is told the size on record, and gets the cosignatures
// that are true of its tree.
func TestLogThatAsksGetsTheKeysForExceptions(t *testing.T) {
	l := newLab(t)
	l.good(1)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	l.withheld(evidence{}, nil)
	l.good(1)
	l.publish()
	status, body, header := l.addCheckpoint(a, 2, 4)
	if status != http.StatusConflict || body != "0\n" || header.Get("Content-Type") != "text/x.tlog.size" {
		t.Fatalf("%d %q: want the size that the keys for exceptions cosigned", status, body)
	}
	if status, body, _ = l.addCheckpoint(a, 0, 4); status != http.StatusOK || strings.Count(body, "— "+auditorName+"/except ") != 2 || strings.Contains(body, "— "+auditorName+" ") {
		t.Fatalf("%d: %s", status, body)
	}
	wantServed(t, a, 2)
	wantExcepted(t, a, 4, 2)
	// A tree without the entry is still the auditor's own keys'.
	if status, body, _ = l.addCheckpoint(a, 2, 2); status != http.StatusOK || !strings.Contains(body, "— "+auditorName+" ") {
		t.Errorf("%d: %s", status, body)
	}
}

// What a log says of evidence that it withholds is held to what can be seen: an entry that its
// policy would not admit is refused, and nobody signs.
func TestWithheldEntryIsHeldToPolicyAndTime(t *testing.T) {
	for name, c := range map[string]struct {
		evidence evidence
		edit     func(*lab, *poclog.Entry)
		check    verify.Check
		say      string
	}{
		"another realm": {edit: func(_ *lab, e *poclog.Entry) { e.Realm = poclog.Production }, check: audit.CheckPolicy, say: "realm production"},
		"a level that is not admitted": {edit: func(_ *lab, e *poclog.Entry) {
			e.Profile, e.Level = poclog.GCETDXvTPM, poclog.LevelBound
		}, check: audit.CheckPolicy, say: "does not admit"},
		"a time of the future": {edit: func(l *lab, e *poclog.Entry) { e.Appraised = l.start.Add(time.Hour) }, check: audit.CheckAppraised, say: "seen by"},
		"another policy":       {edit: func(l *lab, e *poclog.Entry) { e.Evidence.Policy = l.keep(l.appraisalPolicy(300)) }, check: audit.CheckPolicy, say: "in force"},
		"collateral that is missing without the law": {evidence: evidence{collateral: true}, edit: func(l *lab, e *poclog.Entry) {
			l.answer(e.Evidence.Collateral.SHA256, http.StatusNotFound)
		}, check: audit.CheckEvidence, say: "collateral"},
		"a bundle that never was": {edit: func(l *lab, e *poclog.Entry) {
			e.Profile, e.Level, e.Realm = poclog.GCETDXvTPM, poclog.LevelBound, poclog.Production
			e.Place = &poclog.Place{Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}}}
			e.Evidence.Bundle = poclog.BlobOf([]byte("there is no such bundle"))
			l.answer(e.Evidence.Bundle.SHA256, http.StatusUnavailableForLegalReasons)
		}, check: audit.CheckPolicy, say: "realm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.good(1)
			l.withheld(c.evidence, func(e *poclog.Entry) { c.edit(l, e) })
			l.good(1)
			l.publish()
			a, _ := l.auditor(audit.Config{})
			err := a.Look(t.Context(), origin)
			var refused *audit.Refused
			if !errors.As(err, &refused) || refused.Findings[0].Entry != 2 || refused.Findings[0].Check != string(c.check) || !strings.Contains(err.Error(), c.say) {
				t.Fatalf("%v: want entry 2, %s, %q", err, c.check, c.say)
			}
			if status, body, _ := l.addCheckpoint(a, 0, l.size()); status != http.StatusServiceUnavailable {
				t.Errorf("add-checkpoint: %d: %s", status, body)
			}
			wantServed(t, a, 0)
			wantExcepted(t, a, 0)
		})
	}
}

// A log's operator makes up an entry that the policy admits, and withholds the bundle that never
// was: the auditor's own keys do not sign, and no receipt of the entry is audited.
func TestMadeUpEntryIsNotAudited(t *testing.T) {
	l := newLab(t)
	l.withheld(evidence{}, func(e *poclog.Entry) {
		e.Evidence.Bundle = poclog.BlobOf([]byte("there is no such bundle"))
		l.answer(e.Evidence.Bundle.SHA256, http.StatusUnavailableForLegalReasons)
	})
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	wantServed(t, a, 0)
	signed, note := wantExcepted(t, a, 2, 1)
	for _, n := range [][]byte{note, nil} {
		if v, err := l.standing(a, 1, signed, n); err == nil {
			t.Errorf("a made-up entry is %s", v.Verdict)
		}
	}
}

// Nor does he frame the owner of a key: of two made-up entries with one AK on two chips, whose
// bundles never were, the file convicts nobody on the auditor's word.
func TestMadeUpEntriesFrameNobodyOnTheAuditorsWord(t *testing.T) {
	l := newLab(t)
	p := must(poclog.ParsePolicy(l.policy))
	p.Admit = append([]poclog.Admission{{Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound}}, p.Admit...)
	l.policy = must(p.Marshal())
	l.add(l.config(l.policy))
	challenged := l.start.Add(-5 * time.Second)
	victim, boot := poclog.Identity("tpm:ak:"+poclog.Sum([]byte("the victim's key")).String()), poclog.Sum([]byte("TPMS_ATTEST"))
	for i, chip := range []poclog.Identity{"intel:tdx:ppid:11111111111111111111111111111111", "intel:tdx:ppid:22222222222222222222222222222222"} {
		l.withheld(evidence{challenged: challenged}, func(e *poclog.Entry) {
			e.Profile, e.Level, e.Chassis, e.Keys = poclog.GCETDXvTPM, poclog.LevelBound, []poclog.Identity{chip}, []poclog.Identity{victim}
			e.Boot, e.TPM = &boot, &poclog.TPM{KeyType: "rsa-2048", PCRDigest: boot[:], ResetCount: 7, Safe: true}
			e.Checks, e.Absent = nil, nil
			for _, c := range verify.Checks() {
				e.Checks = append(e.Checks, string(c))
			}
			e.Evidence.Bundle = poclog.BlobOf(fmt.Append(nil, "there is no such bundle", i))
			l.answer(e.Evidence.Bundle.SHA256, http.StatusUnavailableForLegalReasons)
		})
	}
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	wantServed(t, a, 0)
	signed, note := wantExcepted(t, a, 4, 2, 3)
	for _, notes := range [][][]byte{nil, {note}} {
		var pieces []receipt.Piece
		for i := uint64(2); i < 4; i++ {
			r := poclog.Receipt{Entry: l.log.Leaves[i], Index: i, Inclusion: l.log.Inclusion(i, 4, signed), Challenge: l.signed(1, challenged), Exceptions: notes}
			pieces = append(pieces, receipt.Piece{Receipt: must(r.Marshal())})
		}
		file, err := receipt.AssembleContradiction("ak-on-two-chips", nil, pieces...)
		if err != nil {
			t.Fatal(err)
		}
		v, err := receipt.CheckContradiction(file, exceptingPolicy(t, a), receipt.Terms{UnsafeRealm: poclog.Lab})
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict == receipt.Audited || len(v.Implicated) > 0 {
			t.Errorf("%s on the word %q implicates %v", v.Rule, v.Verdict, v.Implicated)
		}
	}
}

// Evidence that was withheld is asked for again. What comes back is verified, and the auditor's own
// keys sign again; what is then missing without the law, or wrong, stops both.
func TestWithheldEvidenceIsAskedForAgain(t *testing.T) {
	var later atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	l := newLab(t)
	l.good(1)
	bundle := l.withheld(evidence{}, nil)
	l.publish()
	a, _ := l.auditor(audit.Config{Clock: clock})
	look(t, a)
	wantExcepted(t, a, 3, 2)
	asked := l.asked[bundle]
	look(t, a)
	if l.asked[bundle] != asked {
		t.Error("asked for again at once")
	}
	l.answer(bundle, http.StatusNotFound)
	later.Add(int64(10*time.Minute + time.Second))
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "refused: entry 2: audit.evidence") {
		t.Errorf("missing without the law: %v", err)
	}
	wantExcepted(t, a, 0)
	if r := report(t, a); len(r.Refused) != 1 || r.Refused[0].Entry != 2 || r.Refused[0].Resolved != "" {
		t.Errorf("%+v", r)
	}
	l.good(1)
	l.publish()
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "refused: entry 2: audit.evidence") {
		t.Errorf("a larger tree: %v", err)
	}
	// What cannot be decided changes nothing, and holds up nothing else.
	l.answer(bundle, http.StatusUnavailableForLegalReasons)
	later.Add(int64(10*time.Minute + time.Second))
	look(t, a)
	wantExcepted(t, a, 4, 2)
	l.answer(bundle, http.StatusTeapot)
	later.Add(int64(10*time.Minute + time.Second))
	l.good(1)
	l.publish()
	look(t, a)
	wantExcepted(t, a, 5, 2)
	l.answer(bundle, 0)
	later.Add(int64(10*time.Minute + time.Second))
	look(t, a)
	wantServed(t, a, 5)
	wantExcepted(t, a, 0)
	if r := report(t, a); len(r.Refused) != 1 || r.Refused[0].Resolved == "" || r.WithheldTotal != 0 {
		t.Errorf("%+v", r)
	}
}

// A log that withholds more than a note lists is cosigned by nobody.
func TestMoreExceptionsThanANoteListsAreNotSigned(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of entries")
	}
	l := newLab(t)
	base := must(poclog.ParseEntry(l.entry(evidence{}, nil)))
	var leaves [][]byte
	for i := range poclog.MaxExcepted + 1 {
		e := *base
		e.Evidence.Bundle = poclog.BlobOf(fmt.Appendf(nil, "bundle %d", i))
		l.answer(e.Evidence.Bundle.SHA256, http.StatusUnavailableForLegalReasons)
		leaves = append(leaves, must(e.Marshal()))
	}
	l.add(leaves[:poclog.MaxExcepted]...)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	var all []uint64
	for i := range poclog.MaxExcepted {
		all = append(all, uint64(i+1))
	}
	wantExcepted(t, a, l.size(), all...)
	l.add(leaves[poclog.MaxExcepted])
	l.publish()
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "a note of exceptions lists 1 to 4096") {
		t.Errorf("%v", err)
	}
	wantExcepted(t, a, l.size()-1, all...)
	wantServed(t, a, 0)
}

// A name that ends as the keys for exceptions do is no auditor's.
func TestAuditorIsNotNamedLikeKeysForExceptions(t *testing.T) {
	if err := audit.Init(t.TempDir(), "auditor.test/except"); err == nil || !strings.Contains(err.Error(), "/except") {
		t.Errorf("%v", err)
	}
}
