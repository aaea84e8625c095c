package witness_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/internal/others"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/conformance"
)

// program finds or builds another project's program; where neither can be, the test is skipped and
// says so.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := others.Program(t.Context(), name)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	return path
}

// running stops a program with its test, and says what it said where that failed.
func running(t *testing.T, r *others.Running, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Stop()
		if t.Failed() {
			t.Logf("it said:\n%.8000s", r.Said())
		}
	})
}

// start runs a program until the test ends, and waits until it listens.
func start(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	r, err := others.Start(t.TempDir(), addr, path, args...)
	running(t, r, err)
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := others.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// startLitewitness starts litewitness for logs of the keys and returns its URL and verifier key.
func startLitewitness(t *testing.T, keys ...logKey) (string, []string) {
	program(t, "litewitness")
	var logs []others.LogKey
	for _, k := range keys {
		logs = append(logs, others.LogKey{Origin: k.Name(), VKey: k.vkey})
	}
	r, at, vkey, err := others.Litewitness(t.Context(), t.TempDir(), logs...)
	running(t, r, err)
	return at, []string{vkey}
}

// startOmniwitness starts omniwitness for logs of one key each and returns its URL and verifier
// keys.
func startOmniwitness(t *testing.T, keys ...logKey) (string, []string) {
	path := program(t, "omniwitness")
	const name = "omniwitness.example/w"
	edKey, edV, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	if edV, err = formats.VKeyToCosignatureV1(edV); err != nil {
		t.Fatal(err)
	}
	pqKey, pqV, err := formats.GenerateMLDSAKey(name)
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), freeAddr(t)
	logs := "Logs:\n"
	for _, k := range keys {
		logs += fmt.Sprintf("  - Origin: %s\n    PublicKey: %s\n    URL: http://127.0.0.1:1/\n", k.Name(), k.vkey)
	}
	files := map[string]string{"ed": edKey, "pq": pqKey, "logs": logs}
	for n, text := range files {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, addr, path, "-listen", addr, "-metrics_listen", freeAddr(t), "-db_file", filepath.Join(dir, "db"), "-additional_logs", filepath.Join(dir, "logs"),
		"-private_key_path", filepath.Join(dir, "ed"), "-private_key_path", filepath.Join(dir, "pq"))
	return "http://" + addr, []string{edV, pqV}
}

// deviations are the checks that other witnesses are known to fail, of the versions above. A check
// that is not listed must pass, and a listed one must fail: docs/operating/witness-conformance.md says the
// same.
var deviations = map[string][]string{
	"litewitness": {
		"size-0.other-root", "old-0.with-proof", "signature.none", "signature.sixteen", "body.old-leading-zero", "body.old-plus",
		"body.checkpoint-size-leading-zero", "body.checkpoint-size-plus", "body.checkpoint-size-minus", "body.checkpoint-size-space",
		"body.checkpoint-size-huge", "body.checkpoint-no-root", "body.checkpoint-short-root", "body.checkpoint-loose-root",
		"monitoring.latest", "monitoring.follows",
	},
	"omniwitness": {
		"old.unseen-log", "old-0.with-proof", "origin.unknown", "origin.unknown-known-key", "signature.unknown-key", "signature.none",
		"signature.bad-key-1", "signature.sixteen", "body.old-leading-zero", "body.old-two-spaces", "body.old-trailing-space",
		"body.old-tab", "body.old-carriage-return", "body.no-checkpoint", "body.checkpoint-size-leading-zero",
		"body.checkpoint-size-plus", "body.checkpoint-size-minus", "body.checkpoint-size-space", "body.checkpoint-size-huge",
		"body.checkpoint-no-root", "body.checkpoint-loose-root", "monitoring.latest", "monitoring.follows",
	},
}

// The page lists the checks that one of the two fails, with what it answers, and no other.
func TestPageListsTheDeviations(t *testing.T) {
	page, err := os.ReadFile("../docs/operating/witness-conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9.-]+)` \\| .* \\| yes \\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		got[m[1]] = map[string]bool{"litewitness": strings.HasPrefix(m[2], "**"), "omniwitness": strings.HasPrefix(m[3], "**")}
	}
	for name, ids := range deviations {
		for _, id := range ids {
			if !got[id][name] {
				t.Errorf("%s fails %s, and no row says so", name, id)
			}
			delete(got[id], name)
		}
	}
	for id, rest := range got {
		for name, fails := range rest {
			if fails {
				t.Errorf("a row says that %s fails %s", name, id)
			}
		}
	}
}

func TestOtherWitnessesDeviateAsDocumented(t *testing.T) {
	const origin = "example.com/log"
	for name, run := range map[string]func(t *testing.T) conformance.Target{
		"litewitness": func(t *testing.T) conformance.Target {
			keys := append(spareLogs(t), ed25519Key(t, origin), ed25519Key(t, origin))
			url, vkeys := startLitewitness(t, keys...)
			return conformance.Target{URL: url, Witness: vkeys, Log: signers(keys)}
		},
		"omniwitness": func(t *testing.T) conformance.Target {
			keys := append(spareLogs(t), ed25519Key(t, origin))
			url, vkeys := startOmniwitness(t, keys...)
			return conformance.Target{URL: url, Witness: vkeys, Log: signers(keys)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			known := make(map[string]bool)
			for _, id := range deviations[name] {
				known[id] = true
			}
			for _, r := range conformance.Run(t.Context(), run(t)) {
				t.Logf("%-32s ok=%v skipped=%v %s", r.ID, r.OK, r.Skipped, r.Detail)
				if !r.Skipped && r.OK == known[r.ID] {
					t.Errorf("%s: ok is %v, and docs/operating/witness-conformance.md says otherwise", r.ID, r.OK)
				}
			}
		})
	}
}

// TestWitnessCosignsATesseraLog takes checkpoints from an unmodified Tessera log to the witness.
func TestWitnessCosignsATesseraLog(t *testing.T) {
	path := program(t, "tessera-posix")
	const origin = "tessera.example/log"
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	key := parseLogKey(t, skey, vkey, err)
	dir, addr := t.TempDir(), freeAddr(t)
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(skey), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, addr, path, "-storage_dir", filepath.Join(dir, "log"), "-private_key", filepath.Join(dir, "key"), "-listen", addr)
	w, _ := open(t, witness.Config{Rate: rate.Inf}, key)
	cosigners := verifiers(t, w.VKeys())
	submission := serve(t, w)
	fetcher, err := client.NewHTTPFetcher(mustURL(t, "http://"+addr+"/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var size uint64
	for round := range 3 {
		for i := range 3 + 4*round {
			postEntry(t, "http://"+addr+"/add", fmt.Sprintf("entry %d.%d", round, i))
		}
		cp, grown := waitForCheckpoint(t, fetcher, size)
		body := feed(t, fetcher, size, grown, cp)
		status, answer := post(t, submission+"/add-checkpoint", body)
		if status != http.StatusOK {
			t.Fatalf("from %d to %d: status %d, %q", size, grown, status, answer)
		}
		n, err := note.Open([]byte(string(cp)+answer), note.VerifierList(cosigners...))
		if err != nil || len(n.Sigs) != 2 {
			t.Fatalf("from %d to %d: the cosigned checkpoint has %d cosignatures: %v", size, grown, len(n.Sigs), err)
		}
		size = grown
	}
	hash := sha256.Sum256([]byte(origin))
	if status, cp := get(t, submission+"/"+hex.EncodeToString(hash[:])+"/checkpoint"); status != http.StatusOK || !strings.Contains(cp, fmt.Sprintf("\n%d\n", size)) {
		t.Errorf("monitoring: status %d, %q: want size %d", status, cp, size)
	}
}

// waitForCheckpoint returns the log's checkpoint once it is larger than a size.
func waitForCheckpoint(t *testing.T, f *client.HTTPFetcher, than uint64) ([]byte, uint64) {
	t.Helper()
	for range 100 {
		if cp, err := f.ReadCheckpoint(t.Context()); err == nil {
			text, _, _ := strings.Cut(string(cp), "\n\n")
			c, err := torchwood.ParseCheckpoint(text + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if uint64(c.N) > than {
				return cp, uint64(c.N)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the log published no checkpoint larger than %d", than)
	return nil, 0
}

// feed makes the add-checkpoint body from the log's tiles.
func feed(t *testing.T, f *client.HTTPFetcher, from, to uint64, cp []byte) string {
	t.Helper()
	body := fmt.Sprintf("old %d\n", from)
	if from > 0 {
		pb, err := client.NewProofBuilder(t.Context(), to, f.ReadTile)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := pb.ConsistencyProof(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range proof {
			body += tlog.Hash(h).String() + "\n"
		}
	}
	return body + "\n" + string(cp)
}

func postEntry(t *testing.T, url, entry string) {
	t.Helper()
	if status, answer := post(t, url, entry); status != http.StatusOK {
		t.Fatalf("add an entry: status %d, %q", status, answer)
	}
}

func verifiers(t testing.TB, vkeys []string) []note.Verifier {
	t.Helper()
	var list []note.Verifier
	for _, k := range vkeys {
		v, err := torchwood.NewCosignatureVerifier(k)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func post(t testing.TB, url, body string) (int, string) {
	t.Helper()
	return do(t, http.MethodPost, url, body)
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	return do(t, http.MethodGet, url, "")
}

func do(t testing.TB, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
