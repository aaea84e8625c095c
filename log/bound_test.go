package log_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/log"
)

// glue takes the items of a bundle's TPM away and puts another's there, or the TEE's quote of
// another beside them. Nothing binds them: it is historical.
func glue(tee, tpm *poclog.Bundle) *poclog.Bundle {
	b := tpm.Clone()
	for _, item := range []poclog.Item{poclog.ItemTDXQuote, poclog.ItemCCEL} {
		b.Set(item, tee.Get(item))
	}
	b.Set(poclog.ItemChallenge, nil)
	return b
}

// Whoever puts others' evidence together first must not keep their owners out, whichever part he
// took: his entry answers for his own file alone.
func TestEvidenceThatIsNotBoundAnswersForNobodyElses(t *testing.T) {
	w := attack.NewWorld()
	w.VM.Config.NoPZID = true
	w.Policy.Admit = []poclog.Admission{
		{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip, Historical: true}, {Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true},
	}
	honest := w.Honest()
	bare := new(poclog.Bundle)
	bare.Set(poclog.ItemTDXQuote, honest.Get(poclog.ItemTDXQuote))
	// A rented VM's evidence; and its TPM quotes the victim's TD quote, which does not name its
	// key.
	rented := w.Assemble(attack.Mix{TPM: w.NewVM(gce.VMConfig{NoPZID: true}).TPM})
	w.Challenge.Salt[1]++
	other := w.NewVM(gce.VMConfig{NoPZID: true})
	over := sha256.Sum256(honest.Get(poclog.ItemTDXQuote))
	quoting := glue(honest, w.Assemble(attack.Mix{TPM: other.TPM, Sealed: over[:]}))

	l := newArena(t, w)
	subs := l.enter(t, w, []*poclog.Bundle{glue(honest, rented), glue(rented, honest), quoting, bare, honest})
	seen := make(map[uint64]bool)
	for i, sub := range subs {
		got := submit(t, l.testLog, sub)
		if !got.New || seen[got.Verdict.Index] {
			t.Errorf("submission %d: new %v, entry %d: somebody else's entry answers for it", i, got.New, got.Verdict.Index)
		}
		seen[got.Verdict.Index] = true
		e := got.Verdict.Entry
		named := len(e.Keys) > 0 || e.Instance != "" || e.Place != nil || e.TPM != nil || e.Boot != nil
		if bound := i == len(subs)-1; named != bound {
			t.Errorf("submission %d: keys %v, instance %q, place %+v, boot %v: want them named %v", i, e.Keys, e.Instance, e.Place, e.Boot, bound)
		}
		if again := submit(t, l.testLog, sub); again.New || again.Verdict.Index != got.Verdict.Index && i < 3 {
			t.Errorf("submission %d again: new %v, entry %d: want entry %d", i, again.New, again.Verdict.Index, got.Verdict.Index)
		}
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != uint64(len(subs)) {
		t.Errorf("fsck: %+v", r)
	}
}

// Azure's VMs of 2026 name their keys in a report that their chips signed, and nobody's TPM signed
// for it: the parts may be of two boots.
func TestRealEvidenceThatIsNotBoundNamesItsChipAlone(t *testing.T) {
	l := serve(t, initLog(t), log.Config{})
	got := submit(t, l, azureSubmission(t))
	ids := got.Verdict.Entry.Identities()
	if slices.ContainsFunc(ids, func(id poclog.Identity) bool {
		return !id.IsChip() && id.Kind() != poclog.IntelPIID && id.Kind() != poclog.QuoteKind
	}) {
		t.Errorf("it names %v", ids)
	}
	azure, _ := realdata.Azure(t)
	bare := new(poclog.Bundle)
	bare.Set(poclog.ItemTDXQuote, azure.Get(poclog.ItemTDXQuote))
	file, err := bare.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if part := submit(t, l, &poclog.Submission{Bundle: file, Judged: realdata.AzureTime}); !part.New {
		t.Errorf("entry %d answers for the quote alone", part.Verdict.Index)
	}
}
