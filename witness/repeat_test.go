package witness_test

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
)

// BenchmarkRepeatedCheckpoint measures what the public checkpoint on record costs, which anybody can
// send again, by the kind of the log's key.
func BenchmarkRepeatedCheckpoint(b *testing.B) {
	for _, kind := range []struct {
		name string
		key  func(testing.TB, string) logKey
	}{{"log=Ed25519", ed25519Key}, {"log=ML-DSA-44", mldsaKey}} {
		b.Run(kind.name, func(b *testing.B) {
			tr := newTree(b, "log", 10)
			key := kind.key(b, "example.com/log")
			now := time.Now()
			w, _ := open(b, witness.Config{Rate: rate.Inf, Clock: func() time.Time { return now }}, key)
			wantStatus(b, w, tr.request(0, 10, key), http.StatusOK)
			body := tr.request(10, 10, key)
			for b.Loop() {
				wantStatus(b, w, body, http.StatusOK)
			}
		})
	}
}
