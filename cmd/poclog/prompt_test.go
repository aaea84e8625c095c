//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"
)

// A console is a terminal with a command at it.
type console struct {
	t        *testing.T
	keyboard *os.File // the terminal's other side
	tty      *os.File
	cmd      *exec.Cmd

	mu    sync.Mutex // guards shown
	shown bytes.Buffer
}

func ioctl(f *os.File, request, arg uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, arg); errno != 0 {
		return errno
	}
	return nil
}

// atConsole starts a command at a new terminal.
func atConsole(t *testing.T, env []string, args ...string) *console {
	t.Helper()
	fd, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("skipped: no terminal can be made here: %v", err)
	}
	c := &console{t: t, keyboard: os.NewFile(uintptr(fd), "ptmx")}
	t.Cleanup(func() { c.keyboard.Close() })
	var unlock, n int32
	if err := ioctl(c.keyboard, syscall.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlock))); err != nil {
		t.Fatal(err)
	}
	if err := ioctl(c.keyboard, syscall.TIOCGPTN, uintptr(unsafe.Pointer(&n))); err != nil {
		t.Fatal(err)
	}
	if c.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.tty.Close() })
	c.cmd = exec.Command(program(t, "poclog"), args...)
	c.cmd.Env, c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = env, c.tty, c.tty, c.tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.keyboard.Read(b)
			c.mu.Lock()
			c.shown.Write(b[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

// answer waits for a question, and types.
func (c *console) answer(question, keys string) {
	c.t.Helper()
	for range 3000 {
		if strings.Contains(c.text(), question) {
			if _, err := c.keyboard.WriteString(keys); err != nil {
				c.t.Fatal(err)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatalf("%q is not asked: %s", question, c.text())
}

// status waits for the command's end.
func (c *console) status() int {
	c.t.Helper()
	done := make(chan struct{})
	go func() {
		_ = c.cmd.Wait() // the status says how it ended
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill() // it does not end by itself
		<-done
		c.t.Errorf("the command goes on: %s", c.text())
	}
	return c.cmd.ProcessState.ExitCode()
}

// says reports whether a text appears: the terminal gives it later than the process ends.
func (c *console) says(text string) bool {
	for range 300 {
		if strings.Contains(c.text(), text) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

const interrupt = "\x03" // Ctrl-C

func TestInterruptEndsAQuestion(t *testing.T) {
	s := managedScene(t, false)
	dir := t.TempDir()
	bundle := filepath.Join(dir, "vm.bundle.json")
	if status, _, stderr := s.attest("--yes", "-o", bundle); status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	submit := []string{"submit", bundle, "--log", s.url, "--policy", s.policy, "-o", filepath.Join(dir, "vm.tlog-proof")}
	for _, keys := range []string{interrupt, "\n", "n\n", "\x04"} { // Ctrl-D ends the input
		c := atConsole(t, s.env, submit...)
		c.answer("Publish? [y/N]", keys)
		want, says := exitNo, "not published"
		if keys == interrupt {
			want, says = exitUndecided, "interrupted"
		}
		if status := c.status(); status != want || !c.says(says) || s.proofs() != 0 {
			t.Errorf("%q: status %d, %d proofs: %s", keys, status, s.proofs(), c.text())
		}
	}
	c := atConsole(t, s.env, submit...)
	c.answer("Publish? [y/N]", "y\n")
	if status := c.status(); status != 0 || s.proofs() != 1 {
		t.Errorf("yes: status %d, %d proofs: %s", status, s.proofs(), c.text())
	}

	// At a password what is typed afterwards is to be seen again.
	c = atConsole(t, s.env, "key", "new", "--encrypt", "-o", filepath.Join(dir, "k"))
	before, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	c.answer("Password for the new key", interrupt)
	if status := c.status(); status != exitUndecided || !c.says("interrupted") {
		t.Errorf("password: status %d: %s", status, c.text())
	}
	if after, err := term.GetState(int(c.tty.Fd())); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the terminal is left as %v, was %v: %v", after, before, err)
	}

	// At a file that is typed.
	c = atConsole(t, s.env, "inspect", "-")
	time.Sleep(200 * time.Millisecond) // it asks nothing
	c.answer("", interrupt)
	if status := c.status(); status != exitUndecided && status != -1 { // before it listens, the signal ends it as it ends every process
		t.Errorf("standard input: status %d: %s", status, c.text())
	}
}
