package profile

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify"
)

// spaced adds white space after the certificates of a quote of version 4, which nobody signs.
func spaced(quote []byte) []byte {
	const sizeAt = 48 + 584
	frame := sizeAt + 4 + 64 + 64 // certification data: type, size, QE report, its signature
	auth := frame + 6 + 384 + 64
	chain := auth + 2 + int(binary.LittleEndian.Uint16(quote[auth:])) + 2
	q := append(bytes.Clone(quote), "\n \n"...)
	for _, at := range []int{sizeAt, frame + 2, chain} {
		binary.LittleEndian.PutUint32(q[at:], binary.LittleEndian.Uint32(q[at:])+3)
	}
	return q
}

// What another implementation alone refuses is refused at admission, whether the platform is known
// or not, and by no appraisal: an auditor with another version of it who computes an entry again
// would else convict an honest log.
func TestSecondOpinionIsNoPartOfTheAppraisal(t *testing.T) {
	w := newWorld(t)
	honest := judging(t, w, w.Honest())
	td := w.VM.TD(w.Challenge.ReportData(w.VM.TPM.Public))
	hostile := attack.NewWorld()
	b := hostile.Honest()
	b.Set(poclog.ItemTDXQuote, spaced(w.VM.Platform().Quote(td)))
	b.Set(poclog.ItemTPMQuote, sealedOver(t, hostile, b.Get(poclog.ItemTDXQuote)))
	in := judging(t, hostile, b)

	k := NewKnown()
	honest.Known = k
	leafOf(t, honest)
	for range 2 {
		if err := k.SecondOpinion(bundleOf(t, honest), labNow); err != nil {
			t.Fatal(err)
		}
	}
	want := leafOf(t, in)
	for name, known := range map[string]*Known{"without memory": nil, "who knows the platform": k} {
		in.Known = known
		if got := leafOf(t, in); !bytes.Equal(got, want) {
			t.Errorf("a judge %s gives another entry", name)
		}
		wantCheck(t, "white space after the chain, asked by a judge "+name, known.SecondOpinion(bundleOf(t, in), labNow), verify.SecondOpinion)
	}
	wantCheck(t, "when the chip's certificate is no longer valid", k.SecondOpinion(bundleOf(t, honest), labNow.AddDate(40, 0, 0)), verify.SecondOpinion)
}

func TestSecondOpinionOnSNPReports(t *testing.T) {
	w := attack.NewWorldOf(poclog.SNP)
	good := judging(t, w, w.Honest())
	k := NewKnown()
	for range 2 {
		if err := k.SecondOpinion(bundleOf(t, good), labNow); err != nil {
			t.Fatal(err)
		}
	}
	wantCheck(t, "when the chip's certificate is no longer valid", k.SecondOpinion(bundleOf(t, good), labNow.AddDate(40, 0, 0)), verify.SecondOpinion)
	wantCheck(t, "a bundle without a quote", k.SecondOpinion(new(poclog.Bundle), labNow), verify.Profile)
}

func bundleOf(t *testing.T, in Input) *poclog.Bundle {
	t.Helper()
	b, err := poclog.ParseBundle(in.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealedOver is the honest TPM's quote over a TD quote.
func sealedOver(t *testing.T, w *world, quote []byte) []byte {
	t.Helper()
	sum := poclog.Sum(quote)
	item, _, err := w.VM.TPM.Quote(sum[:], labNow)
	if err != nil {
		t.Fatal(err)
	}
	return item
}
