package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/receipt"
)

// What an entry does not prove of its place is called unproven, in lists and in the answers of
// verify.
func TestUnprovenPlacesAreCalledSo(t *testing.T) {
	claim := func(value, by string) poclog.Claim { return poclog.Claim{Value: value, By: []string{by}} }
	bound := []string{"tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm"}
	for _, c := range []struct {
		name    string
		profile poclog.Profile
		level   uint32
		checks  []string
		place   *poclog.Place
		want    string
	}{
		{"proven", poclog.GCETDXvTPM, poclog.LevelBound, bound, &poclog.Place{Provider: claim("gce", "ak-certificate"), Zone: claim("z", "log-observed")},
			"gce (ak-certificate), z (log-observed)"},
		{"level 0", poclog.GCETDXvTPM, poclog.LevelChip, bound, &poclog.Place{Provider: claim("gce", "ak-certificate"), Zone: claim("z", "log-observed")},
			"unproven: gce (ak-certificate), z (log-observed)"},
		{"not bound", poclog.GCETDXvTPM, poclog.LevelBound, bound[1:], &poclog.Place{Provider: claim("gce", "ak-certificate")}, "unproven: gce (ak-certificate)"},
		{"a hint", poclog.AzureTDXvTPM, poclog.LevelBound, bound, &poclog.Place{Provider: claim("azure", "ak-certificate"), Region: claim("r", "aia-hint")},
			"azure (ak-certificate), unproven: r (aia-hint)"},
		{"a namesake", poclog.BareMetalTDXTPM, poclog.LevelBound, bound, &poclog.Place{Provider: claim("gce", "ak-certificate")}, "unproven: gce (ak-certificate)"},
		{"none", poclog.TDX, poclog.LevelChip, nil, nil, "-"},
	} {
		e := &poclog.Entry{Profile: c.profile, Level: c.level, Checks: c.checks, Place: c.place, TPM: new(poclog.TPM)}
		if got := placeText(e); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		var out bytes.Buffer
		new(verifyCmd).printProof(&out, &receipt.Verdict{Entry: e}, nil)
		if c.place != nil && !strings.Contains(out.String(), "  place      "+c.want+"\n") {
			t.Errorf("%s: verify prints %s", c.name, out.String())
		}
	}
}
