package log_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A storeFault is what happens to the stores of a log while it is used.
type storeFault struct {
	name string
	run  func(t *testing.T)
}

// survive has faults happen to a log with two front ends that a crowd uses. After each, both give
// receipts without hands; in the end no receipt is lost.
func survive(t *testing.T, l *sharedLog, faults []storeFault) {
	for _, v := range l.fronts {
		v.start()
	}
	w, c := l.watch(), l.crowd(8)
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			before := c.have()
			fault.run(t)
			for _, v := range l.fronts {
				l.waitReceipt(t, v, c)
			}
			t.Logf("%d receipts during and after it", c.have()-before)
		})
	}
	receipts := c.end()
	w.end()
	t.Logf("%d receipts of %d submissions, %d failed", len(receipts), c.number.Load(), c.failed.Load())
	l.fronts[1].kill()
	l.fronts[1].cmd = nil
	l.check(receipts)
}

func pass(*http.Request) peers.Fault { return peers.Pass }

// often returns a fault that meets every n-th request of those that are chosen.
func often(n int64, f peers.Fault, chosen func(*http.Request) bool) func(*http.Request) peers.Fault {
	var turn atomic.Int64
	return func(r *http.Request) peers.Fault {
		if chosen(r) && turn.Add(1)%n == 0 {
			return f
		}
		return peers.Pass
	}
}

func anyRequest(*http.Request) bool { return true }

// puts chooses what writes an object whose path begins so.
func puts(prefix string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, prefix)
	}
}

// putOf chooses what writes an object.
func putOf(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Path == path }
}

func TestFrontEndsSurviveTheirStores(t *testing.T) {
	t.Parallel()
	l := newSharedLog(t, 2)
	during := func(d time.Duration, f func(*http.Request) peers.Fault) func(*testing.T) {
		return func(*testing.T) {
			l.set(f)
			time.Sleep(d)
			l.set(pass)
		}
	}
	slow := func(*http.Request) peers.Fault {
		time.Sleep(time.Duration(200+rand.IntN(1500)) * time.Millisecond)
		return peers.Pass
	}
	survive(t, l, []storeFault{
		{"S3 answers 500 to every fourth request", during(5*time.Second, often(4, peers.Refuse, anyRequest))},
		{"S3 cuts every fourth request off", during(5*time.Second, often(4, peers.Cut, anyRequest))},
		{"S3 loses the answers to every third PUT", during(8*time.Second, often(3, peers.Lose, puts("/")))},
		{"S3 loses the answers to every second PUT of the guard", during(8*time.Second, often(2, peers.Lose, puts("/guard/")))},
		{"S3 loses the answers to every PUT of the guard", during(5*time.Second, often(1, peers.Lose, puts("/guard/")))},
		{"S3 takes up to two seconds for a request", during(10*time.Second, slow)},
		{"S3 is away", during(8*time.Second, often(1, peers.Refuse, anyRequest))},
		{"the database is stopped", func(t *testing.T) { l.db.Stop(); time.Sleep(3 * time.Second); l.db.Restart(t) }},
		{"the database is killed", func(t *testing.T) { l.db.Kill(); time.Sleep(time.Second); l.db.Restart(t) }},
		{"the database is killed for longer than a fence holds", func(t *testing.T) { l.db.Kill(); time.Sleep(25 * time.Second); l.db.Restart(t) }},
		{"the database has no connections left", func(t *testing.T) {
			l.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 2")
			time.Sleep(5 * time.Second)
			l.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 0")
		}},
		{"the database ends every connection again and again", func(t *testing.T) {
			for range 20 {
				l.db.SQL(t, "KILL USER '"+peers.User+"'")
				time.Sleep(200 * time.Millisecond)
			}
		}},
		{"the database ends the log's transactions as deadlocked", func(t *testing.T) {
			// The log locks IntCoord before Seq, SeqCoord before Seq, PoclogNext before PoclogKnown.
			all, own := l.db.Deadlock(t, "log", 8*time.Second, [2]string{"Seq", "IntCoord"}, [2]string{"Seq", "SeqCoord"}, [2]string{"PoclogKnown", "PoclogNext"})
			t.Logf("%d deadlocks: %d victims were not the log's", all, own)
			if all-own < 5 {
				t.Errorf("%d deadlocks, %d of them ended the others: too few ended the log's to show anything", all, own)
			}
		}},
		{"the log's statements wait for locks until they time out", func(t *testing.T) {
			before := l.db.Metric(t, "lock_timeouts")
			var both sync.WaitGroup
			for _, table := range []string{"IntCoord", "PoclogNext", "PoclogClaims"} {
				both.Go(func() { l.db.Lock(t, "log", table, 12*time.Second) })
			}
			both.Wait()
			n := l.db.Metric(t, "lock_timeouts") - before
			if t.Logf("%d statements waited for too long", n); n == 0 {
				t.Error("no statement waited for too long")
			}
		}},
	})
}

// In each case one front end believes that it leads while the other goes on.
func TestFrontEndsThatBothBelieveToLead(t *testing.T) {
	t.Parallel()
	l := newSharedLog(t, 2)
	survive(t, l, []storeFault{
		{"one's swap of the guard arrives late", l.late(putOf("/guard/guard"))},
		{"one's checkpoint arrives late", l.late(putOf("/tiles/checkpoint"))},
		{"one's entries arrive late", l.late(puts("/tiles/tile/entries/"))},
		{"one's tiles arrive late", l.late(puts("/tiles/tile/0/"))},
		{"the network is silent between one and the database", func(*testing.T) {
			l.fronts[0].link.Set(peers.Silent)
			time.Sleep(25 * time.Second)
			l.fronts[0].link.Set(peers.Whole)
		}},
		{"one reaches neither the database nor S3", func(*testing.T) {
			l.fronts[0].link.Set(peers.Half)
			l.fronts[0].proxy.Set(func(*http.Request) peers.Fault { return peers.Cut })
			time.Sleep(25 * time.Second)
			l.fronts[0].proxy.Set(pass)
			l.fronts[0].link.Set(peers.Whole)
		}},
		{"one is paused for longer than its fence holds", func(*testing.T) {
			pause := l.fronts[0].cmd.Process
			l.signal(pause, "STOP")
			time.Sleep(25 * time.Second)
			l.signal(pause, "CONT")
		}},
	})
}

// late returns a fault: in the moment in which a front end sends a request to S3 that is chosen, the
// database forgets it, and with it its locks. It does not hear of that. The request arrives when the
// other one has published a larger tree.
func (l *sharedLog) late(chosen func(*http.Request) bool) func(*testing.T) {
	return func(t *testing.T) {
		sent, arrives := make(chan struct{}), make(chan struct{})
		var once sync.Once
		who := 0
		for i, f := range l.fronts {
			f.proxy.Set(func(r *http.Request) peers.Fault {
				if chosen(r) {
					once.Do(func() {
						who = i
						f.link.Set(peers.Half)
						close(sent)
					})
					if who == i {
						<-arrives
					}
				}
				return peers.Pass
			})
		}
		select {
		case <-sent:
		case <-time.After(time.Minute):
			t.Error("no front end sent such a request")
			close(arrives)
			return
		}
		// What it sent is of entries that have numbers by now.
		from, err := strconv.ParseUint(strings.TrimSpace(l.db.SQL(t, "SELECT next FROM log.SeqCoord")), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		to := uint64(0)
		for end := time.Now().Add(time.Minute); to <= from; {
			if to = l.published(t); time.Now().After(end) {
				t.Error("the other front end does not go on")
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		close(arrives)
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if now := l.published(t); now < to {
				t.Errorf("size %d is published after %d", now, to)
				break
			}
		}
		l.set(pass)
		l.fronts[who].link.Set(peers.Whole)
		t.Logf("size %d was published before the request of front end %d, of at most %d, arrived", to, who, from)
	}
}

// published is the size of the published checkpoint.
func (l *sharedLog) published(t *testing.T) uint64 {
	t.Helper()
	b, err := l.s3.Object("tiles", "checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	cp, err := tlogpolicy.ParseCheckpoint(b)
	if err != nil {
		t.Fatal(err)
	}
	return cp.Size
}
