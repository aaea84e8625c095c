package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/durable"
)

// A change is one thing that the package does to a file, with the bytes that the file may hold when
// it was stopped on the way.
type change struct {
	name     string
	old, new string // "" is no file
	below    string // the file's folder, which is made
	do       func(fs durable.FS, path string) error
}

// changes work on a file named "file", which holds old; what comes out of each is new.
func changes(t *testing.T) []change {
	return []change{
		{"Create", "", "new", "", func(s durable.FS, p string) error { return s.Create(p, []byte("new"), 0o600) }},
		{"Replace", "old", "new", "", func(s durable.FS, p string) error { return s.Replace(p, []byte("new"), 0o644) }},
		{"Replace nothing", "", "new", "", func(s durable.FS, p string) error { return s.Replace(p, []byte("new"), 0o644) }},
		{"Remove", "old", "", "", func(s durable.FS, p string) error { return s.Remove(p) }},
		{"Rename away", "old", "", "", func(s durable.FS, p string) error { return s.Rename(p, p+".away") }},
		{"Append", "old\n", "old\nnew\n", "", func(s durable.FS, p string) error {
			f, err := os.OpenFile(p, os.O_RDWR|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			return s.Append(f, []byte("new\n"))
		}},
		{"MkdirAll and Create", "", "new", "a/b", func(s durable.FS, p string) error {
			if err := s.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				return err
			}
			return s.Create(p, []byte("new"), 0o600)
		}},
	}
}

// setup makes the folder in which a change begins.
func (c *change) setup(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), c.below, "file")
	if c.old != "" {
		if err := os.WriteFile(path, []byte(c.old), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func wantClean(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, ".poclog-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

var errFault = errors.New("input/output error")

// Each call fails in turn, without effect and with it. The error is told, the file holds the old
// bytes or the new, nothing is left that Sweep does not remove, and a second attempt succeeds.
func TestEveryCallFails(t *testing.T) {
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			faults := 0
			for n := 1; ; n++ {
				path, calls := c.setup(t), 0
				err := c.do(durable.FS{Fault: func(durable.Call, bool) error {
					if calls++; calls == n {
						return errFault
					}
					return nil
				}}, path)
				if calls < n {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				faults++
				if !errors.Is(err, errFault) {
					t.Errorf("fault %d: error %v", n, err)
				}
				if got := content(t, path); got != c.old && got != c.new {
					t.Errorf("fault %d: the file holds %q", n, got)
				}
				if err := durable.Sweep(filepath.Dir(path)); err != nil && c.below == "" {
					t.Error(err)
				}
				wantClean(t, filepath.Dir(path))
				if err := c.do(durable.FS{}, path); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("after fault %d: %v", n, err)
				}
				if got := content(t, path); got != c.new && c.name != "Append" {
					t.Errorf("after fault %d and another attempt: %q", n, got)
				}
			}
			if faults < 4 {
				t.Errorf("%d faults", faults)
			}
		})
	}
}

// died is how a process ends in these tests: it makes no further call.
type died struct{}

// The process ends before and after each call. What it left is swept, and the next process
// succeeds.
func TestDeathAtEveryCall(t *testing.T) {
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			for n, alive := 1, false; !alive; n++ {
				path, calls := c.setup(t), 0
				alive = lives(func() error {
					return c.do(durable.FS{Fault: func(durable.Call, bool) error {
						if calls++; calls >= n {
							panic(died{})
						}
						return nil
					}}, path)
				})
				if got := content(t, path); got != c.old && got != c.new {
					t.Errorf("death at call %d: the file holds %q", n, got)
				}
			}
		})
	}
}

func lives(f func() error) (alive bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(died); !ok {
				panic(p)
			}
			alive = false
		}
	}()
	return f() == nil
}

func TestCreateIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) || content(t, path) != "first" {
		t.Errorf("%v: the file holds %q", err, content(t, path))
	}
	for name, in := range map[string]string{"a link to nothing": "dangling", "a folder": "folder"} {
		p := filepath.Join(filepath.Dir(path), in)
		if in == "folder" {
			if err := os.Mkdir(p, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Symlink("nowhere", p); err != nil {
			t.Fatal(err)
		}
		if err := durable.Create(p, []byte("x"), 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantClean(t, filepath.Dir(path))
}

func TestModesAreThoseGiven(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []fs.FileMode{0o600, 0o644, 0o640} {
		a, b := filepath.Join(dir, fmt.Sprintf("created %o", mode)), filepath.Join(dir, fmt.Sprintf("replaced %o", mode))
		if err := errors.Join(durable.Create(a, nil, mode), os.WriteFile(b, nil, 0o666), durable.Replace(b, nil, mode)); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{a, b} {
			if info, err := os.Stat(p); err != nil || info.Mode() != mode {
				t.Errorf("%s: mode %v: %v", p, info.Mode(), err)
			}
		}
	}
	// The bytes of a secret are never in a file that others can read, under whatever name.
	secret := filepath.Join(dir, "secret")
	fault := func(c durable.Call, made bool) error {
		if c.Op == durable.OpWrite && made {
			if info, err := os.Stat(c.Path); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("while it is written: mode %v: %v", info.Mode(), err)
			}
		}
		return nil
	}
	if err := (durable.FS{Fault: fault}).Replace(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Sweep takes what dead processes left, and neither what is being written nor what others named.
func TestSweepTakesOnlyWhatTheDeadLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, name := range []string{".new-notes", ".poclog-notes", "poclog-unfinished-1", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("another's"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lives(func() error {
		return durable.FS{Fault: func(c durable.Call, made bool) error {
			if c.Op == durable.OpSync || c.Op == durable.OpRemove {
				panic(died{})
			}
			return nil
		}}.Create(path, []byte("half"), 0o600)
	})
	// The dead one's file is still open in this process, as a living one's would be.
	swept := false
	err := durable.FS{Fault: func(c durable.Call, made bool) error {
		if c.Op == durable.OpRename && !made {
			swept = true
			return durable.Sweep(dir)
		}
		return nil
	}}.Replace(path, []byte("new"), 0o600)
	if err != nil || !swept || content(t, path) != "new" {
		t.Fatalf("swept while it was written: %v: %q", err, content(t, path))
	}
	if err := os.WriteFile(filepath.Join(dir, ".poclog-unfinished-77"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Sweep(dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); !strings.HasPrefix(n, ".poclog-unfinished-") {
			names = append(names, n)
		} else if n == ".poclog-unfinished-77" {
			t.Error("what a dead process left is still there")
		}
	}
	if got := strings.Join(names, " "); got != ".new-notes .poclog-notes file notes.txt poclog-unfinished-1" {
		t.Errorf("left: %s", got)
	}
}

func TestUnfinishedFilesHaveAFolderOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	s := durable.FS{Temp: filepath.Join(dir, "tmp")}
	if err := s.MkdirAll(s.Temp, 0o700); err != nil {
		t.Fatal(err)
	}
	s.Fault = func(c durable.Call, _ bool) error {
		if c.Op == durable.OpWrite && filepath.Dir(c.Path) != s.Temp {
			t.Errorf("%s is written", c.Path)
		}
		return nil
	}
	path := filepath.Join(dir, "file")
	if err := errors.Join(s.Create(path, []byte("1"), 0o600), s.Replace(path, []byte("2"), 0o600)); err != nil || content(t, path) != "2" {
		t.Errorf("%v: %q", err, content(t, path))
	}
}

func TestMkdirAllRefusesAFileInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		if err := durable.MkdirAll(dir, 0o700); err == nil {
			t.Errorf("%s is a folder", dir)
		}
	}
}

func TestLocksExclude(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := durable.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.TryLock(path); !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second lock: %v", err)
	}
	got := make(chan error)
	go func() {
		u, err := durable.Lock(path, time.Minute)
		if err == nil {
			err = u()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("the lock was not waited for: %v", err)
	default:
	}
	if _, err := durable.Lock(path, time.Millisecond); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a lock that another keeps: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}
