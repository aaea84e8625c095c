package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store/mysqls3"
)

// The test binary moves a log when these are set.
const (
	envMove   = "POCLOG_TEST_MOVE"    // a log's directory
	envMoveTo = "POCLOG_TEST_MOVE_TO" // a store.json
)

func moveAsked(dir string) error {
	c, err := mysqls3.ParseConfig([]byte(os.Getenv(envMoveTo)))
	if err != nil {
		return err
	}
	return log.Move(context.Background(), dir, "", c, nil)
}

// entries is how many entries are moved: POCLOG_MOVE, or 400.
func entries() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("POCLOG_MOVE"), 10, 64); err == nil {
		return n
	}
	return 400
}

// A move that is killed at any moment goes on when it is started again. Old receipts verify, and
// neither the old folder nor a copy of it is served again.
func TestFrontEndTakesOverALogThatWasMoved(t *testing.T) {
	shared := newSharedLog(t, 1) // its store is another log's: a move must not take it
	taken := shared.fronts[0].config
	shared.db.SQL(t, "CREATE DATABASE moved")
	shared.s3.Bucket(t, "moved-tiles")
	shared.s3.Bucket(t, "moved-guard")
	config := *taken
	config.Database.Name, config.Tiles.Name, config.Guard.Name = "moved", "moved-tiles", "moved-guard"

	f := newFab()
	dir := f.initLog(t)
	v := &victim{t: t, dir: dir, address: freeAddress(t)}
	v.start()
	cl, err := client.New(client.Config{URL: "http://" + v.address, Policy: readPolicy(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	n := entries()
	var next atomic.Uint64
	var mu sync.Mutex
	var receipts [][]byte
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				got, err := cl.Submit(t.Context(), f.submission(t, i))
				if err != nil {
					t.Errorf("submission %d: %v", i, err)
					return
				}
				mu.Lock()
				receipts = append(receipts, got.Receipt)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := log.Move(t.Context(), dir, "", &config, nil); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a log that runs was moved: %v", err)
	}
	v.kill()
	if err := log.Move(t.Context(), dir, "", taken, nil); err == nil || !strings.Contains(err.Error(), "want a new store") {
		t.Errorf("moved over another log: %v", err)
	}
	before := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ed25519.key", "mldsa44.key"} {
		if err := os.Chmod(filepath.Join(before, "keys", key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := config.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	killed, longest := 0, time.Second
	for {
		move := exec.Command(os.Args[0])
		move.Env = append(os.Environ(), envMove+"="+dir, envMoveTo+"="+string(file))
		var said bytes.Buffer
		move.Stderr = &said
		if err := move.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(rand.N(longest), func() { _ = move.Process.Kill() })
		err := move.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() >= 0 {
			t.Fatalf("move: %v: %s", err, said.String())
		}
		killed++
		longest += longest / 4
		// Once the guard is marked nobody serves the folder, also not half moved.
		if guard, err := os.ReadFile(log.GuardPath(dir)); err != nil {
			t.Fatal(err)
		} else if bytes.HasPrefix(guard, []byte("moved to ")) {
			staysClosed(t, dir, log.GuardPath(dir), "this log was moved to")
		}
	}
	t.Logf("%d entries moved; killed %d times", n, killed)
	if err := log.Move(t.Context(), dir, "", &config, nil); err != nil {
		t.Errorf("moved once more: %v", err)
	}
	staysClosed(t, before, log.GuardPath(dir), "this log was moved to")
	v.start() // the folder is a front end's now
	checkReceipts(t, v, receipts, 1)
	if cl, err = client.New(client.Config{URL: "http://" + v.address, Policy: readPolicy(t, dir)}); err != nil {
		t.Fatal(err)
	}
	if got, err := cl.Submit(t.Context(), f.submission(t, 1)); err != nil || got.New {
		t.Errorf("evidence from before: %v %+v", err, got)
	}
	if got, err := cl.Submit(t.Context(), f.submission(t, n+1)); err != nil || !got.New {
		t.Errorf("new evidence: %v", err)
	}
	v.kill()
}

func staysClosed(t *testing.T, dir, guard, want string) {
	t.Helper()
	cfg := log.Config{Software: "poclog test", UnsafeUnlimited: true, Guard: guard}
	svc, err := log.Open(t.Context(), dir, cfg)
	if err == nil {
		t.Fatal(fmt.Sprintf("%s is served: want %q", dir, want), svc.Close(t.Context()))
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v: want %q", dir, err, want)
	}
}
