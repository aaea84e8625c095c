//go:build unix

package monitor

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the exclusive lock of a file, or says that another process has it.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrRunning
	}
	return err
}
