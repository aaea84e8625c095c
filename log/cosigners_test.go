package log_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/witness/audit"
)

// audited serves a log with an auditor that policy.txt names, and the quorum does not. The auditor
// begins to read after a function.
func audited(t *testing.T, f *fab, before func(l *testLog)) (*testLog, *audit.Auditor) {
	t.Helper()
	dir, folder := f.initLog(t), filepath.Join(t.TempDir(), "audit")
	if err := audit.Init(folder, "audit.test"); err != nil {
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
	logOnly, lines := string(text), ""
	for i, k := range slices.Concat(a.VKeys(), a.ExceptVKeys()) {
		lines += fmt.Sprintf("witness a%d %s %s\n", i, k, auditor.URL)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(logOnly, "quorum none\n", lines+"group auditors any a0 a1\nquorum none\n", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	l := serve(t, dir, logConfig())
	before(l)
	if _, err := a.AddLog(t.Context(), l.url, logOnly); err != nil {
		t.Fatal(err)
	}
	return l, a
}

// becomesAudited refreshes a receipt until it is audited.
func becomesAudited(t *testing.T, l *testLog, file []byte) (*receipt.Verdict, []byte) {
	t.Helper()
	demands := receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab, Standing: receipt.Audited}
	var last error
	for range 150 {
		moved, err := l.client.Refresh(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := receipt.Check(moved, l.policy, time.Now(), demands)
		if last = err; err == nil {
			return v, moved
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the receipt did not become audited: %v", last)
	return nil, nil
}

// An auditor that policy.txt names, and the quorum does not, cosigns when it has re-verified every
// entry: a logged receipt becomes an audited one by refresh.
func TestAuditorsCosignatureIsAddedWhenItComes(t *testing.T) {
	f := newFab()
	l, a := audited(t, f, func(*testLog) {})
	got := submit(t, l, f.submission(t, 1))
	if err := a.Look(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	if v, _ := becomesAudited(t, l, got.Receipt); fmt.Sprint(v.Auditors) != "[audit.test]" || v.Unseen != 0 {
		t.Errorf("%+v", v)
	}
	if _, body := get(t, l.url+"/v1/exceptions"); body != "" {
		t.Errorf("%q: want no note of exceptions", body)
	}
}

// What the log withheld before the auditor saw it stays logged. A receipt of any other entry
// becomes audited by the auditor's note, which the log serves beside its checkpoint and puts into
// receipts.
func TestReceiptBecomesAuditedByANoteOfExceptions(t *testing.T) {
	f := newFab()
	secret, open := f.submission(t, 1), f.submission(t, 2)
	var hidden *client.Submitted
	l, a := audited(t, f, func(l *testLog) {
		hidden = submit(t, l, secret)
		if err := os.WriteFile(filepath.Join(l.dir, "withheld.txt"), []byte(poclog.Sum(secret.Bundle).String()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	shown := submit(t, l, open)
	if err := a.Look(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	v, moved := becomesAudited(t, l, shown.Receipt)
	if fmt.Sprint(v.Auditors) != "[audit.test]" || v.Unseen != 1 {
		t.Errorf("%+v", v)
	}
	r, err := poclog.ParseReceipt(moved)
	if err != nil || len(r.Exceptions) != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	e, err := poclog.ParseExceptions(r.Exceptions[0])
	if err != nil || e.Auditor != "audit.test/except" || fmt.Sprint(e.Except) != "[1]" || e.Size != 3 {
		t.Errorf("%v, %+v", err, e)
	}
	if moved, err = l.client.Refresh(t.Context(), hidden.Receipt); err != nil {
		t.Fatal(err)
	}
	demands := receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab, Standing: receipt.Audited}
	if v, err := receipt.Check(moved, l.policy, time.Now(), demands); err == nil || !strings.Contains(err.Error(), `stands on "logged"`) {
		t.Errorf("%v, %+v: the withheld entry is audited", err, v)
	}
	// Whoever submits it again gets the note with the receipt.
	again := submit(t, l, open)
	if v, err := receipt.Check(again.Receipt, l.policy, time.Now(), demands); again.New || err != nil || v.Unseen != 1 {
		t.Errorf("%v, %+v", err, v)
	}
}
