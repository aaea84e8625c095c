package log_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log"
)

// steadily posts bodies at a rate, whether those before are answered or not, and returns how long
// those waited that got a receipt, ascending. It reports how many were refused: of a machine that is
// too busy, some are.
func steadily(b *testing.B, urls []string, bodies [][]byte, perSecond int) (took []time.Duration) {
	b.Helper()
	post := poster(http.StatusCreated)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var refused []error
	begun := time.Now()
	for i, body := range bodies {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		wg.Go(func() {
			sent := time.Now()
			err := post(urls[i%len(urls)]+"/v1/proofs", body)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, err)
			} else {
				took = append(took, time.Since(sent))
			}
		})
	}
	wg.Wait()
	if len(took) == 0 {
		b.Fatal(refused)
	}
	if len(refused) > 0 {
		b.ReportMetric(float64(len(refused)), "refused")
		b.Logf("one of those that were refused: %v", refused[0])
	}
	slices.Sort(took)
	return took
}

// reportWait reports how long submitters waited.
func reportWait(b *testing.B, took []time.Duration) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(took[min(len(took)-1, len(took)*q/100)].Milliseconds()), fmt.Sprintf("p%d-ms", q))
	}
}

// BenchmarkReceipt is how long a submitter waits for a receipt of a folder: 200 submissions a second
// for POCLOG_SECONDS, and a checkpoint each 200 ms, without witnesses and with two of three, which
// are in this process. Of that, half an interval is the wait for the next checkpoint.
func BenchmarkReceipt(b *testing.B) {
	for _, witnesses := range []bool{false, true} {
		name := map[bool]string{false: "quorum-none", true: "2-of-3"}[witnesses]
		b.Run(name, func(b *testing.B) {
			f := newFab()
			dir := f.initLog(b)
			if witnesses {
				withWitnesses(b, dir)
			}
			svc, err := log.Open(context.Background(), dir, log.Config{Software: "poclog test", Logger: slog.New(slog.DiscardHandler), UnsafeUnlimited: true, CheckpointInterval: 200 * time.Millisecond})
			if err != nil {
				b.Fatal(err)
			}
			srv := httptest.NewServer(svc.Handler())
			_, bodies := submissions(b, f, 0, 200*benchNumber("POCLOG_SECONDS", 5))
			b.ResetTimer()
			reportWait(b, steadily(b, []string{srv.URL}, bodies, 200))
			b.StopTimer()
			srv.Close()
			if err := svc.Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}

// requests counts what goes to the S3 server, by what is asked of which objects.
type requests struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *requests) pass(r *http.Request) peers.Fault {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	kind, _, _ := strings.Cut(key, "/")
	what := r.Method
	if r.URL.Query().Has("list-type") {
		what, kind = "LIST", strings.TrimSuffix(strings.SplitAfterN(r.URL.Query().Get("prefix"), "/", 2)[0], "/")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[what+" "+kind]++
	return peers.Pass
}

func (c *requests) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = make(map[string]int)
}

// table prints what was asked for each of n.
func (c *requests) table(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text strings.Builder
	sums := make(map[string]int)
	for what, k := range c.count {
		method, _, _ := strings.Cut(what, " ")
		sums[method] += k
	}
	for _, m := range []map[string]int{sums, c.count} {
		for _, what := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&text, "%s %.3f  ", what, float64(m[what])/float64(n))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// statements is how many statements the database was asked.
func (s *benchStores) statements(b *testing.B) int {
	b.Helper()
	text := strings.Fields(s.db.SQL(b, "SHOW GLOBAL STATUS LIKE 'Questions'"))
	n, err := strconv.Atoi(text[len(text)-1])
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkFrontEndsSteady has two front ends at a rate for POCLOG_SECONDS: how long a submitter waits for a
// receipt, and what is asked of the S3 server and of the database for each entry. At rate 0 it is
// for each second.
func BenchmarkFrontEndsSteady(b *testing.B) {
	stores := newBenchStores(b)
	proxy := peers.NewProxy(b, stores.s3)
	f := newFab()
	count := new(requests)
	count.reset()
	proxy.Set(count.pass)
	seconds := benchNumber("POCLOG_SECONDS", 20)
	for _, rate := range []int{0, 1, 10, 50} {
		for _, witnesses := range []bool{false, true} {
			if witnesses && rate != 50 {
				continue
			}
			b.Run(fmt.Sprintf("%d-a-second-%s", rate, map[bool]string{false: "quorum-none", true: "2-of-3"}[witnesses]), func(b *testing.B) {
				c := stores.config(b, proxy.URL)
				l := serveFronts(b, f, c, 2, true, func(dir string) {
					if witnesses {
						withWitnesses(b, dir)
					}
				})
				defer l.close()
				_, bodies := submissions(b, f, 0, rate*seconds)
				time.Sleep(3 * time.Second) // what belongs to the start is over
				count.reset()
				asked := stores.statements(b)
				b.ResetTimer()
				if n := rate * seconds; n > 0 {
					reportWait(b, steadily(b, l.urls, bodies, rate))
				} else {
					time.Sleep(time.Duration(seconds) * time.Second)
				}
				b.StopTimer()
				n := max(rate, 1) * seconds
				b.ReportMetric(float64(stores.statements(b)-asked)/float64(n), "SQL/entry")
				b.Logf("S3 requests: %s", count.table(n))
				bytes := make(map[string]int64)
				for kind := range map[string]bool{"tile": true, "evidence": true, "checkpoints": true} {
					bytes[kind] = diskOf(b, stores.s3.Path(c.Tiles.Name, kind)) / int64(n)
				}
				b.Logf("bytes in the tiles bucket: %v", bytes)
			})
		}
	}
}

// BenchmarkFrontEndsDuplicate answers what is in the log already, by two front ends for 64 submitters.
func BenchmarkFrontEndsDuplicate(b *testing.B) {
	stores := newBenchStores(b)
	f := newFab()
	l := serveFronts(b, f, stores.config(b, stores.s3.URL), 2, true, nil)
	defer l.close()
	_, bodies := submissions(b, f, 0, 500)
	l.submit(b, bodies, 200)
	cpu, n := stores.used(b), 0
	for b.Loop() {
		l.again(b, bodies, 64)
		n += len(bodies)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "duplicates/s")
	b.ReportMetric(float64(stores.used(b).since(cpu, n).sum().Microseconds()), "cpu-µs/duplicate")
}
