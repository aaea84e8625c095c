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

// Two judges, of whom one knows the platform, must say the same of a quote that the second implementation refuses: an auditor who computes an
// entry again would else convict an honest log.
func TestAKnownPlatformsQuoteIsRefusedWhereANewOnesIs(t *testing.T) {
	w := newWorld(t)
	honest := judging(t, w, w.Honest())
	td := w.VM.TD(w.Challenge.ReportData(w.VM.TPM.Public))
	hostile := attack.NewWorld()
	b := hostile.Honest()
	b.Set(poclog.ItemTDXQuote, spaced(w.VM.Platform().Quote(td)))
	b.Set(poclog.ItemTPMQuote, sealedOver(t, hostile, b.Get(poclog.ItemTDXQuote)))
	in := judging(t, hostile, b)
	_, err := Appraise(in)
	wantCheck(t, "white space after the chain, by a judge without memory", err, verify.TEESignature)

	k := NewKnown()
	honest.Known = k
	leafOf(t, honest)
	in.Known = k
	_, err = Appraise(in)
	wantCheck(t, "white space after the chain, by a judge who knows the platform", err, verify.TEESignature)
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
