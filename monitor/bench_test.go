package monitor_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/web"
)

// direct answers requests from a log in this process, with entry bundles that are made before.
type direct struct {
	log *fleetLog

	mu      sync.Mutex // a client asks for several at once
	bundles map[string][]byte
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.bundles[r.URL.Path]
	if !ok {
		var err error
		if b, err = d.log.answer(r.URL.Path); err != nil || b == nil {
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
		}
		d.bundles[r.URL.Path] = b
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b)), Request: r}, nil
}

// following is a new monitor of a fleet's log.
func following(b *testing.B, f *fleet, via http.RoundTripper) *monitor.Monitor {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "monitor")
	if err := monitor.Init(dir); err != nil {
		b.Fatal(err)
	}
	m := open(b, dir, monitor.Config{Clock: func() time.Time { return at(f.tick) }, HTTP: &http.Client{Transport: via}})
	if _, err := m.AddLog(b.Context(), "http://log.test/", testlog.PolicyText(origin)); err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkScan is the first scan of a log on one core, from the bytes that it serves to durable
// records and an index, against hashing the same leaves. POCLOG_YEAR says of how many entries.
// Comparisons of candidates, which ask the log again, are not in it.
func BenchmarkScan(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	n, _ := yearSize(b)
	if n == 10_000 {
		n = 30_000
	}
	f := newFleet(7, 24+n/2500, 60+n/400, origin)
	for range 30 * 24 {
		f.hour(n / (30 * 24))
	}
	l := f.logs[0]
	var leaves [][]byte
	for i := range l.entries {
		leaves = append(leaves, l.leaf(i))
	}
	begun, rounds := time.Now(), 0
	for ; rounds < 3; rounds++ {
		for _, leaf := range leaves {
			sha256.Sum256(leaf)
		}
	}
	hashing := time.Since(begun) / time.Duration(rounds)
	via := &direct{log: l, bundles: make(map[string][]byte)}
	scan := func() (time.Duration, *monitor.Outcome, *monitor.Monitor) {
		m := following(b, f, via)
		var first, last time.Time
		out, err := m.Run(b.Context(), monitor.Options{Once: true, Progress: func(p monitor.Progress) {
			if last = time.Now(); first.IsZero() {
				first = last // the first bundle
			}
		}})
		if err != nil || len(out.Trouble) > 0 {
			b.Fatal(out, err)
		}
		return last.Sub(first), out, m
	}
	_, out, m := scan() // bundles are made
	identities := make(map[poclog.Identity]bool)
	for r, err := range m.Records(b.Context(), monitor.Filter{Kind: monitor.KindProof}) {
		if err != nil {
			b.Fatal(err)
		}
		for _, id := range []poclog.Identity{r.Chip, r.PIID, r.EK, r.AK, r.Instance, r.Quote} {
			identities[id] = true
		}
	}
	b.ResetTimer()
	var took time.Duration
	for range b.N {
		d, _, _ := scan()
		took += d
	}
	took /= time.Duration(b.N)
	b.ReportMetric(float64(took.Nanoseconds())/float64(len(leaves)), "ns/entry")
	b.ReportMetric(100*float64(hashing)/float64(took), "%ofhashing")
	b.ReportMetric(float64(out.IndexBytes)/float64(len(identities)), "B/identity")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRun is a monitor's first look at two logs that it knew nothing of, from the bytes that
// they serve to the last comparison: what whoever starts a monitor waits for. The entries are a
// simulated year's, of which POCLOG_YEAR says how many there are. Of an entry it reports the time on
// the wall and the processor's, and the processor's until the last entry was scanned.
func BenchmarkRun(b *testing.B) {
	n, days := yearSize(b)
	f := yearOf(n, days)
	routes := make(byHost)
	entries := 0
	for i, l := range f.logs {
		routes[hostOf(i)] = &direct{log: l, bundles: make(map[string][]byte)}
		entries += len(l.entries)
	}
	var took, used, scanned time.Duration
	var out *monitor.Outcome
	look := func() {
		dir := filepath.Join(b.TempDir(), "monitor")
		if err := monitor.Init(dir); err != nil {
			b.Fatal(err)
		}
		m := open(b, dir, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }, HTTP: &http.Client{Transport: routes}})
		for i, l := range f.logs {
			if _, err := m.AddLog(b.Context(), "http://"+hostOf(i)+"/", testlog.PolicyText(l.origin)); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		begun, before := time.Now(), cputime.Used(b)
		var last atomic.Int64
		var err error
		out, err = m.Run(b.Context(), monitor.Options{Once: true, Progress: func(p monitor.Progress) {
			if p.Done == p.Total {
				last.Store(int64(cputime.Used(b)))
			}
		}})
		if err != nil || len(out.Trouble) > 0 || out.Waiting > 0 {
			b.Fatal(out, err)
		}
		took, used, scanned = took+time.Since(begun), used+cputime.Used(b)-before, scanned+time.Duration(last.Load())-before
	}
	look() // bundles are made
	took, used, scanned = 0, 0, 0
	b.ResetTimer()
	for range b.N {
		look()
	}
	for unit, d := range map[string]time.Duration{"ns/entry": took, "cpu-ns/entry": used, "scan-cpu-ns/entry": scanned} {
		b.ReportMetric(float64(d.Nanoseconds())/float64(b.N*entries), unit)
	}
	b.ReportMetric(float64(out.New["information"])/float64(entries)*1000, "found/1000")
	b.ReportMetric(0, "ns/op")
}

// byHost sends requests to the log of a host's name.
type byHost map[string]http.RoundTripper

func (r byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	return r[req.URL.Host].RoundTrip(req)
}

func hostOf(log int) string { return fmt.Sprintf("log%d.test", log) }

// BenchmarkPages is the explorer's server time and size for each kind of page, beside the API's for
// the same, over the records of POCLOG_YEAR entries of a tenth as many chips. The lists are drawn
// before, once a minute at most: "draw" is how long that takes.
func BenchmarkPages(b *testing.B) {
	n, _ := yearSize(b)
	f := newFleet(7, n/5, n/5, origin) // not all of them come up
	for i := 0; len(f.logs[0].entries) < n; i++ {
		f.hour(n / 20)
	}
	m := following(b, f, &direct{log: f.logs[0], bundles: make(map[string][]byte)})
	if out, err := m.Run(b.Context(), monitor.Options{Once: true}); err != nil || len(out.Trouble) > 0 {
		b.Fatal(out, err)
	}
	h := web.NewServer(m, web.Config{Dir: b.TempDir(), Clock: func() time.Time { return at(f.tick) }}).Handler()
	get := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK {
			b.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return w.Body.Len()
	}
	begun := time.Now()
	get("/")
	drawn := time.Since(begun)
	var chip, vm poclog.Identity
	chips := make(map[poclog.Identity]int)
	for r, err := range m.Records(b.Context(), monitor.Filter{Kind: monitor.KindProof}) {
		if err != nil {
			b.Fatal(err)
		}
		if chips[r.Chip]++; chips[r.Chip] > chips[chip] && r.Chip != "" && r.Instance != "" {
			chip, vm = r.Chip, r.Instance
		}
	}
	b.Logf("%d entries, %d chips, the most of one %d; lists drawn in %s", n, len(chips), chips[chip], drawn)
	for _, path := range []string{
		"/", "/chips", "/chips?from=5000", "/vms", "/places", "/images", "/alerts", "/id/" + string(chip), "/id/" + string(vm), "/search?q=ppid", "/v1/identities/" + string(chip), "/v1/alerts",
	} {
		b.Run(strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_"), func(b *testing.B) {
			size := 0
			for b.Loop() {
				size = get(path)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
