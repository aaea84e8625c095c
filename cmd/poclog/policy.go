package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// readTlogPolicy finds whose signatures count: the flag, POCLOG_POLICY, or policy.txt in the XDG
// config folder. Without one there is no verdict.
func readTlogPolicy(cmd *cobra.Command, flag string) (*tlogpolicy.Policy, error) {
	path := cmp.Or(flag, os.Getenv("POCLOG_POLICY"))
	if path == "" {
		path = filepath.Join(xdg("XDG_CONFIG_HOME", ".config"), "poclog", "policy.txt")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, hint(usagef("no tlog-policy: nobody said whose signatures count"),
				"--policy FILE, POCLOG_POLICY, or %s; poclog policy add-log policy.txt URL makes one", path)
		}
	}
	text, err := readFile(cmd, path, tlogpolicy.MaxPolicy+1) // one byte more, which Parse refuses by its rule
	if err != nil {
		return nil, err
	}
	p, err := tlogpolicy.Parse(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	for _, d := range p.DoubleCounts() {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: group %q counts %s %d times; poclog policy check says more\n", path, d.Group, d.KeyName, len(d.Members))
	}
	return p, nil
}

// xdg returns a folder of the XDG base directory specification.
func xdg(variable, fallback string) string {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	return filepath.Join(home, fallback)
}

// readAppraisal reads an appraisal policy, or gives the built-in one: production roots, historical
// evidence at level 0.
func readAppraisal(cmd *cobra.Command, path string) (file []byte, p *poclog.Policy, err error) {
	if path == "" {
		p = profile.DefaultPolicy(true)
		file, err = p.Marshal()
		return file, p, err
	}
	if file, err = readFile(cmd, path, poclog.MaxPolicy); err != nil {
		return nil, nil, err
	}
	if p, err = poclog.ParsePolicy(file); err == nil {
		err = profile.CheckPolicy(p)
	}
	if err != nil {
		return nil, nil, usagef("%s: %w", path, err)
	}
	return file, p, nil
}
