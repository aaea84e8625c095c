package log

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A publisher watches the published checkpoint.
type publisher struct {
	mu         sync.Mutex // guards what follows
	read       []byte     // as it was read last
	published  []byte     // as Tessera published it, or as this process read it first
	checkpoint []byte     // with the cosignatures that came since
	notes      [][]byte   // auditors' notes of exceptions on its tree, ascending by auditor
	size       uint64
	seen       time.Time     // when this checkpoint was first read
	err        error         // of the last read
	changed    chan struct{} // closed when any of it changes

	wanted uint64    // a size that is in the tree
	since  time.Time // when it was first larger than the published one; zero if it is not

	refreshing sync.Mutex // held while refresh reads; guards what follows
	refreshed  time.Time  // when it began last
}

// idlePolls: while nobody waits for a checkpoint, it is read each fifth time.
const idlePolls = 5

// newPublisher reads the checkpoint now and, until the context ends, again and again.
func newPublisher(ctx context.Context, every time.Duration, read func(context.Context) ([]byte, error)) *publisher {
	p := &publisher{changed: make(chan struct{})}
	p.poll(ctx, read)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if p.waits() || n%idlePolls == 0 {
					p.poll(ctx, read)
				}
			}
		}
	}()
	return p
}

// waits reports whether entries wait to be published.
func (p *publisher) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero()
}

func (p *publisher) poll(ctx context.Context, read func(context.Context) ([]byte, error)) {
	b, err := read(ctx)
	var cp tlogpolicy.Checkpoint
	if err == nil {
		cp, err = tlogpolicy.ParseCheckpoint(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Of two that read at once the slower one may have an earlier checkpoint.
	if p.err = err; err != nil || bytes.Equal(b, p.read) || cp.Size < p.size {
		return
	}
	p.read = b
	if len(p.published) > 0 && bytes.HasPrefix(b, p.published) { // others added cosignatures
		p.checkpoint = store.AddCosignatures(b, slices.Collect(bytes.Lines(p.checkpoint[len(p.published):]))...)
		return
	}
	if cp.Size != p.size {
		p.notes = nil
	}
	p.published, p.checkpoint, p.size, p.seen = b, b, cp.Size, time.Now()
	if p.size >= p.wanted {
		p.since = time.Time{}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// refresh reads the checkpoint once more, if nobody began to since it was asked.
func (p *publisher) refresh(ctx context.Context, read func(context.Context) ([]byte, error)) {
	asked := time.Now()
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	if p.refreshed.After(asked) {
		return
	}
	p.refreshed = time.Now()
	p.poll(ctx, read)
}

// want says that a tree of a size waits to be published.
func (p *publisher) want(size uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = max(p.wanted, size)
	if p.wanted > p.size && p.since.IsZero() {
		p.since = time.Now()
	}
}

// overdue returns since when entries wait to be published, if that is longer than a limit.
func (p *publisher) overdue(limit time.Duration) (since time.Time, overdue bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since, !p.since.IsZero() && time.Since(p.since) > limit
}

// wait returns the first published checkpoint of at least a size that it sees.
func (p *publisher) wait(ctx context.Context, size uint64) ([]byte, error) {
	for {
		p.mu.Lock()
		checkpoint, have, changed := p.checkpoint, p.size, p.changed
		p.mu.Unlock()
		if have >= size && checkpoint != nil {
			return checkpoint, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("no checkpoint of size %d was published: %w", size, context.Cause(ctx))
		}
	}
}

// base returns the checkpoint as it was published, and what is closed when another is.
func (p *publisher) base() ([]byte, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published, p.changed
}

// augment adds signature lines to a checkpoint, if it is still the published one.
func (p *publisher) augment(base []byte, lines [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(base, p.published) {
		return
	}
	p.checkpoint = store.AddCosignatures(p.checkpoint, lines...)
}

// latest returns the published checkpoint, or nil before the first.
func (p *publisher) latest() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checkpoint
}

func (p *publisher) state() (size uint64, seen time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size, p.seen, p.err
}
