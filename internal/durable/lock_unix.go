//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

func lock(path string, wait bool) (unlock func() error, err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	err = flock(f, how)
	if errors.Is(err, syscall.EBADF) { // NFS gives an exclusive lock only to those who could write
		f.Close()
		if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return nil, err
		}
		err = flock(f, how)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f.Close, nil
}

// lockOpen locks an open file until it is closed, or returns [ErrLocked].
func lockOpen(f *os.File) error { return flock(f, syscall.LOCK_EX|syscall.LOCK_NB) }

func flock(f *os.File, how int) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
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
