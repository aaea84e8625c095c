package audit_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/witness/audit"
)

// publishers are keys, of which the lab's new policy lists all but the last.
func (l *lab) publishers(n int) []*signer.Signer {
	l.t.Helper()
	p := must(poclog.ParsePolicy(l.policy))
	p.Publishers = &poclog.Publishers{Threshold: 1}
	var keys []*signer.Signer
	for i := range n {
		file, _, err := signer.Generate(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		path := filepath.Join(l.t.TempDir(), "key")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			l.t.Fatal(err)
		}
		if keys = append(keys, must(signer.Open(l.t.Context(), path, nil))); i < n-1 {
			p.Publishers.Keys = append(p.Publishers.Keys, keys[i].Key().String())
		}
	}
	slices.Sort(p.Publishers.Keys)
	l.policy = must(p.Marshal())
	l.add(l.config(l.policy))
	return keys
}

func TestAuditorVerifiesPublishersAgain(t *testing.T) {
	envelopeOf := func(leaf []byte) poclog.Digest { return must(poclog.ParseEntry(leaf)).Evidence.Envelope.SHA256 }
	for name, c := range map[string]struct {
		check verify.Check // "" passes
		say   string
		make  func(l *lab, keys []*signer.Signer) []byte
	}{
		"signed": {"", "", func(l *lab, keys []*signer.Signer) []byte { return l.entry(evidence{by: keys[:2]}, nil) }},
		"unsigned": {verify.PublisherSignature, "not signed", func(l *lab, keys []*signer.Signer) []byte {
			return l.entry(evidence{by: keys[:1]}, func(e *poclog.Entry) { e.Publishers, e.Evidence.Envelope = nil, poclog.Blob{} })
		}},
		"signed by a stranger": {verify.PublisherSignature, "does not list", func(l *lab, keys []*signer.Signer) []byte {
			return l.entry(evidence{by: keys[:1]}, func(e *poclog.Entry) {
				envelope := must(signer.Seal(l.t.Context(), &poclog.Submission{Bundle: l.files[e.Evidence.Bundle.SHA256]}, keys[2]))
				e.Publishers, e.Evidence.Envelope = []poclog.Digest{keys[2].Key().Digest}, l.keep(envelope)
			})
		}},
		"another publisher than signed": {audit.CheckLeaf, "another entry", func(l *lab, keys []*signer.Signer) []byte {
			return l.entry(evidence{by: keys[:1]}, func(e *poclog.Entry) { e.Publishers = []poclog.Digest{keys[1].Key().Digest} })
		}},
		"an envelope of another bundle": {verify.PublisherSignature, "another bundle", func(l *lab, keys []*signer.Signer) []byte {
			other := envelopeOf(l.entry(evidence{by: keys[:1]}, nil))
			return l.entry(evidence{by: keys[:1]}, func(e *poclog.Entry) { e.Evidence.Envelope = poclog.BlobOf(l.files[other]) })
		}},
		"an envelope that is lost": {audit.CheckEvidence, "envelope", func(l *lab, keys []*signer.Signer) []byte {
			leaf := l.entry(evidence{by: keys[:1]}, nil)
			l.answer(envelopeOf(leaf), http.StatusNotFound)
			return leaf
		}},
		"an envelope that is another file": {audit.CheckEvidence, "envelope", func(l *lab, keys []*signer.Signer) []byte {
			leaf := l.entry(evidence{by: keys[:1]}, nil)
			l.files[envelopeOf(leaf)] = []byte("{}")
			return leaf
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			keys := l.publishers(3)
			leaf := c.make(l, keys)
			l.add(leaf)
			l.publish()
			a, _ := l.auditor(audit.Config{})
			err := a.Look(t.Context(), origin)
			if c.check == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var refused *audit.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("%v: want a refusal", err)
			}
			if r := report(t, a); len(r.Refused) != 1 || r.Refused[0].Check != string(c.check) || !strings.Contains(r.Refused[0].Detail, c.say) {
				t.Errorf("%+v: want %s, %q", r.Refused, c.check, c.say)
			}
		})
	}
}

func TestWithheldEnvelopeExcludesItsEntry(t *testing.T) {
	l := newLab(t)
	keys := l.publishers(2)
	leaf := l.entry(evidence{by: keys[:1]}, nil)
	l.answer(must(poclog.ParseEntry(leaf)).Evidence.Envelope.SHA256, http.StatusUnavailableForLegalReasons)
	l.add(leaf)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	if r := report(t, a); len(r.Withheld) != 1 || r.Withheld[0].Part != "envelope" {
		t.Errorf("%+v", r.Withheld)
	}
}
