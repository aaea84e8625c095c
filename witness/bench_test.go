package witness_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
)

// BenchmarkAddCheckpoint measures a whole decision, durable and with both cosignatures, by the kind
// of the log's key. Run it with -cpu 1 for the rate of one core.
func BenchmarkAddCheckpoint(b *testing.B) {
	const size = 20_000
	for _, kind := range []struct {
		name string
		key  func(testing.TB, string) logKey
	}{{"log=Ed25519", ed25519Key}, {"log=ML-DSA-44", mldsaKey}} {
		b.Run(kind.name, func(b *testing.B) {
			tr := newTree(b, "log", size)
			key := kind.key(b, "example.com/log")
			w, _ := open(b, witness.Config{Rate: rate.Inf}, key)
			bodies := make([]string, min(b.N, size-1))
			for i := range bodies {
				bodies[i] = tr.request(int64(i), int64(i+1), key)
			}
			b.ResetTimer()
			for i := range b.N {
				if i < len(bodies) {
					wantStatus(b, w, bodies[i], http.StatusOK)
					continue
				}
				// The tree is used up: the rest cosigns its last checkpoint again.
				wantStatus(b, w, tr.request(size-1, size-1, key), http.StatusOK)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checkpoints/s")
		})
	}
}

// BenchmarkAddCheckpointManyLogs measures logs that ask at once, as many as there are processors.
func BenchmarkAddCheckpointManyLogs(b *testing.B) {
	const logs, size = 64, 2000
	tr := newTree(b, "log", size)
	var keys []logKey
	for i := range logs {
		keys = append(keys, ed25519Key(b, fmt.Sprintf("example.com/log%d", i)))
	}
	w, _ := open(b, witness.Config{Rate: rate.Inf}, keys...)
	next := make(chan int, logs)
	at := make([]int64, logs)
	for i := range logs {
		next <- i
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := <-next
			to := min(at[i]+1, size)
			if _, err := w.AddCheckpoint(b.Context(), []byte(tr.request(at[i], to, keys[i]))); err != nil {
				b.Error(err)
			}
			at[i] = to
			next <- i
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checkpoints/s")
}

// BenchmarkCosign measures one cosignature by the kind of the witness's key.
func BenchmarkCosign(b *testing.B) {
	c := torchwood.Checkpoint{Origin: "example.com/log", Tree: tlog.Tree{N: 20_000, Hash: tlog.Hash{1}}}
	dir := filepath.Join(b.TempDir(), "w")
	if err := witness.Init(dir, witnessName); err != nil {
		b.Fatal(err)
	}
	for file, name := range map[string]string{"ed25519.key": "Ed25519", "mldsa44.key": "ML-DSA-44"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			b.Fatal(err)
		}
		_, key, err := witness.ParseSignerKey(string(text))
		if err != nil {
			b.Fatal(err)
		}
		s, err := witness.NewCosigner(witnessName, key)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("witness="+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Cosign(c, time.Unix(1_800_000_000, 0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
