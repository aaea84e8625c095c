package log

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/poclog/poclog"
)

// Limits of a store.
const (
	maxWriters = 64      // at once: each is a thread that waits for the disk
	maxDurable = 1 << 14 // digests remembered as durable
)

// A store keeps evidence by digest: DIR/sha256/<two digits>/<64 digits>. Files are made in DIR/tmp.
type store struct {
	dir     string
	writers chan struct{} // a token for each writer

	mu      sync.Mutex // guards durable
	durable map[poclog.Digest]bool
}

func newStore(dir string) *store {
	return &store{dir: dir, writers: make(chan struct{}, maxWriters), durable: make(map[poclog.Digest]bool)}
}

func (s *store) path(d poclog.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, "sha256", name[:2], name)
}

func (s *store) tmp() string { return filepath.Join(s.dir, "tmp") }

// sweep makes the folder for temporary files, and removes what a killed process left there.
func (s *store) sweep() error {
	if err := makeDirs(s.dir, s.tmp()); err != nil {
		return err
	}
	names, err := os.ReadDir(s.tmp())
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := os.Remove(filepath.Join(s.tmp(), n.Name())); err != nil {
			return err
		}
	}
	return nil
}

// put keeps a file. It is durable once put returns; a file that is there is not written again.
func (s *store) put(b []byte) (poclog.Blob, error) {
	blob := poclog.BlobOf(b)
	if s.isDurable(blob.SHA256) {
		return blob, nil
	}
	s.writers <- struct{}{}
	defer func() { <-s.writers }()
	path := s.path(blob.SHA256)
	var err error
	if have, e := os.ReadFile(path); e == nil && bytes.Equal(have, b) {
		// Who linked it may not have synced the folder yet, or have been killed before.
		err = syncDir(filepath.Dir(path))
	} else {
		err = s.write(path, b)
	}
	if err != nil {
		return blob, fmt.Errorf("keep evidence: %w", err)
	}
	s.setDurable(blob.SHA256)
	return blob, nil
}

func (s *store) isDurable(d poclog.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable[d]
}

func (s *store) setDurable(d poclog.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) >= maxDurable {
		clear(s.durable)
	}
	s.durable[d] = true
}

func (s *store) write(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := makeDirs(s.dir, dir); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.tmp(), "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		// It was linked meanwhile, or is damaged; this one is right in either case.
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDirs makes the folders from root down to dir, durably.
func makeDirs(root, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if dir != root {
		if err := makeDirs(root, filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// get reads a file and checks its digest.
func (s *store) get(d poclog.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.path(d))
	if err != nil {
		return nil, err
	}
	if got := poclog.Sum(b); got != d {
		return nil, fmt.Errorf("evidence %s: the file has digest %s", d, got)
	}
	return b, nil
}

// withheld reads the list of digests that a law withholds. A line that is no digest is an error: nothing is published by a slip.
func withheld(path string) (map[poclog.Digest]bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list := make(map[poclog.Digest]bool)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d, err := poclog.ParseDigest(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list[d] = true
	}
	return list, nil
}
