package log

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
)

// A disk that goes read-only between two looks at it must not end the process, which can still
// read.
func TestEntryForATreeThatWentReadOnlyIsAnError(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=100m"); err != nil {
		t.Skipf("skipped: a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "log")
	guard := filepath.Join(t.TempDir(), "guard")
	if err := Init(dir, InitOptions{Origin: "log.test", Policy: profile.DefaultPolicy(true), Guard: guard}); err != nil {
		t.Fatal(err)
	}
	// A database that is open keeps the kernel from making its disk read-only.
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, dirState)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir, Config{Software: "test", Guard: guard, CheckpointInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		t.Helper()
		for err = syscall.EBUSY; err == syscall.EBUSY; time.Sleep(time.Millisecond) {
			err = syscall.Mount("", mount, "", syscall.MS_REMOUNT|flags, "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	c := poclog.Config{Policy: poclog.BlobOf(s.rules.file), Software: "other", Time: poclog.UnixTime(time.Now().Unix())}
	leaf, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.append(t.Context(), leaf, poclog.Leaf{Config: &c}, nothing); err == nil {
		t.Error("an entry was written to a read-only disk")
	}
	remount(0)
	if number, _, err := s.append(t.Context(), leaf, poclog.Leaf{Config: &c}, nothing); err != nil || number != 1 {
		t.Errorf("after it: entry %d, %v", number, err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
