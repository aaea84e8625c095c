package durable

import (
	"errors"
	"os"
)

// ErrLocked says that another has the lock.
var ErrLocked = errors.New("another process uses it")

// Lock waits for the exclusive lock of a file, which it makes, and returns what gives it back.
func Lock(path string) (unlock func() error, err error) { return lock(path, true) }

// TryLock takes the exclusive lock of a file, which it makes. Where another has it, the error is [ErrLocked].
func TryLock(path string) (unlock func() error, err error) { return lock(path, false) }

// openLock opens a lock's file for reading: so it can be had on a disk that cannot be written to, and does not keep one from being made read-only.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
}
