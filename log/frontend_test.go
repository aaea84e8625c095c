package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A shared log is kept in MariaDB and S3, and served by two front ends, each a process of its own.
type sharedLog struct {
	t      *testing.T
	fab    *fab
	db     *peers.Database
	s3     *peers.S3
	proxy  *peers.Proxy
	config *mysqls3.Config
	policy *tlogpolicy.Policy
	fronts []*victim
}

func newSharedLog(t *testing.T, fronts int) *sharedLog {
	t.Helper()
	l := &sharedLog{t: t, fab: newFab(), s3: peers.NewS3(t), db: peers.NewDatabase(t)}
	l.proxy = peers.NewProxy(t, l.s3)
	t.Setenv(mysqls3.EnvPassword, peers.Password)
	l.db.SQL(t, "CREATE DATABASE log")
	l.s3.Bucket(t, "tiles")
	l.s3.Bucket(t, "guard")
	l.config = &mysqls3.Config{
		Kind: mysqls3.Kind, Database: mysqls3.Database{Address: l.db.Address, Name: "log", User: peers.User},
		Tiles: mysqls3.Bucket{Endpoint: l.proxy.URL, Region: peers.Region, Name: "tiles"}, Guard: mysqls3.Bucket{Endpoint: l.proxy.URL, Region: peers.Region, Name: "guard"},
	}
	dir := filepath.Join(t.TempDir(), "front-0")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: l.fab.policy(), Store: l.config}); err != nil {
		t.Fatal(err)
	}
	l.policy = readPolicy(t, dir)
	for i := range fronts {
		at := filepath.Join(filepath.Dir(dir), fmt.Sprintf("front-%d", i))
		if i > 0 {
			if err := os.CopyFS(at, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"ed25519.key", "mldsa44.key"} {
				if err := os.Chmod(filepath.Join(at, "keys", key), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.fronts = append(l.fronts, &victim{t: t, dir: at, address: freeAddress(t)})
	}
	t.Cleanup(func() {
		for _, v := range l.fronts {
			if v.cmd != nil {
				v.kill()
			}
		}
	})
	return l
}

// A crowd submits to all front ends, and keeps every receipt that was returned.
type crowd struct {
	number   atomic.Uint64
	failed   atomic.Uint64
	mu       sync.Mutex
	receipts [][]byte
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// again sends every tenth of a crowd's submissions to two front ends at once.
const again = 10

func (l *sharedLog) crowd(n int) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	for i := range n {
		c.wg.Go(func() {
			for ctx.Err() == nil {
				number := c.number.Add(1)
				to := l.fronts[i%len(l.fronts):]
				if number%again == 0 {
					to = l.fronts
				} else {
					to = to[:1]
				}
				var both sync.WaitGroup
				for _, v := range to {
					both.Go(func() { c.submit(ctx, l, v, number) })
				}
				both.Wait()
			}
		})
	}
	return c
}

func (c *crowd) submit(ctx context.Context, l *sharedLog, v *victim, number uint64) {
	cl, err := client.New(client.Config{URL: "http://" + v.address, Policy: l.policy, Attempts: 1, Timeout: 20 * time.Second})
	if err != nil {
		l.t.Error(err)
		return
	}
	got, err := cl.Submit(ctx, l.fab.submission(l.t, number))
	if err != nil {
		c.failed.Add(1)
		time.Sleep(5 * time.Millisecond) // what failed is the test
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receipts = append(c.receipts, got.Receipt)
}

func (c *crowd) have() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.receipts)
}

// end stops a crowd, and returns all receipts.
func (c *crowd) end() [][]byte {
	c.stop()
	c.wg.Wait()
	return c.receipts
}

// A lookout reads the published checkpoint from the bucket, and each front end's, again and again:
// none may be smaller than one before it from the same place, and none may contradict another.
type lookout struct {
	l     *sharedLog
	roots map[uint64][32]byte
	last  map[string]uint64
	seen  int
	stop  context.CancelFunc
	ended chan struct{}
}

func (l *sharedLog) watch() *lookout {
	ctx, stop := context.WithCancel(context.Background())
	w := &lookout{l: l, roots: make(map[uint64][32]byte), last: make(map[string]uint64), stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for ctx.Err() == nil {
			w.look("bucket", func() ([]byte, error) { return l.s3.Object("tiles", "checkpoint") })
			for _, v := range l.fronts {
				w.look(v.address, func() ([]byte, error) { return fetch("http://" + v.address + "/checkpoint") })
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return w
}

func fetch(url string) ([]byte, error) {
	resp, err := (&http.Client{Timeout: time.Second}).Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return b.Bytes(), err
}

func (w *lookout) look(where string, read func() ([]byte, error)) {
	b, err := read()
	if err != nil {
		return // it is down: that is the test
	}
	cp, err := tlogpolicy.ParseCheckpoint(b)
	if err != nil {
		w.l.t.Errorf("%s: %v", where, err)
		return
	}
	w.seen++
	if root, ok := w.roots[cp.Size]; ok && root != cp.Root {
		w.l.t.Errorf("%s: two checkpoints of size %d contradict", where, cp.Size)
	}
	w.roots[cp.Size] = cp.Root
	if where == "bucket" && cp.Size < w.last[where] {
		w.l.t.Errorf("%s: size %d after %d", where, cp.Size, w.last[where])
	}
	w.last[where] = cp.Size
}

func (w *lookout) end() {
	w.stop()
	<-w.ended
	w.l.t.Logf("%d looks at checkpoints of %d sizes: none contradicts", w.seen, len(w.roots))
}

// check holds all receipts against the log as it is now, in one front end that is alone.
func (l *sharedLog) check(receipts [][]byte) {
	l.t.Helper()
	checkReceipts(l.t, l.fronts[0], receipts, 1)
}

func TestFrontEndsThatAreKilledLoseNoReceipt(t *testing.T) {
	l := newSharedLog(t, 2)
	for _, v := range l.fronts {
		v.start()
	}
	w, c := l.watch(), l.crowd(16)
	n := kills(t)
	for i := range n {
		v := l.fronts[i%2]
		time.Sleep(time.Duration(200+rand.IntN(1200)) * time.Millisecond)
		v.kill()
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		v.start()
	}
	receipts := c.end()
	w.end()
	t.Logf("%d kills: %d receipts of %d submissions, %d failed", n, len(receipts), c.number.Load(), c.failed.Load())
	l.check(receipts)
}

func TestFrontEndsSurviveTheirStores(t *testing.T) {
	l := newSharedLog(t, 2)
	for _, v := range l.fronts {
		v.start()
	}
	w, c := l.watch(), l.crowd(8)
	var turn atomic.Int64
	often := func(f peers.Fault) func(*http.Request) peers.Fault {
		return func(r *http.Request) peers.Fault {
			if turn.Add(1)%4 == 0 {
				return f
			}
			return peers.Pass
		}
	}
	lostPuts := func(r *http.Request) peers.Fault {
		if r.Method == http.MethodPut && turn.Add(1)%3 == 0 {
			return peers.Lose
		}
		return peers.Pass
	}
	always := func(f peers.Fault) func(*http.Request) peers.Fault {
		return func(*http.Request) peers.Fault { return f }
	}
	during := func(d time.Duration, f func(*http.Request) peers.Fault) func() {
		return func() {
			l.proxy.Set(f)
			time.Sleep(d)
			l.proxy.Set(always(peers.Pass))
		}
	}
	for _, fault := range []struct {
		name string
		run  func()
	}{
		{"S3 answers 500 to every fourth request", during(5*time.Second, often(peers.Refuse))},
		{"S3 cuts every fourth request off", during(5*time.Second, often(peers.Cut))},
		{"S3 loses the answers to every third PUT", during(8*time.Second, lostPuts)},
		{"S3 is away", during(8*time.Second, always(peers.Refuse))},
		{"the database is stopped", func() { l.db.Stop(); time.Sleep(3 * time.Second); l.db.Restart(t) }},
		{"the database is killed", func() { l.db.Kill(); time.Sleep(time.Second); l.db.Restart(t) }},
		{"the database is killed for longer than a fence holds", func() { l.db.Kill(); time.Sleep(25 * time.Second); l.db.Restart(t) }},
		{"the database has no connections left", func() {
			l.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 2")
			time.Sleep(5 * time.Second)
			l.db.SQL(t, "ALTER USER '"+peers.User+"'@'%' WITH MAX_USER_CONNECTIONS 0")
		}},
		{"the database ends every connection again and again", func() {
			for range 20 {
				l.db.SQL(t, "KILL USER '"+peers.User+"'")
				time.Sleep(200 * time.Millisecond)
			}
		}},
		{"one front end is paused for longer than its fence holds", func() {
			pause := l.fronts[0].cmd.Process
			l.signal(pause, "STOP")
			time.Sleep(25 * time.Second)
			l.signal(pause, "CONT")
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			before := c.have()
			fault.run()
			// Without hands: both front ends give receipts again.
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

func (l *sharedLog) signal(p *os.Process, name string) {
	l.t.Helper()
	if out, err := exec.Command("kill", "-"+name, fmt.Sprint(p.Pid)).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
}

// waitReceipt waits until a front end answers with a receipt of what is new.
func (l *sharedLog) waitReceipt(t *testing.T, v *victim, c *crowd) {
	t.Helper()
	cl, err := client.New(client.Config{URL: "http://" + v.address, Policy: l.policy, Attempts: 1, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; {
		got, err := cl.Submit(t.Context(), l.fab.submission(t, c.number.Add(1)))
		if err == nil {
			c.mu.Lock()
			c.receipts = append(c.receipts, got.Receipt)
			c.mu.Unlock()
			return
		}
		if time.Now().After(end) {
			text, _ := fetch("http://" + v.address + "/health")
			said, _ := os.ReadFile(v.stderr)
			t.Fatalf("no receipt after the fault: %v; health: %s; it said: %s", err, text, said)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// What is restored from a backup is refused, and what is gone is not made anew.
func TestFrontEndRefusesWhatWasRestoredOrIsGone(t *testing.T) {
	l := newSharedLog(t, 1)
	v := l.fronts[0]
	v.start()
	c := l.crowd(4)
	for c.have() < 5 {
		time.Sleep(50 * time.Millisecond)
	}
	dump := l.db.Dump(t, "log")
	for n := c.have(); c.have() < n+10; {
		time.Sleep(50 * time.Millisecond)
	}
	c.end()
	v.kill()
	v.cmd = nil
	refuses := func(want string) {
		t.Helper()
		svc, err := log.Open(t.Context(), v.dir, log.Config{Software: "poclog test", UnsafeUnlimited: true})
		if err == nil {
			_ = svc.Close(t.Context())
			t.Fatalf("opened: want %q", want)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
		t.Log(err)
	}
	l.db.Restore(t, "log", dump)
	refuses("restored from an older copy, or lost writes")
	l.db.SQL(t, "UPDATE log.PoclogFrontEnds SET seen = SYSDATE(6)")
	if _, err := log.Recover(t.Context(), v.dir); err == nil || !strings.Contains(err.Error(), "front ends run") {
		t.Errorf("recovered while a front end runs: %v", err)
	}
	l.db.SQL(t, "DELETE FROM log.PoclogFrontEnds")
	size, err := log.Recover(t.Context(), v.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("recovered to size %d", size)
	if _, err := log.Recover(t.Context(), v.dir); err == nil || !strings.Contains(err.Error(), "nothing is to be recovered") {
		t.Errorf("recovered twice: %v", err)
	}
	v.start()
	for range 3 {
		l.waitReceipt(t, v, c)
	}
	v.kill()
	v.cmd = nil
	l.s3.Rename(t, "guard", "aside")
	refuses("bucket does not exist")
	l.s3.Bucket(t, "guard")
	refuses("is missing: without it nobody knows what this log signed last")
	l.s3.Rename(t, "guard", "empty")
	l.s3.Rename(t, "aside", "guard")
	v.start()
	l.check(c.receipts)
}
