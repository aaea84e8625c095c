package receipt_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// One witness suffices under this policy; the other's signature lines are nobody's.
var oneWitness = "log " + logKey.VKey + "\nwitness w1 " + w1.VKey + "\nquorum w1\n"

// plainScene has Ed25519 signatures only, so that it is the same in each run.
func plainScene() *scene {
	s := newScene(nil)
	s.challenge = s.log.Checkpoint(3, by(logKey, 90), by(w1, 91))
	leaf, err := entry(s.challenge, nil).Marshal()
	if err != nil {
		panic(err)
	}
	s.leaf, s.log.Leaves[3] = leaf, leaf
	return s
}

// Each bit of a receipt is changed in turn. Unprotected is only the signature line of a witness
// that the policy does not name; the verdict stays the same, whatever stands there.
func TestEveryBitOfAReceiptIsProtectedOrListed(t *testing.T) {
	s := plainScene()
	p := parsePolicy(t, oneWitness)
	file := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(w2, 112))))
	want, err := receipt.Check(file, p, at(200), receipt.Demands{})
	if err != nil {
		t.Fatal(err)
	}
	stranger, accepted := bytes.LastIndex(file, []byte("— w2.test")), 0
	for n := range 8 * len(file) {
		i, changed := n/8, bytes.Clone(file)
		changed[i] ^= 1 << (n % 8)
		got, err := receipt.Check(changed, p, at(200), receipt.Demands{})
		if err != nil {
			continue
		}
		accepted++
		if i < stranger {
			t.Errorf("byte %d %q: changed and accepted", i, file[i])
		}
		if !bytes.Equal(asJSON(t, got), asJSON(t, want)) {
			t.Errorf("byte %d: another verdict", i)
		}
	}
	if accepted == 0 {
		t.Error("a stranger's signature was not ignored")
	}
	t.Logf("of %d bits %d can be changed: all in bytes %d to %d, the stranger's line", 8*len(file), accepted, stranger, len(file))
}

// Each byte of a moved receipt is changed in turn. Beyond what the test above lists, the signature
// lines of the first covering checkpoint can be made a stranger's: then t2 is the later
// checkpoint's, a wider bound that is also true. Nothing else of the verdict changes.
func TestEveryByteOfAMovedReceiptIsProtectedOrWidensItsInterval(t *testing.T) {
	s := plainScene()
	p := parsePolicy(t, oneWitness)
	moved := s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111), by(w2, 112)))
	first := moved.Inclusion
	moved.Inclusion, moved.First = s.log.Inclusion(s.index, 6, s.log.Checkpoint(6, by(logKey, 190), by(w1, 191))), &first
	file := marshal(moved)
	want, err := receipt.Check(file, p, at(200), receipt.Demands{})
	if err != nil {
		t.Fatal(err)
	}
	accepted, wider := 0, 0
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		got, err := receipt.Check(changed, p, at(200), receipt.Demands{})
		if err != nil {
			continue
		}
		accepted++
		onlyFirstsSignaturesDiffer(t, i, changed, moved)
		switch {
		case got.T2.Time.Equal(want.T2.Time):
		case got.T2.Time.Equal(at(191)):
			wider++
			got.T2 = want.T2
		default:
			t.Errorf("byte %d: t2 is %v", i, got.T2)
		}
		if !bytes.Equal(asJSON(t, got), asJSON(t, want)) {
			t.Errorf("byte %d: another verdict", i)
		}
	}
	if wider == 0 || wider == accepted {
		t.Errorf("%d changes accepted, %d of them widen the interval: want both kinds", accepted, wider)
	}
	t.Logf("of %d bytes %d can be changed: all in the signature lines of the first checkpoint; %d widen the interval", len(file), accepted, wider)
}

func onlyFirstsSignaturesDiffer(t *testing.T, i int, changed []byte, moved *poclog.Receipt) {
	t.Helper()
	r, err := poclog.ParseReceipt(changed)
	if err != nil {
		t.Fatal(err)
	}
	before, after := textOf(t, moved.First.Checkpoint), textOf(t, r.First.Checkpoint)
	r.First.Checkpoint = moved.First.Checkpoint
	if !bytes.Equal(marshal(r), marshal(moved)) || before != after {
		t.Errorf("byte %d: more differs than the first checkpoint's signature lines", i)
	}
}

func textOf(t *testing.T, signed []byte) tlogpolicy.Checkpoint {
	t.Helper()
	c, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func asJSON(t *testing.T, v *receipt.Verdict) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The JSON of a verdict is a stable schema: a change of this text is a new version.
func TestVerdictIsWrittenAsItsSchemaSays(t *testing.T) {
	s := plainScene()
	file := marshal(s.receipt(5, s.log.Checkpoint(5, by(logKey, 110), by(w1, 111))))
	v, err := receipt.Check(file, parsePolicy(t, oneWitness), at(200), receipt.Demands{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"v":1,"verdict":"logged","origin":"log.test/2026","index":3,"size":5,"root":"d0dc707f249d457517fb9092eca8b95b0a697086d92665cf46d9de7b32bb0c68","leaf_hash":"0b111dc3c17d32c2c64d324fc488242f3e93af474ede7121210d0df9eb283aae","kind":"proof","not_before":{"known":true,"time":"2027-01-15T08:01:31Z"},"not_after":{"known":true,"time":"2027-01-15T08:01:51Z"},"after_size":3,"seen":{"known":true,"time":"2027-01-15T08:01:51Z"},"witnesses":["w1"]}`
	if got := string(asJSON(t, v)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	v, err = receipt.Check(file, parsePolicy(t, policies["none"]), at(200), receipt.Demands{})
	if err != nil {
		t.Fatal(err)
	}
	const untimed = `"not_before":{"known":false,"why":"the policy's quorum names no witness: there is an order, no time"}`
	if got := asJSON(t, v); !bytes.Contains(got, []byte(untimed)) || !bytes.Contains(got, []byte(`"after_size":3`)) {
		t.Errorf("%s: want %s", got, untimed)
	}
}

// A receipt is parsed once, and each of its checkpoints verified once: twice would cost what the
// parts cost.
func TestReceiptIsVerifiedOnce(t *testing.T) {
	s := newScene(nil)
	p := parsePolicy(t, policies["2-of-3"])
	r := s.receipt(5, s.log.Checkpoint(5, signedBy(110)...))
	file := marshal(r)
	cost := func(f func() error) float64 {
		return testing.AllocsPerRun(20, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		})
	}
	parse := cost(func() error { _, err := poclog.ParseReceipt(file); return err })
	open := cost(func() error { _, err := p.Open(r.Inclusion.Checkpoint); return err })
	parts := parse + open + cost(func() error { _, err := p.Open(r.Challenge); return err }) + cost(func() error { _, err := poclog.ParseLeaf(r.Entry); return err })
	all := cost(func() error { _, err := receipt.Check(file, p, at(200), receipt.Demands{}); return err })
	const rest = 44 // the inclusion proof, the challenge's text and the verdict
	if all > parts+rest || all+min(parse, open) <= parts+rest {
		t.Errorf("a check allocates %v times, its parts %v (the receipt %v, a checkpoint %v): want at most %v more, and less than one of these", all, parts, parse, open, rest)
	}
	t.Logf("a check allocates %v times, its parts %v (the receipt %v, a checkpoint %v)", all, parts, parse, open)
}
