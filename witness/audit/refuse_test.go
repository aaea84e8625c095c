package audit_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/witness/audit"
)

// bad is an entry that must be refused.
type bad struct {
	name  string
	check verify.Check
	say   string // in the detail
	make  func(l *lab) []byte
}

func badEntries() []bad {
	return []bad{
		{"a claim edited by a byte", audit.CheckLeaf, "gives another entry", func(l *lab) []byte {
			return edited(l.t, l.entry(evidence{}, nil), `"level":0`, `"level":2`)
		}},
		{"a report data edited by a byte", audit.CheckLeaf, "gives another entry", func(l *lab) []byte {
			return l.entry(evidence{}, func(e *poclog.Entry) { e.CVM.ReportData[63] ^= 1 })
		}},
		{"another chip", audit.CheckLeaf, "gives another entry", func(l *lab) []byte {
			other := l.maker.NewPlatform("host-2", nil)
			return l.entry(evidence{}, func(e *poclog.Entry) {
				e.Chassis = []poclog.Identity{poclog.Identity("intel:tdx:ppid:" + hex.EncodeToString(other.PPID[:]))}
			})
		}},
		{"a collateral digest of nothing", audit.CheckEvidence, "collateral", func(l *lab) []byte {
			return l.entry(evidence{collateral: true}, func(e *poclog.Entry) { e.Evidence.Collateral.SHA256[0] ^= 1 })
		}},
		{"the collateral of another chip maker", "", "", func(l *lab) []byte {
			other := chip.NewMaker("another", l.start.AddDate(-1, 0, 0))
			file := must(other.Collateral(chip.CollateralOptions{At: l.start.Add(-time.Hour)}).Marshal())
			return l.entry(evidence{collateral: true}, func(e *poclog.Entry) { e.Evidence.Collateral = l.keep(file) })
		}},
		{"other collateral of the same maker", audit.CheckLeaf, "gives another entry", func(l *lab) []byte {
			file := must(l.maker.Collateral(chip.CollateralOptions{At: l.start.Add(-time.Hour), Evaluation: 18}).Marshal())
			return l.entry(evidence{collateral: true}, func(e *poclog.Entry) { e.Evidence.Collateral = l.keep(file) })
		}},
		{"a collateral of another size", audit.CheckEvidence, "bytes", func(l *lab) []byte {
			return l.entry(evidence{collateral: true}, func(e *poclog.Entry) { e.Evidence.Collateral.Size++ })
		}},
		{"a missing bundle", audit.CheckEvidence, "404", func(l *lab) []byte {
			leaf := l.entry(evidence{}, nil)
			l.answer(must(poclog.ParseEntry(leaf)).Evidence.Bundle.SHA256, http.StatusNotFound)
			return leaf
		}},
		{"a bundle that is another file", audit.CheckEvidence, "another file", func(l *lab) []byte {
			leaf := l.entry(evidence{}, nil)
			l.files[must(poclog.ParseEntry(leaf)).Evidence.Bundle.SHA256] = []byte("{}")
			return leaf
		}},
		{"a bundle that is too long", audit.CheckEvidence, "another file", func(l *lab) []byte {
			leaf := l.entry(evidence{}, nil)
			b := must(poclog.ParseEntry(leaf)).Evidence.Bundle
			l.files[b.SHA256] = bytes.Repeat([]byte("x"), int(b.Size)+1)
			return leaf
		}},
		{"a bundle that does not pass", verify.TEESignature, "", func(l *lab) []byte {
			leaf := l.entry(evidence{}, nil)
			e := must(poclog.ParseEntry(leaf))
			b := must(poclog.ParseBundle(l.files[e.Evidence.Bundle.SHA256]))
			quote := bytes.Clone(b.Get(poclog.ItemTDXQuote))
			quote[48+520] ^= 1
			forged := new(poclog.Bundle)
			forged.Set(poclog.ItemTDXQuote, quote)
			e.Evidence.Bundle = l.keep(must(forged.Marshal()))
			return must(e.Marshal())
		}},
		{"an appraised time after it was seen", audit.CheckAppraised, "seen by", func(l *lab) []byte {
			return l.entry(evidence{appraised: l.start.Add(61 * time.Second)}, nil)
		}},
		{"an appraised time after it was seen, challenged", audit.CheckAppraised, "seen by", func(l *lab) []byte {
			return l.entry(evidence{appraised: l.start.Add(61 * time.Second), challenged: l.start}, nil)
		}},
		{"an appraised time before the challenge", audit.CheckAppraised, "its challenge was cosigned at", func(l *lab) []byte {
			return l.entry(evidence{challenged: l.start.Add(-10 * time.Second)}, func(e *poclog.Entry) { e.Appraised = l.start.Add(-71 * time.Second) })
		}},
		{"an appraised time at which the chip had no certificate", verify.TEEChain, "", func(l *lab) []byte {
			return l.entry(evidence{}, func(e *poclog.Entry) { e.Appraised = l.start.AddDate(-2, 0, 0) })
		}},
		{"a policy that was not in force", audit.CheckPolicy, "was in force", func(l *lab) []byte {
			other := l.appraisalPolicy(300)
			l.keep(other)
			return l.entry(evidence{policy: other}, nil)
		}},
		{"a config entry without its policy", audit.CheckEvidence, "404", func(l *lab) []byte {
			file := l.appraisalPolicy(301)
			l.answer(poclog.Sum(file), http.StatusNotFound)
			return l.config(file)
		}},
		{"a config entry whose policy is withheld", audit.CheckEvidence, "nothing after it", func(l *lab) []byte {
			file := l.appraisalPolicy(302)
			l.answer(poclog.Sum(file), http.StatusUnavailableForLegalReasons)
			return l.config(file)
		}},
		{"a config entry that names no policy", audit.CheckConfig, "policy", func(l *lab) []byte { return l.config([]byte("{}")) }},
		{"a config entry of the future", audit.CheckAppraised, "seen by", func(l *lab) []byte {
			return must((&poclog.Config{Policy: l.keep(l.policy), Software: "lab", Time: l.start.Add(61 * time.Second)}).Marshal())
		}},
		{"a leaf that is malformed", audit.CheckLeaf, "", func(*lab) []byte { return []byte(`{"v":1,"kind":"proof",`) }},
		{"a leaf of an unknown kind", audit.CheckLeaf, "does not know", func(*lab) []byte { return []byte(`{"v":1,"kind":"endorsement"}`) }},
		{"an index that leaves out an entry", audit.CheckIndex, "the entries give", func(l *lab) []byte {
			right := l.index(l.size() - 1)
			return l.indexEntry(func(e *poclog.IndexEntry) { e.Root = must(poclog.ParseLeaf(right)).Index.Root })
		}},
		{"an index of another root", audit.CheckIndex, "the entries give", func(l *lab) []byte {
			return l.indexEntry(func(e *poclog.IndexEntry) { e.Root[0] ^= 1 })
		}},
		{"an index of more entries than there are", audit.CheckIndex, "size", func(l *lab) []byte {
			return l.indexEntry(func(e *poclog.IndexEntry) { e.Size = l.size() + 1 })
		}},
		{"an index of an unknown algorithm", audit.CheckIndex, "algorithm 2", func(l *lab) []byte {
			return l.indexEntry(func(e *poclog.IndexEntry) { e.Algorithm = 2 })
		}},
		{"an index that falls back", audit.CheckIndex, "want", func(l *lab) []byte {
			l.add(l.index(l.size()))
			l.publish()
			return l.index(1)
		}},
		{"an empty leaf", audit.CheckLeaf, "does not know", func(*lab) []byte { return []byte{} }},
	}
}

func TestUnsupportedEntryIsRefusedAndWhatWasSignedIsServedOn(t *testing.T) {
	for _, b := range badEntries() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.good(2)
			l.publish()
			a, _ := l.auditor(audit.Config{})
			look(t, a)
			before := wantServed(t, a, 3)
			l.good(1)
			leaf := b.make(l)
			at := l.size()
			l.add(leaf)
			l.good(1)
			l.publish()
			err := a.Look(t.Context(), origin)
			var refused *audit.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("%v: want a refusal", err)
			}
			r := report(t, a)
			// After a config entry, the good one was judged by a policy that is no longer in force.
			if len(r.Refused) != 1 && !strings.Contains(b.name, "a config entry") || r.Refused[0].Entry != at || b.check != "" && r.Refused[0].Check != string(b.check) || r.Refused[0].Check == "" ||
				!strings.Contains(r.Refused[0].Detail, b.say) || r.Refused[0].Resolved != "" || r.Refused[0].Seen == "" {
				t.Errorf("%+v: want entry %d, %s, %q", r.Refused, at, b.check, b.say)
			}
			if r.Audited != at || r.Cosigned != 3 || r.Target != l.size() {
				t.Errorf("audited %d, cosigned %d, target %d: want %d, 3, %d", r.Audited, r.Cosigned, r.Target, at, l.size())
			}
			t.Logf("%s: %s", r.Refused[0].Check, r.Refused[0].Detail)
			if after := wantServed(t, a, 3); !bytes.Equal(before, after) {
				t.Errorf("another checkpoint is served: %s", after)
			}
			// The log asks itself, and is told. What lies before the entry can still be cosigned.
			if status, body, _ := l.addCheckpoint(a, 3, l.size()); status != http.StatusServiceUnavailable || !strings.Contains(body, fmt.Sprintf("refused: entry %d: ", at)) {
				t.Errorf("add-checkpoint over the entry: %d: %s", status, body)
			}
			if status, body, _ := l.addCheckpoint(a, 3, at); status != http.StatusOK {
				t.Errorf("add-checkpoint before the entry: %d: %s", status, body)
			}
			wantServed(t, a, at)
		})
	}
}
