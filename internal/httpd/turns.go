package httpd

import (
	"context"
	"slices"
	"sync"
)

// Turns are places for short work, for which requests wait. Addresses take turns: the next place
// goes to the one that has fewest, and among these to the one that waits longest. However many
// requests one address has waiting, others wait for one of each. Where an address may have only
// some of the places, the others are left for those who come later.
type Turns struct {
	each int // places of one address

	mu      sync.Mutex // guards what follows
	free    int
	running map[string]int
	waiting []*waiter // in the order in which they came
}

type waiter struct {
	who   string
	ready chan struct{}
}

// NewTurns returns places, of which one address has at most some at a time.
func NewTurns(places, each int) *Turns {
	return &Turns{free: places, each: each, running: make(map[string]int)}
}

// Take waits for a place, until the context ends. What it returns gives the place back, once.
func (t *Turns) Take(ctx context.Context, who string) (give func(), err error) {
	w := &waiter{who, make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.next()
	t.mu.Unlock()
	select {
	case <-w.ready:
		return sync.OnceFunc(func() { t.give(who) }), nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else {
		t.done(who) // its turn came meanwhile
	}
	return nil, context.Cause(ctx)
}

func (t *Turns) give(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done(who)
}

// done gives a place back, for the next. The caller holds mu.
func (t *Turns) done(who string) {
	if t.running[who]--; t.running[who] <= 0 {
		delete(t.running, who)
	}
	t.free++
	t.next()
}

// next gives places to those whose turn it is. The caller holds mu.
func (t *Turns) next() {
	for t.free > 0 {
		best := -1
		for i, w := range t.waiting {
			if n := t.running[w.who]; n < t.each && (best < 0 || n < t.running[t.waiting[best].who]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := t.waiting[best]
		t.waiting = slices.Delete(t.waiting, best, best+1)
		t.free--
		t.running[w.who]++
		close(w.ready)
	}
}
