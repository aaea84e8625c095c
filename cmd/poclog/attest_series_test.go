package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// series makes a state's folder whose window has just begun and lasts for an hour.
func (s *scene) series() string {
	s.t.Helper()
	dir := s.t.TempDir()
	text := fmt.Sprintf(`{"v":1,"log":%q,"seed":%d}`, s.url, time.Now().Unix()%3600)
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func receipts(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "2*.tlog-proof"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// a service is `poclog attest --every`, in a process.
type service struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	ended  chan struct{}
}

func (s *scene) start(program string, args ...string) *service {
	s.t.Helper()
	p := &service{cmd: exec.Command(program, args...), stderr: new(bytes.Buffer), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = s.env, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace blocks signals of its own
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is looked at later
		close(p.ended)
	}()
	s.t.Cleanup(func() { p.signal(syscall.SIGKILL) })
	return p
}

// signal sends a signal to the process and to those that it started, if they still run, and waits
// until it has ended.
func (p *service) signal(sig syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, sig) // it may have ended
	<-p.ended
}

func (s *scene) every(dir, every string) *service {
	s.t.Helper()
	return s.start(program(s.t, guestProgram), append(s.flags, "--yes", "--every", every, "--state", dir)...)
}

// waitFor waits until something holds, or the test's patience ends.
func (s *scene) waitFor(what string, p *service, holds func() bool) {
	s.t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		select {
		case <-p.ended:
			s.t.Fatalf("%s: the process ended: %s", what, p.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s: not in a minute", what)
}

// finish lets a service run until its window has its proof, and stops it.
func (s *scene) finish(dir string) {
	s.t.Helper()
	p := s.every(dir, "1h")
	s.waitFor("a receipt", p, func() bool { return s.settled(dir) && fileExists(filepath.Join(dir, "latest.tlog-proof")) })
	p.signal(syscall.SIGTERM)
}

// wantOneProof holds that a window has one proof, in the log and in the folder.
func (s *scene) wantOneProof(dir string, before int) {
	s.t.Helper()
	list := receipts(s.t, dir)
	if got := s.proofs() - before; got != 1 || len(list) != 1 {
		s.t.Fatalf("%d entries and receipts %v for one window", got, list)
	}
	s.verify(list[0], nil)
	s.verify(filepath.Join(dir, "latest.tlog-proof"), nil)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.bundle.json")); len(left) > 0 {
		s.t.Errorf("left over: %v", left)
	}
}

// The process is killed by SIGKILL at moments all over a window's work, more than once, and started
// again: the window has one proof.
func TestKilledAnywhereNoWindowIsDoubledOrLost(t *testing.T) {
	s := managedScene(t, false)
	for round := range 6 {
		dir, before := s.series(), s.proofs()
		for range 3 {
			p := s.every(dir, "1h")
			time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
			p.signal(syscall.SIGKILL)
			s.g.V.Unload() // as the kernel does for a process that ends
			if round%2 == 0 {
				break
			}
		}
		s.finish(dir)
		s.wantOneProof(dir, before)
	}
}

// The kernel itself kills the process at the n-th of the system calls by which the state is kept,
// before it is made; for every n.
func TestKilledAtEveryDurableStepNoWindowIsDoubledOrLost(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		t.Skipf("skipped: strace does not run here: %v", err)
	}
	s := managedScene(t, false)
	kills := 0
	for _, call := range []string{"fsync", "renameat", "unlinkat"} {
		for n := 1; n <= 24; n++ {
			dir, before := s.series(), s.proofs()
			args := []string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), program(t, guestProgram)}
			p := s.start(strace, append(append(args, s.flags...), "--yes", "--every", "1h", "--state", dir)...)
			done := false
			s.waitForEnd(p, func() bool { done = s.settled(dir); return done })
			p.signal(syscall.SIGTERM)
			s.g.V.Unload()
			s.finish(dir)
			s.wantOneProof(dir, before)
			if done {
				break // it makes no more of these calls
			}
			kills++
		}
	}
	if kills < 5 {
		t.Errorf("%d kills: want one at each step", kills)
	}
}

// settled reports whether a window has its receipt, and its bundle has gone.
func (s *scene) settled(dir string) bool {
	left, err := filepath.Glob(filepath.Join(dir, "*.bundle.json"))
	return err == nil && len(left) == 0 && len(receipts(s.t, dir)) > 0
}

// waitForEnd waits until a process ends or something holds.
func (s *scene) waitForEnd(p *service, holds func() bool) {
	s.t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		select {
		case <-p.ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.t.Fatal("neither an end nor a receipt in a minute")
}

// The log is killed in the middle of a service, and comes back.
func TestServiceSurvivesAnOutageOfTheLog(t *testing.T) {
	s := managedScene(t, false)
	dir := t.TempDir()
	p := s.every(dir, "1s")
	s.waitFor("two receipts", p, func() bool { return len(receipts(t, dir)) >= 2 })
	s.stopLog()
	have := len(receipts(t, dir))
	_, err := http.Get(s.url + "/health")
	if err == nil {
		t.Fatal("the log still answers")
	}
	time.Sleep(3 * time.Second)
	s.startLog()
	s.waitFor("receipts after the outage", p, func() bool { return len(receipts(t, dir)) >= have+2 })
	p.signal(syscall.SIGTERM)
	s.g.V.Unload()
	if status := p.cmd.ProcessState.ExitCode(); status != 0 || !strings.Contains(p.stderr.String(), "before have no proof") {
		t.Errorf("status %d: %s", status, p.stderr)
	}
	// What was on its way when the service stopped is finished by the next.
	next := s.every(dir, "1h")
	s.waitFor("the rest", next, func() bool { return s.settled(dir) })
	next.signal(syscall.SIGKILL)
	seen := make(map[uint64]bool)
	for _, path := range receipts(t, dir) {
		v := s.verify(path, nil)
		if seen[v.Index] {
			t.Errorf("%s: entry %d has two receipts", path, v.Index)
		}
		seen[v.Index] = true
	}
	if s.proofs() < len(seen) || s.proofs() > len(seen)+1 { // the last process may have begun another
		t.Errorf("%d entries, %d receipts", s.proofs(), len(seen))
	}
}
