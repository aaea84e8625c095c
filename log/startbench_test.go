package log_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log"
)

// BenchmarkStart is how long a log of many entries takes to start, until it admits. POCLOG_ENTRIES
// says how many: four of each chip. They are made once, past admission. It is also said how long
// that took beside Tessera, what is in memory, and what on disk for each entry. "anew" is a start
// without what is derived.
func BenchmarkStart(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("POCLOG_ENTRIES"))
	if err != nil {
		n = 20_000
	}
	dir := newFab().initLog(b)
	cfg := log.Config{Software: "poclog test", Logger: slog.New(slog.DiscardHandler), CheckpointInterval: time.Second, UnsafeUnlimited: true}
	begun := time.Now()
	fill(b, dir, cfg, n)
	b.Logf("%d entries made in %s; POCLOG_ENTRIES=1000000 for a million", n, time.Since(begun).Round(time.Second))
	b.Run("as-it-was", func(b *testing.B) {
		start(b, dir, cfg)
		for what, path := range map[string]string{"index": "state/index.db", "known": "state/duplicates.db", "tiles": "tiles"} {
			b.ReportMetric(float64(diskOf(b, filepath.Join(dir, path)))/float64(n), what+"-B/entry")
		}
	})
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := os.Remove(filepath.Join(dir, "state", "duplicates.db")); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			startOnce(b, dir, cfg)
		}
	})
}

// fill makes a log's entries, and waits for what is derived from them.
func fill(b *testing.B, dir string, cfg log.Config, n int) {
	b.Helper()
	svc, err := log.Open(b.Context(), dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 8192
	for from := 0; from < n; from += batch {
		var leaves [][]byte
		for i := from; i < min(n, from+batch); i++ {
			leaves = append(leaves, proofLeaf(b, i, n/4))
		}
		if err := svc.Fill(b.Context(), leaves); err != nil {
			b.Fatal(err)
		}
	}
	for !svc.Derived(b.Context()) {
		wait(b)
	}
	if err := svc.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// proofLeaf is the i-th entry of a log, whose chips come round again.
func proofLeaf(b *testing.B, i, chips int) []byte {
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.TDX, Realm: poclog.Lab, Chassis: []poclog.Identity{poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", 1+i%max(chips, 1)))},
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "quote %d", i)).String()), CVM: poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48), FMSPC: make([]byte, 6), PCEID: make([]byte, 2)},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf(fmt.Appendf(nil, "bundle %d", i)), Policy: poclog.BlobOf([]byte("p"))}, Appraised: poclog.UnixTime(1_800_000_000 + int64(i)),
	}
	leaf, err := e.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return leaf
}

func start(b *testing.B, dir string, cfg log.Config) {
	for b.Loop() {
		startOnce(b, dir, cfg)
	}
}

// startOnce starts a log until it admits, and closes it. The time to close is not counted.
func startOnce(b *testing.B, dir string, cfg log.Config) {
	svc, err := log.Open(b.Context(), dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	for !svc.Admits() {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	for !svc.Derived(b.Context()) {
		wait(b)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB")
	if err := svc.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func diskOf(b *testing.B, path string) (total int64) {
	b.Helper()
	if err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return total
}
