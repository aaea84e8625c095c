package folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
)

// Limits of evidence.
const (
	maxWriters = 64      // at once: each is a thread that waits for the disk
	maxDurable = 1 << 14 // digests remembered as durable
)

// evidence keeps files by digest: DIR/sha256/<two digits>/<64 digits>. Files are made in DIR/tmp.
type evidence struct {
	dir     string
	files   durable.FS
	writers chan struct{} // a token for each writer

	mu      sync.Mutex // guards what follows
	durable map[poclog.Digest]bool
	folders map[string]bool // that are durable
}

func newEvidence(dir string) *evidence {
	return &evidence{
		dir: dir, files: durable.FS{Temp: filepath.Join(dir, "tmp")}, writers: make(chan struct{}, maxWriters),
		durable: make(map[poclog.Digest]bool), folders: make(map[string]bool),
	}
}

func (s *evidence) path(d poclog.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, "sha256", name[:2], name)
}

// sweep makes the folder for unfinished files, and removes what a killed process left there.
func (s *evidence) sweep() error {
	if err := s.files.MkdirAll(s.files.Temp, 0o755); err != nil {
		return err
	}
	return durable.Sweep(s.files.Temp)
}

// Put keeps a file. A file that is there is not written again, and one that was lost since is.
func (s *evidence) Put(_ context.Context, b []byte) (poclog.Blob, error) {
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

// Has reports whether a file is there with its length.
func (s *evidence) Has(_ context.Context, b poclog.Blob) (bool, error) { return s.has(b), nil }

func (s *evidence) has(b poclog.Blob) bool {
	info, err := os.Stat(s.path(b.SHA256))
	return err == nil && info.Mode().IsRegular() && info.Size() == int64(b.Size)
}

func (s *evidence) isDurable(d poclog.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable[d]
}

func (s *evidence) setDurable(d poclog.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) >= maxDurable {
		clear(s.durable)
	}
	s.durable[d] = true
}

// forget has the next Put of a file look again: it is lost or damaged.
func (s *evidence) forget(d poclog.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.durable, d)
}

func (s *evidence) write(path string, b []byte) error {
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
func (s *evidence) folder(dir string) error {
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

// Get reads a file and checks its digest.
func (s *evidence) Get(_ context.Context, d poclog.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.path(d))
	if err != nil {
		return nil, s.lost(d, err)
	}
	if got := poclog.Sum(b); got != d {
		return nil, s.lost(d, fmt.Errorf("the file has digest %s", got))
	}
	return b, nil
}

// Open opens a file of which it has checked the digest. Nobody changes a file in place: what was
// hashed is what is read.
func (s *evidence) Open(_ context.Context, d poclog.Digest) (io.ReadCloser, int64, error) {
	f, size, err := s.open(d)
	if err != nil {
		return nil, 0, err
	}
	return f, size, nil
}

func (s *evidence) open(d poclog.Digest) (f *os.File, size int64, err error) {
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

func (s *evidence) lost(d poclog.Digest, err error) error {
	s.forget(d)
	return fmt.Errorf("evidence %s: %w", d, err)
}
