package monitor_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
)

// direct answers requests from a log in this process, with entry bundles that are made before.
type direct struct {
	log     *fleetLog
	bundles map[string][]byte
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
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
	via := &direct{l, make(map[string][]byte)}
	scan := func() (time.Duration, *monitor.Outcome, *monitor.Monitor) {
		dir := filepath.Join(b.TempDir(), "monitor")
		if err := monitor.Init(dir); err != nil {
			b.Fatal(err)
		}
		m := open(b, dir, monitor.Config{Clock: func() time.Time { return at(f.tick) }, HTTP: &http.Client{Transport: via}})
		if _, err := m.AddLog(b.Context(), "http://log.test/", testlog.PolicyText(origin)); err != nil {
			b.Fatal(err)
		}
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
