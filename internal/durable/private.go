//go:build unix

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links of a path.
const maxLinks = 40

// CheckPrivate refuses a folder in which others could put, replace or remove files: one that
// another user but root owns, that its group or everybody may write, or that lies below such a
// folder. A sticky folder above it, such as /tmp, is no harm: there only their owners can replace
// files.
func CheckPrivate(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at, rest := "/", elements(dir)
	for links := 0; ; {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if err := checkOwner(at, info); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			if links++; links > maxLinks {
				return fmt.Errorf("%s: too many symbolic links", dir)
			}
			if at, rest = filepath.Dir(at), append(elements(to), rest...); filepath.IsAbs(to) {
				at = "/"
			}
			continue
		}
		if err := checkFolder(at, info, len(rest) == 0); err != nil || len(rest) == 0 {
			return err
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:]
	}
}

// elements splits a path. A path through ".." is resolved from where it leads, as the kernel does.
func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// CheckOwn refuses a file that is no regular one, or that others but root own or can write.
func CheckOwn(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: mode %s: want a regular file", path, info.Mode())
	}
	if err := checkOwner(path, info); err != nil {
		return err
	}
	return checkMode(path, info)
}

func checkOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner is not known", path)
	}
	if me := os.Geteuid(); st.Uid != 0 && st.Uid != uint32(me) {
		return fmt.Errorf("%s belongs to user %d: want user %d or root", path, st.Uid, me)
	}
	return nil
}

func checkFolder(path string, info fs.FileInfo, last bool) error {
	if !info.IsDir() {
		return &os.PathError{Op: "open folder", Path: path, Err: errors.New("it is no folder")}
	}
	if info.Mode()&fs.ModeSticky != 0 && !last {
		return nil
	}
	return checkMode(path, info)
}

func checkMode(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o: others can write it; chmod go-w %s", path, info.Mode().Perm(), path)
	}
	return nil
}
