package collateral_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tdx"
)

// A bench is a chip maker's server and a cache of it, with a clock of its own.
type bench struct {
	maker  *chip.Maker
	server *pcs.Server
	intel  *collateral.Intel
	url    string
	dir    string
	bundle *poclog.Bundle

	mu  sync.Mutex
	now time.Time
}

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{maker: chip.NewMaker("collateral test", start.AddDate(-1, 0, 0)), now: start, dir: filepath.Join(t.TempDir(), "cache")}
	b.server = pcs.New(b.issue(chip.CollateralOptions{At: start.Add(-time.Hour)}))
	srv := httptest.NewServer(b.server)
	t.Cleanup(srv.Close)
	b.url = srv.URL
	var err error
	if b.intel, err = collateral.NewIntel(srv.URL, map[[32]byte]bool{poclog.Sum(b.maker.Root()): true}); err != nil {
		t.Fatal(err)
	}
	b.bundle = new(poclog.Bundle)
	b.bundle.Set(poclog.ItemTDXQuote, b.maker.NewPlatform("host-1", nil).Quote(chip.TD{}))
	return b
}

func (b *bench) issue(o chip.CollateralOptions) *poclog.Collateral { return b.maker.Collateral(o) }

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bench) advance(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

func (b *bench) open(t *testing.T) *collateral.Cache {
	t.Helper()
	c, err := collateral.Open(b.dir, collateral.Config{Now: b.clock, Rand: func() float64 { return 0.5 }}, b.intel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func evaluation(t *testing.T, c *poclog.Collateral, b *bench) string {
	t.Helper()
	it := c.Get(poclog.TDXTCBInfo)
	if it == nil {
		return ""
	}
	f, err := tdx.OpenItem(it, map[[32]byte]bool{poclog.Sum(b.maker.Root()): true}, b.clock())
	if err != nil {
		t.Fatal(err)
	}
	return f.Number.String()
}

func TestFetchedOnceThenKeptAcrossProcesses(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	if _, complete := c.Newest(b.bundle, nil); complete {
		t.Fatal("an empty cache is complete")
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := c.Fetch(t.Context(), b.bundle); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := b.server.Asked("/tcb"); n != 1 {
		t.Errorf("twenty who wanted TCB info at once: %d requests", n)
	}
	b.server.Instead(func(http.ResponseWriter, *http.Request) { t.Error("asked, though all is kept") })
	got, complete := b.open(t).Newest(b.bundle, nil)
	if !complete || len(got.Items) != 4 {
		t.Fatalf("complete %v, %d items", complete, len(got.Items))
	}
	file, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := poclog.ParseCollateral(file); err != nil || len(again.Items) != 4 {
		t.Error(err)
	}
}

// failures are what any server may do, given its own address.
var failures = map[string]func(url string) http.HandlerFunc{
	"garbage": func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }
	},
	"empty": func(string) http.HandlerFunc { return func(http.ResponseWriter, *http.Request) {} },
	"oversized": func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }
	},
	"500": func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	},
	"404": func(string) http.HandlerFunc { return http.NotFound },
	"redirect": func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url+"/x", http.StatusFound) }
	},
	"cut off": func(string) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	},
}

// TestLyingServers: a server that lies, fails or is gone changes nothing while what is kept is
// valid, and is never believed after.
func TestLyingServers(t *testing.T) {
	other := chip.NewMaker("another maker", start.AddDate(-1, 0, 0))
	serve := func(c *poclog.Collateral) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { pcs.Serve(c, w, r) }
	}
	lies := map[string]func(b *bench) http.HandlerFunc{
		"expired": func(b *bench) http.HandlerFunc {
			return serve(b.issue(chip.CollateralOptions{At: start.AddDate(0, -3, 0), Evaluation: 99}))
		},
		"future-dated": func(b *bench) http.HandlerFunc {
			return serve(b.issue(chip.CollateralOptions{At: start.AddDate(0, 3, 0), Evaluation: 99}))
		},
		"older": func(b *bench) http.HandlerFunc {
			return serve(b.issue(chip.CollateralOptions{At: start.Add(-2 * time.Hour), Evaluation: 16}))
		},
		"older, though issued later": func(b *bench) http.HandlerFunc {
			return serve(b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 16}))
		},
		"another maker": func(*bench) http.HandlerFunc {
			return serve(other.Collateral(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99}))
		},
		"wrong signature": func(b *bench) http.HandlerFunc {
			c := b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99})
			for i := range c.Items {
				body := bytes.Clone(c.Items[i].Body)
				body[len(body)-4] ^= 1
				c.Items[i].Body = body
			}
			return serve(c)
		},
		"wrong FMSPC": func(b *bench) http.HandlerFunc {
			return serve(b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99, FMSPC: [6]byte{9, 9, 9, 9, 9, 9}}))
		},
		"no header": func(b *bench) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				pcs.Serve(b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99}), rec, r)
				_, _ = w.Write(rec.Body.Bytes())
			}
		},
		"wrong header": func(b *bench) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				for _, h := range []string{"TCB-Info-Issuer-Chain", "SGX-Enclave-Identity-Issuer-Chain", "SGX-PCK-CRL-Issuer-Chain"} {
					w.Header().Set(h, "%zz")
				}
				rec := httptest.NewRecorder()
				pcs.Serve(b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99}), rec, r)
				_, _ = w.Write(rec.Body.Bytes())
			}
		},
	}
	for name, failure := range failures {
		lies[name] = func(b *bench) http.HandlerFunc { return failure(b.url) }
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.open(t)
			needs := c.Needs(b.bundle)
			if err := c.FetchAll(t.Context(), needs); err != nil {
				t.Fatal(err)
			}
			before, _ := c.Newest(b.bundle, nil)
			b.server.Instead(lie(b))
			// What each says alone: one lie must not hide behind another's refusal.
			for _, n := range needs {
				err := c.Refresh(t.Context(), []collateral.Need{n})
				harmless := (name == "wrong FMSPC" && n.Kind != poclog.TDXTCBInfo) || strings.Contains(name, "older") && strings.HasSuffix(string(n.Kind), "crl") ||
					n.Kind == poclog.IntelRootCRL && name == "no header"
				if err == nil && !harmless {
					t.Errorf("%s: accepted", n.Kind)
				}
			}
			after, complete := c.Newest(b.bundle, nil)
			if !complete || evaluation(t, after, b) != "17" || !bytes.Equal(after.Get(poclog.TDXTCBInfo).Body, before.Get(poclog.TDXTCBInfo).Body) {
				t.Errorf("what was kept is not in use: evaluation %q", evaluation(t, after, b))
			}
			// Once it expired it judges no more, and the lie is still none.
			b.advance(31 * 24 * time.Hour)
			if name == "future-dated" || name == "another maker" {
				return // with time, it is no lie, or the same one
			}
			if got, complete := c.Newest(b.bundle, nil); complete || got.Get(poclog.TDXTCBInfo) != nil {
				t.Errorf("expired collateral is in use")
			}
		})
	}
}

func TestSeenNumbersOutliveTheItems(t *testing.T) {
	b := newBench(t)
	if err := b.open(t).Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "*.collateral.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	old := b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 16})
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	b.server.Publish(old)
	c := b.open(t)
	var u *collateral.UnavailableError
	if err := c.Fetch(t.Context(), b.bundle); !errors.As(err, &u) || !strings.Contains(err.Error(), "older") {
		t.Errorf("%v: want a refusal of what is older", err)
	}
	if _, complete := c.Newest(b.bundle, old); complete {
		t.Error("a submitter brought back what is older")
	}
	// The damaged list opens nothing.
	if err := os.WriteFile(filepath.Join(b.dir, "seen.json"), []byte(`{"v":1,"seen":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := collateral.Open(b.dir, collateral.Config{}, b.intel); err == nil {
		t.Error("a list that was changed is read")
	}
}

func TestWhatASubmitterBringsIsTakenIfNewerAndAskedForEarly(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	early := b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 18})
	if got, _ := c.Newest(b.bundle, early); evaluation(t, got, b) != "18" {
		t.Errorf("evaluation %q: want the submitter's newer 18", evaluation(t, got, b))
	}
	older := b.issue(chip.CollateralOptions{At: start.Add(-time.Second), Evaluation: 17})
	if got, _ := c.Newest(b.bundle, older); evaluation(t, got, b) != "18" {
		t.Errorf("evaluation %q: want 18, for everybody from now on", evaluation(t, got, b))
	}
	// The issuer still gives 17 by default: it is asked for what it announced.
	b.advance(20 * 24 * time.Hour)
	b.server.Publish(b.issue(chip.CollateralOptions{At: b.clock().Add(-time.Hour), Evaluation: 17}))
	b.server.PublishEarly(b.issue(chip.CollateralOptions{At: b.clock().Add(-time.Hour), Evaluation: 18}))
	if err := c.Refresh(t.Context(), c.Needs(b.bundle)); err != nil {
		t.Fatal(err)
	}
	b.advance(20 * 24 * time.Hour)
	if got, complete := c.Newest(b.bundle, nil); !complete || evaluation(t, got, b) != "18" {
		t.Errorf("complete %v, evaluation %q", complete, evaluation(t, got, b))
	}
}

func TestFailuresAreNotAskedAboutAgainAtOnce(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	b.server.Instead(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	var u *collateral.UnavailableError
	for range 50 {
		if err := c.Fetch(t.Context(), b.bundle); !errors.As(err, &u) || u.RetryAfter() < 290*time.Second {
			t.Fatalf("%v", err)
		}
	}
	if n := b.server.Asked("/tcb"); n != 1 {
		t.Errorf("fifty who wanted it: %d requests", n)
	}
	b.server.Instead(nil)
	b.advance(301 * time.Second)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Error(err)
	}
	for _, st := range c.State() {
		if st.Failures != 0 || !st.Valid || st.DaysLeft < 29 {
			t.Errorf("%+v", st)
		}
	}
}

func TestAHungServerEndsNobodyElsesWait(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	hung := make(chan struct{})
	defer close(hung)
	b.server.Instead(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := c.Fetch(ctx, b.bundle); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

func TestRunRefreshesBeforeExpiry(t *testing.T) {
	b := newBench(t)
	c, err := collateral.Open(b.dir, collateral.Config{Refresh: 50 * time.Millisecond, Backoff: 10 * time.Millisecond}, b.intel)
	if err != nil {
		t.Fatal(err)
	}
	b.server.Publish(b.issue(chip.CollateralOptions{At: time.Now().Add(-time.Hour)}))
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { c.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended; c.Close() }()
	b.server.Publish(b.issue(chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 20}))
	for range 200 {
		if got, _ := c.Newest(b.bundle, nil); strings.Contains(string(got.Get(poclog.TDXTCBInfo).Body), `"tcbEvaluationDataNumber":20`) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("not refreshed in the background")
}

func TestHostileFilesAreNoCollateral(t *testing.T) {
	b := newBench(t)
	if err := b.open(t).Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(b.dir, "*.collateral.json"))
	write := func(f string, content []byte) {
		if err := os.WriteFile(f, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(files[0], bytes.Repeat([]byte("x"), 3<<20))
	other, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	write(files[1], other) // another kind's, under this name
	if err := os.Remove(files[2]); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", files[2]); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(files[3])
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(b.dir, "tdx-tcb-info.000000000001.collateral.json"), good) // another platform's name
	write(filepath.Join(b.dir, "..collateral.json"), good)
	c := b.open(t)
	got, complete := c.Newest(b.bundle, nil)
	if complete || len(got.Items) != 1 {
		t.Errorf("complete %v, %d items: want the one that was left alone", complete, len(got.Items))
	}
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Error(err)
	}
	if _, complete := c.Newest(b.bundle, nil); !complete {
		t.Error("damage is not mended")
	}
}

// TestRecordedAnswersOfIntel replays what Intel answered for two real platforms.
func TestRecordedAnswersOfIntel(t *testing.T) {
	for name, c := range map[string]struct {
		load func(realdata.T) (*poclog.Bundle, *poclog.Collateral)
		at   time.Time
	}{"azure": {realdata.Azure, realdata.AzureTime}, "gce": {realdata.GCE, realdata.GCETime}} {
		t.Run(name, func(t *testing.T) {
			bundle, recorded := c.load(t)
			srv := httptest.NewServer(pcs.New(recorded))
			defer srv.Close()
			policy := profile.DefaultPolicy(true)
			intel, err := collateral.NewIntel(srv.URL, policy.RootsFor(poclog.RootIntelSGX))
			if err != nil {
				t.Fatal(err)
			}
			cache, err := collateral.Open(t.TempDir(), collateral.Config{Now: func() time.Time { return c.at }}, intel)
			if err != nil {
				t.Fatal(err)
			}
			if err := cache.Fetch(t.Context(), bundle); err != nil {
				t.Fatal(err)
			}
			got, complete := cache.Newest(bundle, nil)
			if !complete || len(got.Items) != 4 {
				t.Fatalf("complete %v, %d items", complete, len(got.Items))
			}
			q, err := tdx.ParseQuote(bundle.Get(poclog.ItemTDXQuote))
			if err != nil {
				t.Fatal(err)
			}
			opened, err := tdx.OpenCollateral(q, got, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if err := opened.CheckRevocation(q); err != nil {
				t.Error(err)
			}
			if tcb, err := opened.TCB(q); err != nil || tcb.Evaluation != 19 {
				t.Errorf("%+v, %v", tcb, err)
			}
		})
	}
}

// Another process that keeps the folder's lock, because it was stopped, keeps nobody from judging
// by what is there.
func TestAnotherProcessesLockDoesNotStopJudges(t *testing.T) {
	b := newBench(t)
	c := b.open(t)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	unlock, err := durable.TryLock(filepath.Join(b.dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	newer := b.issue(chip.CollateralOptions{At: start.Add(-time.Minute), Evaluation: 99})
	offered := make(chan string)
	go func() {
		got, _ := c.Newest(b.bundle, newer)
		offered <- evaluation(t, got, b)
	}()
	for range 100 {
		answered := make(chan int)
		go func() { answered <- len(c.State()) }()
		select {
		case n := <-answered:
			if n == 0 {
				t.Error("nothing is kept")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a judge waits for the lock of another process")
		}
		time.Sleep(time.Millisecond)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if got := <-offered; got != "99" {
		t.Errorf("what was offered meanwhile is not kept: evaluation %s", got)
	}
}
