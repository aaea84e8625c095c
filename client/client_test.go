package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const origin = "log.test/2026"

var key = testlog.LogKey(origin)

func policy(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte("log " + key.VKey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logOf is a log of n distinct leaves; the first is its name, so that logs of two names differ.
func logOf(name string, n int) *testlog.Log {
	l := &testlog.Log{Origin: origin}
	for i := range n {
		l.Leaves = append(l.Leaves, fmt.Appendf(nil, "%s %d", name, i))
	}
	return l
}

func signed(l *testlog.Log) []byte {
	return l.Checkpoint(uint64(len(l.Leaves)), testlog.Cosigner{Signer: key})
}

// served is a log on a server, with a client that waits for nothing.
type served struct {
	*testlog.Server
	client *client.Client
	store  *client.FileStore
}

func serve(t testing.TB, l *testlog.Log) *served {
	t.Helper()
	s := &served{Server: new(testlog.Server)}
	s.Set(l, signed(l), nil)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	var err error
	if s.store, err = client.NewFileStore(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	s.client = newClient(t, srv.URL, s.store)
	return s
}

func newClient(t testing.TB, url string, store client.CheckpointStore) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Policy: policy(t), Store: store, Wait: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func collect(t testing.TB, c *client.Client, tree client.Tree, from, to uint64) ([][]byte, error) {
	t.Helper()
	var out [][]byte
	for leaf, err := range c.Entries(t.Context(), tree, client.Range{From: from, To: to}) {
		if err != nil {
			return out, err
		}
		if leaf.Index != from+uint64(len(out)) {
			t.Fatalf("entry %d after %d", leaf.Index, from+uint64(len(out)))
		}
		out = append(out, leaf.Entry)
	}
	return out, nil
}

// Who makes a client for each request opens no connection for each: a hundred thousand of them
// would take all file descriptors of a process.
func TestClientsShareTheirConnections(t *testing.T) {
	l := logOf("a", 1)
	s := new(testlog.Server)
	s.Set(l, signed(l), nil)
	srv := httptest.NewUnstartedServer(s)
	var opened atomic.Int64
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	for range 50 {
		if _, err := newClient(t, srv.URL, nil).Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n > 5 {
		t.Errorf("50 clients one after the other opened %d connections", n)
	}
}

func TestEntriesOfEverySizeArriveInOrder(t *testing.T) {
	for _, n := range []int{1, 2, 255, 256, 257, 511, 512, 513, 700, 65_536, 65_537, 66_000} {
		if n > 1000 && testing.Short() {
			continue
		}
		l := logOf("a", n)
		s := serve(t, l)
		cp, err := s.client.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range [][2]uint64{{0, uint64(n)}, {uint64(n) / 2, uint64(n)}, {uint64(n) - 1, uint64(n)}, {0, 0}} {
			got, err := collect(t, s.client, cp.Tree, r[0], r[1])
			if err != nil || len(got) != int(r[1]-r[0]) {
				t.Fatalf("size %d, entries %v: %d, %v", n, r, len(got), err)
			}
			for i, e := range got {
				if !bytes.Equal(e, l.Leaves[int(r[0])+i]) {
					t.Fatalf("size %d: entry %d is another", n, int(r[0])+i)
				}
			}
		}
	}
}

// A log that drops partial tiles when the full ones are there is read as well.
func TestMissingPartialTilesAreCutFromFullOnes(t *testing.T) {
	old, now := logOf("a", 300), logOf("a", 600)
	s := serve(t, old)
	cp, err := s.client.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Set(now, signed(now), func(path string, b []byte) []byte {
		if strings.Contains(path, "001.p/") {
			return nil
		}
		return b
	})
	if got, err := collect(t, s.client, cp.Tree, 0, 300); err != nil || len(got) != 300 {
		t.Errorf("%d entries: %v", len(got), err)
	}
}

func TestLyingLogsMisleadNobody(t *testing.T) {
	l := logOf("a", 700)
	flip := func(part string) func(string, []byte) []byte {
		return func(path string, b []byte) []byte {
			if strings.Contains(path, part) {
				b = bytes.Clone(b)
				b[len(b)-1] ^= 1 // the end of an entry or hash
			}
			return b
		}
	}
	for name, corrupt := range map[string]func(string, []byte) []byte{
		"a changed full bundle":    flip("/entries/001"),
		"a changed partial bundle": flip("/entries/002.p"),
		"a changed tile":           flip("/tile/0/"),
		"a changed top tile":       flip("/tile/1/"),
		"a bundle cut short": func(path string, b []byte) []byte {
			if strings.Contains(path, "/entries/") {
				return b[:len(b)-1]
			}
			return b
		},
		"a bundle with more": func(path string, b []byte) []byte {
			if strings.Contains(path, "/entries/") {
				return append(bytes.Clone(b), 0, 0)
			}
			return b
		},
		"a tile without end": func(path string, b []byte) []byte {
			if strings.Contains(path, "/tile/") {
				return make([]byte, 10<<20)
			}
			return b
		},
	} {
		s := serve(t, l)
		cp, err := s.client.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Set(l, signed(l), corrupt)
		got, err := collect(t, s.client, cp.Tree, 0, 700)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		for i, e := range got {
			if !bytes.Equal(e, l.Leaves[i]) {
				t.Errorf("%s: entry %d was yielded and is another", name, i)
			}
		}
	}
}

// A log that lies consistently, with the tiles or entries of another tree of its size, is caught
// where the lie meets the truth.
func TestConsistentLiesAreCaughtAtEveryLevel(t *testing.T) {
	const small, large = 700, 65_536 + 300
	for _, c := range []struct {
		desc  string
		size  int
		lies  []string // prefixes of paths that answer from another tree
		sure  int      // entries that are yielded before the lie
		error string
	}{
		{"all of another tree", small, []string{"/"}, 0, "do not hash to its checkpoint"},
		{"entries of another tree", small, []string{"/tile/entries/"}, 0, "entries 0 to 255 are not those of the tree"},
		{"a partial bundle of another tree", small, []string{"/tile/entries/002.p"}, 512, "entry 512 is not that of the tree"},
		{"a full tile and its entries of another tree", large, []string{"/tile/entries/000", "/tile/1/000"}, 0, "tile 1/0 is not that of the tree"},
	} {
		truth, lie := logOf("a", c.size), logOf("b", c.size)
		s := serve(t, truth)
		cp, err := s.client.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		liar := new(testlog.Server)
		liar.Set(lie, nil, nil)
		s.Set(truth, signed(truth), func(path string, b []byte) []byte {
			if !slices.ContainsFunc(c.lies, func(p string) bool { return strings.HasPrefix(path, p) }) {
				return b
			}
			rec := httptest.NewRecorder()
			liar.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec.Body.Bytes()
		})
		got, err := collect(t, s.client, cp.Tree, 0, cp.Size)
		if err == nil || !strings.Contains(err.Error(), c.error) || len(got) != c.sure {
			t.Errorf("%s: %d entries, %v: want %d, %s", c.desc, len(got), err, c.sure, c.error)
		}
	}
}

func TestAForkIsCaughtWithEvidence(t *testing.T) {
	for _, sizes := range [][2]int{{5, 5}, {5, 9}, {300, 700}, {9, 5}, {256, 257}} {
		a, b := logOf("a", sizes[0]), logOf("b", sizes[1])
		s := serve(t, a)
		if _, err := s.client.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Set(b, signed(b), nil)
		_, err := s.client.Checkpoint(t.Context())
		if sizes[1] < sizes[0] {
			// The smaller tree's tiles cannot prove the larger one: the question stays open, and
			// nothing is believed.
			if err == nil {
				t.Errorf("sizes %v: accepted", sizes)
			}
			continue
		}
		var split *client.SplitView
		if !errors.As(err, &split) {
			t.Errorf("sizes %v: %v: want a split view", sizes, err)
			continue
		}
		if _, err := receipt.CheckSplitView(split.Evidence, policy(t)); err != nil {
			t.Errorf("sizes %v: the evidence does not convince: %v", sizes, err)
		}
		if split.File == "" || !strings.Contains(err.Error(), "SPLIT VIEW") {
			t.Errorf("%v", err)
		}
	}
}

// Broken tiles leave the question open: nobody is accused by evidence that convinces nobody.
func TestBrokenTilesAccuseNobody(t *testing.T) {
	l := logOf("a", 700)
	for _, level := range []string{"/tile/0/", "/tile/1/"} {
		s := serve(t, prefix(l, 300))
		if _, err := s.client.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Set(l, signed(l), func(path string, b []byte) []byte {
			if strings.HasPrefix(path, level) {
				b = bytes.Repeat([]byte{7}, len(b))
			}
			return b
		})
		_, err := s.client.Checkpoint(t.Context())
		var split *client.SplitView
		if err == nil || errors.As(err, &split) {
			t.Errorf("broken %s: %v: want an error that is no split view", level, err)
		}
		if seen, err := s.store.Load(origin); err != nil || !bytes.Equal(seen, signed(prefix(l, 300))) {
			t.Errorf("broken %s: the store moved: %v", level, err)
		}
	}
}

func TestGrowthIsRememberedAcrossClients(t *testing.T) {
	l := logOf("a", 300)
	s := serve(t, l)
	for _, n := range []int{1, 255, 256, 300} {
		part := &testlog.Log{Origin: origin, Leaves: l.Leaves[:n]}
		s.Set(part, signed(part), nil)
		if _, err := s.client.Checkpoint(t.Context()); err != nil {
			t.Fatalf("size %d: %v", n, err)
		}
		seen, err := s.store.Load(origin)
		if err != nil || !bytes.Equal(seen, signed(part)) {
			t.Errorf("size %d is not remembered: %v", n, err)
		}
	}
	// An old checkpoint from a cache is of the same history, and is not what to remember.
	s.Set(l, signed(prefix(l, 256)), nil)
	if cp, err := s.client.Checkpoint(t.Context()); err != nil || cp.Size != 256 {
		t.Errorf("a cached checkpoint: %v", err)
	}
	if seen, err := s.store.Load(origin); err != nil || !bytes.Equal(seen, signed(l)) {
		t.Errorf("the largest checkpoint is forgotten: %v", err)
	}
}

func TestCheckpointsOfOthersAreRefused(t *testing.T) {
	l := logOf("a", 3)
	s := serve(t, l)
	other := testlog.LogKey("other.test")
	for name, cp := range map[string][]byte{
		"another log's": testlog.SignRoot("other.test", 3, l.Root(3), testlog.Cosigner{Signer: other}),
		"unsigned":      testlog.SignRoot(origin, 3, l.Root(3)),
		"garbage":       []byte("<html>"),
		"empty":         {},
		"endless":       make([]byte, 1<<20),
	} {
		s.Set(l, cp, nil)
		if _, err := s.client.Checkpoint(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRefreshMovesTheViewAndNothingElse(t *testing.T) {
	all := logOf("a", 700)
	s := serve(t, all)
	for _, sizes := range [][2]uint64{{5, 5}, {5, 6}, {256, 257}, {300, 700}} {
		part := &testlog.Log{Origin: origin, Leaves: all.Leaves[:sizes[0]]}
		r := &poclog.Receipt{Entry: all.Leaves[3], Index: 3, Inclusion: part.Inclusion(3, sizes[0], signed(part))}
		file, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		now := &testlog.Log{Origin: origin, Leaves: all.Leaves[:sizes[1]]}
		s.Set(now, signed(now), nil)
		c := newClient(t, urlOf(s), nil)
		moved, err := c.Refresh(t.Context(), file)
		if err != nil {
			t.Fatalf("sizes %v: %v", sizes, err)
		}
		m, err := poclog.ParseReceipt(moved)
		if err != nil {
			t.Fatal(err)
		}
		if m.First == nil || !bytes.Equal(m.First.Checkpoint, r.Inclusion.Checkpoint) || !bytes.Equal(m.Entry, r.Entry) {
			t.Errorf("sizes %v: the first checkpoint or the entry moved", sizes)
		}
		if again, err := c.Refresh(t.Context(), moved); err != nil {
			t.Error(err)
		} else if a, err := poclog.ParseReceipt(again); err != nil || !bytes.Equal(a.First.Checkpoint, r.Inclusion.Checkpoint) {
			t.Errorf("sizes %v: a second refresh lost the first checkpoint", sizes)
		}
		v, err := receipt.Open(moved, policy(t))
		if err != nil || v.Size != sizes[1] {
			t.Errorf("sizes %v: %v", sizes, err)
		}
	}
	fork := logOf("b", 700)
	part := &testlog.Log{Origin: origin, Leaves: all.Leaves[:5]}
	r := &poclog.Receipt{Entry: all.Leaves[3], Index: 3, Inclusion: part.Inclusion(3, 5, signed(part))}
	file, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.Set(fork, signed(fork), nil)
	var split *client.SplitView
	if _, err := newClient(t, urlOf(s), nil).Refresh(t.Context(), file); !errors.As(err, &split) {
		t.Errorf("a receipt of another history: %v", err)
	}
}

// What was before the first covering checkpoint would otherwise be t2's word.
func TestRefreshRefusesReceiptsThatDoNotHold(t *testing.T) {
	all, fork := logOf("a", 700), logOf("b", 300)
	s := serve(t, all)
	part := prefix(all, 300)
	for name, r := range map[string]*poclog.Receipt{
		"another entry":                   {Entry: []byte("b 3"), Index: 3, Inclusion: part.Inclusion(3, 300, signed(part))},
		"another index":                   {Entry: all.Leaves[3], Index: 4, Inclusion: part.Inclusion(3, 300, signed(part))},
		"an index beyond the log":         {Entry: all.Leaves[3], Index: 1 << 62, Inclusion: part.Inclusion(3, 300, signed(part))},
		"another first checkpoint":        {Entry: all.Leaves[3], Index: 3, Inclusion: part.Inclusion(3, 300, signed(part)), First: ptr(fork.Inclusion(3, 300, signed(fork)))},
		"a checkpoint that nobody signed": {Entry: all.Leaves[3], Index: 3, Inclusion: part.Inclusion(3, 300, testlog.SignRoot(origin, 300, all.Root(300)))},
		"a log larger than the server's": {Entry: all.Leaves[3], Index: 3, Inclusion: part.Inclusion(3, 300,
			testlog.SignRoot(origin, 900, all.Root(300), testlog.Cosigner{Signer: key}))},
	} {
		file, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newClient(t, urlOf(s), nil).Refresh(t.Context(), file); err == nil {
			t.Errorf("%s: moved", name)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func urlOf(s *served) string { return s.client.URL }

func TestOverloadIsWaitedOutAndRefusalsAreNot(t *testing.T) {
	tries := 0
	status := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"detail":"no\u001b[31m","check":"tee.tcb"}`)
	}))
	defer srv.Close()
	c := newClient(t, srv.URL, nil)
	var p *client.Problem
	_, err := c.Checkpoint(t.Context())
	if !errors.As(err, &p) || tries != client.DefaultAttempts || !p.Temporary() || p.RetryAfter != time.Second {
		t.Errorf("overload: %d tries, %v", tries, err)
	}
	tries, status = 0, http.StatusUnprocessableEntity
	_, err = c.Submit(t.Context(), &poclog.Submission{Bundle: []byte("x")})
	if !errors.As(err, &p) || tries != 1 || p.Check != "tee.tcb" || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("a refusal: %d tries, %q", tries, err)
	}
}

func TestClientNeedsNeitherTesseraNorQuoteParsers(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"transparency-dev/tessera", "go-tdx-guest", "go-sev-guest"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("depends on %s", bad)
		}
	}
}

func BenchmarkEntries(b *testing.B) {
	l := &testlog.Log{Origin: origin}
	leaf := bytes.Repeat([]byte("x"), 2000)
	for i := range 2560 {
		l.Leaves = append(l.Leaves, append(fmt.Appendf(nil, "%d", i), leaf...))
	}
	s := serve(b, l)
	cp, err := s.client.Checkpoint(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	for _, leaf := range l.Leaves {
		receipt.LeafHash(leaf)
	}
	floor := time.Since(begun)
	for b.Loop() {
		if _, err := collect(b, s.client, cp.Tree, 0, cp.Size); err != nil {
			b.Fatal(err)
		}
	}
	per := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(len(l.Leaves))/per.Seconds(), "entries/s")
	b.ReportMetric(float64(floor)/float64(per), "of-hashing")
}
