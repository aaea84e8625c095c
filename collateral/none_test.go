package collateral_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/verify/profile"
)

// What is missing on the way to an object is no word of its issuer that there is none.
func TestOnlyTheObjectItselfCanBeNone(t *testing.T) {
	for _, address := range []string{"https://issuer.example", "https://issuer.example/"} { // a final slash makes no difference
		intel, err := collateral.NewIntel(address, nil)
		if err != nil {
			t.Fatal(err)
		}
		amd, err := collateral.NewAMD(address, nil)
		if err != nil {
			t.Fatal(err)
		}
		google, err := collateral.NewGoogle(address, profile.DefaultPolicy(false))
		if err != nil {
			t.Fatal(err)
		}
		mrtd := strings.Repeat("0", 96)
		for _, c := range []struct {
			source collateral.Source
			key    collateral.Key
			none   string // the one object that there may be none of
		}{
			{intel, collateral.Key{Kind: poclog.TDXTCBInfo, For: "b0c06f000000"}, "https://issuer.example/tdx/certification/v4/tcb?fmspc=b0c06f000000"},
			{intel, collateral.Key{Kind: poclog.TDXQEIdentity}, ""},
			{intel, collateral.Key{Kind: poclog.IntelPCKCRL, For: "platform"}, ""},
			{intel, collateral.Key{Kind: poclog.IntelRootCRL}, ""},
			{amd, collateral.Key{Kind: poclog.AMDCRL, For: "vcek-milan"}, ""},
			{google, collateral.Key{Kind: poclog.LaunchEndorsement, For: mrtd}, "https://issuer.example/ovmf_x64_csm/tdx/" + mrtd + ".binarypb"},
		} {
			asked, missing := httpAnswers(t)
			if _, err := c.source.Fetch(t.Context(), asked.get, collateral.Request{Key: c.key}); err != nil {
				t.Fatalf("%s: %v", c.key, err)
			}
			for _, address := range asked.addresses {
				missing.at = address
				_, err := c.source.Fetch(t.Context(), missing.get, collateral.Request{Key: c.key})
				if err == nil || errors.Is(err, collateral.ErrNone) != (address == c.none) {
					t.Errorf("%s: without %s: %v", c.key, address, err)
				}
			}
			if len(asked.addresses) > 2 || c.none != "" && asked.addresses[0] != c.none {
				t.Errorf("%s: asked at %q", c.key, asked.addresses)
			}
		}
	}
}

// answers is a server of whatever it is asked for, at the addresses of real ones, but for one
// object.
type answers struct {
	addresses []string
	at        string
	real      collateral.Getter
}

// httpAnswers returns two that make their errors as a cache does: of an answer over HTTP.
func httpAnswers(t *testing.T) (asked, missing *answers) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		for _, name := range []string{"TCB-Info-Issuer-Chain", "SGX-Enclave-Identity-Issuer-Chain", "SGX-PCK-CRL-Issuer-Chain"} {
			w.Header().Set(name, "-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A")
		}
		_, _ = w.Write([]byte("an object"))
	}))
	t.Cleanup(srv.Close)
	real := func(ctx context.Context, path string) (*collateral.Answer, error) {
		return collateral.Get(ctx, srv.URL+path)
	}
	return &answers{real: real}, &answers{real: real}
}

func (a *answers) get(ctx context.Context, address string) (*collateral.Answer, error) {
	a.addresses = append(a.addresses, address)
	if address == a.at {
		return a.real(ctx, "/missing")
	}
	return a.real(ctx, "/there")
}

// A PCCS that is being filled lacks the QE identity for a moment, beside which the root CRL's
// issuer stands.
func TestARootCRLIsFetchedOnceItsIssuerIsThere(t *testing.T) {
	b := newBench(t)
	col := b.issue(chip.CollateralOptions{At: start.Add(-time.Hour)})
	c := b.open(t)
	b.server.Instead(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/qe/identity") {
			http.NotFound(w, r)
			return
		}
		pcs.Serve(col, w, r)
	})
	if err := c.Fetch(t.Context(), b.bundle); err == nil {
		t.Error("all was fetched of a PCCS that lacks a part")
	}
	b.server.Instead(nil)
	b.advance(time.Minute)
	if err := c.Fetch(t.Context(), b.bundle); err != nil {
		t.Fatal(err)
	}
	if got, complete := c.Newest(b.bundle, nil); !complete || got.Get(poclog.IntelRootCRL) == nil {
		t.Errorf("complete: %v, %d items", complete, len(got.Items))
	}
}
