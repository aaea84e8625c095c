// Package durable lists the system calls by which a file survives the end of its process and of the
// machine.
//
//	Create   write an unfinished file, fsync it, link it to its name (an existing file is fs.ErrExist), unlink the unfinished name, fsync the folder
//	Replace  write an unfinished file, fsync it, rename it over its name, fsync the folder
//	Append   write at the end, fsync; after a failure, truncate to the length before
//	Sync     fsync: what another process appended and may have left unsynced
//	Remove   unlink, fsync the folder
//	Rename   rename, fsync both folders
//	MkdirAll mkdir each missing folder and fsync the folder above it
//
// A file is written whole: at each moment its name leads to the old bytes or to the new ones. What
// a function did is durable once it returns nil. After an error either may be there, and trying
// again is safe.
//
// Locks are here too: [Lock] and [TryLock] end with their process.
//
// The functions work on the operating system. The methods of [FS] make the same calls, and tests
// make each of them fail. TestPowerLossLeavesTheOldFileOrTheNew, TestEveryCallFails and
// TestSystemCalls are the evidence.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// unfinished begins the name of a file that is being written. Nothing else is called so, and
// [Sweep] removes nothing else.
const unfinished = ".poclog-unfinished-"

// An Op is a kind of system call.
type Op string

// The calls, in the order in which Create and Replace make them.
const (
	OpCreate   Op = "create" // an unfinished file
	OpWrite    Op = "write"
	OpChmod    Op = "chmod"
	OpSync     Op = "sync"
	OpClose    Op = "close"
	OpLink     Op = "link"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "sync-folder"
	OpMkdir    Op = "mkdir"
	OpTruncate Op = "truncate"
)

// A Call is one system call. To is the second name of a link or a rename.
type Call struct {
	Op       Op
	Path, To string
}

// An FS makes the calls. The zero value is the operating system's file system.
type FS struct {
	// Temp is the folder of unfinished files, in the file system of the files; "" is the folder of
	// each file.
	Temp string
	// Fault is for tests. It sees each call twice: before it is made, and after it was made without
	// an error. Its error takes the place of the call's: a call fails without effect, or fails
	// although it had its effect.
	Fault func(c Call, made bool) error
}

// Create writes a new file, which appears whole or not at all. An existing one is an error that is
// fs.ErrExist.
func Create(path string, b []byte, mode fs.FileMode) error { return FS{}.Create(path, b, mode) }

// Replace writes a file, which holds the old bytes, or was missing, until it holds the new ones.
func Replace(path string, b []byte, mode fs.FileMode) error { return FS{}.Replace(path, b, mode) }

// MkdirAll makes a folder, and those above it that are missing.
func MkdirAll(dir string, mode fs.FileMode) error { return FS{}.MkdirAll(dir, mode) }

func (s FS) call(c Call, do func() error) error {
	if s.Fault == nil {
		return do()
	}
	if err := s.Fault(c, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.Fault(c, true)
}

// Create is the function of that name.
func (s FS) Create(path string, b []byte, mode fs.FileMode) error {
	return s.write(path, b, mode, func(tmp string) error {
		err := s.call(Call{OpLink, tmp, path}, func() error { return os.Link(tmp, path) })
		rerr := s.remove(tmp) // Sweep removes it otherwise
		if err != nil {
			return err
		}
		return rerr
	})
}

// Replace is the function of that name.
func (s FS) Replace(path string, b []byte, mode fs.FileMode) error {
	return s.write(path, b, mode, func(tmp string) error {
		err := s.rename(tmp, path)
		if err != nil {
			_ = s.remove(tmp) // Sweep removes it otherwise
		}
		return err
	})
}

// write makes an unfinished file, gives it its name, and makes that durable. The file stays locked
// until it has its name, so that nobody sweeps it.
func (s FS) write(path string, b []byte, mode fs.FileMode, name func(tmp string) error) error {
	dir := s.Temp
	if dir == "" {
		dir = filepath.Dir(path)
	}
	var f *os.File
	defer func() {
		if f != nil {
			f.Close() // for a hook that panics: the lock ends as with a process
		}
	}()
	err := s.call(Call{Op: OpCreate, Path: dir}, func() (err error) { f, err = createUnfinished(dir); return err })
	if f == nil {
		return err
	}
	tmp := f.Name()
	if err == nil {
		err = s.fill(f, b, mode)
	}
	if err != nil {
		_ = s.remove(tmp) // Sweep removes it otherwise
	} else {
		err = name(tmp)
	}
	err = errors.Join(err, s.call(Call{Op: OpClose, Path: tmp}, f.Close))
	if err != nil {
		return err
	}
	return s.SyncDir(filepath.Dir(path))
}

// fill makes the bytes of an unfinished file durable.
func (s FS) fill(f *os.File, b []byte, mode fs.FileMode) error {
	err := s.call(Call{Op: OpWrite, Path: f.Name()}, func() error { _, err := f.Write(b); return err })
	if err == nil {
		err = s.call(Call{Op: OpChmod, Path: f.Name()}, func() error { return f.Chmod(mode) })
	}
	if err == nil {
		err = s.call(Call{Op: OpSync, Path: f.Name()}, f.Sync)
	}
	return err
}

func (s FS) remove(path string) error {
	return s.call(Call{Op: OpRemove, Path: path}, func() error { return os.Remove(path) })
}

func (s FS) rename(from, to string) error {
	return s.call(Call{OpRename, from, to}, func() error { return os.Rename(from, to) })
}

// Append is the function of that name.
func (s FS) Append(f *os.File, b []byte) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	err = s.call(Call{Op: OpWrite, Path: f.Name()}, func() error { _, err := f.Write(b); return err })
	if err == nil {
		err = s.call(Call{Op: OpSync, Path: f.Name()}, f.Sync)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, s.call(Call{Op: OpTruncate, Path: f.Name()}, func() error { return f.Truncate(end) }))
}

// Sync is the function of that name.
func (s FS) Sync(path string) error {
	return s.call(Call{Op: OpSync, Path: path}, func() error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// Remove removes a file.
func (s FS) Remove(path string) error {
	if err := s.remove(path); err != nil {
		return err
	}
	return s.SyncDir(filepath.Dir(path))
}

// Rename gives a file another name. A file of that name is replaced.
func (s FS) Rename(from, to string) error {
	if err := s.rename(from, to); err != nil {
		return err
	}
	err := s.SyncDir(filepath.Dir(to))
	if filepath.Dir(from) != filepath.Dir(to) {
		err = errors.Join(err, s.SyncDir(filepath.Dir(from)))
	}
	return err
}

// MkdirAll is the function of that name. The folder above the last one that was there is synced
// too: the process that made it may have been stopped before it did so.
func (s FS) MkdirAll(dir string, mode fs.FileMode) error {
	dir = filepath.Clean(dir)
	above := filepath.Dir(dir)
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("make folder %s: it is no folder", dir)
	case err == nil:
		err := s.SyncDir(above)
		if errors.Is(err, fs.ErrPermission) {
			return nil // it is another's folder: not made from here
		}
		return err
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if above != dir {
		if err := s.MkdirAll(above, mode); err != nil {
			return err
		}
	}
	err = s.call(Call{Op: OpMkdir, Path: dir}, func() error { return os.Mkdir(dir, mode) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.SyncDir(above)
}

// SyncDir is the function of that name.
func (s FS) SyncDir(dir string) error {
	return s.call(Call{Op: OpSyncDir, Path: dir}, func() error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	})
}
