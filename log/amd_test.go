package log_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/kds"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/log"
)

// An azureMarket is the laboratory's Azure, both chip makers' servers, and a log that asks them for
// collateral.
type azureMarket struct {
	*testLog
	cloud *azure.Cloud
	kds   *kds.Server
	cache *collateral.Cache
}

func newAzureMarket(t *testing.T) *azureMarket {
	t.Helper()
	m := &azureMarket{cloud: azure.New("azure market", time.Now().AddDate(-1, 0, 0), azure.Products...)}
	m.cloud.Advance(time.Since(m.cloud.Now))
	issued := time.Now().Add(-time.Hour)
	var makers []*amd.Maker
	for _, product := range azure.Products {
		makers = append(makers, m.cloud.AMD[product])
	}
	m.kds = kds.New(issued, makers...)
	forAMD := httptest.NewServer(m.kds)
	t.Cleanup(forAMD.Close)
	forIntel := httptest.NewServer(pcs.New(m.cloud.Intel.Collateral(chip.CollateralOptions{At: issued})))
	t.Cleanup(forIntel.Close)
	policy := m.cloud.Policy(nil)
	amdSource, err := collateral.NewAMD(forAMD.URL, policy.RootsFor(poclog.RootAMDARK))
	if err != nil {
		t.Fatal(err)
	}
	intel, err := collateral.NewIntel(forIntel.URL, policy.RootsFor(poclog.RootIntelSGX))
	if err != nil {
		t.Fatal(err)
	}
	if m.cache, err = collateral.Open(filepath.Join(t.TempDir(), "collateral"), collateral.Config{Backoff: 20 * time.Millisecond}, intel, amdSource); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.cache.Close) // after the log's own, for it uses the cache
	cfg := logConfig()
	cfg.Collateral = m.cache
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	m.testLog = serve(t, dir, cfg)
	return m
}

// prove has a VM answer a challenge; the submission brings no collateral.
func (m *azureMarket) prove(t *testing.T, vm *azure.VM) *poclog.Submission {
	t.Helper()
	profile := poclog.AzureSNPvTPM
	if vm.Host.TDX != nil {
		profile = poclog.AzureTDXvTPM
	}
	ch, err := m.client.Challenge(t.Context(), profile, poclog.Sum([]byte("tls key")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := vm.Prove(ch)
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file}
}

// A running log admits Azure's VMs on chips of both makers at level 2, asks each maker for what
// judges them, and finds its own entries again.
func TestRunningLogAdmitsAnAzureFleet(t *testing.T) {
	m := newAzureMarket(t)
	var vms []*azure.VM
	for i, product := range append([]string{""}, azure.Products...) {
		h := m.cloud.NewHost(m.cloud.Regions[i%2], product)
		vms = append(vms, h.NewVM(azure.VMConfig{}), h.NewVM(azure.VMConfig{Image: m.cloud.Images[1]}))
		if product != "" {
			vms = append(vms, h.NewVM(azure.VMConfig{Masked: true}), h.NewVM(azure.VMConfig{Loaded: m.cloud.AMD[product].NewCloudKey("Azure", [8]byte{})}))
		}
	}
	for _, vm := range vms {
		e := submit(t, m.testLog, m.prove(t, vm)).Verdict.Entry
		if e.Level != poclog.LevelBound || e.Instance != poclog.Identity("azure:vm:"+vm.ID) || e.Place.Provider.Value != "azure" || e.Fresh == nil || !slices.Contains(e.Checks, "tee.revocation") {
			t.Errorf("level %d, instance %s, place %+v", e.Level, e.Instance, e.Place)
		}
	}
	for _, product := range azure.Products {
		for _, kind := range []string{"vcek", "vlek"} {
			if n := m.kds.Asked("/" + kind + "/v1/" + product + "/crl"); n != 1 {
				t.Errorf("%d requests for the list of %s keys of %s", n, kind, product)
			}
		}
	}
	_, health := get(t, m.url+"/health")
	if !strings.Contains(health, `"vcek-turin"`) || !strings.Contains(health, `"ARK-Genoa"`) {
		t.Errorf("health: %s", health)
	}
	if r := m.fsck(t); len(r.Findings) > 0 || int(r.Proofs) != len(vms) {
		t.Errorf("fsck: %+v: want %d proofs", r, len(vms))
	}
}

// Whatever AMD's service does, SNP evidence is judged by a list that is authentic, valid and
// newest, or not at all.
func TestLogSurvivesAMD(t *testing.T) {
	m := newAzureMarket(t)
	vm := m.cloud.NewHost(m.cloud.Regions[0], "Milan").NewVM(azure.VMConfig{})
	m.kds.Instead(kds.Throttle(77))
	p := problemOf(t, m.testLog, m.prove(t, vm))
	if p.Status != http.StatusServiceUnavailable || p.Check != "collateral" || p.RetryAfter < 70*time.Second {
		t.Errorf("%+v: want 503, collateral, Retry-After", p)
	}
	if _, health := get(t, m.url+"/health"); !strings.Contains(health, `"status":"ok"`) || !strings.Contains(health, "amd-crl vcek-milan is unavailable") {
		t.Errorf("health: %s", health)
	}
	// Intel's chips do not wait for AMD.
	if e := submit(t, m.testLog, m.prove(t, m.cloud.NewHost(m.cloud.Regions[0], "").NewVM(azure.VMConfig{}))).Verdict.Entry; e.Level != poclog.LevelBound {
		t.Errorf("level %d", e.Level)
	}
	// The publisher's own is as good, if it is AMD's; and one file may hold the lists of all
	// products.
	sub := m.prove(t, vm)
	var err error
	if sub.Collateral, err = new(poclog.Collateral).With(m.cloud.CRLs(amd.CRLOptions{At: time.Now().Add(-2 * time.Hour)})...).Marshal(); err != nil {
		t.Fatal(err)
	}
	if e := submit(t, m.testLog, sub).Verdict.Entry; e.Level != poclog.LevelBound {
		t.Errorf("level %d", e.Level)
	}
	// A CA that the newest list revokes is no longer good, whatever its user brings.
	m.kds.Instead(nil)
	m.kds.Publish(m.cloud.AMD["Milan"].CRL(amd.CRLOptions{At: time.Now().Add(-time.Minute), RevokeASK: true}))
	b, err := poclog.ParseBundle(sub.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cache.Refresh(t.Context(), m.cache.Needs(b)); err != nil {
		t.Fatal(err)
	}
	late := m.prove(t, vm)
	late.Collateral = sub.Collateral
	if p := problemOf(t, m.testLog, late); p.Check != "tee.revocation" {
		t.Errorf("%+v: want tee.revocation", p)
	}
}
