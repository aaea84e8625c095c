package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/audit"
)

// readyFlags make a folder ready that is to be served: what is there stays as it is.
type readyFlags struct{ name, log, policy string }

func absent(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// make makes a witness or an auditor under the name of --name, if there is none.
func (f *readyFlags) make(cmd *cobra.Command, what, dir string, init func(dir, name string) error, keysOf func(dir string) ([]string, error)) error {
	if !absent(dir) || f.name == "" {
		return nil
	}
	if err := init(dir, f.name); err != nil {
		return err
	}
	keys, err := keysOf(dir)
	if err != nil {
		return undecided(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "made %s %s in %s; fingerprint of its keys, to compare: %s\n", what, f.name, dir, fingerprint(keys))
	return nil
}

// witness makes a witness if there is none, and adds the logs of a policy.
func (f *readyFlags) witness(cmd *cobra.Command, dir string) error {
	if err := f.make(cmd, "witness", dir, witness.Init, witness.Keys); err != nil || f.policy == "" {
		return err
	}
	p, err := readTlogPolicy(cmd, f.policy)
	if err != nil {
		return err
	}
	return withWitness(dir, witness.Config{}, func(w *witness.Witness) error {
		for _, l := range p.Logs() {
			if err := w.AddLog(cmd.Context(), l.VKey); err != nil {
				return err
			}
		}
		return nil
	})
}

// auditor makes an auditor if there is none, and adds a log.
func (f *readyFlags) auditor(cmd *cobra.Command, dir string) error {
	if (f.log == "") != (f.policy == "") {
		return usagef("--log and --policy go together")
	}
	if err := f.make(cmd, "auditor", dir, audit.Init, auditorKeys); err != nil || f.log == "" {
		return err
	}
	text, err := readLogPolicy(cmd, f.policy)
	if err != nil {
		return err
	}
	return withAuditor(dir, audit.Config{}, func(a *audit.Auditor) error {
		_, err := a.AddLog(cmd.Context(), f.log, text)
		return err
	})
}

// monitor makes a monitor if there is none, and follows a log.
func (f *readyFlags) monitor(cmd *cobra.Command, m *monitorFlags) error {
	if (f.log == "") != (f.policy == "") {
		return usagef("--log and --policy go together")
	}
	if f.log == "" {
		return nil
	}
	text, err := readLogPolicy(cmd, f.policy)
	if err != nil {
		return err
	}
	if absent(m.folder()) {
		if err := monitor.Init(m.folder()); err != nil {
			return undecided(err)
		}
	}
	return m.with(monitor.Config{}, func(m *monitor.Monitor) error {
		_, err := m.AddLog(cmd.Context(), f.log, text)
		return err
	})
}
