package log_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

func submit(t *testing.T, l *testLog, sub *poclog.Submission) *client.Submitted {
	t.Helper()
	got, err := l.client.Submit(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// problemOf returns the problem that a submission was answered with.
func problemOf(t *testing.T, l *testLog, sub *poclog.Submission) *client.Problem {
	t.Helper()
	_, err := l.client.Submit(t.Context(), sub)
	var p *client.Problem
	if !errors.As(err, &p) {
		t.Fatalf("%v: want a problem", err)
	}
	return p
}

func (f *fab) collateral(t *testing.T, o chip.CollateralOptions) []byte {
	t.Helper()
	file, err := f.maker.Collateral(o).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Whoever submits a part of another's evidence first must not keep the whole out; nor must the
// part, again, look like anything new.
func TestEvidenceThatProvesMoreThanItsEntryIsLogged(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	part := f.submission(t, 1)
	whole := &poclog.Submission{Bundle: part.Bundle, Collateral: f.collateral(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)})}
	first := submit(t, l, part)
	if !first.New {
		t.Error("the first is not new")
	}
	second := submit(t, l, whole)
	if !second.New || second.Verdict.Index == first.Verdict.Index || len(second.Verdict.Entry.Checks) <= len(first.Verdict.Entry.Checks) {
		t.Errorf("with collateral: new %v, entry %d with checks %s", second.New, second.Verdict.Index, second.Verdict.Entry.Checks)
	}
	for _, again := range []*poclog.Submission{part, whole} {
		if got := submit(t, l, again); got.New || got.Verdict.Index != second.Verdict.Index {
			t.Errorf("again: new %v, entry %d: want entry %d", got.New, got.Verdict.Index, second.Verdict.Index)
		}
	}
	// A log that was started again knows the same.
	dir := l.dir
	if err := l.svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir, logConfig())
	for _, again := range []*poclog.Submission{part, whole} {
		if got := submit(t, l, again); got.New || got.Verdict.Index != second.Verdict.Index {
			t.Errorf("after a restart: new %v, entry %d: want entry %d", got.New, got.Verdict.Index, second.Verdict.Index)
		}
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 2 {
		t.Errorf("fsck: %+v", r)
	}
}

// A publisher whose connection broke may ask again when his collateral has expired.
func TestBundleInTheLogGetsItsReceiptHoweverLate(t *testing.T) {
	f := newFab()
	var skew atomic.Int64
	cfg := logConfig()
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	l := serve(t, f.initLog(t), cfg)
	collateral := f.collateral(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)})
	first := &poclog.Submission{Bundle: f.submission(t, 1).Bundle, Collateral: collateral}
	got := submit(t, l, first)
	skew.Store(int64(60 * 24 * time.Hour))
	if again := submit(t, l, first); again.New || again.Verdict.Index != got.Verdict.Index {
		t.Errorf("two months later: new %v, entry %d: want entry %d", again.New, again.Verdict.Index, got.Verdict.Index)
	}
	other := &poclog.Submission{Bundle: f.submission(t, 2).Bundle, Collateral: collateral}
	if p := problemOf(t, l, other); p.Check != string(verify.Collateral) {
		t.Errorf("another bundle: %+v", p)
	}
}

func TestEqualSubmissionsAtOneTimeAreOneEntry(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	var (
		mu      sync.Mutex
		created int
		indexes = make(map[uint64]bool)
		wg      sync.WaitGroup
	)
	for range 32 {
		sub := f.submission(t, 1)
		wg.Go(func() {
			got, err := l.client.Submit(t.Context(), sub)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			indexes[got.Verdict.Index] = true
			if got.New {
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 || len(indexes) != 1 {
		t.Errorf("%d new, entries %v: want one", created, indexes)
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 1 {
		t.Errorf("fsck: %+v", r)
	}
}

func TestPanicOfAnAppraiserIsOneAnswer(t *testing.T) {
	f := newFab()
	cfg := logConfig()
	cfg.Appraise = func(in profile.Input) (*verify.Appraisal, error) {
		if len(in.Collateral) > 0 {
			panic("a library's")
		}
		return profile.Appraise(in)
	}
	l := serve(t, f.initLog(t), cfg)
	bad := f.submission(t, 1)
	bad.Collateral = f.collateral(t, chip.CollateralOptions{At: time.Now()})
	if p := problemOf(t, l, bad); p.Status != http.StatusInternalServerError || strings.Contains(p.Detail, "library") {
		t.Errorf("%+v: want 500 that tells nothing", p)
	}
	submit(t, l, f.submission(t, 1))
}

// What another implementation refuses is not admitted, and the answer says so. It is no part of the
// appraisal: an entry that is in the log by then is as sound as before, so that no upgrade of a
// library convicts the log.
func TestSecondOpinionRefusesAtAdmissionAlone(t *testing.T) {
	f := newFab()
	cfg := logConfig()
	var refuses atomic.Bool
	cfg.SecondOpinion = func(*poclog.Bundle, time.Time) error {
		if refuses.Load() {
			return verify.Failf(verify.SecondOpinion, "a library refuses the quote")
		}
		return nil
	}
	l := serve(t, f.initLog(t), cfg)
	first, second := f.submission(t, 1), f.submission(t, 2)
	before := submit(t, l, first)
	refuses.Store(true)
	if p := problemOf(t, l, second); p.Status != http.StatusUnprocessableEntity || p.Check != string(verify.SecondOpinion) {
		t.Errorf("%+v: want 422 with check %s", p, verify.SecondOpinion)
	}
	if again := submit(t, l, first); again.New || again.Verdict.Index != before.Verdict.Index {
		t.Errorf("what was logged before: new %v, entry %d", again.New, again.Verdict.Index)
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 1 {
		t.Errorf("fsck: %+v", r)
	}
}

// Where the guard cannot keep what it signs, nothing is published; what is in the tree by then is
// found again, once.
func TestLostGuardDiskStopsPublicationAndLosesNothing(t *testing.T) {
	f := newFab()
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	cfg := logConfig()
	cfg.Guard = filepath.Join(elsewhere, "guard")
	cfg.PublishTimeout = time.Second
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy(), Guard: cfg.Guard}); err != nil {
		t.Fatal(err)
	}
	l := serve(t, dir, cfg)
	if err := os.Rename(elsewhere, elsewhere+".lost"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p := problemOf(t, l, f.submission(t, 1))
		if p.Status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
			t.Errorf("%+v: want 503 and Retry-After", p)
		}
	}
	if p := problemOf(t, l, f.submission(t, 2)); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "guard") {
		t.Errorf("%+v: want 503 that names the guard", p)
	}
	resp, err := http.Get(l.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("health: %d", resp.StatusCode)
	}
	if err := os.Rename(elsewhere+".lost", elsewhere); err != nil {
		t.Fatal(err)
	}
	waitHealthy(t, l)
	if got := eventually(t, l, f.submission(t, 1)); got.New || got.Verdict.Index != 1 {
		t.Errorf("new %v, entry %d: want the entry 1 that was in the tree", got.New, got.Verdict.Index)
	}
	if got := eventually(t, l, f.submission(t, 2)); got.Verdict.Index != 2 {
		t.Errorf("entry %d: want 2", got.Verdict.Index)
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Size != 3 {
		t.Errorf("fsck: %+v", r)
	}
}

func TestShutdownAnswersWhatWasAdmitted(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	var (
		mu       sync.Mutex
		receipts [][]byte
		wg       sync.WaitGroup
	)
	first := make(chan struct{})
	var once sync.Once
	for i := range 16 {
		sub := f.submission(t, uint64(i))
		wg.Go(func() {
			once.Do(func() { close(first) })
			got, err := l.client.Submit(t.Context(), sub)
			var p *client.Problem
			if errors.As(err, &p) && p.Status == http.StatusServiceUnavailable && strings.Contains(p.Detail, "shutting down") {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			receipts = append(receipts, got.Receipt)
		})
	}
	<-first
	time.Sleep(20 * time.Millisecond)
	if err := l.svc.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if len(receipts) == 0 {
		t.Error("no submission was answered")
	}
	if p := problemOf(t, l, f.submission(t, 100)); p.Status != http.StatusServiceUnavailable {
		t.Errorf("after the shutdown: %+v", p)
	}
	again := serve(t, l.dir, logConfig())
	for _, r := range receipts {
		if _, err := again.client.Refresh(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	if r := again.fsck(t); len(r.Findings) > 0 || r.Proofs != uint64(len(receipts)) {
		t.Errorf("fsck: %+v: want %d proofs", r, len(receipts))
	}
}

func TestHistoricalEvidenceIsJudgedAtItsTimeAndNow(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	at := time.Now().AddDate(0, -6, 0).UTC().Truncate(time.Second)
	sub := f.submission(t, 1)
	sub.Collateral, sub.Judged = f.collateral(t, chip.CollateralOptions{At: at.Add(-time.Hour)}), at
	if got := submit(t, l, sub); !got.Verdict.Entry.Appraised.Equal(at) {
		t.Errorf("judged at %s: want %s", got.Verdict.Entry.Appraised, at)
	}
	for _, bad := range []struct {
		name  string
		check verify.Check
		at    time.Time
	}{
		{"in the future", verify.Format, time.Now().Add(time.Hour)},
		{"before its chain", verify.TEEChain, time.Now().AddDate(-2, 0, 0)},
	} {
		sub := f.submission(t, 2)
		sub.Judged = bad.at.UTC().Truncate(time.Second)
		if p := problemOf(t, l, sub); p.Check != string(bad.check) {
			t.Errorf("%s: %+v: want check %s", bad.name, p, bad.check)
		}
	}
	// Collateral of then does not judge now.
	sub = f.submission(t, 3)
	sub.Collateral = f.collateral(t, chip.CollateralOptions{At: at.Add(-time.Hour)})
	if p := problemOf(t, l, sub); p.Check != string(verify.Collateral) || p.Status != http.StatusUnprocessableEntity {
		t.Errorf("old collateral now: %+v", p)
	}
}

func TestUnsignedCollateralOfASubmitterIsRefused(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	c := new(poclog.Collateral).With(poclog.CollateralItem{
		Kind: poclog.ChipRegistry, URL: "https://registry.example/x", Time: poclog.UnixTime(1), Status: 200, Body: []byte(`{"zone":"z"}`),
	})
	file, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sub := f.submission(t, 1)
	sub.Collateral = file
	if p := problemOf(t, l, sub); p.Check != string(verify.Collateral) || !strings.Contains(p.Detail, "unsigned") {
		t.Errorf("%+v", p)
	}
}
