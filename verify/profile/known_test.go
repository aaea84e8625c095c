package profile

import (
	"bytes"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/verify"
)

func leafOf(t testing.TB, in Input) []byte {
	t.Helper()
	a, err := Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestWhatIsKnownChangesNoResult(t *testing.T) {
	k := NewKnown()
	w := newWorld(t)
	for i := range 3 {
		w.Challenge.Salt[0] = byte(i)
		in := judging(t, w, w.Honest())
		want := leafOf(t, in)
		in.Known = k
		if got := leafOf(t, in); !bytes.Equal(got, want) {
			t.Errorf("proof %d: another entry", i)
		}
	}
	if len(k.m) != 6 {
		t.Errorf("%d results are known: want those of both policies, chain, collateral, endorsement and AK", len(k.m))
	}
}

// Every attack is refused by the same check on a platform that is known.
func TestAttacksOnKnownPlatformsAreRefusedAlike(t *testing.T) {
	k := NewKnown()
	for _, a := range attack.All() {
		w := a.NewWorld()
		honest := judging(t, w, w.Honest())
		honest.Known = k
		leafOf(t, honest)
		in := judging(t, w, a.Stage(w))
		in.Known = k
		_, err := Appraise(in)
		wantCheck(t, a.ID(), err, a.Check)
	}
}

func TestWhatIsKnownEndsWithItsValidity(t *testing.T) {
	k := NewKnown()
	w := newWorld(t)
	b := w.Honest()
	in := judging(t, w, b)
	in.Known = k
	leafOf(t, in)
	for name, c := range map[string]struct {
		at    time.Time
		check verify.Check
	}{
		"expired collateral":     {labNow.AddDate(0, 0, 40), verify.Collateral},
		"collateral of tomorrow": {labNow.AddDate(0, 0, -4), verify.Collateral},
		"expired certificates":   {labNow.AddDate(40, 0, 0), verify.TEEChain},
	} {
		one := in
		one.Appraised = c.at
		_, err := Appraise(one)
		wantCheck(t, name, err, c.check)
	}
	// Another policy's roots do not inherit what this one's verified.
	other := gce.New("another cloud", labStart)
	w.Policy.Roots = other.Roots()
	foreign := judging(t, w, b)
	foreign.Known = k
	_, err := Appraise(foreign)
	wantCheck(t, "another policy", err, verify.TEEChain)
	// A chip that is revoked in newer collateral is no longer known.
	w = newWorld(t)
	w.Publish(chip.CollateralOptions{Revoked: []*chip.Platform{w.VM.Platform()}})
	revoked := judging(t, w, b)
	revoked.Known = k
	_, err = Appraise(revoked)
	wantCheck(t, "newly revoked", err, verify.TEERevocation)
}

// A chain is known by all of its bytes: one that differs in any is parsed and verified again.
func TestChangedChainIsNotAKnownOne(t *testing.T) {
	w, k := newWorld(t), NewKnown()
	b := w.Honest()
	in := judging(t, w, b)
	in.Known = k
	leafOf(t, in)
	honest := b.Get(poclog.ItemTPMAKChain)
	for i := 0; i < len(honest); i += 13 {
		changed := bytes.Clone(honest)
		changed[i] ^= 1
		b.Set(poclog.ItemTPMAKChain, changed)
		in := judging(t, w, b)
		in.Known = k
		if _, err := Appraise(in); err == nil {
			t.Errorf("byte %d of the AK's chain is changed, and it is still known", i)
		}
	}
}

func BenchmarkAppraiseKnownPlatform(b *testing.B) {
	w := newWorld(b)
	in := judging(b, w, w.Honest())
	in.Known = NewKnown()
	leafOf(b, in)
	// The quote, the QE report and the TPM's quote. The challenge's log and witness.
	appraises(b, in, cputime.All(cputime.Several(b, 3, cputime.P256), cputime.Several(b, 2, cputime.Ed25519)))
}
