package collateral_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/kds"
	"github.com/poclog/poclog/internal/realdata/amddata"
	"github.com/poclog/poclog/verify/profile"
)

// An amdBench is AMD's service and a cache of it, with a clock of its own.
type amdBench struct {
	maker  *amd.Maker
	chip   *amd.Chip
	server *kds.Server
	url    string
	source *collateral.AMD
	dir    string
	bundle *poclog.Bundle
	now    time.Time
}

func newAMDBench(t *testing.T, product string) *amdBench {
	t.Helper()
	b := &amdBench{maker: amd.NewMaker("kds test", product, start.AddDate(-2, 0, 0)), now: start, dir: filepath.Join(t.TempDir(), "cache")}
	b.chip = b.maker.NewChip("chip", [8]byte{})
	b.server = kds.New(start.AddDate(0, -6, 0), b.maker)
	b.server.List(product, b.chip)
	srv := httptest.NewServer(b.server)
	t.Cleanup(srv.Close)
	b.url = srv.URL
	var err error
	if b.source, err = collateral.NewAMD(srv.URL, b.roots()); err != nil {
		t.Fatal(err)
	}
	b.bundle = new(poclog.Bundle)
	b.bundle.Set(poclog.ItemSNPReport, b.chip.Report(amd.Guest{}, nil))
	b.bundle.Set(poclog.ItemSNPCerts, b.chip.Certs())
	return b
}

func (b *amdBench) roots() map[[32]byte]bool {
	return map[[32]byte]bool{poclog.Sum(b.maker.Root()): true}
}

func (b *amdBench) open(t *testing.T) *collateral.Cache {
	t.Helper()
	c, err := collateral.Open(b.dir, collateral.Config{Now: func() time.Time { return b.now }, Rand: func() float64 { return 0.5 }}, b.source)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAMDsListsAreFetchedOnceAndKept(t *testing.T) {
	for _, product := range []string{"Milan", "Genoa", "Turin"} {
		b := newAMDBench(t, product)
		c := b.open(t)
		if _, complete := c.Newest(b.bundle, nil); complete {
			t.Fatal("an empty cache is complete")
		}
		for range 3 {
			if err := c.Fetch(t.Context(), b.bundle); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.server.Asked("/vcek/v1/" + product + "/crl"); n != 1 || b.server.Asked("vlek") != 0 {
			t.Errorf("%s: %d requests for one list", product, n)
		}
		b.server.Instead(func(http.ResponseWriter, *http.Request) { t.Error("asked, though it is kept") })
		got, complete := b.open(t).Newest(b.bundle, nil)
		if !complete || len(got.Items) != 1 || got.Get(poclog.AMDCRL).URL != "" {
			t.Fatalf("%s: complete %v, %d items", product, complete, len(got.Items))
		}
		st := c.State()
		if len(st) != 1 || st[0].For != "vcek-"+strings.ToLower(product) || st[0].Issuer != "ARK-"+product || !st[0].Valid || st[0].DaysLeft < 150 {
			t.Errorf("%+v", st)
		}
	}
}

// A cloud's key has a list of its own.
func TestAVLEKsListIsTheOther(t *testing.T) {
	b := newAMDBench(t, "Milan")
	k := b.maker.NewCloudKey("a cloud", [8]byte{})
	b.bundle.Set(poclog.ItemSNPReport, b.chip.Report(amd.Guest{}, k))
	b.bundle.Set(poclog.ItemSNPCerts, k.Certs())
	c := b.open(t)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	if b.server.Asked("/vlek/v1/Milan/crl") != 1 || b.server.Asked("vcek") != 0 {
		t.Error("asked for another list")
	}
}

// Whatever the service does, what is kept stays in use while it is valid, and nothing else comes to
// be.
func TestALyingKDS(t *testing.T) {
	lies := map[string]func(b *amdBench) http.HandlerFunc{
		"expired": func(b *amdBench) http.HandlerFunc {
			b.server.Publish(b.maker.CRL(amd.CRLOptions{At: start.AddDate(-1, 0, -1)}))
			return nil
		},
		"future-dated": func(b *amdBench) http.HandlerFunc {
			b.server.Publish(b.maker.CRL(amd.CRLOptions{At: start.AddDate(0, 0, 1)}))
			return nil
		},
		"another maker": func(b *amdBench) http.HandlerFunc {
			return kds.New(start.Add(-time.Hour), amd.NewMaker("another", b.maker.Product, start.AddDate(-1, 0, 0))).ServeHTTP
		},
		"wrong signature": func(b *amdBench) http.HandlerFunc {
			it := b.maker.CRL(amd.CRLOptions{At: start.Add(-time.Hour)})
			it.Body[len(it.Body)-4] ^= 1
			b.server.Publish(it)
			return nil
		},
		"another product": func(b *amdBench) http.HandlerFunc {
			it := amd.NewMaker("kds test", "Genoa", start.AddDate(-2, 0, 0)).CRL(amd.CRLOptions{At: start.Add(-time.Hour)})
			it.URL = "https://kdsintf.amd.com/vcek/v1/Milan/crl"
			b.server.Publish(it)
			return nil
		},
		"the chain of the other kind of keys": func(b *amdBench) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = strings.Replace(r.URL.Path, "/vcek/", "/vlek/", 1)
				b.server.Answer(w, r)
			}
		},
		"429": func(*amdBench) http.HandlerFunc { return kds.Throttle(10) },
	}
	for name, failure := range failures {
		lies[name] = func(b *amdBench) http.HandlerFunc { return failure(b.url) }
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			b := newAMDBench(t, "Milan")
			c := b.open(t)
			needs := c.Needs(b.bundle)
			if err := c.FetchAll(t.Context(), needs); err != nil {
				t.Fatal(err)
			}
			before, _ := c.Newest(b.bundle, nil)
			b.server.Instead(lie(b))
			if err := c.Refresh(t.Context(), needs); err == nil {
				t.Error("accepted")
			}
			after, complete := c.Newest(b.bundle, nil)
			if !complete || !bytes.Equal(after.Get(poclog.AMDCRL).Body, before.Get(poclog.AMDCRL).Body) {
				t.Errorf("complete %v: what was kept is not in use", complete)
			}
			b.now = b.now.AddDate(1, 0, 0)
			if got, complete := c.Newest(b.bundle, nil); complete || len(got.Items) > 0 {
				t.Error("an expired list is in use")
			}
		})
	}
}

// Older lists do not come back: not from the service while a newer one is kept, not from a
// submitter, not after the files are gone.
func TestAnOlderListOfAMDDoesNotComeBack(t *testing.T) {
	b := newAMDBench(t, "Milan")
	revoking := b.maker.CRL(amd.CRLOptions{At: start.Add(-time.Hour), RevokeASK: true})
	older := b.maker.CRL(amd.CRLOptions{At: start.AddDate(0, 0, -1)})
	b.server.Publish(revoking)
	c := b.open(t)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	b.server.Publish(older)
	if err := c.Refresh(t.Context(), c.Needs(b.bundle)); err != nil {
		t.Errorf("an older answer while a newer is kept is no failure: %v", err)
	}
	offered := new(poclog.Collateral).With(older)
	if got, _ := c.Newest(b.bundle, offered); !bytes.Equal(got.Get(poclog.AMDCRL).Body, revoking.Body) {
		t.Error("an older list is in use")
	}
	files, err := filepath.Glob(filepath.Join(b.dir, "*.collateral.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	c = b.open(t)
	var u *collateral.UnavailableError
	if err := c.Fetch(t.Context(), b.bundle); !errors.As(err, &u) || !strings.Contains(err.Error(), "older") {
		t.Errorf("%v: want a refusal of what is older", err)
	}
	if _, complete := c.Newest(b.bundle, offered); complete {
		t.Error("a submitter brought back what is older")
	}
	// What a submitter brings beside other products' lists, and newer, is taken.
	newer := b.maker.CRL(amd.CRLOptions{At: start.Add(-time.Minute), RevokeASK: true})
	genoa := amd.NewMaker("kds test", "Genoa", start.AddDate(-2, 0, 0)).CRL(amd.CRLOptions{At: start.Add(-time.Minute)})
	if got, complete := c.Newest(b.bundle, new(poclog.Collateral).With(genoa, newer)); !complete || !bytes.Equal(got.Get(poclog.AMDCRL).Body, newer.Body) {
		t.Error("a newer list of the submitter's is not taken")
	}
}

func TestDescribeNamesAMDsLists(t *testing.T) {
	b := newAMDBench(t, "Genoa")
	c := b.open(t)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	got := c.Collateral(c.Needs(b.bundle))
	policy := &poclog.Policy{Roots: []poclog.Root{{Use: poclog.RootAMDARK, SHA256: poclog.Sum(b.maker.Root())}}}
	if st := collateral.Describe(got, policy, start); len(st) != 1 || st[0].For != "vcek-genoa" || !st[0].Valid || st[0].Error != "" {
		t.Errorf("%+v", st)
	}
	if st := collateral.Describe(got, policy, start.AddDate(2, 0, 0)); st[0].Valid || st[0].For != "vcek-genoa" || st[0].Error == "" {
		t.Errorf("expired: %+v", st)
	}
	if st := collateral.Describe(got, new(poclog.Policy), start); st[0].Valid || st[0].Error == "" {
		t.Errorf("under other roots: %+v", st)
	}
}

func TestKDSGivesAChipsCertificatesOnce(t *testing.T) {
	for _, product := range []string{"Milan", "Genoa", "Turin"} {
		for _, version := range []uint32{2, 3} {
			if product == "Turin" && version == 2 {
				continue // no Turin made one
			}
			b := newAMDBench(t, product)
			k, err := collateral.NewKDS(b.url, b.dir, b.roots(), collateral.Config{Now: func() time.Time { return b.now }})
			if err != nil {
				t.Fatal(err)
			}
			report := b.chip.Report(amd.Guest{Version: version}, nil)
			for range 3 {
				item, err := k.Certificates(t.Context(), report)
				if err != nil {
					t.Fatalf("%s, version %d: %v", product, version, err)
				}
				if !bytes.Equal(item, b.chip.Certs()) {
					t.Errorf("%s: other certificates", product)
				}
			}
			if n := b.server.Asked("/vcek/v1/" + product + "/"); n != 2 {
				t.Errorf("%s: %d requests for one chip", product, n)
			}
			// A damaged file is asked for again.
			files, err := filepath.Glob(filepath.Join(b.dir, "*.vcek"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			if err := os.WriteFile(files[0], []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Certificates(t.Context(), report); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestKDSHasNoCertificatesOfWhatItCannotKnow(t *testing.T) {
	b := newAMDBench(t, "Milan")
	k, err := collateral.NewKDS(b.url, "", b.roots(), collateral.Config{Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	garage := amd.NewMaker("a garage", "Milan", start.AddDate(-1, 0, 0))
	forger := kds.New(start, garage)
	forger.List("Milan", garage.NewChip("chip", [8]byte{}))
	honest := b.chip.Report(amd.Guest{}, nil)
	for name, c := range map[string]struct {
		report  []byte
		instead http.HandlerFunc
		say     string
	}{
		"a masked chip":      {b.chip.Report(amd.Guest{Masked: true}, nil), nil, "masks CHIP_ID"},
		"a cloud's key":      {b.chip.Report(amd.Guest{}, b.maker.NewCloudKey("a cloud", [8]byte{})), nil, "VLEK"},
		"garbage":            {[]byte("x"), nil, "SNP report of 1 bytes"},
		"an unknown chip":    {b.maker.NewChip("unknown", [8]byte{}).Report(amd.Guest{}, nil), nil, "404"},
		"too many questions": {honest, kds.Throttle(60), "asks to wait 1m0s"},
		"another maker's":    {garage.NewChip("chip", [8]byte{}).Report(amd.Guest{}, nil), forger.ServeHTTP, "not one that the policy lists"},
		"another chip's": {honest, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "cert_chain") {
				b.server.Answer(w, r)
				return
			}
			_, _ = w.Write(amd.Certificates(b.maker.NewChip("other", [8]byte{}).Certs())[0])
		}, "the KDS's answer is of no use"},
	} {
		b.server.Instead(c.instead)
		if _, err := k.Certificates(t.Context(), c.report); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v: want %q", name, err, c.say)
		}
	}
}

// The real report of a Milan is verified by its real certificates, as the service would give them,
// under AMD's own root.
func TestRealCertificatesAsTheKDSWouldGiveThem(t *testing.T) {
	report, certs := amddata.Report()
	list := amd.Certificates(certs)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/cert_chain"):
			_, _ = w.Write(append(bytes.Clone(list[1]), list[2]...))
		case strings.HasPrefix(r.URL.Path, "/vcek/v1/Milan/") && r.URL.RawQuery == "blSPL=2&snpSPL=5&teeSPL=0&ucodeSPL=68":
			_, _ = w.Write(list[0])
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	roots := profile.DefaultPolicy(false).RootsFor(poclog.RootAMDARK)
	k, err := collateral.NewKDS(srv.URL, "", roots, collateral.Config{Now: func() time.Time { return amddata.Time }})
	if err != nil {
		t.Fatal(err)
	}
	if item, err := k.Certificates(t.Context(), report); err != nil || !bytes.Equal(item, certs) {
		t.Errorf("%v", err)
	}
}
