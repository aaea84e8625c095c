// Package clienttest is the conformance test of [client.CheckpointStore]. It tests what callers
// rely on, not durability: a machine would have to lose power for that.
package clienttest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/poclog/poclog/client"
)

// TestStore tests a store. open returns a handle to one and the same store, empty at first, as a
// process does that starts.
func TestStore(t *testing.T, open func(testing.TB) client.CheckpointStore) {
	t.Helper()
	t.Run("an unknown origin has nothing", func(t *testing.T) { wantSeen(t, open(t), "none.test", "") })
	t.Run("what is remembered outlives its handle", func(t *testing.T) {
		replace(t, open(t), "a.test/1", "", "one", true)
		wantSeen(t, open(t), "a.test/1", "one")
		replace(t, open(t), "a.test/1", "one", "two", true)
		wantSeen(t, open(t), "a.test/1", "two")
		if open(t).Name("a.test/1") == "" {
			t.Error("nobody is told where it is remembered")
		}
	})
	t.Run("who saw less does not overwrite more", func(t *testing.T) {
		s := open(t)
		replace(t, s, "b.test", "", "one", true)
		replace(t, s, "b.test", "", "other", false)
		replace(t, s, "b.test", "stale", "other", false)
		wantSeen(t, s, "b.test", "one")
	})
	t.Run("origins are apart, whatever they are made of", func(t *testing.T) {
		s := open(t)
		origins := []string{"c.test", "c.test/", "C.test", "../c.test", "c.test/\x00", ""}
		for i, o := range origins {
			replace(t, s, o, "", fmt.Sprint("checkpoint ", i), true)
		}
		for i, o := range origins {
			wantSeen(t, s, o, fmt.Sprint("checkpoint ", i))
		}
	})
	t.Run("of concurrent writers one wins each turn", func(t *testing.T) { testRace(t, open) })
	t.Run("evidence is kept, twice as once", func(t *testing.T) {
		s := open(t)
		first, err := s.Keep("d.test", []byte("evidence"))
		if err != nil || first == "" {
			t.Fatalf("keep: %q, %v", first, err)
		}
		if again, err := s.Keep("d.test", []byte("evidence")); err != nil || again != first {
			t.Errorf("keep again: %q, %v: want %q", again, err, first)
		}
		if other, err := s.Keep("d.test", []byte("more evidence")); err != nil || other == first {
			t.Errorf("keep another: %q, %v: want another name", other, err)
		}
		wantSeen(t, s, "d.test", "")
	})
}

const writers, turns = 4, 10

// testRace lets writers with a handle each count up: every number is won once.
func testRace(t *testing.T, open func(testing.TB) client.CheckpointStore) {
	var wg sync.WaitGroup
	for range writers {
		s := open(t)
		wg.Go(func() {
			for won := 0; won < turns; {
				seen, err := s.Load("race.test")
				if err != nil {
					t.Error(err)
					return
				}
				ok, err := s.Replace("race.test", seen, append(bytes.Clone(seen), 'x'))
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					won++
				}
			}
		})
	}
	wg.Wait()
	wantSeen(t, open(t), "race.test", string(bytes.Repeat([]byte("x"), writers*turns)))
}

func replace(t *testing.T, s client.CheckpointStore, origin, seen, next string, want bool) {
	t.Helper()
	var old []byte
	if seen != "" {
		old = []byte(seen)
	}
	if ok, err := s.Replace(origin, old, []byte(next)); err != nil || ok != want {
		t.Errorf("%q: replace %q with %q: %v, %v: want %v", origin, seen, next, ok, err, want)
	}
}

func wantSeen(t *testing.T, s client.CheckpointStore, origin, want string) {
	t.Helper()
	if got, err := s.Load(origin); err != nil || string(got) != want {
		t.Errorf("%q: remembers %q, %v: want %q", origin, got, err, want)
	}
}
