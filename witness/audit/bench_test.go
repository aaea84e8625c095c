package audit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"testing"
	"time"

	"github.com/poclog/poclog/witness/audit"
)

// BenchmarkAudit measures the audit of a log over HTTP on this machine, per entry, and gives the rate as a ratio to the signature floor: what
// as many processors reach that verify an entry's P-256 signatures and do nothing else (four without collateral, nine with). The log that
// serves it shares the processors.
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
			floor := time.Duration(kind.signatures) * costP256(b)
			b.ResetTimer()
			look(b, a)
			b.StopTimer()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "entries/s")
			b.ReportMetric(rate*floor.Seconds()/float64(runtime.GOMAXPROCS(0)), "of-floor")
		})
	}
}

func costP256(tb testing.TB) time.Duration {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	const runs = 500
	begun := time.Now()
	for range runs {
		if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
			tb.Fatal("refused")
		}
	}
	return time.Since(begun) / runs
}
