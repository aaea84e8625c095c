package log_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
)

// filled is a log with some laboratory entries and their receipts.
func filled(t *testing.T, n int) (*testLog, [][]byte) {
	t.Helper()
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	var receipts [][]byte
	for i := range n {
		got, err := l.client.Submit(t.Context(), f.submission(t, uint64(i)))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, got.Receipt)
	}
	return l, receipts
}

func ed25519Key(t *testing.T, l *testLog) (vkey string, v note.Verifier) {
	t.Helper()
	for _, k := range l.policy.Logs() {
		if v, err := note.NewVerifier(k.VKey); err == nil {
			return k.VKey, v
		}
	}
	t.Fatal("no Ed25519 key in policy.txt")
	return "", nil
}

func TestTorchwoodAcceptsReceipts(t *testing.T) {
	l, receipts := filled(t, 3)
	_, v := ed25519Key(t, l)
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v))
	for _, file := range receipts {
		r, err := poclog.ParseReceipt(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(r.Entry), file); err != nil {
			t.Errorf("torchwood: %v", err)
		}
		r.Entry[10] ^= 1
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(r.Entry), file); err == nil {
			t.Error("torchwood accepts another entry")
		}
	}
}

func TestTesserasFsckAcceptsTheLog(t *testing.T) {
	l, _ := filled(t, 3)
	bin := t.TempDir()
	install := exec.Command("go", "install", "github.com/transparency-dev/tessera/cmd/fsck@v1.0.4")
	install.Dir, install.Env = bin, append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("skipped: Tessera's cmd/fsck cannot be built here: %v: %.300s", err, out)
	}
	key, _ := ed25519Key(t, l)
	file := filepath.Join(bin, "key")
	if err := os.WriteFile(file, []byte(key), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func() error {
		out, err := exec.Command(filepath.Join(bin, "fsck"), "--ui=false", "--storage_url="+l.url+"/", "--public_key="+file).CombinedOutput()
		if bytes.Contains(out, []byte("fsck failed")) || err != nil {
			return fmt.Errorf("%s (%w)", out, err)
		}
		return nil
	}
	if err := check(); err != nil {
		t.Errorf("Tessera's fsck: %v", err)
	}
	// That it can refuse, too.
	tile := filepath.Join(l.dir, "tiles", "tile", "0", "000.p", "4")
	b, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.WriteFile(tile, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil {
		t.Error("Tessera's fsck accepts a changed tile")
	}
}
