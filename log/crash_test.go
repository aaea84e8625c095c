package log_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
)

// The test binary is its own log server when these are set.
const (
	envServe = "POCLOG_TEST_SERVE"   // a log's directory
	envListn = "POCLOG_TEST_ADDRESS" // where to listen
)

func TestMain(m *testing.M) {
	// Tessera's own messages would stand between a benchmark's name and its figures.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if dir := os.Getenv(envMove); dir != "" {
		if err := moveAsked(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(envServe); dir != "" {
		if err := serveForever(dir, os.Getenv(envListn)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveForever serves until it is killed, or stopped by SIGTERM.
func serveForever(dir, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	every := 100 * time.Millisecond
	if _, err := os.Stat(filepath.Join(dir, "store.json")); err == nil {
		every = time.Second // the least of that store
	}
	svc, err := log.Open(context.Background(), dir, log.Config{
		Software: "poclog test", CheckpointInterval: every, IndexInterval: 100 * time.Millisecond, UnsafeUnlimited: true, Logger: slog.New(slog.DiscardHandler), Drain: drain,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return errors.Join(svc.Serve(ctx, l), svc.Close(context.WithoutCancel(ctx)))
}

// drain is how long a front end of these tests is not ready before it ends.
const drain = 500 * time.Millisecond

// A victim is a log server that is killed again and again.
type victim struct {
	t       *testing.T
	dir     string
	address string
	cmd     *exec.Cmd
	stderr  string
}

func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(os.Args[0])
	v.cmd.Env = append(os.Environ(), envServe+"="+v.dir, envListn+"="+v.address)
	// Tessera talks on standard error; what matters is whether it starts.
	stderr, err := os.Create(filepath.Join(v.t.TempDir(), "stderr"))
	if err != nil {
		v.t.Fatal(err)
	}
	defer stderr.Close()
	v.cmd.Stderr, v.stderr = stderr, stderr.Name()
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	for range 1000 {
		if resp, err := http.Get("http://" + v.address + "/health"); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(stderr.Name())
	v.t.Fatalf("the log did not start again: %s", text)
}

// stop asks the log to end, as a service manager does, and wants it to end well.
func (v *victim) stop() {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		v.t.Fatal(err)
	}
	if err := v.cmd.Wait(); err != nil {
		text, _ := os.ReadFile(v.stderr)
		v.t.Errorf("stopped: %v: %s", err, text)
	}
}

func (v *victim) kill() {
	_ = v.cmd.Process.Kill() // SIGKILL; Wait says how it ended
	_ = v.cmd.Wait()
}

// kills is how often the log is killed: POCLOG_KILLS, or 20.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("POCLOG_KILLS"))
	if err != nil {
		n = 20
	}
	if testing.Short() {
		n = 3
	}
	t.Logf("%d kills", n)
	return n
}

func TestKilledLogLosesNoReceipt(t *testing.T) {
	f := newFab()
	v := &victim{t: t, dir: f.initLog(t), address: freeAddress(t)}
	policy := readPolicy(t, v.dir)
	var (
		mu       sync.Mutex
		receipts [][]byte
		number   atomic.Uint64
		wg       sync.WaitGroup
	)
	done := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for i := number.Add(1); ; {
				select {
				case <-done:
					return
				default:
				}
				c, err := client.New(client.Config{URL: "http://" + v.address, Policy: policy, Attempts: 1, Timeout: 5 * time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				got, err := c.Submit(context.Background(), f.submission(t, i))
				if err != nil {
					time.Sleep(5 * time.Millisecond) // the log is down: that is the test
					continue
				}
				mu.Lock()
				receipts = append(receipts, got.Receipt)
				mu.Unlock()
				i = number.Add(1)
			}
		})
	}
	for range kills(t) {
		v.start()
		time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond)
		v.kill()
	}
	close(done)
	wg.Wait()
	v.start()
	proofs := submitAgain(t, f, v, number.Load(), len(receipts))
	checkAll(t, v, receipts, proofs)
	v.kill()
}

// submitAgain submits all evidence once more, and returns how much there is. Of so many the entry
// is in the log already.
func submitAgain(t *testing.T, f *fab, v *victim, n uint64, receipts int) uint64 {
	t.Helper()
	c, err := client.New(client.Config{URL: "http://" + v.address, Policy: readPolicy(t, v.dir)})
	if err != nil {
		t.Fatal(err)
	}
	var next, known atomic.Uint64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				got, err := c.Submit(t.Context(), f.submission(t, i))
				if err != nil {
					t.Errorf("submission %d again: %v", i, err)
				} else if !got.New {
					known.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if known.Load() < uint64(receipts) {
		t.Errorf("%d of %d submissions are known: %d had a receipt", known.Load(), n, receipts)
	}
	return n
}

// checkAll holds the log to receipts, and each of so many proofs is an entry once, and known.
func checkAll(t *testing.T, v *victim, receipts [][]byte, proofs uint64) {
	t.Helper()
	if r := checkReceipts(t, v, receipts, 3); r.Proofs != proofs {
		t.Errorf("fsck: %d proofs: want %d", r.Proofs, proofs)
	}
}

// checkReceipts verifies every receipt that was returned, and its place in the log as it is now, and
// runs fsck. At least so many index entries are there.
func checkReceipts(t *testing.T, v *victim, receipts [][]byte, indexes uint64) *log.Report {
	t.Helper()
	if len(receipts) < 10 {
		t.Fatalf("%d receipts: too few to show anything", len(receipts))
	}
	policy := readPolicy(t, v.dir)
	c, err := client.New(client.Config{URL: "http://" + v.address, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	demands := receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab}
	for _, file := range receipts {
		if _, err := receipt.Check(file, policy, time.Now(), demands); err != nil {
			t.Fatalf("a receipt that was returned: %v", err)
		}
		// Refresh proves the old checkpoint a prefix of the log, and the entry in it.
		if _, err := c.Refresh(t.Context(), file); err != nil {
			t.Fatalf("a receipt's entry in the log after the crashes: %v", err)
		}
	}
	r := (&testLog{dir: v.dir, policy: policy}).fsck(t)
	if len(r.Findings) > 0 {
		t.Errorf("fsck: %+v", r.Findings)
	}
	// The index went on: fsck recomputed every one, and the newest lists each entry that its names
	// state.
	if r.Indexes < indexes {
		t.Errorf("%d index entries", r.Indexes)
	}
	l := &testLog{url: "http://" + v.address, policy: policy}
	for _, file := range receipts[len(receipts)-3:] {
		verdict, err := receipt.Open(file, policy)
		if err != nil {
			t.Fatal(err)
		}
		a := ask(t, l, dossier.NamesFor(verdict.Entry), verdict.Index+1)
		if err := a.Clears(verdict); err != nil {
			t.Errorf("entry %d: %v", verdict.Index, err)
		}
	}
	t.Logf("%d receipts, %d entries, %d of them proofs and %d indexes", len(receipts), r.Size, r.Proofs, r.Indexes)
	return r
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
