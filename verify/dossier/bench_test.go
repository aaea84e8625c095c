//go:build unix

package dossier_test

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
)

// BenchmarkCheck checks dossiers of one chip with 1 to 10,000 entries, in pages as a log makes them.
// The floor is what the format asks of every reader, in hashes and signatures alone: each leaf, the
// inner nodes above all of them, the chain of the name's numbers, and the signatures of two
// checkpoints. To read the entries is not in it, nor to compare them.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			log, p := crowded(n), policy(b)
			file := must(log.bind(100_000, order{names: []string{chipX}, paged: 1000}).Marshal())
			numbers := log.said(chipX, uint64(n)+1)
			floor := cputime.All(cputime.Several(b, 4, cputime.Ed25519), func() {
				index.Value{}.Chain(numbers)
				hashes := make([]tlog.Hash, n)
				for i, l := range log.log.Leaves[1 : n+1] {
					hashes[i] = tlog.RecordHash(l)
				}
				for ; len(hashes) > 1; hashes = hashes[:(len(hashes)+1)/2] {
					for i := 0; i+1 < len(hashes); i += 2 {
						hashes[i/2] = tlog.NodeHash(hashes[i], hashes[i+1])
					}
				}
			})
			cputime.Ratio(b, floor, func() {
				a, err := dossier.Check(file, p, at(200_000), dossier.Demands{})
				if err != nil || len(a.Entries) != n {
					b.Fatal(len(a.Entries), err)
				}
			})
			b.ReportMetric(float64(len(file)), "bytes")
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
