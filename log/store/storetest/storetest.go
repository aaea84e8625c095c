// Package storetest is the conformance test of stores: what a log relies on, with a table of
// faults.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log/store"
)

// A Subject is a store that is tested.
type Subject struct {
	// Open opens the same store anew, as another process would. It is closed by the test.
	Open func(t *testing.T) *store.Store
	// Damage writes other bytes into a kept file of evidence.
	Damage func(t *testing.T, d poclog.Digest, b []byte)
	// Faults of what the store stands on. While one is in force, calls may fail.
	Faults []Fault
}

// A Fault is injected between Begin and end.
type Fault struct {
	Name  string
	Begin func(t *testing.T, s *store.Store) (end func())
}

// Test tests a store that makeSubject makes, new for each test.
func Test(t *testing.T, makeSubject func(t *testing.T) Subject) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Subject)
	}{
		{"evidence is what was put", evidence},
		{"damaged evidence is not returned, and is mended", damaged},
		{"a register is made once", registerOnce},
		{"a register is swapped by its version alone", registerSwap},
		{"of racers one swaps a register", registerRace},
		{"checkpoints are found by digest, entry and time", checkpoints},
		{"after faults the store has all that it said it kept", faults},
		{"a tree that was never written has no state", state},
		{"of two entries the rule says which answers", known},
		{"one process claims evidence", claims},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, makeSubject(t)) })
	}
}

func open(t *testing.T, s Subject) *store.Store {
	t.Helper()
	st := s.Open(t)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := st.Prepare(); err != nil {
		t.Fatal(err)
	}
	return st
}

func evidence(t *testing.T, s Subject) {
	ctx, st := t.Context(), open(t, s)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			b := fmt.Appendf(nil, "evidence %d", i%20)
			blob, err := st.Evidence.Put(ctx, b)
			if err != nil || blob != poclog.BlobOf(b) {
				t.Errorf("put: %v %v", blob, err)
			}
		})
	}
	wg.Wait()
	other := open(t, s) // what another process sees
	for i := range 20 {
		wantEvidence(t, other, fmt.Appendf(nil, "evidence %d", i))
	}
	absent := poclog.BlobOf([]byte("absent"))
	if has, err := other.Evidence.Has(ctx, absent); has || err != nil {
		t.Errorf("has what was never put: %v %v", has, err)
	}
	if _, err := other.Evidence.Get(ctx, absent.SHA256); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get what was never put: %v", err)
	}
	if _, _, err := other.Evidence.Open(ctx, absent.SHA256); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open what was never put: %v", err)
	}
}

func wantEvidence(t *testing.T, st *store.Store, b []byte) {
	t.Helper()
	blob := poclog.BlobOf(b)
	if has, err := st.Evidence.Has(t.Context(), blob); !has || err != nil {
		t.Errorf("has %q: %v %v", b, has, err)
	}
	if got, err := st.Evidence.Get(t.Context(), blob.SHA256); err != nil || !bytes.Equal(got, b) {
		t.Errorf("get %q: %q %v", b, got, err)
	}
	f, size, err := st.Evidence.Open(t.Context(), blob.SHA256)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, b) || size != int64(len(b)) {
		t.Errorf("open %q: %q of %d bytes, %v", b, got, size, err)
	}
}

func damaged(t *testing.T, s Subject) {
	ctx := t.Context()
	for i, bad := range []string{"", "evid", "other evidence"} {
		b := fmt.Appendf(nil, "evidence %d", i)
		blob, err := open(t, s).Evidence.Put(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		s.Damage(t, blob.SHA256, []byte(bad))
		st := open(t, s)
		if got, err := st.Evidence.Get(ctx, blob.SHA256); err == nil {
			t.Errorf("damaged evidence is returned: %q", got)
		}
		if f, _, err := st.Evidence.Open(ctx, blob.SHA256); err == nil {
			t.Error("damaged evidence is opened", f.Close())
		}
		if _, err := st.Evidence.Put(ctx, b); err != nil {
			t.Fatal(err)
		}
		wantEvidence(t, open(t, s), b)
	}
}

func registerOnce(t *testing.T, s Subject) {
	ctx, r := t.Context(), open(t, s).Guard
	if _, _, err := r.Load(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load before it was made: %v", err)
	}
	if err := r.Create(ctx, []byte("first\n")); err != nil {
		t.Fatal(err)
	}
	if err := open(t, s).Guard.Create(ctx, []byte("second\n")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	wantRegister(t, s, "first\n")
}

func wantRegister(t *testing.T, s Subject, want string) (version string) {
	t.Helper()
	text, version, err := open(t, s).Guard.Load(t.Context())
	if err != nil || string(text) != want {
		t.Errorf("the register has %q: want %q, %v", text, want, err)
	}
	return version
}

func registerSwap(t *testing.T, s Subject) {
	ctx, r := t.Context(), open(t, s).Guard
	if err := r.Create(ctx, []byte("0\n")); err != nil {
		t.Fatal(err)
	}
	first := wantRegister(t, s, "0\n")
	if err := r.Swap(ctx, first, []byte("1\n")); err != nil {
		t.Fatal(err)
	}
	wantRegister(t, s, "1\n")
	if err := open(t, s).Guard.Swap(ctx, first, []byte("other\n")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("swapped with an old version: %v", err)
	}
	wantRegister(t, s, "1\n")
	// The answer to the first may have been lost: the own text is success.
	if err := r.Swap(ctx, first, []byte("1\n")); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

func registerRace(t *testing.T, s Subject) {
	ctx, st := t.Context(), open(t, s)
	if err := st.Guard.Create(ctx, []byte("0\n")); err != nil {
		t.Fatal(err)
	}
	racers := 1
	if st.Shared {
		racers = 8
	}
	for round := range 5 {
		_, version, err := st.Guard.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var won []string
		var wg sync.WaitGroup
		for i := range racers {
			r := open(t, s).Guard
			for j := range 4 {
				wg.Go(func() {
					text := fmt.Sprintf("round %d racer %d try %d\n", round, i, j)
					switch err := r.Swap(ctx, version, []byte(text)); {
					case err == nil:
						mu.Lock()
						won = append(won, text)
						mu.Unlock()
					case !errors.Is(err, store.ErrChanged):
						t.Errorf("%s: %v", text, err)
					}
				})
			}
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d racers swapped: %q", len(won), won)
		}
		wantRegister(t, s, won[0])
	}
}

func checkpoints(t *testing.T, s Subject) {
	ctx, st := t.Context(), open(t, s)
	now := time.Now().Truncate(time.Second)
	at := func(size uint64) time.Time { return now.Add(time.Duration(size) * time.Second) }
	text := func(size uint64) []byte { return fmt.Appendf(nil, "checkpoint of size %d\n", size) }
	sizes := []uint64{1, 2, 5, 9, 40, 1000}
	for _, size := range sizes {
		if err := st.Checkpoints.Put(ctx, size, at(size), text(size), size == 5 || size == 40); err != nil {
			t.Fatal(err)
		}
		if err := st.Checkpoints.Put(ctx, size, at(size), text(size), false); err != nil {
			t.Fatalf("the same again: %v", err)
		}
	}
	c := open(t, s).Checkpoints
	for _, size := range []uint64{5, 40} {
		if got, err := c.Get(ctx, poclog.Sum(text(size))); err != nil || !bytes.Equal(got, text(size)) {
			t.Errorf("get %d: %q %v", size, got, err)
		}
	}
	if got, err := c.Get(ctx, poclog.Sum(nil)); err != nil || got != nil {
		t.Errorf("get what is not there: %q %v", got, err)
	}
	for number, size := range map[uint64]uint64{0: 1, 1: 2, 2: 5, 4: 5, 5: 9, 39: 40, 40: 1000, 999: 1000} {
		if got, err := c.Covering(ctx, number); err != nil || !bytes.Equal(got, text(size)) {
			t.Errorf("covering %d: %q %v: want size %d", number, got, err, size)
		}
	}
	if got, err := c.Covering(ctx, 1000); err != nil || got != nil {
		t.Errorf("covering what is not published: %q %v", got, err)
	}
	for seconds, size := range map[uint64]uint64{1: 1, 4: 2, 5: 5, 39: 9, 999: 40, 1000: 1000, 5000: 1000} {
		if got, err := c.Before(ctx, at(seconds)); err != nil || !bytes.Equal(got, text(size)) {
			t.Errorf("before second %d: %q %v: want size %d", seconds, got, err, size)
		}
	}
	if got, err := c.Before(ctx, at(0)); err != nil || got != nil {
		t.Errorf("before the first: %q %v", got, err)
	}
	// After some days those that no index entry names are gone.
	later := now.Add(store.KeepCovering + time.Hour*2)
	if err := open(t, s).Checkpoints.Put(ctx, 2000, later, text(2000), false); err != nil {
		t.Fatal(err)
	}
	c = open(t, s).Checkpoints
	for number, size := range map[uint64]uint64{0: 5, 5: 40, 40: 2000} {
		if got, err := c.Covering(ctx, number); err != nil || !bytes.Equal(got, text(size)) {
			t.Errorf("days later, covering %d: %q %v: want size %d", number, got, err, size)
		}
	}
}

// faults: what a call said it did is there afterwards, whatever went wrong in between; what failed
// can be tried again; and a register never holds anything but the old text or the new one.
func faults(t *testing.T, s Subject) {
	if len(s.Faults) == 0 {
		t.Fatal("no faults")
	}
	ctx, register := t.Context(), open(t, s).Guard
	if err := register.Create(ctx, []byte("0\n")); err != nil {
		t.Fatal(err)
	}
	last := "0\n"
	for i, fault := range s.Faults {
		t.Run(fault.Name, func(t *testing.T) {
			st := open(t, s)
			_, version, err := st.Guard.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			end := fault.Begin(t, st)
			b, text, size := fmt.Appendf(nil, "evidence %d", i), fmt.Sprintf("%d\n", i+1), uint64(i+1)
			signed := fmt.Appendf(nil, "checkpoint of size %d\n", size)
			short, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, errEvidence := st.Evidence.Put(short, b)
			errRegister := st.Guard.Swap(short, version, []byte(text))
			errCheckpoint := st.Checkpoints.Put(short, size, time.Now(), signed, true)
			end()
			t.Logf("evidence: %v; register: %v; checkpoint: %v", errEvidence, errRegister, errCheckpoint)
			if errEvidence == nil {
				wantEvidence(t, open(t, s), b)
			}
			got, version, err := open(t, s).Guard.Load(ctx)
			if err != nil || string(got) != text && (string(got) != last || errRegister == nil) {
				t.Fatalf("the register has %q, %v: it had %q, and %q was written: %v", got, err, last, text, errRegister)
			}
			if errCheckpoint == nil {
				if got, err := open(t, s).Checkpoints.Get(ctx, poclog.Sum(signed)); err != nil || !bytes.Equal(got, signed) {
					t.Errorf("a kept checkpoint: %q %v", got, err)
				}
			}
			// The same again, with the store that saw the fault.
			if _, err := st.Evidence.Put(ctx, b); err != nil {
				t.Errorf("evidence after the fault: %v", err)
			}
			if err := st.Guard.Swap(ctx, version, []byte(text)); err != nil {
				t.Errorf("the register after the fault: %v", err)
			}
			if err := st.Checkpoints.Put(ctx, size, time.Now(), signed, true); err != nil {
				t.Errorf("a checkpoint after the fault: %v", err)
			}
			wantEvidence(t, open(t, s), b)
			wantRegister(t, s, text)
			last = text
		})
	}
}

func state(t *testing.T, s Subject) {
	st := open(t, s)
	got, err := st.Tiles.State(t.Context())
	empty := poclog.Sum(nil)
	if err != nil || got.Size != 0 || got.Written || !bytes.Equal(got.Root, empty[:]) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := (store.Reader{Tiles: st.Tiles}).ReadCheckpoint(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a checkpoint: %v", err)
	}
}

func known(t *testing.T, s Subject) {
	ctx, k := t.Context(), open(t, s).Known
	if k == nil {
		t.Skip("skipped: one process serves this store, and knows what it was sent")
	}
	row := func(key byte, number uint64, proved uint32) store.KnownRow {
		return store.KnownRow{Key: store.Key{key}, KnownEntry: store.KnownEntry{Number: number, Proved: proved}}
	}
	for i, test := range []struct {
		first, second store.KnownEntry
		want          store.KnownEntry
	}{
		{store.KnownEntry{Number: 5, Proved: 3}, store.KnownEntry{Number: 7, Proved: 3}, store.KnownEntry{Number: 5, Proved: 3}},
		{store.KnownEntry{Number: 7, Proved: 3}, store.KnownEntry{Number: 5, Proved: 3}, store.KnownEntry{Number: 5, Proved: 3}},
		{store.KnownEntry{Number: 5, Proved: 1}, store.KnownEntry{Number: 7, Proved: 3}, store.KnownEntry{Number: 7, Proved: 3}},
		{store.KnownEntry{Number: 5, Proved: 3}, store.KnownEntry{Number: 7, Proved: 1}, store.KnownEntry{Number: 5, Proved: 3}},
		{store.KnownEntry{Number: 5, Proved: 1}, store.KnownEntry{Number: 7, Proved: 2}, store.KnownEntry{Number: 5, Proved: 1}},
		{store.KnownEntry{Number: 5, Proved: 0}, store.KnownEntry{Number: 7, Proved: 1<<32 - 1}, store.KnownEntry{Number: 7, Proved: 1<<32 - 1}},
	} {
		key := byte(i + 1)
		if err := k.Settle(ctx, store.Key{key}, []store.KnownRow{row(key, test.first.Number, test.first.Proved), row(key+100, 1, 1)}); err != nil {
			t.Fatal(err)
		}
		if err := k.Settle(ctx, store.Key{key}, []store.KnownRow{row(key, test.second.Number, test.second.Proved)}); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := open(t, s).Known.Find(ctx, store.Key{key}); err != nil || !ok || got != test.want {
			t.Errorf("%+v, then %+v: %+v %v %v", test.first, test.second, got, ok, err)
		}
	}
	if _, ok, err := k.Find(ctx, store.Key{99}); ok || err != nil {
		t.Errorf("what is not known: %v %v", ok, err)
	}
	// Many in one transaction, by one process of several.
	var rows []store.KnownRow
	for i := range 1203 {
		rows = append(rows, store.KnownRow{Key: store.Key{200, byte(i >> 8), byte(i)}, KnownEntry: store.KnownEntry{Number: uint64(i), Proved: 1}})
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 4 {
		other := open(t, s).Known
		wg.Go(func() {
			err := other.Follow(ctx, 0, 1203, rows, []byte("config"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, store.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d processes followed the same entries", won)
	}
	if err := k.Follow(ctx, 1203, 1204, nil, nil); err != nil {
		t.Error(err)
	}
	if next, config, err := open(t, s).Known.Next(ctx); next != 1204 || string(config) != "config" || err != nil {
		t.Errorf("next %d, config %q, %v", next, config, err)
	}
	if got, ok, err := k.Find(ctx, rows[1202].Key); !ok || got != rows[1202].KnownEntry || err != nil {
		t.Errorf("the last of many: %+v %v %v", got, ok, err)
	}
}

func claims(t *testing.T, s Subject) {
	ctx, st := t.Context(), open(t, s)
	if st.Known == nil {
		t.Skip("skipped: one process serves this store")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []store.Known
	for range 6 {
		k := open(t, s).Known
		wg.Go(func() {
			_, _, err := k.Claim(ctx, store.Key{1})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, k)
			} else if !errors.Is(err, store.ErrClaimed) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d processes claimed the same evidence", len(won))
	}
	if err := st.Known.Release(ctx, store.Key{1}); err != nil { // it is another's
		t.Error(err)
	}
	if _, _, err := st.Known.Claim(ctx, store.Key{1}); !errors.Is(err, store.ErrClaimed) {
		t.Errorf("claimed, though another has it: %v", err)
	}
	if err := won[0].Release(ctx, store.Key{1}); err != nil {
		t.Error(err)
	}
	if _, _, err := st.Known.Claim(ctx, store.Key{1}); err != nil {
		t.Errorf("after it was released: %v", err)
	}
	manyClaims(t, s)
}

// manyClaims has several processes claim the same keys at one time: each key has one claim. Who
// claims it after it was settled finds the entry.
func manyClaims(t *testing.T, s Subject) {
	const keys, processes = 100, 4
	ctx := t.Context()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := make(map[store.Key][]store.Known)
	for range processes {
		k := open(t, s).Known
		for i := range keys {
			key := store.Key{2, byte(i)}
			wg.Go(func() {
				_, ok, err := k.Claim(ctx, key)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && !ok {
					won[key] = append(won[key], k)
				} else if !errors.Is(err, store.ErrClaimed) {
					t.Errorf("claimed: known %v, %v", ok, err)
				}
			})
		}
	}
	wg.Wait()
	other := open(t, s).Known
	for i := range keys {
		key := store.Key{2, byte(i)}
		if len(won[key]) != 1 {
			t.Fatalf("key %d: %d processes claimed it", i, len(won[key]))
		}
		wg.Go(func() {
			want := store.KnownEntry{Number: uint64(i), Proved: 1}
			if err := won[key][0].Settle(ctx, key, []store.KnownRow{{Key: key, KnownEntry: want}, {Key: store.Key{3, byte(i)}, KnownEntry: want}}); err != nil {
				t.Error(err)
			}
			for range 2 {
				if got, ok, err := other.Claim(ctx, key); got != want || !ok || err != nil {
					t.Errorf("key %d, after it was settled: %+v %v %v", i, got, ok, err)
				}
				if err := other.Release(ctx, key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
