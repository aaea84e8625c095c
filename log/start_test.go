package log_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/profile"
)

// runOnce serves a log, submits to it if there is something to submit, and shuts it down.
func runOnce(t *testing.T, dir string, sub *poclog.Submission) {
	t.Helper()
	svc, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test", CheckpointInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(svc.Handler())
	c, err := client.New(client.Config{URL: srv.URL, Policy: readPolicy(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	if sub != nil {
		if _, err := c.Submit(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
	}
	srv.Close()
	if err := svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestInitOverwritesNothingAndServingCreatesNothing(t *testing.T) {
	dir := initLog(t)
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: profile.DefaultPolicy(false)}); err == nil {
		t.Error("a second init passed")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: profile.DefaultPolicy(false)}); err == nil || !strings.Contains(err.Error(), "guard") {
		t.Errorf("init beside the guard of another log: %v", err)
	}
	empty := t.TempDir()
	if _, err := log.Open(t.Context(), empty, log.Config{Software: "x"}); err == nil || !strings.Contains(err.Error(), "log init") {
		t.Errorf("serving an empty directory: %v", err)
	}
}

func TestKeysOthersCanReadAreRefused(t *testing.T) {
	dir := initLog(t)
	if err := os.Chmod(filepath.Join(dir, "keys", "ed25519.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := log.Open(t.Context(), dir, log.Config{Software: "x"})
	if err == nil || !strings.Contains(err.Error(), "0600") || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("%v", err)
	}
}

func TestOneDirectoryIsServedOnce(t *testing.T) {
	l := serve(t, initLog(t), log.Config{})
	if _, err := log.Open(t.Context(), l.dir, log.Config{Software: "x"}); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("%v", err)
	}
}

func TestTwoCopiesOfOneLogDoNotShareAGuard(t *testing.T) {
	dir := initLog(t)
	runOnce(t, dir, nil)
	twin := filepath.Join(t.TempDir(), "twin")
	copyTree(t, dir, twin)
	serve(t, dir, log.Config{})
	_, err := log.Open(t.Context(), twin, log.Config{Software: "poclog test", Guard: log.GuardPath(dir)})
	if err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("with the guard of the other: %v", err)
	}
	_, err = log.Open(t.Context(), twin, log.Config{Software: "poclog test"})
	if err == nil || !strings.Contains(err.Error(), "guard") {
		t.Errorf("without a guard: %v", err)
	}
}

func TestRestoredDirectoryRefusesToStart(t *testing.T) {
	dir := initLog(t)
	runOnce(t, dir, nil)
	older := filepath.Join(t.TempDir(), "backup")
	copyTree(t, dir, older)
	runOnce(t, dir, quoteSubmission(t))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyTree(t, older, dir)
	_, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test"})
	if err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("a directory restored from an older copy: %v", err)
	}
	if err := os.Remove(log.GuardPath(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test"}); err == nil || !strings.Contains(err.Error(), "guard") {
		t.Errorf("a directory without its guard: %v", err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// Tessera would begin a second history over the first one's tiles.
func TestLogWhoseTreeStateIsLostOrOldRefusesToStart(t *testing.T) {
	dir := initLog(t)
	state := filepath.Join(dir, "tiles", ".state", "treeState")
	runOnce(t, dir, nil)
	old, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	runOnce(t, dir, quoteSubmission(t))
	newest, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name, want string
		content    []byte
	}{
		{"lost", "state of its tree is lost", nil},
		{"older", "older copy", old},
		{"no JSON", "state of the log's tree", []byte("{")},
		{"another root", "its tiles have", []byte(strings.Replace(string(newest), `"root":"`, `"root":"AAAA`, 1))},
	} {
		if err := os.Remove(state); err != nil {
			t.Fatal(err)
		}
		if bad.content != nil {
			if err := os.WriteFile(state, bad.content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test"})
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("state %s: %v: want %q", bad.name, err, bad.want)
		}
		if err := os.WriteFile(state, newest, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := serve(t, dir, log.Config{})
	if r := l.fsck(t); len(r.Findings) > 0 || r.Size != 2 {
		t.Errorf("after the refusals: %+v", r)
	}
}

func TestDamagedTileOfTheRightEdgeRefusesToStart(t *testing.T) {
	dir := initLog(t)
	runOnce(t, dir, quoteSubmission(t))
	tile := filepath.Join(dir, "tiles", "tile", "0", "000.p", "2")
	b, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(tile, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test"}); err == nil || !strings.Contains(err.Error(), "another history") {
		t.Errorf("%v", err)
	}
}

func TestChangeOfSoftwareOrPolicyIsAnEntry(t *testing.T) {
	dir := initLog(t)
	runOnce(t, dir, nil)
	runOnce(t, dir, nil)
	p := profile.DefaultPolicy(true)
	p.MaxChallengeAge = 60
	p.ChallengePolicy = []string{"log " + vkeyOf(t, dir), "quorum none"}
	file, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "appraisal.json"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	runOnce(t, dir, quoteSubmission(t))
	svc, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test 2", CheckpointInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &testLog{dir: dir, policy: readPolicy(t, dir)}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Configs != 3 || r.Size != 4 {
		t.Errorf("%+v: want three config entries of four, and nothing wrong", r)
	}
}

// vkeyOf is the log's Ed25519 key.
func vkeyOf(t *testing.T, dir string) string {
	t.Helper()
	return readPolicy(t, dir).Logs()[0].VKey
}

// Tessera reckons a checkpoint's age by its file's time: a clock that was wrong once would stop
// publication for as long as it was ahead.
func TestCheckpointFileOfTheFutureIsSetBack(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	runOnce(t, dir, nil)
	checkpoint := filepath.Join(dir, "tiles", "checkpoint")
	future := time.Now().AddDate(1, 0, 0)
	set := func() {
		t.Helper()
		if err := os.Chtimes(checkpoint, future, future); err != nil {
			t.Fatal(err)
		}
	}
	set()
	l := serve(t, dir, logConfig())
	submit(t, l, f.submission(t, 1))
	set()
	submit(t, l, f.submission(t, 2))
	if h := l.health(t); h.Status != "ok" {
		t.Errorf("%+v", h)
	}
}

// A log whose entries wait for a checkpoint says so within a third of the time that a submitter
// waits, and takes no more of them.
func TestEntriesThatWaitToBePublishedAreReportedSoon(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withWitnesses(t, dir)
	cfg := logConfig()
	cfg.PublishTimeout = 3 * time.Second
	l := serve(t, dir, cfg)
	down := func(is bool) {
		for _, w := range witnesses[:2] {
			w.down.Store(is)
		}
	}
	down(true)
	first := make(chan error, 1)
	sub := f.submission(t, 1)
	go func() {
		_, err := l.client.Submit(t.Context(), sub)
		first <- err
	}()
	for l.health(t).Status == "ok" {
		select {
		case err := <-first:
			t.Fatalf("the submitter was answered before the health: %v", err)
		default:
		}
	}
	if p := problemOf(t, l, f.submission(t, 2)); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "entries wait to be published since") || !strings.Contains(p.Detail, "w0-ed") {
		t.Errorf("%+v", p)
	}
	if err := <-first; err == nil {
		t.Error("a receipt without the quorum")
	}
	state, err := os.ReadFile(filepath.Join(dir, "tiles", ".state", "treeState"))
	if err != nil || !strings.Contains(string(state), `"size":2,`) {
		t.Errorf("%s, %v: want the config entry and the first in the tree, not the second", state, err)
	}
	down(false)
	waitHealthy(t, l)
	if got := eventually(t, l, f.submission(t, 1)); got.New || got.Verdict.Index != 1 {
		t.Errorf("after the outage: new %v, entry %d", got.New, got.Verdict.Index)
	}
}
