package log_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog"
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
	policy *tlogpolicy.Policy
	fronts []*front

	mu     sync.Mutex          // guards what follows
	signed map[uint64][32]byte // what the guard was told, by size
}

// A front is a front end with its own ways to the database and to S3.
type front struct {
	*victim
	config *mysqls3.Config
	link   *peers.Link
	proxy  *peers.Proxy
}

func newSharedLog(t *testing.T, fronts int, changes ...func(*poclog.Policy)) *sharedLog {
	t.Helper()
	l := &sharedLog{t: t, fab: newFab(), s3: peers.NewS3(t), db: peers.NewDatabase(t), signed: make(map[uint64][32]byte)}
	_ = os.Setenv(mysqls3.EnvPassword, peers.Password) // the same for every test
	l.db.SQL(t, "CREATE DATABASE log")
	l.s3.Bucket(t, "tiles")
	l.s3.Bucket(t, "guard")
	folder, policy := t.TempDir(), l.fab.policy()
	for _, change := range changes {
		change(policy)
	}
	for i := range fronts {
		f := &front{victim: &victim{t: t, dir: filepath.Join(folder, fmt.Sprintf("front-%d", i)), address: freeAddress(t)}, link: peers.NewLink(t, l.db.Address), proxy: peers.NewProxy(t, l.s3)}
		f.proxy.Written = l.wrote
		l.fronts = append(l.fronts, f)
		f.config = &mysqls3.Config{
			Kind: mysqls3.Kind, Database: mysqls3.Database{Address: f.link.Address, Name: "log", User: peers.User},
			Tiles: mysqls3.Bucket{Endpoint: f.proxy.URL, Region: peers.Region, Name: "tiles"}, Guard: mysqls3.Bucket{Endpoint: f.proxy.URL, Region: peers.Region, Name: "guard"},
		}
		if i == 0 {
			if err := log.Init(f.dir, log.InitOptions{Origin: origin, Policy: policy, Store: f.config}); err != nil {
				t.Fatal(err)
			}
			l.policy = readPolicy(t, f.dir)
			continue
		}
		copyFront(t, l.fronts[0].dir, f.dir)
		file, err := f.config.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.dir, "store.json"), file, 0o644); err != nil {
			t.Fatal(err)
		}
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

// set says which fault the requests of all front ends to S3 meet.
func (l *sharedLog) set(fault func(*http.Request) peers.Fault) {
	for _, f := range l.fronts {
		f.proxy.Set(fault)
	}
}

// wrote takes what was written to S3: each text in the guard may be signed from then on.
func (l *sharedLog) wrote(path string, body []byte) {
	if path != "/guard/guard" {
		return
	}
	cp, err := tlogpolicy.ParseCheckpoint(body)
	if err != nil {
		l.t.Errorf("the guard: %v", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if root, ok := l.signed[cp.Size]; ok && root != cp.Root {
		l.t.Errorf("two texts of size %d in the guard contradict", cp.Size)
	}
	l.signed[cp.Size] = cp.Root
}

// prefixes recomputes the root of each size that was signed or published from the log as it is now.
func (l *sharedLog) prefixes(w *lookout) {
	l.t.Helper()
	base := "http://" + l.fronts[0].address + "/"
	l.mu.Lock()
	defer l.mu.Unlock()
	last := slices.Max(slices.Collect(maps.Keys(l.signed)))
	var cp tlogpolicy.Checkpoint
	for range 300 { // what was signed last may be on its way
		if text, err := fetch(base + "checkpoint"); err != nil {
			l.t.Fatal(err)
		} else if cp, err = tlogpolicy.ParseCheckpoint(text); err != nil {
			l.t.Fatal(err)
		}
		if cp.Size >= last {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for at := uint64(0); at < cp.Size; at += layout.TileWidth {
		tile, err := fetch(base + layout.TilePath(0, at/layout.TileWidth, layout.PartialTileSize(0, at/layout.TileWidth, cp.Size)))
		if err != nil {
			l.t.Fatal(err)
		}
		for ; len(tile) >= sha256.Size && tree.End() < cp.Size; tile = tile[sha256.Size:] {
			if err := tree.Append(tile[:sha256.Size], nil); err != nil {
				l.t.Fatal(err)
			}
			root, err := tree.GetRootHash(nil)
			if err != nil {
				l.t.Fatal(err)
			}
			for what, roots := range map[string]map[uint64][32]byte{"signed": l.signed, "published": w.roots} {
				if want, ok := roots[tree.End()]; ok && !bytes.Equal(root, want[:]) {
					l.t.Errorf("a checkpoint of size %d was %s that is no prefix of the log", tree.End(), what)
				}
			}
		}
	}
	for _, roots := range []map[uint64][32]byte{l.signed, w.roots} {
		for size := range roots {
			if size > cp.Size {
				l.t.Errorf("size %d was signed or published, and the log ends at %d", size, cp.Size)
			}
		}
	}
	l.t.Logf("%d texts in the guard and %d published sizes are prefixes of the log of size %d; none contradicts", len(l.signed), len(w.roots), cp.Size)
}

// A crowd submits to all front ends, and keeps every receipt that was returned.
type crowd struct {
	number   atomic.Uint64
	failed   atomic.Uint64
	last     atomic.Pointer[error] // of the submissions that failed
	mu       sync.Mutex
	receipts [][]byte
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// again sends every tenth of a crowd's submissions to two addresses at once.
const again = 10

// crowd begins to submit, to all front ends or to these addresses.
func (l *sharedLog) crowd(n int, addresses ...string) *crowd {
	if len(addresses) == 0 {
		for _, v := range l.fronts {
			addresses = append(addresses, v.address)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{stop: stop}
	for i := range n {
		c.wg.Go(func() {
			for ctx.Err() == nil {
				number := c.number.Add(1)
				to := []string{addresses[i%len(addresses)]}
				if number%again == 0 {
					to = addresses
				}
				var both sync.WaitGroup
				for _, address := range to {
					both.Go(func() { c.submit(ctx, l, address, number) })
				}
				both.Wait()
			}
		})
	}
	return c
}

func (c *crowd) submit(ctx context.Context, l *sharedLog, address string, number uint64) {
	cl, err := client.New(client.Config{URL: "http://" + address, Policy: l.policy, Attempts: 1, Timeout: 20 * time.Second})
	if err != nil {
		l.t.Error(err)
		return
	}
	got, err := cl.Submit(ctx, l.fab.submission(l.t, number))
	if err != nil {
		if ctx.Err() == nil {
			c.failed.Add(1)
			c.last.Store(&err)
		}
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
	w.l.t.Logf("%d looks at checkpoints of %d sizes", w.seen, len(w.roots))
	w.l.prefixes(w)
}

// check holds all receipts against the log as it is now, in one front end that is alone.
func (l *sharedLog) check(receipts [][]byte) {
	l.t.Helper()
	checkReceipts(l.t, l.fronts[0].victim, receipts, 1)
}

func TestFrontEndsThatAreKilledLoseNoReceipt(t *testing.T) {
	t.Parallel()
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

func (l *sharedLog) signal(p *os.Process, name string) {
	l.t.Helper()
	if out, err := exec.Command("kill", "-"+name, fmt.Sprint(p.Pid)).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
}

// waitReceipt waits until a front end answers with a receipt of what is new.
func (l *sharedLog) waitReceipt(t *testing.T, v *front, c *crowd) {
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

// Front ends of a new log that start at one time write one config entry.
func TestFrontEndsThatStartAtOnceWriteOneConfigEntry(t *testing.T) {
	t.Parallel()
	l := newSharedLog(t, 4)
	var starting sync.WaitGroup
	for _, v := range l.fronts {
		starting.Go(func() {
			svc, err := log.Open(t.Context(), v.dir, log.Config{Software: "poclog test", UnsafeUnlimited: true})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() {
				if err := svc.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			for range 600 {
				if svc.Admits() {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Errorf("%s does not admit", v.dir)
		})
	}
	starting.Wait()
	if r := (&testLog{dir: l.fronts[0].dir, policy: l.policy}).fsck(t); r.Configs != 1 || r.Wrong != 0 {
		t.Errorf("%d config entries: want 1; %+v", r.Configs, r.Findings)
	}
}

// What is restored from a backup is refused, and what is gone is not made anew.
func TestFrontEndRefusesWhatWasRestoredOrIsGone(t *testing.T) {
	t.Parallel()
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
