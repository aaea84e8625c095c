package notify_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog/monitor"
)

// idOf is the ID of an alert that is raised.
func idOf(a monitor.Alert) string { return monitor.AlertID(a.Rule, a.Subject, a.Entries) }

// Whatever a receiver, or a firewall before it, answers to one alert: others are told, and soon.
func TestNoAnswerToOneAlertHoldsUpOthers(t *testing.T) {
	for _, status := range []int{301, 400, 401, 403, 404, 405, 410, 413, 422, 451, 500, 501, 505, 508, 599} {
		b := newBench(t)
		bad := idOf(alert(0))
		told := make(map[string]time.Duration)
		tries := 0
		_, url := newReceiver(t, func(_ int, id string, w http.ResponseWriter) {
			if id == bad {
				tries++
				w.WriteHeader(status)
				return
			}
			told[id] = b.clock().Sub(now)
		})
		b.raise(t, alert(0), alert(1), alert(2))
		ctx, cancel := context.WithCancel(t.Context())
		b.until(cancel, 24*time.Hour)
		if left, err := b.courier(b.webhook(t, url, nil)).Flush(ctx); left != 1 || err == nil {
			t.Errorf("%d: %d left, %v: want the refused one", status, left, err)
		}
		for i := range 2 {
			if at, ok := told[idOf(alert(i+1))]; !ok || at > 10*time.Second {
				t.Errorf("%d: alert %d told: %v, after %s", status, i+1, ok, at)
			}
		}
		// Each hour at the longest, and no more often as time goes on.
		if tries < 24 || tries > 40 {
			t.Errorf("%d: the refused alert was tried %d times in a day", status, tries)
		}
	}
}

// until has the bench's waits end a context after a time.
func (b *bench) until(end context.CancelFunc, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end, b.ends = end, b.now.Add(d)
}

// Contradictions are told first, also where many alerts came before, and where each of these is
// refused.
func TestContradictionsAreToldFirst(t *testing.T) {
	for _, status := range []int{200, 403} {
		b := newBench(t)
		grave := alert(1000)
		var order []string
		var at time.Duration
		_, url := newReceiver(t, func(_ int, id string, w http.ResponseWriter) {
			order = append(order, id)
			if id == idOf(grave) {
				at = b.clock().Sub(now)
				return
			}
			w.WriteHeader(status)
		})
		for i := range 120 {
			a := alert(i)
			a.Severity = "alert"
			b.raise(t, a)
		}
		b.raise(t, grave)
		ctx, cancel := context.WithCancel(t.Context())
		b.until(cancel, 24*time.Hour)
		_, _ = b.courier(b.webhook(t, url, nil)).Flush(ctx) // what is refused is left
		if len(order) == 0 || order[0] != idOf(grave) || at != 0 {
			t.Errorf("%d: the contradiction was told as number %d, after %s", status, slices.Index(order, idOf(grave)), at)
		}
		slices.Sort(order)
		if n := len(slices.Compact(order)); n != 121 {
			t.Errorf("%d: %d alerts were tried in a day: want all", status, n)
		}
	}
}

// An address that takes nothing is not flooded with what waits for it: about one request a minute.
func TestAnAddressThatTakesNothingIsNotFlooded(t *testing.T) {
	for status, most := range map[int]int{404: 24*60 + 10, 503: 24 + 12} {
		b := newBench(t)
		r, url := newReceiver(t, func(_ int, _ string, w http.ResponseWriter) { w.WriteHeader(status) })
		for i := range 80 {
			b.raise(t, alert(i))
		}
		ctx, cancel := context.WithCancel(t.Context())
		b.until(cancel, 24*time.Hour)
		if left, err := b.courier(b.webhook(t, url, nil)).Flush(ctx); left != 80 || err == nil {
			t.Error(left, err)
		}
		if r.n > most {
			t.Errorf("%d: %d requests in a day: want at most %d", status, r.n, most)
		}
	}
}
