package query_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/query/querytest"
)

func points(at ...float64) []query.Point {
	var out []query.Point
	for _, h := range at {
		out = append(out, query.Point{At: querytest.Hours(h), Place: "gce/r/z"})
	}
	return out
}

func spansText(spans []query.Span) string {
	var parts []string
	for _, s := range spans {
		parts = append(parts, fmt.Sprintf("%g-%g", s.From.Sub(querytest.Start).Hours(), s.To.Sub(querytest.Start).Hours()))
	}
	return strings.Join(parts, " ")
}

func TestCoverageIsWhatWindowsReach(t *testing.T) {
	day := query.Span{From: querytest.Hours(0), To: querytest.Hours(24)}
	for _, c := range []struct {
		name             string
		proofs           []query.Point
		covered, gaps    string
		counted          int
		percent, picture string
	}{
		{"nothing", nil, "", "0-24", 0, "0 %", "············"},
		{"one proof", points(6), "6-8", "0-6 8-24", 1, "8.3 %", "···█········"},
		{"before the day, reaching in", points(-1), "0-1", "1-24", 1, "4.2 %", "▒···········"},
		{"before the day, not reaching in", points(-2), "", "0-24", 0, "0 %", "············"},
		{"at its end", points(23), "23-24", "0-23", 1, "4.2 %", "···········▒"},
		{"after it", points(24), "", "0-24", 0, "0 %", "············"},
		{"overlapping, out of order", points(9, 8, 8.5), "8-11", "0-8 11-24", 3, "12.5 %", "····█▒······"},
		{"touching", points(8, 10), "8-12", "0-8 12-24", 2, "16.7 %", "····██······"},
		{"a second apart", append(points(8), query.Point{At: querytest.Hours(10).Add(time.Second)}), "", "0-8 10-10.000277777777777 12.000277777777777-24", 2, "16.7 %", "····█▒▒·····"},
		{"the whole day", points(-1, 0.5, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22), "0-24", "", 13, "100 %", "████████████"},
		{"all but a second", append(points(-1, 0.5, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20), query.Point{At: querytest.Hours(22).Add(time.Second)}), "", "", 13, "over 99.9 %", "███████████▒"},
	} {
		got := query.Cover(c.proofs, 2*time.Hour, day)
		var covered []query.Span
		for _, s := range got.Covered {
			covered = append(covered, s.Span)
		}
		if c.covered != "" && spansText(covered) != c.covered || c.gaps != "" && spansText(got.Gaps) != c.gaps || got.Proofs != c.counted {
			t.Errorf("%s: covered %q, gaps %q, %d proofs: want %q, %q, %d", c.name, spansText(covered), spansText(got.Gaps), got.Proofs, c.covered, c.gaps, c.counted)
		}
		if got.Percent() != c.percent || got.Bar(12) != c.picture {
			t.Errorf("%s: %s %s: want %s %s", c.name, got.Percent(), got.Bar(12), c.percent, c.picture)
		}
	}
}

// Whatever the proofs: spans and gaps make up the whole, and a moment is covered if and only if
// some window holds it.
func TestCoverageAgreesWithCountingMinutes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const minutes = 600
	span := query.Span{From: querytest.Start, To: querytest.Start.Add(minutes * time.Minute)}
	for range 200 {
		window := time.Duration(1+rnd.IntN(90)) * time.Minute
		var list []query.Point
		slow := make([]bool, minutes)
		for range rnd.IntN(12) {
			at := querytest.Start.Add(time.Duration(rnd.IntN(minutes+200)-100) * time.Minute)
			list = append(list, query.Point{At: at})
			for m := range slow {
				moment := querytest.Start.Add(time.Duration(m) * time.Minute)
				slow[m] = slow[m] || !moment.Before(at) && moment.Before(at.Add(window))
			}
		}
		got := query.Cover(list, window, span)
		covered, total := 0, time.Duration(0)
		for m, want := range slow {
			moment := querytest.Start.Add(time.Duration(m) * time.Minute)
			have := false
			for _, s := range got.Covered {
				have = have || !moment.Before(s.From) && moment.Before(s.To)
			}
			if have != want {
				t.Fatalf("minute %d with window %s: %v: want %v", m, window, have, want)
			}
			if want {
				covered++
			}
		}
		for _, s := range got.Covered {
			total += s.To.Sub(s.From)
		}
		for _, s := range got.Gaps {
			total += s.To.Sub(s.From)
		}
		if share := float64(covered) / minutes; total != minutes*time.Minute || share-got.Share > 1e-9 || got.Share-share > 1e-9 {
			t.Fatalf("spans make up %s, share %g: want %g", total, got.Share, share)
		}
	}
}

func TestOnlyFreshAndBoundProofsCover(t *testing.T) {
	fresh := &monitor.Fresh{Origin: "log.test"}
	records := querytest.Of(
		&monitor.Record{Kind: monitor.KindProof, Level: 2, Fresh: fresh, Appraised: querytest.Hours(1), Place: querytest.Authentic("gce", "r", "z")},
		&monitor.Record{Kind: monitor.KindProof, Level: 0, Fresh: fresh, Appraised: querytest.Hours(2)},
		&monitor.Record{Kind: monitor.KindProof, Level: 2, Appraised: querytest.Hours(3)},
		&monitor.Record{Kind: monitor.KindConfig, Appraised: querytest.Hours(4)},
	)
	got, err := query.FreshProofs(records)
	if err != nil || len(got) != 1 || got[0] != (query.Point{At: querytest.Hours(1), Place: "gce/r/z"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func hinted(provider, region string) monitor.Place {
	return monitor.Place{Provider: provider, Region: region, ProviderAuthentic: true}
}
