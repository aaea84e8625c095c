package log_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// The largest submissions that there are, while they are judged, take no more memory than is
// counted for them; and none of it while they wait.
func TestMemoryOfSubmissionsIsWhatIsCounted(t *testing.T) {
	const n, counted = 8, 4 // bodyCopies
	f := newFab()
	judging, judge := make(chan struct{}, n), make(chan struct{})
	cfg := log.Config{UnsafeUnlimited: true}
	cfg.Appraise = func(in profile.Input) (*verify.Appraisal, error) {
		judging <- struct{}{}
		<-judge
		return profile.Appraise(in)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n)) // so many are judged at a time
	l := serve(t, f.initLog(t), cfg)
	bodies := make([]*poclog.Submission, n)
	size := 0
	for i := range bodies {
		bodies[i] = f.submission(t, uint64(i))
		b, err := poclog.ParseBundle(bodies[i].Bundle)
		if err != nil {
			t.Fatal(err)
		}
		b.Set(poclog.ItemTCGLog, slices.Repeat([]byte{byte(i)}, 700_000))
		if bodies[i].Bundle, err = b.Marshal(); err != nil {
			t.Fatal(err)
		}
		size += len(bodies[i].Bundle)
	}
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	var wg sync.WaitGroup
	for _, sub := range bodies {
		wg.Go(func() { _, _ = l.client.Submit(t.Context(), sub) }) // it is refused: the item is none of its profile
	}
	for range n {
		<-judging
	}
	// The client's own copies are in this process, too: the bundle as a body, and what it keeps of
	// it.
	if took := heap() - before; took > (counted+1)*size {
		t.Errorf("%d bytes of submissions take %d: over %d times as much", size, took, counted+1)
	} else {
		t.Logf("%d bytes of submissions take %.2f times as much, the client's copy counted", size, float64(took)/float64(size))
	}
	close(judge)
	wg.Wait()
}
