//go:build !race

package profile

import (
	"bytes"
	"crypto/sha256"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
)

// A byte of the bundle's file, not of an item: the encoding has one form.
func TestEveryByteOfABundlesFileCounts(t *testing.T) {
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
	in := judgement(t, b, nil, realdata.QuoteTime)
	whole := sha256.Sum256(in.Bundle)
	accepted := 0
	for i := range in.Bundle {
		one := in
		one.Bundle = bytes.Clone(in.Bundle)
		one.Bundle[i] ^= 1
		a, err := Appraise(one)
		if err == nil {
			accepted++
			if a.Entry.Evidence.Bundle.SHA256 == whole {
				t.Errorf("byte %d: changed, with the same digest", i)
			}
		}
	}
	if accepted > 100 {
		t.Errorf("%d of %d bytes can be changed: want those of PEM's white space", accepted, len(in.Bundle))
	}
}

// Who publishes is asked before anything in the bundle is looked at.
func TestPublishersCheckGoesBeforeEveryOther(t *testing.T) {
	_, keys := publishing(t)
	for _, a := range attack.All() {
		w := a.NewWorld()
		w.Policy.Publishers = &poclog.Publishers{Threshold: 1, Keys: []string{keys[0].Key().String()}}
		in := judging(t, w, a.Stage(w))
		_, err := Appraise(in)
		wantCheck(t, a.ID()+", unsigned", err, verify.PublisherSignature)
		in.Envelope = seal(t, in.Bundle, keys[0])
		if _, err := Appraise(in); a.Name != "registry-forged" {
			wantCheck(t, a.ID()+", signed", err, a.Check)
		}
	}
}

// Vectors are a function of the laboratory's seed: what is in the folder is what the code makes.
func TestAttacksAreDeterministic(t *testing.T) {
	made := makeAttackVectors(t)
	vectors.Each(t, attackDir, func(t *testing.T, v attackVector) {
		name := strings.TrimSuffix(path.Base(t.Name()), ".json")
		again, ok := made[name]
		delete(made, name)
		if !ok || !slices.EqualFunc(again.Bundles, v.Bundles, bytes.Equal) || !bytes.Equal(again.Collateral, v.Collateral) || !bytes.Equal(again.Policy, v.Policy) {
			t.Errorf("made anew, it is another: make vectors")
		}
	})
	for name := range made {
		t.Errorf("%s is not in the folder: make vectors", name)
	}
}
