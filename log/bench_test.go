package log_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
)

// BenchmarkAdmission submits distinct bundles through HTTP, from as many submitters as hide the
// wait for a checkpoint. ×floor is the rate as a share of what the signatures that must be verified
// allow on all cores, measured in the same run; the submitters share those cores.
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
			floor := time.Duration(bench.signatures) * costP256(b) / time.Duration(runtime.GOMAXPROCS(0))
			post := poster()
			var next atomic.Int64
			b.SetParallelism(256)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := post(l.url+"/v1/proofs", bodies[next.Add(1)-1]); err != nil {
						b.Error(err)
						return
					}
				}
			})
			each := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(time.Second)/float64(each), "proofs/s")
			b.ReportMetric(float64(floor)/float64(each), "×floor")
		})
	}
}

// poster submits over connections that stay open.
func poster() func(url string, body []byte) error {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}}
	return func(url string, body []byte) error {
		resp, err := c.Post(url, poclog.SubmissionType, bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusCreated {
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

const floorRuns = 500

func costP256(b *testing.B) time.Duration {
	b.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	for range floorRuns {
		if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
			b.Fatal("refused")
		}
	}
	return time.Since(begun) / floorRuns
}
