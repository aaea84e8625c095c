package log_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/log"
)

// A register answers as a world's attacker says that the provider does, and else as its provider.
type register struct {
	mu      sync.Mutex
	world   *attack.World
	answers map[string]poclog.CollateralItem // by path
}

// play makes the register answer in a world, and returns the collateral that is signed.
func (r *register) play(w *attack.World) *poclog.Collateral {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.world, r.answers = w, make(map[string]poclog.CollateralItem)
	signed := new(poclog.Collateral)
	for _, it := range w.Collateral.Items {
		if it.Kind == poclog.ChipRegistry {
			r.answers[strings.TrimPrefix(it.URL, attack.RegistryURL)] = it
		} else {
			signed = signed.With(it)
		}
	}
	return signed
}

func (r *register) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it, ok := r.answers[strings.TrimPrefix(req.URL.Path, "/")]; ok {
		rw.WriteHeader(int(it.Status))
		_, _ = rw.Write(it.Body)
		return
	}
	r.world.Cloud.Registry.ServeHTTP(rw, req)
}

// An arena is a running log with an attack world's policy, whose register's answers, true or not,
// come from a server that the log asks.
type arena struct {
	*testLog
	register *register
}

func newArena(t *testing.T, w *attack.World) *arena {
	t.Helper()
	a := &arena{register: new(register)}
	srv := httptest.NewServer(a.register)
	t.Cleanup(srv.Close)
	policy := *w.Policy
	if len(policy.Registries) > 0 {
		policy.Registries = []poclog.Registry{{Provider: policy.Registries[0].Provider, URL: srv.URL + "/"}}
	}
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	cfg := logConfig()
	cfg.Now = func() time.Time { return attack.Now }
	a.testLog = serve(t, dir, cfg)
	return a
}

// enter makes a world's bundles submissions.
func (a *arena) enter(t *testing.T, w *attack.World, bundles []*poclog.Bundle) (subs []*poclog.Submission) {
	t.Helper()
	collateral, err := a.register.play(w).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bundles {
		file, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, &poclog.Submission{Bundle: file, Collateral: collateral})
	}
	return subs
}

// battle is an arena of one world, with its bundles.
func battle(t *testing.T, w *attack.World, bundles []*poclog.Bundle) (*testLog, []*poclog.Submission) {
	t.Helper()
	a := newArena(t, w)
	return a.testLog, a.enter(t, w, bundles)
}

// What is refused leaves nothing behind: attacks under one policy are tried on one log.
func TestRunningLogRefusesEveryAttackByItsCheck(t *testing.T) {
	type round struct {
		attack attack.Attack
		world  *attack.World
		bundle *poclog.Bundle
	}
	rounds := make(map[poclog.Digest][]round) // by policy
	for _, a := range attack.All() {
		w := a.NewWorld()
		r := round{a, w, a.Stage(w)}
		policy, err := w.Policy.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		rounds[poclog.Sum(policy)] = append(rounds[poclog.Sum(policy)], r)
	}
	for _, group := range rounds {
		t.Run(group[0].attack.ID(), func(t *testing.T) {
			t.Parallel()
			l := newArena(t, group[0].world)
			for _, r := range group {
				_, err := l.client.Submit(t.Context(), l.enter(t, r.world, []*poclog.Bundle{r.bundle})[0])
				var p *client.Problem
				if !errors.As(err, &p) || p.Check != string(r.attack.Check) {
					t.Errorf("%s: %v: want a refusal by %s", r.attack.ID(), err, r.attack.Check)
				}
			}
			if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 0 {
				t.Errorf("fsck: %+v: want nothing logged", r)
			}
		})
	}
}

// What only time exposes is admitted, and kept; what the log has already gets its receipt.
func TestRunningLogKeepsWhatOnlyTimeExposes(t *testing.T) {
	for _, a := range attack.AllSeries() {
		t.Run(a.ID(), func(t *testing.T) {
			t.Parallel()
			w := a.NewWorld()
			l, subs := battle(t, w, a.Stage(w))
			for i, sub := range subs {
				got, err := l.client.Submit(t.Context(), sub)
				if err != nil {
					t.Fatalf("piece %d: %v", i, err)
				}
				if isNew := i == 0 || a.Rule != attack.ExistingReceipt; got.New != isNew {
					t.Errorf("piece %d: new %v, want %v", i, got.New, isNew)
				}
			}
			if r := l.fsck(t); len(r.Findings) > 0 {
				t.Errorf("fsck: %+v", r.Findings)
			}
		})
	}
}
