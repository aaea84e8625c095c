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

func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
