package log_test

import (
	"errors"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify/receipt"
)

// endorsers are who vouches for the machines of a datacenter whose log asks them.
type endorsers struct {
	*datacenter
	alliance *endorser.Alliance
	owner    *endorser.Owner
}

func newEndorsers(t *testing.T) *endorsers {
	t.Helper()
	e := &endorsers{alliance: endorser.NewAlliance("log test", "alliance.test"), owner: endorser.NewOwner("log test", "owner.test", time.Now().AddDate(-1, 0, 0))}
	e.datacenter = newDatacenter(t, func(p *poclog.Policy) {
		p.Alliances = []poclog.Alliance{e.alliance.Policy()}
		p.Roots = append(p.Roots, e.owner.Policy()) // the last of the uses
	})
	return e
}

// vouch adds a token of a registry and the owner's endorsement to a submission.
func (e *endorsers) vouch(t *testing.T, sub *poclog.Submission, by *endorser.Alliance) *poclog.Submission {
	t.Helper()
	b, err := poclog.ParseBundle(sub.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	c, err := poclog.ParseCollateral(sub.Collateral)
	if err != nil {
		t.Fatal(err)
	}
	p := e.vm.Platform()
	token := by.Token(b.Get(poclog.ItemTDXQuote), p.PPID[:], "rack 7", time.Now())
	out := *sub
	if out.Collateral, err = c.With(endorser.TokenItem(token), e.owner.Endorse(e.owner.Statement(p.PIID[:], time.Now().AddDate(0, -1, 0)))).Marshal(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestWhatOthersVouchForIsLoggedAndCanBeAskedFor(t *testing.T) {
	e := newEndorsers(t)
	sub := e.vouch(t, e.prove(t), e.alliance)
	got, err := e.client.Submit(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	v, err := receipt.Check(got.Receipt, e.policy, time.Now(), receipt.Demands{
		UnsafeRealm: poclog.Lab, Require: []string{"endorse.chip", "endorse.owner"}, Owner: "owner.test", EndorsedBy: []poclog.Digest{e.alliance.Key(), e.owner.Policy().SHA256},
	})
	if err != nil || len(v.Entry.Endorsements) != 2 {
		t.Fatalf("not as asked for: %v", err)
	}
	if r := e.fsck(t); len(r.Findings) > 0 || r.Proofs != 1 {
		t.Errorf("fsck: %+v", r)
	}
}

func TestOthersMayVouchLater(t *testing.T) {
	e := newEndorsers(t)
	sub := e.prove(t)
	first, err := e.client.Submit(t.Context(), sub)
	if err != nil || len(first.Verdict.Entry.Endorsements) != 0 {
		t.Fatal(err)
	}
	vouched := e.vouch(t, sub, e.alliance)
	second, err := e.client.Submit(t.Context(), vouched)
	if err != nil || !second.New || len(second.Verdict.Entry.Endorsements) != 2 {
		t.Fatalf("vouched for later: %v", err)
	}
	for name, s := range map[string]*poclog.Submission{"with": vouched, "without": sub} {
		if again, err := e.client.Submit(t.Context(), s); err != nil || again.New {
			t.Errorf("again %s: %v, new %v", name, err, again.New)
		}
	}
}

func TestWrongTokenIsRefusedByTheLog(t *testing.T) {
	e := newEndorsers(t)
	_, err := e.client.Submit(t.Context(), e.vouch(t, e.prove(t), endorser.NewAlliance("a garage", "alliance.test")))
	var p *client.Problem
	if !errors.As(err, &p) || p.Check != "endorse.chip" || p.Status != 422 {
		t.Errorf("%v: want a refusal by endorse.chip", err)
	}
	if r := e.fsck(t); r.Proofs != 0 {
		t.Errorf("%d proofs are logged", r.Proofs)
	}
}
