package log_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/index"
)

// BenchmarkAdmission submits distinct bundles through HTTP, from as many submitters as hide the
// wait for a checkpoint. ×floor is the processor time of the signatures that must be verified,
// measured in the same run, as a share of all processor time of a submission: the submitters' and
// the disk's calls are in it, and other programs are not.
func BenchmarkAdmission(b *testing.B) {
	for _, bench := range []struct {
		name       string
		signatures int // on P-256: quote, QE report, PCK, CA; and TCB signer, TCB info, QE identity, two CRLs
		collateral bool
	}{{"quote", 4, false}, {"quote+collateral", 9, true}} {
		b.Run(bench.name, func(b *testing.B) {
			f := newFab()
			cfg := logConfig()
			l := serve(b, f.initLog(b), cfg)
			var collateral []byte
			if bench.collateral {
				file, err := f.maker.Collateral(chip.CollateralOptions{At: time.Now().Add(-time.Hour)}).Marshal()
				if err != nil {
					b.Fatal(err)
				}
				collateral = file
			}
			bodies := make([][]byte, b.N)
			for i := range bodies {
				sub := f.submission(b, uint64(i))
				sub.Collateral = collateral
				body, err := sub.Marshal()
				if err != nil {
					b.Fatal(err)
				}
				bodies[i] = body
			}
			floor := time.Duration(bench.signatures) * cputime.Of(b, cputime.P256(b))
			post := poster(http.StatusCreated)
			var next atomic.Int64
			b.SetParallelism(256)
			before := cputime.Used(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := post(l.url+"/v1/proofs", bodies[next.Add(1)-1]); err != nil {
						b.Error(err)
						return
					}
				}
			})
			each := (cputime.Used(b) - before) / time.Duration(b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proofs/s")
			b.ReportMetric(float64(each.Microseconds()), "cpu-µs/op")
			b.ReportMetric(float64(floor)/float64(each), "×floor")
		})
	}
}

// poster submits over connections that stay open, and wants a status.
func poster(want int) func(url string, body []byte) error {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}}
	return func(url string, body []byte) error {
		resp, err := c.Post(url, poclog.SubmissionType, bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != want {
			err = fmt.Errorf("%s: %s", resp.Status, answer)
		}
		return err
	}
}

// BenchmarkDuplicate answers what is in the log already.
func BenchmarkDuplicate(b *testing.B) {
	f := newFab()
	l := serve(b, f.initLog(b), logConfig())
	sub := f.submission(b, 1)
	if _, err := l.client.Submit(b.Context(), sub); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := l.client.Submit(b.Context(), sub); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDossier asks a log for a chip's dossier over HTTP, with all its pages: from memory, disk
// and tiles to the file.
func BenchmarkDossier(b *testing.B) {
	f := newFab()
	l := serve(b, f.initLog(b), log.Config{UnsafeUnlimited: true, IndexInterval: indexEvery})
	first, err := l.client.Submit(b.Context(), f.submission(b, 0))
	if err != nil {
		b.Fatal(err)
	}
	of := client.DossierOf{Names: []string{index.Unproven + string(first.Verdict.Entry.Chip())}}
	c, err := client.New(client.Config{URL: l.url, Policy: l.policy})
	if err != nil {
		b.Fatal(err)
	}
	admitted := 1
	for _, n := range []int{1, 100, 10_000} {
		admit(b, f, l, admitted, n)
		admitted = n
		for d, _ := c.Dossier(b.Context(), of); d == nil || len(d.Names[0].Numbers) < n; d, _ = c.Dossier(b.Context(), of) {
			wait(b) // until an index entry covers them
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			size := 0
			for b.Loop() {
				d, err := c.Dossier(b.Context(), of)
				if err != nil {
					b.Fatal(err)
				}
				file, err := d.Marshal()
				if err != nil || len(d.Names[0].Numbers) != n {
					b.Fatal(len(d.Names[0].Numbers), err)
				}
				size = len(file)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// admit submits proofs of one chip, until there are n.
func admit(b *testing.B, f *fab, l *testLog, from, n int) {
	b.Helper()
	post := poster(http.StatusCreated)
	var wg sync.WaitGroup
	for chunk := range slices.Chunk(numbers(from, n), 1+(n-from)/64) {
		wg.Go(func() {
			for _, i := range chunk {
				body, err := f.submission(b, uint64(i)).Marshal()
				if err == nil {
					err = post(l.url+"/v1/proofs", body)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func numbers(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}
