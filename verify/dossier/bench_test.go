//go:build unix

package dossier_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/verify/dossier"
)

// BenchmarkCheck checks dossiers of one chip with 1 to 10,000 entries, in pages as a log makes
// them. ×floor is against hashing the leaves once and checking the same log's dossier without an
// entry, which has the signatures, in the same run; it and cpu-µs/entry are of processor time, which
// is fair where others share the machine.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			log := crowded(n)
			file := must(log.bind(100_000, order{names: []string{chipX}, paged: 1000}).Marshal())
			empty := must(log.bind(100_000, order{names: []string{"intel:tdx:ppid:00000000000000000000000000000bad"}}).Marshal())
			floor := costOf(b, empty) + costOfHashing(b, log.log.Leaves[1:n+1])
			before := cputime.Used(b)
			for b.Loop() {
				a, err := dossier.Check(file, policy(b), at(200_000), dossier.Demands{})
				if err != nil || len(a.Entries) != n {
					b.Fatal(len(a.Entries), err)
				}
			}
			each := (cputime.Used(b) - before) / time.Duration(b.N)
			b.ReportMetric(float64(len(file)), "bytes")
			b.ReportMetric(float64(each.Microseconds())/float64(n), "cpu-µs/entry")
			b.ReportMetric(float64(each)/float64(floor), "×floor")
		})
	}
}

// crowded is a log in which one chip proves n times, each time with another quote.
func crowded(n int) *book {
	b := newBook()
	b.config()
	b.proof(chipX, akX, "us-central1-a", 1000, nil)
	first := must(poclog.ParseLeaf(b.log.Leaves[1])).Proof
	for i := 1; i < n; i++ {
		e := *first
		e.Quote = poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "quote %d", i)).String())
		e.Appraised = at(1000 + i)
		b.add(must(e.Marshal()))
	}
	return b
}

func costOf(b *testing.B, file []byte) time.Duration {
	b.Helper()
	const runs = 50
	begun := cputime.Used(b)
	for range runs {
		if _, err := dossier.Check(file, policy(b), at(200_000), dossier.Demands{}); err != nil {
			b.Fatal(err)
		}
	}
	return (cputime.Used(b) - begun) / runs
}

func costOfHashing(b *testing.B, leaves [][]byte) time.Duration {
	b.Helper()
	const runs = 20
	begun := cputime.Used(b)
	for range runs {
		for _, l := range leaves {
			if tlog.RecordHash(l) == (tlog.Hash{}) {
				b.Fatal("a leaf is empty")
			}
		}
	}
	return (cputime.Used(b) - begun) / runs
}
