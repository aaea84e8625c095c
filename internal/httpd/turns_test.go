package httpd

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// waitFor waits until so many wait.
func (t *Turns) waitFor(n int) {
	for {
		t.mu.Lock()
		have := len(t.waiting)
		t.mu.Unlock()
		if have == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A flood's hundred requests wait before an honest one comes: it waits for those that run, and not
// for the hundred.
func TestAddressesTakeTurns(t *testing.T) {
	turns := NewTurns(2, 2)
	var gives []func()
	for range 2 {
		give, err := turns.Take(t.Context(), "flood")
		if err != nil {
			t.Fatal(err)
		}
		gives = append(gives, give)
	}
	type turn struct {
		who  string
		give func()
	}
	had := make(chan turn)
	come := func(who string) {
		go func() {
			give, err := turns.Take(context.Background(), who)
			if err != nil {
				t.Error(err)
			}
			had <- turn{who, give}
		}()
	}
	for i := range 100 {
		come("flood")
		turns.waitFor(i + 1)
	}
	for i := range 3 {
		come(fmt.Sprint("honest ", i))
		turns.waitFor(101 + i)
	}
	// A turn is given back once two are had, whatever goroutine runs first.
	for i := range 103 {
		gives[i]()
		next := <-had
		gives = append(gives, next.give)
		if next.who != "flood" && i > 8 {
			t.Errorf("%s was number %d: want it among the first", next.who, i)
		}
	}
	for _, give := range gives[103:] {
		give()
	}
	if turns.free != 2 || len(turns.running) != 0 {
		t.Errorf("%d free, running %v", turns.free, turns.running)
	}
}

func TestWhoGoesAwayKeepsNoTurn(t *testing.T) {
	turns := NewTurns(1, 1)
	give, err := turns.Take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			give, err := turns.Take(ctx, "b")
			if err == nil {
				give()
			}
			done <- err
		}()
		turns.waitFor(1)
		cancel()
		if i%2 == 0 {
			give() // at the same time
		}
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if give, err = turns.Take(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	give()
	if turns.free != 1 || len(turns.waiting) != 0 {
		t.Errorf("%d free, %d wait", turns.free, len(turns.waiting))
	}
}

// Long work of one address leaves places for others, who then do not wait at all.
func TestOneAddressHasSomeOfThePlaces(t *testing.T) {
	turns := NewTurns(4, 2)
	for range 2 {
		if _, err := turns.Take(t.Context(), "long"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.Take(ctx, "long"); !errors.Is(err, context.Canceled) {
		t.Errorf("a third of one address: %v", err)
	}
	if _, err := turns.Take(t.Context(), "other"); err != nil {
		t.Error(err)
	}
}
