package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/testlog"
)

// A waiter is a log that answers no submission before it was asked how it is, some times.
type waiter struct {
	*httptest.Server
	policy string
	posts  atomic.Int32
	asked  chan struct{}
	waits  int
}

func newWaiter(t *testing.T, dir, origin string, seed byte) *waiter {
	t.Helper()
	w := &waiter{asked: make(chan struct{}, 100), policy: filepath.Join(dir, fmt.Sprint("policy", seed))}
	key := testlog.LogKey(origin)
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{seed}, {seed}, {seed}}}
	tiles := new(testlog.Server)
	tiles.Set(l, l.Checkpoint(3, testlog.Cosigner{Signer: key}), nil)
	mux := http.NewServeMux()
	mux.Handle("/", tiles)
	mux.HandleFunc("GET /health", func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusServiceUnavailable)
		_, _ = rw.Write([]byte(`{"v":1,"status":"failing","reasons":["the witness w1.example has not answered since 12:00"]}`)) // it says what it got
		w.asked <- struct{}{}
	})
	mux.HandleFunc("POST /v1/proofs", func(rw http.ResponseWriter, _ *http.Request) {
		w.posts.Add(1)
		for range w.waits {
			<-w.asked
		}
		rw.Header().Set("Content-Type", "application/problem+json")
		rw.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = rw.Write([]byte(`{"detail":"not this one"}`)) // it says what it got
	})
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	if err := os.WriteFile(w.policy, []byte("log "+key.VKey+" "+w.URL+"\nquorum none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return w
}

// submitTo submits a bundle and returns status and standard error.
func (w *waiter) submit(t *testing.T, dir string) (int, string) {
	t.Helper()
	var b poclog.Bundle
	b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(dir, "b.json")
	if err := os.WriteFile(bundle, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.Command(program(t, "poclog"), "submit", bundle, "--yes", "--policy", w.policy, "-o", filepath.Join(dir, "receipt"))
	cmd.Env, cmd.Stderr = append(os.Environ(), "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir), &errs
	_ = cmd.Run() // its status says how it ended
	return cmd.ProcessState.ExitCode(), errs.String()
}

// A submission that waits says for whom: the log is asked beside it.
func TestSubmitSaysWhatItWaitsFor(t *testing.T) {
	dir := t.TempDir()
	w := newWaiter(t, dir, "waiting.test", 1)
	w.waits = 2 // the first answer was told when it asks again
	status, stderr := w.submit(t, dir)
	if status != exitNo || !strings.Contains(stderr, "waiting for the log: the witness w1.example has not answered since 12:00\n") || !strings.Contains(stderr, "not this one") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// A log that was made anew under its old name is noticed before anything is asked or published: the
// message names the file, the causes, and what to do.
func TestSubmitNoticesALogThatWasMadeAnew(t *testing.T) {
	const origin = "anew.test"
	seen := func(signed []byte) (dir, file string) {
		dir = t.TempDir()
		w := newWaiter(t, dir, origin, 1)
		if status, stderr := w.submit(t, dir); status != exitNo {
			t.Fatalf("status %d: %s", status, stderr)
		}
		files, err := filepath.Glob(filepath.Join(dir, "poclog", "checkpoints", "*.checkpoint"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v: %v", files, err)
		}
		if signed != nil {
			if err := os.WriteFile(files[0], signed, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir, files[0]
	}
	longer := &testlog.Log{Origin: origin, Leaves: make([][]byte, 300)}
	for name, c := range map[string]struct {
		signed []byte
		says   []string
	}{
		"another key":    {testlog.SignRoot(origin, 3, longer.Root(3), testlog.Cosigner{Signer: testlog.LogKey("other.test")}), []string{"signed by no key of the policy", "the log's key changed", "made anew", "another log's", "mv "}},
		"a longer tree":  {longer.Checkpoint(300, testlog.Cosigner{Signer: testlog.LogKey(origin)}), []string{"cannot show that it goes on from size 300", "made anew", "older copy", "ask its operator", "keep the file"}},
		"a damaged file": {[]byte(base64.StdEncoding.EncodeToString([]byte("rubbish"))), []string{"is damaged", "restore it from a copy", "mv "}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, file := seen(c.signed)
			w := newWaiter(t, dir, origin, 1)
			status, stderr := w.submit(t, dir)
			if status != exitUndecided || w.posts.Load() != 0 || strings.Contains(stderr, "To be published") {
				t.Errorf("status %d, %d submissions: %s", status, w.posts.Load(), stderr)
			}
			for _, want := range append(c.says, file) {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is not said: %s", want, stderr)
				}
			}
		})
	}
}
