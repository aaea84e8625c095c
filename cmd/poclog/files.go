package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/publish/importer"
)

// readFile reads a file, or standard input for "-", of at most max bytes.
func readFile(cmd *cobra.Command, path string, max int) ([]byte, error) {
	var r io.Reader = cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, undecided(err)
		}
		defer f.Close()
		r = f
	}
	b, err := interruptible(cmd.Context(), func() ([]byte, error) { return io.ReadAll(io.LimitReader(r, int64(max)+1)) })
	if err != nil {
		return nil, undecided(fmt.Errorf("read %s: %w", path, err))
	}
	if len(b) > max {
		return nil, fmt.Errorf("%s: over %d bytes", path, max)
	}
	return b, nil
}

// readOptional is readFile of a file that need not be named: "" is none.
func readOptional(cmd *cobra.Command, path string, max int) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	return readFile(cmd, path, max)
}

// readUserData is the digest of what a proof is to speak for, or of nothing.
func readUserData(cmd *cobra.Command, path string) (poclog.Digest, error) {
	b, err := readOptional(cmd, path, maxUserData)
	return poclog.Sum(b), err
}

const maxUserData = 1 << 24

// readBundle reads a bundle that a flag or an argument names.
func readBundle(cmd *cobra.Command, path string) (*poclog.Bundle, error) {
	file, err := readFile(cmd, path, poclog.MaxBundle)
	if err != nil {
		return nil, err
	}
	b, err := poclog.ParseBundle(file)
	return b, wrongInput(path, file, importer.KindBundle, err)
}

// readCollateral reads a collateral file that a flag or an argument names.
func readCollateral(cmd *cobra.Command, path string) (file []byte, c *poclog.Collateral, err error) {
	if file, err = readFile(cmd, path, poclog.MaxCollateral); err != nil {
		return nil, nil, err
	}
	c, err = poclog.ParseCollateral(file)
	return file, c, wrongInput(path, file, importer.KindCollateral, err)
}

// rawOutput is standard output for the bytes of files. A terminal gets them as text.
func rawOutput(cmd *cobra.Command) io.Writer {
	raw := terminal.Unwrap(cmd.OutOrStdout())
	if isTerminal(raw) {
		return cmd.OutOrStdout()
	}
	return raw
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// An output is where a command's result goes: the flags -o and --force.
type output struct {
	path  string
	force bool
	mode  os.FileMode // 0 is 0644
	fixed bool        // there is no --force
	both  bool        // --force is another output's, too
}

// flags adds -o and --force; name says what is written.
func (o *output) flags(cmd *cobra.Command, name string) {
	cmd.Flags().StringVarP(&o.path, "output", "o", "", "where to write the "+name+` ("-": standard output)`)
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite the output file")
}

// words is where the command talks to people: beside the result if that is on standard output.
func (o *output) words(cmd *cobra.Command) io.Writer {
	if o.path == "-" {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

// checkIfNamed is check of an output that need not be named.
func (o *output) checkIfNamed() error {
	if o.path == "" {
		return nil
	}
	return o.check()
}

// check refuses early what write would refuse after the work was done: what a log has published is
// not taken back because its receipt finds no room.
func (o *output) check() error {
	if o.path == "" {
		return usagef("say where to write: -o FILE, or -o - for standard output")
	}
	if o.path == "-" && o.force && !o.both {
		return usagef("--force: standard output is not overwritten")
	}
	if o.path == "-" {
		return nil
	}
	if info, err := os.Lstat(o.path); err == nil && !o.force {
		return o.exists()
	} else if err == nil && !info.Mode().IsRegular() {
		return usagef("%s is no regular file: --force would replace it", o.path)
	}
	probe, err := os.CreateTemp(filepath.Dir(o.path), ".poclog-probe-*")
	if err != nil {
		return o.failed(err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

func (o *output) exists() error {
	err := usagef("%s exists", o.path)
	if o.fixed {
		return err
	}
	return hint(err, "--force overwrites it")
}

// failed says why the file cannot be written.
func (o *output) failed(err error) error {
	dir := filepath.Dir(o.path)
	if _, serr := os.Stat(dir); errors.Is(serr, fs.ErrNotExist) {
		return hint(undecided(fmt.Errorf("write %s: there is no folder %s", o.path, dir)), "mkdir -p %s", dir)
	}
	return undecided(fmt.Errorf("write %s: %w", o.path, err))
}

// keep writes one of our files.
func (o *output) keep(cmd *cobra.Command, v interface{ Marshal() ([]byte, error) }) error {
	file, err := v.Marshal()
	if err != nil {
		return err
	}
	return o.write(cmd, file)
}

// write writes the result. A file appears whole or not at all.
func (o *output) write(cmd *cobra.Command, b []byte) error {
	if o.path == "-" {
		_, err := rawOutput(cmd).Write(b)
		return err
	}
	put := durable.Create
	if o.force {
		put = durable.Replace
	}
	err := put(o.path, b, cmp.Or(o.mode, 0o644))
	if errors.Is(err, fs.ErrExist) {
		return o.exists()
	}
	if err != nil {
		return o.failed(err)
	}
	return nil
}
