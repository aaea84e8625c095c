package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
)

func newLabAttackCmd() *cobra.Command {
	var list bool
	var dir string
	c := &cobra.Command{
		Use:   "attack NAME | --list",
		Short: "Make the evidence of an attack",
		Long: "Make the evidence of an attack in a folder: bundles, and the collateral and appraisal policy that judge them, at " + attack.Now.Format(time.RFC3339) + ".\n" +
			"`poclog verify BUNDLE --collateral … --appraisal … --at … --realm lab` says which check refuses it; what only time exposes passes.",
		Example: "  poclog lab attack --list\n  poclog lab attack firmware-own -o evidence",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list == (len(args) == 1) {
				return usagef("want the name of an attack, or --list")
			}
			if list {
				if err := unused(cmd, "--list writes no evidence", "output"); err != nil {
					return err
				}
				return listAttacks(cmd)
			}
			return stageAttack(cmd, args[0], dir)
		},
	}
	c.Flags().BoolVar(&list, "list", false, "list the attacks, and what refuses or exposes each")
	c.Flags().StringVarP(&dir, "output", "o", ".", "folder for the evidence")
	return c
}

func listAttacks(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	for _, a := range attack.All() {
		fmt.Fprintf(w, "%-40s %-22s %s\n", a.ID(), a.Check, attack.Describe(a.Name))
	}
	for _, a := range attack.AllSeries() {
		fmt.Fprintf(w, "%-40s %-22s %s\n", a.ID(), "over time: "+a.Rule, attack.Describe(a.Name))
	}
	return nil
}

// stageAttack writes an attack's evidence.
func stageAttack(cmd *cobra.Command, name, dir string) error {
	w, bundles, expect := evidenceOf(name)
	if bundles == nil {
		return hint(usagef("attack %q: unknown", name), "poclog lab attack --list")
	}
	collateral, err := w.Collateral.Marshal()
	if err != nil {
		return err
	}
	policy, err := w.Policy.Marshal()
	if err != nil {
		return err
	}
	files := map[string][]byte{name + ".collateral.json": collateral, name + ".appraisal.json": policy}
	for i, b := range bundles {
		if files[fmt.Sprintf("%s-%d.bundle.json", name, i)], err = b.Marshal(); err != nil {
			return err
		}
	}
	for file, b := range files {
		out := output{path: filepath.Join(dir, file), force: true}
		if err := out.write(cmd, b); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the attacker %s; expect: %s\n", attack.Describe(name), expect)
	return nil
}

// evidenceOf stages the attack of an ID, or returns no bundles.
func evidenceOf(id string) (w *attack.World, bundles []*poclog.Bundle, expect string) {
	for _, a := range attack.All() {
		if a.ID() == id {
			w := a.NewWorld()
			return w, []*poclog.Bundle{a.Stage(w)}, "refused by " + string(a.Check)
		}
	}
	for _, a := range attack.AllSeries() {
		if a.ID() == id {
			w := a.NewWorld()
			return w, a.Stage(w), "exposed over time by " + a.Rule
		}
	}
	return nil, nil, ""
}
