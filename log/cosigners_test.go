package log_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/witness/audit"
)

// An auditor that policy.txt names, and the quorum does not, cosigns when it has re-verified every entry: a logged receipt becomes an audited
// one by refresh.
func TestAuditorsCosignatureIsAddedWhenItComes(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	name, folder := "audit.test", filepath.Join(t.TempDir(), "audit")
	if err := audit.Init(folder, name); err != nil {
		t.Fatal(err)
	}
	a, err := audit.Open(folder, audit.Config{Interval: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	auditor := httptest.NewServer(a.Handler())
	t.Cleanup(auditor.Close)
	path := filepath.Join(dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	logOnly := string(text)
	keys := a.VKeys()
	withAuditor := strings.Replace(logOnly, "quorum none\n", fmt.Sprintf("witness a-ed %s %s\nwitness a-pq %s %s\ngroup auditors any a-ed a-pq\nquorum none\n", keys[0], auditor.URL, keys[1], auditor.URL), 1)
	if err := os.WriteFile(path, []byte(withAuditor), 0o644); err != nil {
		t.Fatal(err)
	}
	l := serve(t, dir, logConfig())
	if _, err := a.AddLog(t.Context(), l.url, logOnly); err != nil {
		t.Fatal(err)
	}
	got, err := l.client.Submit(t.Context(), f.submission(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Look(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	demands := receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab, Standing: receipt.Audited}
	var last error
	for range 150 {
		moved, err := l.client.Refresh(t.Context(), got.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		v, err := receipt.Check(moved, l.policy, time.Now(), demands)
		if last = err; err == nil {
			if v.Verdict != receipt.Audited || len(v.Witnesses) == 0 {
				t.Errorf("%s by %v", v.Verdict, v.Witnesses)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the receipt did not become audited: %v", last)
}
