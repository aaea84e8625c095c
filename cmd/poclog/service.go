package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness/audit"
)

// serve listens, prints the URL, and serves until the command ends.
func serve(cmd *cobra.Command, listen string, on func(context.Context, net.Listener) error) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return undecided(err)
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "http://%s\n", l.Addr()); err != nil {
		return undecided(errors.Join(err, l.Close()))
	}
	return undecided(on(cmd.Context(), l))
}

// newLogger logs to standard error what an operator acts on.
func newLogger(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}

// auditorKeys are an auditor's own keys and those for trees with exceptions.
func auditorKeys(dir string) ([]string, error) {
	own, except, err := audit.Keys(dir)
	return slices.Concat(own, except), err
}

// printKeys prints the verifier keys of a folder, and their fingerprint.
func printKeys(cmd *cobra.Command, dir string, keysOf func(dir string) ([]string, error)) error {
	keys, err := keysOf(dir)
	if err != nil {
		return undecided(err)
	}
	for _, k := range keys {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), k); err != nil {
			return undecided(err)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "fingerprint of these keys, to compare: %s\n", fingerprint(keys))
	return nil
}

// readLogPolicy reads the tlog-policy of a log that is to be followed, as text.
func readLogPolicy(cmd *cobra.Command, path string) (string, error) {
	if path == "" {
		return "", usagef("give the log's tlog-policy: --policy FILE")
	}
	text, err := readFile(cmd, path, tlogpolicy.MaxPolicy)
	return string(text), err
}
