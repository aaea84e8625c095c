package log_test

import (
	"errors"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
)

// A machine with a real TPM proves where it stands to a running log; the same machine under another
// stack, with a key that is not held or not certified, or with another's EK certificate does not.
func TestRunningLogAdmitsAMachineWithARealTPM(t *testing.T) {
	for name, c := range map[string]struct {
		options discrete.Options
		change  func(w *attack.World, m *discrete.Machine)
		check   string // "" admits
	}{
		"honest":            {},
		"honest, RSA":       {options: discrete.Options{RSA: true}},
		"txt-stack-swapped": {options: discrete.Options{Launch: metal.NewLaunch("the tenant's own")}, check: "bind.txt"},
		"ak-without-policy": {options: discrete.Options{Free: true}, check: "tpm.ak-policy"},
		"ek-reuse":          {change: func(w *attack.World, m *discrete.Machine) { m.EKChain = w.NewMachine(true).EKChain }, check: "tpm.ak-chain"},
		"ak-uncertified": {change: func(_ *attack.World, m *discrete.Machine) {
			m.AKChain = metal.NewCA("a garage", "garage", attack.Now.AddDate(-1, 0, 0)).CertifyAK(m.TPM.Key(), m.Place)
		}, check: "tpm.ak-chain"},
	} {
		t.Run(name, func(t *testing.T) {
			w := attack.NewWorldOf(poclog.BareMetalTDXTPM)
			m := discrete.New(t, w.Metal, attack.Zone, c.options)
			w.Machine = w.List(m.Machine)
			if c.change != nil {
				c.change(w, m)
			}
			l, subs := battle(t, w, []*poclog.Bundle{w.Honest()})
			got, err := l.client.Submit(t.Context(), subs[0])
			var p *client.Problem
			if c.check != "" {
				if !errors.As(err, &p) || p.Check != c.check {
					t.Errorf("%v: want a refusal by %s", err, c.check)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := got.Verdict.Entry
			if e.Level != poclog.LevelBound || e.Place.Zone.Value != attack.Zone || len(e.Absent) != 1 {
				t.Errorf("entry %+v", e)
			}
			if r := l.fsck(t); len(r.Findings) > 0 {
				t.Errorf("fsck: %+v", r.Findings)
			}
		})
	}
}
