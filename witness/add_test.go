package witness_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
)

// status returns the HTTP status that a request gets, and the cosignature lines.
func status(t testing.TB, w *witness.Witness, body string) (int, string) {
	t.Helper()
	lines, err := w.AddCheckpoint(t.Context(), []byte(body))
	var refusal *witness.Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal.Status, refusal.Detail
	case err != nil:
		t.Fatal(err)
	}
	return http.StatusOK, string(lines)
}

func wantStatus(t testing.TB, w *witness.Witness, body string, want int) string {
	t.Helper()
	got, text := status(t, w, body)
	if got != want {
		t.Fatalf("status %d, %q: want %d", got, text, want)
	}
	return text
}

// timestamps returns the times of the cosignatures of a checkpoint.
func timestamps(t testing.TB, w *witness.Witness, text, lines string) []int64 {
	t.Helper()
	n, err := note.Open([]byte(text+"\n"+lines), note.VerifierList(verifiers(t, w.VKeys())...))
	if err != nil {
		t.Fatal(err)
	}
	var list []int64
	for _, s := range n.Sigs {
		at, err := torchwood.CosignatureTimestamp(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

func TestTimestampsDoNotGoBackwardsWithTheClock(t *testing.T) {
	key, tr := ed25519Key(t, "example.com/log"), newTree(t, "log", 10)
	now := time.Unix(1_800_000_000, 0)
	cfg := witness.Config{Clock: func() time.Time { return now }}
	w, dir := open(t, cfg, key)
	for i, step := range []struct {
		clock int64
		want  int64
	}{{1_800_000_000, 1_800_000_000}, {1_799_000_000, 1_800_000_000}, {1_800_000_005, 1_800_000_005}, {5, 1_800_000_005}} {
		now = time.Unix(step.clock, 0)
		from := int64(i)
		lines := wantStatus(t, w, tr.request(from, from+1, key), http.StatusOK)
		again := wantStatus(t, w, tr.request(from+1, from+1, key), http.StatusOK)
		for _, l := range []string{lines, again} {
			if got := timestamps(t, w, tr.text(key.Name(), from+1), l); len(got) != 2 || got[0] != step.want || got[1] != step.want {
				t.Errorf("clock %d: timestamps %v: want twice %d", step.clock, got, step.want)
			}
		}
		if err := w.Close(); err != nil { // the memory of it is not only in memory
			t.Fatal(err)
		}
		w = reopen(t, dir, cfg)
	}
	if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the clock says") {
		t.Errorf("the witness calls itself healthy with a clock of 1970: %v", err)
	}
	now = time.Unix(1_800_000_006, 0)
	if err := w.Check(t.Context()); err != nil {
		t.Errorf("not healthy: %v", err)
	}
}

func TestAnotherProcessAddsLogsWithoutARestart(t *testing.T) {
	key, tr := ed25519Key(t, "example.com/log"), newTree(t, "log", 10)
	w, dir := open(t, witness.Config{})
	wantStatus(t, w, tr.request(0, 1, key), http.StatusNotFound)
	other := reopen(t, dir, witness.Config{})
	if err := other.AddLog(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, tr.request(0, 1, key), http.StatusOK)
	more := mldsaKey(t, key.Name())
	wantStatus(t, w, tr.request(1, 2, more), http.StatusForbidden)
	if err := other.AddLog(t.Context(), more.vkey); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, tr.request(1, 2, more), http.StatusOK)
	wantStatus(t, other, tr.request(1, 3, key), http.StatusConflict)
	wantStatus(t, other, tr.request(2, 3, key), http.StatusOK)
}

func TestARemovedLogGoesOnFromWhereItWas(t *testing.T) {
	key := ed25519Key(t, "example.com/log")
	tr, fork := newTree(t, "log", 10), newTree(t, "fork", 10)
	w, _ := open(t, witness.Config{}, key)
	wantStatus(t, w, tr.request(0, 5, key), http.StatusOK)
	if err := w.RemoveLog(t.Context(), key.Name()); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, tr.request(5, 6, key), http.StatusNotFound)
	if err := w.AddLog(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, fork.request(0, 6, key), http.StatusConflict)
	wantStatus(t, w, tr.request(5, 6, key), http.StatusOK)
	if err := w.RemoveLog(t.Context(), "example.com/other"); err == nil {
		t.Error("an unknown log was removed")
	}
}

func TestASplitViewIsKeptAsProof(t *testing.T) {
	key := ed25519Key(t, "example.com/log")
	tr, fork := newTree(t, "log", 10), newTree(t, "fork", 10)
	w, _ := open(t, witness.Config{}, key)
	wantStatus(t, w, tr.request(0, 5, key), http.StatusOK)
	wantStatus(t, w, fork.request(5, 5, key), http.StatusUnprocessableEntity)
	wantStatus(t, w, fork.request(5, 5, key), http.StatusUnprocessableEntity)
	wantStatus(t, w, fork.request(0, 5, key), http.StatusConflict)
	wantStatus(t, w, fork.request(5, 6, key), http.StatusUnprocessableEntity) // a bad proof proves nothing
	conflicts, err := w.Conflicts(t.Context(), key.Name())
	if err != nil || len(conflicts) != 1 {
		t.Fatalf("%d conflicts: want one: %v", len(conflicts), err)
	}
	c := conflicts[0]
	logVerifier, err := note.NewVerifier(key.vkey)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := note.Open(c.Theirs, note.VerifierList(logVerifier))
	if err != nil || theirs.Text != fork.text(key.Name(), 5) {
		t.Errorf("their checkpoint: %v", err)
	}
	ours, err := note.Open(c.Ours, note.VerifierList(append(verifiers(t, w.VKeys()), logVerifier)...))
	if err != nil || ours.Text != tr.text(key.Name(), 5) || len(ours.Sigs) != 3 {
		t.Errorf("our checkpoint: %v", err)
	}
	if c.Size != 5 || c.Root != fork.root(5) {
		t.Errorf("conflict at size %d", c.Size)
	}
}

func TestConflictsOfALogAreBounded(t *testing.T) {
	key := ed25519Key(t, "example.com/log")
	w, _ := open(t, witness.Config{Rate: rate.Inf}, key)
	wantStatus(t, w, newTree(t, "log", 2).request(0, 2, key), http.StatusOK)
	for i := range 40 {
		wantStatus(t, w, newTree(t, fmt.Sprintf("fork %d", i), 2).request(2, 2, key), http.StatusUnprocessableEntity)
	}
	conflicts, err := w.Conflicts(t.Context(), key.Name())
	if err != nil || len(conflicts) != 16 {
		t.Errorf("%d conflicts kept: want 16: %v", len(conflicts), err)
	}
}

func TestABodyOf64KiBIsCosignedAndOneOf128Refused(t *testing.T) {
	key, tr := ed25519Key(t, "example.com/log"), newTree(t, "log", 10)
	w, _ := open(t, witness.Config{}, key)
	url := serve(t, w)
	body := tr.request(0, 3, key)
	for i := 0; len(body) < 66<<10; i++ {
		body += unknownSignature(fmt.Sprintf("witness%d.example/w", i), 4+8+2420)
	}
	if got, text := post(t, url+"/add-checkpoint", body); got != http.StatusOK {
		t.Errorf("body of %d bytes: status %d, %q", len(body), got, text)
	}
	for i := 0; len(body) <= witness.MaxBody; i++ {
		body += unknownSignature(fmt.Sprintf("more%d.example/w", i), 4+8+2420)
	}
	if got, text := post(t, url+"/add-checkpoint", body); got != http.StatusRequestEntityTooLarge {
		t.Errorf("body of %d bytes: status %d, %q: want 413", len(body), got, text)
	}
	hash := sha256.Sum256([]byte(key.Name()))
	_, cp := get(t, url+"/"+hex.EncodeToString(hash[:])+"/checkpoint")
	if strings.Contains(cp, "witness0.example") || strings.Count(cp, "\n— ") != 3 {
		t.Errorf("the witness serves signatures that it has not verified: %.300q", cp)
	}
}

func unknownSignature(name string, size int) string {
	raw := make([]byte, size)
	h := sha256.Sum256([]byte(name))
	copy(raw, h[:4])
	return "— " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// What is public can be repeated by anybody: the checkpoint on record, old ones, and the newest
// with an old size or a wrong proof. None of it uses the log's budget, or keeps it from a
// cosignature of the next second.
func TestALogIsLimitedAloneAndReplaysDoNotUseItsBudget(t *testing.T) {
	key, other, tr := ed25519Key(t, "example.com/log"), ed25519Key(t, "example.com/other"), newTree(t, "log", 40)
	now := time.Unix(1_800_000_000, 0)
	w, _ := open(t, witness.Config{Rate: 0.001, Burst: 10, Clock: func() time.Time { return now }}, key, other)
	url := serve(t, w)
	last := ""
	for i := range int64(5) {
		last = wantStatus(t, w, tr.request(i, i+1, key), http.StatusOK)
	}
	wrongProof := strings.Replace(tr.request(5, 6, key), "\n\n", "\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n\n", 1)
	for range 50 {
		if lines := wantStatus(t, w, tr.request(5, 5, key), http.StatusOK); lines != last {
			t.Fatalf("the checkpoint on record was cosigned again within a second: %s", lines)
		}
		wantStatus(t, w, tr.request(3, 5, key), http.StatusConflict)
		wantStatus(t, w, tr.request(2, 3, key), http.StatusConflict)
		wantStatus(t, w, tr.request(0, 40, key), http.StatusConflict)
		wantStatus(t, w, wrongProof, http.StatusUnprocessableEntity)
	}
	now = now.Add(time.Second)
	fresh := wantStatus(t, w, tr.request(5, 5, key), http.StatusOK)
	for _, at := range timestamps(t, w, tr.text(key.Name(), 5), fresh) {
		if at != now.Unix() {
			t.Errorf("cosigned at %d: want %d", at, now.Unix())
		}
	}
	if again := wantStatus(t, w, tr.request(5, 5, key), http.StatusOK); again != fresh {
		t.Errorf("another answer within that second: %s", again)
	}
	for i := range int64(5) {
		wantStatus(t, w, tr.request(5+i, 6+i, key), http.StatusOK)
	}
	wantStatus(t, w, tr.request(10, 11, key), http.StatusTooManyRequests)
	wantStatus(t, w, tr.request(0, 1, other), http.StatusOK)
	resp, err := http.Post(url+"/add-checkpoint", "", strings.NewReader(tr.request(10, 11, key)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

func TestExtensionLinesAreCosignedWithEd25519Only(t *testing.T) {
	key, tr := ed25519Key(t, "example.com/log"), newTree(t, "log", 10)
	w, _ := open(t, witness.Config{}, key)
	text := tr.text(key.Name(), 1) + "extension\n"
	signed, err := note.Sign(&note.Note{Text: text}, key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	lines := wantStatus(t, w, "old 0\n\n"+string(signed), http.StatusOK)
	n, err := note.Open([]byte(text+"\n"+lines), note.VerifierList(verifiers(t, w.VKeys()[:1])...))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		t.Errorf("cosignatures %q: want one of the Ed25519 key: %v", lines, err)
	}
}

func TestMetricsNameOnlyKnownLogs(t *testing.T) {
	key, stranger, tr := ed25519Key(t, "example.com/log"), ed25519Key(t, "stranger.example"), newTree(t, "log", 10)
	w, _ := open(t, witness.Config{Clock: func() time.Time { return time.Unix(1_800_000_000, 0) }}, key)
	url := serve(t, w)
	wantStatus(t, w, tr.request(0, 1, stranger), http.StatusNotFound)
	wantStatus(t, w, "nonsense", http.StatusBadRequest)
	wantStatus(t, w, tr.request(0, 3, key), http.StatusOK)
	wantStatus(t, w, tr.request(0, 4, key), http.StatusConflict)
	_, text := get(t, url+"/metrics")
	for _, line := range []string{
		`poclog_witness_logs 1`,
		`poclog_witness_log_size{origin="example.com/log"} 3`,
		`poclog_witness_cosigned_timestamp_seconds{origin="example.com/log"} 1.8e+09`,
		`poclog_witness_conflicts{origin="example.com/log"} 0`,
		`poclog_witness_add_checkpoint_total{origin="",status="400"} 1`,
		`poclog_witness_add_checkpoint_total{origin="",status="404"} 1`,
		`poclog_witness_add_checkpoint_total{origin="example.com/log",status="200"} 1`,
		`poclog_witness_add_checkpoint_total{origin="example.com/log",status="409"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "stranger") {
		t.Error("a stranger's origin is a label")
	}
	if got, body := get(t, url+"/health"); got != http.StatusOK || body != "ok\n" {
		t.Errorf("health: status %d, %q", got, body)
	}
}

func TestAWitnessWithoutItsStateDoesNotOpen(t *testing.T) {
	w, dir := open(t, witness.Config{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"state.db", "state.db-wal", "state.db-shm"} {
		os.Remove(filepath.Join(dir, f))
	}
	if _, err := witness.Open(dir, witness.Config{}); err == nil || !strings.Contains(err.Error(), "without which") {
		t.Errorf("a witness that has forgotten everything opens: %v", err)
	}
}

func TestInitRefusesAFolderThatHoldsAWitness(t *testing.T) {
	for _, f := range []string{"ed25519.key", "ed25519.agent", "mldsa44.key", "state.db"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, f), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := witness.Init(dir, witnessName); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("with %s: %v", f, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, f)); err != nil || string(text) != "precious" {
			t.Errorf("%s was changed: %v", f, err)
		}
	}
	for _, name := range []string{"", "two words", "a+b", strings.Repeat("x", 256)} {
		if err := witness.Init(t.TempDir(), name); err == nil {
			t.Errorf("the name %.20q was accepted", name)
		}
	}
}

func TestKeysAreForTheirOwnerAlone(t *testing.T) {
	w, dir := open(t, witness.Config{})
	keys, err := witness.Keys(dir)
	if err != nil || len(keys) != 2 || keys[0] != w.VKeys()[0] || keys[1] != w.VKeys()[1] {
		t.Errorf("keys %q: %v", keys, err)
	}
	for _, f := range []string{"ed25519.key", "mldsa44.key", "state.db"} {
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v: %v", f, info.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "mldsa44.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Open(dir, witness.Config{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read is used: %v", err)
	}
}
