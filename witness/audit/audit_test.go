package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/audit"
)

func originHash() string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// policyWith is the tlog-policy of a reader who knows an auditor by its Ed25519 key.
func policyWith(t testing.TB, logLines string, a *audit.Auditor) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(logLines + "witness a1 " + a.VKeys()[0] + "\ngroup auditors all a1\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get asks an auditor.
func get(t testing.TB, a *audit.Auditor, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func report(t testing.TB, a *audit.Auditor) *audit.Report {
	t.Helper()
	w := get(t, a, "/audit/"+originHash())
	var r audit.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK {
		t.Fatalf("report: %d, %v: %s", w.Code, err, w.Body)
	}
	return &r
}

// wantServed wants the auditor to serve a checkpoint of a size with the log's and its own
// cosignature, and none of a larger tree.
func wantServed(t testing.TB, a *audit.Auditor, size uint64) []byte {
	t.Helper()
	w := get(t, a, "/"+originHash()+"/checkpoint")
	if size == 0 {
		if w.Code != http.StatusNotFound {
			t.Fatalf("checkpoint: %d: %s: want none", w.Code, w.Body)
		}
		return nil
	}
	if w.Code != http.StatusOK {
		t.Fatalf("checkpoint: %d: %s", w.Code, w.Body)
	}
	v, err := policyWith(t, "log "+logKey.VKey+"\n", a).OpenLogged(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !v.Satisfies("auditors") || v.Size != size {
		t.Fatalf("the auditor serves size %d, cosigned %v: want %d", v.Size, v.Satisfies("auditors"), size)
	}
	return w.Body.Bytes()
}

func look(t testing.TB, a *audit.Auditor) {
	t.Helper()
	if err := a.Look(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
}

func TestHonestLogIsAuditedAndCosigned(t *testing.T) {
	l := newLab(t)
	a, _ := l.auditor(audit.Config{})
	wantServed(t, a, 0)
	for _, n := range []int{0, 1, 253, 1, 1, 300} { // up to, onto and over the edges of batches
		l.good(n)
		l.publish()
		look(t, a)
		wantServed(t, a, l.size())
	}
	// A new policy, evidence with collateral, and evidence that answers a challenge.
	second := l.appraisalPolicy(500)
	l.add(l.entry(evidence{collateral: true}, nil), l.config(second), l.entry(evidence{policy: second, collateral: true}, nil),
		l.entry(evidence{policy: second, challenged: l.start.Add(-100 * time.Second)}, nil),
		// Whose clock the witness's is ahead of, and behind: it was judged a minute before its
		// challenge was cosigned, or after it was seen.
		l.entry(evidence{policy: second, challenged: l.start.Add(verify.MaxSkew)}, nil),
		l.entry(evidence{policy: second, challenged: l.start, appraised: l.start.Add(verify.MaxSkew)}, nil))
	l.publish()
	look(t, a)
	wantServed(t, a, l.size())
	r := report(t, a)
	if r.Audited != l.size() || r.Target != l.size() || r.Cosigned != l.size() || len(r.Refused) != 0 || r.WithheldTotal != 0 || r.Trouble != "" || r.Auditor != auditorName {
		t.Errorf("%+v", r)
	}
	for d, n := range l.asked {
		if _, bundle := l.files[d]; !bundle || n > 20 {
			t.Errorf("%s was asked for %d times", d, n)
		}
	}
}

// addCheckpoint asks an auditor as the log does.
func (l *lab) addCheckpoint(a *audit.Auditor, old, size uint64) (status int, body string, header http.Header) {
	l.t.Helper()
	req := witness.Request{Old: old, Note: l.log.Checkpoint(size, testlog.Cosigner{Signer: logKey, At: l.start})}
	if old > 0 && old < size {
		req.Proof = l.consistency(old, size)
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/add-checkpoint", bytes.NewReader(req.Marshal())))
	return w.Code, w.Body.String(), w.Header()
}

func TestSmallerCheckpointIsTroubleAndNotCosigned(t *testing.T) {
	l := newLab(t)
	l.good(2)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	look(t, a)
	l.server.Set(l.log, l.signed(2, l.start), nil)
	err := a.Look(t.Context(), origin)
	var refused *audit.Refused
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "smaller than 3") {
		t.Errorf("%v", err)
	}
	wantServed(t, a, 3)
}

// Every byte of an entry is covered: whichever is changed, the entry is refused. Only the time of
// appraisal is the log's own to say, within its bounds: evidence that would have been judged the
// same a second earlier supports that as well.
func TestEveryByteOfAnEntryIsVerified(t *testing.T) {
	l := newLab(t)
	leaf := l.entry(evidence{collateral: true, challenged: l.start.Add(-time.Minute)}, nil)
	base := l.log
	appraised := bytes.Index(leaf, []byte(`"appraised":"`)) + len(`"appraised":"`)
	for from := 0; from < len(leaf); from += 255 {
		l.log = base
		for i := from; i < min(from+255, len(leaf)); i++ {
			changed := bytes.Clone(leaf)
			changed[i] ^= 1
			l.add(changed)
		}
		l.publish()
		a, _ := l.auditor(audit.Config{})
		var refused *audit.Refused
		if err := a.Look(t.Context(), origin); !errors.As(err, &refused) {
			t.Fatalf("from byte %d: %v", from, err)
		}
		refusals := make(map[int]bool)
		for _, f := range report(t, a).Refused {
			refusals[from+int(f.Entry)-1] = true
		}
		for i := from; i < min(from+255, len(leaf)); i++ {
			if own := i >= appraised && i < appraised+len("2026-01-02T15:04:05Z"); !refusals[i] && !own {
				t.Errorf("a changed byte %d passed, in %s", i, leaf[max(0, i-30):i+1])
			}
		}
		wantServed(t, a, 0)
	}
}

func TestFirstEntryMustBeAConfig(t *testing.T) {
	l := newLab(t)
	proof := l.entry(evidence{}, nil)
	l.log = &testlog.Log{Origin: origin, Leaves: [][]byte{proof}}
	l.publish()
	a, _ := l.auditor(audit.Config{})
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "entry 0: audit.config") {
		t.Errorf("%v", err)
	}
}

func TestEvidenceThatComesBackResolvesARefusal(t *testing.T) {
	l := newLab(t)
	leaf := l.entry(evidence{}, nil)
	bundle := must(poclog.ParseEntry(leaf)).Evidence.Bundle.SHA256
	l.answer(bundle, http.StatusNotFound)
	l.add(leaf)
	l.good(1)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	for range 2 {
		if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "entry 1: audit.evidence") {
			t.Fatalf("%v", err)
		}
	}
	l.answer(bundle, 0)
	look(t, a)
	wantServed(t, a, 3)
	if r := report(t, a); len(r.Refused) != 1 || r.Refused[0].Resolved == "" {
		t.Errorf("%+v: want the refusal as resolved", r.Refused)
	}
}

func TestFailureOfTheNetworkIsNoRefusal(t *testing.T) {
	l := newLab(t)
	leaf := l.entry(evidence{}, nil)
	bundle := must(poclog.ParseEntry(leaf)).Evidence.Bundle.SHA256
	l.answer(bundle, http.StatusTeapot)
	l.add(leaf)
	l.publish()
	a, _ := l.auditor(audit.Config{})
	err := a.Look(t.Context(), origin)
	var refused *audit.Refused
	if err == nil || errors.As(err, &refused) {
		t.Fatalf("%v: want an error that is no refusal", err)
	}
	if r := report(t, a); len(r.Refused) != 0 || !strings.Contains(r.Trouble, "entry 1: bundle") || r.Audited != 1 {
		t.Errorf("%+v", r)
	}
	wantServed(t, a, 0)
	l.answer(bundle, 0)
	look(t, a)
	wantServed(t, a, 2)
	if r := report(t, a); r.Trouble != "" {
		t.Errorf("trouble %q", r.Trouble)
	}
}

func TestLogThatServesOtherEntriesThanItsTreesIsNotCosigned(t *testing.T) {
	l := newLab(t)
	l.good(2)
	l.server.Set(l.log, l.signed(3, l.start), func(path string, b []byte) []byte {
		if strings.HasPrefix(path, "/tile/entries/") {
			return bytes.Replace(b, []byte(`"level":0`), []byte(`"level":2`), 1)
		}
		return b
	})
	a, _ := l.auditor(audit.Config{})
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "not that of the tree") {
		t.Errorf("%v", err)
	}
	wantServed(t, a, 0)
}

func TestSplitViewIsKeptAndNotCosigned(t *testing.T) {
	for _, grown := range []int{0, 3} {
		t.Run(fmt.Sprintf("grown by %d", grown), func(t *testing.T) {
			l := newLab(t)
			first := l.log
			l.good(2)
			l.publish()
			a, _ := l.auditor(audit.Config{})
			look(t, a)
			before := wantServed(t, a, 3)
			l.log = first
			l.good(2 + grown)
			l.publish()
			err := a.Look(t.Context(), origin)
			var refused *audit.Refused
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), "two histories") {
				t.Fatalf("%v", err)
			}
			if after := wantServed(t, a, 3); !bytes.Equal(before, after) {
				t.Errorf("another checkpoint is served: %s", after)
			}
			r := report(t, a)
			if len(r.SplitViews) != 1 {
				t.Fatalf("%d split views are reported", len(r.SplitViews))
			}
			var file bytes.Buffer
			if err := json.Compact(&file, r.SplitViews[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := receipt.CheckSplitView(file.Bytes(), must(tlogpolicy.Parse([]byte("log "+logKey.VKey+"\nquorum none\n")))); err != nil {
				t.Errorf("the split view proves nothing: %v", err)
			}
			if w := get(t, a, "/metrics"); !strings.Contains(w.Body.String(), `poclog_audit_refused{origin="log.test/2026"} 1`) || !strings.Contains(w.Body.String(), "poclog_witness_log_size") {
				t.Errorf("metrics: %s", w.Body)
			}
		})
	}
}

func TestLogThatAsksIsAnsweredOnceItsEntriesWereAudited(t *testing.T) {
	l := newLab(t)
	l.good(5)
	l.publish()
	a, _ := l.auditor(audit.Config{Wait: 50 * time.Millisecond})
	hold := make(chan struct{})
	l.mu.Lock()
	l.hold = hold
	l.mu.Unlock()
	status, body, header := l.addCheckpoint(a, 0, 6)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, "under way") {
		t.Fatalf("%d: %s", status, body)
	}
	wantServed(t, a, 0)
	close(hold)
	deadline := time.Now().Add(20 * time.Second)
	for status != http.StatusOK && time.Now().Before(deadline) {
		status, body, _ = l.addCheckpoint(a, 0, 6)
	}
	if status != http.StatusOK || strings.Count(body, "\n") != 2 {
		t.Fatalf("%d: %q: want two cosignature lines", status, body)
	}
	wantServed(t, a, 6)
	// The checkpoint of a tree that the log does not serve is not cosigned.
	if status, body, _ := l.addCheckpoint(a, 5, 6); status != http.StatusConflict || body != "6\n" {
		t.Errorf("an old size that is not the latest: %d: %s", status, body)
	}
}

func TestAppraiserThatPanicsRefusesOneEntry(t *testing.T) {
	l := newLab(t)
	l.good(2)
	l.publish()
	a, _ := l.auditor(audit.Config{Appraise: func(in profile.Input) (*verify.Appraisal, error) { panic("index out of range") }})
	if err := a.Look(t.Context(), origin); err == nil || !strings.Contains(err.Error(), "entry 1: audit.leaf: the appraisal failed: index out of range") {
		t.Errorf("%v", err)
	}
}

func TestPlainWitnessCannotSignWithAnAuditorsKeys(t *testing.T) {
	l := newLab(t)
	a, dir := l.auditor(audit.Config{})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := witness.Open(dir, witness.Config{}); err == nil || !strings.Contains(err.Error(), "keys of an auditor") {
		t.Errorf("a witness on an auditor's folder: %v", err)
	}
	if err := audit.Init(dir, auditorName); err == nil {
		t.Error("an auditor was made twice")
	}
	plain := t.TempDir()
	if err := witness.Init(plain, auditorName); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(plain, audit.Config{}); err == nil || !strings.Contains(err.Error(), "no auditor here") {
		t.Errorf("an auditor on a witness's folder: %v", err)
	}
	if err := audit.Init(plain, auditorName); err == nil {
		t.Error("a witness was made an auditor")
	}
}

func TestLogsAreAddedByTheirPolicy(t *testing.T) {
	l := newLab(t)
	a, _ := l.auditor(audit.Config{})
	other := testlog.LogKey("other.test/1")
	for name, c := range map[string][2]string{
		"two logs":    {l.url, "log " + logKey.VKey + "\nlog " + other.VKey + "\nquorum none\n"},
		"no log":      {l.url, "witness w1 " + witnessKey.VKey + "\nquorum w1\n"},
		"no policy":   {l.url, "nonsense\n"},
		"no URL":      {"nonsense", l.text},
		"another URL": {"ftp://log.test", l.text},
	} {
		if _, err := a.AddLog(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	if err := a.RemoveLog(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := l.addCheckpoint(a, 0, 1); status != http.StatusNotFound {
		t.Errorf("add-checkpoint of a removed log: %d", status)
	}
	if w := get(t, a, "/audit/"+strings.Repeat("0", 64)); w.Code != http.StatusNotFound {
		t.Errorf("the report of an unknown log: %d", w.Code)
	}
	if w := get(t, a, "/audit/"+originHash()+"?from=x"); w.Code != http.StatusBadRequest {
		t.Errorf("a list from x on: %d", w.Code)
	}
}
