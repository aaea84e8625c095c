package main

import (
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify/tpm"
)

// A laboratory that is run again goes on: its TPMs neither reset nor start their clocks anew, which
// would look like a snapshot that was restored.
func TestLaboratoriesGoOn(t *testing.T) {
	began := time.Now()
	for profile := range fleets {
		l := &laboratory{V: 1, Seed: "again", Chassis: 2, VMs: 2, From: began.UTC().AddDate(-1, 0, 0).Truncate(24 * time.Hour), Profile: profile}
		before := uint64(began.Sub(l.From).Milliseconds())
		var resets uint32
		for run := range 3 {
			f, err := l.build()
			if err != nil {
				t.Fatal(err)
			}
			for _, vm := range []int{1, 0, 1} {
				q := quoteOf(t, f, vm, profile)
				if run == 0 && vm == 1 {
					resets = q.ResetCount
				}
				if q.Clock < before || q.ResetCount != resets || q.RestartCount != 0 {
					t.Errorf("%s, run %d, VM %d: clock %d, boot %d.%d: want a clock of at least %d, boot %d.0",
						profile, run, vm, q.Clock, q.ResetCount, q.RestartCount, before, resets)
				}
				before = q.Clock
			}
		}
	}
}

func quoteOf(t *testing.T, f *fleet, vm int, p poclog.Profile) *tpm.Quote {
	t.Helper()
	ch := *attack.NewWorldOf(poclog.TDX).Challenge
	ch.Profile = p
	b, err := f.prove(vm, &ch)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tpm.ParseQuote(b.Get(poclog.ItemTPMQuote))
	if err != nil {
		t.Fatal(err)
	}
	return q
}
