//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// TryLock takes the exclusive lock of a file, which it makes. Where another has it, the error is
// [ErrLocked].
func TryLock(path string) (unlock func() error, err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	err = lockOpen(f)
	if errors.Is(err, syscall.EBADF) { // NFS gives an exclusive lock only to those who could write
		f.Close()
		if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return nil, err
		}
		err = lockOpen(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// lockOpen locks an open file until it is closed, or returns [ErrLocked].
func lockOpen(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return &os.PathError{Op: "lock", Path: f.Name(), Err: ErrLocked}
		default:
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
