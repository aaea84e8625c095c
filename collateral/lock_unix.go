//go:build unix

package collateral

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile waits for a file's lock, which keeps processes that share a folder from losing each other's list of what was seen.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f.Close, nil
}
