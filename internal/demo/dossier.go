package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
)

// indexInterval is short, so that nobody waits for the demonstration's index.
const indexInterval = 500 * time.Millisecond

// actDossier has a client ask what else is claimed of a chip, and check the answer's completeness
// without a network.
func (s *cloudStage) actDossier(ctx context.Context) error {
	s.act("Is this chip claimed elsewhere? One file answers, offline")
	s.say("  A receipt says that a claim was logged, and not what else was. The log commits to an index of everything it holds, and the auditor " +
		"recomputes that. So one file can prove that nothing is left out.")
	cloned := chipOf(s.cloud.VMs[0].Platform().PPID)
	away, err := s.cloud.NewHost(s.cloud.Zones[0], 1)
	if err != nil {
		return err
	}
	d, a, err := s.dossierOf(ctx, cloned, func(a *dossier.Answer) bool { return a.Gravest() != nil })
	if err != nil {
		return err
	}
	s.line("yes", "the chip of entry 1 is claimed %d times, complete up to entry %d, %s", len(a.Entries), a.Size, a.Verdict)
	s.line("", "└ %s", shorten(a.Gravest().Seen))
	other := chipOf(away.Sockets[0].PPID)
	_, b, err := s.dossierOf(ctx, other, func(*dossier.Answer) bool { return true })
	if err != nil {
		return err
	}
	if len(b.Entries) != 0 {
		return fmt.Errorf("%s, which was never logged, has %d entries", other, len(b.Entries))
	}
	s.line("no", "another chip is claimed nowhere in this log: that it is absent is proven, too")
	// The log's operator, or whoever hands the file on, cuts the clone out of it.
	for i := range d.Names {
		if n := &d.Names[i]; n.Name == string(cloned) {
			n.Numbers = n.Numbers[:len(n.Numbers)-1]
		}
	}
	last := &d.Pages[len(d.Pages)-1]
	last.Entries = last.Entries[:len(last.Entries)-1]
	file, err := d.Marshal()
	if err != nil {
		return err
	}
	_, err = dossier.Check(file, s.policy, s.now(), dossier.Demands{UnsafeRealm: poclog.Lab})
	if err == nil {
		return errors.New("a dossier that leaves out an entry is accepted")
	}
	s.line("refused", "the same file without the clone's entry")
	s.line("", "└ %s", shorten(err.Error()))
	return nil
}

func chipOf(ppid [16]byte) poclog.Identity {
	return poclog.Identity(poclog.IntelPPID + ":" + hex.EncodeToString(ppid[:]))
}

// dossierOf gets an audited dossier of a chip, once it shows what is waited for.
func (s *cloudStage) dossierOf(ctx context.Context, chip poclog.Identity, until func(*dossier.Answer) bool) (*poclog.Dossier, *dossier.Answer, error) {
	names := []string{string(chip), index.Unproven + string(chip)}
	demands := dossier.Demands{Names: names, UnsafeRealm: poclog.Lab, Standing: receipt.Audited}
	return s.answered(ctx, client.DossierOf{Names: names, Intervals: true}, demands, until)
}

// answered gets a dossier that meets demands, once it shows what is waited for: the index and the
// auditor follow within a moment.
func (s *cloudStage) answered(ctx context.Context, of client.DossierOf, demands dossier.Demands, until func(*dossier.Answer) bool) (*poclog.Dossier, *dossier.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		d, err := s.log.Dossier(ctx, of)
		if err == nil {
			file, err := d.Marshal()
			if err != nil {
				return nil, nil, err
			}
			a, err := dossier.Check(file, s.policy, s.now(), demands)
			if err == nil && until(a) {
				return d, a, nil
			}
		}
		if ended := pause.For(ctx, 100*time.Millisecond); ended != nil {
			return nil, nil, fmt.Errorf("no audited dossier of %s: %w", of.Names[0], errors.Join(ended, err))
		}
	}
}
