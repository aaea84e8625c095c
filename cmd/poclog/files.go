package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
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
	b, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err != nil {
		return nil, undecided(fmt.Errorf("read %s: %w", path, err))
	}
	if len(b) > max {
		return nil, fmt.Errorf("%s: over %d bytes", path, max)
	}
	return b, nil
}

// An output is where a command's result goes: the flags -o and --force.
type output struct {
	path  string
	force bool
	mode  os.FileMode // 0 is 0644
	fixed bool        // there is no --force
}

// flags adds -o and --force; name says what is written.
func (o *output) flags(cmd *cobra.Command, name string) {
	cmd.Flags().StringVarP(&o.path, "output", "o", "", "where to write the "+name+` ("-": standard output)`)
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite the output file")
}

// check refuses early what write would refuse after the work was done: what a log has published is not taken back because its receipt finds no room.
func (o *output) check() error {
	if o.path == "" {
		return usagef("say where to write: -o FILE, or -o - for standard output")
	}
	if o.path == "-" {
		return nil
	}
	if _, err := os.Lstat(o.path); err == nil && !o.force {
		return o.exists()
	}
	probe, err := o.temporary()
	if err != nil {
		return err
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

// temporary makes the file that becomes the output once it is whole.
func (o *output) temporary() (*os.File, error) {
	dir := filepath.Dir(o.path)
	f, err := os.CreateTemp(dir, ".poclog-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(undecided(fmt.Errorf("write %s: there is no folder %s", o.path, dir)), "mkdir -p %s", dir)
	}
	if err != nil {
		return nil, undecided(fmt.Errorf("write %s: %w", o.path, err))
	}
	return f, nil
}

// write writes the result. A file appears whole or not at all.
func (o *output) write(cmd *cobra.Command, b []byte) error {
	if o.path == "-" {
		_, err := cmd.OutOrStdout().Write(b)
		return err
	}
	tmp, err := o.temporary()
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	mode := o.mode
	if mode == 0 {
		mode = 0o644
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil && o.force {
		err = os.Rename(tmp.Name(), o.path)
	} else if err == nil {
		err = os.Link(tmp.Name(), o.path)
	}
	if errors.Is(err, fs.ErrExist) {
		return o.exists()
	}
	if err != nil {
		return undecided(err)
	}
	return nil
}
