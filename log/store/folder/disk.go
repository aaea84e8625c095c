package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// minFree is how much space must be left before anything is appended: Tessera stops the process
// where it cannot write, so that the log stops admitting before.
const minFree = 64 << 20

// probeAll probes folders.
func probeAll(dirs ...string) error {
	for _, dir := range dirs {
		if err := probe(dir); err != nil {
			return err
		}
	}
	return nil
}

// leftover is what Tessera leaves in the public folder where it could not write a checkpoint: one a
// second while a disk is full.
var leftover = regexp.MustCompile(`^checkpoint[0-9]+$`)

// sweep removes leftovers that are older than some time: zero where nobody else is writing there.
func sweep(tiles string, age time.Duration) error {
	names, err := os.ReadDir(tiles)
	if err != nil {
		return err
	}
	for _, n := range names {
		if leftover.MatchString(n.Name()) && n.Type().IsRegular() {
			if info, err := n.Info(); err != nil || time.Since(info.ModTime()) < age {
				continue
			}
			if err := os.Remove(filepath.Join(tiles, n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// probe writes, syncs and removes a file. Its folder is hidden: it must not be served.
func probe(dir string) error {
	if free, ok := freeSpace(dir); ok && free < minFree {
		return fmt.Errorf("the disk is full: %d MiB are free, want %d", free>>20, minFree>>20)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("the disk cannot be written to: %w", err)
	}
	_, err = f.Write(make([]byte, 4096))
	if err := errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("the disk cannot be written to: %w", err)
	}
	return nil
}
