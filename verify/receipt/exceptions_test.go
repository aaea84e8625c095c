package receipt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
)

// An auditor with both kinds of key, and what signs its notes of exceptions.
var (
	pqAuditor = testlog.MLDSAKey("audit.test")
	except    = testlog.WitnessKey("audit.test/except")
	pqExcept  = testlog.MLDSAKey("audit.test/except")
	stranger  = testlog.WitnessKey("other.test/except")
)

func init() {
	log := "log " + logKey.VKey + "\nwitness w1 " + w1.VKey + "\n"
	ed, pq := "witness a "+auditor.VKey+"\n", "witness p "+pqAuditor.VKey+"\n"
	x, px := "witness ax "+except.VKey+"\n", "witness px "+pqExcept.VKey+"\n"
	policies["excepting"] = log + ed + x + "group auditors any a\nquorum w1\n"
	policies["excepting-pq"] = log + pq + px + "group auditors any p\nquorum w1\n"
	policies["excepting-both"] = log + ed + pq + x + px + "group auditors all a p\nquorum w1\n"
	policies["excepting-unknown"] = log + ed + "group auditors any a\nquorum w1\n"
	policies["excepting-counted"] = log + ed + x + "group auditors any a ax\nquorum w1\n"
}

// noteOn is the auditor's note on a scene's tree of five entries, in which it did not see some.
func (s *scene) noteOn(entries []uint64, by ...*testlog.Signer) *poclog.Exceptions {
	e := &poclog.Exceptions{Auditor: "audit.test/except", Origin: origin, Size: 5, Root: poclog.Digest(s.log.Root(5)), Except: entries}
	return signNote(e, by...)
}

func signNote(e *poclog.Exceptions, by ...*testlog.Signer) *poclog.Exceptions {
	message, err := e.Message()
	if err != nil {
		panic(err)
	}
	e.Signatures = nil
	for _, k := range by {
		e.Signatures = append(e.Signatures, k.Sign(message))
	}
	slices.SortFunc(e.Signatures, func(a, b poclog.NoteSignature) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return e
}

func noteFile(e *poclog.Exceptions) []byte {
	file, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	return file
}

// excepted is a receipt whose checkpoint the auditor's key for exceptions cosigned, with notes.
func (s *scene) excepted(notes ...[]byte) *poclog.Receipt {
	r := s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(except, 112)))
	r.Exceptions = notes
	return r
}

func exceptedVectors(v func(string, *poclog.Receipt, string, wish, string) vector) map[string]vector {
	s, t1, t2 := newScene(nil), at(91), at(111)
	audited := wish{Verdict: "audited"}
	edited := func(change func(*poclog.Exceptions)) *poclog.Receipt {
		e := s.noteOn([]uint64{1}, except)
		change(e)
		return s.excepted(noteFile(signNote(e, except)))
	}
	of := func(e *poclog.Exceptions) *poclog.Receipt { return s.excepted(noteFile(e)) }
	good := s.noteOn([]uint64{1, 4}, except)
	forged := s.noteOn([]uint64{1}, except)
	forged.Signatures[0].Sig = w1.Sign([]byte("another message")).Sig
	others := s.noteOn([]uint64{1}, except)
	others.Auditor = "other.test/except"
	twice := s.excepted(noteFile(good), noteFile(good))
	all := map[string]vector{
		"excepted":           v("the auditor's note lists other entries", of(good), "excepting", audited, "audited"),
		"excepted-pq":        v("signed with ML-DSA-44", of(s.noteOn([]uint64{1}, pqExcept)), "excepting-pq", audited, "audited"),
		"excepted-both":      v("signed by both keys, which the policy wants", of(s.noteOn([]uint64{1}, except, pqExcept)), "excepting-both", audited, "audited"),
		"excepted-half":      v("signed by one of two keys that the policy wants", of(s.noteOn([]uint64{1}, except)), "excepting-both", audited, "verdict"),
		"excepted-listed":    v("the note lists the entry", of(s.noteOn([]uint64{1, 3}, except)), "excepting", audited, "verdict"),
		"excepted-logged":    v("of which the log's word remains", of(s.noteOn([]uint64{1, 3}, except)), "excepting", wish{}, "logged"),
		"excepted-cosigned":  v("the key for exceptions on the checkpoint, and no note", s.excepted(), "excepting", audited, "verdict"),
		"excepted-counted":   v("the same, in a policy that has the key in its group of auditors", s.excepted(), "excepting-counted", audited, "verdict"),
		"excepted-unlisted":  v("a policy that does not name the key for exceptions", of(good), "excepting-unknown", audited, "verdict"),
		"excepted-size":      v("a note on another size", edited(func(e *poclog.Exceptions) { e.Size = 6 }), "excepting", wish{}, "exceptions"),
		"excepted-root":      v("a note on another root", edited(func(e *poclog.Exceptions) { e.Root[0] ^= 1 }), "excepting", wish{}, "exceptions"),
		"excepted-origin":    v("a note on another log", edited(func(e *poclog.Exceptions) { e.Origin = "other.test" }), "excepting", wish{}, "exceptions"),
		"excepted-forged":    v("a signature of the known key that is wrong", of(forged), "excepting", wish{}, "exceptions"),
		"excepted-by-other":  v("signed by a key that the policy does not name", of(s.noteOn([]uint64{1}, stranger)), "excepting", audited, "verdict"),
		"excepted-as-other":  v("another auditor's note", of(signNote(others, stranger)), "excepting", audited, "verdict"),
		"excepted-own-key":   v("signed by the auditor's own key", of(s.noteOn([]uint64{1}, auditor)), "excepting", audited, "verdict"),
		"excepted-twice":     v("one auditor's note twice", twice, "excepting", wish{}, "exceptions"),
		"excepted-order":     v("notes out of order", s.excepted(noteFile(signNote(others, stranger)), noteFile(good)), "excepting", wish{}, "exceptions"),
		"excepted-truncated": v("a note without its end", s.excepted(noteFile(good)[:400]), "excepting", wish{}, "exceptions"),
		"excepted-garbage":   v("no note", s.excepted([]byte("{}")), "excepting", wish{}, "exceptions"),
	}
	for name, vec := range all {
		if vec.Expect == "audited" || vec.Expect == "logged" {
			vec.NotBefore, vec.NotAfter = &t1, &t2
			all[name] = vec
		}
	}
	return all
}

// A verdict names the auditors, and says how much of the tree they did not see.
func TestVerdictNamesItsAuditors(t *testing.T) {
	s := newScene(nil)
	p := parsePolicy(t, policies["excepting"])
	for name, c := range map[string]struct {
		receipt *poclog.Receipt
		unseen  int
	}{
		"all":        {s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(auditor, 112))), 0},
		"exceptions": {s.excepted(noteFile(s.noteOn([]uint64{1, 4}, except))), 2},
	} {
		v, err := receipt.Check(marshal(c.receipt), p, at(200), receipt.Demands{Standing: receipt.Audited})
		if err != nil || fmt.Sprint(v.Auditors) != "[audit.test]" || v.Unseen != c.unseen {
			t.Errorf("%s: %v, %+v", name, err, v)
		}
		if got := string(asJSON(t, v)); !strings.Contains(got, `"auditors":["audit.test"]`) || strings.Contains(got, `"unseen":2`) != (c.unseen == 2) {
			t.Errorf("%s: %s", name, got)
		}
	}
	v, err := receipt.Check(marshal(s.excepted()), p, at(200), receipt.Demands{})
	if err != nil || len(v.Auditors) != 0 {
		t.Errorf("logged: %v, %+v", err, v)
	}
}

// Each byte of a receipt with a note is changed in turn: unprotected is only a stranger's signature
// in the note, which says nothing.
func TestEveryByteOfANoteIsProtectedOrSaysNothing(t *testing.T) {
	s := plainScene()
	p := parsePolicy(t, policies["excepting"])
	r := s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111)))
	r.Exceptions = [][]byte{noteFile(s.noteOn([]uint64{1, 4}, except, stranger))}
	file := marshal(r)
	want, err := receipt.Check(file, p, at(200), receipt.Demands{Standing: receipt.Audited})
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		got, err := receipt.Check(changed, p, at(200), receipt.Demands{Standing: receipt.Audited})
		if err != nil {
			continue
		}
		accepted++
		if r, err := poclog.ParseReceipt(changed); err != nil || len(r.Exceptions) != 1 || !bytes.Equal(knownOf(t, r.Exceptions[0]), knownOf(t, noteFile(s.noteOn([]uint64{1, 4}, except)))) {
			t.Errorf("byte %d: more differs than a stranger's signature", i)
		}
		if !bytes.Equal(asJSON(t, got), asJSON(t, want)) {
			t.Errorf("byte %d: another verdict", i)
		}
	}
	if accepted == 0 {
		t.Error("a stranger's signature was not ignored")
	}
}

// knownOf is a note with the signature of the known key alone.
func knownOf(t *testing.T, file []byte) []byte {
	t.Helper()
	e, err := poclog.ParseExceptions(file)
	if err != nil {
		t.Fatal(err)
	}
	id := except.Sign(nil).ID
	e.Signatures = slices.DeleteFunc(e.Signatures, func(s poclog.NoteSignature) bool { return s.ID != id })
	return noteFile(e)
}
