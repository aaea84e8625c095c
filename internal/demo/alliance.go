package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// The demonstration begins in the past: machines move within days, and what an alliance takes back,
// it takes back as of a date.
const (
	ago       = 12 * 24 * time.Hour // when its first proofs were made
	revokedAs = 6 * 24 * time.Hour  // as of when the alliance revokes a machine
)

// newAlliance has three members, of whom two must sign, and two may freeze.
func newAlliance() *endorser.Registrar {
	return endorser.NewRegistrar("demonstration", "Demonstration Alliance", 3)
}

// pins are the registrars that the demonstration's readers believe.
func (s *cloudStage) pins() (*registry.Registrars, error) {
	return registry.New([]poclog.Registrar{s.alliance.Policy()})
}

// state logs a statement of the alliance about a chip, signed by two members.
func (s *cloudStage) state(ctx context.Context, x poclog.Statement) (number uint64, err error) {
	s.serials[x.Subject]++
	x.Origin, x.Serial = s.log.Policy.Logs()[0].Origin, s.serials[x.Subject]
	got, err := s.log.Register(ctx, &poclog.StatementSubmission{Envelope: *s.alliance.State(x, 2)})
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", x.Type, x.Subject, err)
	}
	return got.Verdict.Index, nil
}

// actEndorse has an alliance vouch for the machines that proved themselves.
func (s *cloudStage) actEndorse(ctx context.Context) error {
	s.act("An alliance vouches for machines, in the same log")
	s.say("  What people know of a machine no quote says: who saw it, and in which rack. Three members state it, two of whom must sign. It stands beside the " +
		"proofs and is their word: it proves nothing.")
	from := s.now().Truncate(time.Second).UTC()
	for i, vm := range s.cloud.VMs[:3] {
		n, err := s.state(ctx, poclog.Statement{
			Type: poclog.Endorse, Subject: chipOf(vm.Platform().PPID), Level: 1, Method: "visit", Label: fmt.Sprintf("rack %d", i+1),
			From: from.AddDate(0, 0, -1), Until: from.AddDate(1, 0, 0),
		})
		if err != nil {
			return err
		}
		s.line("endorsed", "entry %d: the chip of entry %d, %q, at level 1 for a year", n, s.numbers[i], fmt.Sprintf("rack %d", i+1))
	}
	return nil
}

// actRevoke has the alliance freeze a machine and revoke it as of a date: what was proven before
// stays good, and what comes after does not, offline.
func (s *cloudStage) actRevoke(ctx context.Context) error {
	s.act("What was vouched for is taken back, as of a date")
	chip, since := chipOf(s.cloud.VMs[2].Platform().PPID), s.now().Add(-revokedAs).Truncate(time.Second).UTC()
	later, err := s.submit(ctx, s.cloud.VMs[2].Prove)
	if err != nil {
		return err
	}
	n, err := s.state(ctx, poclog.Statement{Type: poclog.Freeze, Subject: chip, Text: "two keys of rack 3 are missing"})
	if err != nil {
		return err
	}
	s.line("frozen", "entry %d: %q is under investigation, say two members", n, "rack 3")
	if err := s.holdTo(ctx, "a client whom the alliance convinces refuses all proofs of it", later.Receipt, false, n); err != nil {
		return err
	}
	if n, err = s.state(ctx, poclog.Statement{Type: poclog.Revoke, Subject: chip, Since: since, Reason: "machine-compromised"}); err != nil {
		return err
	}
	s.line("revoked", "entry %d: as of %s, six days ago; a thaw ends the investigation", n, since.Format(time.DateOnly))
	if n, err = s.state(ctx, poclog.Statement{Type: poclog.Thaw, Subject: chip}); err != nil {
		return err
	}
	if err := s.holdTo(ctx, fmt.Sprintf("its proof of twelve days ago, entry %d, stays good, offline", s.numbers[2]), s.receipts[2], true, n); err != nil {
		return err
	}
	return s.holdTo(ctx, fmt.Sprintf("its proof of today, entry %d", later.Verdict.Index), later.Receipt, false, n)
}

// holdTo holds a receipt to a dossier of its log that has entry n, as a client does who pins the
// alliance and wants it to vouch.
func (s *cloudStage) holdTo(ctx context.Context, what string, file []byte, good bool, n uint64) error {
	v, err := receipt.Check(file, s.policy, s.now(), receipt.Demands{UnsafeRealm: poclog.Lab})
	if err != nil {
		return err
	}
	pins, err := s.pins()
	if err != nil {
		return err
	}
	names := append(dossier.NamesFor(v.Entry), dossier.StatementNamesFor(v.Entry)...)
	slices.Sort(names)
	demands := dossier.Demands{
		UnsafeRealm: poclog.Lab, Standing: receipt.Audited, Registrars: pins, EndorsedBy: []dossier.Endorser{{Name: s.alliance.Name, Level: 1}},
	}
	_, a, err := s.answered(ctx, client.DossierOf{Names: slices.Compact(names), Intervals: true}, demands, func(a *dossier.Answer) bool { return a.Size > n })
	if err != nil {
		return err
	}
	err = a.Clears(v)
	switch {
	case good && err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case !good && err == nil:
		return errors.New(what + ": it is good")
	case good:
		s.line("yes", "%s", what)
	default:
		s.line("refused", "%s", what)
		s.line("", "└ %s", shorten(err.Error()))
	}
	return nil
}
