package audit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/witness/audit"
)

// daemonVar names the folder of the auditor that a copy of the test binary serves.
const daemonVar = "POCLOG_TEST_AUDITOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(daemonVar); dir != "" {
		if err := daemon(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// daemon serves an auditor until it is killed, and prints its address.
func daemon(dir string) error {
	a, err := audit.Open(dir, audit.Config{Interval: 50 * time.Millisecond, Parallel: 1})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return errors.Join(a.Serve(context.Background(), l), a.Close())
}

// startDaemon starts an auditor process and returns its URL.
func startDaemon(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonVar+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the auditor did not start: %v", err)
	}
	return cmd, "http://" + strings.TrimSpace(addr)
}

// bundleDigests names the bundle of every proof entry.
func (l *lab) bundleDigests() (list []poclog.Digest) {
	for _, leaf := range l.log.Leaves {
		if e, err := poclog.ParseEntry(leaf); err == nil {
			list = append(list, e.Evidence.Bundle.SHA256)
		}
	}
	return list
}

// count says how many files were asked for at least so often.
func (l *lab) count(files []poclog.Digest, times int) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range files {
		if l.asked[d] >= times {
			n++
		}
	}
	return n
}

// wait waits for a condition.
func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func TestKilledAuditorGoesOnWhereItWas(t *testing.T) {
	l := newLab(t)
	const entries, kills = 1500, 4
	for range entries / 100 {
		l.good(100)
		l.add(l.index(l.size()))
	}
	l.publish()
	bundles := l.bundleDigests()
	a, dir := l.auditor(audit.Config{})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range kills {
		cmd, _ := startDaemon(t, dir)
		wait(t, "some bundles were read", func() bool { return l.count(bundles, 1) >= (i+1)*entries/(kills+1) })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	cmd, url := startDaemon(t, dir)
	defer func() {
		_ = cmd.Process.Kill() // it ends with the test
		_ = cmd.Wait()
	}()
	wait(t, "the checkpoint was cosigned", func() bool {
		resp, err := http.Get(url + "/" + originHash() + "/checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if n := l.count(bundles, 1); n != entries {
		t.Errorf("%d of %d bundles were read", n, entries)
	}
	// Every kill costs at most the batch that was under way.
	if n := l.count(bundles, 2); n > kills*256 || n == 0 {
		t.Errorf("%d bundles were read twice after %d kills: want 1 to %d", n, kills, kills*256)
	}
	again := reopen(t, dir, audit.Config{})
	wantServed(t, again, l.size())
}
