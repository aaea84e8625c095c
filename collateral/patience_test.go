package collateral_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/kds"
)

// busy answers with statuses in turn, and says how long to wait.
func busy(t *testing.T, retryAfter string, statuses ...int) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := http.StatusOK
		if len(statuses) > 0 {
			status, statuses = statuses[0], statuses[1:]
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// A waiter waits for nothing, and notes how long it would have.
type waiter struct{ waits, told []time.Duration }

func (w *waiter) patience(d time.Duration) *collateral.Patience {
	return &collateral.Patience{
		For:  d,
		Told: func(_ string, wait time.Duration) { w.told = append(w.told, wait) },
		Wait: func(ctx context.Context, d time.Duration) error { w.waits = append(w.waits, d); return ctx.Err() },
	}
}

func TestServersThatAskToWaitAreWaitedFor(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		retryAfter string
		statuses   []int
		patience   time.Duration
		waits      []time.Duration
		status     int
	}{
		"at once":                      {"", nil, time.Minute, nil, 200},
		"after two waits":              {"7", []int{429, 503}, time.Minute, []time.Duration{7 * s, 7 * s}, 200},
		"without a time":               {"", []int{429, 429, 429}, time.Minute, []time.Duration{s, 2 * s, 4 * s}, 200},
		"for longer than is waited":    {"61", []int{429}, time.Minute, nil, 429},
		"for longer in all":            {"25", []int{429, 429, 429}, time.Minute, []time.Duration{25 * s, 25 * s}, 429},
		"without patience":             {"1", []int{429}, 0, nil, 429},
		"an answer that is no request": {"1", []int{500}, time.Minute, nil, 500},
	} {
		w := new(waiter)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, busy(t, c.retryAfter, c.statuses...), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.patience(c.patience).Do(http.DefaultClient, req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || !slices.Equal(w.waits, c.waits) || !slices.Equal(w.told, c.waits) {
			t.Errorf("%s: status %d after %v, told %v: want %d after %v", name, resp.StatusCode, w.waits, w.told, c.status, c.waits)
		}
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, busy(t, "50", 429), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &collateral.Patience{For: time.Hour, Told: func(string, time.Duration) { cancel() }}
	if resp, err := p.Do(http.DefaultClient, req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", resp, err)
	}
}

// AMD's service gives little to who asks often.
func TestAThrottledKDSIsWaitedFor(t *testing.T) {
	b := newAMDBench(t, "Milan")
	w := new(waiter)
	p := w.patience(time.Minute)
	note := p.Wait
	p.Wait = func(ctx context.Context, d time.Duration) error {
		b.server.Instead(nil) // it is at ease again
		return note(ctx, d)
	}
	k, err := collateral.NewKDS(b.url, "", b.roots(), collateral.Config{Now: func() time.Time { return b.now }, Patience: *p})
	if err != nil {
		t.Fatal(err)
	}
	b.server.Instead(kds.Throttle(20))
	if _, err := k.Certificates(t.Context(), b.chip.Report(amd.Guest{}, nil)); err != nil || fmt.Sprint(w.waits) != "[20s]" {
		t.Errorf("after %v: %v", w.waits, err)
	}
}
