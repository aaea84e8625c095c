//go:build !unix

package durable

import (
	"os"
	"path/filepath"
	"sync"
	"time"
)

// locks are those of this process. Where there is no flock, two processes must not share a folder.
var locks sync.Map // of *sync.Mutex by path

// TryLock takes the exclusive lock of a file, which it makes. Where another has it, the error is
// [ErrLocked].
func TryLock(path string) (unlock func() error, err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	v, _ := locks.LoadOrStore(path, new(sync.Mutex))
	mu := v.(*sync.Mutex)
	if !mu.TryLock() {
		return nil, &os.PathError{Op: "lock", Path: path, Err: ErrLocked}
	}
	return func() error { mu.Unlock(); return nil }, nil
}

// lockOpen takes a file that was changed within the hour for one that is being written.
func lockOpen(f *os.File) error {
	info, err := f.Stat()
	if err == nil && info.Size() > 0 && time.Since(info.ModTime()) < time.Hour {
		err = ErrLocked
	}
	return err
}
