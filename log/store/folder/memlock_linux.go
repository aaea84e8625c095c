package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockInMemory lets the lock of Tessera's state live in memory. Tessera opens it for writing with
// each batch, and ends the process where it cannot: when the disk went read-only between two looks
// at it. A link in the folder leads to a file of this process, which no disk can take away. The
// log's own lock keeps other processes out.
func lockInMemory(state string) (unlock func() error, err error) {
	link := filepath.Join(state, "treeState.lock")
	fd, err := unix.MemfdCreate("poclog-tree", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a lock: %w", err)
	}
	memory := os.NewFile(uintptr(fd), link)
	unlock = func() error {
		err := os.Remove(link)
		if errors.Is(err, os.ErrNotExist) || readOnly(err) {
			err = nil
		}
		return errors.Join(err, memory.Close())
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, memory.Close())
	}
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), link); err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	f, err := os.OpenFile(link, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return func() error { return nil }, errors.Join(os.Remove(link), memory.Close()) // without /proc it is a file, as Tessera makes it
	}
	return unlock, f.Close()
}

// readOnly reports whether a disk could not be written to.
func readOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
