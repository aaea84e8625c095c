package log_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/audit"
)

// A wanderer is a witness whose clock is off.
type wanderer struct {
	*witness.Witness
	off atomic.Int64 // a time.Duration
	url string
	srv *httptest.Server
}

// withClocks rewrites a log's policy.txt: witnesses whose clocks are off, of which some number is
// the quorum.
func withClocks(t *testing.T, dir string, quorum int, off ...time.Duration) []*wanderer {
	t.Helper()
	path := filepath.Join(dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	policy, names := strings.Replace(string(text), "quorum none\n", "", 1), ""
	var list []*wanderer
	for i, d := range off {
		w := new(wanderer)
		w.off.Store(int64(d))
		name, folder := fmt.Sprintf("w%d.test", i), filepath.Join(t.TempDir(), "witness")
		if err := witness.Init(folder, name); err != nil {
			t.Fatal(err)
		}
		var err error
		w.Witness, err = witness.Open(folder, witness.Config{Clock: func() time.Time { return time.Now().Add(time.Duration(w.off.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AddLog(t.Context(), logKeys(t, dir)...); err != nil {
			t.Fatal(err)
		}
		w.srv = httptest.NewServer(w.Handler())
		t.Cleanup(func() { w.srv.Close(); w.Close() })
		w.url = w.srv.URL
		list = append(list, w)
		policy += fmt.Sprintf("witness w%d %s %s\n", i, w.VKeys()[0], w.url)
		names += fmt.Sprintf(" w%d", i)
	}
	policy += fmt.Sprintf("group g %d%s\nquorum g\n", quorum, names)
	if err := os.WriteFile(path, []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	return list
}

func logKeys(t *testing.T, dir string) (vkeys []string) {
	t.Helper()
	for _, l := range readPolicy(t, dir).Logs() {
		vkeys = append(vkeys, l.VKey)
	}
	return vkeys
}

// fresh is a new quote that answers a challenge of now.
func (f *fab) fresh(t *testing.T, l *testLog) *poclog.Submission {
	t.Helper()
	c, err := l.client.Challenge(t.Context(), poclog.TDX, poclog.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	item, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := new(poclog.Bundle)
	b.Set(poclog.ItemChallenge, item)
	b.Set(poclog.ItemTDXQuote, f.platform.Quote(chip.TD{ReportData: c.ReportData(nil)}))
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file}
}

// What a log logs while its witnesses' clocks differ from its own by less than the skew, its own
// client and its auditors take.
func TestClocksThatDifferByLessThanTheSkewCostNothing(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Second, -2 * time.Second, 50 * time.Second, -50 * time.Second} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			f := newFab()
			dir := f.initLog(t)
			withClocks(t, dir, 1, off)
			l := serve(t, dir, logConfig())
			got, err := l.client.Submit(t.Context(), f.fresh(t, l))
			if err != nil {
				t.Fatal(err)
			}
			v, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{UnsafeLevel0: true, UnsafeRealm: poclog.Lab, MaxAge: 2 * time.Minute})
			if err != nil {
				t.Error(err)
			} else if early := v.T1.Time.After(v.Entry.Appraised); early != (off > time.Second) {
				t.Errorf("t1 %s, appraised %s", v.T1.Time, v.Entry.Appraised)
			}
			auditWhole(t, l)
		})
	}
}

// auditWhole audits a log with an auditor of its own.
func auditWhole(t *testing.T, l *testLog) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "audit")
	if err := audit.Init(folder, "audit.test"); err != nil {
		t.Fatal(err)
	}
	a, err := audit.Open(folder, audit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	text, err := os.ReadFile(filepath.Join(l.dir, "policy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddLog(t.Context(), l.url, string(text)); err != nil {
		t.Fatal(err)
	}
	if err := a.Look(t.Context(), origin); err != nil {
		t.Error(err)
	}
}

// A log does not judge while so many of its witnesses' clocks are off that its own client would
// refuse the receipt: it says whose.
func TestClocksThatDifferByMoreThanTheSkewStopAdmission(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withClocks(t, dir, 1, 0)
	cfg := logConfig()
	cfg.Republish = 100 * time.Millisecond
	l := serve(t, dir, cfg)
	witnesses[0].off.Store(int64(verify.MaxSkew + 10*time.Second))
	for l.health(t).Status == "ok" { // until the next checkpoint
	}
	p := problemOf(t, l, f.submission(t, 1))
	if p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 || !strings.Contains(p.Detail, "w0 ("+witnesses[0].url+") is 1m") {
		t.Errorf("%+v: want 503, Retry-After, and whose clock is off", p)
	}
	if h := l.health(t); h.Size != 1 || !strings.Contains(strings.Join(h.Reasons, "\n"), "w0 (") {
		t.Errorf("%+v", h)
	}
}

// Not even a config entry is logged, nothing is admitted, and the log goes on by itself once the
// clocks are right.
func TestLogAdmitsOnceClocksAreRight(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withClocks(t, dir, 1, -verify.MaxSkew-10*time.Second)
	cfg := logConfig()
	cfg.Republish, cfg.PublishTimeout = 100*time.Millisecond, 200*time.Millisecond
	l := serve(t, dir, cfg)
	for _, want := range []string{"config entry: clocks differ by over 1m0s", "w0 ("} {
		if h := l.health(t); h.Status != "failing" || h.Size != 0 || !strings.Contains(strings.Join(h.Reasons, "\n"), want) {
			t.Errorf("%+v: want %q", h, want)
		}
	}
	if p := problemOf(t, l, f.submission(t, 1)); p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
		t.Errorf("%+v", p)
	}
	witnesses[0].off.Store(0)
	waitHealthy(t, l)
	eventually(t, l, f.submission(t, 1))
	auditWhole(t, l)
}

// One clock of three that is off does not stop a log, and is named: no two of them are off.
func TestOneClockOfThreeThatIsOffIsNamed(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withClocks(t, dir, 3, 0, 0, 2*time.Hour)
	l := serve(t, dir, logConfig())
	submit(t, l, f.fresh(t, l))
	if h := l.health(t); h.Status != "ok" || !strings.Contains(strings.Join(h.Warnings, "\n"), "the clock of w2 ("+witnesses[2].url+") is 1h59m") {
		t.Errorf("%+v", h)
	}
}

// Who does not answer, or refuses, is named wherever the log waits: to the submitter, in /health
// and in its messages.
func TestWitnessesThatDoNotCosignAreNamed(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	witnesses := withClocks(t, dir, 2, 0, 0, 0)
	cfg := logConfig()
	cfg.PublishTimeout = time.Second
	var messages bytes.Buffer
	l := serveLogging(t, dir, cfg, slog.New(slog.NewTextHandler(&messages, nil)))
	witnesses[1].srv.Close()
	if err := witnesses[2].RemoveLog(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	p := problemOf(t, l, f.submission(t, 1))
	for _, want := range []string{"waiting for w1 (" + witnesses[1].url + "): ", "connection refused", "w2 (" + witnesses[2].url + `): status 404: unknown log "` + origin + `"`} {
		if p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, want) {
			t.Errorf("%+v: want 503 and %q", p, want)
		}
		if h := l.health(t); !strings.Contains(strings.Join(h.Warnings, "\n"), strings.TrimPrefix(want, "waiting for ")) {
			t.Errorf("%+v: want %q", h, want)
		}
	}
	if strings.Contains(p.Detail, "w0") || strings.Contains(p.Detail, "deadline") {
		t.Errorf("%q", p.Detail)
	}
	if err := witnesses[2].AddLog(t.Context(), logKeys(t, dir)...); err != nil {
		t.Fatal(err)
	}
	submit(t, l, f.submission(t, 1))
	for _, want := range []string{`witness="w1 (` + witnesses[1].url, `witness="w2 (`} {
		if strings.Count(messages.String(), `msg="no cosignature" `+want) != 1 {
			t.Errorf("%q: want %q once", messages.String(), want)
		}
	}
}
