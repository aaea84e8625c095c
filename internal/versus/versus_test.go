package main

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/verify/trust"

	"github.com/poclog/poclog"
)

var _ trust.HTTPSGetter = (*evidence)(nil)

// Both sides of a comparison judge the evidence: neither is quick because it refuses or skips.
func TestBothSidesJudgeTheEvidence(t *testing.T) {
	rows, stop, err := quotes(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Skipf("skipped: dcap-qvl cannot be fetched here: %v", err)
	}
	defer stop()
	for _, r := range rows {
		if ours, peer, err := (&row{ours: r.ours, peer: r.peer, turns: 1}).measure(t.Context()); err != nil || ours == 0 || peer == 0 {
			t.Errorf("%s: %s and %s, %v", r.what, ours, peer, err)
		}
	}
	e := newEvidence()
	e.quote[700] ^= 1 // in the signature
	if err := e.judge(false, false); err == nil {
		t.Error("we take a quote with another signature")
	}
	e = newEvidence()
	e.collateral.Items[0].Body[20] ^= 1
	if err := e.judge(true, false); err == nil {
		t.Errorf("we take another %s", e.collateral.Items[0].Kind)
	}
	if e.collateral.Items[0].Kind != poclog.TDXTCBInfo {
		t.Error(e.collateral.Items[0].Kind)
	}
}

func TestTheMedianIsOfTheTurns(t *testing.T) {
	n := 0
	took := []time.Duration{5, 1, 9}
	side := func(context.Context) (time.Duration, error) { n++; return took[(n-1)/2], nil }
	ours, peer, err := (&row{ours: side, peer: side, turns: 3}).measure(t.Context())
	if err != nil || ours != 5 || peer != 5 || n != 6 {
		t.Errorf("%d and %d after %d calls: %v", ours, peer, n, err)
	}
}
