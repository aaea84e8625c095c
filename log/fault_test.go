package log_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
)

func logConfig() log.Config { return log.Config{UnsafeUnlimited: true} }

// A small file system of its own, so that it can be full or read-only under a running process.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("skipped: a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Faults of a disk, and their reasons.
var faults = []struct {
	name, reason string
	begin, end   func(dir string) error
}{
	{"read-only", "cannot be written", func(dir string) (err error) {
		for range 500 { // busy while a checkpoint is being written
			if err = syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); !errors.Is(err, syscall.EBUSY) {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		return err
	}, func(dir string) error { return syscall.Mount("", dir, "", syscall.MS_REMOUNT, "") }},
	{"full", "full", func(dir string) error {
		f, err := os.Create(filepath.Join(dir, "ballast"))
		if err != nil {
			return err
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		return nil
	}, func(dir string) error { return os.Remove(filepath.Join(dir, "ballast")) }},
}

// A log that cannot write still reads, also if it is started so, and admits without a restart once
// it can write.
func TestLogOnADiskThatCannotBeWrittenToStartsAndReads(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			mount := mountSmall(t, "200m")
			f := newFab()
			dir := filepath.Join(mount, "log")
			if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy()}); err != nil {
				t.Fatal(err)
			}
			l := serve(t, dir, logConfig())
			before := submit(t, l, f.submission(t, 1))
			if err := l.svc.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := fault.begin(mount); err != nil {
				t.Fatal(err)
			}
			l = serve(t, dir, logConfig())
			for _, path := range []string{"/checkpoint", "/tile/0/000.p/2", "/tile/entries/000.p/2", "/v1/evidence/sha256/" + poclog.Sum(f.submission(t, 1).Bundle).String(), "/v1/policy"} {
				if resp, _ := get(t, l.url+path); resp.StatusCode != http.StatusOK {
					t.Errorf("GET %s: %d", path, resp.StatusCode)
				}
			}
			if _, err := l.client.Refresh(t.Context(), before.Receipt); err != nil {
				t.Errorf("a receipt: %v", err)
			}
			if got := submit(t, l, f.submission(t, 1)); got.New {
				t.Error("an entry from before is new")
			}
			if p := problemOf(t, l, f.submission(t, 2)); p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 || !strings.Contains(p.Detail, fault.reason) {
				t.Errorf("%+v: want 503, a reason and Retry-After", p)
			}
			// The disk is tried again each second: a reason may stand there for each of two tries.
			if h := l.health(t); h.Status != "failing" || len(h.Reasons) == 0 || slices.ContainsFunc(h.Reasons, func(r string) bool { return !strings.Contains(r, fault.reason) }) {
				t.Errorf("%+v", h)
			}
			if err := fault.end(mount); err != nil {
				t.Fatal(err)
			}
			waitHealthy(t, l)
			if got := eventually(t, l, f.submission(t, 2)); !got.New || got.Verdict.Index != 2 {
				t.Errorf("after the fault: new %v, entry %d", got.New, got.Verdict.Index)
			}
			if r := l.fsck(t); len(r.Findings) > 0 || r.Configs != 1 {
				t.Errorf("fsck: %+v", r)
			}
		})
	}
}

func TestDiskFaultsAreAnsweredWith503AndLoseNothing(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			mount := mountSmall(t, "200m")
			f := newFab()
			dir := filepath.Join(mount, "log")
			if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy()}); err != nil {
				t.Fatal(err)
			}
			// A database that is open keeps the kernel from making its disk read-only.
			if err := os.Symlink(t.TempDir(), filepath.Join(dir, "state")); err != nil {
				t.Fatal(err)
			}
			cfg := logConfig()
			cfg.Republish = 200 * time.Millisecond // so that publication is tried during the fault
			l := serve(t, dir, cfg)
			before, err := l.client.Submit(t.Context(), f.submission(t, 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := fault.begin(mount); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			_, err = l.client.Submit(t.Context(), f.submission(t, 2))
			var p *client.Problem
			if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, fault.reason) || p.RetryAfter == 0 {
				t.Errorf("with the disk %s: %v: want 503, a reason and Retry-After", fault.name, err)
			}
			time.Sleep(time.Second)
			if p := problemOf(t, l, f.submission(t, 2)); p.Status != http.StatusServiceUnavailable {
				t.Errorf("a second later: %+v", p)
			}
			if resp, err := http.Get(l.url + "/health"); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("health: %v", err)
			} else {
				resp.Body.Close()
			}
			if err := fault.end(mount); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			if _, err := l.client.Submit(t.Context(), f.submission(t, 3)); err != nil {
				t.Errorf("after the fault: %v", err)
			}
			if _, err := l.client.Refresh(t.Context(), before.Receipt); err != nil {
				t.Errorf("an entry from before the fault: %v", err)
			}
			if r := l.fsck(t); len(r.Findings) > 0 {
				t.Errorf("fsck: %+v", r.Findings)
			}
			if err := l.svc.Close(t.Context()); err != nil {
				t.Error(err)
			}
			l = serve(t, dir, cfg)
			if left, err := filepath.Glob(filepath.Join(dir, "tiles", "checkpoint?*")); err != nil || len(left) > 0 {
				t.Errorf("left after a restart: %v %v", left, err)
			}
			if got := submit(t, l, f.submission(t, 3)); got.New {
				t.Error("an entry from before the restart is new")
			}
		})
	}
}
