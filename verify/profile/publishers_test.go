package profile

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/verify"
)

// publishing is a world whose policy admits what two publishers signed, with their keys and a
// stranger's.
func publishing(t *testing.T) (w *world, keys []*signer.Signer) {
	t.Helper()
	w = newWorld(t)
	w.Policy.Publishers = &poclog.Publishers{Threshold: 2}
	for i := range 3 {
		file, _, err := signer.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := signer.Open(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, s); i < 2 {
			w.Policy.Publishers.Keys = append(w.Policy.Publishers.Keys, s.Key().String())
		}
	}
	slices.Sort(w.Policy.Publishers.Keys)
	return w, keys
}

func seal(t *testing.T, bundle []byte, by ...*signer.Signer) []byte {
	t.Helper()
	file, err := signer.Seal(t.Context(), &poclog.Submission{Bundle: bundle}, by...)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRemovalOfThePublishersCheckLetsStrangersPublish(t *testing.T) {
	w, keys := publishing(t)
	in := judging(t, w, w.Honest())
	for name, envelope := range map[string][]byte{
		"unsigned": nil, "one of two": seal(t, in.Bundle, keys[0]), "a stranger": seal(t, in.Bundle, keys[0], keys[2]),
		"for another bundle": seal(t, []byte("another"), keys[0], keys[1]),
	} {
		bad := in
		bad.Envelope = envelope
		_, err := Appraise(bad)
		wantCheck(t, name, err, verify.PublisherSignature)
		a, err := appraise(bad, map[verify.Check]bool{verify.PublisherSignature: true})
		if err != nil || a.Entry.Level != poclog.LevelBound {
			t.Errorf("%s: refused without the check too: %v", name, err)
		}
	}
}

func TestSignedEntryIsAFunctionOfItsEnvelopeToo(t *testing.T) {
	w, keys := publishing(t)
	in := judging(t, w, w.Honest())
	in.Envelope = seal(t, in.Bundle, keys[1], keys[0])
	a, err := Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Entry.Publishers) != 2 || a.Entry.Evidence.Envelope != poclog.BlobOf(in.Envelope) {
		t.Errorf("publishers %s, envelope %v", a.Entry.Publishers, a.Entry.Evidence.Envelope)
	}
	for range 2 {
		again, err := Appraise(in)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Entry.Marshal(); err != nil || !bytes.Equal(second, leaf) {
			t.Errorf("another entry: %v", err)
		}
	}
	in.Envelope = seal(t, in.Bundle, keys[0], keys[1]) // the same signatures in another order
	other, err := Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	if other.Entry.Evidence.Envelope == a.Entry.Evidence.Envelope || !slices.Equal(other.Entry.Publishers, a.Entry.Publishers) {
		t.Error("the entry does not name the envelope that it had")
	}
}
