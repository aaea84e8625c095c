package client_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
)

var errDone = errors.New("done")

// follower keeps what it was handed, and the cursor that it would keep on disk.
type follower struct {
	cursor client.Cursor
	seen   []uint64 // indices
	sizes  []uint64 // of the checkpoints
	stopAt uint64   // dies before this entry; 0: never
	until  int      // ends after so many checkpoints
}

func (f *follower) each(cp *client.Checkpoint, leaves iter.Seq2[client.Leaf, error]) error {
	f.sizes = append(f.sizes, cp.Size)
	for leaf, err := range leaves {
		if err != nil {
			return err
		}
		if f.stopAt > 0 && leaf.Index == f.stopAt {
			return errDone
		}
		f.seen = append(f.seen, leaf.Index)
		f.cursor = client.Cursor{Next: leaf.Index + 1, Checkpoint: cp.Signed}
	}
	if len(f.sizes) == f.until {
		return errDone
	}
	return nil
}

func prefix(l *testlog.Log, n int) *testlog.Log {
	return &testlog.Log{Origin: l.Origin, Leaves: l.Leaves[:n]}
}

// growing serves a step of a log at every wait of its client.
func growing(t testing.TB, steps ...func(*served)) (*served, *client.Client) {
	t.Helper()
	s := serve(t, logOf("a", 1))
	steps[0](s)
	next := 1
	c, err := client.New(client.Config{URL: urlOf(s), Policy: policy(t), Wait: func(ctx context.Context, _ time.Duration) error {
		if next == len(steps) {
			return errors.New("nothing happens any more")
		}
		steps[next](s)
		next++
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func sizeStep(l *testlog.Log, n int) func(*served) {
	return func(s *served) { p := prefix(l, n); s.Set(p, signed(p), nil) }
}

func wantUpTo(t *testing.T, f *follower, from, to uint64) {
	t.Helper()
	if len(f.seen) != int(to-from) {
		t.Fatalf("%d entries were handed on: want %d to %d", len(f.seen), from, to)
	}
	for i, n := range f.seen {
		if n != from+uint64(i) {
			t.Fatalf("entry %d came as number %d", n, i)
		}
	}
}

func TestFollowersSeeEveryEntryOnceAcrossGrowthCachesAndRestarts(t *testing.T) {
	l := logOf("a", 700)
	cached := func(s *served) { s.Set(prefix(l, 257), signed(prefix(l, 200)), nil) }
	steps := []func(*served){sizeStep(l, 3), sizeStep(l, 3), sizeStep(l, 257), cached, sizeStep(l, 700)}
	_, c := growing(t, steps...)
	f := &follower{stopAt: 100}
	if err := c.Follow(t.Context(), client.Cursor{}, time.Second, f.each); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	wantUpTo(t, f, 0, 100)
	if f.cursor.Next != 100 {
		t.Fatalf("cursor at %d: want 100", f.cursor.Next)
	}
	// It starts again while the log still has the checkpoint under which it stopped.
	_, c = growing(t, steps[2:]...)
	again := &follower{until: 2, cursor: f.cursor}
	if err := c.Follow(t.Context(), again.cursor, time.Second, again.each); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	wantUpTo(t, again, 100, 700)
	if len(again.sizes) != 2 || again.sizes[0] != 257 || again.sizes[1] != 700 {
		t.Errorf("checkpoints of sizes %v: want 257 and 700, and not the cached 200", again.sizes)
	}
}

// Witnesses sign the same tree again later: auditors and freshness need to hear of it.
func TestARepublishedCheckpointComesWithoutEntries(t *testing.T) {
	l := logOf("a", 5)
	later := func(s *served) {
		at := testlog.Cosigner{Signer: testlog.WitnessKey("w.test"), At: time.Unix(1_800_000_000, 0)}
		s.Set(l, l.Checkpoint(5, testlog.Cosigner{Signer: key}, at), nil)
	}
	_, c := growing(t, sizeStep(l, 5), sizeStep(l, 5), later)
	f := &follower{until: 2}
	if err := c.Follow(t.Context(), client.Cursor{}, time.Second, f.each); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	wantUpTo(t, f, 0, 5)
}

func TestAFollowerCatchesAForkWithoutAStore(t *testing.T) {
	a, b := logOf("a", 300), logOf("b", 700)
	_, c := growing(t, sizeStep(a, 300), sizeStep(b, 700))
	f := new(follower)
	err := c.Follow(t.Context(), client.Cursor{}, time.Second, f.each)
	var split *client.SplitView
	if !errors.As(err, &split) {
		t.Fatalf("%v: want a split view", err)
	}
	wantUpTo(t, f, 0, 300)
	if _, err := receipt.CheckSplitView(split.Evidence, policy(t)); err != nil {
		t.Errorf("the evidence does not convince: %v", err)
	}
	// So does one that was away in between.
	_, c = growing(t, sizeStep(b, 700))
	f.seen = nil
	if err := c.Follow(t.Context(), f.cursor, time.Second, f.each); !errors.As(err, &split) || len(f.seen) > 0 {
		t.Errorf("after a restart: %v, %d entries: want a split view and none", err, len(f.seen))
	}
}

func TestFollowersMayNotSkipEntries(t *testing.T) {
	l := logOf("a", 300)
	_, c := growing(t, sizeStep(l, 300))
	err := c.Follow(t.Context(), client.Cursor{}, time.Second, func(_ *client.Checkpoint, leaves iter.Seq2[client.Leaf, error]) error {
		for range leaves {
			break
		}
		return nil
	})
	if err == nil || client.Temporary(err) || !strings.Contains(err.Error(), "from 1 of 300") {
		t.Errorf("%v: want a refusal for good", err)
	}
}

// A follower that overlooks the error that entries yield must not move on.
func TestFollowersCannotOverlookALostBundle(t *testing.T) {
	l := logOf("a", 300)
	lose := func(s *served) {
		s.Set(l, signed(l), func(path string, b []byte) []byte {
			if path == "/tile/entries/001.p/44" {
				return nil
			}
			return b
		})
	}
	_, c := growing(t, lose, sizeStep(l, 300))
	err := c.Follow(t.Context(), client.Cursor{}, time.Second, func(_ *client.Checkpoint, leaves iter.Seq2[client.Leaf, error]) error {
		for range leaves {
		}
		return nil
	})
	if client.StatusOf(err) != 404 {
		t.Errorf("%v: want the log's 404", err)
	}
}

func TestCursorsThatProveNothingAreRefused(t *testing.T) {
	l := logOf("a", 5)
	_, c := growing(t, sizeStep(l, 5))
	for name, cursor := range map[string]client.Cursor{
		"no checkpoint":            {Next: 3},
		"beyond its checkpoint":    {Next: 6, Checkpoint: signed(l)},
		"an unsigned checkpoint":   {Next: 3, Checkpoint: testlog.SignRoot(origin, 5, l.Root(5))},
		"another log's checkpoint": {Next: 3, Checkpoint: testlog.SignRoot("other.test", 5, l.Root(5), testlog.Cosigner{Signer: testlog.LogKey("other.test")})},
	} {
		f := new(follower)
		if err := c.Follow(t.Context(), cursor, time.Second, f.each); err == nil || !strings.HasPrefix(err.Error(), "follow from entry") || len(f.sizes) > 0 {
			t.Errorf("%s: followed: %v", name, err)
		}
	}
}
