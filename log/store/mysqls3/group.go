package mysqls3

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of a group.
const (
	groupMax  = 256                  // done in one go
	groupWait = 2 * time.Millisecond // for others, before the first go: those of one batch come together
)

// A group does in one go what many ask for at one time: who comes while a go is under way waits for
// the next. It needs one connection, however many ask.
type group[Q, A any] struct {
	// do answers, or returns an error that is everybody's.
	do func(ctx context.Context, list []*asked[Q, A]) error

	mu      sync.Mutex // guards what follows
	waiting []*asked[Q, A]
	busy    bool // a go is under way
}

type asked[Q, A any] struct {
	question Q
	answer   A
	err      error
	done     chan struct{} // closed once answer and err are set
}

// ask waits for an answer. If its context ends before the question is taken up, that is the error.
// After that it waits for what became of it.
func (g *group[Q, A]) ask(ctx context.Context, question Q) (A, error) {
	a := &asked[Q, A]{question: question, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, a)
	if !g.busy {
		g.busy = true
		go g.work()
	}
	g.mu.Unlock()
	select {
	case <-a.done:
	case <-ctx.Done():
		if g.leave(a) {
			return a.answer, ctx.Err()
		}
		<-a.done
	}
	return a.answer, a.err
}

// leave takes a question back that is not taken up.
func (g *group[Q, A]) leave(a *asked[Q, A]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, a)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

func (g *group[Q, A]) work() {
	time.Sleep(groupWait)
	for {
		g.mu.Lock()
		n := min(len(g.waiting), groupMax)
		if n == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		list := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
		err := g.do(ctx, list)
		cancel()
		for _, a := range list {
			if err != nil {
				a.err = err
			}
			close(a.done)
		}
	}
}
