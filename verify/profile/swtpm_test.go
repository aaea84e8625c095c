package profile

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// A real TPM 2.0 makes an AK, which the provider certifies, sees the boot and quotes: the bundle
// passes at level 2, and no other boot does.
func TestARealTPMsBundleIsBoundToItsPlace(t *testing.T) {
	for name, isRSA := range map[string]bool{"ECDSA": false, "RSA": true} {
		t.Run(name, func(t *testing.T) {
			v := swtpm.Start(t)
			w := newWorld(t)
			img := w.VM.Config.Image
			discrete.Measure(t, v, img.TCGLog)
			ak := v.Create(swtpm.Template(isRSA, nil))
			public, err := tpm.ParsePublic(ak.Public)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := w.Cloud.Certify(public.Key(), w.VM.TPM.Instance)
			if err != nil {
				t.Fatal(err)
			}
			quote := w.VM.Platform().Quote(w.VM.TD(w.Challenge.ReportData(ak.Public)))
			sum := sha256.Sum256(quote)
			pcrs := []uint{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14}
			item, values := ak.Quote(sum[:], swtpm.Selection{Alg: tpm2.TPMAlgSHA256, PCRs: pcrs}, swtpm.Selection{Alg: tpm2.TPMAlgSHA384, PCRs: pcrs})
			evidence := gce.Evidence{
				TDXQuote: quote, TPMQuote: item, PCRs: values, AK: ak.Public, AKChain: chain, TCGLog: img.TCGLog, CCEL: img.CCEL, Challenge: w.Challenge,
			}
			b, err := evidence.Bundle()
			if err != nil {
				t.Fatal(err)
			}
			a, err := Appraise(judging(t, w, b))
			if err != nil {
				t.Fatal(err)
			}
			if a.Entry.Level != poclog.LevelBound || len(a.Entry.Absent) > 0 {
				t.Errorf("level %d, absent %v", a.Entry.Level, a.Entry.Absent)
			}
			v.Extend(9, []byte("an initrd of the attacker's"))
			evidence.TPMQuote, evidence.PCRs = ak.Quote(sum[:], swtpm.Selection{Alg: tpm2.TPMAlgSHA256, PCRs: pcrs}, swtpm.Selection{Alg: tpm2.TPMAlgSHA384, PCRs: pcrs})
			if b, err = evidence.Bundle(); err != nil {
				t.Fatal(err)
			}
			_, err = Appraise(judging(t, w, b))
			wantCheck(t, "another boot", err, verify.BindPCRRTMR)
		})
	}
}

// A challenge counts with the cosignatures that its bytes have, in their order: other bytes are
// another challenge.
func TestReorderedChallengesAreOtherChallenges(t *testing.T) {
	w := newWorld(t)
	at := labNow.Add(-5 * time.Second)
	one, two := testlog.Cosigner{Signer: labLog, At: at}, testlog.Cosigner{Signer: labW, At: at}
	reordered := w.Log.Checkpoint(2, two, one)
	b := w.Honest()
	ch := *w.Challenge
	ch.Checkpoint = reordered
	item, err := ch.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	swapped := b.Clone()
	swapped.Set(poclog.ItemChallenge, item)
	_, err = Appraise(judging(t, w, swapped))
	wantCheck(t, "lines reordered after the evidence was made", err, verify.FreshChallenge)
	w.Challenge = &ch
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil || !slices.Contains(a.Entry.Checks, "fresh.challenge") {
		t.Errorf("lines reordered before: %v: they prove the same time", err)
	}
}
