package log_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/log"
)

// A market is a laboratory cloud, the server of its manufacturer and provider, and a log that asks
// it for collateral.
type market struct {
	*testLog
	cloud  *gce.Cloud
	vm     *gce.VM
	server *pcs.Server
	cache  *collateral.Cache
}

func newMarket(t *testing.T, change func(*log.Config, *poclog.Policy, *collateral.Config)) *market {
	t.Helper()
	m := &market{cloud: gce.New("market", time.Now().AddDate(-1, 0, 0))}
	m.cloud.Advance(time.Since(m.cloud.Now))
	h, err := m.cloud.NewHost(m.cloud.Zones[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.vm, err = h.NewVM(0, gce.VMConfig{}); err != nil {
		t.Fatal(err)
	}
	m.server = pcs.New(m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)}))
	srv := httptest.NewServer(m.server)
	t.Cleanup(srv.Close)
	policy := m.cloud.Policy(nil, "")
	cfg, caching := logConfig(), collateral.Config{Backoff: 20 * time.Millisecond}
	if change != nil {
		change(&cfg, policy, &caching)
	}
	intel, err := collateral.NewIntel(srv.URL, policy.RootsFor(poclog.RootIntelSGX))
	if err != nil {
		t.Fatal(err)
	}
	google, err := collateral.NewGoogle(srv.URL, policy)
	if err != nil {
		t.Fatal(err)
	}
	if m.cache, err = collateral.Open(filepath.Join(t.TempDir(), "collateral"), caching, intel, google); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.cache.Close) // after the log's own, for it uses the cache
	cfg.Collateral = m.cache
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	m.testLog = serve(t, dir, cfg)
	return m
}

func (m *market) issue(t *testing.T, o chip.CollateralOptions) *poclog.Collateral {
	t.Helper()
	return m.cloud.Collateral(o)
}

// prove has the VM answer a challenge; the submission brings no collateral.
func (m *market) prove(t *testing.T) *poclog.Submission {
	t.Helper()
	ch, err := m.client.Challenge(t.Context(), poclog.GCETDXvTPM, poclog.Sum([]byte("tls key")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.vm.Prove(ch)
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file}
}

func (l *testLog) health(t *testing.T) (h struct {
	Status     string
	Size       uint64
	Reasons    []string
	Warnings   []string
	Collateral []poclog.CollateralState
}) {
	t.Helper()
	_, body := get(t, l.url+"/health")
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLogFetchesWhatJudgesFreshEvidence(t *testing.T) {
	m := newMarket(t, nil)
	sub := m.prove(t)
	got := submit(t, m.testLog, sub)
	e := got.Verdict.Entry
	if !got.New || e.Level != poclog.LevelBound || e.CVM.TCB == nil || e.CVM.TCB.Evaluation != 17 || e.CVM.EndorsedBy != "provider" {
		t.Fatalf("level %d, %+v", e.Level, e.CVM)
	}
	asked := m.server.Asked("/")
	for range 3 {
		if e := submit(t, m.testLog, m.prove(t)).Verdict.Entry; e.Level != poclog.LevelBound {
			t.Errorf("level %d", e.Level)
		}
	}
	if again := submit(t, m.testLog, sub); again.New || again.Verdict.Index != got.Verdict.Index {
		t.Error("the same evidence again is another entry")
	}
	if n := m.server.Asked("/") - asked; n != 0 {
		t.Errorf("%d more requests for one platform", n)
	}
	h := m.health(t)
	if h.Status != "ok" || len(h.Warnings) > 0 || len(h.Collateral) != 5 || h.Collateral[0].DaysLeft < 29 {
		t.Errorf("%+v", h)
	}
	if r := m.fsck(t); len(r.Findings) > 0 || r.Proofs != 4 {
		t.Errorf("fsck: %+v", r)
	}
}

// failuresOfTCBInfo is a metric; its labels may stand in any order.
var failuresOfTCBInfo = regexp.MustCompile(`(?m)^poclog_collateral_failures\{[^}]*kind="tdx-tcb-info"`)

// TestLogSurvivesTheManufacturer: whatever its server does, evidence is judged by collateral that
// is authentic, valid and newest, or not at all; and the log answers.
func TestLogSurvivesTheManufacturer(t *testing.T) {
	serve := func(c *poclog.Collateral) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { pcs.Serve(c, w, r) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, lie := range map[string]func(m *market) http.HandlerFunc{
		"down": func(*market) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		},
		"slow": func(*market) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
				case <-time.After(3 * time.Second):
				}
				panic(http.ErrAbortHandler)
			}
		},
		"500": func(*market) http.HandlerFunc { return status(500) },
		"429": func(*market) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "77"); w.WriteHeader(429) }
		},
		"garbage": func(*market) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }
		},
		"oversized": func(*market) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }
		},
		"expired": func(m *market) http.HandlerFunc {
			return serve(m.issue(t, chip.CollateralOptions{At: time.Now().AddDate(0, -2, 0)}))
		},
		"future-dated": func(m *market) http.HandlerFunc {
			return serve(m.issue(t, chip.CollateralOptions{At: time.Now().AddDate(0, 2, 0)}))
		},
		"another maker": func(*market) http.HandlerFunc {
			return serve(chip.NewMaker("another", time.Now().AddDate(-1, 0, 0)).Collateral(chip.CollateralOptions{At: time.Now().Add(-time.Hour)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t, nil)
			m.server.Instead(lie(m))
			p := problemOf(t, m.testLog, m.prove(t))
			if p.Status != http.StatusServiceUnavailable || p.Check != "collateral" || p.RetryAfter == 0 || name == "429" && p.RetryAfter < 70*time.Second {
				t.Errorf("%+v: want 503, collateral, Retry-After", p)
			}
			if h := m.health(t); h.Status != "ok" || len(h.Warnings) == 0 {
				t.Errorf("the log publishes, and should warn: %+v", h)
			}
			if _, text := get(t, m.url+"/metrics"); !failuresOfTCBInfo.MatchString(text) {
				t.Error("no metric of the failure")
			}
			// The publisher's own is as good, if it is the issuer's.
			sub := m.prove(t)
			var err error
			if sub.Collateral, err = m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)}).Marshal(); err != nil {
				t.Fatal(err)
			}
			if e := submit(t, m.testLog, sub).Verdict.Entry; e.Level != poclog.LevelBound {
				t.Errorf("level %d", e.Level)
			}
			if e := submit(t, m.testLog, m.prove(t)).Verdict.Entry; e.CVM.TCB == nil || e.CVM.TCB.Evaluation != 17 {
				t.Errorf("what one publisher brought does not serve the next: %+v", e.CVM.TCB)
			}
			if r := m.fsck(t); len(r.Findings) > 0 || r.Proofs != 2 {
				t.Errorf("fsck: %+v", r)
			}
		})
	}
}

func TestFreshEvidenceIsJudgedByTheNewest(t *testing.T) {
	m := newMarket(t, nil)
	submit(t, m.testLog, m.prove(t))
	with := func(o chip.CollateralOptions) *poclog.Submission {
		sub := m.prove(t)
		var err error
		if sub.Collateral, err = m.issue(t, o).Marshal(); err != nil {
			t.Fatal(err)
		}
		return sub
	}
	// Older than what the log knows, though valid: the log's is taken.
	if e := submit(t, m.testLog, with(chip.CollateralOptions{At: time.Now().Add(-2 * time.Hour), Evaluation: 16})).Verdict.Entry; e.CVM.TCB.Evaluation != 17 {
		t.Errorf("evaluation %d: want 17", e.CVM.TCB.Evaluation)
	}
	// Newer: it is taken, and for others from then on.
	if e := submit(t, m.testLog, with(chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 18})).Verdict.Entry; e.CVM.TCB.Evaluation != 18 {
		t.Errorf("evaluation %d: want 18", e.CVM.TCB.Evaluation)
	}
	if e := submit(t, m.testLog, m.prove(t)).Verdict.Entry; e.CVM.TCB.Evaluation != 18 {
		t.Errorf("evaluation %d: want 18", e.CVM.TCB.Evaluation)
	}
	// A chip that the newer CRL revokes cannot bring the older one.
	revoked := m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Second), Evaluation: 18, Revoked: []*chip.Platform{m.vm.Platform()}})
	m.server.Publish(revoked)
	b, err := poclog.ParseBundle(m.prove(t).Bundle)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cache.Refresh(t.Context(), m.cache.Needs(b)); err != nil {
		t.Fatal(err)
	}
	if p := problemOf(t, m.testLog, with(chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 18})); p.Check != "tee.revocation" {
		t.Errorf("%+v: want tee.revocation", p)
	}
}

func TestExpiredCollateralJudgesNothing(t *testing.T) {
	for name, without := range map[string]bool{"refuse": false, "judge without": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t, func(c *log.Config, p *poclog.Policy, _ *collateral.Config) {
				c.UnsafeWithoutCollateral = without
				p.Admit = slices.Insert(p.Admit, 0, poclog.Admission{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip})
			})
			expires := time.Now().Add(4 * time.Second)
			m.server.Publish(m.issue(t, chip.CollateralOptions{At: expires.AddDate(0, 0, -30)}))
			if e := submit(t, m.testLog, m.prove(t)).Verdict.Entry; e.Level != poclog.LevelBound {
				t.Fatalf("level %d while it is valid", e.Level)
			}
			m.server.Instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
			time.Sleep(time.Until(expires) + 1100*time.Millisecond)
			if without {
				e := submit(t, m.testLog, m.prove(t)).Verdict.Entry
				if e.Level != poclog.LevelChip || e.CVM.TCB != nil || !slices.Contains(e.Absent, "tee.revocation") || !slices.Contains(e.Absent, "tee.tcb") {
					t.Errorf("level %d, absent %v: want what could not be known named", e.Level, e.Absent)
				}
			} else if p := problemOf(t, m.testLog, m.prove(t)); p.Status != http.StatusServiceUnavailable || p.Check != "collateral" || p.RetryAfter == 0 {
				t.Errorf("%+v: want 503, collateral, Retry-After", p)
			}
			if h := m.health(t); !slices.ContainsFunc(h.Warnings, func(w string) bool { return strings.Contains(w, "expired at") }) {
				t.Errorf("warnings %q", h.Warnings)
			}
			// The manufacturer is back.
			m.server.Publish(m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Minute)}))
			m.server.Instead(nil)
			for range 100 {
				if got, err := m.client.Submit(t.Context(), m.prove(t)); err == nil && got.Verdict.Entry.Level == poclog.LevelBound {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.Error("level 2 is not reached again")
		})
	}
}

func TestForgedEvidenceMakesTheLogAskNobody(t *testing.T) {
	m := newMarket(t, nil)
	sub := m.prove(t)
	b, err := poclog.ParseBundle(sub.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	quote := slices.Clone(b.Get(poclog.ItemTDXQuote))
	quote[48+520] ^= 1 // REPORTDATA
	b.Set(poclog.ItemTDXQuote, quote)
	if sub.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if p := problemOf(t, m.testLog, sub); p.Status != http.StatusUnprocessableEntity || p.Check != "tee.signature" {
		t.Errorf("%+v", p)
	}
	if n := m.server.Asked("/"); n != 0 {
		t.Errorf("%d requests for a forged quote", n)
	}
}

func TestBudgetIsTakenBeforeAnythingIsFetched(t *testing.T) {
	m := newMarket(t, func(c *log.Config, _ *poclog.Policy, caching *collateral.Config) {
		c.UnsafeUnlimited, c.Budget, c.Limits.Rate = false, 2, 1000 // one at once from one address
		caching.Backoff = time.Nanosecond                           // every submission would ask
	})
	m.server.Instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	if p := problemOf(t, m.testLog, m.prove(t)); p.Status != http.StatusServiceUnavailable {
		t.Fatalf("%+v", p)
	}
	asked := m.server.Asked("/tcb")
	if p := problemOf(t, m.testLog, m.prove(t)); p.Status != http.StatusTooManyRequests {
		t.Errorf("%+v: want 429", p)
	}
	// What Run asks in the background is not the submitter's: its waits grow.
	if n := m.server.Asked("/tcb") - asked; n > 40 {
		t.Errorf("%d requests", n)
	}
}
