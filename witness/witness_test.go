package witness_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/conformance"
)

const witnessName = "witness.example/w1"

// A logKey is one key of a log that a test plays.
type logKey struct {
	note.Signer
	vkey string
}

func ed25519Key(t testing.TB, name string) logKey {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	return parseLogKey(t, skey, vkey, err)
}

func mldsaKey(t testing.TB, name string) logKey {
	t.Helper()
	skey, vkey, err := formats.GenerateMLDSAKey(name)
	return parseLogKey(t, skey, vkey, err)
}

func parseLogKey(t testing.TB, skey, vkey string, err error) logKey {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := conformance.ParseLogKey(skey)
	if err != nil {
		t.Fatal(err)
	}
	return logKey{s, vkey}
}

// spareLogs are keys of the logs that three checks of the suite use up.
func spareLogs(t testing.TB) []logKey {
	t.Helper()
	return []logKey{ed25519Key(t, "spare.example/1"), ed25519Key(t, "spare.example/2"), ed25519Key(t, "spare.example/3")}
}

// signers returns the signers of keys, last first, so that spare logs can stand before the log.
func signers(keys []logKey) []note.Signer {
	var list []note.Signer
	for _, k := range slices.Backward(keys) {
		list = append(list, k.Signer)
	}
	return list
}

// open makes and opens a witness that knows the logs of the keys.
func open(t testing.TB, cfg witness.Config, keys ...logKey) (*witness.Witness, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "witness")
	if err := witness.Init(dir, witnessName); err != nil {
		t.Fatal(err)
	}
	w := reopen(t, dir, cfg)
	for _, k := range keys {
		if err := w.AddLog(t.Context(), k.vkey); err != nil {
			t.Fatal(err)
		}
	}
	return w, dir
}

func reopen(t testing.TB, dir string, cfg witness.Config) *witness.Witness {
	t.Helper()
	w, err := witness.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// serve serves a witness on a port of this machine and returns its URL.
func serve(t testing.TB, w *witness.Witness) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx, l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func TestWitnessPassesTheConformanceSuite(t *testing.T) {
	const origin = "example.com/log"
	ed, pq := ed25519Key(t, origin), mldsaKey(t, origin)
	for name, keys := range map[string][]logKey{
		"Ed25519":   {ed},
		"ML-DSA-44": {pq},
		"both":      {ed, pq},
		"spares":    append(spareLogs(t), pq, ed),
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := open(t, witness.Config{Rate: rate.Inf}, keys...)
			results := conformance.Run(t.Context(), conformance.Target{URL: serve(t, w), Witness: w.VKeys(), Log: signers(keys)})
			skipped := 0
			for _, r := range results {
				if r.Skipped && !strings.HasPrefix(r.Detail, "the log has") {
					t.Errorf("%s: skipped: %s", r.ID, r.Detail)
				}
				if r.Skipped {
					skipped++
				} else if !r.OK {
					t.Errorf("%s: %s: %s", r.ID, r.Desc, r.Detail)
				}
			}
			t.Logf("%d checks, %d skipped", len(results), skipped)
			if name == "both" && skipped > 0 {
				t.Errorf("%d checks skipped: with both keys every check can be made", skipped)
			}
		})
	}
}
