package profile

import (
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
)

// judgement returns the input for a bundle under the default policy with historical evidence admitted.
func judgement(t testing.TB, b *poclog.Bundle, c *poclog.Collateral, at time.Time) Input {
	t.Helper()
	in := Input{Appraised: at, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if c != nil {
		if in.Collateral, err = c.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if in.Policy, err = DefaultPolicy(true).Marshal(); err != nil {
		t.Fatal(err)
	}
	return in
}

func wantCheck(t *testing.T, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("refused by %q (%v): want %q", got, err, want)
	}
}

func TestRealAzureBundleIsAGenuineChipAtAnUnprovenPlace(t *testing.T) {
	b, c := realdata.Azure(t)
	a, err := Appraise(judgement(t, b, c, realdata.AzureTime))
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Profile != poclog.AzureTDXvTPM || e.Level != poclog.LevelChip || e.Fresh != nil {
		t.Errorf("profile %s, level %d, fresh %v", e.Profile, e.Level, e.Fresh)
	}
	absent := []string{"tee.launch", "tpm.ak-template", "bind.tee-in-tpm", "bind.pcr-rtmr", "place.certificate", "place.registry", "fresh.challenge"}
	if !slices.Equal(e.Absent, absent) {
		t.Errorf("absent %v: want %v", e.Absent, absent)
	}
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes: %s", len(leaf), leaf)
}
