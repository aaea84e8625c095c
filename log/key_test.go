package log_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/testkms"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/receipt"
)

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// kmsLog is a log whose Ed25519 key lives in a key management system.
func kmsLog(t *testing.T, f *fab) (dir string, system *testkms.System) {
	t.Helper()
	system = testkms.New(t, newEd25519(t))
	system.Other(t, newEd25519(t))
	key, err := signer.Open(t.Context(), system.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy(), Key: key}); err != nil {
		t.Fatal(err)
	}
	return dir, system
}

// torchwoodPolicy trusts the log's Ed25519 key alone.
func torchwoodPolicy(t *testing.T, l *testLog) torchwood.Policy {
	t.Helper()
	v, err := note.NewVerifier(l.policy.Logs()[0].VKey)
	if err != nil {
		t.Fatal(err)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v))
}

func TestKeyManagementSystemSignsCheckpointsThatTorchwoodVerifies(t *testing.T) {
	f := newFab()
	dir, _ := kmsLog(t, f)
	if _, err := os.Stat(filepath.Join(dir, "keys", "ed25519.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log has a key in a file, too: %v", err)
	}
	l := serve(t, dir, logConfig())
	policy := torchwoodPolicy(t, l)
	for n := range uint64(3) {
		got := submit(t, l, f.submission(t, n+1))
		if _, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab}); err != nil {
			t.Error(err)
		}
		r, err := poclog.ParseReceipt(got.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(r.Entry), got.Receipt); err != nil {
			t.Errorf("torchwood, the receipt: %v", err)
		}
		if _, _, err := torchwood.VerifyCheckpoint(r.Inclusion.Checkpoint, policy); err != nil {
			t.Errorf("torchwood, its checkpoint: %v", err)
		}
	}
	_, checkpoint := get(t, l.url+"/checkpoint")
	if _, _, err := torchwood.VerifyCheckpoint([]byte(checkpoint), policy); err != nil {
		t.Errorf("torchwood, the served checkpoint: %v", err)
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 3 {
		t.Errorf("fsck: %+v", r)
	}
}

// Whatever the system does, nothing is published that its key did not sign; the log says so, loses
// nothing and goes on when the system does.
func TestLogSurvivesItsKeyManagementSystem(t *testing.T) {
	f := newFab()
	dir, system := kmsLog(t, f)
	cfg := logConfig()
	cfg.PublishTimeout = time.Second
	l := serve(t, dir, cfg)
	policy := torchwoodPolicy(t, l)
	eventually(t, l, f.submission(t, 1))
	for i, mode := range []string{testkms.Down, testkms.Garbage, testkms.OtherKey} {
		_, before := get(t, l.url+"/checkpoint")
		system.Behave(t, mode)
		sub := f.submission(t, uint64(i)+2)
		if p := problemOf(t, l, sub); p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
			t.Errorf("%s: %v", mode, p)
		}
		resp, health := get(t, l.url+"/health")
		for deadline := time.Now().Add(time.Minute); resp.StatusCode == http.StatusOK && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			resp, health = get(t, l.url+"/health")
		}
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(health, system.Ref) {
			t.Errorf("%s: health %d: %s", mode, resp.StatusCode, health)
		}
		if p := problemOf(t, l, f.submission(t, 100)); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "sign with key") {
			t.Errorf("%s, the next submission: %v", mode, p)
		}
		if _, after := get(t, l.url+"/checkpoint"); after != before {
			t.Errorf("%s: a checkpoint was published:\n%s", mode, after)
		}
		if i == 0 {
			// A log that is started meanwhile serves what it has.
			if err := l.svc.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "stays in the tree") {
				t.Errorf("closed: %v", err)
			}
			l = serve(t, dir, cfg)
			if _, after := get(t, l.url+"/checkpoint"); after != before {
				t.Errorf("%s, after a restart: %q", mode, after)
			}
		}
		system.Behave(t, testkms.Good)
		waitHealthy(t, l)
		// The entry was in the tree: its submitter gets the receipt of the same one.
		got := eventually(t, l, sub)
		if got.New || got.Verdict.Index != uint64(i)+2 {
			t.Errorf("%s, recovered: new %v, entry %d", mode, got.New, got.Verdict.Index)
		}
		_, checkpoint := get(t, l.url+"/checkpoint")
		if _, _, err := torchwood.VerifyCheckpoint([]byte(checkpoint), policy); err != nil {
			t.Errorf("%s, recovered: %v", mode, err)
		}
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 4 {
		t.Errorf("fsck: %+v", r)
	}
}

// eventually submits until the log answers with a receipt: on a busy machine a checkpoint may take
// longer than a log with a short timeout waits.
func eventually(t *testing.T, l *testLog, sub *poclog.Submission) *client.Submitted {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got, err := l.client.Submit(t.Context(), sub)
		if err == nil {
			return got
		}
		if !client.Temporary(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func waitHealthy(t *testing.T, l *testLog) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if resp, _ := get(t, l.url+"/health"); resp.StatusCode == http.StatusOK {
			return
		}
	}
	_, body := get(t, l.url+"/health")
	t.Fatalf("not healthy: %s", body)
}

func TestKeyThatCannotSignCheckpointsMakesNoLog(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	system := testkms.New(t, crypto.PrivateKey(p256))
	remote, err := signer.Open(t.Context(), system.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	system.SetKey(t, newEd25519(t))
	system.Other(t, newEd25519(t))
	silent, err := signer.Open(t.Context(), system.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	system.Behave(t, testkms.OtherKey)
	for want, key := range map[string]*signer.Signer{
		"no Ed25519 key":           remote,
		"want NAME://KEY":          publisherKeys(t, 1)[0],
		"the signature is not one": silent,
	} {
		dir := filepath.Join(t.TempDir(), "log")
		err := log.Init(dir, log.InitOptions{Origin: origin, Policy: newFab().policy(), Key: key})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a directory was made", want)
		}
	}
}

func TestKeyReferenceThatIsNotClearIsNotServed(t *testing.T) {
	f := newFab()
	dir, _ := kmsLog(t, f)
	path := filepath.Join(dir, "keys", "ed25519.ref")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	vkey, ref, _ := strings.Cut(strings.TrimSpace(string(good)), "\n")
	other, err := note.NewEd25519VerifierKey("other.test/2026", newEd25519(t).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := note.NewEd25519VerifierKey(origin, newEd25519(t).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "no reference": vkey, "no key": ref, "another log's key": other + "\n" + ref, "a key that policy.txt does not list": stranger + "\n" + ref,
		"a file": vkey + "\n/etc/passwd", "a program elsewhere": vkey + "\n../bin/sh://key", "three lines": vkey + "\n" + ref + "\n" + ref, "a damaged key": vkey[:len(vkey)-4] + "AAAA\n" + ref,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		notServed(t, name, dir)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	notServed(t, "writable by others", dir)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "keys", "ed25519.key")
	if err := os.WriteFile(key, []byte("PRIVATE+KEY"), 0o600); err != nil {
		t.Fatal(err)
	}
	notServed(t, "two keys", dir)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	serve(t, dir, logConfig())
}

func notServed(t *testing.T, name, dir string) {
	t.Helper()
	svc, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test"})
	if err == nil {
		t.Errorf("%s: served", name)
		if err := svc.Close(t.Context()); err != nil {
			t.Error(err)
		}
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %q", name, err)
	}
}
