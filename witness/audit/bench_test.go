//go:build unix

package audit_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/witness/audit"
)

// BenchmarkAudit measures the audit of a log over HTTP on this machine: entries a second, entries a
// second of processor time, and the latter as a ratio to the signature floor, which is what
// verifying an entry's P-256 signatures once and nothing else would reach (four without collateral,
// nine with). The log that serves the entries is in the same process, and its time is counted.
func BenchmarkAudit(b *testing.B) {
	for _, kind := range []struct {
		name       string
		v          evidence
		signatures int
	}{{"quote", evidence{}, 4}, {"quote-and-collateral", evidence{collateral: true}, 9}} {
		b.Run(kind.name, func(b *testing.B) {
			l := newLab(b)
			var leaves [][]byte
			for range b.N {
				leaves = append(leaves, l.entry(kind.v, nil))
			}
			l.add(leaves...)
			l.publish()
			a, _ := l.auditor(audit.Config{})
			p256 := cputime.P256(b)
			floor := cputime.Of(b, p256)
			before := cputime.Used(b)
			b.ResetTimer()
			look(b, a)
			b.StopTimer()
			perEntry := (cputime.Used(b) - before).Seconds() / float64(b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(1/perEntry, "entries/cpu-s")
			floor = time.Duration(kind.signatures) * (floor + cputime.Of(b, p256)) / 2 // before, and after
			b.ReportMetric(floor.Seconds()/perEntry, "of-floor")
			b.ReportMetric(100*costOfIndex(b, leaves)/perEntry, "index-%-of-audit")
		})
	}
}

// costOfIndex is the processor time, in seconds an entry, of what an auditor does for the log's
// index: the same entries taken into one, with an index entry after every batch.
func costOfIndex(b *testing.B, leaves [][]byte) float64 {
	b.Helper()
	m, err := indexmap.Open(filepath.Join(b.TempDir(), "index.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	before := cputime.Used(b)
	for list := range slices.Chunk(leaves, 256) {
		for range 2 { // the entries, and then the index entry that commits to them
			if err := m.Follow(b.Context(), m.State().Next, list); err != nil {
				b.Fatal(err)
			}
			size := m.State().Next
			root, err := m.Predict(size)
			if err != nil {
				b.Fatal(err)
			}
			list = [][]byte{must((&poclog.IndexEntry{Algorithm: index.Algorithm, Size: size, Root: root}).Marshal())}
		}
	}
	return (cputime.Used(b) - before).Seconds() / float64(len(leaves))
}
