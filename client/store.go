package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/receipt"
)

// A CheckpointStore remembers the largest checkpoint seen of each log, and keeps evidence.
// clienttest.TestStore is its conformance test. Its methods may be called concurrently, also by
// several processes.
type CheckpointStore interface {
	// Load returns the signed checkpoint that is remembered for an origin, or nothing if there is
	// none. Its error wraps ErrDamaged if there is something that cannot be one.
	Load(origin string) ([]byte, error)
	// Replace remembers next, durably once it returns true, if seen is what is remembered;
	// otherwise it returns false.
	Replace(origin string, seen, next []byte) (bool, error)
	// Keep stores a split view's file durably and returns its name for people. Keeping the same
	// file again is no error.
	Keep(origin string, splitView []byte) (name string, err error)
	// Name returns for people where the checkpoint of an origin is remembered, such as a file.
	Name(origin string) string
}

// lockPatience bounds the wait for another process that replaces a checkpoint: it holds the lock
// for some writes.
const lockPatience = 10 * time.Second

// A FileStore is a CheckpointStore in a folder: a file for each origin, and one for each split
// view.
type FileStore struct{ dir string }

// NewFileStore returns the store in a folder, which it creates if there is none.
func NewFileStore(dir string) (*FileStore, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("checkpoint store: %w", err)
	}
	return &FileStore{dir: dir}, nil
}

// path names a file of an origin: origins hold slashes, and worse.
func (s *FileStore) path(origin, suffix string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+suffix)
}

// Name implements [CheckpointStore].
func (s *FileStore) Name(origin string) string { return s.path(origin, ".checkpoint") }

// Load implements [CheckpointStore].
func (s *FileStore) Load(origin string) ([]byte, error) {
	f, err := os.Open(s.path(origin, ".checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint store: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, poclog.MaxChallenge+1))
	if err != nil {
		return nil, fmt.Errorf("checkpoint store: %w", err)
	}
	if len(b) == 0 || len(b) > poclog.MaxChallenge {
		// An emptied file must not read as "nothing seen": that would forget the history.
		return nil, fmt.Errorf("checkpoint store: %s: %d bytes are %w", f.Name(), len(b), ErrDamaged)
	}
	return b, nil
}

// Replace implements [CheckpointStore].
func (s *FileStore) Replace(origin string, seen, next []byte) (bool, error) {
	unlock, err := durable.Lock(filepath.Join(s.dir, "lock"), lockPatience)
	if err != nil {
		return false, fmt.Errorf("checkpoint store: %w", err)
	}
	defer unlock() // the lock ends with the process in any case
	now, err := s.Load(origin)
	if err != nil || !bytes.Equal(now, seen) {
		return false, err
	}
	if err := durable.Replace(s.path(origin, ".checkpoint"), next, 0o600); err != nil {
		return false, fmt.Errorf("checkpoint store: %w", err)
	}
	return true, nil
}

// Keep implements [CheckpointStore].
func (s *FileStore) Keep(origin string, splitView []byte) (string, error) {
	if len(splitView) > receipt.MaxSplitView {
		return "", fmt.Errorf("checkpoint store: split view of %d bytes: want at most %d", len(splitView), receipt.MaxSplitView)
	}
	sum := sha256.Sum256(splitView)
	path := s.path(origin, "-"+hex.EncodeToString(sum[:8])+".split-view.json")
	if err := durable.Replace(path, splitView, 0o600); err != nil {
		return "", fmt.Errorf("checkpoint store: %w", err)
	}
	return path, nil
}
