package durable

import (
	"errors"
	"os"
	"time"
)

// ErrLocked says that another has the lock.
var ErrLocked = errors.New("another process uses it")

// Lock waits for the exclusive lock of a file, which it makes, and returns what gives it back.
// Where another process keeps it for longer than patience, because it was stopped or its disk does
// not answer, the error is [ErrLocked].
//
// Nobody waits here while he holds a mutex that others need: what another process does would stop
// them.
func Lock(path string, patience time.Duration) (unlock func() error, err error) {
	end := time.NewTimer(patience)
	defer end.Stop()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		unlock, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return unlock, err
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
		case <-end.C:
			next.Stop()
			return nil, err
		}
	}
}

// Pauses between two attempts.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

// openLock opens a lock's file for reading: so it can be had on a disk that cannot be written to,
// and does not keep one from being made read-only.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
}
