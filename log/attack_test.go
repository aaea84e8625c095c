package log_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/log"
)

// battle is a running log in an attack's world: the register's answers, true or not, come from a server that the log asks.
func battle(t *testing.T, w *attack.World, bundles []*poclog.Bundle) (*testLog, []*poclog.Submission) {
	t.Helper()
	answers := make(map[string]poclog.CollateralItem)
	signed := new(poclog.Collateral)
	for _, it := range w.Collateral.Items {
		if it.Kind == poclog.ChipRegistry {
			answers[strings.TrimPrefix(it.URL, attack.RegistryURL)] = it
		} else {
			signed = signed.With(it)
		}
	}
	register := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if it, ok := answers[strings.TrimPrefix(r.URL.Path, "/")]; ok {
			rw.WriteHeader(int(it.Status))
			_, _ = rw.Write(it.Body)
			return
		}
		w.Cloud.Registry.ServeHTTP(rw, r)
	}))
	t.Cleanup(register.Close)
	policy := *w.Policy
	if len(policy.Registries) > 0 {
		policy.Registries = []poclog.Registry{{Provider: policy.Registries[0].Provider, URL: register.URL + "/"}}
	}
	// Bare quotes, of which malleated-quote is one, are historical.
	policy.Admit = append(policy.Admit, poclog.Admission{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true})
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	cfg := logConfig()
	cfg.Now = func() time.Time { return attack.Now }
	collateral, err := signed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var subs []*poclog.Submission
	for _, b := range bundles {
		file, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, &poclog.Submission{Bundle: file, Collateral: collateral})
	}
	return serve(t, dir, cfg), subs
}

func TestRunningLogRefusesEveryAttackByItsCheck(t *testing.T) {
	for _, a := range attack.All() {
		t.Run(a.ID(), func(t *testing.T) {
			t.Parallel()
			w := a.NewWorld()
			l, subs := battle(t, w, []*poclog.Bundle{a.Stage(w)})
			_, err := l.client.Submit(t.Context(), subs[0])
			var p *client.Problem
			if !errors.As(err, &p) || p.Check != string(a.Check) {
				t.Errorf("%v: want a refusal by %s", err, a.Check)
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
