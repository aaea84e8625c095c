package audit_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/dsse"
	"github.com/poclog/poclog/verify/vouch/registry"
	"github.com/poclog/poclog/witness/audit"
)

var statedChip = poclog.Identity("intel:tdx:ppid:" + strings.Repeat("1a", 16))

// list makes a log's policy list registrars from here on.
func (l *lab) list(all ...*endorser.Registrar) {
	p := must(poclog.ParsePolicy(l.policy))
	p.Registrars = nil
	for _, r := range all {
		p.Registrars = append(p.Registrars, r.Policy())
	}
	l.policy = must(p.Marshal())
	l.add(l.config(l.policy))
}

// stated is an honest statement entry, signed by the registrar's first n members, or what change
// makes of it.
func (l *lab) stated(r *endorser.Registrar, s poclog.Statement, n int, change func(*poclog.StatementEntry)) []byte {
	s.Origin = origin
	if s.Subject == "" && s.Type != poclog.Commit {
		s.Subject = statedChip
	}
	v := r.State(s, n)
	e := &poclog.StatementEntry{Envelope: *v, Policy: poclog.BlobOf(l.policy), Time: l.start}
	for _, sig := range v.Signatures {
		for _, text := range r.Policy().Keys {
			k := must(poclog.ParsePublisherKey(text))
			if must(keyID(k)) == sig.KeyID {
				e.Signers = append(e.Signers, k.Digest)
			}
		}
	}
	sortDigests(e.Signers)
	if change != nil {
		change(e)
	}
	return must(e.Marshal())
}

func (l *lab) endorse(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Endorse, Serial: serial, Level: 1, Method: "visit", Label: "rack 7", From: l.start, Until: l.start.AddDate(1, 0, 0)}
}

func (l *lab) revoke(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Revoke, Serial: serial, Since: l.start, Reason: "mistake"}
}

// TestAlteredStatementEntriesAreRefused: after an endorsement and its revocation by eight of
// twelve, and a commitment.
func TestAlteredStatementEntriesAreRefused(t *testing.T) {
	alliance := endorser.NewRegistrar("audit", "Alliance", 12)
	stranger := endorser.NewRegistrar("audit", "Stranger", 3)
	document := []byte("a photograph")
	for _, b := range []struct {
		name  string
		check verify.Check
		say   string
		make  func(l *lab) []byte
	}{
		{"a label edited by a byte", registry.CheckSignature, "8 of 8 signatures are wrong", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Envelope.Statement.Label = "rack 8" })
		}},
		{"another level", registry.CheckSignature, "signatures are wrong", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Envelope.Statement.Level = 3 })
		}},
		{"a signature edited by a bit", registry.CheckSignature, "1 of 8 signatures are wrong", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Envelope.Signatures[2].Sig[9] ^= 1 })
		}},
		{"a signature too few", registry.CheckSignature, "1 signatures are missing", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 7, nil)
		}},
		{"a signer who did not sign", registry.CheckStated, "other signers", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) {
				e.Signers[7] = poclog.Digest{0xff, 0xff, 0xff, 0xff, 0xff}
			})
		}},
		{"one member twice", registry.CheckSignature, "counts once", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Envelope.Signatures[7] = e.Envelope.Signatures[0] })
		}},
		{"the endorsement again, after its revocation", registry.CheckSerial, "want 3 or more", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(1), 8, nil)
		}},
		{"serials used up", registry.CheckSerial, "at most 1001 more", func(l *lab) []byte {
			return l.stated(alliance, poclog.Statement{Type: poclog.Freeze, Serial: 5000}, 2, nil)
		}},
		{"a commitment's serial again", registry.CheckSerial, "commitments", func(l *lab) []byte {
			return l.stated(alliance, l.commit(1), 8, nil)
		}},
		{"a revocation of what is revoked", registry.CheckSubject, "none in force", func(l *lab) []byte { return l.stated(alliance, l.revoke(3), 8, nil) }},
		{"a thaw of nothing", registry.CheckSubject, "not frozen", func(l *lab) []byte {
			return l.stated(alliance, poclog.Statement{Type: poclog.Thaw, Serial: 3}, 8, nil)
		}},
		{"a statement for another log", registry.CheckOrigin, "other.test", func(l *lab) []byte {
			s := l.endorse(3)
			leaf := l.stated(alliance, s, 8, nil)
			e := must(poclog.ParseLeaf(leaf)).Statement
			s.Origin, s.Subject = "other.test/2026", statedChip
			e.Envelope = *alliance.State(s, 8)
			return must(e.Marshal())
		}},
		{"a registrar that the policy does not list", registry.CheckRegistrar, `"Stranger" is not listed`, func(l *lab) []byte { return l.stated(stranger, l.endorse(1), 2, nil) }},
		{"keys of members who left", registry.CheckSignature, "no member's", func(l *lab) []byte {
			before := *alliance
			after := *alliance
			after.Leave()
			l.list(&after)
			return l.stated(&before, l.endorse(3), 8, nil)
		}},
		{"a policy that was not in force", registry.CheckStated, "was in force", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Policy = l.keep(l.appraisalPolicy(300)) })
		}},
		{"a time after it was seen", audit.CheckAppraised, "seen by", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Time = l.start.Add(61 * time.Second) })
		}},
		{"a time before the statement before it", registry.CheckStated, "was taken at", func(l *lab) []byte {
			return l.stated(alliance, l.endorse(3), 8, func(e *poclog.StatementEntry) { e.Time = l.start.Add(-time.Second) })
		}},
		{"a document that is missing", audit.CheckEvidence, "document", func(l *lab) []byte {
			s := l.endorse(3)
			s.Documents = []poclog.Document{{SHA256: poclog.Sum(document), Size: uint32(len(document)), Type: "image/png"}}
			l.answer(poclog.Sum(document), http.StatusNotFound)
			return l.stated(alliance, s, 8, nil)
		}},
		{"a document of another size", audit.CheckEvidence, "bytes", func(l *lab) []byte {
			s := l.endorse(3)
			s.Documents = []poclog.Document{{SHA256: poclog.Sum(document), Size: uint32(len(document)) + 1, Type: "image/png"}}
			l.keep(document)
			return l.stated(alliance, s, 8, nil)
		}},
		{"the serial of a statement with a document", registry.CheckSerial, "want 4 or more", func(l *lab) []byte {
			s := l.endorse(3)
			s.Documents = []poclog.Document{{SHA256: poclog.Sum(document), Size: uint32(len(document)), Type: "image/png"}}
			l.keep(document)
			l.add(l.stated(alliance, s, 8, nil))
			return l.stated(alliance, l.endorse(3), 8, nil)
		}},
		{"a malformed statement", audit.CheckLeaf, "", func(l *lab) []byte {
			return edited(l.t, l.stated(alliance, l.endorse(3), 8, nil), `"signers":["`, `"signers":["x`)
		}},
	} {
		// What stands before may have been audited long ago, or be in the same batch.
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", b.name, before), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.list(alliance)
				l.add(l.stated(alliance, l.endorse(1), 8, nil), l.stated(alliance, l.revoke(2), 8, nil), l.stated(alliance, l.commit(1), 8, nil))
				l.publish()
				a, _ := l.auditor(audit.Config{})
				if before {
					look(t, a)
				}
				leaf := b.make(l) // it may add what goes before
				at := l.size()
				l.add(leaf)
				l.good(1)
				l.publish()
				err := a.Look(t.Context(), origin)
				var refused *audit.Refused
				if !errors.As(err, &refused) {
					t.Fatalf("%v: want a refusal", err)
				}
				if r := report(t, a); r.Refused[0].Entry != at || r.Refused[0].Check != string(b.check) || !strings.Contains(r.Refused[0].Detail, b.say) || r.Audited != at {
					t.Errorf("%+v, audited %d: want entry %d, %s, %q", r.Refused, r.Audited, at, b.check, b.say)
				}
			})
		}
	}
}

func (l *lab) commit(serial uint32) poclog.Statement {
	return poclog.Statement{Type: poclog.Commit, Serial: serial, Root: poclog.Sum(nil), Count: 7, Level: 1, From: l.start, Until: l.start.AddDate(1, 0, 0)}
}

// TestHonestStatementsPass: with members who change, and a document that is withheld by law.
func TestHonestStatementsPass(t *testing.T) {
	l := newLab(t)
	alliance, house := endorser.NewRegistrar("audit", "Alliance", 12), endorser.NewRegistrar("audit", "House", 1)
	l.list(alliance, house)
	document := []byte("a photograph")
	l.keep(document)
	s := l.endorse(1)
	s.Documents = []poclog.Document{{SHA256: poclog.Sum(document), Size: uint32(len(document)), Type: "image/png"}}
	l.add(l.stated(alliance, s, 8, nil), l.stated(house, l.endorse(1), 1, nil))
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	alliance.Leave()
	alliance.Join("a new member")
	l.list(alliance, house)
	l.answer(poclog.Sum(document), http.StatusUnavailableForLegalReasons)
	s.Serial = 2
	l.add(l.stated(alliance, poclog.Statement{Type: poclog.Freeze, Serial: 3}, 2, nil), l.stated(alliance, poclog.Statement{Type: poclog.Thaw, Serial: 4}, 8, nil))
	s.Serial = 5
	l.add(l.stated(alliance, s, 8, nil))
	l.publish()
	look(t, a)
	if r := report(t, a); r.Audited != l.size() || r.WithheldTotal != 0 || len(r.Refused) != 0 {
		t.Errorf("%+v", r)
	}
}

func keyID(k *poclog.PublisherKey) (string, error) { return dsse.KeyID(k) }

func sortDigests(list []poclog.Digest) {
	slices.SortFunc(list, func(a, b poclog.Digest) int { return slices.Compare(a[:], b[:]) })
}
