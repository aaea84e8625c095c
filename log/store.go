package log

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
)

// Limits of a store.
const (
	maxWriters = 64      // at once: each is a thread that waits for the disk
	maxDurable = 1 << 14 // digests remembered as durable
)

// A store keeps evidence by digest: DIR/sha256/<two digits>/<64 digits>. Files are made in DIR/tmp.
type store struct {
	dir     string
	files   durable.FS
	writers chan struct{} // a token for each writer

	mu      sync.Mutex // guards what follows
	durable map[poclog.Digest]bool
	folders map[string]bool // that are durable
}

func newStore(dir string) *store {
	return &store{
		dir: dir, files: durable.FS{Temp: filepath.Join(dir, "tmp")}, writers: make(chan struct{}, maxWriters),
		durable: make(map[poclog.Digest]bool), folders: make(map[string]bool),
	}
}

func (s *store) path(d poclog.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, "sha256", name[:2], name)
}

// sweep makes the folder for unfinished files, and removes what a killed process left there.
func (s *store) sweep() error {
	if err := s.files.MkdirAll(s.files.Temp, 0o755); err != nil {
		return err
	}
	return durable.Sweep(s.files.Temp)
}

// put keeps a file. It is durable once put returns; a file that is there is not written again, and
// one that was lost since is.
func (s *store) put(b []byte) (poclog.Blob, error) {
	blob := poclog.BlobOf(b)
	if s.isDurable(blob.SHA256) && s.has(blob) {
		return blob, nil
	}
	s.writers <- struct{}{}
	defer func() { <-s.writers }()
	path := s.path(blob.SHA256)
	var err error
	if have, e := os.ReadFile(path); e == nil && bytes.Equal(have, b) {
		// Who linked it may not have synced the folder yet, or have been killed before.
		err = s.files.SyncDir(filepath.Dir(path))
	} else {
		err = s.write(path, b)
	}
	if err != nil {
		return blob, fmt.Errorf("keep evidence: %w", err)
	}
	s.setDurable(blob.SHA256)
	return blob, nil
}

// has reports whether a file is there with its length.
func (s *store) has(b poclog.Blob) bool {
	info, err := os.Stat(s.path(b.SHA256))
	return err == nil && info.Mode().IsRegular() && info.Size() == int64(b.Size)
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

// forget has the next put of a file look again: it is lost or damaged.
func (s *store) forget(d poclog.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.durable, d)
}

func (s *store) write(path string, b []byte) error {
	if err := s.folder(filepath.Dir(path)); err != nil {
		return err
	}
	err := s.files.Create(path, b, 0o644)
	if errors.Is(err, fs.ErrExist) {
		// It was linked meanwhile, or is damaged; this one is right in either case.
		err = s.files.Replace(path, b, 0o644)
	}
	return err
}

// folder makes a folder durably, once for each process: there are 256 of them.
func (s *store) folder(dir string) error {
	s.mu.Lock()
	made := s.folders[dir]
	s.mu.Unlock()
	if made {
		return nil
	}
	if err := s.files.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folders[dir] = true
	return nil
}

// get reads a file and checks its digest.
func (s *store) get(d poclog.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.path(d))
	if err != nil {
		return nil, s.lost(d, err)
	}
	if got := poclog.Sum(b); got != d {
		return nil, s.lost(d, fmt.Errorf("the file has digest %s", got))
	}
	return b, nil
}

// open opens a file of which it has checked the digest. Nobody changes a file in place: what was
// hashed is what is read.
func (s *store) open(d poclog.Digest) (f *os.File, size int64, err error) {
	if f, err = os.Open(s.path(d)); err != nil {
		return nil, 0, s.lost(d, err)
	}
	defer func() {
		if err != nil {
			f, err = nil, errors.Join(s.lost(d, err), f.Close())
		}
	}()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return f, 0, err
	}
	if got := poclog.Digest(h.Sum(nil)); got != d {
		return f, 0, fmt.Errorf("the file has digest %s", got)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, size, err
}

func (s *store) lost(d poclog.Digest, err error) error {
	s.forget(d)
	return fmt.Errorf("evidence %s: %w", d, err)
}

// withheld reads the list of digests that a law withholds. What is not understood whole is an
// error: nothing is published by a slip.
func withheld(path string) (map[poclog.Digest]bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is withheld: %w", err)
	}
	list := make(map[poclog.Digest]bool)
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d, err := poclog.ParseDigest(line)
		if err != nil {
			return nil, fmt.Errorf("read what is withheld: %s, line %d: %w", path, number, err)
		}
		list[d] = true
	}
	return list, nil
}
