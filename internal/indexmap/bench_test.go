package indexmap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/index"
)

// batch is how many entries a reader of a log takes at once.
const batch = 1000

// entriesOf is how many entries the benchmark's log has: four of each chip, and so two names for
// four entries.
func entriesOf(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("POCLOG_INDEX"))
	if err != nil || n < 8*batch {
		n = 100_000
	}
	b.Logf("%d entries; POCLOG_INDEX=1000000 for a million", n/batch*batch)
	return n / batch * batch
}

// proofs are entries of a log whose chips come round again after the whole of it has passed.
func proofs(b *testing.B, from, total int) [][]byte {
	list := make([][]byte, batch)
	for i := range list {
		who := (from + i) % (total / 4)
		list[i] = leaf(b, who/2, who/2, 2)
	}
	return list
}

// BenchmarkIndex is the life of an index of one log: build it from nothing, with an index entry
// every thousand entries; open it again; take more; predict; prove; verify. The time in which the
// entries are made is not counted.
func BenchmarkIndex(b *testing.B) {
	total := entriesOf(b)
	path := filepath.Join(b.TempDir(), "index.db")
	m, took := build(b, path, total)
	root := m.State().Root
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("build", func(b *testing.B) { // measured above, once
		for b.Loop() {
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(took.Microseconds())/float64(total), "µs/entry")
		b.ReportMetric(diskOf(b, path)/float64(total), "disk-B/entry")
	})
	var names int
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			m = nil
			before := heap()
			b.StartTimer()
			var err error
			if m, err = indexmap.Open(path, func(_, n int) { names = n }); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(heap()-before)/float64(names), "heap-B/name")
			if m.State().Root != root {
				b.Fatal("another root after it was opened")
			}
			m.Close()
			b.StartTimer()
		}
		b.ReportMetric(float64(names), "names")
	})
	m = open(b, path)
	b.Run("follow", func(b *testing.B) {
		for n := total; b.Loop(); n += batch {
			b.StopTimer()
			list := proofs(b, n, total)
			b.StartTimer()
			follow(b, m, list)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "µs/entry")
	})
	b.Run("prove", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, _, err := m.Lookup([]string{chipName(i % (total / 8))}, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) { verifyProofs(b, m, total/8) })
}

func chipName(n int) string { return fmt.Sprintf("intel:tdx:ppid:%032x", n+1) }

// follow takes a batch, and the index entry after it.
func follow(b *testing.B, m *indexmap.Map, list [][]byte) {
	b.Helper()
	if err := m.Follow(b.Context(), m.State().Next, list); err != nil {
		b.Fatal(err)
	}
	size := m.State().Next
	if err := m.Follow(b.Context(), size, [][]byte{head(b, m, size)}); err != nil {
		b.Fatal(err)
	}
}

func build(b *testing.B, path string, total int) (m *indexmap.Map, took time.Duration) {
	b.Helper()
	m = open(b, path)
	for n := 0; n < total; n += batch {
		list := proofs(b, n, total)
		begun := time.Now()
		follow(b, m, list)
		took += time.Since(begun)
	}
	return m, took
}

func verifyProofs(b *testing.B, m *indexmap.Map, chips int) {
	const sample = 1000
	root := m.State().Root
	names, proofs, size := make([]string, sample), make([][]byte, sample), 0
	for i := range names {
		names[i] = chipName(i * chips / sample)
		list, _, err := m.Lookup(names[i:i+1], 0)
		if err != nil {
			b.Fatal(err)
		}
		proofs[i] = list[0].Proof
		size = max(size, len(proofs[i]))
	}
	for i := 0; b.Loop(); i++ {
		if _, present, err := index.Lookup(root, names[i%sample], proofs[i%sample]); !present || err != nil {
			b.Fatal(present, err)
		}
	}
	b.ReportMetric(float64(size), "proof-B-most")
}

// heap is what is in use, as live objects.
func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func diskOf(b *testing.B, path string) float64 {
	b.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		b.Fatal(err)
	}
	total := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		total += info.Size()
	}
	return float64(total)
}
