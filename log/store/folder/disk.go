package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// minFree is how much space must be left before anything is appended: Tessera stops the process
// where it cannot write, so that the log stops admitting before.
const minFree = 64 << 20

// probeInterval is how long a probe of the disk holds.
const probeInterval = 100 * time.Millisecond

// probePatience is how long a probe is waited for. A disk that answers later cannot be written to.
const probePatience = 2 * time.Second

// A disk says whether folders can be written to.
type disk struct {
	dirs  []string
	probe func(dir string) error

	mu      sync.Mutex // guards what follows, and is not held while a disk is waited for
	at      time.Time  // of the last result
	err     error
	probing chan struct{} // closed when the probe that runs has ended; nil: none runs
}

func newDisk(dirs ...string) *disk { return &disk{dirs: dirs, probe: probe} }

// check probes the disk, or repeats a probe's result that is not older than probeInterval.
func (d *disk) check() error {
	d.mu.Lock()
	if time.Since(d.at) < probeInterval {
		defer d.mu.Unlock()
		return d.err
	}
	if d.probing == nil {
		d.probing = make(chan struct{})
		go d.run(d.probing)
	}
	running := d.probing
	d.mu.Unlock()
	select {
	case <-running:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.err
	case <-time.After(probePatience):
		return fmt.Errorf("the disk cannot be written to: it does not answer within %s", probePatience)
	}
}

func (d *disk) run(ended chan struct{}) {
	var err error
	for _, dir := range d.dirs {
		if err = d.probe(dir); err != nil {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.err, d.probing = time.Now(), err, nil
	close(ended)
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
