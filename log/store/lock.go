package store

import (
	"errors"
	"fmt"

	"github.com/poclog/poclog/internal/durable"
)

// LockFiles takes the locks of files, which end with the process: of a folder, and of its guard,
// which keeps copies of one log apart.
func LockFiles(paths ...string) (unlock func() error, err error) {
	var held []func() error
	unlock = func() error {
		var err error
		for _, u := range held {
			err = errors.Join(err, u())
		}
		return err
	}
	for _, path := range paths {
		u, err := durable.TryLock(path)
		if errors.Is(err, durable.ErrLocked) {
			err = fmt.Errorf("%s is locked: another process serves this log", path)
		}
		if err != nil {
			return nil, errors.Join(err, unlock())
		}
		held = append(held, u)
	}
	return unlock, nil
}
