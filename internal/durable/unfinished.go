package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// createUnfinished makes a file for its owner alone, and locks it: a file whose lock is free was
// left by a process that ended.
func createUnfinished(dir string) (*os.File, error) {
	for range 100 {
		f, err := os.CreateTemp(dir, unfinished+"*")
		if err != nil {
			return nil, err
		}
		err = lockOpen(f)
		if err == nil && named(f) {
			return f, nil
		}
		err = errors.Join(err, f.Close())
		if err != nil {
			return nil, errors.Join(err, os.Remove(f.Name()))
		}
		// It was swept between the two calls: once more.
	}
	return nil, fmt.Errorf("make a file in %s: others remove it again and again", dir)
}

// named reports whether a file still has the name under which it was opened.
func named(f *os.File) bool {
	a, err := f.Stat()
	b, err2 := os.Lstat(f.Name())
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// Sweep removes unfinished files of processes that have ended from a folder. It leaves alone what a
// running process writes, and every file of another name.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) || !e.Type().IsRegular() {
			continue
		}
		if err := sweep(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sweep(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockOpen(f); errors.Is(err, ErrLocked) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Remove(path)
}
