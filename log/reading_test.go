package log_test

import (
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// Of each file of a submission admission knows what it says once, however often it is judged:
// before collateral is fetched, by it, and by what the provider answers. The policy is parsed when
// the log starts.
func TestAdmissionParsesEachFileOnce(t *testing.T) {
	var mu sync.Mutex
	counts, judged := make(map[string]int), 0
	known := profile.NewKnown()
	m := newMarket(t, func(c *log.Config, p *poclog.Policy, _ *collateral.Config) {
		c.Appraise = func(in profile.Input) (*verify.Appraisal, error) {
			mu.Lock()
			judged++
			mu.Unlock()
			if in.Parsed.Bundle == nil || in.Parsed.Challenge == nil || in.Parsed.Policy == nil || len(in.Collateral) > 0 != (in.Parsed.Collateral != nil) {
				t.Errorf("the appraisal has to parse: %+v", in.Parsed)
			}
			return known.Appraise(in)
		}
	})
	m.svc.OnParse(func(what string) {
		mu.Lock()
		defer mu.Unlock()
		counts[what]++
	})
	sub := m.prove(t)
	offered := m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)})
	var err error
	if sub.Collateral, err = offered.Marshal(); err != nil {
		t.Fatal(err)
	}
	if got := submit(t, m.testLog, sub); !got.New {
		t.Fatal("not new")
	}
	if want := (map[string]int{"bundle": 1, "challenge": 1, "collateral": 1}); !maps.Equal(counts, want) {
		t.Errorf("parsed %v: want %v", counts, want)
	}
	clear(counts)
	m.server.Instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	judged = 0
	other := m.prove(t) // without collateral, of a platform that is known
	if got := submit(t, m.testLog, other); !got.New {
		t.Fatal("not new")
	}
	if want := (map[string]int{"bundle": 1, "challenge": 1}); !maps.Equal(counts, want) || judged == 0 {
		t.Errorf("parsed %v, judged %d times: want %v", counts, judged, want)
	}
}
