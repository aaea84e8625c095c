package monitor_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the laboratory's own
	}
	return v
}

// A station is a log in memory that is served over HTTP.
type station struct {
	*testlog.Station
	url string
}

// newStation serves a log.
func newStation(t testing.TB, l *testlog.Log) *station {
	t.Helper()
	s := &station{Station: testlog.NewStation(l)}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// follow adds a log to a monitor.
func (s *station) follow(t testing.TB, m *monitor.Monitor) {
	t.Helper()
	if got, err := m.AddLog(t.Context(), s.url, s.Policy); err != nil || got != s.Log.Origin {
		t.Fatalf("add log: %q, %v", got, err)
	}
}

// submit appends the entry of a bundle, and returns when it was judged.
func (s *station) submit(t testing.TB, w *attack.World, b *poclog.Bundle) time.Time {
	t.Helper()
	at, err := w.Submit(s.Station, b, appraise)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// appraise makes the leaf of evidence.
func appraise(bundle, collateral, policy []byte, at time.Time) ([]byte, error) {
	return profile.Reappraiser{}.Reappraise(receipt.Evidence{Bundle: bundle, Collateral: collateral, Policy: policy}, at, poclog.Appraisal)
}

// once runs a monitor once and wants no trouble.
func once(t testing.TB, m *monitor.Monitor) *monitor.Outcome {
	t.Helper()
	out, err := m.Run(t.Context(), monitor.Options{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	for origin, trouble := range out.Trouble {
		t.Fatalf("%s: %v", origin, trouble)
	}
	return out
}
