package mysqls3

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// Who asks while a go is under way is answered in the next, all at once, and each has its answer.
func TestGroupAnswersManyInOneGo(t *testing.T) {
	begun, goOn := make(chan int, 100), make(chan struct{})
	g := &group[int, int]{do: func(_ context.Context, list []*asked[int, int]) error {
		begun <- len(list)
		<-goOn
		for _, a := range list {
			if a.answer = 2 * a.question; a.question == 13 {
				a.err = errors.New("unlucky")
			}
		}
		return nil
	}}
	var wg sync.WaitGroup
	ask := func(n int) {
		wg.Go(func() {
			if got, err := g.ask(t.Context(), n); got != 2*n || (err != nil) != (n == 13) {
				t.Errorf("%d: %d %v", n, got, err)
			}
		})
	}
	ask(0)
	<-begun
	for n := range groupMax + 10 {
		ask(n)
	}
	for waiting := 0; waiting < groupMax+10; {
		g.mu.Lock()
		waiting = len(g.waiting)
		g.mu.Unlock()
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.ask(left, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	close(goOn)
	wg.Wait()
	for busy := true; busy; { // until the last go has ended, too
		g.mu.Lock()
		busy = g.busy
		g.mu.Unlock()
	}
	if a, b := <-begun, <-begun; a != groupMax || b != 10 || len(begun) != 0 {
		t.Errorf("%d, %d, and %d more goes", a, b, len(begun))
	}
}

// Who was taken up waits for what became of it, and an error is everybody's.
func TestGroupTellsWhatBecameOfAQuestion(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	broken := errors.New("broken")
	g := &group[int, int]{do: func(context.Context, []*asked[int, int]) error { close(begun); <-goOn; return broken }}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { _, err := g.ask(ctx, 1); result <- err }()
	<-begun
	cancel()
	close(goOn)
	if err := <-result; !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
