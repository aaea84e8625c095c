package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

// actMonitor shows what no single proof can: one chip's key answers for VMs in two data centers,
// each proof is valid, and together they are not.
func (s *cloudStage) actMonitor(ctx context.Context) error {
	s.act("Twelve days later: what one proof cannot show, the log can")
	if err := s.pass(ctx); err != nil {
		return err
	}
	if err := s.move(ctx); err != nil {
		return err
	}
	s.say("  An attacker has opened another machine, and has its chip's key: genuine, certified, not revoked. He rents a VM in another region, and has the " +
		"provider's register, which anybody may see and nobody can look back in, say that the chip stands there now.")
	if err := s.cloneChassis(ctx); err != nil {
		return err
	}
	s.line("", "└ both proofs are valid, each by itself: no check is left that could refuse one")
	m, err := s.watch(ctx)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, m.Close)
	out, err := m.Run(ctx, monitor.Options{Once: true})
	if err != nil {
		return err
	}
	var found []string
	for a, err := range m.Alerts(ctx, monitor.AlertFilter{}) {
		if err != nil {
			return err
		}
		if a.Severity != rule.Information {
			found = append(found, fmt.Sprintf("%s: %s", a.Rule, a.Seen))
		}
	}
	if n := out.New[string(rule.Contradiction)]; n != 1 || len(out.Trouble) > 0 || out.Waiting > 0 {
		return fmt.Errorf("the monitor found %d contradictions, and had trouble with %v: want one, and none: %q", n, out.Trouble, found)
	}
	var alert *monitor.Alert
	for a, err := range m.Alerts(ctx, monitor.AlertFilter{Severity: rule.Contradiction}) {
		if err != nil {
			return err
		}
		alert = a
	}
	s.line("alert", "the monitor has read the log: %s", alert.Rule)
	s.line("", "└ %s", alert.Seen)
	s.line("", "└ %s", alert.Meaning)
	return s.convince(filepath.Join(s.stage.dir, "monitor", alert.File))
}

// move has a machine's operator move it, as happens: it proves itself where it stands now, and
// another proves itself again where it stood.
func (s *cloudStage) move(ctx context.Context) error {
	vm, zone := s.cloud.VMs[1], s.cloud.Zones[2]
	host := vm.Host
	vm.Host = nil // it was shut down
	if err := host.Relocate(zone); err != nil {
		return err
	}
	moved, err := host.NewVM(0, gce.VMConfig{Version: 5})
	if err != nil {
		return err
	}
	if err := s.prove(ctx, moved, zone, fmt.Sprintf(", the chip of entry %d: its operator moved it", s.numbers[1])); err != nil {
		return fmt.Errorf("a machine that moved: %w", err)
	}
	return s.prove(ctx, s.cloud.VMs[0], s.cloud.Zones[0], fmt.Sprintf(", the chip of entry %d, as before", s.numbers[0]))
}

// cloneChassis logs a proof that the extracted key of the first proof's chip answers for a VM in
// another region.
func (s *cloudStage) cloneChassis(ctx context.Context) error {
	stolen := s.cloud.VMs[0].Platform()
	away, err := s.cloud.NewHost(s.cloud.Zones[2], 1)
	if err != nil {
		return err
	}
	rented, err := away.NewVM(0, gce.VMConfig{})
	if err != nil {
		return err
	}
	s.cloud.Registry.List(stolen.PPID, away.Zone, s.cloud.Now)
	got, err := s.submit(ctx, func(ch *poclog.Challenge) (*poclog.Bundle, error) {
		return patch(stolen, rented.TD(ch.ReportData(rented.TPM.Public)), rented, ch)
	})
	if err != nil {
		return fmt.Errorf("the clone's proof: %w", err)
	}
	e := got.Verdict.Entry
	s.line("level 2", "entry %d: %s on %s…, the chip of entry %d", got.Verdict.Index, e.Place.Zone.Value, string(e.Chip())[:30], s.numbers[0])
	return nil
}

// watch starts a monitor that follows the log by the clients' policy.
func (s *cloudStage) watch(ctx context.Context) (*monitor.Monitor, error) {
	dir := filepath.Join(s.stage.dir, "monitor")
	if err := monitor.Init(dir); err != nil {
		return nil, err
	}
	m, err := monitor.Open(dir, monitor.Config{Agent: s.software, Reappraise: profile.Reappraiser{}})
	if err != nil {
		return nil, err
	}
	policy, err := os.ReadFile(filepath.Join(s.dir, "policy.txt"))
	if err == nil {
		_, err = m.AddLog(ctx, s.log.URL, string(policy))
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// convince has a client verify the contradiction who never saw the log: from the file and a policy
// alone.
func (s *cloudStage) convince(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	terms := receipt.Terms{UnsafeRealm: poclog.Lab, Reappraise: profile.Reappraiser{}}
	v, err := receipt.CheckContradiction(file, s.policy, terms)
	if err != nil {
		return fmt.Errorf("the contradiction: %w", err)
	}
	s.line("yes", "a client that never saw the log verifies the file of %d kB offline: two receipts, both appraisals repeated, the rule run again (%s)", len(file)>>10, v.Verdict)
	blame := "nobody: either a tenant bound a key that he rents elsewhere, or the chip's key is out; its owner is told, not accused"
	if len(v.Implicated) > 0 {
		blame = strings.Join(v.Implicated, ", ")
	}
	s.line("", "└ implicated: %s", blame)
	file[len(file)/2] ^= 1
	if _, err := receipt.CheckContradiction(file, s.policy, terms); err == nil {
		return errors.New("a contradiction with a changed byte verifies")
	}
	s.line("refused", "the same file with one bit changed")
	return nil
}
