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

// openLock opens a lock's file, also where its disk cannot be written to: those who only read need locks, too.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		if r, rerr := os.Open(path); rerr == nil {
			return r, nil
		}
	}
	return f, err
}
