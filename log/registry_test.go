package log_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/receipt"
)

// A datacenter is a laboratory cloud with one VM, its register over HTTP, and a log that trusts it.
type datacenter struct {
	*testLog
	cloud  *gce.Cloud
	vm     *gce.VM
	answer atomic.Pointer[http.HandlerFunc] // instead of the true register
	asked  atomic.Int32
}

// newDatacenter builds one; changes, if any, are to its log's policy.
func newDatacenter(t *testing.T, changes ...func(*poclog.Policy)) *datacenter {
	t.Helper()
	d := &datacenter{cloud: gce.New("log test", time.Now().AddDate(-1, 0, 0))}
	d.cloud.Advance(time.Since(d.cloud.Now))
	h, err := d.cloud.NewHost(d.cloud.Zones[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	if d.vm, err = h.NewVM(0, gce.VMConfig{}); err != nil {
		t.Fatal(err)
	}
	register := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		if f := d.answer.Load(); f != nil {
			(*f)(w, r)
			return
		}
		d.cloud.Registry.ServeHTTP(w, r)
	}))
	t.Cleanup(register.Close)
	dir := filepath.Join(t.TempDir(), "log")
	policy := d.cloud.Policy(nil, register.URL+"/")
	for _, change := range changes {
		change(policy)
	}
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	d.testLog = serve(t, dir, logConfig())
	return d
}

// prove has the VM answer a challenge of the log's, with the chip maker's and the provider's
// collateral of yesterday.
func (d *datacenter) prove(t *testing.T) *poclog.Submission {
	t.Helper()
	ch, err := d.client.Challenge(t.Context(), poclog.GCETDXvTPM, poclog.Sum([]byte("tls key")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.vm.Prove(ch)
	if err != nil {
		t.Fatal(err)
	}
	c := d.cloud.Collateral(chip.CollateralOptions{At: time.Now().AddDate(0, 0, -1)})
	sub := new(poclog.Submission)
	if sub.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if sub.Collateral, err = c.Marshal(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func (d *datacenter) answering(f http.HandlerFunc) { d.answer.Store(&f) }

func TestManagedVMIsLoggedAtLevelTwoWithItsPlace(t *testing.T) {
	d := newDatacenter(t)
	sub := d.prove(t)
	got, err := d.client.Submit(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	userData := poclog.Sum([]byte("tls key"))
	v, err := receipt.Check(got.Receipt, d.policy, time.Now(), receipt.Demands{
		UnsafeRealm: poclog.Lab, Place: "gce/" + d.cloud.Zones[0], Require: []string{"place.registry", "bind.pcr-rtmr"}, UserData: &userData,
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.Entry.Level != poclog.LevelBound || !slices.Contains(v.Entry.Place.Zone.By, "log-observed") || v.T1.Known {
		t.Errorf("level %d, place %+v, t1 %+v", v.Entry.Level, v.Entry.Place, v.T1)
	}
	// A stranger who re-wraps the public bundle gets the existing receipt, and the provider is not
	// asked again.
	asked := d.asked.Load()
	again, err := d.client.Submit(t.Context(), &poclog.Submission{Bundle: sub.Bundle, Collateral: sub.Collateral})
	if err != nil || again.New || again.Verdict.Index != got.Verdict.Index || d.asked.Load() != asked {
		t.Errorf("re-wrapped: %v", err)
	}
	if r := d.fsck(t); len(r.Findings) > 0 || r.Proofs != 1 {
		t.Errorf("fsck: %+v", r)
	}
}

func TestWhatTheProviderSaysOfAChipIsTheJudgesToAsk(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		check  string // refuses; "" is absent
	}{
		"not listed":        {http.NotFound, "place.registry"},
		"another zone":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"zone":"lab-west9-c"}`)) }, "place.agree"},
		"garbage":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, ""},
		"endless":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, ""},
		"a failure":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, ""},
		"a redirect":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, ""},
		"a hung connection": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, ""},
	} {
		d := newDatacenter(t)
		d.answering(c.answer)
		got, err := d.client.Submit(t.Context(), d.prove(t))
		var p *client.Problem
		switch {
		case c.check != "" && (!errors.As(err, &p) || p.Check != c.check):
			t.Errorf("%s: %v: want a refusal by %s", name, err, c.check)
		case c.check == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.check == "" && !slices.Contains(got.Verdict.Entry.Absent, "place.registry"):
			t.Errorf("%s: absent %v", name, got.Verdict.Entry.Absent)
		}
		// Operators see that a check is absent, and since when.
		if warned := strings.Contains(d.health(t), "registry does not answer as it should"); warned != (c.check == "") {
			t.Errorf("%s: /health warns: %v", name, warned)
		}
	}
}

// A registry's address is a base address, whether or not it ends in a slash; and a registry that
// asks to wait a moment is asked again.
func TestTheRegistryIsAskedUnderItsBase(t *testing.T) {
	d := newDatacenter(t, func(p *poclog.Policy) { p.Registries[0].URL = strings.TrimSuffix(p.Registries[0].URL, "/") })
	busy := true
	d.answering(func(w http.ResponseWriter, r *http.Request) {
		if busy {
			busy = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		d.cloud.Registry.ServeHTTP(w, r)
	})
	got, err := d.client.Submit(t.Context(), d.prove(t))
	if err != nil || !slices.Contains(got.Verdict.Entry.Checks, "place.registry") {
		t.Errorf("%+v, %v", got, err)
	}
	if h := d.health(t); strings.Contains(h, "registry") {
		t.Errorf("/health warns: %s", h)
	}
}

func (d *datacenter) health(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(d.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPublishersAnswerIsNotTheProviders(t *testing.T) {
	d := newDatacenter(t)
	sub := d.prove(t)
	c, err := poclog.ParseCollateral(sub.Collateral)
	if err != nil {
		t.Fatal(err)
	}
	if sub.Collateral, err = c.With(d.cloud.Registry.Observe("http://x/", d.vm.Platform().PPID, time.Now())).Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = d.client.Submit(t.Context(), sub)
	var p *client.Problem
	if !errors.As(err, &p) || p.Check != "collateral" || !strings.Contains(p.Detail, "asks for it itself") {
		t.Errorf("%v", err)
	}
}

func TestAnOldChallengeIsRefusedByTheLog(t *testing.T) {
	d := newDatacenter(t)
	sub := d.prove(t)
	l, stop := restartAt(t, d.testLog, 20*time.Minute)
	defer stop()
	_, err := l.client.Submit(t.Context(), sub)
	var p *client.Problem
	if !errors.As(err, &p) || p.Check != "fresh.challenge" {
		t.Errorf("%v: want a refusal by fresh.challenge", err)
	}
}

// restartAt serves the same log with a clock that is ahead.
func restartAt(t *testing.T, l *testLog, ahead time.Duration) (*testLog, func()) {
	t.Helper()
	if err := l.svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := logConfig()
	cfg.Now = func() time.Time { return time.Now().Add(ahead) }
	return serve(t, l.dir, cfg), func() {}
}
