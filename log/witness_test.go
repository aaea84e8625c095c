package log_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/witness"
)

// A watcher is a real witness over HTTP that can be out of reach.
type watcher struct {
	*witness.Witness
	url  string
	down atomic.Bool
}

func newWatcher(t testing.TB, name string, logKeys []string) *watcher {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := witness.Init(dir, name); err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(dir, witness.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddLog(t.Context(), logKeys...); err != nil {
		t.Fatal(err)
	}
	v := &watcher{Witness: w}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if v.down.Load() {
			http.Error(rw, "down", http.StatusBadGateway)
			return
		}
		w.Handler().ServeHTTP(rw, r)
	}))
	v.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// withWitnesses rewrites a log's policy.txt: two of three witnesses, each with its Ed25519 and
// ML-DSA-44 key at one address.
func withWitnesses(t testing.TB, dir string) []*watcher {
	t.Helper()
	path := filepath.Join(dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, l := range readPolicy(t, dir).Logs() {
		keys = append(keys, l.VKey)
	}
	var list []*watcher
	policy := strings.Replace(string(text), "quorum none\n", "", 1)
	for i := range 3 {
		name := fmt.Sprintf("w%d.test", i)
		w := newWatcher(t, name, keys)
		list = append(list, w)
		vkeys := w.VKeys()
		policy += fmt.Sprintf("witness w%d-ed %s %s\nwitness w%d-pq %s %s\ngroup w%d all w%d-ed w%d-pq\n", i, vkeys[0], w.url, i, vkeys[1], w.url, i, i, i)
	}
	policy += "group all-of-us 2 w0 w1 w2\nquorum all-of-us\n"
	if err := os.WriteFile(path, []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestQuorumCosignsBeforePublication(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withWitnesses(t, dir)
	l := serve(t, dir, logConfig())
	before := time.Now()
	got, err := l.client.Submit(t.Context(), f.submission(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	v, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{
		UnsafeLevel0: true, UnsafeRealm: poclog.Lab, MaxCheckpointAge: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !v.T2.Known || v.T2.Time.Before(before.Add(-2*time.Second)) || len(v.Witnesses) < 4 {
		t.Errorf("t2 %+v by %v", v.T2, v.Witnesses)
	}
	// One outage of three does not stop the log.
	witnesses[0].down.Store(true)
	if _, err := l.client.Submit(t.Context(), f.submission(t, 2)); err != nil {
		t.Errorf("with one witness down: %v", err)
	}
	// Two do: nothing is published, submitters are told, and it recovers by itself.
	witnesses[1].down.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := l.client.Submit(ctx, f.submission(t, 3)); err == nil {
		t.Error("a receipt without the quorum")
	}
	cp, err := l.client.Checkpoint(t.Context())
	if err != nil {
		t.Fatalf("what was published before: %v", err)
	}
	if cp.Size != 3 {
		t.Errorf("size %d was published", cp.Size)
	}
	witnesses[1].down.Store(false)
	late, err := l.client.Submit(t.Context(), f.submission(t, 3))
	if err != nil {
		t.Errorf("after the outage: %v", err)
	} else if late.Verdict.Index != 3 {
		t.Errorf("entry %d", late.Verdict.Index)
	}
	if _, err := l.client.Refresh(t.Context(), got.Receipt); err != nil {
		t.Error(err)
	}
}

func TestQuorumNeedsAddresses(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	withWitnesses(t, dir)
	path := filepath.Join(dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		if words := strings.Fields(l); len(words) == 4 && words[0] == "witness" {
			lines[i] = strings.Join(words[:3], " ")
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(t.Context(), dir, log.Config{Software: "x"}); err == nil || !strings.Contains(err.Error(), "no URL") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte("log "+other+"\nquorum none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(t.Context(), dir, log.Config{Software: "x"}); err == nil || !strings.Contains(err.Error(), "own key") {
		t.Errorf("%v", err)
	}
}

const other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
