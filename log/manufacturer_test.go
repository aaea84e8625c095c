package log_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/pcs"
)

// lies are what a manufacturer's server tells about its own platforms: each is refused, whether the
// log knows better already or not.
func lies(t *testing.T, m *market) map[string]http.HandlerFunc {
	t.Helper()
	serve := func(c *poclog.Collateral) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { pcs.Serve(c, w, r) }
	}
	forged := m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 99})
	for i := range forged.Items {
		body := bytes.Clone(forged.Items[i].Body)
		body[len(body)-4] ^= 1
		forged.Items[i].Body = body
	}
	return map[string]http.HandlerFunc{
		"expired":         serve(m.issue(t, chip.CollateralOptions{At: time.Now().AddDate(0, -2, 0), Evaluation: 99})),
		"future-dated":    serve(m.issue(t, chip.CollateralOptions{At: time.Now().AddDate(0, 2, 0), Evaluation: 99})),
		"wrong signature": serve(forged),
		"wrong FMSPC":     serve(m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 99, FMSPC: [6]byte{9, 9, 9, 9, 9, 9}})),
		"garbage":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"tcbInfo":`) },
		"down":            func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
}

// A log that knows what judges a platform goes on judging by it, whatever the manufacturer's server
// says next: also what is older than it saw.
func TestLogKeepsJudgingByWhatItKnows(t *testing.T) {
	m := newMarket(t, nil)
	m.server.Publish(m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour), Evaluation: 18}))
	submit(t, m.testLog, m.prove(t))
	b, err := poclog.ParseBundle(m.prove(t).Bundle)
	if err != nil {
		t.Fatal(err)
	}
	all := lies(t, m)
	older := m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Minute), Evaluation: 17})
	all["older than already seen"] = func(w http.ResponseWriter, r *http.Request) { pcs.Serve(older, w, r) }
	proofs := uint64(1)
	for name, lie := range all {
		m.server.Instead(lie)
		if err := m.cache.Refresh(t.Context(), m.cache.Needs(b)); err == nil {
			t.Errorf("%s: believed", name)
		}
		e := submit(t, m.testLog, m.prove(t)).Verdict.Entry
		if e.Level != poclog.LevelBound || e.CVM.TCB == nil || e.CVM.TCB.Evaluation != 18 {
			t.Errorf("%s: level %d, %+v", name, e.Level, e.CVM.TCB)
		}
		if h := m.health(t); h.Status != "ok" || len(h.Warnings) == 0 {
			t.Errorf("%s: the log publishes, and should warn: %+v", name, h)
		}
		proofs++
	}
	if r := m.fsck(t); len(r.Findings) > 0 || r.Proofs != proofs {
		t.Errorf("fsck: %+v", r)
	}
}

// A log that does not know yet believes none of it: fresh evidence waits.
func TestLogIsToldNothingByALyingManufacturer(t *testing.T) {
	for _, name := range []string{"wrong signature", "wrong FMSPC"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t, nil)
			m.server.Instead(lies(t, m)[name])
			if p := problemOf(t, m.testLog, m.prove(t)); p.Status != http.StatusServiceUnavailable || p.Check != "collateral" || p.RetryAfter == 0 {
				t.Errorf("%+v: want 503, collateral, Retry-After", p)
			}
			if h := m.health(t); h.Status != "ok" || len(h.Warnings) == 0 {
				t.Errorf("%+v", h)
			}
		})
	}
}

// Who waits for a slow manufacturer keeps nobody else waiting.
func TestSlowManufacturerDelaysNewPlatformsOnly(t *testing.T) {
	m := newMarket(t, nil)
	submit(t, m.testLog, m.prove(t))
	h, err := m.cloud.NewHost(m.cloud.Zones[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	h.Sockets[0] = m.cloud.Maker.NewPlatform("another family", func(p *chip.Platform) { p.FMSPC = [6]byte{0x90, 0xc0, 0x6f} })
	vm, err := h.NewVM(0, gce.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	known := m.vm
	m.vm = vm
	waiting := m.prove(t)
	m.vm = known
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	good := m.issue(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour), FMSPC: vm.Platform().FMSPC})
	m.server.Instead(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
			pcs.Serve(good, w, r)
		case <-r.Context().Done():
		}
	})
	type reply struct {
		got *client.Submitted
		err error
	}
	done := make(chan reply, 1)
	go func() {
		got, err := m.client.Submit(t.Context(), waiting)
		done <- reply{got, err}
	}()
	select {
	case <-asked:
	case r := <-done:
		t.Fatalf("answered without the manufacturer: %+v, %v: the platform is no new one", r.got, r.err)
	}
	if e := submit(t, m.testLog, m.prove(t)).Verdict.Entry; e.Level != poclog.LevelBound {
		t.Errorf("a known platform meanwhile: level %d", e.Level)
	}
	if h := m.health(t); h.Status != "ok" {
		t.Errorf("health meanwhile: %+v", h)
	}
	select {
	case r := <-done:
		t.Errorf("judged before the manufacturer answered: %+v, %v", r.got, r.err)
	default:
	}
	close(answer)
	if r := <-done; r.err != nil || r.got.Verdict.Entry.Level != poclog.LevelBound {
		t.Errorf("after the answer: %+v, %v", r.got, r.err)
	}
}
